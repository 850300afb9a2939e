/*
 * local - runs the steps of a task as child processes of this machine.
 *
 * Steps run one after the other, the first failure ends the task. Background
 * processes of a step live until the task ends; then whatever is left of its
 * family gets TERM, after a grace KILL, and the task is over once the family
 * is proven gone.
 *
 * Programs see the worker's own environment without its secrets and settings,
 * then the task's env, then
 * SHUNT_TASK_ID, SHUNT_ATTEMPT, SHUNT_FENCE, SHUNT_RUN and SHUNT_WORKER. Their
 * input is /dev/null.
 *
 * Exit codes are a shell's: 127 not found, 126 not executable, 128+n for
 * signal n; 125 means that the task could not be set up (no such workdir).
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_LOCAL_H
#define WORKERS_LOCAL_LOCAL_H

#include "lib/io/loop.h"
#include "workers/core/executor.h"

struct local; /* what the attempts on this machine share */

extern const struct executor local_executor; /* its ctx is a struct local */

/*
 * shell runs scripts (with -c); if it does not exist, /bin/sh does. Starts
 * waiting for children: one per process. Lowers the limit on core dumps to 0.
 * On 0 the caller owns *out.
 */
int local_open(struct local **out, struct loop *l, const char *shell,
               int64_t grace_ms, struct err *e);
void local_close(struct local *l); /* no run may be left; NULL is fine */

#endif
