/*
 * proc - starts child processes, and finds and kills all their descendants.
 *
 * A child gets its own session and process group, an explicit environment, a
 * clean signal state, no inherited descriptors beyond 0, 1 and 2, and is
 * killed when this process dies. A set that adopts makes this process a
 * subreaper: descendants whose parent ends become our children, whatever
 * session they moved to, and are waited for.
 *
 * A family is everything one piece of work may leave behind: the children
 * started for it, their descendants, their sessions, and adopted processes
 * whose environment holds the family's mark. An adopted process with neither
 * that session nor that environment (env -i setsid) cannot be attributed; it is
 * killed once every family that was open when it started has been closed.
 *
 * Thread: the loop thread, which must be the main thread. Children are waited
 * for with waitpid(-1): no other code of the process may start any, and there
 * is one set at a time. Signal handlers must be installed through lib/io/loop,
 * or before the first child is started: a child resets the known ones before
 * they could run in our memory.
 */
#ifndef LIB_OS_PROC_H
#define LIB_OS_PROC_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/io/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The environment of what may outlive its family: proc_family_let_go. */
#define PROC_KEEP "SHUNT_KEEP=1"

enum { PROC_UMASK = 01000 };
enum { PROC_OOM_RAISE = 300 }; /* of an expendable child's os_oom_score */

struct proc_set;    /* the children of one process */
struct proc_family; /* children that belong together */
struct proc;        /* one child */

struct proc_end {
    bool signalled;
    int code; /* exit status, or signal number */
    uint64_t max_rss_bytes;
    uint64_t cpu_ms; /* user and system, waited-for descendants included */
};

struct proc_opts {
    const char *file;        /* program; without '/' looked up in PATH of env */
    const char *const *argv; /* NULL-terminated */
    const char *const *env;  /* NULL-terminated; the whole environment */
    const char *workdir;     /* NULL: that of this process */
    int in, out, err;        /* for descriptors 0, 1, 2; -1: /dev/null */
    bool keep_on_parent_death; /* it may outlive us */
    /* PROC_UMASK and the permissions its new files do not get; 0: as ours. */
    unsigned umask;
    bool expendable; /* when memory runs out, it is to be ended before us */
    uint64_t timer_slack_ns;    /* may delay its timers so long; 0: as ours */
    struct proc_family *family; /* NULL: none */
};

/* Installs the SIGCHLD handler. adopt: become a subreaper. */
int proc_set_open(struct proc_set **out, struct loop *l, bool adopt,
                  struct err *e);
/* Children that have not ended are not waited for. Close families first. NULL
 * is fine. */
void proc_set_close(struct proc_set *s);

/*
 * Starts a child. on_end is called once, on the loop and after this returned,
 * when the child has ended; of several that end together all are waited for
 * before the first call. Then the proc is freed. ERR_NOT_FOUND: no such program
 * or workdir (the message says which); ERR_DENIED: not executable; ERR_INVALID:
 * arguments too long, or a file that the system cannot execute;
 * ERR_UNAVAILABLE: no resources.
 */
int proc_start(struct proc_set *s, const struct proc_opts *o,
               void (*on_end)(void *ctx, const struct proc_end *end), void *ctx,
               struct proc **out, struct err *e);

pid_t proc_pid(const struct proc *p);
/* Sends signo to its process group; false if the child has ended. */
bool proc_signal(struct proc *p, int signo);
/* Drops on_end: it will not be called. */
void proc_forget(struct proc *p);

/* mark: a unique entry that the caller puts into the environment of the
 * family's children ("SHUNT_RUN=x"); copied, cut at 127 bytes. */
struct proc_family *proc_family_open(struct proc_set *s, const char *mark);

/*
 * Sends signo (0: none) to every live process of the family and returns their
 * number: 0 proves that none is left. A process that is forked meanwhile is
 * found by the next call: repeat until 0. An adopted process that is just
 * executing a program cannot be attributed: it is counted, and signalled by a
 * later call if it belongs here. Only descendants of this process are searched.
 */
int proc_family_signal(struct proc_family *f, int signo);

/* From now on processes whose environment holds PROC_KEEP, beyond the children
 * started here, are no part of the family: they live on. */
void proc_family_let_go(struct proc_family *f);

/* The processes, beyond the children started here, that proc_family_signal has
 * signalled: their number, and their names in *out ("tmux, sleep (2)"), at most
 * some hundred bytes. */
int proc_family_signalled(const struct proc_family *f, struct str *out);

/* Call it when no process of the family is alive. Kills adopted processes that
 * no open family can have started. NULL is fine. */
void proc_family_close(struct proc_family *f);

/*
 * A cheap proof that no process of f is alive: its children have ended and this
 * process has no adopted children. One system call serves all families that
 * ended together. False proves nothing: call proc_family_signal then.
 */
bool proc_family_gone(struct proc_family *f);

/* Creates a pipe, close-on-exec; *ours is the reading end, non-blocking. */
int proc_pipe(int *ours, int *theirs, struct err *e);

/* When pid was started, in ticks since boot; 0 if there is no such process.
 * Kept beside a pid, it tells whether the pid is still the same process. */
uint64_t proc_started(pid_t pid);

#endif
