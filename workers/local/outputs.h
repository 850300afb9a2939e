/*
 * outputs - what a task's declared outputs ask of it: the files that are
 * expected to change, and what nobody here carries out.
 *
 * A file is unchanged if it is still the file of before, last written when it
 * was then. A path with a wildcard is not checked.
 *
 * Thread: the loop thread. Looks at files, at most OUTPUTS_FILES_MOST of them.
 */
#ifndef WORKERS_LOCAL_OUTPUTS_H
#define WORKERS_LOCAL_OUTPUTS_H

#include "lib/base/mem.h"
#include "lib/model/task.h"

enum { OUTPUTS_FILES_MOST = 1000 };

struct outputs;

/* Notes what the declared files are now. NULL: the task declares none. All of
 * it is in pool; workdir NULL: the worker's folder. */
struct outputs *outputs_note(const struct task *t, const char *workdir,
                             struct mem_pool *pool);
/* Which of them are missing or unchanged, in words; false: none. */
bool outputs_tell(const struct outputs *o, char *out, size_t size);

/* Calls warn for each output that no process carries out: pull requests and
 * comments. */
void outputs_warn(const struct task *t, struct mem_pool *pool,
                  void (*warn)(void *ctx, const char *text), void *ctx);

#endif
