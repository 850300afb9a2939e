/*
 * environment - what the processes of a task have in their environment: ours
 * without what is for this worker alone, what the task asks for, and who it is.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_ENVIRONMENT_H
#define WORKERS_LOCAL_ENVIRONMENT_H

#include "lib/base/mem.h"
#include "workers/core/executor.h"

#include <stdbool.h>

struct environment;

/* Ours as it stands, without secrets. The strings stay environ's, which must
 * not change any more. */
struct environment *environment_read(void);
void environment_free(struct environment *env); /* NULL is fine */

/*
 * The environment of order's task as KEY=value, ended by NULL, in pool; ours
 * and the order's strings are borrowed. A task replaces what we have, and
 * cannot change its own id, attempt and fence. *plain says whether a command
 * does the same without a shell: nothing here makes each shell load something.
 */
const char *const *environment_of(const struct environment *env,
                                  const struct run_order *order,
                                  struct mem_pool *pool, bool *plain);

/* The value of key, or NULL. */
const char *environment_get(const char *const *entries, const char *key);

#endif
