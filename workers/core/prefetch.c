/*
 * Keeps moving means of how long runs and claims take. As many tasks are
 * claimed beyond the slots as runs end within the two round trips that a slot
 * would otherwise wait for. A claim that is handed back bars it for a while.
 */
#include "workers/core/prefetch.h"

#include "lib/base/backoff.h"

enum {
    WEIGHT = 8,          /* of the mean so far, against one of the next value */
    RUN_MOST_MS = 4000,  /* a long run counts for some twenty short ones */
    TRIP_MOST_MS = 1000, /* while the broker is away a trip says nothing */
    TRIPS = 2,           /* the pull, and the claim */
};

void
prefetch_init(struct prefetch *p)
{
    /* Until runs are known they are taken for long. */
    *p = (struct prefetch){.run_us = INT64_C(1000) * RUN_MOST_MS,
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
prefetch_ran(struct prefetch *p, int64_t ms)
{
    mean(&p->run_us, ms, RUN_MOST_MS);
}

void
prefetch_claimed(struct prefetch *p, int64_t ms)
{
    mean(&p->trip_us, ms, TRIP_MOST_MS);
}

void
prefetch_returned(struct prefetch *p, int64_t now_ms)
{
    if (now_ms < p->barred_ms)
        return; /* several wait for the same slots */
    if (now_ms - p->barred_ms > PREFETCH_BAR_MOST_MS)
        p->bar_ms = 0;
    p->bar_ms = backoff_next(p->bar_ms, PREFETCH_BAR_MS, PREFETCH_BAR_MOST_MS);
    p->barred_ms = now_ms + p->bar_ms;
}

bool
prefetch_open(const struct prefetch *p, int64_t now_ms)
{
    return p->run_us < INT64_C(1000) * PREFETCH_SHORT_MS &&
           now_ms >= p->barred_ms;
}

bool
prefetch_runs_are_short(struct prefetch *p, int64_t now_ms)
{
    int64_t most_us = INT64_C(1000) * PREFETCH_SHORT_RUN_MS;

    p->short_runs = prefetch_open(p, now_ms) &&
                    p->run_us < (p->short_runs ? 2 * most_us : most_us);
    return p->short_runs;
}

unsigned
prefetch_count(struct prefetch *p, unsigned short_runs, int64_t now_ms)
{
    /* Less than a millisecond is not measured: half of one is as good. */
    int64_t run_us = p->run_us > 500 ? p->run_us : 500;
    int64_t trip_us = p->trip_us > 500 ? p->trip_us : 500;
    int64_t n;

    if (!prefetch_open(p, now_ms)) {
        p->count = 0;
        return 0;
    }
    n = (short_runs * TRIPS * trip_us + run_us - 1) / run_us;
    if (n > PREFETCH_MOST * (int64_t)short_runs)
        n = PREFETCH_MOST * (int64_t)short_runs;
    /* A little less than before is the same: what the broker was asked for
     * already would have to be refused when it comes. */
    if (n > p->count || n < p->count / 2 ||
        p->count > PREFETCH_MOST * short_runs)
        p->count = (unsigned)n;
    return p->count;
}
