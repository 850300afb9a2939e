/*
 * fsync_server - confirms that what the broker has acknowledged is on the disk.
 *
 * Answers requests on sync.store: "" once all that was stored before the
 * request came is durable, else a text that says why it is not. Requests that
 * come while the disk is busy share the next run, so that many messages of
 * many processes cost one sync (lib/bus/bus asks, with bus.confirm).
 *
 * After a failed sync nothing is confirmed any more: the kernel drops what it
 * could not write, and the next sync would succeed without it.
 *
 * Thread: the loop thread; one of its own waits for the disk.
 */
#ifndef FLEET_FSYNC_SERVER_H
#define FLEET_FSYNC_SERVER_H

#include "lib/base/err.h"
#include "lib/bus/bus.h"
#include "lib/io/loop.h"

struct fsync_server;

/* store: the broker's store_dir. On 0 the caller owns *out until
 * fsync_server_close, which must come before the bus and the loop end. */
int fsync_server_open(struct fsync_server **out, struct bus *b, struct loop *l,
                      const char *store, struct err *e);
void fsync_server_close(struct fsync_server *k); /* NULL is fine */

#endif
