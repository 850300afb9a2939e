/*
 * orphans - what an earlier life of this worker has left running.
 *
 * A worker that is killed takes its direct children with it (PDEATHSIG), not
 * theirs. Before its task can be attempted again here, they must be gone.
 *
 * Thread: before loop_run; blocks.
 */
#ifndef WORKERS_LOCAL_ORPHANS_H
#define WORKERS_LOCAL_ORPHANS_H

#include <stdint.h>

/*
 * Kills every process whose environment holds mark, and whatever shares a
 * session with one, until none is left or patience_ms are over. Returns how
 * many were alive at the last look. Our own ancestors and session are spared:
 * somebody may have started us from what is left of a task.
 */
int orphans_kill(const char *mark, int64_t patience_ms);

#endif
