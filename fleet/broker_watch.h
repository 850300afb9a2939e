/*
 * broker_watch - asks a fleet's broker every few seconds whether it answers.
 * One that hangs is killed, which has it started again; after each restart the
 * streams are provisioned again.
 *
 * Thread: the loop thread.
 */
#ifndef FLEET_BROKER_WATCH_H
#define FLEET_BROKER_WATCH_H

#include "fleet/daemons.h"
#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "lib/os/proc.h"

struct broker_watch;

/*
 * Watches the daemon named "broker", whose streams are provisioned. Takes the
 * bus's events. All arguments must outlive the watch; provisioned is called
 * each time the streams have been provisioned again.
 */
struct broker_watch *
broker_watch_start(struct bus *b, struct loop *l, struct proc_set *procs,
                   struct daemons *daemons, const struct daemon_env *env,
                   void (*provisioned)(void *ctx), void *ctx);
void broker_watch_stop(struct broker_watch *w); /* NULL is fine */

#endif
