/*
 * supervisor - runs a whole fleet on one machine: broker, reaper, router, a
 * local worker, the worker of an AI platform if there is a key for it and,
 * where folders are watched, their gateway, until it is told to stop.
 *
 * A process that ends is started again after a pause that doubles from 0.5 s
 * to 30 s and starts over once it has lived for a minute. A broker that does
 * not answer is killed and started again. All of them die with the
 * supervisor, whatever becomes of it. Spooled submissions are sent as soon as
 * the broker is there.
 *
 * TERM and INT stop the fleet in order, worker first, which may finish what
 * it has in hand; a second one kills.
 */
#ifndef FLEET_SUPERVISOR_H
#define FLEET_SUPERVISOR_H

#include "fleet/fleet_dir.h"
#include "lib/base/err.h"
#include "lib/bus/jetstream_setup.h"

#include <stdbool.h>
#include <stdint.h>

struct supervisor_conf {
    bool fast;
    int64_t slots; /* of the worker; 0: its default */
    int port;      /* of the broker; 0: the one of last time, or a free one */
    const char *secutools_key; /* of the AI platform; NULL: none is asked */
    bool clean_bus; /* other credentials are configured: keep them away */
    struct jetstream_conf topology;
    const char *http; /* the ledger's address as configured; "": a free one */
    /* The project whose jobs/queue and .cloud-queue are watched, "": none; and
     * whether a gateway for folders is wanted at all. */
    const char *project;
    bool folders;
    /* Called once, when the fleet is up. */
    void (*ready)(void *ctx, const char *url, const char *durability);
    void *ctx;
    bool talk; /* starts and stops as lines on stderr */
};

/*
 * Starts the fleet, runs it, stops it. Returns 0 after an orderly stop. On -1
 * nothing is left running and e says what failed; ERR_CONFLICT: another
 * supervisor runs here.
 */
int supervisor_run(const struct fleet_dir *h,
                   const struct supervisor_conf *conf, struct err *e);

#endif
