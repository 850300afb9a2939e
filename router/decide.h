/*
 * decide - where a task goes, and why: a pure function over values.
 *
 * The rules and their order are fixed (rules.c); the thresholds and lists they
 * compare with are the policy's. No clock, no I/O, no globals.
 *
 * Thread: any.
 */
#ifndef ROUTER_DECIDE_H
#define ROUTER_DECIDE_H

#include "lib/base/mem.h"
#include "lib/model/task.h"
#include "router/policy.h"

/* The state of the workers at this moment, from heartbeats. */
struct routing_facts {
    bool known;             /* false: decide by policy alone, ignore the rest */
    uint32_t running_local; /* tasks running on local workers now */
    uint64_t local_free_bytes; /* free memory of the local worker with the
                                  most of it; 0: not reported */
    /* Workers are started on demand, whether or not one is alive. */
    bool codespace_configured, secutools_configured;
    const char *const *lanes; /* "backend.lane" with a live worker */
    size_t n_lanes;
};

/*
 * Decides. The decision's strings live in pool or are static. A "local:" or
 * "cloud:" prefix is stripped from the task's command and first step (with
 * memory from pool). decided_at_ms stays 0.
 */
void decide(struct task *t, const struct routing_facts *f,
            const struct policy *p, struct mem_pool *pool,
            struct decision *out);

#endif
