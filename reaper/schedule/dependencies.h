/*
 * dependencies - releases tasks that wait for other tasks or a time.
 *
 * A task whose conditions hold goes to tasks.in again without them. If a task
 * it comes after did not succeed, it is cancelled.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_SCHEDULE_DEPENDENCIES_H
#define REAPER_SCHEDULE_DEPENDENCIES_H

#include "reaper/db/db.h"
#include "reaper/recover/ledger_op.h"

/* Looks at a blocked task, in a transaction. What is to be released is
 * recorded first: a cancel that comes then looks for it on its lane. The task
 * is decoded into ops->pool. -1: the database failed. */
int dependencies_check(struct ledger_ops *ops, struct db *db,
                       struct task_state *row, struct err *e);

/* Publishes what is to be released, once the transaction is committed. */
void dependencies_release(struct ledger_ops *ops);

#endif
