/*
 * consumer - durable pull consumers; implements bus_consume, bus_consumer_* and
 * bus_msg_*.
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_CONSUMER_H
#define LIB_BUS_CONSUMER_H

#include "lib/bus/bus.h"

/*
 * Reads $JS.ACK.<stream>.<durable>.<delivered>.<stream seq>.<consumer seq>.
 * <nanoseconds>.<pending>, or the newer form with two tokens, domain and
 * account, before the stream and perhaps one more at the end. name must be
 * "<stream>.<durable>": a message of anybody else must not make us publish to
 * its reply subject.
 */
bool consumer_read_ack(const char *name, const char *reply,
                       struct bus_msg *out);
/* How many messages the pull with this reply subject requested; 0 if it is not
 * a pull of inbox and epoch. */
unsigned consumer_read_pull(const char *inbox, uint64_t epoch,
                            const char *reply);

/* Pulls again after a reconnect. */
void consumers_connected(struct bus *b);
/* Pulls for every consumer that has room. */
void consumers_pull(struct bus *b);
/* Corrects the counts of pulls that are overdue; returns when to call it
 * again, INT64_MAX: never. */
int64_t consumers_tick(struct bus *b, int64_t now);

#endif
