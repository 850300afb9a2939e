/*
 * multi_publisher - routed tasks of one lane on their way as one message.
 *
 * One is made at a time: what is added goes into it while subject and room
 * (lib/bus/multi_msg.h) allow, else it leaves and the next begins. Each task
 * hears of its own end.
 *
 * Thread: the loop thread.
 */
#ifndef ROUTER_MULTI_PUBLISHER_H
#define ROUTER_MULTI_PUBLISHER_H

#include "lib/base/str.h"
#include "lib/bus/bus.h"

#include <stddef.h>

struct multi_publisher;

/* fn is called for each task, with what it was added with. */
struct multi_publisher *multi_publisher_new(struct bus *b, bus_stored_fn *fn);
/* Those on their way stay so, and nothing is heard of them. NULL is fine. */
void multi_publisher_free(struct multi_publisher *s);

/* Takes a copy of the encoded routed task. id: the Nats-Msg-Id of it alone. */
void multi_publisher_add(struct multi_publisher *s, const char *subject,
                         const char *id, const struct str *routed, void *ctx);
/* The one that is being made leaves, if there is one. */
void multi_publisher_flush(struct multi_publisher *s);
/* How many tasks are in it. */
size_t multi_publisher_pending(const struct multi_publisher *s);

#endif
