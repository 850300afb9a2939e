/*
 * rebuild - fills a new database from the streams.
 *
 * The broker believes that what it has delivered before is in the ledger, so
 * the ledger's consumers are created anew. The submissions are read first, so
 * that rows and names are what they were, and then everything else.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_RECOVER_REBUILD_H
#define REAPER_RECOVER_REBUILD_H

#include "lib/bus/bus.h"
#include "reaper/db/db.h"

struct rebuild;

struct rebuild_parts {
    struct bus *bus;
    struct loop *loop;
    struct db *db;
    void (*tasks_read)(void *ctx); /* the submissions are: open the others */
    void (*done)(void *ctx);       /* everything is folded */
    void *ctx;
};

/*
 * Begins a rebuild if the database is new and the ledger is not; *out is NULL
 * if none is needed, else the caller's. Resets the consumers: call it before
 * they are bound. parts is copied.
 */
int rebuild_begin(struct rebuild **out, const struct rebuild_parts *parts,
                  struct err *e);
/* Whether one is in progress; NULL: no. */
bool rebuild_runs(const struct rebuild *r);
void rebuild_close(struct rebuild *r); /* NULL is fine */

#endif
