/*
 * local_private - an attempt on this machine, as the files that run it share
 * it.
 *
 *   local.c      the executor: steps, limits, the end of all processes
 *   checkout.c   before and after the steps: work tree, snapshot, evidence
 */
#ifndef WORKERS_LOCAL_LOCAL_PRIVATE_H
#define WORKERS_LOCAL_LOCAL_PRIVATE_H

#include "lib/base/mem.h"
#include "lib/os/proc.h"
#include "workers/core/executor.h"
#include "workers/local/capture.h"
#include "workers/local/input.h"
#include "workers/local/worktree.h"

enum { EXIT_OUR_SIDE = 125 };

struct local {
    struct loop *loop;
    struct proc_set *set;
    const char *shell;
    int64_t grace_ms;
    struct environment *environment;
    struct capture_reader *reader;
    uint64_t oom_kills; /* of the system, as of oom_ms; see is_oom */
    int64_t oom_ms;
    struct local_run *spare; /* freed runs, with their pools */
    unsigned n_spare;
    const char *worktrees; /* NULL: there can be none */
    struct worktree_prune *prune;
};

struct local_run {
    struct local_run *next; /* in spare */
    struct local *local;
    struct run_order order;
    struct mem_pool *pool;
    struct proc_family *family;
    struct proc *proc;      /* of the running step; NULL: none */
    const char *const *env; /* of the task */
    const char *workdir;    /* of the task; NULL: the worker's */
    struct capture pipes;
    unsigned umask;     /* as proc_opts has it */
    int input;          /* standard input of all steps; -1: /dev/null */
    size_t step;        /* counted from 0 */
    uint64_t oom_kills; /* of the system, shortly before it started */
    struct outcome outcome;
    struct input_fetch *fetch;   /* NULL: the task has its input */
    struct worktree *worktree;   /* NULL: the task names no branch */
    struct outputs *outputs;     /* NULL: no files are declared */
    struct git_changes *changes; /* NULL: not needed */
    struct file_checks *exists;  /* NULL: not needed, or not yet */
    struct loop_timer *timer;    /* a step's limit, or the next check */
    int64_t due_ms;              /* of the timer */
    int64_t check_ms, kill_ms;
    bool exec_simple; /* run simple commands without a shell */
    bool starting;    /* within start: changed must not be called */
    bool preparing;   /* work tree and snapshot before the first step */
    bool checking;    /* no process is left, evidence is gathered */
    bool checked;     /* the evidence is gathered or not needed */
    bool cleaned;     /* the work tree is dealt with */
    bool scarce;      /* the first step could not be started now */
    bool cancelled;   /* no further step */
    bool ending;      /* all steps are finished */
    bool termed;      /* the rest of the family got TERM */
    bool hard;
    bool done;
};

/* --- local.c --- */

/* Starts the next step or ends the task. May free the run. */
void local_advance(struct local_run *r, struct err *e);
/* No further step. May free the run. */
void local_end_steps(struct local_run *r);
/* Ends the rest of the family: TERM, the grace period, KILL. May free the
 * run. */
void local_end_family(struct local_run *r);

/* --- checkout.c --- */

/* Prepares what the task needs before its first step, or starts that. May free
 * the run. */
void checkout_begin(struct local_run *r, struct err *e);
/* No process is alive. Begins what follows the steps and ends by
 * local_end_family; false: there is nothing more. */
bool checkout_end(struct local_run *r);
void checkout_release(struct local_run *r);
/* This process did not run: what has a limit here gets it anew. */
void checkout_put_off(struct local_run *r);
/* A path within the user's checkout is meant within the work tree. */
const char *checkout_path(struct local_run *r, const char *path);

#endif
