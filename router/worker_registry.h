/*
 * worker_registry - which workers live, as their heartbeats say. Pure: time
 * arrives as an argument.
 *
 * Heartbeats are not settled messages: a worker not heard for FLEET_SILENT_MS
 * is forgotten. What one says of itself is believed only about itself.
 *
 * Thread: the loop thread.
 */
#ifndef ROUTER_WORKER_REGISTRY_H
#define ROUTER_WORKER_REGISTRY_H

#include "lib/model/task.h"
#include "router/decide.h"

enum {
    FLEET_SILENT_MS = 30000,
    FLEET_MAX = 4096, /* workers; further ones are not counted */
};

struct fleet;

struct fleet *fleet_new(void);
void fleet_free(struct fleet *f); /* NULL is fine */

/* now_ms: any monotonic clock, the same for all calls. */
void fleet_hear(struct fleet *f, const struct heartbeat *hb, int64_t now_ms);

/* The facts at now_ms, valid until the next call. What configuration knows is
 * added by the caller. */
void fleet_facts(struct fleet *f, int64_t now_ms, struct facts *out);

/* Whether every worker that takes tasks of that lane has said that its runs are
 * short; false if there is none. */
bool fleet_is_brisk(struct fleet *f, const char *backend, const char *lane,
                    int64_t now_ms);

size_t fleet_size(const struct fleet *f); /* workers remembered */

#endif
