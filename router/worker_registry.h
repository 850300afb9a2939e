/*
 * worker_registry - the workers that are alive, by their heartbeats. Pure: time
 * arrives as an argument.
 *
 * Heartbeats are not durable: a worker without one for
 * WORKER_REGISTRY_SILENT_MS is removed. A heartbeat is believed only about its
 * own worker.
 *
 * Thread: the loop thread.
 */
#ifndef ROUTER_WORKER_REGISTRY_H
#define ROUTER_WORKER_REGISTRY_H

#include "lib/model/task.h"
#include "router/decide.h"

enum {
    WORKER_REGISTRY_SILENT_MS = 30000,
    WORKER_REGISTRY_MAX = 4096, /* workers; further ones are ignored */
};

struct worker_registry;

struct worker_registry *worker_registry_new(void);
void worker_registry_free(struct worker_registry *r); /* NULL is fine */

/* now_ms: any monotonic clock, the same for all calls. */
void worker_registry_update(struct worker_registry *r,
                            const struct heartbeat *hb, int64_t now_ms);

/* This process did not run for ms: no worker was silent for that. */
void worker_registry_put_off(struct worker_registry *r, int64_t ms);

/* The facts at now_ms, valid until the next call. The caller adds those that
 * the configuration states. */
void worker_registry_facts(struct worker_registry *r, int64_t now_ms,
                           struct routing_facts *out);

/* Whether all workers that accept tasks of that lane report short runs; false
 * if there is none. */
bool worker_registry_has_short_runs(struct worker_registry *r,
                                    const char *backend, const char *lane,
                                    int64_t now_ms);

size_t
worker_registry_size(const struct worker_registry *r); /* workers remembered */

#endif
