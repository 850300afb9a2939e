/*
 * schedule - passes over the tasks that wait: those that are blocked by others
 * or a time (dependencies), and those with a cancel request that nobody else
 * carries out (cancel).
 *
 * Everything is found in the database and sent with fixed ids, so that a crash
 * costs a repetition. Between passes there is nothing to remember.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_SCHEDULE_SCHEDULE_H
#define REAPER_SCHEDULE_SCHEDULE_H

#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "reaper/db/db.h"
#include "reaper/query/alarms.h"

struct schedule;

struct schedule_parts {
    struct bus *bus;
    struct loop *loop;
    struct db *db;
    struct alarms *alarms;
    int64_t patience_ms; /* for tasks nobody has submitted; 0: 10 minutes */
    bool (*caught_up)(void *ctx); /* everything submitted has been read */
    void *ctx;
};

struct schedule *schedule_open(const struct schedule_parts *p);
void schedule_close(struct schedule *s); /* NULL is fine */

/* Rows changed in a way that may matter here. Call it outside a transaction. */
void schedule_wake(struct schedule *s);
/* A cancel was requested, or the task of one has ended. */
void schedule_note_cancels(struct schedule *s);

#endif
