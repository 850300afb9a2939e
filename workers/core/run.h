/*
 * run - starts attempts in the worker's slots through the executor, hears how
 * they go, and ends them.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_RUN_H
#define WORKERS_CORE_RUN_H

#include "workers/core/worker_types.h"

/* The attempt is claimed: it starts in a free slot, or waits for one. May end
 * it. */
void run_enqueue(struct attempt *a);
/* Hands back all that wait for a slot. */
void run_return_ready(struct worker *w);

/* Does what is due of an attempt that runs: publishes its start, ends it for
 * its limits, kills it. */
void run_on_deadlines(struct attempt *a, int64_t now_ms);

/* The executor's note is in the claim. */
void run_noted(struct attempt *a);

/* Ends it for that cause: politely first, and the grace runs from then; hard:
 * at once. May end the attempt. */
void run_cancel(struct attempt *a, enum cause cause, bool hard);
/* Somebody has asked for its cancel: it is stopped, or does not start. What has
 * ended already stands. */
void run_cancel_requested(struct attempt *a, const struct control *c);
/* Whether it is to be cancelled, and an earlier attempt's work goes on
 * elsewhere: only the executor can stop that. */
bool run_must_stop_elsewhere(const struct attempt *a);
/* The claim is another worker's: kills it, and says nothing. Ends the attempt,
 * at once if it does not run. */
void run_lost(struct attempt *a);
/* Whether no renewal was confirmed for too long: then one that runs is treated
 * the same, unless the worker was suspended and may still learn whose the claim
 * is; one that waits is handed back. */
bool run_fence(struct attempt *a);
/* The worker did not run for so long, as loop_on_gap has it: what limits count
 * is put off, and the lease gets a grace. */
void run_resume(struct attempt *a, int64_t stopped_ms, int64_t slept_ms);

#endif
