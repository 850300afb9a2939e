/*
 * dependencies - releases tasks that wait for other tasks or a time.
 *
 * A task whose conditions hold goes to tasks.in again without them. If a task
 * it comes after did not succeed, it is cancelled. Tasks that wait for each
 * other are rejected, and so is one that waits for a task nobody submits.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_SCHEDULE_DEPENDENCIES_H
#define REAPER_SCHEDULE_DEPENDENCIES_H

#include "reaper/db/db.h"
#include "reaper/recover/ledger_op.h"
#include "reaper/schedule/circles.h"

struct dependencies {
    struct ledger_ops *ops;
    struct db *db;
    int64_t patience_ms; /* for a task that nobody has submitted */
    /* Of a pass. caught_up: the ledger has read all that was submitted. */
    bool caught_up;
    size_t n_unknown;  /* tasks that wait for one nobody has submitted */
    char unknown[160]; /* the first of them, in words */
    struct circles circles;
};

/* Looks at a blocked task, in a transaction. What is to be released is
 * recorded first: a cancel that comes then looks for it on its lane. The task
 * is decoded into ops->pool. -1: the database failed. */
int dependencies_check(struct dependencies *d, struct task_state *row,
                       struct err *e);

/* All blocked tasks have been looked at: rejects those that wait for each
 * other. */
void dependencies_end(struct dependencies *d);

/* Publishes what is to be released, once the transaction is committed. */
void dependencies_release(struct ledger_ops *ops);

#endif
