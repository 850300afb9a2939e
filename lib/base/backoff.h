/*
 * backoff - how long to wait before trying again: doubling, a cap, jitter.
 *
 * Pure: the caller keeps the last delay and hands in the random number.
 * backoff_random makes one.
 *
 * Thread: any.
 */
#ifndef LIB_BASE_BACKOFF_H
#define LIB_BASE_BACKOFF_H

#include <stdint.h>

/* The delay after one of ms: twice as long, within [least_ms, most_ms]. After
 * 0, with which a row of failures begins, it is least_ms. */
int64_t backoff_next(int64_t ms, int64_t least_ms, int64_t most_ms);

/* The delay before retry n, counted from 0: least_ms * 2^n, at most most_ms. */
int64_t backoff_nth(uint32_t n, int64_t least_ms, int64_t most_ms);

/* ms times a factor evenly spread over [from, to), so that those who failed
 * together do not come back together. random is in [0, 1). */
int64_t backoff_jitter(int64_t ms, double from, double to, double random);

/* A random number in [0, 1). */
double backoff_random(void);

#endif
