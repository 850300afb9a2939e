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

struct task_cancel {
    struct ledger_op op;
    bool tell; /* once more, if a worker has it */
};

void
cancel_unclaimed(struct ledger_op *op)
{
    log_info("task.cancelled", "task=%s reason=\"%s\"", op->id,
             LOG_TEXT(str_text(&op->reason)));
    ledger_result_end(op, STATE_CANCELLED, str_wall_ms());
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
    const struct control again = ledger_op_cancel(op);
    const struct result *held;
    struct claims_entry found;
    struct err bad;

    if (e) {
        ledger_op_free(op);
        return;
    }
    mem_pool_reset(ops->pool);
    if (claims_read(ops->bus, entry, op->id, ops->pool, &found, &bad) < 0) {
        log_warn("cancel.claim", "task=%s error=\"%s\"", op->id,
                 LOG_TEXT(bad.msg));
        ledger_op_free(op);
        return;
    }
    held = found.claim ? found.claim->result : NULL;
    if (is_ours(&found)) {
        ledger_result_claim(op, STATE_CANCELLED, str_wall_ms(), &found,
                            on_claimed);
    } else if (state_is_terminal(found.claim->state) && held &&
               strcmp(held->backend, "ledger") == 0) {
        /* Ours: the result may not have gone out before a crash. */
        codec_encode(CODEC_RESULT, held, &op->bytes);
        ledger_result_publish(op);
    } else {
        /* The worker that has the task may have missed it. */
        if (((struct task_cancel *)op)->tell &&
            !state_is_terminal(found.claim->state))
            cancels_put(ops->bus, &again, NULL, NULL);
        ledger_op_free(op);
    }
}

void
cancel_task(struct ledger_ops *ops, const struct task_state *row, bool tell)
{
    char why[CANCELS_REASON_SIZE];
    enum state s = row->state;
    bool unclaimed = (s == STATE_HELD || s == STATE_BLOCKED) &&
                     !row->released; /* else it is on its way to a lane */
    bool on_lane =
        (s == STATE_ROUTED || s == STATE_RUNNING || s == STATE_RETRY_WAIT) &&
        subject_token_ok(row->backend);
    struct task_cancel *t;
    struct ledger_op *op;

    /* An accepted task is in the router's hands, which reads the request. */
    if (!(unclaimed || on_lane) || ledger_ops_has(ops, row->id))
        return;
    t = ledger_op_new(ops, sizeof *t, row);
    t->tell = tell;
    op = &t->op;
    cancels_reason(row->cancel_by, row->cancel_reason, why);
    str_addz(&op->reason, why);
    if (unclaimed) {
        cancel_unclaimed(op);
        return;
    }
    claims_get(ops->bus, op->backend, op->id, on_claim, op);
}
