#include "workers/core/worker_private.h"

#include "lib/base/feature.h"

/*
 * Slots that are free, or may soon be. Thousands may be in hand, of which
 * thousands end in a second: they are looked through now and then.
 */
static unsigned
brisk_slots(struct worker *w, int64_t now)
{
    if (now - w->slow_ms >= SLOW_LOOK_MS) {
        w->slow_ms = now;
        w->n_slow = 0;
        for (const struct attempt *a = w->attempts; a; a = a->next)
            if (a->phase == PHASE_RUN && a->began_ms <= now - PREFETCH_SHORT_MS)
                w->n_slow++;
    }
    return w->slots - w->n_slow;
}

void
capacity_recount(struct worker *w)
{
    int64_t now = loop_now_ms();
    bool open = feature_on(FEATURE_PREFETCH) && prefetch_open(&w->ahead, now);
    unsigned short_runs = open ? brisk_slots(w, now) : 0;

    (void)prefetch_count(&w->ahead, short_runs, now);
}

/* Those that are over need no slot; so many of them say that the broker is
 * slow, and then it is not asked for more. */
unsigned
capacity_free(struct worker *w)
{
    unsigned most = w->slots + w->ahead.count,
             taken = w->n_attempts - w->n_over;

    if (taken >= most || w->n_over > 2 * most)
        return 0;
    return most - taken;
}

void
capacity_set_windows(struct worker *w, const struct lane *leaving)
{
    unsigned room, unsettled;

    /* Before the pauses are known, a paused lane might be served. */
    if (w->draining || !w->pauses || !lane_pauses_known(w->pauses))
        return;
    room = capacity_free(w);
    room = room > w->n_waiting ? room - (unsigned)w->n_waiting : 0;
    for (size_t i = 0; i < w->n_lanes; i++) {
        struct lane *lane = &w->lanes[i];

        if (lane->paused) {
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
