#include "lib/proc.h"

#include "lib/log.h"
#include "lib/mem.h"
#include "lib/procfs.h"
#include "lib/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    BUCKETS = 256,          /* of the table of children, a power of two */
    STACK_SIZE = 64 * 1024, /* of a child between clone and exec */
    SEQ_WHOLE = 2048,       /* a shorter read of a /proc list was all of it */
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
    struct proc *buckets[BUCKETS];
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

/* --- the table of children ----------------------------------------------- */

static struct proc **
bucket(struct proc_set *s, pid_t pid)
{
    return &s->buckets[(unsigned)pid & (BUCKETS - 1)];
}

static struct proc *
find(struct proc_set *s, pid_t pid)
{
    struct proc *p = *bucket(s, pid);

    while (p && p->pid != pid)
        p = p->next;
    return p;
}

static void
unlink_proc(struct proc_set *s, struct proc *p)
{
    struct proc **at = bucket(s, p->pid);

    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
}

static void
link_proc(struct proc_set *s, struct proc *p)
{
    struct proc *old = find(s, p->pid);

    /* The number was free, so nothing is left of the session it named. Who
     * ended and was kept stays in its family's list, out of the table. */
    if (old)
        unlink_proc(s, old);
    p->next = *bucket(s, p->pid);
    *bucket(s, p->pid) = p;
    if (p->family) {
        p->sibling = p->family->procs;
        p->family->procs = p;
        p->family->n_alive++;
    }
}

/* --- families ------------------------------------------------------------ */

uint64_t
proc_started(pid_t pid)
{
    struct procfs_stat st;

    return procfs_stat(pid, &st) ? st.started : 0;
}

static void
push_children_of(const struct proc_set *s, struct procfs_list *ns, pid_t pid,
                 bool ours)
{
    procfs_push_children(ns, pid, ours, s->children_fd >= 0);
}

struct proc_family *
proc_family_open(struct proc_set *s, const char *mark)
{
    struct proc_family *f = MEM_NEW(struct proc_family);

    f->set = s;
    f->opened = procfs_ticks();
    (void)str_copy(f->mark, sizeof f->mark, mark);
    f->prev = s->newest;
    if (s->newest)
        s->newest->next = f;
    else
        s->oldest = f;
    s->newest = f;
    return f;
}

static bool
is_kin(const struct proc_family *f, pid_t pid, uint64_t started)
{
    for (size_t i = 0; i < f->n_kin; i++)
        if (f->kin[i].pid == pid && f->kin[i].started == started)
            return true;
    return false;
}

static void
remember(struct proc_family *f, pid_t pid, uint64_t started)
{
    if (is_kin(f, pid, started))
        return;
    if (f->n_kin == f->cap_kin) {
        f->cap_kin = f->cap_kin ? f->cap_kin * 2 : 16;
        f->kin = mem_resize(f->kin, f->cap_kin * sizeof *f->kin);
    }
    f->kin[f->n_kin++] = (struct kin){pid, started};
}

static bool
in_session(const struct proc_family *f, const struct procfs_stat *st)
{
    const struct proc *leader = find(f->set, st->session);

    if (leader && leader->family == f)
        return true;
    leader = find(f->set, st->group);
    return leader && leader->family == f;
}

static enum procfs_env
belongs(const struct proc_family *f, const struct procfs_node *at,
        const struct procfs_stat *st)
{
    if (at->ours || in_session(f, st) || is_kin(f, at->pid, st->started))
        return PROCFS_ENV_HOLDS;
    return procfs_env(at->pid, f->mark);
}

int
proc_family_signal(struct proc_family *f, int signo)
{
    struct proc_set *s = f->set;
    struct procfs_list todo = {0}, met = {0};
    struct procfs_stat st;
    int count, unready = 0;

    push_children_of(s, &todo, getpid(), false);
    while (todo.n > 0) {
        struct procfs_node at = todo.v[--todo.n];
        const struct proc *own = find(s, at.pid);

        if (own && !own->ended && own->family != f)
            continue; /* somebody else's, with all below it */
        if (!procfs_stat(at.pid, &st))
            continue;
        switch (belongs(f, &at, &st)) {
        case PROCFS_ENV_LACKS:
            break;
        case PROCFS_ENV_UNREADY:
            unready += procfs_alive(&st);
            break;
        case PROCFS_ENV_HOLDS:
            at.ours = true;
            /* Its parent may be gone before the next call, and with it the
             * only sign that it belongs here. */
            remember(f, at.pid, st.started);
            if (procfs_alive(&st))
                procfs_push(&met, at.pid, true);
            break;
        }
        push_children_of(s, &todo, at.pid, at.ours);
    }
    /* Not before all have been seen: who loses its parent is moved. */
    for (size_t i = 0; signo && i < met.n; i++)
        (void)kill(met.v[i].pid, signo);
    count = (int)met.n + unready;
    mem_free(met.v);
    mem_free(todo.v);
    return count;
}

/* Whether adopted children exist at all. */
static bool
has_adopted(struct proc_set *s)
{
    char buf[SEQ_WHOLE * 4], *at = buf, *end;
    const struct proc *p;
    ssize_t n;
    long pid;

    if (s->children_fd < 0)
        return s->adopt;
    n = pread(s->children_fd, buf, sizeof buf - 1, 0);
    if (n < 0 || n >= SEQ_WHOLE)
        return true; /* perhaps; the caller looks closely then */
    buf[n] = '\0';
    for (;; at = end) {
        pid = strtol(at, &end, 10);
        if (end == at)
            return false;
        p = find(s, (pid_t)pid);
        if (!p || p->ended)
            return true;
    }
}

bool
proc_family_gone(struct proc_family *f)
{
    struct proc_set *s = f->set;

    if (f->n_alive > 0)
        return false;
    /* Who was there at that end and lost its parent came to us before the
     * child could be waited for; and nobody is born without a parent. */
    if (s->clean < f->last_end && !has_adopted(s))
        s->clean = s->ends;
    return s->clean >= f->last_end;
}

/* Kills adopted processes that are older than every family still open. */
static void
sweep(struct proc_set *s)
{
    uint64_t limit = s->oldest ? s->oldest->opened : UINT64_MAX;
    struct procfs_list todo = {0};
    struct procfs_stat st;

    s->swept = s->spared = false;
    push_children_of(s, &todo, getpid(), false);
    while (todo.n > 0) {
        struct procfs_node at = todo.v[--todo.n];
        const struct proc *own = find(s, at.pid);

        if ((own && !own->ended) || !procfs_stat(at.pid, &st))
            continue;
        if (!at.ours && st.started >= limit) {
            s->spared = true;
            continue;
        }
        push_children_of(s, &todo, at.pid, true);
        if (procfs_alive(&st)) {
            log_warn("proc.leftover", "pid=%d session=%d", (int)at.pid,
                     (int)st.session);
            (void)kill(at.pid, SIGKILL);
            s->swept = true;
        }
    }
    mem_free(todo.v);
}

void
proc_family_close(struct proc_family *f)
{
    struct proc_set *s;
    struct proc *p, *next;
    bool gone;

    if (!f)
        return;
    s = f->set;
    gone = proc_family_gone(f);
    for (p = f->procs; p; p = next) {
        next = p->sibling;
        p->family = NULL;
        if (p->ended && !p->untold) {
            unlink_proc(s, p);
            mem_free(p);
        }
    }
    if (f->prev)
        f->prev->next = f->next;
    else
        s->oldest = f->next;
    if (f->next)
        f->next->prev = f->prev;
    else
        s->newest = f->prev;
    mem_free(f->kin);
    mem_free(f);
    if (s->adopt && (!gone || s->spared) && has_adopted(s))
        sweep(s);
}

/* --- ends ---------------------------------------------------------------- */

static uint64_t
cpu_ms(const struct rusage *ru)
{
    return (uint64_t)(ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1000 +
           (uint64_t)(ru->ru_utime.tv_usec + ru->ru_stime.tv_usec) / 1000;
}

/* Notes the end of p, which is told once all have been waited for. */
static void
ended(struct proc_set *s, struct proc *p, int status, const struct rusage *ru)
{
    p->end = (struct proc_end){
        .signalled = WIFSIGNALED(status),
        .code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
        .max_rss_bytes = (uint64_t)ru->ru_maxrss * 1024,
        .cpu_ms = cpu_ms(ru)};
    p->ended = p->untold = true;
    s->ends++;
    if (p->family) {
        p->family->n_alive--;
        p->family->last_end = s->ends;
    }
    *s->untold_end = p;
    s->untold_end = &p->next_untold;
}

static void
tell(struct proc_set *s)
{
    while (s->untold) {
        struct proc *p = s->untold;
        void (*on_end)(void *, const struct proc_end *) = p->on_end;
        struct proc_end end = p->end;
        void *ctx = p->ctx;

        s->untold = p->next_untold;
        if (!s->untold)
            s->untold_end = &s->untold;
        p->next_untold = NULL;
        p->untold = false;
        if (!p->family) {
            unlink_proc(s, p);
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
        p = find(s, pid);
        if (p && !p->ended)
            ended(s, p, status, &ru);
    }
    tell(s);
    if (s->swept)
        sweep(s);
}

/* The handler of SIGCHLD runs on whatever thread: it holds on to the waker
 * while it uses it. The loop's own handlers cost ten system calls a signal. */
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

/* Children this process had before, as one that executed another program may:
 * they are neither ours nor left behind by anybody. */
static void
know_inherited(struct proc_set *s)
{
    struct procfs_list found = {0};

    push_children_of(s, &found, getpid(), false);
    for (size_t i = 0; i < found.n; i++) {
        struct proc *p = MEM_NEW(struct proc);

        p->set = s;
        p->pid = found.v[i].pid;
        link_proc(s, p);
    }
    mem_free(found.v);
}

int
proc_set_open(struct proc_set **out, struct loop *l, bool adopt, struct err *e)
{
    struct proc_set *s;
    char path[64];
    void *stack;
    int null_fd;

    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return err_set(e, ERR_UNAVAILABLE, "open /dev/null: %s",
                       strerror(errno));
    stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED ||
        (adopt && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)) {
        err_set(e, ERR_UNAVAILABLE, "prepare for child processes: %s",
                strerror(errno));
        if (stack != MAP_FAILED)
            (void)munmap(stack, STACK_SIZE);
        (void)close(null_fd);
        return -1;
    }
    s = MEM_NEW(struct proc_set);
    s->stack = stack;
    s->null_fd = null_fd;
    s->adopt = adopt;
    s->untold_end = &s->untold;
    s->n_reset = -1;
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children",
                   (int)getpid());
    s->children_fd = open(path, O_RDONLY | O_CLOEXEC);
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
    for (size_t i = 0; i < BUCKETS; i++)
        for (p = s->buckets[i]; p; p = next) {
            next = p->next;
            mem_free(p);
        }
    (void)close(s->null_fd);
    if (s->children_fd >= 0)
        (void)close(s->children_fd);
    (void)munmap(s->stack, STACK_SIZE);
    mem_free(s);
}

/* --- starting ------------------------------------------------------------ */

enum stage { STAGE_SETUP, STAGE_WORKDIR, STAGE_EXEC };

/* Shared with the child, which runs in our memory until it executes. */
struct spawn {
    const struct proc_set *set;
    const struct proc_opts *opts;
    const char *path; /* of the program */
    int fds[3];
    pid_t parent;
    enum stage stage; /* the child's last step */
    int error;        /* and its errno, if it failed */
};

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
 * Handlers would run in our memory, and what we ignore a program would too.
 * The kernel is asked directly: libraries keep books of handlers, and these
 * are the parent's. All zeroes are the default action, whatever the layout.
 */
static void
reset_signals(const struct proc_set *s)
{
    static const uint64_t zeroes[8];

    for (int i = 0; i < s->n_reset; i++)
        (void)syscall(SYS_rt_sigaction, s->reset[i], zeroes, NULL, NSIG / 8);
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, zeroes, NULL, NSIG / 8);
}

static bool
place_fds(struct spawn *sp)
{
    /* Out of the way first: one may be where another belongs. */
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

/* Not _exit, which a sanitizer takes for the end of the parent. */
static _Noreturn void
leave(void)
{
    for (;;)
        (void)syscall(SYS_exit_group, 127);
}

/* In the child: no allocation, no locks, nothing but system calls. */
static int
child_main(void *arg)
{
    struct spawn *sp = arg;
    const struct proc_opts *o = sp->opts;

    (void)setsid();
    if (!o->keep_on_parent_death) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (getppid() != sp->parent)
            leave(); /* it died before that took effect */
    }
    if (o->timer_slack_ns)
        (void)prctl(PR_SET_TIMERSLACK, o->timer_slack_ns, 0, 0, 0);
    reset_signals(sp->set);
    if (!place_fds(sp))
        goto fail;
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

/* The thread sanitizer's own clone takes it that the child has a copy of the
 * memory; this name of the same function is not intercepted. */
#ifdef __SANITIZE_THREAD__
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

/* Finds what a child must reset: what is not all zeroes is not known to be at
 * its default. Asking for each signal, each time, is too dear. */
static void
find_signals(struct proc_set *s)
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

/* Runs child_main in a process that borrows our memory, as vfork does, but on
 * a stack of its own; returns when it has executed or ended. */
static pid_t
spawn(struct proc_set *s, struct spawn *sp)
{
    sigset_t all, old;
    pid_t pid;

    find_signals(s);
    sp->parent = getpid();
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    pid = clone(child_main, s->stack + STACK_SIZE,
                CLONE_VM | CLONE_VFORK | SIGCHLD, sp);
    if (pid < 0)
        sp->error = errno;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return pid;
}

static const char *
path_of_env(const char *const *env)
{
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return "/usr/local/bin:/usr/bin:/bin";
}

/* Finds o->file as a shell would; relative entries of PATH are relative to
 * the child's folder. */
static int
look_up(const struct proc_opts *o, char *out, size_t size, struct err *e)
{
    const char *path = path_of_env(o->env), *end;
    const char *base = o->workdir ? o->workdir : ".";
    bool denied = false;
    struct stat st;
    int n;

    for (;; path = end + 1) {
        end = strchrnul(path, ':');
        if (*path == '/')
            n = snprintf(out, size, "%.*s/%s", (int)(end - path), path,
                         o->file);
        else
            n = snprintf(out, size, "%s/%.*s/%s", base, (int)(end - path), path,
                         o->file);
        if (n > 0 && (size_t)n < size) {
            if (access(out, X_OK) == 0 && stat(out, &st) == 0 &&
                S_ISREG(st.st_mode))
                return 0;
            if (errno == EACCES)
                denied = true;
        }
        if (!*end)
            break;
    }
    if (denied)
        return err_set(e, ERR_DENIED, "%s: not executable", o->file);
    return err_set(e, ERR_NOT_FOUND, "%s: no such program in PATH", o->file);
}

static int
explain(const struct spawn *sp, struct err *e)
{
    const struct proc_opts *o = sp->opts;
    const char *what = sp->stage == STAGE_WORKDIR ? o->workdir : o->file;
    const char *why = strerror(sp->error);

    if (sp->stage == STAGE_SETUP)
        return err_set(e, ERR_UNAVAILABLE, "start %s: %s", o->file, why);
    switch (sp->error) {
    case ENOENT:
    case ENOTDIR:
        return err_set(e, ERR_NOT_FOUND, "%s %s: %s",
                       sp->stage == STAGE_WORKDIR ? "folder" : "program", what,
                       why);
    case EACCES:
    case EPERM:
        return err_set(e, ERR_DENIED, "%s: %s", what, why);
    case E2BIG:
    case ENOEXEC:
    case ELOOP:
    case ENAMETOOLONG:
    case EISDIR:
    case EINVAL:
        return err_set(e, ERR_INVALID, "%s: %s", what, why);
    default:
        return err_set(e, ERR_UNAVAILABLE, "start %s: %s", what, why);
    }
}

int
proc_start(struct proc_set *s, const struct proc_opts *o,
           void (*on_end)(void *ctx, const struct proc_end *end), void *ctx,
           struct proc **out, struct err *e)
{
    struct spawn sp = {.set = s, .opts = o, .path = o->file};
    char path[4096];
    struct proc *p;
    pid_t pid;

    sp.fds[0] = o->in < 0 ? s->null_fd : o->in;
    sp.fds[1] = o->out < 0 ? s->null_fd : o->out;
    sp.fds[2] = o->err < 0 ? s->null_fd : o->err;
    if (!strchr(o->file, '/')) {
        if (look_up(o, path, sizeof path, e) < 0)
            return -1;
        sp.path = path;
    }
    pid = spawn(s, &sp);
    if (pid < 0)
        return explain(&sp, e);
    if (sp.error) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return explain(&sp, e);
    }
    p = MEM_NEW(struct proc);
    p->set = s;
    p->pid = pid;
    p->family = o->family;
    p->on_end = on_end;
    p->ctx = ctx;
    link_proc(s, p);
    *out = p;
    return 0;
}

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

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set(e, ERR_UNAVAILABLE, "pipe: %s", strerror(errno));
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    *ours = fds[0];
    *theirs = fds[1];
    return 0;
}
