/*
 * circuit_breaker - when the next request to a platform may be sent: one rate
 * for all that use one token, a pause requested by the platform, and a circuit
 * breaker. Pure: time and random numbers are arguments.
 *
 * Thread: any, one at a time.
 */
#ifndef WORKERS_SECUTOOLS_CIRCUIT_BREAKER_H
#define WORKERS_SECUTOOLS_CIRCUIT_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker_conf {
    int64_t rate;       /* requests per second, 0: no limit */
    int64_t burst;      /* requests at once, at least 1 */
    int64_t open_after; /* failures in a row that open the breaker */
    int64_t open_ms;    /* at first; doubles up to open_most_ms */
    int64_t open_most_ms;
};

enum breaker_state {
    BREAKER_CLOSED,    /* requests are sent */
    BREAKER_OPEN,      /* none is sent before open_until */
    BREAKER_HALF_OPEN, /* one probe was sent; the others wait for it */
};

struct breaker {
    const struct breaker_conf *conf;
    enum breaker_state state;
    int64_t failures;     /* in a row */
    int64_t opened_for;   /* duration of the next opening */
    int64_t open_until;   /* BREAKER_OPEN */
    int64_t probe_until;  /* BREAKER_HALF_OPEN: the probe has failed then */
    int64_t paused_until; /* requested by the platform; 0: no */
    int64_t credit_us;    /* of the rate, in microseconds */
    int64_t seen_ms;
};

void breaker_init(struct breaker *b, const struct breaker_conf *conf,
                  int64_t now_ms);

/* 0: one request may be sent; its end is reported by breaker_answered or
 * breaker_failed. Otherwise the milliseconds after which to call again. */
int64_t breaker_acquire(struct breaker *b, int64_t now_ms);

/* The platform answered in any way. */
void breaker_answered(struct breaker *b);
/* No connection, a timeout or a 5xx. */
void breaker_failed(struct breaker *b, int64_t now_ms);
/* The platform requested a pause (429, 503 with Retry-After). */
void breaker_pause(struct breaker *b, int64_t until_ms);

/*
 * The delay before try n (from 0) of a request: full jitter, rand(0, min(cap,
 * base * 2^n)), and at least what the platform requested (-1: nothing).
 * fraction is in [0, 1).
 */
int64_t breaker_backoff(int n, int64_t base_ms, int64_t cap_ms,
                        int64_t retry_after_ms, double fraction);

#endif
