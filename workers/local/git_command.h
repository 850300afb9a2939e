/*
 * git_command - runs one git command after another as children of a task's
 * family, and keeps what they print.
 *
 * The environment is the task's without the variables that would lead git to
 * another repository, index or configuration; hooks do not run, nothing is
 * asked on a terminal, and messages are in English.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_GIT_COMMAND_H
#define WORKERS_LOCAL_GIT_COMMAND_H

#include "lib/base/str.h"
#include "lib/io/loop.h"
#include "lib/os/proc.h"

#include <stdbool.h>
#include <stddef.h>

struct git_command;

struct git_command_conf {
    struct loop *loop;
    struct proc_set *set;
    struct proc_family *family; /* NULL: none */
    const char *const *env;     /* of the task */
    const char *workdir;        /* NULL: the worker's */
};

/* The conf is copied; what it points to must outlive the result. */
struct git_command *git_command_new(const struct git_command_conf *conf);
/* Kills what runs; NULL is fine. */
void git_command_free(struct git_command *c);

struct git_run {
    const char *const *argv; /* after "git" and its options; NULL-terminated */
    const char *file;        /* NULL: git; else that program with argv as is */
    const char *workdir;     /* NULL: the conf's */
    const char *env[3];      /* more entries, until NULL; borrowed meanwhile */
    /* NULL, or takes what is printed, which is not kept then. */
    void (*take)(void *ctx, const char *data, size_t len);
};

/*
 * Starts the command. done is called once, on the loop and never before this
 * returns. failure: NULL if it exited 0, else what git says, or why it could
 * not be started; valid during the call. One at a time.
 */
void git_command_run(struct git_command *c, const struct git_run *run,
                     void (*done)(void *ctx, const char *failure), void *ctx);
/* Kills what runs; its done is called. */
void git_command_kill(struct git_command *c);

/* What the last command has printed, at most 16 KiB. Valid until the next. */
const char *git_command_output(const struct git_command *c);

#endif
