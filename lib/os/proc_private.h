/*
 * proc_private - what the parts of proc share.
 *
 *   proc.c         the table of children, their ends, the set
 *   proc_family.c  which processes belong to a family
 *   proc_spawn.c   starts children
 *   proc_linux.c   proc_os_*, the part that differs between systems
 */
#ifndef LIB_OS_PROC_PRIVATE_H
#define LIB_OS_PROC_PRIVATE_H

#include "lib/os/proc.h"
#include "lib/os/procs.h"

#include <signal.h>
#include <sys/queue.h>

enum {
    PROC_BUCKETS = 256, /* of the table of children, a power of two */
};

struct proc {
    struct proc *next;    /* in its bucket */
    struct proc *sibling; /* in its family */
    struct proc_set *set;
    struct proc_family *family;
    pid_t pid;
    bool ended;      /* kept until its family closes: its session may live on */
    bool unreported; /* ended, on_end not yet called */
    STAILQ_ENTRY(proc) unreported_link;
    struct proc_end end;
    void (*on_end)(void *ctx, const struct proc_end *end);
    void *ctx;
};

/* A process found by its ancestry, which it may lose later. */
struct kin {
    pid_t pid;
    uint64_t started;
    bool signalled;
    char name[PROCS_NAME_SIZE];
};

struct proc_family {
    TAILQ_ENTRY(proc_family) link;
    struct proc_set *set;
    struct proc *procs;
    struct kin *kin;
    size_t n_kin, cap_kin;
    unsigned n_alive;  /* of its children, those not yet waited for */
    uint64_t last_end; /* set->ends after the last of them ended */
    uint64_t opened;   /* by procs_ticks */
    bool lets_go;      /* of what has PROC_KEEP in its environment */
    char mark[128];
};

struct proc_os; /* what the system needs for a set */

struct proc_set {
    struct proc_os *os;
    struct proc *buckets[PROC_BUCKETS];
    TAILQ_HEAD(proc_families, proc_family) families; /* the oldest first */
    STAILQ_HEAD(proc_queue, proc) unreported;
    struct loop_waker *waker;
    struct sigaction old_action;
    int null_fd;
    bool adopt;
    bool swept;     /* leftovers were killed: their children may become ours */
    bool spared;    /* some were spared: an open family may have started them */
    uint64_t ends;  /* children that have ended */
    uint64_t clean; /* ends when there was last no adopted child */
};

enum proc_stage { STAGE_SETUP, STAGE_WORKDIR, STAGE_EXEC };

/* A start, which the child may share until it executes. */
struct proc_spawn {
    bool oom_raised; /* by the child: it is expendable */
    struct proc_os *os;
    const struct proc_opts *opts;
    const char *path; /* of the program */
    int fds[3];       /* for 0, 1 and 2 */
    pid_t parent;
    enum proc_stage stage; /* the child's last step */
    int error;             /* and its errno, if it failed */
};

/* --- proc.c --- */

/* NULL if no child of that pid is known. */
struct proc *proc_find(struct proc_set *s, pid_t pid);
/* Adds a child that proc_start did not start and nobody is to kill. */
void proc_know(struct proc_set *s, pid_t pid);
void proc_link(struct proc_set *s, struct proc *p);
void proc_unlink(struct proc_set *s, struct proc *p);

/* --- proc_family.c --- */

/* Kills adopted processes that are older than every open family. */
void proc_sweep(struct proc_set *s);

/* --- proc_linux.c --- */

/* adopt: descendants that lose their parent become our children. NULL: it
 * cannot be. */
struct proc_os *proc_os_open(bool adopt, struct err *e);
void proc_os_close(struct proc_os *s);
/* Returns when the child has executed or ended: its pid. sp->error: it has
 * ended, or, with -1, never began. */
pid_t proc_os_spawn(struct proc_spawn *sp);
/* Adds the children that pid has now. */
void proc_os_push_children(const struct proc_os *s, struct procs_list *l,
                           pid_t pid, bool ours);
/* Whether we have children that proc_start did not start. True may mean that
 * it is not known. */
bool proc_os_has_adopted(struct proc_set *s);

#endif
