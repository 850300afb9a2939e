/*
 * orphans - processes that an earlier process of this worker has left running.
 *
 * A killed worker takes its direct children with it (PDEATHSIG), but not
 * theirs. These must be gone before the task can be attempted again here.
 *
 * Thread: before loop_run; blocks.
 */
#ifndef WORKERS_LOCAL_ORPHANS_H
#define WORKERS_LOCAL_ORPHANS_H

#include <stdint.h>

/*
 * Kills every process whose environment contains mark, and all that share a
 * session with one, until none is left or patience_ms have passed. Returns how
 * many were alive at the last check. Our own ancestors and session are spared:
 * the worker may have been started from within an old task.
 */
int orphans_kill(const char *mark, int64_t patience_ms);

#endif
