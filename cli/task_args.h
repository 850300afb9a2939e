/*
 * task_args - the flags that describe a task, shared by submit, run, decide
 * and rally, and the command after `--`.
 *
 * Thread: any.
 */
#ifndef CLI_TASK_ARGS_H
#define CLI_TASK_ARGS_H

#include "cli/args.h"
#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/model/task.h"

extern const struct arg_opt task_opts[];

/* An empty task from the command line: source, format, submitter, origin and
 * working directory are set. Strings live in pool or are static. */
int task_args_new(struct task *t, struct mem_pool *pool, struct err *e);

/* Puts every task flag of a over what t holds. */
int task_args_apply(const struct args *a, struct task *t, struct mem_pool *pool,
                    struct err *e);

/*
 * The words after `--`: one is a shell script, several are a program and its
 * arguments, run without a shell.
 */
int task_args_command(struct task *t, char **words, size_t n,
                      struct mem_pool *pool, struct err *e);

/* Makes the task's working directory absolute, ours if it has none. */
int task_args_workdir(struct task *t, struct mem_pool *pool, struct err *e);

/* A moment: RFC 3339, "HH:MM" of today or tomorrow, or a duration from now. */
bool task_args_time(const char *text, int64_t now_ms, int64_t *at_ms);

#endif
