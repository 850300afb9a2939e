/*
 * supervisor - runs a whole fleet on one machine until it is told to stop:
 * broker, reaper, router, a local worker, the worker of an AI platform if
 * there is a key for it and, where folders are watched, their gateway.
 *
 * A process that ends is started again (fleet/restart); a broker that does not
 * answer is killed and started again (fleet/broker_watch). All processes die
 * with the supervisor, whatever becomes of it. Spooled submissions are sent as
 * soon as the broker answers.
 *
 * USR1: folders were added to the list "folders" of the fleet's folder; their
 * gateway is told, or started.
 *
 * TERM and INT stop the fleet in order, workers first, which may finish their
 * running tasks; a second signal kills.
 */
#ifndef FLEET_SUPERVISOR_H
#define FLEET_SUPERVISOR_H

#include "fleet/fleet_dir.h"
#include "lib/base/err.h"
#include "lib/bus/jetstream_setup.h"

#include <stdbool.h>
#include <stdint.h>

struct supervisor_conf {
    bool fast;     /* without what survives a power cut */
    int64_t slots; /* of the worker; 0: its default */
    int port;      /* of the broker; 0: that of the last start, or a free one */
    const char *secutools_key; /* of the AI platform; NULL: no worker for it */
    struct jetstream_conf jetstream;
    const char *project; /* whose usual folders are watched, "": none */
    bool folders;        /* whether any folder is watched */
    /* Called once, when the fleet is up. */
    void (*ready)(void *ctx, const char *url, const char *durability);
    void *ctx;
};

/*
 * Starts the fleet, runs it, stops it. Returns 0 after an orderly stop. On -1
 * nothing is left running and e says what failed; ERR_CONFLICT: another
 * supervisor runs on this folder.
 */
int supervisor_run(const struct fleet_dir *dir,
                   const struct supervisor_conf *conf, struct err *e);

#endif
