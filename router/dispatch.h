/*
 * dispatch - carries out an admission: publishes the routed task, the result of
 * one that is rejected or cancelled, or a dead letter, and reports when all of
 * it is stored.
 *
 * Publishing is repeated until the broker has stored the message or refuses it
 * for good, so a task ends here exactly once.
 *
 * Thread: the loop thread.
 */
#ifndef ROUTER_DISPATCH_H
#define ROUTER_DISPATCH_H

#include "lib/bus/cancels.h"
#include "router/admission.h"
#include "router/worker_registry.h"

#include <stddef.h>

struct dispatcher;

/* Everything published for one task of ctx, as passed to dispatch(), is
 * stored. */
typedef void dispatched_fn(void *ctx);

/* cancels and workers must outlive the dispatcher. */
struct dispatcher *dispatcher_new(struct bus *b, struct cancels *cancels,
                                  struct worker_registry *workers,
                                  dispatched_fn *fn);
/* What is being published still is, but fn is not called. NULL is fine. */
void dispatcher_free(struct dispatcher *d);

/*
 * Publishes what a says of one task; fn(ctx) follows, possibly before this
 * returns. msg and data (the task's bytes within it) must be valid until then,
 * a only during the call. number: position in a message of several tasks, from
 * 1; else 0.
 */
void dispatch(struct dispatcher *d, const struct bus_msg *msg,
              struct bytes data, size_t number, struct admission *a, void *ctx);

/* Publishes the message that collects routed tasks, if there is one. */
void dispatcher_flush(struct dispatcher *d);
/* Tasks whose messages are not all stored. */
size_t dispatcher_count(const struct dispatcher *d);
/* Those of them that wait for dispatcher_flush. */
size_t dispatcher_unsent(const struct dispatcher *d);

#endif
