/*
 * A slot's turn: opens the output, hands the executor its order, follows what
 * it reports, and when nothing of the attempt is alive any more passes it on to
 * be settled and fills the slot again. Limits count from the moment the task's
 * own work begins.
 */
#include "workers/core/run.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/cancels.h"
#include "lib/bus/lane_pause.h"
#include "lib/model/codec.h"
#include "workers/core/attempt.h"
#include "workers/core/capacity.h"
#include "workers/core/claim.h"
#include "workers/core/delivery.h"
#include "workers/core/heartbeat.h"
#include "workers/core/settle.h"
#include "workers/core/state_dir.h"
#include "workers/core/unconfirmed.h"
#include "workers/core/verdict.h"

#include <stdio.h>

enum {
    CORK_MS = 10, /* output waits for more while all slots are busy */
    TELL_MS = 50, /* a run so long has its start published */
    TICK_MS = 1000,
    EXIT_OUR_SIDE = 125,
};

static void start_ready(struct worker *w);

static void
clear_limits(struct attempt *a)
{
    deadlines_clear(&a->deadlines, DUE_LIMIT);
    deadlines_clear(&a->deadlines, DUE_IDLE);
}

/* --- the end of a run ----------------------------------------------------- */

static void
on_output_done(void *ctx)
{
    settle_begin(ctx);
}

/* Nothing of the attempt is alive any more. */
static void
ended(struct attempt *a)
{
    struct worker *w = a->w;

    w->ex->free(a->run);
    a->run = NULL;
    a->noted = NULL;
    if (a->stage != RUN_CHECKS)
        a->ended_ms = loop_now_ms();
    clear_limits(a);
    deadlines_clear(&a->deadlines, DUE_TELL);
    deadlines_clear(&a->deadlines, DUE_KILL);
    w->running--;
    w->ran_ms = loop_now_ms();
    prefetch_ran(&w->prefetch, a->ended_ms - a->began_ms);
    capacity_count_prefetch(w);
    if (a->cause == CAUSE_LOST) {
        attempt_drop(a);
        heartbeat_notify(w);
    } else {
        FAILPOINT("worker.after_exit");
        attempt_set_phase(a, PHASE_OUTPUT);
        heartbeat_notify(w);
        unconfirmed_expect(a);
        output_finish(a->output, on_output_done, a);
    }
    start_ready(w);
}

/* --- what the executor reports -------------------------------------------- */

static void
set_limits(struct attempt *a)
{
    int64_t limit_ms = a->task->timeout_ms ? (int64_t)a->task->timeout_ms
                                           : a->w->conf->timeout_ms;

    if (limit_ms > 0)
        deadlines_set(&a->deadlines, DUE_LIMIT, a->began_ms + limit_ms);
    if (a->task->idle_timeout_ms > 0)
        deadlines_set(&a->deadlines, DUE_IDLE,
                      a->began_ms + (int64_t)a->task->idle_timeout_ms);
}

/* Each stage is reported once. */
static void
on_changed(void *ctx)
{
    struct attempt *a = ctx;
    struct outcome outcome;
    enum run_status stage;

    if (!a->run)
        return;
    stage = a->w->ex->poll(a->run, &outcome);
    if (stage == a->stage)
        return;
    if (stage == RUN_DONE) {
        *verdict_outcome(a) = outcome;
        ended(a);
        return;
    }
    a->stage = stage;
    if (stage == RUN_BUSY) {
        a->began_ms = loop_now_ms();
        if (a->cause == CAUSE_NONE)
            set_limits(a);
    } else if (stage == RUN_CHECKS) {
        a->ended_ms = loop_now_ms();
        clear_limits(a);
    }
}

static void
on_note(void *ctx, const char *text, void (*noted)(void *noted_ctx),
        void *noted_ctx)
{
    struct attempt *a = ctx;

    a->claim.remote = mem_pool_strdup(a->pool, text);
    a->noted = noted;
    a->noted_ctx = noted_ctx;
    claim_write_note(a);
}

static void
on_warn(void *ctx, const char *text)
{
    verdict_warn(ctx, text);
}

/* Publishes the claim of an attempt whose start was published, for those who
 * follow the task. */
static void
publish_started(struct attempt *a)
{
    struct worker *w = a->w;
    char subject[SUBJECT_SIZE];

    str_reset(&w->scratch);
    codec_encode(CODEC_CLAIM, &a->claim, &w->scratch);
    bus_publish_core(w->bus, subject_started(subject, a->task->id),
                     w->scratch.data, w->scratch.len);
}

void
run_noted(struct attempt *a)
{
    void (*noted)(void *ctx) = a->noted;

    a->noted = NULL;
    if (!deadlines_is_set(&a->deadlines, DUE_TELL))
        publish_started(a); /* else it will be, with the note */
    if (noted)
        noted(a->noted_ctx);
}

static const char *
why_paused(void *ctx)
{
    const struct attempt *a = ctx;
    const struct lane_pause *p = lane_pauses_find(a->w->pauses, a->w->ex->name,
                                                  a->lane->name, str_wall_ms());

    if (!p)
        return NULL;
    return *p->reason ? p->reason : "its lane is paused";
}

/* Thousands may wait for a platform that has their prompt. */
static void
on_forget(void *ctx)
{
    struct attempt *a = ctx;

    if (a->delivery->many)
        return; /* it may have to be sent on */
    mem_pool_forget(a->pool, a->task->prompt);
    a->routed.task->prompt = "";
}

/* --- the start ------------------------------------------------------------ */

static void
start_failed(struct attempt *a, const struct err *e)
{
    log_warn("task.start", "task=%s error=\"%s\"", a->task->id,
             LOG_TEXT(e->msg));
    a->ended_ms = loop_now_ms();
    if (e->code == ERR_UNAVAILABLE) {
        a->cause = CAUSE_START;
        a->why = mem_pool_printf(a->pool, "could not start: %s",
                                 STR_SHORT(e->msg, 200));
    } else {
        struct outcome *o = verdict_outcome(a);

        o->exit_code = EXIT_OUR_SIDE;
        (void)str_copy(o->reason, sizeof o->reason, e->msg);
    }
    settle_begin(a);
}

static void
start(struct attempt *a)
{
    struct worker *w = a->w;
    const struct output_conf sc = {w->conf->output_head, w->conf->output_tail};
    struct run_order order = {.task = a->task,
                              .lane = a->lane->name,
                              .attempt = a->claim.attempt,
                              .failed = a->claim.failed,
                              .fence = a->claim.fence,
                              .mark = a->mark,
                              .owner = state_dir_worker_mark(w->state_dir),
                              .remote = a->inherited ? a->claim.remote : "",
                              .note = on_note,
                              .warn = on_warn,
                              .forget = on_forget,
                              .paused = why_paused,
                              .changed = on_changed,
                              .ctx = a};
    struct err e;

    if (run_fence(a))
        return; /* the answer to our claim is too old: we were frozen */
    deadlines_clear(&a->deadlines, DUE_SLOT);
    a->began_ms = loop_now_ms();
    a->claim.started_at_ms = str_wall_ms(); /* it may have waited */
    a->output = output_open(w->bus, w->loop, &sc, a->task->id, a->claim.attempt,
                            a->claim.fence);
    if (*a->task->dod) /* the usual one needs no evidence gathered */
        a->evidence = dod_evidence_open(a->task->dod, a->pool, a->output);
    order.output = a->output;
    order.bus = w->bus;
    order.evidence = a->evidence;
    if (w->ex->start(w->ex_ctx, &order, &a->run, &e) < 0) {
        start_failed(a, &e);
        return;
    }
    a->ran = true;
    attempt_set_phase(a, PHASE_RUN);
    w->running++;
    FAILPOINT("worker.after_start");
    deadlines_set(&a->deadlines, DUE_TELL, a->began_ms + TELL_MS);
    heartbeat_notify(w);
    if (a->cause == CAUSE_CANCEL)
        run_cancel(a, CAUSE_CANCEL, false);
    on_changed(a); /* it may be over already */
}

/* The more often the loop wakes, the better is known for how long it was
 * stopped. */
static void
watch_for_gaps(struct worker *w)
{
    loop_gap_period(w->loop,
                    w->gap_period_ms < TICK_MS ? w->gap_period_ms : TICK_MS);
}

static void
start_ready(struct worker *w)
{
    struct attempt *a;

    while (w->running < w->slots && (a = TAILQ_FIRST(&w->ready)) != NULL)
        start(a);
    /* With all slots busy and the next tasks at hand, nobody waits for what is
     * sent now. */
    bus_cork(w->bus, !TAILQ_EMPTY(&w->ready) && !w->draining ? CORK_MS : 0);
}

void
run_enqueue(struct attempt *a)
{
    struct worker *w = a->w;

    attempt_set_phase(a, PHASE_READY);
    deadlines_set(&a->deadlines, DUE_SLOT, a->began_ms + PREFETCH_WAIT_MS);
    start_ready(w);
    if (w->draining)
        run_return_ready(w);
}

void
run_return_ready(struct worker *w)
{
    struct attempt *a;

    while ((a = TAILQ_FIRST(&w->ready)))
        run_cancel(a, CAUSE_PREEMPT, false);
}

/* --- ending it ourselves -------------------------------------------------- */

bool
run_must_stop_elsewhere(const struct attempt *a)
{
    return a->cause == CAUSE_CANCEL && a->inherited;
}

/* Ends an attempt that waits for a slot. */
static void
end_ready(struct attempt *a, enum cause cause)
{
    if (a->cause == CAUSE_NONE || cause == CAUSE_LOST)
        a->cause = cause;
    if (cause == CAUSE_LOST) {
        attempt_drop(a);
        return;
    }
    if (run_must_stop_elsewhere(a)) {
        if (cause == CAUSE_CANCEL)
            return;       /* once it has a slot */
        a->cause = cause; /* whoever gets it next reads the cancel again */
    }
    settle_begin(a);
}

void
run_cancel(struct attempt *a, enum cause cause, bool hard)
{
    struct worker *w = a->w;

    if (a->phase > PHASE_RUN && cause != CAUSE_LOST)
        return; /* it came to its own end first */
    if (a->phase == PHASE_READY) {
        end_ready(a, cause);
        return;
    }
    if (a->cause == CAUSE_NONE || cause == CAUSE_LOST)
        a->cause = cause;
    if (a->phase != PHASE_RUN)
        return; /* the cause counts once the claim is taken; or it is over */
    hard = hard || w->conf->grace_ms == 0;
    clear_limits(a);
    if (!hard && !deadlines_is_set(&a->deadlines, DUE_KILL))
        deadlines_set(&a->deadlines, DUE_KILL,
                      loop_now_ms() + w->conf->grace_ms);
    w->ex->cancel(a->run, hard, cause == CAUSE_LOST || cause == CAUSE_PREEMPT);
}

void
run_cancel_requested(struct attempt *a, const struct control *c)
{
    char why[CANCELS_REASON_SIZE];

    if (a->cause == CAUSE_CANCEL)
        return; /* it was asked for before */
    if (a->cause == CAUSE_NONE) {
        cancels_reason(c->by, c->reason, why);
        a->why = mem_pool_strdup(a->pool, why);
        a->cancel = cancels_copy(c, a->pool);
    }
    log_info("task.cancel", "task=%s attempt=%u", a->task->id,
             a->claim.attempt);
    run_cancel(a, CAUSE_CANCEL, false);
}

void
run_lost(struct attempt *a)
{
    log_warn("task.lost", "task=%s attempt=%u", a->task->id, a->claim.attempt);
    if (a->phase == PHASE_RUN || a->phase == PHASE_READY) {
        run_cancel(a, CAUSE_LOST, true);
        return;
    }
    unconfirmed_set_aside(a);
    attempt_drop(a);
}

void
run_resume(struct attempt *a, int64_t stopped_ms, int64_t slept_ms)
{
    struct worker *w = a->w;

    lease_resume(&a->lease, stopped_ms + slept_ms, w->fence_ms);
    if (a->phase != PHASE_RUN)
        return;
    if (a->stage != RUN_CHECKS) { /* else its own work is over */
        a->suspended_ms += stopped_ms + slept_ms;
        a->began_ms += stopped_ms;
        output_put_off(a->output, stopped_ms);
    }
    deadlines_put_off(&a->deadlines, DUE_LIMIT, stopped_ms);
    deadlines_put_off(&a->deadlines, DUE_IDLE, stopped_ms);
    deadlines_put_off(&a->deadlines, DUE_KILL, stopped_ms);
    if (w->ex->put_off)
        w->ex->put_off(a->run, stopped_ms);
}

bool
run_fence(struct attempt *a)
{
    if (lease_is_fresh(&a->lease, a->w->fence_ms) || a->cause == CAUSE_LOST ||
        (a->phase != PHASE_RUN && a->phase != PHASE_READY))
        return false;
    loop_check_gap(a->w->loop);
    if (a->phase == PHASE_READY) {
        run_cancel(a, CAUSE_PREEMPT, false);
        return true;
    }
    if (!lease_is_over(&a->lease, a->w->fence_ms))
        return false;
    log_warn("task.fenced", "task=%s attempt=%u suspended_ms=%lld", a->task->id,
             a->claim.attempt, (long long)a->suspended_ms);
    run_cancel(a, CAUSE_LOST, true);
    return true;
}

/* --- deadlines ------------------------------------------------------------ */

void
run_on_deadlines(struct attempt *a, int64_t now_ms)
{
    struct deadlines *d = &a->deadlines;
    int64_t idle_ms;

    if (deadlines_take(d, DUE_KILL, now_ms))
        a->w->ex->cancel(a->run, true, a->cause == CAUSE_PREEMPT);
    /* A shorter run has only its end published: two messages and two lines of
     * log for each of a thousand tasks a second would serve nobody. */
    if (deadlines_take(d, DUE_TELL, now_ms)) {
        log_info("task.started", "task=%s attempt=%u fence=%llu", a->task->id,
                 a->claim.attempt, (unsigned long long)a->claim.fence);
        publish_started(a);
        watch_for_gaps(a->w);
    }
    if (deadlines_take(d, DUE_LIMIT, now_ms)) {
        run_cancel(a, CAUSE_TIMEOUT, false);
    } else if (deadlines_take(d, DUE_IDLE, now_ms)) {
        idle_ms = output_last_ms(a->output) + (int64_t)a->task->idle_timeout_ms;
        if (idle_ms <= now_ms)
            run_cancel(a, CAUSE_IDLE, false);
        else
            deadlines_set(d, DUE_IDLE, idle_ms);
    }
}
