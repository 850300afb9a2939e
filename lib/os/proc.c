/*
 * The table of children by pid, and their ends: SIGCHLD wakes the loop, every
 * ended child is waited for, then their callbacks are called.
 */
#include "lib/os/proc_private.h"

#include "lib/base/mem.h"
#include "lib/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the table of children ----------------------------------------------- */

static struct proc **
bucket(struct proc_set *s, pid_t pid)
{
    return &s->buckets[(unsigned)pid & (PROC_BUCKETS - 1)];
}

struct proc *
proc_find(struct proc_set *s, pid_t pid)
{
    struct proc *p = *bucket(s, pid);

    while (p && p->pid != pid)
        p = p->next;
    return p;
}

void
proc_unlink(struct proc_set *s, struct proc *p)
{
    struct proc **at = bucket(s, p->pid);

    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
}

void
proc_link(struct proc_set *s, struct proc *p)
{
    struct proc *old = proc_find(s, p->pid);

    /* The pid was free, so nothing is left of the session of that number. A
     * child that ended and was kept stays in its family's list only. */
    if (old)
        proc_unlink(s, old);
    p->next = *bucket(s, p->pid);
    *bucket(s, p->pid) = p;
    if (p->family) {
        p->sibling = p->family->procs;
        p->family->procs = p;
        p->family->n_alive++;
    }
}

/* --- ends ---------------------------------------------------------------- */

static uint64_t
cpu_ms(const struct rusage *ru)
{
    return (uint64_t)(ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1000 +
           (uint64_t)(ru->ru_utime.tv_usec + ru->ru_stime.tv_usec) / 1000;
}

/* Records the end of p; report_ends reports it when all have been waited
 * for. */
static void
ended(struct proc_set *s, struct proc *p, int status, const struct rusage *ru)
{
    p->end = (struct proc_end){
        .signalled = WIFSIGNALED(status),
        .code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
        .max_rss_bytes = os_max_rss_bytes(ru),
        .cpu_ms = cpu_ms(ru)};
    p->ended = p->unreported = true;
    s->ends++;
    if (p->family) {
        p->family->n_alive--;
        p->family->last_end = s->ends;
    }
    STAILQ_INSERT_TAIL(&s->unreported, p, unreported_link);
}

static void
report_ends(struct proc_set *s)
{
    struct proc *p;

    while ((p = STAILQ_FIRST(&s->unreported))) {
        void (*on_end)(void *, const struct proc_end *) = p->on_end;
        struct proc_end end = p->end;
        void *ctx = p->ctx;

        STAILQ_REMOVE_HEAD(&s->unreported, unreported_link);
        p->unreported = false;
        if (!p->family) {
            proc_unlink(s, p);
            mem_free(p);
        }
        if (on_end)
            on_end(ctx, &end);
    }
}

static void
on_ends(void *ctx)
{
    struct proc_set *s = ctx;
    struct rusage ru;
    struct proc *p;
    int status;
    pid_t pid;

    while ((pid = wait4(-1, &status, WNOHANG, &ru)) > 0) {
        p = proc_find(s, pid);
        if (p && !p->ended)
            ended(s, p, status, &ru);
    }
    report_ends(s);
    if (s->swept)
        proc_sweep(s);
}

/* SIGCHLD may be handled on any thread: `waking` keeps the waker open
 * meanwhile. The loop's own signal handling costs ten system calls a signal. */
static _Atomic(struct loop_waker *) to_wake;
static atomic_int waking;

static void
on_sigchld(int signo)
{
    int error = errno;
    struct loop_waker *w;

    (void)signo;
    (void)atomic_fetch_add(&waking, 1);
    w = atomic_load(&to_wake);
    if (w)
        loop_waker_wake(w);
    (void)atomic_fetch_sub(&waking, 1);
    errno = error;
}

static void
watch_ends(struct proc_set *s, struct loop *l)
{
    struct sigaction action = {.sa_handler = on_sigchld,
                               .sa_flags = SA_RESTART | SA_NOCLDSTOP};

    s->waker = loop_waker_open(l, on_ends, s);
    atomic_store(&to_wake, s->waker);
    (void)sigfillset(&action.sa_mask);
    (void)sigaction(SIGCHLD, &action, &s->old_action);
}

static void
unwatch_ends(struct proc_set *s)
{
    (void)sigaction(SIGCHLD, &s->old_action, NULL);
    atomic_store(&to_wake, NULL);
    while (atomic_load(&waking) > 0)
        (void)sched_yield();
    loop_waker_close(s->waker);
}

void
proc_know(struct proc_set *s, pid_t pid)
{
    struct proc *p = MEM_NEW(struct proc);

    p->set = s;
    p->pid = pid;
    proc_link(s, p);
}

/* Adds children that this process already has, as after an exec: they belong to
 * no family and must not be killed as leftovers. */
static void
know_inherited(struct proc_set *s)
{
    struct procs_list found = {0};

    proc_os_push_children(s->os, &found, getpid(), false);
    for (size_t i = 0; i < found.n; i++)
        proc_know(s, found.v[i].pid);
    mem_free(found.v);
}

int
proc_set_open(struct proc_set **out, struct loop *l, bool adopt, struct err *e)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct proc_os *os;
    struct proc_set *s;

    if (null_fd < 0)
        return err_set(e, ERR_UNAVAILABLE, "open /dev/null: %s",
                       strerror(errno));
    os = proc_os_open(adopt, e);
    if (!os) {
        (void)close(null_fd);
        return -1;
    }
    s = MEM_NEW(struct proc_set);
    s->os = os;
    s->null_fd = null_fd;
    s->adopt = adopt;
    TAILQ_INIT(&s->families);
    STAILQ_INIT(&s->unreported);
    know_inherited(s);
    watch_ends(s, l);
    *out = s;
    return 0;
}

void
proc_set_close(struct proc_set *s)
{
    struct proc *p, *next;

    if (!s)
        return;
    unwatch_ends(s);
    for (size_t i = 0; i < PROC_BUCKETS; i++)
        for (p = s->buckets[i]; p; p = next) {
            next = p->next;
            mem_free(p);
        }
    (void)close(s->null_fd);
    proc_os_close(s->os);
    mem_free(s);
}

/* --- one child ----------------------------------------------------------- */

pid_t
proc_pid(const struct proc *p)
{
    return p->pid;
}

bool
proc_signal(struct proc *p, int signo)
{
    return !p->ended && kill(-p->pid, signo) == 0;
}

void
proc_forget(struct proc *p)
{
    p->on_end = NULL;
}

int
proc_pipe(int *ours, int *theirs, struct err *e)
{
    int fds[2];

    if (os_pipe(fds) < 0)
        return err_set(e, ERR_UNAVAILABLE, "pipe: %s", strerror(errno));
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    *ours = fds[0];
    *theirs = fds[1];
    return 0;
}
