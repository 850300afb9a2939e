#include "workers/core/worker_private.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/model/codec.h"

#include <stdio.h>
#include <string.h>

enum { GATHER_MS = 10 }; /* what is sent waits for the like, under load */

/* --- jobs ---------------------------------------------------------------- */

static struct attempt **
bucket(struct worker *w, const char *task)
{
    uint32_t h = 2166136261u;

    for (; *task; task++)
        h = (h ^ (unsigned char)*task) * 16777619u;
    return &w->buckets[h % JOB_BUCKETS];
}

struct attempt *
job_find(struct worker *w, const char *task)
{
    struct attempt *j = *bucket(w, task);

    while (j && strcmp(j->task->id, task) != 0)
        j = j->hash_next;
    return j;
}

struct outcome *
job_outcome(struct attempt *j)
{
    if (!j->outcome)
        j->outcome = mem_pool_alloc(j->pool, sizeof *j->outcome);
    return j->outcome;
}

struct mem_pool *
worker_pool_take(struct worker *w)
{
    return w->n_pools ? w->pools[--w->n_pools] : mem_pool_sized(POOL_BYTES);
}

void
worker_pool_give(struct worker *w, struct mem_pool *pool)
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
job_new(struct worker *w)
{
    struct attempt *j = w->spare;

    if (!j)
        return MEM_NEW(struct attempt);
    w->spare = j->next;
    w->n_spare--;
    memset(j, 0, sizeof *j);
    return j;
}

static void
job_give(struct worker *w, struct attempt *j)
{
    if (w->n_spare == SPARE_MOST) {
        mem_free(j);
        return;
    }
    j->next = w->spare;
    w->spare = j;
    w->n_spare++;
}

void
worker_free_spare(struct worker *w)
{
    struct attempt *j;

    while ((j = w->spare)) {
        w->spare = j->next;
        mem_free(j);
    }
    while (w->n_pools)
        mem_pool_free(w->pools[--w->n_pools]);
}

static void
link_job(struct worker *w, struct attempt *j)
{
    struct attempt **at = bucket(w, j->task->id);

    j->hash_next = *at;
    *at = j;
    j->next = w->jobs;
    if (j->next)
        j->next->prev = j;
    w->jobs = j;
    w->n_jobs++;
}

static void
unlink_job(struct worker *w, struct attempt *j)
{
    struct attempt **at = bucket(w, j->task->id);

    while (*at != j)
        at = &(*at)->hash_next;
    *at = j->hash_next;
    if (j->prev)
        j->prev->next = j->next;
    else
        w->jobs = j->next;
    if (j->next)
        j->next->prev = j->prev;
    w->n_jobs--;
}

/* Takes j out of those that wait for a slot, if it is there. */
static void
unready(struct worker *w, struct attempt *j)
{
    struct attempt *prev = NULL, *at = w->ready;

    while (at && at != j) {
        prev = at;
        at = at->ready_next;
    }
    if (!at)
        return;
    if (prev)
        prev->ready_next = j->ready_next;
    else
        w->ready = j->ready_next;
    if (w->ready_last == j)
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
job_phase(struct attempt *j, enum attempt_phase phase)
{
    struct worker *w = j->w;
    bool before = is_over(j->phase), after = is_over(phase);

    j->phase = phase;
    if (before == after)
        return;
    if (after)
        w->n_over++;
    else
        w->n_over--;
    worker_windows(w, NULL);
}

/* Takes a job out whose task is about to be settled, and with it perhaps its
 * message. */
static void
job_leave(struct attempt *j)
{
    struct worker *w = j->w;

    if (j->writing || j->reading)
        bus_forget(w->bus, j);
    result_publisher_forget(j);
    if (j->phase == PHASE_READY)
        unready(w, j);
    if (j->run) {
        w->ex->free(j->run);
        w->running--;
    }
    unlink_job(w, j);
    if (is_over(j->phase))
        w->n_over--;
    worker_windows(w, j->parcel->open == 1 ? j->lane : NULL);
}

static void
job_free(struct attempt *j)
{
    struct worker *w = j->w;

    sink_close(j->sink);
    dod_evidence_close(j->facts);
    str_free(&j->prior);
    worker_pool_give(w, j->pool);
    job_give(w, j);
}

void
job_done(struct attempt *j)
{
    struct parcel *p = j->parcel;

    job_leave(j);
    job_free(j);
    parcel_release(p);
    FAILPOINT("worker.after_ack");
}

void
job_retry(struct attempt *j, int64_t delay_ms)
{
    struct parcel *p = j->parcel;

    if (p->many)
        parcel_send_on(p, &j->routed);
    else
        p->again_ms = delay_ms;
    job_leave(j);
    job_free(j);
    parcel_release(p);
}

void
job_drop(struct attempt *j)
{
    struct parcel *p = j->parcel;

    p->left = true;
    job_leave(j);
    job_free(j);
    parcel_release(p);
}

void
job_begin(struct parcel *p, struct mem_pool *pool,
          const struct routed_task *routed)
{
    struct lane *lane = p->lane;
    struct attempt *j = job_new(lane->worker);

    j->w = lane->worker;
    j->lane = lane;
    j->parcel = p;
    j->pool = pool;
    j->why = "";
    j->routed = *routed;
    j->task = routed->task;
    j->deadline_ms = j->idle_ms = j->kill_ms = INT64_MAX;
    j->again_ms = j->spool_ms = j->tell_ms = j->wait_ms = INT64_MAX;
    j->began_ms = j->ended_ms = loop_now_ms();
    j->confirmed_ms = clock_ms();
    codec_init(CODEC_CLAIM, &j->claim);
    link_job(j->w, j);
    worker_windows(j->w, NULL);
    claim_begin(j);
}

/* --- running ------------------------------------------------------------- */

static void start_ready(struct worker *w);

static void
on_output_done(void *ctx)
{
    job_judge(ctx);
}

/* Nothing of the attempt is alive any more. */
static void
job_ended(struct attempt *j)
{
    struct worker *w = j->w;

    w->ex->free(j->run);
    j->run = NULL;
    j->noted = NULL;
    if (j->stage != RUN_CHECKS)
        j->ended_ms = loop_now_ms();
    j->tell_ms = INT64_MAX;
    w->running--;
    w->ran_ms = loop_now_ms();
    prefetch_ran(&w->ahead, j->ended_ms - j->began_ms);
    worker_count_ahead(w);
    worker_notify(w);
    if (j->cause == CAUSE_LOST) {
        job_drop(j);
    } else {
        FAILPOINT("worker.after_exit");
        job_phase(j, PHASE_OUTPUT);
        job_expect(j);
        sink_finish(j->sink, on_output_done, j);
    }
    start_ready(w);
}

static void
set_limits(struct attempt *j)
{
    uint64_t limit = j->task->timeout_ms ? j->task->timeout_ms
                                         : (uint64_t)j->w->conf->timeout_ms;

    if (limit > 0) {
        j->deadline_ms = j->began_ms + (int64_t)limit;
        worker_due(j->w, j->deadline_ms);
    }
    if (j->task->idle_timeout_ms > 0) {
        j->idle_ms = j->began_ms + (int64_t)j->task->idle_timeout_ms;
        worker_due(j->w, j->idle_ms);
    }
}

/* What the executor has to say, each of it once. */
static void
on_changed(void *ctx)
{
    struct attempt *j = ctx;
    enum run_status stage;

    if (!j->run)
        return;
    stage = j->w->ex->poll(j->run, &j->w->polled);
    if (stage == j->stage)
        return;
    if (stage == RUN_DONE) {
        *job_outcome(j) = j->w->polled;
        job_ended(j);
        return;
    }
    j->stage = stage;
    if (stage == RUN_BUSY) {
        j->began_ms = loop_now_ms();
        if (j->cause == CAUSE_NONE)
            set_limits(j);
    } else if (stage == RUN_CHECKS) {
        j->ended_ms = loop_now_ms();
        j->deadline_ms = j->idle_ms = INT64_MAX;
    }
}

void
job_tell(struct attempt *j)
{
    struct worker *w = j->w;
    char subject[SUBJECT_SIZE];

    /* Too early, or too late: a note may be confirmed after the end. */
    if (j->tell_ms != INT64_MAX || j->phase != PHASE_RUN)
        return;
    str_reset(&w->scratch);
    codec_encode(CODEC_CLAIM, &j->claim, &w->scratch);
    bus_publish_core(w->bus, subject_started(subject, j->task->id),
                     w->scratch.data, w->scratch.len);
}

static void
start_failed(struct attempt *j, const struct err *e)
{
    log_warn("task.start", "task=%s error=\"%s\"", j->task->id,
             LOG_TEXT(e->msg));
    j->ended_ms = loop_now_ms();
    if (e->code == ERR_UNAVAILABLE) {
        j->cause = CAUSE_START;
        j->why = mem_pool_printf(j->pool, "could not start: %.200s", e->msg);
    } else {
        struct outcome *o = job_outcome(j);

        o->exit_code = 125;
        (void)snprintf(o->reason, sizeof o->reason, "%.255s", e->msg);
    }
    job_judge(j);
}

static void
on_note(void *ctx, const char *text, void (*noted)(void *noted_ctx),
        void *noted_ctx)
{
    struct attempt *j = ctx;

    j->claim.remote = mem_pool_strdup(j->pool, text);
    j->noted = noted;
    j->noted_ctx = noted_ctx;
    claim_note(j);
}

static const char *
why_paused(void *ctx)
{
    const struct attempt *j = ctx;
    const struct lane_pause *p = lane_pauses_find(j->w->pauses, j->w->ex->name,
                                                  j->lane->name, str_wall_ms());

    if (!p)
        return NULL;
    return *p->reason ? p->reason : "its lane is paused";
}

/* Thousands wait for what was made of theirs. */
static void
on_forget(void *ctx)
{
    struct attempt *j = ctx;

    if (j->parcel->many)
        return; /* it may have to be sent on */
    mem_pool_forget(j->pool, j->task->prompt);
    j->routed.task->prompt = "";
}

static void
job_start(struct attempt *j)
{
    struct worker *w = j->w;
    const struct sink_conf sc = {w->conf->output_head, w->conf->output_tail};
    struct run_order order = {.task = j->task,
                              .lane = j->lane->name,
                              .attempt = j->claim.attempt,
                              .failed = j->claim.failed,
                              .fence = j->claim.fence,
                              .mark = j->mark,
                              .owner = state_dir_worker_mark(w->home),
                              .remote = j->inherited ? j->claim.remote : "",
                              .note = on_note,
                              .forget = on_forget,
                              .paused = why_paused,
                              .changed = on_changed,
                              .ctx = j};
    struct err e;

    if (job_fence_off(j))
        return; /* the answer to our claim is too old: we were frozen */
    j->wait_ms = INT64_MAX;
    j->began_ms = loop_now_ms();
    j->claim.started_at_ms = str_wall_ms(); /* it may have waited */
    j->sink = sink_open(w->bus, w->loop, &sc, j->task->id, j->claim.attempt,
                        j->claim.fence);
    if (*j->task->dod) /* the usual one needs nothing gathered */
        j->facts = dod_evidence_open(j->task->dod, j->pool, j->sink);
    order.sink = j->sink;
    order.facts = j->facts;
    if (w->ex->start(w->ex_ctx, &order, &j->run, &e) < 0) {
        start_failed(j, &e);
        return;
    }
    j->ran = true;
    job_phase(j, PHASE_RUN);
    w->running++;
    FAILPOINT("worker.after_start");
    j->tell_ms = j->began_ms + TELL_MS;
    worker_due(w, j->tell_ms);
    worker_notify(w);
    on_changed(j); /* it may be over already */
}

static void
start_ready(struct worker *w)
{
    struct attempt *j;

    while (w->running < w->slots && (j = w->ready) != NULL) {
        w->ready = j->ready_next;
        if (!w->ready)
            w->ready_last = NULL;
        j->ready_next = NULL;
        job_start(j);
    }
    /* With all slots busy and the next tasks at hand, nothing that is said now
     * keeps anybody from working. */
    bus_cork(w->bus, w->ready && !w->draining ? GATHER_MS : 0);
}

void
job_claimed(struct attempt *j)
{
    struct worker *w = j->w;

    FAILPOINT("worker.after_claim");
    job_publish_prior(j);
    j->again_ms = INT64_MAX;
    prefetch_claimed(&w->ahead, loop_now_ms() - j->began_ms);
    j->began_ms = j->ended_ms = loop_now_ms();
    if (w->handing_back && j->cause == CAUSE_NONE)
        j->cause = CAUSE_PREEMPT;
    if (j->cause != CAUSE_NONE) {
        job_judge(j);
        return;
    }
    job_phase(j, PHASE_READY);
    if (w->ready_last)
        w->ready_last->ready_next = j;
    else
        w->ready = j;
    w->ready_last = j;
    j->wait_ms = j->began_ms + PREFETCH_WAIT_MS;
    start_ready(w);
    if (w->ready_last != j)
        return; /* started, and perhaps over already */
    if (w->draining)
        job_cancel(j, CAUSE_PREEMPT, false);
    else
        worker_due(w, j->wait_ms);
}

void
worker_return_ready(struct worker *w)
{
    while (w->ready)
        job_cancel(w->ready, CAUSE_PREEMPT, false);
}

/* --- ending it ourselves ------------------------------------------------- */

void
job_cancel(struct attempt *j, enum cause cause, bool hard)
{
    struct worker *w = j->w;

    if (j->cause == CAUSE_NONE || cause == CAUSE_LOST)
        j->cause = cause;
    if (j->phase == PHASE_READY) {
        unready(w, j);
        if (cause == CAUSE_LOST)
            job_drop(j);
        else
            job_judge(j);
        return;
    }
    if (j->phase != PHASE_RUN)
        return; /* on its way in: job_claimed sees the cause; or out */
    hard = hard || w->conf->grace_ms == 0;
    j->deadline_ms = j->idle_ms = INT64_MAX;
    if (!hard && j->kill_ms == INT64_MAX) {
        j->kill_ms = loop_now_ms() + w->conf->grace_ms;
        worker_due(w, j->kill_ms);
    }
    w->ex->cancel(j->run, hard, cause == CAUSE_LOST || cause == CAUSE_PREEMPT);
}

void
job_lost(struct attempt *j)
{
    log_warn("task.lost", "task=%s attempt=%u", j->task->id, j->claim.attempt);
    if (j->phase == PHASE_RUN || j->phase == PHASE_READY) {
        job_cancel(j, CAUSE_LOST, true);
        return;
    }
    job_superseded(j);
    job_drop(j);
}

bool
job_fence_off(struct attempt *j)
{
    if (clock_ms() - j->confirmed_ms < j->w->fence_ms ||
        j->cause == CAUSE_LOST ||
        (j->phase != PHASE_RUN && j->phase != PHASE_READY))
        return false;
    log_warn("task.fenced", "task=%s attempt=%u", j->task->id,
             j->claim.attempt);
    job_cancel(j, CAUSE_LOST, true);
    return true;
}
