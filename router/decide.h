/*
 * decide - where a task goes, and why: a pure function over values.
 *
 * The tables (keywords, points, affinity, thresholds) are seed 1's, the rules
 * for AI tasks are seed 3's Decide. No clock, no I/O, no globals.
 *
 * Thread: any.
 */
#ifndef ROUTER_DECIDE_H
#define ROUTER_DECIDE_H

#include "lib/mem.h"
#include "lib/task.h"

/* What the fleet looks like at this moment, from heartbeats. */
struct facts {
    uint32_t running_local;   /* tasks running on local workers now */
    bool codespace_available; /* configured, or a worker lives */
    bool secutools_available;
    bool known; /* false: judged by policy alone, availability is not asked */
};

/* What to do with a wanted backend that has no worker and no configuration. */
enum when_unavailable {
    UNAVAILABLE_LOCAL,
    UNAVAILABLE_QUEUE,
    UNAVAILABLE_REJECT
};

struct executor_lane {
    const char *executor; /* as briefs name it: "devbox-codex" */
    const char *backend, *lane;
};

struct policy {
    const char *version;
    int32_t threshold; /* score from which a task goes to the cloud */
    uint64_t local_runtime_ms, cloud_runtime_ms; /* seed 1: 3 and 10 min */
    uint64_t cloud_memory_bytes;                 /* seed 1: 8 GB */
    uint32_t cloud_parallel;                     /* seed 1: 2 */
    const struct executor_lane *executors;
    size_t n_executors;
    enum when_unavailable when_unavailable;
};

/* Seed 1 and seed 3 as shipped. */
const struct policy *policy_default(void);

/*
 * Decides. The decision's strings live in pool or are static. A "local:" or
 * "cloud:" prefix is stripped from the task's command and first step (with
 * memory from pool). decided_at_ms is left 0.
 */
void decide(struct task *t, const struct facts *f, const struct policy *p,
            struct mem_pool *pool, struct decision *out);

#endif
