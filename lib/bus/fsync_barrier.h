/*
 * fsync_barrier - delays replies of the broker until what they acknowledge is
 * on the disk (bus_conf.confirm; the fsync server is fleet/fsync_server).
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_FSYNC_BARRIER_H
#define LIB_BUS_FSYNC_BARRIER_H

#include "lib/bus/bus.h"

struct fsync_barrier;

/* What the request of that slot and serial waited for is on the disk. */
typedef void barrier_fn(struct bus *b, unsigned index, uint64_t serial);

struct fsync_barrier *barrier_new(barrier_fn *synced);
void barrier_free(struct fsync_barrier *f); /* NULL is fine */
/* Holds a request until everything stored so far is on the disk. */
void barrier_hold(struct bus *b, unsigned index, uint64_t serial);
/* At the end of a loop iteration: sends one sync request for all that is held,
 * unless one is under way. */
void barrier_flush(struct bus *b);
/* Repeats a sync request that failed; returns when to call it again. */
int64_t barrier_tick(struct bus *b, int64_t now);

#endif
