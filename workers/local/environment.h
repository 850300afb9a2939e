/*
 * environment - the environment of a task's processes: the worker's without its
 * own settings and secrets, the task's, and the task's identity.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_ENVIRONMENT_H
#define WORKERS_LOCAL_ENVIRONMENT_H

#include "lib/base/mask.h"
#include "lib/base/mem.h"
#include "workers/core/executor.h"

#include <stdbool.h>

struct environment;

/* The worker's current environment, without secrets. Borrows the strings of
 * environ, which must not change afterwards. */
struct environment *environment_read(void);
void environment_free(struct environment *env); /* NULL is fine */

/* Writes to the state folder of this user's fleet what tasks need not take
 * along, since this worker has it: cli/submit_env.c reads it. */
void environment_publish(void);

/* Whether the task was submitted by this user on this machine, and takes its
 * environment along. */
bool environment_is_submitters(const struct environment *env,
                               const struct task *t);

/*
 * Reads the values of the task's secrets: from its file in the fleet's state
 * folder, else from the worker's own environment. *values, in pool, has one for
 * each of t->secret_env. The error names one that is nowhere.
 */
int environment_secrets(const struct environment *env, const struct task *t,
                        struct mem_pool *pool, const char ***values,
                        struct err *e);

/*
 * The environment of order's task as KEY=value, ended by NULL, in pool; env's
 * and the order's strings are borrowed. The submitter's entries replace the
 * worker's, the task's and its secrets both, and its id, attempt, fence and
 * fleet all. *plain: no entry makes every shell load something, so a command
 * does the same without a shell.
 */
const char *const *environment_of(const struct environment *env,
                                  const struct run_order *order,
                                  const char *const *secrets,
                                  struct mem_pool *pool, bool *plain);

/* Has the task's output hide the secrets that variables of the worker and of
 * the task hold. */
void environment_hide(const struct environment *env,
                      const struct run_order *order,
                      const char *const *secrets);

/* The value of key, or NULL. */
const char *environment_get(const char *const *entries, const char *key);

#endif
