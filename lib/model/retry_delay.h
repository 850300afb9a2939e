/*
 * retry_delay - how long a failed task waits before its next attempt.
 *
 * Pure. Thread: any.
 */
#ifndef LIB_MODEL_RETRY_DELAY_H
#define LIB_MODEL_RETRY_DELAY_H

#include <stdint.h>

/* The delay after the given number of failed attempts, plus or minus a fifth,
 * so that tasks which failed together are not retried together. jitter: a
 * random number in [0, 1). */
int64_t retry_delay_ms(uint32_t failed, double jitter);

#endif
