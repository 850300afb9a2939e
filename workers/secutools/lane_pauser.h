/*
 * lane_pauser - pauses a lane for what the platform said of one of its jobs.
 *
 * A pause holds here from the moment it is made until its key in the bucket is
 * stored: that is what the worker heeds from then on, and what a resume ends.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_SECUTOOLS_LANE_PAUSER_H
#define WORKERS_SECUTOOLS_LANE_PAUSER_H

#include "lib/bus/bus.h"

#include <stdint.h>

struct lane_pauser;

/* name: the worker's. Close it before the bus. */
struct lane_pauser *lane_pauser_open(struct bus *b, const char *backend,
                                     const char *name);
void lane_pauser_close(struct lane_pauser *l); /* NULL is fine */

/* Why a lane is being paused, or NULL. Valid until the next turn of the
 * loop. */
const char *lane_pauser_held(const struct lane_pauser *l, const char *lane);

/* Pauses a lane for everybody; for_ms 0: until a person resumes it. */
void lane_pauser_pause(struct lane_pauser *l, const char *lane, int64_t for_ms,
                       const char *reason);

#endif
