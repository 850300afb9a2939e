/*
 * The guard waits for signals and nothing else: those of its children, and
 * those it hands on. Orphans are its children, or become so when their own
 * parents are killed; so killing children until there are none ends all of
 * them.
 */
#include "workers/local/guard.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/os/os.h"
#include "lib/os/proc.h"
#include "lib/os/procs.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    GONE_SIGNAL = SIGUSR2, /* to the worker, when the guard has ended */
    ROUND_MS = 5,
    PATIENCE_MS = 10000,
};

static pid_t guard_pid;

/* --- ending what is left ---------------------------------------------------
 */

/* Kills our children that may not be kept; returns how many there were. */
static int
kill_children(void)
{
    struct procs_list all = {0};
    struct procs_stat st;
    int n = 0;

    procs_push_children(&all, getpid(), false, true);
    for (size_t i = 0; i < all.n; i++) {
        if (!procs_stat(all.v[i].pid, &st) || !procs_alive(&st) ||
            procs_env(all.v[i].pid, PROC_KEEP) == PROCS_ENV_HOLDS)
            continue;
        n++;
        (void)kill(all.v[i].pid, SIGKILL);
    }
    mem_free(all.v);
    return n;
}

/* Until no child is left, or they do not end. */
static void
end_children(void)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    int n, killed = 0;

    while ((n = kill_children()) > 0 && loop_now_ms() < until) {
        killed += n;
        (void)poll(NULL, 0, ROUND_MS);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
    if (killed)
        log_warn("worker.left_behind", "killed=%d left=%d", killed, n);
}

/* --- the guard ------------------------------------------------------------ */

/* Reaps what has ended. True if the worker is among it. */
static bool
reap(pid_t worker, int *status)
{
    bool ended = false;
    int each;
    pid_t pid;

    while ((pid = waitpid(-1, &each, WNOHANG)) > 0)
        if (pid == worker) {
            *status = each;
            ended = true;
        }
    return ended;
}

/* Ends as the worker did, for whoever waits for us. */
static _Noreturn void
end_as(int status)
{
    if (WIFSIGNALED(status)) {
        sigset_t none;

        (void)signal(WTERMSIG(status), SIG_DFL);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)kill(getpid(), WTERMSIG(status));
    }
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static _Noreturn void
stand_guard(pid_t worker, const sigset_t *signals)
{
    int status = 0, signo;

    for (;;) {
        if (sigwait(signals, &signo) != 0)
            continue;
        if (signo != SIGCHLD)
            (void)kill(worker, signo);
        else if (reap(worker, &status))
            break;
    }
    end_children();
    end_as(status);
}

int
guard_start(struct err *e)
{
    static const int handed_on[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    sigset_t signals, old;
    pid_t worker;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGCHLD);
    for (size_t i = 0; i < sizeof handed_on / sizeof *handed_on; i++)
        (void)sigaddset(&signals, handed_on[i]);
    (void)sigprocmask(SIG_BLOCK, &signals, &old);
    guard_pid = getpid();
    if (os_adopt_orphans() < 0 || (worker = fork()) < 0) {
        (void)sigprocmask(SIG_SETMASK, &old, NULL);
        return err_set(e, ERR_UNAVAILABLE, "start the guard process: %s",
                       strerror(errno));
    }
    if (worker > 0)
        stand_guard(worker, &signals);
    /* A signal to the guard's group, ^C say, comes by way of the guard. */
    (void)setpgid(0, 0);
    (void)signal(GONE_SIGNAL, SIG_IGN); /* until guard_watch looks */
    os_signal_at_parents_end(GONE_SIGNAL);
    (void)sigprocmask(SIG_SETMASK, &old, NULL);
    return 0;
}

/* --- the worker ----------------------------------------------------------- */

static void
on_gone(void *ctx)
{
    (void)ctx;
    log_error("worker.guard_gone",
              "text=\"the guard process was killed: this worker ends its tasks "
              "and itself, as if it had been killed\"");
    end_children();
    _exit(1);
}

struct loop_signal *
guard_watch(struct loop *l)
{
    struct loop_signal *s = loop_signal_start(l, GONE_SIGNAL, on_gone, NULL);

    if (getppid() != guard_pid)
        on_gone(NULL);
    return s;
}
