/*
 * The order is the promise: the claim has the outcome before the result counts,
 * and both are stored before the task is acknowledged. The result leaves right
 * behind the outcome where nobody can have taken the claim; the ledger believes
 * it once the claim says the same.
 */
#include "workers/core/settle.h"

#include "lib/base/failpoint.h"
#include "lib/base/feature.h"
#include "lib/base/log.h"
#include "lib/model/codec.h"
#include "workers/core/attempt.h"
#include "workers/core/claim.h"
#include "workers/core/result_publisher.h"
#include "workers/core/unconfirmed.h"
#include "workers/core/verdict.h"

/* --- publishing ----------------------------------------------------------- */

void
settle_published(struct attempt *a, const struct err *e)
{
    FAILPOINT("worker.after_result");
    unconfirmed_remove(a);
    if (e) {
        /* It will never be stored: the claim has it, and whoever gets the task
         * next emits it from there. */
        log_error("result.refused", "task=%s error=\"%s\"", a->task->id,
                  LOG_TEXT(e->msg));
        attempt_retry(a, a->w->conf->lease_ms);
    } else if (a->result.final) {
        attempt_done(a);
    } else {
        attempt_retry(a, a->delay_ms);
    }
}

static void
publish(struct attempt *a)
{
    attempt_set_phase(a, PHASE_PUBLISH);
    if (a->stored_early)
        settle_published(a, NULL);
    else if (!a->message) /* else it is under way */
        result_publisher_publish(a, false);
}

void
settle_published_early(struct attempt *a, bool stored)
{
    a->stored_early = stored;
    if (a->phase == PHASE_PUBLISH)
        publish(a);
}

void
settle_publish(struct attempt *a)
{
    FAILPOINT("worker.after_outcome");
    log_info("task.ended",
             "task=%s attempt=%u fence=%llu state=%s exit=%d ms=%lld final=%s",
             a->task->id, a->result.attempt,
             (unsigned long long)a->result.fence, state_name(a->result.state),
             a->result.exit_code, (long long)(a->ended_ms - a->began_ms),
             a->result.final ? "yes" : "no");
    publish(a);
}

/* --- the outcome ---------------------------------------------------------- */

void
settle_begin(struct attempt *a)
{
    verdict_fill(a);
    unconfirmed_expect(a);
    attempt_set_phase(a, PHASE_SETTLE);
    if (claim_settle(a) && feature_on(FEATURE_EARLY) &&
        lease_is_fresh(&a->lease, a->w->fence_ms))
        result_publisher_publish(a, true);
}

void
settle_close(struct attempt *a, const struct claim *found,
             const struct delivery_plan *plan)
{
    verdict_close(a, found, plan);
    attempt_set_phase(a, PHASE_CLOSE);
    (void)claim_settle(a);
}

/* --- results of earlier attempts ------------------------------------------ */

static struct claims_task
task_of(const struct attempt *a)
{
    return (struct claims_task){a->task->id, a->w->ex->name, a->lane->name,
                                a->task->batch ? a->task->batch->id : ""};
}

void
settle_emit(struct attempt *a, const struct claims_entry *found)
{
    const struct claims_task task = task_of(a);
    struct output_part part;

    log_info("task.emitted", "task=%s attempt=%u state=%s", a->task->id,
             found->claim->attempt, state_name(found->claim->state));
    claims_result(found, &task, &part, &a->result);
    a->result.final = true;
    publish(a); /* encodes at once: found need not live on */
}

void
settle_keep_prior(struct attempt *a, const struct claims_entry *found)
{
    const struct claims_task task = task_of(a);
    struct output_part part;
    struct result r;

    str_reset(&a->prior);
    if (found->claim->state != STATE_RUNNING && !found->claim->result)
        return;
    claims_result(found, &task, &part, &r);
    if (found->claim->state == STATE_RUNNING) {
        r.state = STATE_LOST;
        r.no_exit_code = true;
        r.finished_at_ms = str_wall_ms();
        r.reason = "its worker fell silent: it ended, was cut off or suspended";
        r.emitted_again = false;
    }
    r.final = false;
    (void)task_result_id(&r, a->prior_id);
    codec_encode(CODEC_RESULT, &r, &a->prior);
}

static void
on_prior(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    (void)ctx;
    (void)stored;
    (void)e; /* the attempt that matters is the one that runs now */
}

void
settle_publish_prior(struct attempt *a)
{
    char subject[SUBJECT_SIZE];
    struct bus_publication p = {.subject = result_publisher_subject(a, subject),
                                .id = a->prior_id,
                                .data = a->prior.data,
                                .len = a->prior.len,
                                .expect = BUS_ANY_REVISION};

    if (a->prior.len == 0)
        return;
    bus_publish_until(a->w->bus, &p, on_prior, a->w);
    str_free(&a->prior);
}
