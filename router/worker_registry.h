/*
 * worker_registry - which workers live, as their heartbeats say. Pure: time
 * arrives as an argument.
 *
 * Heartbeats are not settled messages: a worker not heard for
 * WORKER_REGISTRY_SILENT_MS is forgotten. What one says of itself is believed
 * only about itself.
 *
 * Thread: the loop thread.
 */
#ifndef ROUTER_WORKER_REGISTRY_H
#define ROUTER_WORKER_REGISTRY_H

#include "lib/model/task.h"
#include "router/decide.h"

enum {
    WORKER_REGISTRY_SILENT_MS = 30000,
    WORKER_REGISTRY_MAX = 4096, /* workers; further ones are not counted */
};

struct worker_registry;

struct worker_registry *worker_registry_new(void);
void worker_registry_free(struct worker_registry *f); /* NULL is fine */

/* now_ms: any monotonic clock, the same for all calls. */
void worker_registry_hear(struct worker_registry *f, const struct heartbeat *hb,
                          int64_t now_ms);

/* The facts at now_ms, valid until the next call. What configuration knows is
 * added by the caller. */
void worker_registry_facts(struct worker_registry *f, int64_t now_ms,
                           struct routing_facts *out);

/* Whether every worker that takes tasks of that lane has said that its runs are
 * short; false if there is none. */
bool worker_registry_has_short_runs(struct worker_registry *f,
                                    const char *backend, const char *lane,
                                    int64_t now_ms);

size_t
worker_registry_size(const struct worker_registry *f); /* workers remembered */

#endif
