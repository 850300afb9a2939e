/*
 * secret_file - values of a task's secret variables in a file of the state
 * folder, secrets/<task>, which its user alone can read. The task itself, and
 * with it the bus and the ledger, has the names only.
 *
 * Thread: any; blocks for an fsync.
 */
#ifndef LIB_SUBMIT_SECRET_FILE_H
#define LIB_SUBMIT_SECRET_FILE_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/model/task.h"

/* The file of a task below home; in pool. */
const char *secret_file_path(const char *home, const char *task,
                             struct mem_pool *pool);

/*
 * Moves the values of t->env that are secrets (lib/base/mask), and those named
 * in t->secret_env, to the task's file below home; their names stay, in
 * t->secret_env. t has its id. 0, too, if there are none.
 */
int secret_file_hide(const char *home, struct task *t, struct mem_pool *pool,
                     struct err *e);

/* Reads the values of a task: one for each of t->secret_env, NULL where the
 * file has none. ERR_NOT_FOUND: there is no file. */
int secret_file_read(const char *home, const struct task *t,
                     struct mem_pool *pool, const char **values, struct err *e);

#endif
