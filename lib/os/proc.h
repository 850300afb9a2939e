/*
 * proc - child processes with their whole family, and pipes to read them.
 *
 * A child gets its own session and process group, an explicit environment, a
 * clean signal state, no inherited descriptors beyond 0, 1 and 2, and dies
 * with us, by SIGKILL. A set that adopts makes this process a
 * subreaper: descendants that lose their parent come to us, whatever session
 * they moved to, and are waited for.
 *
 * A family is what one piece of work may leave behind: the children started
 * for it, their descendants, their sessions, and adopted processes whose
 * environment holds the family's mark. An adopted process that shed both
 * session and environment (env -i setsid) cannot be attributed; it is killed
 * once no family is left that was open when it started.
 *
 * Thread: the loop thread, which must be the main thread. Children are waited
 * for with waitpid(-1): nobody else in the process may start any, and there is
 * one set at a time. Signal handlers are installed with lib/io/loop, or before
 * the first child is started: it must not run them in our memory.
 */
#ifndef LIB_OS_PROC_H
#define LIB_OS_PROC_H

#include "lib/base/err.h"
#include "lib/io/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_set;    /* the children of one process */
struct proc_family; /* those that belong together */
struct proc;        /* one child */

struct proc_end {
    bool signalled;
    int code; /* exit status, or the signal's number */
    uint64_t max_rss_bytes;
    uint64_t cpu_ms; /* user and system, waited-for descendants included */
};

struct proc_opts {
    const char *file;        /* program; without '/' looked up in PATH of env */
    const char *const *argv; /* NULL-terminated */
    const char *const *env;  /* NULL-terminated; the whole environment */
    const char *workdir;     /* NULL: ours */
    int in, out, err;        /* descriptors for 0, 1, 2; -1: /dev/null */
    bool keep_on_parent_death;  /* it outlives us */
    uint64_t timer_slack_ns;    /* by which its timers may be late; 0: ours */
    struct proc_family *family; /* NULL: none */
};

/* Installs the SIGCHLD handler. adopt: become a subreaper. */
int proc_set_open(struct proc_set **out, struct loop *l, bool adopt,
                  struct err *e);
/* Forgets children that have not ended; families must have been closed. NULL
 * is fine. */
void proc_set_close(struct proc_set *s);

/*
 * Starts a child; on_end is called once, on the loop and never before this
 * returned, after it ended (several that end together are all waited for
 * before the first is told); the proc is freed after that call. ERR_NOT_FOUND:
 * no such program or workdir (the message says which); ERR_DENIED: not
 * executable; ERR_INVALID: arguments too long, or no format the system can
 * execute; ERR_UNAVAILABLE: no resources.
 */
int proc_start(struct proc_set *s, const struct proc_opts *o,
               void (*on_end)(void *ctx, const struct proc_end *end), void *ctx,
               struct proc **out, struct err *e);

pid_t proc_pid(const struct proc *p);
/* To its process group; false if it is gone. */
bool proc_signal(struct proc *p, int signo);
/* on_end will not be called. */
void proc_forget(struct proc *p);

/* mark: an entry the caller puts into the environment of the family's
 * children ("SHUNT_RUN=x"), unlike any other's; copied, cut at 127. */
struct proc_family *proc_family_open(struct proc_set *s, const char *mark);

/*
 * Sends signo (0: none) to each of the family that is alive and returns how
 * many there were: 0 is the proof that none is left. What is born meanwhile
 * is met by the next call: repeat until 0. An adopted process that is just
 * executing a program cannot be told from another family's: it is counted,
 * and signalled by a later call if it belongs here. Looks at our descendants
 * only.
 */
int proc_family_signal(struct proc_family *f, int signo);

/* Call once nothing of it is alive. Kills adopted processes that no family
 * still open can have started. NULL is fine. */
void proc_family_close(struct proc_family *f);

/*
 * The cheap proof that nothing of f is alive: its children have ended, and
 * nothing was adopted since (no children that proc_start did not start). It
 * costs one system call for all that have ended together. False proves
 * nothing: ask proc_family_signal then.
 */
bool proc_family_gone(struct proc_family *f);

/* A pipe, close-on-exec on both ends, our reading end non-blocking. */
int proc_pipe(int *ours, int *theirs, struct err *e);

/* Whether pid is alive and started at the same time as recorded; for pid
 * files. started: ticks since boot; 0 if pid does not exist. */
uint64_t proc_started(pid_t pid);

#endif
