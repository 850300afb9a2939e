/*
 * dependencies - sees to tasks that nobody else drives: those that wait for
 * other tasks or a time, and those that are to be cancelled before they ran.
 *
 * A blocked task whose conditions hold goes to tasks.in again without them; if
 * a task it comes after did not succeed, it is cancelled. A cancel of a task
 * that never reached a lane is the ledger's to carry out; one on a lane is
 * decided by the claim: whoever writes it first has the task. A worker that
 * has it hears the cancel itself; a claim nobody serves is taken over.
 *
 * All of it is found in the database and sent with fixed ids, so that a crash
 * costs a repetition. Between passes there is nothing to remember.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_SCHEDULE_DEPENDENCIES_H
#define REAPER_SCHEDULE_DEPENDENCIES_H

#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "reaper/db/db.h"

struct dependencies;

struct dependencies *dependencies_open(struct bus *b, struct loop *l,
                                       struct db *s);
void dependencies_close(struct dependencies *p); /* NULL is fine */

/* Rows changed in a way that may concern us; outside a transaction. */
void dependencies_wake(struct dependencies *p);

#endif
