/*
 * attempt - the attempts a worker has in hand: their memory, their phases, the
 * queue for a slot, and the ways in which they leave.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_ATTEMPT_H
#define WORKERS_CORE_ATTEMPT_H

#include "workers/core/worker_types.h"

/* Takes over one task of d, and the pool that routed was decoded into, of which
 * the attempt becomes a part. */
struct attempt *attempt_new(struct delivery *d, struct mem_pool *pool,
                            const struct routed_task *routed);

/* In PHASE_READY it is in the queue for a slot. */
void attempt_set_phase(struct attempt *a, enum attempt_phase phase);

/* Each ends the attempt: its task is over; it is to be delivered again, of many
 * in a message at once; nothing is said of it. */
void attempt_done(struct attempt *a);
void attempt_retry(struct attempt *a, int64_t delay_ms);
void attempt_drop(struct attempt *a);

#endif
