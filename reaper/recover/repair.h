/*
 * repair - what an open task needs when nothing may be driving it any more.
 *
 * Pure: no clock, no I/O. A task whose message will be delivered again is left
 * to whoever gets it; the ledger steps in where no delivery will come, and
 * where an outcome stands in the claim and was never told.
 *
 * Thread: any.
 */
#ifndef REAPER_RECOVER_REPAIR_H
#define REAPER_RECOVER_REPAIR_H

#include "reaper/ingest/fold.h"

enum mend {
    MEND_NOTHING,
    MEND_LATER, /* look again after again_ms */
    MEND_EMIT,  /* publish the result the claim holds */
    MEND_DRIVE, /* put it on its lane again */
    MEND_CLOSE, /* write state over the claim, and tell */
};

struct mend_facts {
    const struct task *task;
    const struct claim *claim; /* NULL: there is none */
    struct claim_sight sight;  /* of the claim */
    int64_t now_ms;            /* by the broker's clock */
    bool gone;                 /* no delivery of its message will come */
    uint32_t started;          /* highest attempt known to have started */
};

struct mend_plan {
    enum mend what;
    bool restore; /* write a claim that remembers the attempts, first */
    int64_t again_ms;
    struct delivery_plan delivery; /* of CLOSE */
};

void mend_plan(const struct mend_facts *f, struct mend_plan *out);

/* When the row last moved, or is to move by itself. */
int64_t mend_moved_ms(const struct task_state *s);

/*
 * The claim of a task whose own is gone, from what the ledger recorded: the
 * next attempt gets the next number. runs: that attempt was seen to run, and
 * counts as lost. nonce and worker are borrowed.
 */
void mend_claim(const struct task_state *s, const struct attempt *attempts,
                size_t n, uint32_t runs, const char *nonce,
                struct mem_pool *pool, struct claim *out);

/* The result a claim tells of; part is room for the end of the output. */
void mend_result(const struct task_state *s, const struct claim *c,
                 uint64_t revision, struct output_part *part,
                 struct result *out);

#endif
