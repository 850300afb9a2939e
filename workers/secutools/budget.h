/*
 * budget - what the platform may cost in a day, by UTC, all workers together.
 *
 * The sum is the ledger's (ask.ledger.costs), asked for at the start and every
 * half minute, so it survives a restart; what this process has spent since the
 * question before the last is added, rather twice for half a minute than not
 * at all. What running jobs may cost by their own limits is held reserved.
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

/* limit: decimal dollars, "" for none: then nothing is asked. ERR_INVALID: it
 * is no amount. On 0 the caller owns *out; close it before the bus. */
int budget_open(struct budget **out, struct bus *b, struct loop *l,
                const char *limit, const char *backend, struct err *e);
void budget_close(struct budget *b); /* NULL is fine */

enum budget_word {
    BUDGET_FITS,
    BUDGET_UNKNOWN, /* the ledger has not said yet what the day cost */
    BUDGET_OVER,    /* nothing is left of the day */
    BUDGET_SHORT,   /* less is left than the job may cost */
    BUDGET_HELD,    /* or would be, if what is under way cost all it may */
};

/* Whether a job may be handed over that may cost most_nano (0: not stated). */
enum budget_word budget_ask(struct budget *b, int64_t most_nano);
void budget_reserve(struct budget *b, int64_t most_nano);
void budget_release(struct budget *b, int64_t most_nano);
/* A job has cost that; "" or nonsense: nothing is known. */
void budget_spend(struct budget *b, const char *cost_usd);

/* Until the day ends. */
int64_t budget_day_left_ms(void);

/* Reads the sum for backend out of an answer of ask.ledger.costs; false if it
 * is none for that day ("2026-11-25"). */
bool budget_read_answer(const char *text, size_t len, const char *backend,
                        const char *day, int64_t *nano);

#endif
