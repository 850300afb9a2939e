/*
 * state_dir - the folder in which a worker keeps what must survive it; its lock
 * proves that there is no other worker of that name on this machine.
 *
 *   lock                 held while the worker lives, its pid inside
 *   outcomes/            see workers/core/result_spool.h
 *   worktrees/           see workers/local/worktree.h
 *
 * worker.state_dir names it; without that it is $XDG_STATE_HOME (or
 * ~/.local/state) /shunt/worker-<name>.
 *
 * Thread: any; before loop_run.
 */
#ifndef WORKERS_CORE_STATE_DIR_H
#define WORKERS_CORE_STATE_DIR_H

#include "lib/base/err.h"

struct state_dir;

/*
 * name: as configured, "" for the host's. Creates the folders, takes the lock.
 * On 0 the caller owns *out. ERR_CONFLICT: another worker has it; the message
 * says which process and what to do.
 */
int state_dir_open(struct state_dir **out, const char *name,
                   const char *state_dir, struct err *e);
void state_dir_close(struct state_dir *d); /* unlocks; NULL is fine */

/* The worker's name as a token. */
const char *state_dir_name(const struct state_dir *d);
/* "SHUNT_WORKER=<name>@<hash>": in the environment of every program that a
 * worker of this folder starts, in this life and in any other. */
const char *state_dir_worker_mark(const struct state_dir *d);
/* The folder of unconfirmed outcomes. */
const char *state_dir_results(const struct state_dir *d);
/* The folder for work trees of branches; an absolute path, perhaps not there.
 */
const char *state_dir_worktrees(const struct state_dir *d);

#endif
