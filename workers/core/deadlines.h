/*
 * deadlines - what is due when for each attempt, and the one timer of a worker
 * that waits for the earliest.
 *
 * Thread: the loop thread; times are loop_now_ms.
 */
#ifndef WORKERS_CORE_DEADLINES_H
#define WORKERS_CORE_DEADLINES_H

#include "lib/io/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum deadline {
    DUE_SPOOL, /* its outcome goes to disk unless it is confirmed */
    DUE_CLAIM, /* a read or write of the claim is tried again */
    DUE_KILL,  /* the grace after TERM ends */
    DUE_SLOT,  /* it has waited for a slot for long enough */
    DUE_TELL,  /* it has run for so long that its start is published */
    DUE_LIMIT, /* the task's time limit */
    DUE_IDLE,  /* the task's limit without output, unless it printed since */
    DUE_COUNT
};

struct deadline_timer;

struct deadlines { /* of an attempt */
    struct deadline_timer *timer;
    int64_t at_ms[DUE_COUNT]; /* INT64_MAX: never */
};

/* Handles all that is due now and returns when it is to be called next. */
typedef int64_t deadlines_fn(void *ctx, int64_t now_ms);

struct deadline_timer *deadlines_open(struct loop *l, deadlines_fn *fn,
                                      void *ctx);
void deadlines_close(struct deadline_timer *t); /* NULL is fine */

/* Calls fn no later than at_ms. */
void deadlines_wake(struct deadline_timer *t, int64_t at_ms);

/* Nothing is due. */
void deadlines_init(struct deadlines *d, struct deadline_timer *t);
void deadlines_set(struct deadlines *d, enum deadline what, int64_t at_ms);
/* Puts it off by ms, if it is set. */
void deadlines_put_off(struct deadlines *d, enum deadline what, int64_t ms);
void deadlines_clear(struct deadlines *d, enum deadline what);
bool deadlines_is_set(const struct deadlines *d, enum deadline what);
/* Whether it is due; clears it then. */
bool deadlines_take(struct deadlines *d, enum deadline what, int64_t now_ms);
/* The earliest. */
int64_t deadlines_next(const struct deadlines *d);

#endif
