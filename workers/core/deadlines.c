#include "workers/core/worker_private.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"

void
lease_renew_all(struct worker *w, int64_t pause_ms)
{
    int64_t before = lease_now_ms() - (w->beat_ms - pause_ms);
    struct attempt *a, *next;

    for (a = w->attempts; a; a = next) {
        next = a->next;
        if (a->cause == CAUSE_LOST || lease_fence_off(a) || a->sent_ms > before)
            continue;
        if (a->phase == PHASE_RUN)
            FAILPOINT("worker.mid_run");
        bus_msg_progress(a->delivery->msg);
        if (a->phase == PHASE_READY || a->phase == PHASE_RUN ||
            a->phase == PHASE_OUTPUT)
            claim_renew(a);
    }
}

static int64_t
least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t
due_of(const struct attempt *a)
{
    return least(least(a->deadline_ms, a->idle_ms),
                 least(least(a->kill_ms, least(a->tell_ms, a->wait_ms)),
                       least(a->again_ms, a->spool_ms)));
}

/* It was claimed too early: others may have a slot for it. */
static void
return_waiting(struct attempt *a, int64_t now)
{
    struct worker *w = a->w;

    log_info("task.returned", "task=%s attempt=%u", a->task->id,
             a->claim.attempt);
    prefetch_returned(&w->ahead, now);
    capacity_recount(w);
    attempt_cancel(a, CAUSE_PREEMPT, false);
}

/* The run has lasted long enough to be news. What ends before has its end told:
 * two messages and two lines for each of a thousand tasks a second would serve
 * nobody. */
static void
tell_started(struct attempt *a)
{
    a->tell_ms = INT64_MAX;
    log_info("task.started", "task=%s attempt=%u fence=%llu", a->task->id,
             a->claim.attempt, (unsigned long long)a->claim.fence);
    attempt_tell(a);
}

/* What is due for a. It may be freed. */
static void
attempt_due(struct attempt *a, int64_t now)
{
    if (a->spool_ms <= now)
        spool_replay_overdue(a);
    if (a->again_ms <= now) {
        a->again_ms = INT64_MAX;
        if (lease_fence_off(a))
            return;
        if (a->cause != CAUSE_LOST)
            claim_again(a);
    }
    if (a->kill_ms <= now) {
        a->kill_ms = INT64_MAX;
        if (a->phase == PHASE_RUN)
            a->w->ex->cancel(a->run, true, a->cause == CAUSE_PREEMPT);
    }
    if (a->wait_ms <= now) {
        a->wait_ms = INT64_MAX;
        if (a->phase == PHASE_READY) {
            if (!lease_fence_off(a))
                return_waiting(a, now);
            return;
        }
    }
    if (a->phase != PHASE_RUN)
        return;
    if (a->tell_ms <= now)
        tell_started(a);
    if (a->deadline_ms <= now) {
        attempt_cancel(a, CAUSE_TIMEOUT, false);
    } else if (a->idle_ms <= now) {
        a->idle_ms = sink_last_ms(a->sink) + (int64_t)a->task->idle_timeout_ms;
        if (a->idle_ms <= now)
            attempt_cancel(a, CAUSE_IDLE, false);
    }
}

static void
on_due(void *ctx)
{
    struct worker *w = ctx;
    int64_t now = loop_now_ms(), next_ms;
    struct attempt *a, *next;

    w->due_ms = INT64_MAX;
    w->n_spooled = 0;
    for (a = w->attempts; a; a = next) {
        next = a->next;
        if (due_of(a) <= now)
            attempt_due(a, now);
    }
    spool_replay_sync(w);
    next_ms = delivery_send_on_overdue(w, now);
    for (a = w->attempts; a; a = a->next)
        next_ms = least(next_ms, due_of(a));
    deadlines_at(w, next_ms);
}

void
deadlines_at(struct worker *w, int64_t at_ms)
{
    if (at_ms >= w->due_ms)
        return;
    w->due_ms = at_ms;
    if (w->due)
        loop_timer_again(w->due, at_ms - loop_now_ms(), 0);
    else
        w->due = loop_timer_start(w->loop, at_ms - loop_now_ms(), 0, on_due, w);
}
