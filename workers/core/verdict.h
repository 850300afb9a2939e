/*
 * verdict - judges an attempt that is over: its result, and its claim in the
 * last form.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_VERDICT_H
#define WORKERS_CORE_VERDICT_H

struct attempt;
struct claim;
struct delivery_plan;
struct outcome;

/* The attempt's outcome, allocated on first use: thousands of waiting attempts
 * never need one. */
struct outcome *verdict_outcome(struct attempt *a);

/* Adds a sentence to what the result will say did not happen as asked; text is
 * copied. */
void verdict_warn(struct attempt *a, const char *text);

/* Fills a->result, a->claim and a->delay_ms by how the attempt went. */
void verdict_fill(struct attempt *a);

/* Fills a->result and a->claim for a task that is closed without running: the
 * attempt of found was lost, and no other follows. */
void verdict_close(struct attempt *a, const struct claim *found,
                   const struct delivery_plan *plan);

#endif
