/*
 * guard - a process that outlives the worker, to end what its tasks left.
 *
 * A worker that is killed takes its direct children with it, but not theirs,
 * and the next attempt of a task may begin elsewhere as soon as its lease has
 * run out. The guard is the worker's parent and adopts whatever loses its own
 * parent, whatever session or environment it has; when the worker has ended it
 * kills all of it, but for what may be kept (PROC_KEEP), and ends in the same
 * way. It hands signals on, and costs nothing while the worker lives.
 *
 * If the guard is killed the worker does the same: guard_watch. Only one who
 * kills both at once leaves something behind, which the next worker of that
 * name ends (workers/local/orphans.h).
 *
 * Thread: guard_start, before there are threads; guard_watch, the loop thread.
 */
#ifndef WORKERS_LOCAL_GUARD_H
#define WORKERS_LOCAL_GUARD_H

#include "lib/base/err.h"
#include "lib/io/loop.h"

/* Returns in the worker, a child of the process that called it; that stays as
 * the guard and does not return. Call it before anything is opened. */
int guard_start(struct err *e);

/* From now on the worker ends its tasks and itself when the guard is gone. The
 * caller stops what is returned. */
struct loop_signal *guard_watch(struct loop *l);

#endif
