#include "workers/core/worker_private.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/model/codec.h"

#include <stdio.h>
#include <string.h>

enum { GATHER_MS = 10 }; /* what is sent waits for the like, under load */

/* --- attempts ----------------------------------------------------------------
 */

static struct attempt **
bucket(struct worker *w, const char *task)
{
    uint32_t h = 2166136261u;

    for (; *task; task++)
        h = (h ^ (unsigned char)*task) * 16777619u;
    return &w->buckets[h % ATTEMPT_BUCKETS];
}

struct attempt *
attempt_find(struct worker *w, const char *task)
{
    struct attempt *a = *bucket(w, task);

    while (a && strcmp(a->task->id, task) != 0)
        a = a->hash_next;
    return a;
}

struct outcome *
attempt_outcome(struct attempt *a)
{
    if (!a->outcome)
        a->outcome = mem_pool_alloc(a->pool, sizeof *a->outcome);
    return a->outcome;
}

struct mem_pool *
attempt_pool_take(struct worker *w)
{
    return w->n_pools ? w->pools[--w->n_pools] : mem_pool_sized(POOL_BYTES);
}

void
attempt_pool_give(struct worker *w, struct mem_pool *pool)
{
    if (w->n_pools == SPARE_MOST) {
        mem_pool_free(pool);
        return;
    }
    mem_pool_reset(pool);
    w->pools[w->n_pools++] = pool;
}

/* Zeroed. */
static struct attempt *
attempt_new(struct worker *w)
{
    struct attempt *a = w->spare;

    if (!a)
        return MEM_NEW(struct attempt);
    w->spare = a->next;
    w->n_spare--;
    memset(a, 0, sizeof *a);
    return a;
}

static void
attempt_give(struct worker *w, struct attempt *a)
{
    if (w->n_spare == SPARE_MOST) {
        mem_free(a);
        return;
    }
    a->next = w->spare;
    w->spare = a;
    w->n_spare++;
}

void
attempt_free_spare(struct worker *w)
{
    struct attempt *a;

    while ((a = w->spare)) {
        w->spare = a->next;
        mem_free(a);
    }
    while (w->n_pools)
        mem_pool_free(w->pools[--w->n_pools]);
}

static void
link_attempt(struct worker *w, struct attempt *a)
{
    struct attempt **at = bucket(w, a->task->id);

    a->hash_next = *at;
    *at = a;
    a->next = w->attempts;
    if (a->next)
        a->next->prev = a;
    w->attempts = a;
    w->n_attempts++;
}

static void
unlink_attempt(struct worker *w, struct attempt *a)
{
    struct attempt **at = bucket(w, a->task->id);

    while (*at != a)
        at = &(*at)->hash_next;
    *at = a->hash_next;
    if (a->prev)
        a->prev->next = a->next;
    else
        w->attempts = a->next;
    if (a->next)
        a->next->prev = a->prev;
    w->n_attempts--;
}

/* Takes a out of those that wait for a slot, if it is there. */
static void
unready(struct worker *w, struct attempt *a)
{
    struct attempt *prev = NULL, *at = w->ready;

    while (at && at != a) {
        prev = at;
        at = at->ready_next;
    }
    if (!at)
        return;
    if (prev)
        prev->ready_next = a->ready_next;
    else
        w->ready = a->ready_next;
    if (w->ready_last == a)
        w->ready_last = prev;
}

/* --- phases and ends ------------------------------------------------------ */

static bool
is_over(enum attempt_phase phase)
{
    return phase == PHASE_OUTPUT || phase == PHASE_SETTLE ||
           phase == PHASE_PUBLISH;
}

void
attempt_set_phase(struct attempt *a, enum attempt_phase phase)
{
    struct worker *w = a->w;
    bool before = is_over(a->phase), after = is_over(phase);

    a->phase = phase;
    if (before == after)
        return;
    if (after)
        w->n_over++;
    else
        w->n_over--;
    capacity_set_windows(w, NULL);
}

/* Takes a job out whose task is about to be settled, and with it perhaps its
 * message. */
static void
attempt_leave(struct attempt *a)
{
    struct worker *w = a->w;

    if (a->writing || a->reading)
        bus_forget(w->bus, a);
    result_publisher_forget(a);
    if (a->phase == PHASE_READY)
        unready(w, a);
    if (a->run) {
        w->ex->free(a->run);
        w->running--;
    }
    unlink_attempt(w, a);
    if (is_over(a->phase))
        w->n_over--;
    capacity_set_windows(w, a->delivery->open == 1 ? a->lane : NULL);
}

static void
attempt_free(struct attempt *a)
{
    struct worker *w = a->w;

    sink_close(a->sink);
    dod_evidence_close(a->facts);
    str_free(&a->prior);
    attempt_pool_give(w, a->pool);
    attempt_give(w, a);
}

void
attempt_done(struct attempt *a)
{
    struct delivery *p = a->delivery;

    attempt_leave(a);
    attempt_free(a);
    delivery_release(p);
    FAILPOINT("worker.after_ack");
}

void
attempt_retry(struct attempt *a, int64_t delay_ms)
{
    struct delivery *p = a->delivery;

    if (p->many)
        delivery_send_on(p, &a->routed);
    else
        p->again_ms = delay_ms;
    attempt_leave(a);
    attempt_free(a);
    delivery_release(p);
}

void
attempt_drop(struct attempt *a)
{
    struct delivery *p = a->delivery;

    p->left = true;
    attempt_leave(a);
    attempt_free(a);
    delivery_release(p);
}

void
attempt_begin(struct delivery *p, struct mem_pool *pool,
              const struct routed_task *routed)
{
    struct lane *lane = p->lane;
    struct attempt *a = attempt_new(lane->worker);

    a->w = lane->worker;
    a->lane = lane;
    a->delivery = p;
    a->pool = pool;
    a->why = "";
    a->routed = *routed;
    a->task = routed->task;
    a->deadline_ms = a->idle_ms = a->kill_ms = INT64_MAX;
    a->again_ms = a->spool_ms = a->tell_ms = a->wait_ms = INT64_MAX;
    a->began_ms = a->ended_ms = loop_now_ms();
    a->confirmed_ms = lease_now_ms();
    codec_init(CODEC_CLAIM, &a->claim);
    link_attempt(a->w, a);
    capacity_set_windows(a->w, NULL);
    claim_begin(a);
}

/* --- running ------------------------------------------------------------- */

static void start_ready(struct worker *w);

static void
on_output_done(void *ctx)
{
    settle_begin(ctx);
}

/* Nothing of the attempt is alive any more. */
static void
attempt_ended(struct attempt *a)
{
    struct worker *w = a->w;

    w->ex->free(a->run);
    a->run = NULL;
    a->noted = NULL;
    if (a->stage != RUN_CHECKS)
        a->ended_ms = loop_now_ms();
    a->tell_ms = INT64_MAX;
    w->running--;
    w->ran_ms = loop_now_ms();
    prefetch_ran(&w->ahead, a->ended_ms - a->began_ms);
    capacity_recount(w);
    heartbeat_notify(w);
    if (a->cause == CAUSE_LOST) {
        attempt_drop(a);
    } else {
        FAILPOINT("worker.after_exit");
        attempt_set_phase(a, PHASE_OUTPUT);
        spool_replay_expect(a);
        sink_finish(a->sink, on_output_done, a);
    }
    start_ready(w);
}

static void
set_limits(struct attempt *a)
{
    uint64_t limit = a->task->timeout_ms ? a->task->timeout_ms
                                         : (uint64_t)a->w->conf->timeout_ms;

    if (limit > 0) {
        a->deadline_ms = a->began_ms + (int64_t)limit;
        deadlines_at(a->w, a->deadline_ms);
    }
    if (a->task->idle_timeout_ms > 0) {
        a->idle_ms = a->began_ms + (int64_t)a->task->idle_timeout_ms;
        deadlines_at(a->w, a->idle_ms);
    }
}

/* What the executor has to say, each of it once. */
static void
on_changed(void *ctx)
{
    struct attempt *a = ctx;
    enum run_status stage;

    if (!a->run)
        return;
    stage = a->w->ex->poll(a->run, &a->w->polled);
    if (stage == a->stage)
        return;
    if (stage == RUN_DONE) {
        *attempt_outcome(a) = a->w->polled;
        attempt_ended(a);
        return;
    }
    a->stage = stage;
    if (stage == RUN_BUSY) {
        a->began_ms = loop_now_ms();
        if (a->cause == CAUSE_NONE)
            set_limits(a);
    } else if (stage == RUN_CHECKS) {
        a->ended_ms = loop_now_ms();
        a->deadline_ms = a->idle_ms = INT64_MAX;
    }
}

void
attempt_tell(struct attempt *a)
{
    struct worker *w = a->w;
    char subject[SUBJECT_SIZE];

    /* Too early, or too late: a note may be confirmed after the end. */
    if (a->tell_ms != INT64_MAX || a->phase != PHASE_RUN)
        return;
    str_reset(&w->scratch);
    codec_encode(CODEC_CLAIM, &a->claim, &w->scratch);
    bus_publish_core(w->bus, subject_started(subject, a->task->id),
                     w->scratch.data, w->scratch.len);
}

static void
start_failed(struct attempt *a, const struct err *e)
{
    log_warn("task.start", "task=%s error=\"%s\"", a->task->id,
             LOG_TEXT(e->msg));
    a->ended_ms = loop_now_ms();
    if (e->code == ERR_UNAVAILABLE) {
        a->cause = CAUSE_START;
        a->why = mem_pool_printf(a->pool, "could not start: %.200s", e->msg);
    } else {
        struct outcome *o = attempt_outcome(a);

        o->exit_code = 125;
        (void)snprintf(o->reason, sizeof o->reason, "%.255s", e->msg);
    }
    settle_begin(a);
}

static void
on_note(void *ctx, const char *text, void (*noted)(void *noted_ctx),
        void *noted_ctx)
{
    struct attempt *a = ctx;

    a->claim.remote = mem_pool_strdup(a->pool, text);
    a->noted = noted;
    a->noted_ctx = noted_ctx;
    claim_note(a);
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

/* Thousands wait for what was made of theirs. */
static void
on_forget(void *ctx)
{
    struct attempt *a = ctx;

    if (a->delivery->many)
        return; /* it may have to be sent on */
    mem_pool_forget(a->pool, a->task->prompt);
    a->routed.task->prompt = "";
}

static void
attempt_start(struct attempt *a)
{
    struct worker *w = a->w;
    const struct sink_conf sc = {w->conf->output_head, w->conf->output_tail};
    struct run_order order = {.task = a->task,
                              .lane = a->lane->name,
                              .attempt = a->claim.attempt,
                              .failed = a->claim.failed,
                              .fence = a->claim.fence,
                              .mark = a->mark,
                              .owner = state_dir_worker_mark(w->home),
                              .remote = a->inherited ? a->claim.remote : "",
                              .note = on_note,
                              .forget = on_forget,
                              .paused = why_paused,
                              .changed = on_changed,
                              .ctx = a};
    struct err e;

    if (lease_fence_off(a))
        return; /* the answer to our claim is too old: we were frozen */
    a->wait_ms = INT64_MAX;
    a->began_ms = loop_now_ms();
    a->claim.started_at_ms = str_wall_ms(); /* it may have waited */
    a->sink = sink_open(w->bus, w->loop, &sc, a->task->id, a->claim.attempt,
                        a->claim.fence);
    if (*a->task->dod) /* the usual one needs nothing gathered */
        a->facts = dod_evidence_open(a->task->dod, a->pool, a->sink);
    order.sink = a->sink;
    order.facts = a->facts;
    if (w->ex->start(w->ex_ctx, &order, &a->run, &e) < 0) {
        start_failed(a, &e);
        return;
    }
    a->ran = true;
    attempt_set_phase(a, PHASE_RUN);
    w->running++;
    FAILPOINT("worker.after_start");
    a->tell_ms = a->began_ms + TELL_MS;
    deadlines_at(w, a->tell_ms);
    heartbeat_notify(w);
    on_changed(a); /* it may be over already */
}

static void
start_ready(struct worker *w)
{
    struct attempt *a;

    while (w->running < w->slots && (a = w->ready) != NULL) {
        w->ready = a->ready_next;
        if (!w->ready)
            w->ready_last = NULL;
        a->ready_next = NULL;
        attempt_start(a);
    }
    /* With all slots busy and the next tasks at hand, nothing that is said now
     * keeps anybody from working. */
    bus_cork(w->bus, w->ready && !w->draining ? GATHER_MS : 0);
}

void
attempt_claimed(struct attempt *a)
{
    struct worker *w = a->w;

    FAILPOINT("worker.after_claim");
    settle_publish_prior(a);
    a->again_ms = INT64_MAX;
    prefetch_claimed(&w->ahead, loop_now_ms() - a->began_ms);
    a->began_ms = a->ended_ms = loop_now_ms();
    if (w->handing_back && a->cause == CAUSE_NONE)
        a->cause = CAUSE_PREEMPT;
    if (a->cause != CAUSE_NONE) {
        settle_begin(a);
        return;
    }
    attempt_set_phase(a, PHASE_READY);
    if (w->ready_last)
        w->ready_last->ready_next = a;
    else
        w->ready = a;
    w->ready_last = a;
    a->wait_ms = a->began_ms + PREFETCH_WAIT_MS;
    start_ready(w);
    if (w->ready_last != a)
        return; /* started, and perhaps over already */
    if (w->draining)
        attempt_cancel(a, CAUSE_PREEMPT, false);
    else
        deadlines_at(w, a->wait_ms);
}

void
attempt_return_ready(struct worker *w)
{
    while (w->ready)
        attempt_cancel(w->ready, CAUSE_PREEMPT, false);
}

/* --- ending it ourselves ------------------------------------------------- */

void
attempt_cancel(struct attempt *a, enum cause cause, bool hard)
{
    struct worker *w = a->w;

    if (a->cause == CAUSE_NONE || cause == CAUSE_LOST)
        a->cause = cause;
    if (a->phase == PHASE_READY) {
        unready(w, a);
        if (cause == CAUSE_LOST)
            attempt_drop(a);
        else
            settle_begin(a);
        return;
    }
    if (a->phase != PHASE_RUN)
        return; /* on its way in: attempt_claimed sees the cause; or out */
    hard = hard || w->conf->grace_ms == 0;
    a->deadline_ms = a->idle_ms = INT64_MAX;
    if (!hard && a->kill_ms == INT64_MAX) {
        a->kill_ms = loop_now_ms() + w->conf->grace_ms;
        deadlines_at(w, a->kill_ms);
    }
    w->ex->cancel(a->run, hard, cause == CAUSE_LOST || cause == CAUSE_PREEMPT);
}

void
attempt_lost(struct attempt *a)
{
    log_warn("task.lost", "task=%s attempt=%u", a->task->id, a->claim.attempt);
    if (a->phase == PHASE_RUN || a->phase == PHASE_READY) {
        attempt_cancel(a, CAUSE_LOST, true);
        return;
    }
    spool_replay_set_aside(a);
    attempt_drop(a);
}

bool
lease_fence_off(struct attempt *a)
{
    if (lease_now_ms() - a->confirmed_ms < a->w->fence_ms ||
        a->cause == CAUSE_LOST ||
        (a->phase != PHASE_RUN && a->phase != PHASE_READY))
        return false;
    log_warn("task.fenced", "task=%s attempt=%u", a->task->id,
             a->claim.attempt);
    attempt_cancel(a, CAUSE_LOST, true);
    return true;
}
