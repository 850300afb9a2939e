/*
 * repair - repairs open tasks that nobody works on any more: reads the claim,
 * decides with repair_plan, and does what that says.
 *
 *   outcome in the claim, no result in the ledger   the result is published
 *                                                   again
 *   no claim, or a lost one, and no message         sent to its lane again,
 *                                                   with the next number
 *   something that is no claim, for as long as a    taken for no claim
 *   lease lasts, and no message
 *   lost and not to be run again                    ended here: dead or unknown
 *   accepted, and the router's message is gone      sent to tasks.in again
 *
 * All of it is harmless if it was not needed: the claim decides who runs what.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_RECOVER_REPAIR_H
#define REAPER_RECOVER_REPAIR_H

#include "lib/bus/claims.h"
#include "reaper/db/db.h"
#include "reaper/recover/ledger_op.h"

struct repairs {
    struct db *db;
    int64_t quiet_ms; /* an outcome younger than this is left to its worker */
    /* No claim is being read any more: repairs_send is due. Called from a
     * callback of the bus. */
    void (*read)(void *ctx);
    /* What stands in KV_claims for a task is no claim. */
    void (*unreadable)(void *ctx, const char *task, const struct err *e);
    void *ctx;
    struct ledger_ops ops; /* repairs under way */
    struct claims_watch *watch;
    size_t n_reading; /* of them: it is not yet known what they need */
    bool acted;       /* out: something was repaired; the caller resets it */
    int64_t again_ms; /* out: look again so soon; 0: no need. Likewise */
};

/* db, quiet_ms, read, unreadable and ctx are the caller's to set. */
void repairs_init(struct repairs *r, struct bus *b);
void repairs_release(struct repairs *r);

/* The broker's clock as far as it is known, else ours. */
int64_t repairs_now_ms(const struct repairs *r);

/* Begins to repair a task on a lane, unless that is under way. gone: no
 * delivery of its message will come; runs: the attempt that a worker says it
 * runs of a task whose message was lost, or 0. */
void repairs_add(struct repairs *r, const struct task_state *row, bool gone,
                 uint32_t runs);
/* The same of a task that has not been routed. */
void repairs_add_unrouted(struct repairs *r, const struct task_state *row);

/* Dispatches or submits again what needs it, and writes down the numbers
 * first. -1: the database failed. */
int repairs_send(struct repairs *r, struct err *e);

#endif
