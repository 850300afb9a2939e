/*
 * ledger_op - what the ledger is doing about one task: it may read and write
 * the task's claim, and then publishes one message.
 *
 * There is at most one per task in a list, so that nothing is sent twice while
 * it is under way. Message ids are fixed: a crash costs a repetition, no more.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_RECOVER_LEDGER_OP_H
#define REAPER_RECOVER_LEDGER_OP_H

#include "lib/bus/bus.h"
#include "reaper/ingest/fold.h"

#include <sys/queue.h>

struct ledger_ops {
    struct bus *bus;
    struct mem_pool *pool; /* of the row or answer that is looked at now */
    LIST_HEAD(, ledger_op) list;
    size_t n;
};

struct ledger_op {
    struct ledger_ops *ops;
    LIST_ENTRY(ledger_op) link;
    char id[TASK_ID_SIZE], source[TASK_ID_SIZE], backend[TASK_ID_SIZE],
        batch[TASK_ID_SIZE];
    char *cancel_by, *cancel_reason; /* of the request to cancel it */
    int64_t cancel_at_ms;            /* 0: there is none */
    struct str reason;               /* of the result that ends the task */
    struct str bytes;                /* the message to publish, encoded */
    bool due; /* to be published once what it relies on is committed */
};

void ledger_ops_init(struct ledger_ops *ops, struct bus *b);
/* Frees all that are under way; their callbacks are not called any more. */
void ledger_ops_release(struct ledger_ops *ops);
/* Whether one for that task is under way. */
bool ledger_ops_has(const struct ledger_ops *ops, const char *id);

/* Zeroed memory of size bytes, of which the first are the operation, for the
 * task of that row. */
void *ledger_op_new(struct ledger_ops *ops, size_t size,
                    const struct task_state *row);
void ledger_op_free(struct ledger_op *op);

/* The request to cancel the task, borrowed from op. */
struct control ledger_op_cancel(const struct ledger_op *op);

/* Encodes into op->bytes t without its conditions, for tasks.in: the router
 * leaves alone what waits. */
void ledger_op_encode_released(struct ledger_op *op, struct task *t);

/* Publishes op->bytes under that message id until it is stored, then frees
 * op. */
void ledger_op_publish(struct ledger_op *op, const char *subject,
                       const char *id);

#endif
