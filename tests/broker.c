#include "tests/broker.h"

#include "lib/base/mem.h"
#include "lib/io/loop.h"
#include "tests/folder.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { START_MS = 15000, PORT_TRIES = 5 };

struct broker {
    pid_t pid; /* 0: not running */
    int port;
    char dir[64], conf[96], log[96], url[64];
};

static bool
installed(void)
{
    const char *path = getenv("PATH");
    char *copy = mem_strdup(path ? path : ""), *rest = copy, *dir;
    char file[512];
    bool found = false;

    while (!found && (dir = strsep(&rest, ":"))) {
        (void)snprintf(file, sizeof file, "%s/nats-server", dir);
        found = access(file, X_OK) == 0;
    }
    mem_free(copy);
    return found;
}

static int
free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    (void)close(fd);
    return ntohs(a.sin_port);
}

static void
write_conf(const struct broker *b, const char *more, bool jetstream)
{
    FILE *f = fopen(b->conf, "we");

    assert_non_null(f);
    (void)fprintf(f, "listen: 127.0.0.1:%d\n", b->port);
    if (jetstream)
        (void)fprintf(f, "jetstream { store_dir: \"%s/js\" }\n", b->dir);
    (void)fprintf(f, "%s\n", more);
    assert_int_equal(fclose(f), 0);
}

/* Whether a server greets at the port. */
static bool
answers(const struct broker *b)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)b->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char hello[5];
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
              poll(&p, 1, 1000) == 1 &&
              read(fd, hello, sizeof hello) == (ssize_t)sizeof hello &&
              memcmp(hello, "INFO ", sizeof hello) == 0;

    if (fd >= 0)
        (void)close(fd);
    return ok;
}

static void
spawn(struct broker *b)
{
    pid_t parent = getpid();

    b->pid = fork();
    assert_true(b->pid >= 0);
    if (b->pid == 0) {
        int null = open("/dev/null", O_RDWR);

        /* A test that dies leaves no server behind. */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127);
        (void)dup2(null, 0);
        (void)dup2(null, 1);
        (void)dup2(null, 2);
        (void)execlp("nats-server", "nats-server", "-c", b->conf, "-l", b->log,
                     (char *)NULL);
        _exit(127);
    }
}

static void
reap(struct broker *b)
{
    while (waitpid(b->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    b->pid = 0;
}

/* False if the server ended: its port was taken meanwhile, perhaps. */
static bool
came_up(struct broker *b)
{
    int64_t give_up = loop_now_ms() + START_MS;

    while (!answers(b)) {
        if (waitpid(b->pid, NULL, WNOHANG) == b->pid) {
            b->pid = 0;
            return false;
        }
        if (loop_now_ms() > give_up)
            return false;
        (void)poll(NULL, 0, 10);
    }
    return true;
}

struct broker *
broker_start_with(const char *more, bool jetstream)
{
    struct broker *b;

    if (!installed())
        skip();
    b = MEM_NEW(struct broker);
    (void)snprintf(b->dir, sizeof b->dir, "/tmp/shunt-broker-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    (void)snprintf(b->conf, sizeof b->conf, "%s/nats.conf", b->dir);
    (void)snprintf(b->log, sizeof b->log, "%s/nats.log", b->dir);
    for (int i = 0; i < PORT_TRIES; i++) {
        b->port = free_port();
        write_conf(b, more, jetstream);
        spawn(b);
        if (came_up(b)) {
            (void)snprintf(b->url, sizeof b->url, "nats://127.0.0.1:%d",
                           b->port);
            return b;
        }
        broker_kill(b);
    }
    fail_msg("nats-server does not start: see %s", b->log);
    return NULL;
}

struct broker *
broker_start(void)
{
    return broker_start_with("", true);
}

const char *
broker_url(const struct broker *b)
{
    return b->url;
}

static void
end(struct broker *b, int signal)
{
    if (b->pid == 0)
        return;
    (void)kill(b->pid, signal);
    reap(b);
}

void
broker_kill(struct broker *b)
{
    end(b, SIGKILL);
}

void
broker_shut_down(struct broker *b)
{
    end(b, SIGTERM);
}

void
broker_restart(struct broker *b)
{
    broker_kill(b);
    spawn(b);
    assert_true(came_up(b));
}

void
broker_freeze(struct broker *b, bool frozen)
{
    assert_int_equal(kill(b->pid, frozen ? SIGSTOP : SIGCONT), 0);
    /* Each of its threads stops in its own time. */
    while (frozen && waitpid(b->pid, NULL, WUNTRACED) < 0)
        assert_int_equal(errno, EINTR);
}

void
broker_stop(struct broker *b)
{
    if (!b)
        return;
    broker_kill(b);
    (void)folder_remove(b->dir);
    mem_free(b);
}
