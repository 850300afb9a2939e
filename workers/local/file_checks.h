/*
 * file_checks - whether the files a definition of done names are there.
 *
 * Paths are relative to the workdir and stay below it: a symbolic link that
 * leads out of it is not there. Patterns are looked for folder by folder, a
 * little at a time; symbolic links are not followed then, and .git is left
 * out.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_FILE_CHECKS_H
#define WORKERS_LOCAL_FILE_CHECKS_H

#include "lib/io/loop.h"
#include "workers/core/dod_evidence.h"

struct file_checks;

/* Answers every file_exists of f, then calls done, never before it returned.
 * workdir NULL is ours. */
struct file_checks *file_checks_open(struct loop *l, struct dod_evidence *f,
                                     const char *workdir, loop_fn *done,
                                     void *ctx);
void file_checks_close(struct file_checks *x); /* done or not; NULL is fine */

#endif
