/*
 * decide - where a task goes, and why: a pure function over values.
 *
 * The rules and their order are the program's (rules.c), what they go by is
 * the policy's. No clock, no I/O, no globals.
 *
 * Thread: any.
 */
#ifndef ROUTER_DECIDE_H
#define ROUTER_DECIDE_H

#include "lib/base/mem.h"
#include "lib/model/task.h"
#include "router/policy.h"

/* What the fleet looks like at this moment, from heartbeats. */
struct routing_facts {
    bool known; /* false: judged by policy alone, nothing below is asked */
    uint32_t running_local;    /* tasks running on local workers now */
    uint64_t local_free_bytes; /* memory the local worker that has most of it
                                  has free; 0: nobody said */
    /* Something starts workers on demand, whether or not one lives. */
    bool codespace_configured, secutools_configured;
    const char *const *lanes; /* "backend.lane" that a live worker serves */
    size_t n_lanes;
};

/*
 * Decides. The decision's strings live in pool or are static. A "local:" or
 * "cloud:" prefix is stripped from the task's command and first step (with
 * memory from pool). decided_at_ms is left 0.
 */
void decide(struct task *t, const struct routing_facts *f,
            const struct policy *p, struct mem_pool *pool,
            struct decision *out);

#endif
