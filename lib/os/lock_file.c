/*
 * Locks by flock, which needs no cleaning up after a crash. The pid in the file
 * is for messages and signals; whether it is current, only the lock says.
 */
#include "lib/os/lock_file.h"

#include "lib/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { RETRY_MS = 20 };

static pid_t
read_holder(int fd)
{
    char text[32] = {0};
    uint64_t pid;

    if (pread(fd, text, sizeof text - 1, 0) <= 0)
        return 0;
    text[strcspn(text, "\n")] = '\0';
    return str_to_u64(text, 1, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

int
lock_file_take(const char *path, int wait_ms, pid_t *holder)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), error, n;
    char text[32];

    if (fd < 0)
        return -1;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        error = errno;
        if (error != EWOULDBLOCK || wait_ms <= 0) {
            *holder = read_holder(fd);
            (void)close(fd);
            errno = error;
            return -1;
        }
        wait_ms -= RETRY_MS;
        (void)poll(NULL, 0, RETRY_MS);
    }
    /* A full disk is no reason not to start. */
    n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, text, (size_t)n, 0);
    return fd;
}

bool
lock_file_held(const char *path, pid_t *holder)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool held = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;

    *holder = held ? read_holder(fd) : 0;
    if (fd >= 0)
        (void)close(fd);
    return held;
}
