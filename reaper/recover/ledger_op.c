/*
 * Keeps operations in a list that belongs to the caller and publishes their
 * messages. A list is searched from its start: it holds a thousand at most.
 */
#include "reaper/recover/ledger_op.h"

#include "lib/base/log.h"
#include "lib/model/codec.h"
#include "lib/model/control_msg.h"
#include "lib/model/subject.h"

#include <string.h>

void
ledger_ops_init(struct ledger_ops *ops, struct bus *b)
{
    *ops = (struct ledger_ops){.bus = b, .pool = mem_pool_new()};
}

void
ledger_ops_release(struct ledger_ops *ops)
{
    struct ledger_op *op;

    while ((op = LIST_FIRST(&ops->list)) != NULL) {
        bus_forget(ops->bus, op);
        ledger_op_free(op);
    }
    mem_pool_free(ops->pool);
}

bool
ledger_ops_has(const struct ledger_ops *ops, const char *id)
{
    const struct ledger_op *op;

    LIST_FOREACH (op, &ops->list, link)
        if (strcmp(op->id, id) == 0)
            return true;
    return false;
}

void *
ledger_op_new(struct ledger_ops *ops, size_t size, const struct task_state *row)
{
    struct ledger_op *op = mem_zero(1, size);

    op->ops = ops;
    (void)str_copy(op->id, sizeof op->id, row->id);
    (void)str_copy(op->source, sizeof op->source,
                   subject_token_ok(row->source) ? row->source : "cli");
    (void)str_copy(op->backend, sizeof op->backend, row->backend);
    (void)str_copy(op->batch, sizeof op->batch, row->batch);
    op->cancel_at_ms = row->cancel_at_ms;
    op->cancel_by = mem_strdup(row->cancel_by);
    op->cancel_reason = mem_strdup(row->cancel_reason);
    LIST_INSERT_HEAD(&ops->list, op, link);
    ops->n++;
    return op;
}

void
ledger_op_free(struct ledger_op *op)
{
    LIST_REMOVE(op, link);
    op->ops->n--;
    mem_free(op->cancel_by);
    mem_free(op->cancel_reason);
    str_free(&op->reason);
    str_free(&op->bytes);
    mem_free(op);
}

struct control
ledger_op_cancel(const struct ledger_op *op)
{
    struct control c = control_msg_new(CONTROL_CANCEL, op->cancel_by);

    c.task = op->id;
    c.reason = op->cancel_reason;
    c.at_ms = op->cancel_at_ms;
    return c;
}

void
ledger_op_encode_released(struct ledger_op *op, struct task *t)
{
    t->hold = false;
    t->after = NULL;
    t->n_after = 0;
    t->not_before_ms = 0;
    codec_encode(CODEC_TASK, t, &op->bytes);
}

static void
on_published(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct ledger_op *op = ctx;

    (void)stored;
    if (e)
        log_error("task.publish_failed", "task=%s error=\"%s\"", op->id,
                  LOG_TEXT(e->msg));
    ledger_op_free(op);
}

void
ledger_op_publish(struct ledger_op *op, const char *subject, const char *id)
{
    op->due = false;
    bus_publish_until(op->ops->bus,
                      &(struct bus_publication){.subject = subject,
                                                .id = id,
                                                .data = str_text(&op->bytes),
                                                .len = op->bytes.len,
                                                .expect = BUS_ANY_REVISION},
                      on_published, op);
}
