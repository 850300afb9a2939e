/*
 * prefetch - how many tasks to claim beyond the slots.
 *
 * A slot that asks for its next task only when it is free waits for two round
 * trips to the broker: nothing beside a task of minutes, most of the time
 * beside one of milliseconds. So as many tasks are claimed ahead as slots are
 * likely to become free meanwhile, by how long runs and claims have lately
 * taken, and none while tasks are long: other workers may have a slot for them.
 * A worker that claimed one too many hands it back, and claims none ahead for a
 * while.
 *
 * Pure: time arrives as an argument, monotonic.
 */
#ifndef WORKERS_CORE_PREFETCH_H
#define WORKERS_CORE_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PREFETCH_SHORT_MS = 200, /* nothing is claimed ahead of longer runs */
    PREFETCH_MOST = 4,       /* per slot */
    PREFETCH_WAIT_MS = 1000, /* a claim that waits longer is handed back */
    PREFETCH_BAR_MS = 5000,  /* none for so long after that; doubles */
    PREFETCH_BAR_MOST_MS = 300000,
    PREFETCH_SHORT_RUN_MS = 10, /* then several tasks may come in one message */
};

struct prefetch {
    int64_t run_us, trip_us; /* moving means */
    int64_t barred_ms;       /* until then none */
    int64_t bar_ms;          /* how long the last bar was */
    unsigned count;          /* as last returned */
    bool short_runs;         /* as last returned */
};

void prefetch_init(struct prefetch *p);
/* A run has ended, or a claim was confirmed, after so long. */
void prefetch_ran(struct prefetch *p, int64_t ms);
void prefetch_claimed(struct prefetch *p, int64_t ms);
/* A claim that waited for too long is handed back. */
void prefetch_returned(struct prefetch *p, int64_t now_ms);
/* False: the count is 0, whatever the slots do. */
bool prefetch_open(const struct prefetch *p, int64_t now_ms);
/* Whether runs are so short that it matters little which of several workers
 * gets the next ones. True once they take less than PREFETCH_SHORT_RUN_MS,
 * until they take twice as long. */
bool prefetch_runs_are_short(struct prefetch *p, int64_t now_ms);
/*
 * How many to claim beyond the slots now. short_runs: slots that are free, or
 * whose run is younger than PREFETCH_SHORT_MS: the others are not counted on.
 */
unsigned prefetch_count(struct prefetch *p, unsigned short_runs,
                        int64_t now_ms);

#endif
