/*
 * circuit_breaker - when the next request may go to a platform: one rate for
 * all that use one token, a pause that the platform asked for, and a circuit
 * breaker. Pure: time and chance come as arguments.
 *
 * Thread: any, one at a time.
 */
#ifndef WORKERS_SECUTOOLS_CIRCUIT_BREAKER_H
#define WORKERS_SECUTOOLS_CIRCUIT_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_conf {
    int64_t rate;       /* requests in a second, 0: no limit */
    int64_t burst;      /* of them at once, at least 1 */
    int64_t open_after; /* failures in a row that open the breaker */
    int64_t open_ms;    /* at first; doubles up to open_most_ms */
    int64_t open_most_ms;
};

enum breaker_state {
    BREAKER_CLOSED,    /* requests flow */
    BREAKER_OPEN,      /* none goes before open_until */
    BREAKER_HALF_OPEN, /* one went to see; the others wait for it */
};

struct breaker {
    const struct breaker_conf *conf;
    enum breaker_state state;
    int64_t failures;     /* in a row */
    int64_t opened_for;   /* the next time it stays open */
    int64_t open_until;   /* BREAKER_OPEN */
    int64_t probe_until;  /* BREAKER_HALF_OPEN: its answer is given up then */
    int64_t parked_until; /* the platform said so; 0: no */
    int64_t credit_us;    /* of the rate, in microseconds of it */
    int64_t seen_ms;
};

void breaker_init(struct breaker *g, const struct breaker_conf *conf,
                  int64_t now_ms);

/* Takes leave for one request: 0, or the milliseconds after which to ask
 * again. Every leave is answered by breaker_answered, or breaker_failed. */
int64_t breaker_take(struct breaker *g, int64_t now_ms);

/* The platform answered, whatever it said. */
void breaker_answered(struct breaker *g);
/* No connection, a timeout or a 5xx. */
void breaker_failed(struct breaker *g, int64_t now_ms);
/* It asked for a pause (429, 503 with Retry-After). */
void breaker_park(struct breaker *g, int64_t until_ms);

/*
 * How long to wait before try n (from 0) of the same thing: full jitter,
 * rand(0, min(cap, base * 2^n)), and no shorter than the platform asked for
 * (-1: it did not). fraction is in [0, 1).
 */
int64_t breaker_backoff(int n, int64_t base_ms, int64_t cap_ms,
                        int64_t retry_after_ms, double fraction);

#endif
