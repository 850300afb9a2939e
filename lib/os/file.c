/*
 * The one place that makes files durable: written under a temporary name
 * beside the final one, synced, renamed. The order is the promise: a name
 * never leads to content that a power cut could still take away.
 */
#include "lib/os/file.h"

#include "lib/base/mem.h"
#include "lib/os/os.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
file_write_all(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len) {
        ssize_t n = write(fd, at, len);

        if (n == 0)
            errno = EIO;
        if (n <= 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int
file_draft_open(struct file_draft *f, int dir, const char *path,
                const char *tmp, mode_t mode)
{
    const char *slash = strrchr(path, '/');
    char token[13];
    int n;

    f->dir = dir;
    f->fd = -1;
    str_random(token, sizeof token);
    if (tmp)
        n = snprintf(f->tmp, sizeof f->tmp, "%s", tmp);
    else
        n = snprintf(f->tmp, sizeof f->tmp, "%.*s.shunt-%s.tmp",
                     slash ? (int)(slash + 1 - path) : 0, path, token);
    if (!str_copy(f->path, sizeof f->path, path) || n < 0 ||
        (size_t)n >= sizeof f->tmp) {
        errno = ENAMETOOLONG;
        return -1;
    }
    f->fd = openat(dir, f->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    return f->fd < 0 ? -1 : 0;
}

int
file_draft_commit(struct file_draft *f)
{
    if (os_sync(f->fd) < 0 || renameat(f->dir, f->tmp, f->dir, f->path) < 0)
        return -1;
    f->tmp[0] = '\0';
    return 0;
}

void
file_draft_close(struct file_draft *f)
{
    int error = errno;

    if (*f->tmp)
        (void)unlinkat(f->dir, f->tmp, 0);
    (void)close(f->fd);
    errno = error;
}

int
file_replace(int dir, const char *path, const void *data, size_t len,
             mode_t mode)
{
    struct file_draft f;
    int rc = file_draft_open(&f, dir, path, NULL, mode);

    if (rc < 0)
        return rc;
    rc = file_write_all(f.fd, data, len);
    if (rc == 0)
        rc = file_draft_commit(&f);
    file_draft_close(&f);
    return rc;
}

int
file_sync_dir(int dir, const char *path)
{
    int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc, error;

    if (fd < 0)
        return -1;
    rc = os_sync(fd);
    error = errno;
    (void)close(fd);
    errno = error;
    return rc;
}

bool
file_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

bool
file_same(const char *a, const char *b)
{
    struct stat x, y;

    return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_ino == y.st_ino &&
           x.st_dev == y.st_dev;
}

int
file_move(const char *from, const char *to)
{
    if (os_rename_new(from, to) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    /* Network file systems: a link is as exclusive. A crash in between leaves
     * both names, and the next call ends at the same file. */
    if (link(from, to) == 0 || (errno == EEXIST && file_same(from, to)))
        return unlink(from) == 0 || errno == ENOENT ? 0 : -1;
    if (errno == ENOENT || errno == EEXIST)
        return -1;
    /* Without links there is a moment between look and rename. */
    if (file_exists(to)) {
        errno = EEXIST;
        return -1;
    }
    return rename(from, to);
}

int
file_read_all(int fd, size_t cap, struct str *out)
{
    char buf[16384];
    ssize_t n;

    while ((n = read(fd, buf, sizeof buf)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n > 0 && out->len + (size_t)n > cap) {
            errno = EFBIG;
            return -1;
        }
        if (n < 0)
            return -1;
        str_add(out, buf, (size_t)n);
    }
    return 0;
}

int
file_read(const char *path, size_t cap, struct str *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc, error;

    if (fd < 0)
        return -1;
    rc = file_read_all(fd, cap, out);
    error = errno;
    (void)close(fd);
    errno = error;
    return rc;
}

int
file_make_dirs(const char *path, mode_t mode)
{
    const char *slash = strrchr(path, '/');
    char *parent;
    int rc;

    if (mkdir(path, mode) == 0 || errno == EEXIST)
        return 0;
    if (errno != ENOENT || !slash || slash == path)
        return -1;
    parent = mem_strdup(path);
    parent[slash - path] = '\0';
    rc = file_make_dirs(parent, mode);
    mem_free(parent);
    return rc == 0 && mkdir(path, mode) < 0 && errno != EEXIST ? -1 : rc;
}
