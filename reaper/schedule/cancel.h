/*
 * cancel - cancels tasks that nobody runs yet, or whose claim nobody serves.
 *
 * A task that never reached a lane is the ledger's to cancel. One on a lane is
 * decided by its claim: whoever writes that first has the task. A worker that
 * has it receives the request itself, as does the router.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_SCHEDULE_CANCEL_H
#define REAPER_SCHEDULE_CANCEL_H

#include "reaper/recover/ledger_op.h"

/* Begins to cancel the task of a row with a cancel request, if that is the
 * ledger's to do and not under way. What stays open is to be looked at again.
 * tell: a worker that serves it is told once more. */
void cancel_task(struct ledger_ops *ops, const struct task_state *row,
                 bool tell);

/* Ends a task that has no claim: op->reason says why. Frees op. */
void cancel_unclaimed(struct ledger_op *op);

#endif
