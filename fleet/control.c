/*
 * The process in the background reports once, through a pipe: a struct report
 * when the fleet is up, or when it could not be started. End of file without
 * a report means that it died. The lock tells whether a supervisor runs.
 */
#include "fleet/control.h"

#include "lib/io/loop.h"
#include "lib/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 20 }; /* between two looks at the lock */

/* Smaller than a pipe's atomic write. */
struct report {
    struct err failure; /* ERR_NONE: the fleet is up */
    struct control_started started;
};

static void
send_report(int *fd, struct report *r)
{
    (void)!write(*fd, r, sizeof *r);
    (void)close(*fd);
    *fd = -1;
}

static void
on_ready(void *ctx, const char *url, const char *durability)
{
    struct report r = {.started = {.pid = getpid()}};

    (void)str_copy(r.started.url, sizeof r.started.url, url);
    (void)str_copy(r.started.durability, sizeof r.started.durability,
                   durability);
    send_report(ctx, &r);
}

static void
redirect(int fd, int to)
{
    if (fd >= 0)
        (void)dup2(fd, to);
}

/* The process in the background; never returns. */
static void
run_detached(const struct fleet_dir *dir, const struct supervisor_conf *given,
             int report_fd)
{
    struct supervisor_conf conf = *given;
    struct report r = {0};
    int log;

    conf.ready = on_ready;
    conf.ctx = &report_fd;
    (void)setsid();
    if (fleet_dir_make(dir, &r.failure) == 0) {
        log = open(FLEET_DIR_PATH_OF(dir, "log/supervisor.log"),
                   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        redirect(open("/dev/null", O_RDWR | O_CLOEXEC), STDIN_FILENO);
        redirect(log, STDOUT_FILENO);
        redirect(log, STDERR_FILENO);
        if (supervisor_run(dir, &conf, &r.failure) == 0)
            _exit(0);
    }
    if (report_fd >= 0)
        send_report(&report_fd, &r);
    _exit(1);
}

int
control_start(const struct fleet_dir *dir, const struct supervisor_conf *conf,
              struct control_started *out, struct err *e)
{
    struct report r;
    int fds[2] = {-1, -1};
    ssize_t n;
    pid_t pid;

    if (os_pipe(fds) < 0)
        return err_set(e, ERR_UNAVAILABLE, "pipe: %s", strerror(errno));
    pid = fork();
    if (pid == 0) {
        (void)close(fds[0]);
        run_detached(dir, conf, fds[1]);
    }
    (void)close(fds[1]);
    if (pid < 0) {
        (void)close(fds[0]);
        return err_set(e, ERR_UNAVAILABLE, "fork: %s", strerror(errno));
    }
    do
        n = read(fds[0], &r, sizeof r);
    while (n < 0 && errno == EINTR);
    (void)close(fds[0]);
    if (n == (ssize_t)sizeof r && r.failure.code == ERR_NONE) {
        *out = r.started;
        return 0;
    }
    (void)waitpid(pid, NULL, 0);
    if (n == (ssize_t)sizeof r)
        *e = r.failure;
    else
        err_set(e, ERR_UNAVAILABLE,
                "the supervisor ended at once; its log is %s",
                FLEET_DIR_PATH_OF(dir, "log/supervisor.log"));
    return -1;
}

int
control_stop(const struct fleet_dir *dir, int64_t timeout_ms, pid_t *pid,
             struct err *e)
{
    int64_t until = loop_now_ms() + timeout_ms;
    bool told = false;
    pid_t holder;

    *pid = 0;
    while (fleet_dir_locked(dir, &holder)) {
        if (!*pid)
            *pid = holder;
        /* Another one that was started meanwhile is not to be stopped. */
        if (holder && holder != *pid)
            break;
        if (holder && !told) {
            if (kill(holder, SIGTERM) < 0 && errno == EPERM)
                return err_set(e, ERR_DENIED, "pid %d belongs to another user",
                               (int)holder);
            told = true;
        }
        if (loop_now_ms() > until)
            return err_set(e, ERR_TIMEOUT,
                           "pid %d has not ended yet; tasks may still run",
                           (int)*pid);
        (void)poll(NULL, 0, LOOK_MS);
    }
    return 0;
}
