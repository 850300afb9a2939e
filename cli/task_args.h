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

/* An empty task of the command line, with source, format, submitter and working
 * directory. Strings live in pool or are static. */
int task_args_new(struct task *t, struct mem_pool *pool, struct err *e);

/* Applies every task flag of a to t. */
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

/* A point in time: RFC 3339, the next "HH:MM", or a duration from now. */
bool task_args_time(const char *text, int64_t now_ms, int64_t *at_ms);

#endif
