/*
 * Starts children with clone, in our memory and on a stack of their own until
 * they execute, as vfork does; makes this process a subreaper; and reads in
 * /proc which children it has.
 */
#include "lib/os/proc_private.h"

#include "lib/base/mem.h"
#include "lib/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    STACK_SIZE = 64 * 1024, /* of a child between clone and exec */
    SEQ_WHOLE = 2048,       /* a shorter read of a /proc list is complete */
};

struct proc_os {
    char *stack;
    int children_fd; /* /proc/self/task/<pid>/children; -1: no such file */
    bool adopt;
    char oom_score[8]; /* of an expendable child */
    size_t oom_score_len;
    unsigned char reset[NSIG]; /* signals without their default action */
    int n_reset;               /* -1: not yet known */
    unsigned reset_as_of;      /* loop_signal_changes at that time */
};

struct proc_os *
proc_os_open(bool adopt, struct err *e)
{
    struct proc_os *s;
    char path[64];
    int score;
    void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

    if (stack == MAP_FAILED || (adopt && os_adopt_orphans() < 0)) {
        err_set(e, ERR_UNAVAILABLE, "prepare for child processes: %s",
                strerror(errno));
        if (stack != MAP_FAILED)
            (void)munmap(stack, STACK_SIZE);
        return NULL;
    }
    score = os_oom_score() + PROC_OOM_RAISE;
    s = MEM_NEW(struct proc_os);
    s->oom_score_len =
        (size_t)snprintf(s->oom_score, sizeof s->oom_score, "%d",
                         score < OS_OOM_SCORE_MOST ? score : OS_OOM_SCORE_MOST);
    s->stack = stack;
    s->adopt = adopt;
    s->n_reset = -1;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children",
                   (int)getpid());
    s->children_fd = open(path, O_RDONLY | O_CLOEXEC);
    return s;
}

void
proc_os_close(struct proc_os *s)
{
    if (s->children_fd >= 0)
        (void)close(s->children_fd);
    (void)munmap(s->stack, STACK_SIZE);
    mem_free(s);
}

/* --- starting ------------------------------------------------------------ */

static void
close_from(unsigned first)
{
    long most;

#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0U, 0U) == 0)
        return;
#endif
    most = sysconf(_SC_OPEN_MAX);
    for (long fd = (long)first; fd < most; fd++)
        (void)close((int)fd);
}

/*
 * A handler would run in our memory, and an ignored signal would stay ignored
 * after exec. This bypasses libc: its records, and a sanitizer's, are those of
 * the parent. All zeroes are the default action, whatever the layout.
 */
static void
reset_signals(const struct proc_os *s)
{
    static const uint64_t zeroes[8];

    for (int i = 0; i < s->n_reset; i++)
        (void)syscall(SYS_rt_sigaction, s->reset[i], zeroes, NULL, NSIG / 8);
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, zeroes, NULL, NSIG / 8);
}

static bool
place_fds(struct proc_spawn *sp)
{
    /* First above 2: one may have the number that another needs. */
    for (int i = 0; i < 3; i++) {
        if (sp->fds[i] < 3)
            sp->fds[i] = fcntl(sp->fds[i], F_DUPFD, 3);
        if (sp->fds[i] < 0)
            return false;
    }
    for (int i = 0; i < 3; i++)
        if (dup2(sp->fds[i], i) < 0)
            return false;
    return true;
}

/* Ends the child. Not _exit, which a sanitizer takes for the parent's end. */
static _Noreturn void
leave(void)
{
    for (;;)
        (void)syscall(SYS_exit_group, 127);
}

/* Raising it needs no privilege. The kernel does not change it for us, whose
 * memory a child between clone and exec shares. */
static bool
raise_oom_score(const struct proc_os *s, const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, s->oom_score, s->oom_score_len) ==
                             (ssize_t)s->oom_score_len;

    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* Runs in the child, in our memory: no allocation, no locks, only system
 * calls. */
static int
child_main(void *arg)
{
    struct proc_spawn *sp = arg;
    const struct proc_opts *o = sp->opts;

    (void)setsid();
    if (!o->keep_on_parent_death) {
        os_signal_at_parents_end(SIGKILL);
        if (getppid() != sp->parent)
            leave(); /* the parent died before that took effect */
    }
    if (o->timer_slack_ns)
        (void)prctl(PR_SET_TIMERSLACK, o->timer_slack_ns, 0, 0, 0);
    reset_signals(sp->os);
    if (!place_fds(sp))
        goto fail;
    if (o->expendable)
        sp->oom_raised = raise_oom_score(sp->os, "/proc/self/oom_score_adj");
    if (o->umask)
        (void)umask(o->umask & 0777);
    close_from(3);
    sp->stage = STAGE_WORKDIR;
    if (o->workdir && chdir(o->workdir) < 0)
        goto fail;
    sp->stage = STAGE_EXEC;
    (void)execve(sp->path, (char *const *)o->argv, (char *const *)o->env);
fail:
    sp->error = errno;
    leave();
}

/* The thread sanitizer intercepts clone and assumes that the child has a copy
 * of the memory; this name of the same function is not intercepted. */
#ifdef __SANITIZE_THREAD__
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

/* Finds the signals that a child must reset: those whose action is not all
 * zeroes. Asking for all signals at each start would be too slow. */
static void
find_signals(struct proc_os *s)
{
    uint64_t action[8];

    if (s->n_reset >= 0 && s->reset_as_of == loop_signal_changes())
        return;
    s->n_reset = 0;
    s->reset_as_of = loop_signal_changes();
    for (int signo = 1; signo < NSIG; signo++) {
        (void)memset(action, 0, sizeof action);
        if (syscall(SYS_rt_sigaction, signo, NULL, action, NSIG / 8) < 0)
            continue;
        for (size_t i = 0; i < sizeof action / sizeof *action; i++)
            if (action[i] != 0) {
                s->reset[s->n_reset++] = (unsigned char)signo;
                break;
            }
    }
}

pid_t
proc_os_spawn(struct proc_spawn *sp)
{
    sigset_t all, old;
    char path[64];
    pid_t pid;

    find_signals(sp->os);
    sp->parent = getpid();
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    pid = clone(child_main, sp->os->stack + STACK_SIZE,
                CLONE_VM | CLONE_VFORK | SIGCHLD, sp);
    if (pid < 0)
        sp->error = errno;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    /* The child may not while it shares memory of ours that is hidden. */
    if (pid > 0 && !sp->error && sp->opts->expendable && !sp->oom_raised) {
        (void)snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
        (void)raise_oom_score(sp->os, path); /* else it has ended */
    }
    return pid;
}

/* --- children ------------------------------------------------------------ */

void
proc_os_push_children(const struct proc_os *s, struct procs_list *l, pid_t pid,
                      bool ours)
{
    procs_push_children(l, pid, ours, s->children_fd >= 0);
}

bool
proc_os_has_adopted(struct proc_set *s)
{
    char buf[SEQ_WHOLE * 4], *at = buf, *end;
    const struct proc *p;
    ssize_t n;
    long pid;

    if (s->os->children_fd < 0)
        return s->os->adopt;
    n = pread(s->os->children_fd, buf, sizeof buf - 1, 0);
    if (n < 0 || n >= SEQ_WHOLE)
        return true; /* perhaps: the caller then searches */
    buf[n] = '\0';
    for (;; at = end) {
        pid = strtol(at, &end, 10);
        if (end == at)
            return false;
        p = proc_find(s, (pid_t)pid);
        if (!p || p->ended)
            return true;
    }
}
