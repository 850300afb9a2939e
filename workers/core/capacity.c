/*
 * Counts what is in hand against the slots and sets the windows of the lanes'
 * consumers by it. Tasks are claimed beyond the slots while runs are short: how
 * many prefetch says, by the slots that are likely to become free.
 */
#include "workers/core/capacity.h"

#include "lib/base/feature.h"
#include "lib/bus/lane_pause.h"
#include "workers/core/worker_types.h"

enum {
    HELD_MS = 1000,    /* a message of a paused lane comes again after that */
    SLOW_COUNT_MS = 5, /* between counts of slots that are busy for long */
};

/*
 * Slots that are free, or may soon be. Thousands of attempts may be in hand, of
 * which thousands end in a second: they are counted now and then.
 */
static unsigned
short_slots(struct worker *w, int64_t now)
{
    if (now - w->n_slow_ms >= SLOW_COUNT_MS) {
        w->n_slow_ms = now;
        w->n_slow = 0;
        for (const struct attempt *a = LIST_FIRST(&w->attempts); a;
             a = LIST_NEXT(a, entry))
            if (a->phase == PHASE_RUN && a->began_ms <= now - PREFETCH_SHORT_MS)
                w->n_slow++;
    }
    return w->slots - w->n_slow;
}

void
capacity_count_prefetch(struct worker *w)
{
    int64_t now = loop_now_ms();
    bool open =
        feature_on(FEATURE_PREFETCH) && prefetch_open(&w->prefetch, now);
    unsigned short_runs = open ? short_slots(w, now) : 0;

    (void)prefetch_count(&w->prefetch, short_runs, now);
}

/* Attempts that are over need no slot. Many of them mean that the broker is
 * slow: then it is not asked for more. */
unsigned
capacity_free(const struct worker *w)
{
    unsigned most = w->slots + w->prefetch.count,
             taken = w->n_attempts - w->n_over;

    if (taken >= most || w->n_over > 2 * most)
        return 0;
    return most - taken;
}

void
capacity_set_windows(struct worker *w, const struct lane *leaving)
{
    unsigned room, unsettled;

    /* Until the pauses are known a paused lane might be served. */
    if (w->draining || !w->pauses || !lane_pauses_known(w->pauses))
        return;
    room = capacity_free(w);
    room = room > w->n_waiting ? room - (unsigned)w->n_waiting : 0;
    for (size_t i = 0; i < w->n_lanes; i++) {
        struct lane *lane = &w->lanes[i];

        if (lane->paused || w->claims_full) {
            bus_consumer_hold(lane->consumer, HELD_MS);
            continue;
        }
        unsettled = bus_consumer_unsettled(lane->consumer);
        if (lane == leaving && unsettled > 0)
            unsettled--;
        bus_consumer_window(lane->consumer,
                            unsettled +
                                (room + lane->members - 1) / lane->members);
    }
}
