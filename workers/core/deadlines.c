#include "workers/core/worker_private.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"

void
worker_beat(struct worker *w, int64_t pause_ms)
{
    int64_t before = clock_ms() - (w->beat_ms - pause_ms);
    struct attempt *j, *next;

    for (j = w->jobs; j; j = next) {
        next = j->next;
        if (j->cause == CAUSE_LOST || job_fence_off(j) || j->sent_ms > before)
            continue;
        if (j->phase == PHASE_RUN)
            FAILPOINT("worker.mid_run");
        bus_msg_progress(j->parcel->msg);
        if (j->phase == PHASE_READY || j->phase == PHASE_RUN ||
            j->phase == PHASE_OUTPUT)
            claim_renew(j);
    }
}

static int64_t
least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
due_of(const struct attempt *j)
{
    return least(least(j->deadline_ms, j->idle_ms),
                 least(least(j->kill_ms, least(j->tell_ms, j->wait_ms)),
                       least(j->again_ms, j->spool_ms)));
}

/* It was claimed too early: others may have a slot for it. */
static void
return_waiting(struct attempt *j, int64_t now)
{
    struct worker *w = j->w;

    log_info("task.returned", "task=%s attempt=%u", j->task->id,
             j->claim.attempt);
    prefetch_returned(&w->ahead, now);
    worker_count_ahead(w);
    job_cancel(j, CAUSE_PREEMPT, false);
}

/* The run has lasted long enough to be news. What ends before has its end told:
 * two messages and two lines for each of a thousand tasks a second would serve
 * nobody. */
static void
tell_started(struct attempt *j)
{
    j->tell_ms = INT64_MAX;
    log_info("task.started", "task=%s attempt=%u fence=%llu", j->task->id,
             j->claim.attempt, (unsigned long long)j->claim.fence);
    job_tell(j);
}

/* What is due for j. It may be freed. */
static void
job_due(struct attempt *j, int64_t now)
{
    if (j->spool_ms <= now)
        job_unconfirmed(j);
    if (j->again_ms <= now) {
        j->again_ms = INT64_MAX;
        if (job_fence_off(j))
            return;
        if (j->cause != CAUSE_LOST)
            claim_again(j);
    }
    if (j->kill_ms <= now) {
        j->kill_ms = INT64_MAX;
        if (j->phase == PHASE_RUN)
            j->w->ex->cancel(j->run, true, j->cause == CAUSE_PREEMPT);
    }
    if (j->wait_ms <= now) {
        j->wait_ms = INT64_MAX;
        if (j->phase == PHASE_READY) {
            if (!job_fence_off(j))
                return_waiting(j, now);
            return;
        }
    }
    if (j->phase != PHASE_RUN)
        return;
    if (j->tell_ms <= now)
        tell_started(j);
    if (j->deadline_ms <= now) {
        job_cancel(j, CAUSE_TIMEOUT, false);
    } else if (j->idle_ms <= now) {
        j->idle_ms = sink_last_ms(j->sink) + (int64_t)j->task->idle_timeout_ms;
        if (j->idle_ms <= now)
            job_cancel(j, CAUSE_IDLE, false);
    }
}

static void
on_due(void *ctx)
{
    struct worker *w = ctx;
    int64_t now = loop_now_ms(), next_ms;
    struct attempt *j, *next;

    w->due_ms = INT64_MAX;
    w->n_spooled = 0;
    for (j = w->jobs; j; j = next) {
        next = j->next;
        if (due_of(j) <= now)
            job_due(j, now);
    }
    worker_sync_spool(w);
    next_ms = worker_waiting_due(w, now);
    for (j = w->jobs; j; j = j->next)
        next_ms = least(next_ms, due_of(j));
    worker_due(w, next_ms);
}

void
worker_due(struct worker *w, int64_t at_ms)
{
    if (at_ms >= w->due_ms)
        return;
    w->due_ms = at_ms;
    if (w->due)
        loop_timer_again(w->due, at_ms - loop_now_ms(), 0);
    else
        w->due = loop_timer_start(w->loop, at_ms - loop_now_ms(), 0, on_due, w);
}
