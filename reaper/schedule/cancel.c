/*
 * Cancels a task in the ledger's name. Of a task on a lane it reads the claim
 * and replaces it by compare-and-set, unless a worker serves it or its work
 * goes on elsewhere; then it publishes the result.
 */
#include "reaper/schedule/cancel.h"

#include "lib/base/log.h"
#include "lib/bus/cancels.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "reaper/recover/ledger_result.h"

#include <string.h>

enum { TELL_MS = 5000 };

void
cancel_unclaimed(struct ledger_op *op)
{
    log_info("task.cancelled", "task=%s reason=\"%s\"", op->id,
             LOG_TEXT(str_text(&op->reason)));
    ledger_result_end(op, STATE_CANCELLED, str_wall_ms());
}

/* Says it again to the worker that has the task: it may have missed it. */
static void
tell_again(struct ledger_op *op)
{
    char subject[SUBJECT_SIZE];

    bus_publish(
        op->ops->bus,
        &(struct bus_publication){.subject = subject_cancel(subject, op->id),
                                  .data = str_text(&op->bytes),
                                  .len = op->bytes.len,
                                  .expect = BUS_ANY_REVISION},
        TELL_MS, NULL, NULL);
}

/* Whether a worker is not needed to end it. What it has noted of work elsewhere
 * only a worker can stop. */
static bool
is_ours(const struct claims_entry *found)
{
    return !found->claim ||
           (claims_is_unserved(found) && !*found->claim->remote);
}

static void
on_claimed(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct ledger_op *op = ctx;

    if (!stored) {
        /* A worker was first and receives the cancel itself, or the broker did
         * not answer. Both are looked at again. */
        log_debug("cancel.again", "task=%s error=\"%s\"", op->id,
                  LOG_TEXT(e->msg));
        ledger_op_free(op);
        return;
    }
    log_info("task.cancelled", "task=%s before=run", op->id);
    ledger_result_publish(op);
}

static void
on_claim(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct ledger_op *op = ctx;
    struct ledger_ops *ops = op->ops;
    const struct result *held;
    struct claims_entry found;
    struct err bad;

    if (e) {
        ledger_op_free(op);
        return;
    }
    mem_pool_reset(ops->pool);
    if (claims_read(ops->bus, entry, ops->pool, &found, &bad) < 0) {
        log_warn("cancel.claim", "task=%s error=\"%s\"", op->id,
                 LOG_TEXT(bad.msg));
        ledger_op_free(op);
        return;
    }
    held = found.claim ? found.claim->result : NULL;
    if (is_ours(&found)) {
        str_reset(&op->bytes);
        ledger_result_claim(op, STATE_CANCELLED, str_wall_ms(), &found,
                            on_claimed);
    } else if (state_is_terminal(found.claim->state) && held &&
               strcmp(held->backend, "ledger") == 0) {
        /* Ours: the result may not have gone out before a crash. */
        str_reset(&op->bytes);
        codec_encode(CODEC_RESULT, held, &op->bytes);
        ledger_result_publish(op);
    } else {
        if (op->bytes.len && !state_is_terminal(found.claim->state))
            tell_again(op);
        ledger_op_free(op);
    }
}

void
cancel_task(struct ledger_ops *ops, const struct task_state *row, bool tell)
{
    char why[CANCELS_REASON_SIZE];
    const struct control again = {.task = row->id,
                                  .verb = "cancel",
                                  .reason = row->cancel_reason,
                                  .by = row->cancel_by,
                                  .at_ms = row->cancel_at_ms};
    enum state s = row->state;
    bool unclaimed = (s == STATE_HELD || s == STATE_BLOCKED) &&
                     !row->released; /* else it is on its way to a lane */
    bool on_lane =
        (s == STATE_ROUTED || s == STATE_RUNNING || s == STATE_RETRY_WAIT) &&
        subject_token_ok(row->backend);
    struct ledger_op *op;

    /* An accepted task is in the router's hands, which reads the request. */
    if (!(unclaimed || on_lane) || ledger_ops_has(ops, row->id))
        return;
    op = ledger_op_new(ops, sizeof *op, row);
    cancels_reason(row->cancel_by, row->cancel_reason, why);
    str_addz(&op->reason, why);
    if (unclaimed) {
        cancel_unclaimed(op);
        return;
    }
    if (tell)
        codec_encode(CODEC_CONTROL, &again, &op->bytes);
    claims_get(ops->bus, op->backend, op->id, on_claim, op);
}
