#include "gateways/folder/files.h"

#include "lib/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
fail(struct err *e, const char *what, const char *path)
{
    enum err_code code = ERR_UNAVAILABLE;

    if (errno == ENOENT)
        code = ERR_NOT_FOUND;
    else if (errno == EEXIST)
        code = ERR_CONFLICT;
    else if (errno == EACCES || errno == EPERM || errno == EROFS)
        code = ERR_DENIED;
    return err_set(e, code, "%s %s: %s", what, path, strerror(errno));
}

const char *
files_path(const char *dir, const char *name, struct files_path *buf)
{
    (void)snprintf(buf->s, sizeof buf->s, "%s/%s", dir, name);
    return buf->s;
}

int
files_make_dir(const char *dir, struct err *e)
{
    char *copy, *p;
    int rc = 0;

    if (mkdir(dir, 0755) == 0 || errno == EEXIST)
        return 0;
    copy = p = mem_strdup(dir);
    while (rc == 0 && p) {
        p = strchr(p + 1, '/');
        if (p)
            *p = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            rc = fail(e, "make folder", copy);
        if (p)
            *p = '/';
    }
    mem_free(copy);
    return rc;
}

static bool
write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return true;
}

int
files_put(const char *dir, const char *name, const void *data, size_t len,
          struct err *e)
{
    struct files_path tmp;
    char token[13], file[32];
    int fd, rc = -1;

    str_random(token, sizeof token);
    (void)snprintf(file, sizeof file, ".%s.tmp", token);
    fd = open(files_path(dir, file, &tmp),
              O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return fail(e, "write", tmp.s);
    if (!write_all(fd, data, len) || fsync(fd) < 0)
        (void)fail(e, "write", tmp.s);
    else if (rename(tmp.s, FILES_PATH(dir, name)) < 0)
        (void)fail(e, "write", FILES_PATH(dir, name));
    else
        rc = 0;
    (void)close(fd);
    if (rc < 0)
        (void)unlink(tmp.s);
    return rc;
}

int
files_move(const char *from, const char *to, struct err *e)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return fail(e, "move", errno == ENOENT ? from : to);
    /* Network file systems: a link is as exclusive. A crash in between leaves
     * both names, and the next call ends at the same file. */
    if (link(from, to) == 0 || (errno == EEXIST && files_same(from, to)))
        return unlink(from) == 0 || errno == ENOENT ? 0 : fail(e, "move", from);
    if (errno == ENOENT || errno == EEXIST)
        return fail(e, "move", errno == ENOENT ? from : to);
    /* Without links there is a moment between look and rename. */
    errno = EEXIST;
    if (files_exist(to) || rename(from, to) < 0)
        return fail(e, "move", errno == ENOENT ? from : to);
    return 0;
}

int
files_sync(const char *dir, struct err *e)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    if (fd < 0)
        return errno == ENOENT ? 0 : fail(e, "sync", dir);
    /* Some file systems cannot, and need not. */
    if (fsync(fd) < 0 && errno != EINVAL)
        rc = fail(e, "sync", dir);
    (void)close(fd);
    return rc;
}

bool
files_exist(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

bool
files_same(const char *a, const char *b)
{
    struct stat x, y;

    return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_ino == y.st_ino &&
           x.st_dev == y.st_dev;
}

int
files_read(const char *path, size_t cap, struct str *out, struct stat *st,
           struct err *e)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    char buf[16384];
    ssize_t n = 0;
    int rc = -1;

    if (fd < 0)
        return fail(e, "read", path);
    if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
        err_set(e, ERR_INVALID, "%s: not a file", path);
        goto out;
    }
    while (out->len <= cap) {
        n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        str_add(out, buf, (size_t)n);
    }
    if (n < 0 || fstat(fd, st) < 0)
        (void)fail(e, "read", path);
    else if (out->len > cap)
        err_set(e, ERR_INVALID, "%s: larger than the %zu bytes allowed", path,
                cap);
    else
        rc = 0;
out:
    (void)close(fd);
    return rc;
}
