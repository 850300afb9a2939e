/*
 * spawn - how fast this machine starts programs, with nothing else around it.
 *
 * usage: spawn [-t] [-n COUNT] [-s SLOTS] PROGRAM [ARG...]
 *
 * Runs the program COUNT times with posix_spawn, SLOTS of them at a time, each
 * with a pipe for its output and one for its errors. A run is over when both
 * pipes are at their end and the process is reaped, as in a worker. This is the
 * limit a worker is held against: it does the same, and the bus and the ledger
 * besides.
 *
 * Writes   "rate <runs per second>"; with -t how long one run took:
 *          "p50_us <n> p99_us <n> max_us <n>"
 * Exit     0 all runs exited 0, 1 something did not work, 2 usage
 *
 * It exits at the first failure: the kernel cleans up after it, and its
 * children end by themselves.
 */
#include "bench/bench.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    MAX_COUNT = 10000000,
    MAX_SLOTS = 256,
    STALL_MS = 30000, /* no child did anything for that long: give up */
};

/* What a slot waits for; each is an entry of its own for poll. */
enum { FD_OUT, FD_ERR, FD_PID, FD_COUNT };

struct spawn_slot {
    int fd[FD_COUNT]; /* -1: at its end */
    int open;         /* how many are not; 0: the slot is free */
    int64_t began_ns;
};

static void
start(struct spawn_slot *s, char **argv)
{
    posix_spawn_file_actions_t actions;
    int out[2], errs[2], rc;
    pid_t pid;

    s->began_ns = bench_now_ns();
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(errs, O_CLOEXEC) < 0)
        err(1, "pipe");
    if (posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, out[1], 1) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, errs[1], 2) != 0)
        errx(1, "no memory to spawn");
    rc = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    if (rc != 0) {
        errno = rc;
        err(1, "spawn %s", argv[0]);
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(out[1]);
    (void)close(errs[1]);
    s->fd[FD_OUT] = out[0];
    s->fd[FD_ERR] = errs[0];
    /* The number cannot be another process's: nobody else reaps ours. */
    s->fd[FD_PID] = (int)syscall(SYS_pidfd_open, pid, 0);
    if (s->fd[FD_PID] < 0)
        err(1, "pidfd_open");
    s->open = FD_COUNT;
}

static void
reap(int pidfd)
{
    siginfo_t info = {0};

    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0)
        err(1, "waitid");
    if (info.si_code != CLD_EXITED || info.si_status != 0)
        errx(1, "a child %s %d",
             info.si_code == CLD_EXITED ? "exited with" : "died of signal",
             info.si_status);
}

/* Takes what stands on one descriptor; true if that was its end. */
static bool
advance(int fd, int what)
{
    char buf[4096];
    ssize_t n;

    if (what == FD_PID) {
        reap(fd);
        return true;
    }
    n = read(fd, buf, sizeof buf);
    if (n < 0 && errno != EINTR)
        err(1, "read");
    return n == 0;
}

/* Waits for any slot to move; writes how long the runs took that came to their
 * end and returns how many those are. */
static int
turn(struct spawn_slot *slots, int count, int64_t *took_ns)
{
    static struct pollfd fds[MAX_SLOTS * FD_COUNT];
    int i, j, n, over = 0;

    for (i = 0; i < count; i++)
        for (j = 0; j < FD_COUNT; j++)
            fds[i * FD_COUNT + j] =
                (struct pollfd){.fd = slots[i].fd[j], .events = POLLIN};
    n = poll(fds, (nfds_t)(count * FD_COUNT), STALL_MS);
    if (n < 0 && errno != EINTR)
        err(1, "poll");
    if (n == 0)
        errx(1, "no child did anything for %d s", STALL_MS / 1000);
    for (i = 0; n > 0 && i < count; i++) {
        for (j = 0; j < FD_COUNT; j++) {
            if (!fds[i * FD_COUNT + j].revents || !advance(slots[i].fd[j], j))
                continue;
            (void)close(slots[i].fd[j]);
            slots[i].fd[j] = -1; /* poll passes over it */
            slots[i].open--;
            if (slots[i].open == 0)
                took_ns[over++] = bench_now_ns() - slots[i].began_ns;
        }
    }
    return over;
}

int
main(int argc, char **argv)
{
    static struct spawn_slot slots[MAX_SLOTS];
    int count = 2000, width = 8, started = 0, over = 0, opt, i, j;
    bool times = false;
    int64_t begin, *took_ns;

    while ((opt = getopt(argc, argv, "+tn:s:")) != -1) {
        switch (opt) {
        case 't':
            times = true;
            break;
        case 'n':
            count = bench_number(optarg, 1, MAX_COUNT);
            break;
        case 's':
            width = bench_number(optarg, 1, MAX_SLOTS);
            break;
        default:
            return 2;
        }
    }
    if (optind == argc)
        errx(2, "no program");
    argv += optind;
    took_ns = calloc((size_t)count, sizeof *took_ns);
    if (!took_ns)
        errx(1, "no memory for %d runs", count);
    for (i = 0; i < width; i++)
        for (j = 0; j < FD_COUNT; j++)
            slots[i].fd[j] = -1;

    begin = bench_now_ns();
    while (over < count) {
        for (i = 0; i < width && started < count; i++) {
            if (slots[i].open > 0)
                continue;
            start(&slots[i], argv);
            started++;
        }
        over += turn(slots, width, took_ns + over);
    }
    if (times)
        bench_print_times(took_ns, (size_t)count);
    else
        bench_print_rate(count, bench_now_ns() - begin);
    free(took_ns);
    return 0;
}
