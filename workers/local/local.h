/*
 * local - runs the steps of a task as child processes of this machine.
 *
 * Steps run one after the other, the first failure ends the task. Background
 * processes of a step live until the task ends; then the rest of its process
 * family gets TERM and, after a grace period, KILL. The task is finished once
 * the family is proven gone.
 *
 * Programs see the worker's own environment without its secrets and settings,
 * then the task's env, then
 * SHUNT_TASK_ID, SHUNT_ATTEMPT, SHUNT_FENCE, SHUNT_RUN and SHUNT_WORKER. Their
 * input is /dev/null.
 *
 * Exit codes are a shell's: 127 not found, 126 not executable, 128+n for
 * signal n; 125 means that the task could not be set up (no such workdir, not
 * the branch it names).
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_LOCAL_H
#define WORKERS_LOCAL_LOCAL_H

#include "lib/io/loop.h"
#include "workers/core/executor.h"

struct local; /* shared by the attempts on this machine */

extern const struct executor local_executor; /* its ctx is a struct local */

/*
 * shell runs scripts (with -c); /bin/sh if it does not exist. Starts waiting
 * for children: only one of these per process. Sets the limit on core dumps to
 * 0. On 0 the caller owns *out.
 */
int local_open(struct local **out, struct loop *l, const char *shell,
               int64_t grace_ms, struct err *e);
/* Where tasks that name a branch get their work trees (worktree.h), an absolute
 * path that must outlive l; begins to clear what is there. Call it before the
 * first task. Without it such a task can run in place only. */
void local_use_worktrees(struct local *l, const char *folder);
void local_close(struct local *l); /* free all runs first; NULL is fine */

#endif
