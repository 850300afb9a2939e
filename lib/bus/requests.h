/*
 * requests - everything that waits for one reply; implements bus_request,
 * bus_publish, bus_publish_until, bus_get_last, bus_get_next and bus_forget.
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_REQUESTS_H
#define LIB_BUS_REQUESTS_H

#include "lib/bus/bus.h"
#include "lib/bus/protocol.h"

/* Index and serial of a reply subject "<inbox>.<index>-<serial>", in hex. */
bool requests_read_slot(const char *inbox, const char *subject, uint64_t *index,
                        uint64_t *serial);

/* A message on the inbox: a reply, or junk. A conn_msg_fn, ctx the bus. */
void requests_on_reply(void *ctx, const struct protocol_msg *m);
void requests_connection_lost(struct bus *b, uint64_t epoch);
void requests_connected(struct bus *b);
/* Ends overdue requests; returns when to call it again, INT64_MAX: never. */
int64_t requests_tick(struct bus *b, int64_t now);
void requests_free_all(struct bus *b);

/* Completes a request that waited for the fsync barrier; does nothing if it has
 * ended meanwhile. A barrier_fn. */
void requests_synced(struct bus *b, unsigned index, uint64_t serial);

#endif
