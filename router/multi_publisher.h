/*
 * multi_publisher - publishes routed tasks of one lane, several in one message.
 *
 * One message is collected at a time: tasks are added to it while subject and
 * size (lib/bus/multi_msg.h) allow; otherwise it is published and the next one
 * begins. The outcome of publishing is reported for each task.
 *
 * Thread: the loop thread.
 */
#ifndef ROUTER_MULTI_PUBLISHER_H
#define ROUTER_MULTI_PUBLISHER_H

#include "lib/base/str.h"
#include "lib/bus/bus.h"

#include <stddef.h>

struct multi_publisher;

/* fn is called for each task, with the ctx it was added with. */
struct multi_publisher *multi_publisher_new(struct bus *b, bus_stored_fn *fn);
/* Messages being published still are, but fn is not called. NULL is fine. */
void multi_publisher_free(struct multi_publisher *p);

/* Copies the encoded routed task. id: its Nats-Msg-Id if published alone. */
void multi_publisher_add(struct multi_publisher *p, const char *subject,
                         const char *id, const struct str *routed, void *ctx);
/* Publishes the message being collected, if there is one. */
void multi_publisher_flush(struct multi_publisher *p);
/* The number of tasks in it. */
size_t multi_publisher_pending(const struct multi_publisher *p);

#endif
