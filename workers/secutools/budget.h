/*
 * budget - the platform's maximum cost per day (UTC), of all workers together.
 *
 * The sum is the ledger's (ask.ledger.costs), queried at the start and every
 * half minute, so it survives a restart. The costs seen by this process since
 * the last query but one are added: better counted twice for half a minute than
 * not at all. The maximum costs of running jobs are reserved.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_SECUTOOLS_BUDGET_H
#define WORKERS_SECUTOOLS_BUDGET_H

#include "lib/bus/bus.h"
#include "lib/io/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct budget;

/* limit: decimal dollars, "" for none: then nothing is queried. ERR_INVALID:
 * not an amount. On 0 the caller owns *out; close it before the bus. */
int budget_open(struct budget **out, struct bus *b, struct loop *l,
                const char *limit, const char *backend, struct err *e);
void budget_close(struct budget *b); /* NULL is fine */

enum budget_verdict {
    BUDGET_FITS,
    BUDGET_UNKNOWN, /* the day's costs are not known yet */
    BUDGET_OVER,    /* nothing is left for the day */
    BUDGET_SHORT,   /* less is left than the job may cost */
    BUDGET_HELD,    /* the same, with the reservations of running jobs */
};

/* Whether a job that may cost most_nano (0: not stated) may be submitted. */
enum budget_verdict budget_ask(struct budget *b, int64_t most_nano);
void budget_reserve(struct budget *b, int64_t most_nano);
void budget_release(struct budget *b, int64_t most_nano);
/* Adds the cost of a job; "" or an invalid amount: unknown. */
void budget_spend(struct budget *b, const char *cost_usd);

/* The time until the day ends. */
int64_t budget_day_left_ms(void);

/* Reads the sum for backend from an answer of ask.ledger.costs; false if it is
 * not for that day ("2026-11-25"). */
bool budget_read_answer(const char *text, size_t len, const char *backend,
                        const char *day, int64_t *nano);

#endif
