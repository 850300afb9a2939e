/*
 * ledger_lease - one ledger at a time: the key lease.ledger of KV_control.
 *
 * A second ledger would make the consumers of the first anew, and both would
 * answer. So a ledger touches nothing before it has the lease, which it renews;
 * another waits, and takes it when it was given back, or has not been renewed
 * for as long as it lasts, by the broker's clock and by its own. A ledger that
 * comes back on the same host with the same database, whose lock it has, need
 * not wait for itself.
 *
 * A broker that is away lets nobody take the lease: what was not renewed
 * meanwhile is renewed when it is back, or found to be another's.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_LEDGER_LEASE_H
#define REAPER_LEDGER_LEASE_H

#include "lib/bus/bus.h"

struct ledger_lease;

struct ledger_lease_parts {
    struct bus *bus;
    struct loop *loop;
    const char *host, *database; /* of this one; copied */
    int64_t lease_ms;            /* 0: the default; tests use less */
    /* It is ours; called once. */
    void (*taken)(void *ctx);
    /* Another has it: stop at once. */
    void (*lost)(void *ctx);
    void *ctx;
};

struct ledger_lease *ledger_lease_open(const struct ledger_lease_parts *parts);

/* Gives it back, as far as the bus still sends that. NULL is fine. */
void ledger_lease_close(struct ledger_lease *l);

/* Call when the broker is back. */
void ledger_lease_renew(struct ledger_lease *l);

#endif
