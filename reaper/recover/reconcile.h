/*
 * reconcile - finds open tasks that nothing drives any more and drives them;
 * notices a broker whose store was emptied; checks the sums.
 *
 * A pass, each minute: ask how far each lane and the router have come, then
 * how far the streams go, then wait until the ledger itself has folded that
 * far. Only now is a row that is still open, though its message is settled or
 * gone, one that needs help: what its message led to would have been seen. The
 * claim says what help (reaper/recover/repair.h).
 *
 *   result in the claim, not in the ledger   published again
 *   no claim, or a lost one, no message      sent to its lane again, with the
 *                                            next drive number
 *   lost and not to be run again             closed here: dead or unknown
 *   accepted, and the router's message gone  sent to tasks.in again
 *
 * All of it is harmless if it was not needed: the claim decides who runs what.
 * Work is bounded: RECONCILE_ROWS claims are looked at in a pass, more only
 * while there is something to mend.
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

/* 0 stands for the usual: tests are in more of a hurry. */
struct reconcile_conf {
    int64_t first_ms; /* before the first pass: 10 s */
    int64_t every_ms; /* between passes: 60 s */
    int64_t quiet_ms; /* a row younger than this is left alone: 60 s */
};

struct reconcile_parts {
    struct bus *bus;
    struct loop *loop;
    struct db *store;
    const struct presence *live;
    struct alarms *alarms;
    struct reconcile_conf conf;
};

struct reconcile *reconcile_open(const struct reconcile_parts *parts);
void reconcile_close(struct reconcile *r); /* NULL is fine */

/* The broker is back, and may not be the one that went. */
void reconcile_wake(struct reconcile *r);

#endif
