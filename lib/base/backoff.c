/*
 * Exponential backoff. A caller either keeps the last delay (backoff_next) or
 * counts its failures (backoff_nth), and spreads the delay with backoff_jitter.
 */
#include "lib/base/backoff.h"

#include "lib/os/os.h"

#include <stddef.h>

int64_t
backoff_next(int64_t ms, int64_t least_ms, int64_t most_ms)
{
    ms = ms > most_ms / 2 ? most_ms : 2 * ms;
    return ms > least_ms ? ms : least_ms;
}

int64_t
backoff_nth(uint32_t n, int64_t least_ms, int64_t most_ms)
{
    while (n-- > 0 && least_ms < most_ms)
        least_ms *= 2;
    return least_ms < most_ms ? least_ms : most_ms;
}

int64_t
backoff_jitter(int64_t ms, double from, double to, double random)
{
    return (int64_t)((double)ms * (from + (to - from) * random));
}

double
backoff_random(void)
{
    uint32_t n = 0;

    (void)os_random(&n, sizeof n);
    return (double)n / 4294967296.0;
}
