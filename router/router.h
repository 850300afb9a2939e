/*
 * router - takes tasks from tasks.in, has them judged and publishes them to
 * their lane. Any number may run.
 *
 * The order is the promise (DESIGN section 4): a task is acknowledged only
 * after its lane, or the words that refuse it, have been stored.
 *
 * Thread: the loop thread.
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "lib/bus.h"
#include "lib/conf.h"
#include "lib/loop.h"
#include "router/decide.h"

struct router_conf {
    struct bus_conf bus;
    int64_t connect_timeout_ms;
    char **lanes; /* "backend.lane" beside the built-in ones */
    int64_t window;
    int64_t drain_timeout_ms;
    char **backends; /* configured though no worker is heard */
    char *when_unavailable;
    int64_t threshold, local_runtime_ms, cloud_runtime_ms, cloud_memory_bytes;
    int64_t cloud_parallel;
    char **executors; /* "executor=backend.lane" */
};

/* The rows of struct router_conf as member F of struct T. */
#define ROUTER_CONF(T, F)                                                      \
    CONF_BUS(T, F.bus),                                                        \
        CONF_MS(T, F.connect_timeout_ms, "bus.connect_timeout", "60s", 0,      \
                3600000, "how long to wait for the broker at start"),          \
        CONF_LIST(T, F.lanes, "bus.lanes", "",                                 \
                  "lanes (backend.lane) beside the built-in ones"),            \
        CONF_INT(T, F.window, "router.window", "256", 1, 1024,                 \
                 "tasks in hand at once"),                                     \
        CONF_MS(T, F.drain_timeout_ms, "router.drain_timeout", "5s", 0,        \
                600000, "after TERM, for decisions not yet stored"),           \
        CONF_LIST(T, F.backends, "router.backends", "",                        \
                  "backends that are there though no worker is heard"),        \
        CONF_STR(T, F.when_unavailable, "router.when_unavailable", "local",    \
                 "a wanted backend is missing: local, queue or reject"),       \
        CONF_INT(T, F.threshold, "router.threshold", "2", 1, 100,              \
                 "score from which a task goes to the cloud"),                 \
        CONF_MS(T, F.local_runtime_ms, "router.local_runtime", "3m", 0,        \
                86400000, "up to this a stated runtime is short"),             \
        CONF_MS(T, F.cloud_runtime_ms, "router.cloud_runtime", "10m", 0,       \
                86400000, "beyond this a stated runtime forces the cloud"),    \
        CONF_BYTES(T, F.cloud_memory_bytes, "router.cloud_memory", "8G", 0,    \
                   1099511627776, "beyond this memory forces the cloud"),      \
        CONF_INT(T, F.cloud_parallel, "router.cloud_parallel", "2", 1, 10000,  \
                 "jobs at once that force the cloud"),                         \
        CONF_LIST(T, F.executors, "router.executors",                          \
                  "devbox-codex=local.default,vm-codex=local.default,"         \
                  "local-mac-codex=local.default",                             \
                  "executors of briefs, as executor=backend.lane")

struct router;

/*
 * Binds to tasks.in and starts. The configuration must outlive the router. On
 * 0 the caller owns *out until router_close. On -1 e says ERR_INVALID (a value
 * of the configuration, which it names) or what the bus said.
 */
int router_open(struct router **out, struct bus *b, struct loop *l,
                const struct router_conf *conf, struct err *e);

/* For loop_on_term: the first call takes nothing new, finishes the decisions
 * in hand and stops the loop; the second stops it at once, which loses
 * nothing: what is not settled is delivered again. */
void router_drain(void *router, int nth);

void router_close(struct router *r); /* NULL is fine */

#endif
