/*
 * worker_conf - the configuration that all workers share.
 */
#ifndef WORKERS_CORE_WORKER_CONF_H
#define WORKERS_CORE_WORKER_CONF_H

#include "lib/base/conf.h"
#include "lib/bus/bus.h"

struct worker_conf {
    struct bus_conf bus;
    int64_t connect_timeout_ms;
    char *name;               /* "" is the host's name */
    char *state_dir;          /* "": see workers/core/state_dir.h */
    char **lanes;             /* of the executor's backend */
    int64_t slots;            /* tasks at once; 0: one per processor */
    int64_t lease_ms;         /* silence after which a claim is lost */
    int64_t timeout_ms;       /* of an attempt that states none; 0: none */
    int64_t grace_ms;         /* between TERM and KILL */
    int64_t drain_timeout_ms; /* after TERM, before tasks are handed back */
    int64_t output_head, output_tail;
    int64_t old_after_ms; /* when the ledger is asked about a task that has no
                           * claim; 0: shortly before claims expire */
};

/* The rows of struct worker_conf as member F of struct T. */
#define WORKER_CONF(T, F)                                                      \
    CONF_BUS(T, F.bus),                                                        \
        CONF_MS(T, F.connect_timeout_ms, "bus.connect_timeout", "60s", 0,      \
                3600000, "how long to wait for the broker at start"),          \
        CONF_STR(T, F.name, "worker.name", "",                                 \
                 "name of this worker; empty: the host's name"),               \
        CONF_STR(T, F.state_dir, "worker.state_dir", "",                       \
                 "folder of results the broker has not confirmed; empty: "     \
                 "$XDG_STATE_HOME/shunt/worker-NAME"),                         \
        CONF_INT(T, F.slots, "worker.slots", "0", 0, 10000,                    \
                 "tasks to run at once; 0: one per processor"),                \
        CONF_MS(T, F.lease_ms, "worker.lease", "30s", 1500, 600000,            \
                "after this time without a renewal a worker is lost"),         \
        CONF_MS(T, F.timeout_ms, "worker.timeout", "0", 0, 2592000000,         \
                "time limit of attempts without one; 0: none"),                \
        CONF_MS(T, F.grace_ms, "worker.grace", "10s", 0, 3600000,              \
                "time between TERM and KILL"),                                 \
        CONF_MS(T, F.drain_timeout_ms, "worker.drain_timeout", "30s", 0,       \
                86400000, "time for running tasks to finish after TERM"),      \
        CONF_BYTES(T, F.output_head, "worker.output_head", "8M", 65536,        \
                   1073741824, "bytes of output sent while the task runs"),    \
        CONF_BYTES(T, F.output_tail, "worker.output_tail", "1M", 65536,        \
                   67108864, "bytes kept from the end of longer output")

#endif
