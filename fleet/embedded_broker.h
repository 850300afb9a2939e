/*
 * embedded_broker - the broker that a fleet on one machine starts: which
 * program, which port, which configuration, and whether what it acknowledges
 * survives a power cut.
 *
 * Thread: the loop thread. Functions that take the loop run it while they
 * wait: call them before loop_run.
 */
#ifndef FLEET_EMBEDDED_BROKER_H
#define FLEET_EMBEDDED_BROKER_H

#include "fleet/fleet_dir.h"
#include "lib/base/err.h"
#include "lib/io/loop.h"
#include "lib/os/proc.h"

#include <stdbool.h>

struct embedded_broker {
    char program[FLEET_DIR_PATH]; /* nats-server, absolute */
    int major, minor, patch;
    int port;
    char url[64];
    bool durable;         /* acknowledged means on the disk */
    bool confirm;         /* an fsync server confirms; streams it does not
                           * serve need embedded_broker_write_through */
    char durability[192]; /* how, or why not; one sentence */
};

enum { EMBEDDED_BROKER_ENV = 3 };

/*
 * How late the broker's timers may be. While there is work, a thread of its Go
 * runtime looks every 20 us for system calls that block others; the slack
 * makes that a thousand looks a second instead of ten thousand, and nothing
 * that nats-server does is timed as finely.
 */
enum { EMBEDDED_BROKER_TIMER_SLACK_NS = 1000000 };

/* Variables for the broker's environment, as struct daemon_opts takes them;
 * list points into text. */
struct embedded_broker_env {
    char text[EMBEDDED_BROKER_ENV][48];
    const char *list[EMBEDDED_BROKER_ENV + 1];
};

/*
 * Limits for the broker's Go runtime, which shares the machine with the tasks.
 * It gets half of the processors, which saves it most of its wake-ups. It
 * collects garbage when the heap has grown threefold or beyond an eighth of
 * the memory (at least 1 GiB): fewer collections would save less than the pages
 * of a larger heap cost, and with a limit below the memory in use it would
 * collect all the time. Variables that the user has set are left alone.
 */
void embedded_broker_environment(struct embedded_broker_env *out);

/* Finds nats-server (SHUNT_NATS_SERVER, else PATH) and asks its version. */
int embedded_broker_find(struct embedded_broker *b, struct loop *l,
                         struct proc_set *procs, struct err *e);

/*
 * Chooses the port (the given one; for 0 the one of the last start, else a free
 * one; waits a moment for a broker that is still ending), makes the token if
 * there is none, sets the store's durability and writes configuration and
 * endpoint.
 */
int embedded_broker_prepare(struct embedded_broker *b,
                            const struct fleet_dir *dir, int port, bool fast,
                            struct loop *l, struct err *e);

/*
 * Chooses an address on loopback for the reaper's HTTP server, the one of the
 * last start if it is free, and writes it to the state folder's file http.
 */
int embedded_broker_http(const struct fleet_dir *dir, char *address,
                         size_t size, struct loop *l, struct err *e);

/*
 * If confirm is set: makes the streams that programs outside the fleet write to
 * synchronous (chattr +S), so that the broker's own acknowledgement is enough
 * for them. Call it whenever the streams may have been created again. On -1
 * durable is false and durability says so.
 */
int embedded_broker_write_through(struct embedded_broker *b,
                                  const struct fleet_dir *dir, struct err *e);

#endif
