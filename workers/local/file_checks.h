/*
 * file_checks - whether the files that a definition of done names exist.
 *
 * Paths are relative to the workdir and stay below it: a symbolic link that
 * leads out of it does not count. Patterns are searched folder by folder, a few
 * entries per turn of the loop, without following symbolic links and without
 * .git.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_FILE_CHECKS_H
#define WORKERS_LOCAL_FILE_CHECKS_H

#include "lib/io/loop.h"
#include "workers/core/dod_evidence.h"

struct file_checks;

/* Answers every file_exists of f, then calls done, never before returning.
 * workdir NULL: the worker's. */
struct file_checks *file_checks_open(struct loop *l, struct dod_evidence *f,
                                     const char *workdir, loop_fn *done,
                                     void *ctx);
void
file_checks_close(struct file_checks *x); /* finished or not; NULL is fine */

#endif
