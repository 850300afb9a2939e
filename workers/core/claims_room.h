/*
 * claims_room - whether the bucket of claims has room for new ones.
 *
 * Half of it is for new claims; the rest is left to renewals and outcomes, so
 * that what runs goes on when the bucket is full. Then the worker takes no
 * tasks until there is room again: claims expire.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_CLAIMS_ROOM_H
#define WORKERS_CORE_CLAIMS_ROOM_H

#include "workers/core/worker_types.h"

/* Asks the broker now and then; sets w->claims_full. */
void claims_room_open(struct worker *w);
void claims_room_close(struct worker *w);

#endif
