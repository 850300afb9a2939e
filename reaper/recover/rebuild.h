/*
 * rebuild - a ledger that lost its database reads everything again.
 *
 * The database is new, but the broker believes that what it has delivered
 * before was kept: the ledger's consumers are made anew. The submissions are
 * read first, so that rows and names are what they were; then all the rest.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_RECOVER_REBUILD_H
#define REAPER_RECOVER_REBUILD_H

#include "lib/bus/bus.h"
#include "reaper/db/db.h"

struct rebuild;

struct rebuild_consumer {
    const char *stream, *durable; /* static */
};

struct rebuild_parts {
    struct bus *bus;
    struct loop *loop;
    struct db *store;
    /* The ledger's, that of the submissions first. */
    const struct rebuild_consumer *consumers;
    unsigned n;
    void (*tasks_read)(void *ctx); /* the others are to be read, too */
    void (*over)(void *ctx);       /* everything is folded */
    void *ctx;
};

/*
 * Begins one if it is needed, and resets the consumers: call it before they
 * are bound. *out is NULL if it is not, else the caller's. What parts points
 * to must outlive it.
 */
int rebuild_begin(struct rebuild **out, const struct rebuild_parts *parts,
                  struct err *e);
/* In progress; NULL: no. */
bool rebuild_runs(const struct rebuild *r);
void rebuild_close(struct rebuild *r); /* NULL is fine */

#endif
