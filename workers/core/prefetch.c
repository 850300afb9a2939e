#include "workers/core/prefetch.h"

enum {
    WEIGHT = 8,          /* of what was, against one of what is */
    RUN_MOST_MS = 4000,  /* one long run forbids for some twenty short ones */
    TRIP_MOST_MS = 1000, /* a broker that is away says nothing of the trip */
    TRIPS = 2,           /* the pull, and the claim */
};

void
prefetch_init(struct prefetch *a)
{
    /* Unknown tasks are taken for long ones. */
    *a = (struct prefetch){.run_us = INT64_C(1000) * RUN_MOST_MS,
                           .trip_us = 1000};
}

static void
mean(int64_t *us, int64_t ms, int64_t most_ms)
{
    if (ms < 0)
        ms = 0;
    *us += ((ms < most_ms ? ms : most_ms) * 1000 - *us) / WEIGHT;
}

void
prefetch_ran(struct prefetch *a, int64_t ms)
{
    mean(&a->run_us, ms, RUN_MOST_MS);
}

void
prefetch_claimed(struct prefetch *a, int64_t ms)
{
    mean(&a->trip_us, ms, TRIP_MOST_MS);
}

void
prefetch_returned(struct prefetch *a, int64_t now_ms)
{
    if (now_ms < a->barred_ms)
        return; /* several wait for the same slots */
    if (a->bar_ms == 0 || now_ms - a->barred_ms > PREFETCH_BAR_MOST_MS)
        a->bar_ms = PREFETCH_BAR_MS;
    else if (a->bar_ms < PREFETCH_BAR_MOST_MS / 2)
        a->bar_ms *= 2;
    else
        a->bar_ms = PREFETCH_BAR_MOST_MS;
    a->barred_ms = now_ms + a->bar_ms;
}

bool
prefetch_open(const struct prefetch *a, int64_t now_ms)
{
    return a->run_us < INT64_C(1000) * PREFETCH_SHORT_MS &&
           now_ms >= a->barred_ms;
}

bool
prefetch_runs_are_short(struct prefetch *a, int64_t now_ms)
{
    int64_t most_us = INT64_C(1000) * PREFETCH_SHORT_RUN_MS;

    a->short_runs = prefetch_open(a, now_ms) &&
                    a->run_us < (a->short_runs ? 2 * most_us : most_us);
    return a->short_runs;
}

unsigned
prefetch_count(struct prefetch *a, unsigned short_runs, int64_t now_ms)
{
    /* Less than a millisecond is not measured: half of one is as good. */
    int64_t run_us = a->run_us > 500 ? a->run_us : 500;
    int64_t trip_us = a->trip_us > 500 ? a->trip_us : 500;
    int64_t n;

    if (!prefetch_open(a, now_ms)) {
        a->count = 0;
        return 0;
    }
    n = (short_runs * TRIPS * trip_us + run_us - 1) / run_us;
    if (n > PREFETCH_MOST * (int64_t)short_runs)
        n = PREFETCH_MOST * (int64_t)short_runs;
    /* A little less than before is the same: what the broker was asked for
     * already would have to be refused when it comes. */
    if (n > a->count || n < a->count / 2 ||
        a->count > PREFETCH_MOST * short_runs)
        a->count = (unsigned)n;
    return a->count;
}
