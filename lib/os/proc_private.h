/*
 * proc_private - what the parts of proc share.
 *
 *   proc.c         the table of children, their ends, the set
 *   proc_family.c  who belongs to a piece of work, and what it leaves behind
 *   proc_spawn.c   starting: finds the program, explains what failed
 *   proc_linux.c   what each system does in a way of its own: proc_os_*
 */
#ifndef LIB_OS_PROC_PRIVATE_H
#define LIB_OS_PROC_PRIVATE_H

#include "lib/os/proc.h"
#include "lib/os/procs.h"

#include <signal.h>

enum {
    PROC_BUCKETS = 256, /* of the table of children, a power of two */
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

struct proc_os; /* what the system needs for a set */

struct proc_set {
    struct proc_os *os;
    struct proc *buckets[PROC_BUCKETS];
    struct proc_family *oldest, *newest;
    struct proc *untold, **untold_end;
    struct loop_waker *waker;
    struct sigaction old_action;
    int null_fd;
    bool adopt;
    bool swept;  /* leftovers were killed, and their children may come to us */
    bool spared; /* some were left, which an open family may have started */
    uint64_t ends;  /* children that have ended */
    uint64_t clean; /* ends when nothing adopted was there, at last */
};

enum proc_stage { STAGE_SETUP, STAGE_WORKDIR, STAGE_EXEC };

/* A start, which the child may share until it executes. */
struct proc_spawn {
    struct proc_os *os;
    const struct proc_opts *opts;
    const char *path; /* of the program */
    int fds[3];       /* for 0, 1 and 2 */
    pid_t parent;
    enum proc_stage stage; /* the child's last step */
    int error;             /* and its errno, if it failed */
};

/* --- proc.c --- */

/* NULL: no child of that number is known. */
struct proc *proc_find(struct proc_set *s, pid_t pid);
void proc_link(struct proc_set *s, struct proc *p);
void proc_unlink(struct proc_set *s, struct proc *p);

/* --- proc_family.c --- */

/* Kills adopted processes that are older than every family still open. */
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
