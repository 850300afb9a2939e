/*
 * proc_private - what the parts of proc share.
 *
 *   proc.c         the table of children, their ends, the set
 *   proc_family.c  who belongs to a piece of work, and what it leaves behind
 *   proc_spawn.c   starting
 */
#ifndef LIB_OS_PROC_PRIVATE_H
#define LIB_OS_PROC_PRIVATE_H

#include "lib/os/proc.h"
#include "lib/os/procfs.h"

#include <signal.h>

enum {
    PROC_BUCKETS = 256,          /* of the table of children, a power of two */
    PROC_STACK_SIZE = 64 * 1024, /* of a child between clone and exec */
};

struct proc {
    struct proc *next;    /* in its bucket */
    struct proc *sibling; /* in its family */
    struct proc_set *set;
    struct proc_family *family;
    pid_t pid;
    bool ended;  /* kept until its family closes: its session may live on */
    bool untold; /* ended, and on_end was not called yet */
    struct proc *next_untold;
    struct proc_end end;
    void (*on_end)(void *ctx, const struct proc_end *end);
    void *ctx;
};

/* A process met by ancestry, which may lose that ancestry later. */
struct kin {
    pid_t pid;
    uint64_t started;
};

struct proc_family {
    struct proc_family *next, *prev;
    struct proc_set *set;
    struct proc *procs;
    struct kin *kin;
    size_t n_kin, cap_kin;
    unsigned n_alive;  /* of its children, as far as they were waited for */
    uint64_t last_end; /* set->ends when the last of them had ended */
    uint64_t opened;   /* in ticks since boot, as field 22 of stat */
    char mark[128];
};

struct proc_set {
    struct proc *buckets[PROC_BUCKETS];
    struct proc_family *oldest, *newest;
    struct proc *untold, **untold_end;
    struct loop_waker *waker;
    struct sigaction old_action;
    char *stack;
    int null_fd;
    int children_fd; /* /proc/self/task/<pid>/children; -1: no such file */
    bool adopt;
    bool swept;  /* leftovers were killed, and their children may come to us */
    bool spared; /* some were left, which an open family may have started */
    uint64_t ends;  /* children that have ended */
    uint64_t clean; /* ends when nothing adopted was there, at last */
    unsigned char reset[NSIG]; /* signals that are not at their default */
    int n_reset;               /* -1: not yet known */
    unsigned reset_as_of;      /* loop_signal_changes then */
};

/* --- proc.c --- */

/* NULL: no child of that number is known. */
struct proc *proc_find(struct proc_set *s, pid_t pid);
void proc_link(struct proc_set *s, struct proc *p);
void proc_unlink(struct proc_set *s, struct proc *p);

/* --- proc_family.c --- */

/* Adds the children that pid has now. */
void proc_push_children(const struct proc_set *s, struct procfs_list *ns,
                        pid_t pid, bool ours);
/* Kills adopted processes that are older than every family still open. */
void proc_sweep(struct proc_set *s);

#endif
