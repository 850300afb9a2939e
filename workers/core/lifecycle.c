/*
 * Drives an attempt from one file to the next: the claim that is found says
 * what to do with a delivery (lib/model/task_state.h), a claim that is taken
 * goes to a slot, and what is due is passed on to the file whose deadline it
 * is. The events of delivery and claim arrive here.
 */
#include "workers/core/lifecycle.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/model/codec.h"
#include "workers/core/attempt.h"
#include "workers/core/capacity.h"
#include "workers/core/claim.h"
#include "workers/core/delivery.h"
#include "workers/core/result_publisher.h"
#include "workers/core/run.h"
#include "workers/core/settle.h"
#include "workers/core/unconfirmed.h"

#include <inttypes.h>

enum { LEDGER_AGAIN_MS = 10000 }; /* after an answer that was of no use */

/* --- delivered ------------------------------------------------------------ */

static bool
on_begin(struct delivery *d, struct mem_pool *pool,
         const struct routed_task *routed)
{
    struct worker *w = d->lane->worker;
    const struct attempt *other = hash_table_find(&w->tasks, routed->task->id);

    if (!other) {
        claim_begin(attempt_new(d, pool, routed));
        return true;
    }
    /* Of a second copy nothing is needed. To settle a second delivery would
     * settle the first. */
    if (other->delivery != d && other->delivery->msg->seq == d->msg->seq) {
        bus_msg_progress(d->msg);
        d->left = true;
    }
    return false;
}

/* --- the claim is found --------------------------------------------------- */

/* For how long the place still refuses a task that was handed back. */
static int64_t
still_refused_ms(const struct attempt *a, const struct claim *found)
{
    const struct worker *w = a->w;

    if (!w->ex->wait_ms || !found || found->state != STATE_PREEMPTED)
        return 0;
    return w->ex->wait_ms(w->ex_ctx, a->task, a->lane->name, found->remote);
}

static void
take(struct attempt *a, const struct claims_entry *found,
     const struct delivery_plan *plan)
{
    int64_t wait_ms = still_refused_ms(a, found->claim);

    if (wait_ms > 0) {
        log_debug("task.refused", "task=%s again_ms=%lld", a->task->id,
                  (long long)wait_ms);
        attempt_retry(a, wait_ms);
        return;
    }
    if (found->claim)
        settle_keep_prior(a, found);
    claim_take(a, found->claim, plan);
}

/*
 * A message that has been stored for so long may be one that was dealt with, of
 * a consumer that was made anew: its claim may have expired. That there is no
 * claim then says nothing, and the ledger is asked.
 */
static bool
is_old(const struct attempt *a)
{
    return claims_may_have_expired(a->w->bus, a->delivery->msg->stored_at_ms,
                                   a->w->conf->old_after_ms);
}

static void
on_found(struct attempt *a, const struct claims_entry *found,
         const struct claim_sight *sight)
{
    struct delivery_plan plan;

    if (a->phase == PHASE_CLOSE) {
        /* The worker we took for lost is alive after all: decide anew. */
        attempt_set_phase(a, PHASE_CLAIM);
        codec_init(CODEC_CLAIM, &a->claim);
    }
    state_on_delivery(a->task, found->claim, sight, str_wall_ms(), &plan);
    switch (plan.what) {
    case DELIVERY_START:
        if (!found->claim && is_old(a))
            claim_ask_ledger(a);
        else
            take(a, found, &plan);
        return;
    case DELIVERY_EMIT:
        settle_emit(a, found);
        return;
    case DELIVERY_WAIT:
        attempt_retry(a, plan.delay_ms);
        return;
    case DELIVERY_CLOSE:
        settle_close(a, found->claim, &plan);
        return;
    }
}

/* What follows if the claim, which cannot be read, was that of an attempt that
 * is lost: the last one the ledger knows, and at least one. */
static void
replace_unreadable(struct attempt *a, uint32_t attempts)
{
    const struct claim_sight long_ago = {INT64_MAX, INT64_MAX};
    struct delivery_plan plan;
    struct claim lost;

    a->unreadable = false;
    codec_init(CODEC_CLAIM, &lost);
    lost.state = STATE_RUNNING;
    lost.attempt = attempts ? attempts : 1;
    lost.fence = a->revision;
    lost.lost = lost.attempt - 1;
    state_on_delivery(a->task, &lost, &long_ago, str_wall_ms(), &plan);
    log_warn("claim.replaced", "task=%s attempt=%u", a->task->id, plan.attempt);
    if (plan.what == DELIVERY_CLOSE)
        settle_close(a, &lost, &plan);
    else
        claim_take(a, NULL, &plan);
}

static void
on_answered(struct attempt *a, enum ledger_answer answer, uint32_t attempts,
            const struct err *e)
{
    struct delivery_plan plan;

    switch (answer) {
    case LEDGER_UNSURE:
        log_warn("task.old",
                 "task=%s error=\"%s\" note=\"what became of it only the "
                 "ledger knows; asked again\"",
                 a->task->id, e ? LOG_TEXT(e->msg) : "no answer of the ledger");
        attempt_retry(a, LEDGER_AGAIN_MS);
        return;
    case LEDGER_OVER:
        log_warn("task.over",
                 "task=%s seq=%" PRIu64 " note=\"the ledger has its outcome\"",
                 a->task->id, a->delivery->msg->seq);
        attempt_done(a);
        return;
    case LEDGER_UNKNOWN:
    case LEDGER_OPEN:
        if (a->unreadable) {
            replace_unreadable(a, attempts);
            return;
        }
        state_on_delivery(a->task, NULL, NULL, str_wall_ms(), &plan);
        take(a, &(struct claims_entry){0}, &plan);
        return;
    }
}

/* Whoever holds the claim writes it again within its lease. If nobody does, the
 * ledger says how far the task has come. */
static void
on_unreadable(struct attempt *a, const struct claim_sight *sight)
{
    int64_t wait_ms = a->w->conf->lease_ms - sight->unchanged_ms;

    attempt_set_phase(a, PHASE_CLAIM);
    codec_init(CODEC_CLAIM, &a->claim);
    a->unreadable = true;
    if (wait_ms > 0)
        attempt_retry(a, wait_ms);
    else
        claim_ask_ledger(a);
}

static void
on_taken(struct attempt *a, const struct control *cancel)
{
    struct worker *w = a->w;

    FAILPOINT("worker.after_claim");
    settle_publish_prior(a);
    deadlines_clear(&a->deadlines, DUE_CLAIM);
    prefetch_claimed(&w->prefetch, loop_now_ms() - a->began_ms);
    a->began_ms = a->ended_ms = loop_now_ms();
    if (cancel)
        run_cancel_requested(a, cancel);
    if (w->handing_back && a->cause == CAUSE_NONE)
        a->cause = CAUSE_PREEMPT;
    if (a->cause == CAUSE_NONE || run_must_stop_elsewhere(a))
        run_enqueue(a);
    else
        settle_begin(a);
}

/* --- what comes with time ------------------------------------------------- */

/* It was claimed too early: others may have a slot for it. */
static void
return_waiting(struct attempt *a, int64_t now_ms)
{
    log_info("task.returned", "task=%s attempt=%u", a->task->id,
             a->claim.attempt);
    prefetch_returned(&a->w->prefetch, now_ms);
    capacity_count_prefetch(a->w);
    run_cancel(a, CAUSE_PREEMPT, false);
}

/* Does what is due for a, which may end it. */
static void
attempt_due(struct attempt *a, int64_t now_ms)
{
    struct deadlines *d = &a->deadlines;

    if (deadlines_take(d, DUE_SPOOL, now_ms))
        unconfirmed_overdue(a);
    if (deadlines_take(d, DUE_CLAIM, now_ms)) {
        if (run_fence(a))
            return;
        if (a->cause != CAUSE_LOST)
            claim_retry(a);
    }
    if (deadlines_take(d, DUE_SLOT, now_ms) && a->phase == PHASE_READY) {
        if (!run_fence(a))
            return_waiting(a, now_ms);
        return;
    }
    if (a->phase == PHASE_RUN)
        run_on_deadlines(a, now_ms);
}

static int64_t
on_due(void *ctx, int64_t now_ms)
{
    struct worker *w = ctx;
    struct attempt *a, *next;
    int64_t next_ms, at_ms;

    for (a = LIST_FIRST(&w->attempts); a; a = next) {
        next = LIST_NEXT(a, entry);
        if (deadlines_next(&a->deadlines) <= now_ms)
            attempt_due(a, now_ms);
    }
    unconfirmed_sync(w);
    next_ms = delivery_send_on_due(w, now_ms);
    for (a = LIST_FIRST(&w->attempts); a; a = LIST_NEXT(a, entry)) {
        at_ms = deadlines_next(&a->deadlines);
        if (at_ms < next_ms)
            next_ms = at_ms;
    }
    return next_ms;
}

void
lifecycle_renew(struct worker *w, int64_t pause_ms)
{
    int64_t before = lease_now_ms() - (w->renew_ms - pause_ms);
    struct attempt *a, *next;

    for (a = LIST_FIRST(&w->attempts); a; a = next) {
        next = LIST_NEXT(a, entry);
        if (a->cause == CAUSE_LOST || run_fence(a) || a->lease.sent_ms > before)
            continue;
        if (a->phase == PHASE_RUN)
            FAILPOINT("worker.mid_run");
        bus_msg_progress(a->delivery->msg);
        if (a->phase == PHASE_READY || a->phase == PHASE_RUN ||
            a->phase == PHASE_OUTPUT)
            claim_renew(a);
    }
}

void
lifecycle_resume(struct worker *w, int64_t stopped_ms, int64_t slept_ms)
{
    struct attempt *a;

    claims_watch_restart(w->watch);
    LIST_FOREACH (a, &w->attempts, entry)
        run_resume(a, stopped_ms, slept_ms);
}

/* --- the worker's end ----------------------------------------------------- */

void
lifecycle_hand_back(struct worker *w, bool hard)
{
    struct attempt *a, *next;

    w->handing_back = true;
    for (a = LIST_FIRST(&w->attempts); a; a = next) {
        next = LIST_NEXT(a, entry);
        if (a->phase == PHASE_CLAIM && a->claim.attempt == 0 &&
            a->io == CLAIM_IDLE)
            attempt_retry(a, 0);
        else
            run_cancel(a, CAUSE_PREEMPT, hard);
    }
    for (a = LIST_FIRST(&w->attempts); a; a = LIST_NEXT(a, entry))
        unconfirmed_write(a); /* we may not be there when it is confirmed */
    unconfirmed_sync(w);
}

void
lifecycle_open(struct worker *w, void (*all_settled)(struct worker *w))
{
    static const struct claim_events claim_events = {
        .found = on_found,
        .answered = on_answered,
        .taken = on_taken,
        .noted = run_noted,
        .settled = settle_publish,
        .lost = run_lost,
        .unreadable = on_unreadable,
    };

    w->deadlines = deadlines_open(w->loop, on_due, w);
    w->claim_events = &claim_events;
    w->watch = claims_watch_new();
    TAILQ_INIT(&w->ready);
    prefetch_init(&w->prefetch);
    delivery_open(w, on_begin, all_settled);
    result_publisher_open(w, settle_published, settle_published_early);
}

void
lifecycle_close(struct worker *w)
{
    for (struct attempt *a = LIST_FIRST(&w->attempts); a;
         a = LIST_NEXT(a, entry))
        unconfirmed_write(a);
    unconfirmed_sync(w);
    while (!LIST_EMPTY(&w->attempts))
        attempt_drop(LIST_FIRST(&w->attempts));
    delivery_close(w);
    result_publisher_close(w);
    hash_table_free(&w->tasks);
    deadlines_close(w->deadlines);
    claims_watch_free(w->watch);
}
