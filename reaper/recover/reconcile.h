/*
 * reconcile - finds open tasks that nobody works on any more and has them
 * repaired; notices a broker whose store was emptied; checks the counters.
 *
 * A pass, each minute: ask how far each lane and the router have come, then
 * how far the streams go, then wait until the ledger itself has folded that
 * far. Only now does a row that is still open, though its message is settled or
 * gone, need repair (reaper/recover/repair.h): what its message led to would
 * have been seen.
 *
 * Work is bounded: a pass looks at RECONCILE_ROWS rows, at more only while
 * some of them need repair.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_RECOVER_RECONCILE_H
#define REAPER_RECOVER_RECONCILE_H

#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "reaper/db/db.h"
#include "reaper/query/alarms.h"
#include "reaper/query/presence.h"

enum { RECONCILE_ROWS = 500 };

struct reconcile;

/* 0 stands for the default; tests set shorter times. */
struct reconcile_conf {
    int64_t first_ms; /* before the first pass: 10 s */
    int64_t every_ms; /* between passes: 60 s */
    int64_t quiet_ms; /* a row that changed since is left alone: 60 s */
};

struct reconcile_parts {
    struct bus *bus;
    struct loop *loop;
    struct db *db;
    const struct presence *presence;
    struct alarms *alarms;
    struct reconcile_conf conf;
};

struct reconcile *reconcile_open(const struct reconcile_parts *parts);
void reconcile_close(struct reconcile *r); /* NULL is fine */

/* The broker is back, and may be another one: the next pass comes soon. */
void reconcile_wake(struct reconcile *r);

#endif
