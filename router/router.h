/*
 * router - takes tasks from tasks.in and tasks.bulk, has them judged and
 * publishes them to their lane. Any number may run.
 *
 * The order is the promise (DESIGN section 4): a task is acknowledged only
 * after its lane, or the words that refuse it, have been stored.
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
    char **backends; /* configured though no worker is heard */
    char *policy;    /* a file; "" for the shipped one */
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
        CONF_STR(T, F.policy, "router.policy", "",                             \
                 "file of the policy, read again at HUP; empty: as shipped")

struct router;

/*
 * Binds to both and starts. The configuration must outlive the router. On
 * 0 the caller owns *out until router_close. On -1 e says ERR_INVALID (a value
 * of the configuration, which it names) or what the bus said.
 */
int router_open(struct router **out, struct bus *b, struct loop *l,
                const struct router_conf *conf, struct err *e);

/* For HUP: reads the policy again. One that is invalid is refused, with the
 * reason in the log, and the old one stays in force. */
void router_reload(void *router);

/* For loop_on_term: the first call takes nothing new, finishes the decisions
 * in hand and stops the loop; the second stops it at once, which loses
 * nothing: what is not settled is delivered again. */
void router_drain(void *router, int nth);

void router_close(struct router *r); /* NULL is fine */

#endif
