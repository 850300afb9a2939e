/*
 * lane_pauser - pauses a lane because of the platform's answer for a job.
 *
 * A pause is in force here from its creation until its key in the bucket is
 * stored: from then on the worker obeys that key, and a resume ends it.
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
const char *lane_pauser_reason(const struct lane_pauser *l, const char *lane);

/* Pauses a lane for everybody; for_ms 0: until a person resumes it. */
void lane_pauser_pause(struct lane_pauser *l, const char *lane, int64_t for_ms,
                       const char *reason);

#endif
