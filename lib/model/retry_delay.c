/*
 * Doubles the delay before each retry of a task: 5 s, 10 s, 20 s and so on up
 * to 15 minutes.
 */
#include "lib/model/retry_delay.h"

#include "lib/base/backoff.h"

enum {
    RETRY_FIRST_MS = 5 * 1000,      /* before the first retry */
    RETRY_MOST_MS = 15 * 60 * 1000, /* before any retry */
};

int64_t
retry_delay_ms(uint32_t failed, double jitter)
{
    int64_t ms =
        backoff_nth(failed ? failed - 1 : 0, RETRY_FIRST_MS, RETRY_MOST_MS);

    ms = backoff_jitter(ms, 0.8, 1.2, jitter);
    return ms < RETRY_MOST_MS ? ms : RETRY_MOST_MS;
}
