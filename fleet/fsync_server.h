/*
 * fsync_server - confirms that messages the broker has acknowledged are on the
 * disk.
 *
 * Answers requests on sync.store, which lib/bus sends with bus.confirm: "" once
 * every message stored before the request is durable, else the error. Requests
 * that arrive while the disk is busy share the next run, so that many messages
 * of many processes cost one sync.
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
void fsync_server_close(struct fsync_server *s); /* NULL is fine */

#endif
