/*
 * router - reads tasks from tasks.in and tasks.bulk, decides where each runs
 * and publishes it to its lane. Any number of routers may run.
 *
 * The order is the promise: a task is acknowledged only after the routed task,
 * or what refuses it, is stored.
 *
 * Thread: the loop thread.
 */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include "lib/base/conf.h"
#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "router/decide.h"

struct router_conf {
    struct bus_conf bus;
    int64_t connect_timeout_ms;
    char **lanes; /* "backend.lane" beside the built-in ones */
    int64_t window;
    int64_t drain_timeout_ms;
    char **backends; /* available though no worker is known */
    char *policy;    /* a file; "" for the shipped one */
};

/* The rows of struct router_conf as member F of struct T. */
#define ROUTER_CONF(T, F)                                                      \
    CONF_BUS(T, F.bus),                                                        \
        CONF_MS(T, F.connect_timeout_ms, "bus.connect_timeout", "60s", 0,      \
                3600000, "how long to wait for the broker at start"),          \
        CONF_LIST(T, F.lanes, "bus.lanes", "",                                 \
                  "lanes (backend.lane) besides the built-in ones"),           \
        CONF_INT(T, F.window, "router.window", "256", 1, 1024,                 \
                 "tasks in progress at once"),                                 \
        CONF_MS(T, F.drain_timeout_ms, "router.drain_timeout", "5s", 0,        \
                600000, "after TERM, time to store pending decisions"),        \
        CONF_LIST(T, F.backends, "router.backends", "",                        \
                  "backends available without a known worker"),                \
        CONF_STR(T, F.policy, "router.policy", "",                             \
                 "policy file, read again on HUP; empty: the shipped policy")

/* Checks the lists of backends and lanes; e names key and remedy
 * (ERR_INVALID). */
int router_conf_check(const struct router_conf *conf, struct err *e);

/* The configured policy: the file router.policy names, else the shipped one.
 * Everything lives in pool. */
int router_conf_policy(const struct router_conf *conf, struct mem_pool *pool,
                       struct policy *out, struct err *e);

struct router;

/*
 * Subscribes and starts. The configuration must outlive the router. On
 * 0 the caller owns *out until router_close. On -1 e says ERR_INVALID (a value
 * of the configuration, which it names) or the bus's error.
 */
int router_open(struct router **out, struct bus *b, struct loop *l,
                const struct router_conf *conf, struct err *e);

/* For HUP: reads the policy again. An invalid one is refused, with the reason
 * in the log, and the old one stays in force. */
void router_reload(void *router);

/* For loop_on_term: the first call stops intake, stores the pending decisions
 * and then stops the loop; the second stops it at once, which loses nothing:
 * unsettled messages are delivered again. */
void router_drain(void *router, int nth);

void router_close(struct router *r); /* NULL is fine */

#endif
