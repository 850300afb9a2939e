/*
 * backoff - delays between retries: doubling up to a cap, with jitter.
 *
 * Pure, except for backoff_random: the caller keeps the last delay and passes
 * the random number.
 *
 * Thread: any.
 */
#ifndef LIB_BASE_BACKOFF_H
#define LIB_BASE_BACKOFF_H

#include <stdint.h>

/* The delay after one of ms: twice as long, at most most_ms, at least least_ms.
 * Pass 0 for the first failure of a series. */
int64_t backoff_next(int64_t ms, int64_t least_ms, int64_t most_ms);

/* The delay before retry n, counted from 0: least_ms * 2^n, at most most_ms. */
int64_t backoff_nth(uint32_t n, int64_t least_ms, int64_t most_ms);

/* ms times a factor uniformly distributed over [from, to), so that what failed
 * together is not retried together. random is in [0, 1). */
int64_t backoff_jitter(int64_t ms, double from, double to, double random);

/* A random number in [0, 1). */
double backoff_random(void);

#endif
