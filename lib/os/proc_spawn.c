#include "lib/os/proc_private.h"

#include "lib/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum spawn_stage { STAGE_SETUP, STAGE_WORKDIR, STAGE_EXEC };

/* Shared with the child, which runs in our memory until it executes. */
struct spawn {
    const struct proc_set *set;
    const struct proc_opts *opts;
    const char *path; /* of the program */
    int fds[3];
    pid_t parent;
    enum spawn_stage stage; /* the child's last step */
    int error;              /* and its errno, if it failed */
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
    pid = clone(child_main, s->stack + PROC_STACK_SIZE,
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
    proc_link(s, p);
    *out = p;
    return 0;
}
