/*
 * settle - stores the end of an attempt: the outcome in its claim, the result
 * in RESULTS, then the task is acknowledged or delivered again.
 *
 * Each function may end the attempt.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_SETTLE_H
#define WORKERS_CORE_SETTLE_H

#include "lib/bus/claims.h"

struct attempt;

/* The attempt is over, with all its output stored: judges it, and stores
 * that. */
void settle_begin(struct attempt *a);
/* The claim has the outcome. */
void settle_publish(struct attempt *a);
/* RESULTS has the result, or, with e, never will. */
void settle_published(struct attempt *a, const struct err *e);
/* RESULTS has what was published early, or it may not. */
void settle_published_early(struct attempt *a, bool stored);

/* Closes a task without running it: the attempt of found was lost. */
void settle_close(struct attempt *a, const struct claim *found,
                  const struct delivery_plan *plan);
/* Publishes the result that the claim found holds once more. */
void settle_emit(struct attempt *a, const struct claims_entry *found);

/* The result of the attempt before ours, which may not be known yet: keeps it,
 * and publishes it once the claim is ours. */
void settle_keep_prior(struct attempt *a, const struct claims_entry *found);
void settle_publish_prior(struct attempt *a);

#endif
