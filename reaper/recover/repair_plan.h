/*
 * repair_plan - what an open task needs that nobody may be working on.
 *
 * Pure: no clock, no I/O. A task whose message will be delivered again is left
 * to whoever gets it; the ledger steps in where no delivery will come, and
 * where the claim holds an outcome whose result was never published.
 *
 * Thread: any.
 */
#ifndef REAPER_RECOVER_REPAIR_PLAN_H
#define REAPER_RECOVER_REPAIR_PLAN_H

#include "lib/bus/claims.h"
#include "reaper/ingest/fold.h"

enum repair_action {
    REPAIR_NOTHING,
    REPAIR_LATER,      /* look again after again_ms */
    REPAIR_EMIT,       /* publish the result the claim holds */
    REPAIR_REDISPATCH, /* put it on its lane again */
    REPAIR_CLOSE,      /* end it: write the claim and publish the result */
};

struct repair_facts {
    const struct task *task;
    const struct claim *claim; /* NULL: there is none */
    struct claim_sight sight;  /* of the claim */
    int64_t now_ms;            /* by the broker's clock */
    bool gone;                 /* no delivery of its message will come */
    uint32_t started;          /* highest attempt known to have started */
};

struct repair_plan {
    enum repair_action what;
    bool restore; /* first write a claim with the attempts recorded here */
    int64_t again_ms;
    struct delivery_plan delivery; /* of CLOSE */
};

void repair_plan(const struct repair_facts *f, struct repair_plan *out);

/* When the row last changed, or is to change by itself. */
int64_t repair_changed_ms(const struct task_state *s);

/*
 * A claim for a task that has lost its own, made of what the ledger recorded:
 * the next attempt gets the next number. runs: the attempt that was seen to
 * run, which counts as lost. nonce and worker are borrowed.
 */
void repair_claim(const struct task_state *s,
                  const struct attempt_row *attempts, size_t n, uint32_t runs,
                  const char *nonce, struct mem_pool *pool, struct claim *out);

/* The result a claim holds; part has room for the end of the output. */
void repair_result(const struct task_state *s, const struct claims_entry *found,
                   struct output_part *part, struct result *out);

#endif
