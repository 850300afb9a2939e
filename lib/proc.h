/*
 * proc - child processes with their whole family, and pipes to read them.
 *
 * A child gets its own session and process group, an explicit environment, a
 * clean signal state, no inherited descriptors beyond 0, 1 and 2, and dies
 * with us (PR_SET_PDEATHSIG). With proc_adopt this process becomes a
 * subreaper: grandchildren that call setsid and lose their parent come to us,
 * are recognised by a variable in their environment and can be killed.
 *
 * Thread: the loop thread. Children are waited for with waitpid(-1): nobody
 * else in the process may start any.
 */
#ifndef LIB_PROC_H
#define LIB_PROC_H

#include "lib/err.h"
#include "lib/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_set; /* the children of one loop */
struct proc;     /* one child */

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
    bool keep_on_parent_death; /* no PDEATHSIG */
};

/* Installs the SIGCHLD handler. adopt: become a subreaper. */
int proc_set_open(struct proc_set **out, struct loop *l, bool adopt,
                  struct err *e);
/* Children must have ended. NULL is fine. */
void proc_set_close(struct proc_set *s);

/*
 * Starts a child; on_end is called once, on the loop, after it ended, and the
 * proc is freed after that call. ERR_NOT_FOUND: no such program or workdir
 * (the message says which); ERR_DENIED: not executable; ERR_UNAVAILABLE: no
 * resources.
 */
int proc_start(struct proc_set *s, const struct proc_opts *o,
               void (*on_end)(void *ctx, const struct proc_end *end),
               void *ctx, struct proc **out, struct err *e);

pid_t proc_pid(const struct proc *p);
/* To its process group; false if it is gone. */
bool proc_signal(struct proc *p, int signo);

/*
 * Sends signo to every process whose environment holds mark ("SHUNT_RUN=x")
 * and that descends from us, and returns how many there were: 0 is the proof
 * that none is left. Cheap when this process has no children but those of
 * proc_start: then only their families are looked at.
 */
int proc_signal_marked(struct proc_set *s, const char *mark, int signo);

/* Whether adopted children (not started with proc_start) exist at all. */
bool proc_has_adopted(struct proc_set *s);

/* A pipe, close-on-exec on both ends, our reading end non-blocking. */
int proc_pipe(int *ours, int *theirs, struct err *e);

/* Whether pid is alive and started at the same time as recorded; for pid
 * files. started is /proc/<pid>/stat field 22; 0 if pid does not exist. */
uint64_t proc_started(pid_t pid);

#endif
