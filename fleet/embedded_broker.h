/*
 * embedded_broker - the broker a fleet on one machine brings along: which
 * program, which port, which configuration, and whether what it acknowledges
 * survives a power cut.
 *
 * Thread: the loop thread. embedded_broker_find runs the loop for a moment:
 * call it before loop_run.
 */
#ifndef FLEET_EMBEDDED_BROKER_H
#define FLEET_EMBEDDED_BROKER_H

#include "fleet/fleet_dir.h"
#include "lib/base/err.h"
#include "lib/io/loop.h"
#include "lib/os/proc.h"

#include <stdbool.h>
#include <stdint.h>

struct embedded_broker {
    char program[FLEET_DIR_PATH]; /* nats-server, absolute */
    int major, minor, patch;
    int port;
    char url[64];
    char host[64];        /* it listens on */
    bool durable;         /* confirmed means on the disk */
    bool confirm;         /* by a keeper; what it does not serve is written
                           * through: embedded_broker_write_through */
    char durability[192]; /* how, or why not; one sentence */
};

enum { EMBEDDED_BROKER_ENV = 3 };

/*
 * How late the broker's timers may be. A thread of its Go runtime looks every
 * 20 us, while there is work, for system calls that block others; this makes a
 * thousand looks a second out of ten thousand, and nothing that nats-server
 * does is timed as finely.
 */
enum { EMBEDDED_BROKER_TIMER_SLACK_NS = 1000000 };

/* What the broker is to find in its environment, besides what is there; the
 * caller's, to be handed to daemons_start. */
struct embedded_broker_env {
    char text[EMBEDDED_BROKER_ENV][48];
    const char *list[EMBEDDED_BROKER_ENV + 1];
};

/*
 * The broker's Go runtime shares the machine with the tasks: it gets half of
 * the processors, which saves it most of its wake-ups, and collects garbage
 * when the heap has grown threefold, or beyond an eighth of the memory (1 GiB
 * at least): fewer collections would cost less than the pages that a larger
 * heap touches, and a heap held below what is in use would be collected all the
 * time. What the user has set himself stays.
 */
void embedded_broker_environment(struct embedded_broker_env *out);

/* Finds nats-server (SHUNT_NATS_SERVER, else PATH) and asks its version. */
int embedded_broker_find(struct embedded_broker *b, struct loop *l,
                         struct proc_set *procs, struct err *e);

/*
 * Chooses the port (wanted, else the one of last time, else a free one; waits
 * a moment for a broker that is still dying), makes the token if there is
 * none, sets the store's durability and writes configuration and endpoint.
 */
int embedded_broker_prepare(struct embedded_broker *b,
                            const struct fleet_dir *h, int port, bool fast,
                            struct loop *l, struct err *e);

/*
 * An address on loopback for the ledger's HTTP side, written to the home's
 * file http: the one of last time if it can be had, else a free one.
 */
int embedded_broker_http(const struct fleet_dir *h, char *address, size_t size,
                         struct loop *l, struct err *e);

/*
 * With confirm: has the streams that others than the fleet's daemons write to
 * written through to the disk (chattr +S), so that the broker's own
 * acknowledgement is enough for them. Call whenever the streams may have been
 * made anew. On -1 durable is false and durability says so.
 */
int embedded_broker_write_through(struct embedded_broker *b,
                                  const struct fleet_dir *h, struct err *e);

#endif
