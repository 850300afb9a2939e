/*
 * worker - the loop that all workers share: pull while a slot is free, claim,
 * run through an executor, renew, enforce limits, settle.
 *
 * The order is the promise: a claim is confirmed before anything runs, the
 * claim has the outcome before the result counts, and both are stored before
 * the task is acknowledged. An outcome that the broker does not confirm within
 * a second is written to disk, and sent from there by the worker's next life if
 * this one does not get to it.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_WORKER_H
#define WORKERS_CORE_WORKER_H

#include "workers/core/executor.h"
#include "workers/core/state_dir.h"
#include "workers/core/worker_conf.h"

struct worker;

/*
 * Binds to the lanes and starts pulling; sends the outcomes that an earlier
 * life left in the state folder. On 0 the caller owns *out. The folder, the
 * executor and its ctx must outlive the worker.
 */
int worker_open(struct worker **out, struct bus *b, struct loop *l,
                const struct worker_conf *conf, const struct state_dir *dir,
                const struct executor *ex, void *ex_ctx, struct err *e);

/*
 * For loop_on_term. The first call takes nothing new, lets running tasks
 * finish for drain_timeout_ms, then hands them back and stops the loop. The
 * second kills them at once.
 */
void worker_drain(void *worker, int nth);

void worker_close(struct worker *w); /* NULL is fine */

#endif
