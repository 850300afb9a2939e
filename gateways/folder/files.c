/*
 * Wraps lib/os/file: errors are coded by what the gateway does about them,
 * paths are built from folder and name, and reads do not follow links.
 */
#include "gateways/folder/files.h"

#include "lib/os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
    /* cppcheck-suppress ctuuninitvar */
    (void)snprintf(buf->s, sizeof buf->s, "%s/%s", dir, name);
    return buf->s;
}

int
files_make_dir(const char *dir, struct err *e)
{
    return file_make_dirs(dir, 0755) < 0 ? fail(e, "make folder", dir) : 0;
}

/* The folder that path names, in dir; false: it names none. */
static bool
parent_in(const char *dir, const char *path, struct files_path *out)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return false;
    (void)snprintf(out->s, sizeof out->s, "%s/%.*s", dir, (int)(slash - path),
                   path);
    return true;
}

int
files_make_parent(const char *dir, const char *path)
{
    struct files_path parent;

    if (!parent_in(dir, path, &parent))
        return 0;
    return mkdir(parent.s, 0755) < 0 && errno != EEXIST ? -1 : 0;
}

void
files_leave_dir(const char *dir, const char *path)
{
    struct files_path parent;

    if (parent_in(dir, path, &parent))
        (void)rmdir(parent.s);
}

size_t
files_name_max(const char *dir)
{
    long most = pathconf(dir, _PC_NAME_MAX);

    return most > 0 && most < NAME_MAX ? (size_t)most : NAME_MAX;
}

int
files_put(const char *dir, const char *name, const void *data, size_t len,
          struct err *e)
{
    struct files_path path;

    (void)files_path(dir, name, &path);
    if (file_replace(AT_FDCWD, path.s, data, len, 0644) < 0)
        return fail(e, "write", path.s);
    return 0;
}

int
files_move(const char *from, const char *to, struct err *e)
{
    if (file_move(from, to) < 0)
        return fail(e, "move", errno == ENOENT ? from : to);
    return 0;
}

int
files_sync(const char *dir, struct err *e)
{
    /* Some file systems cannot sync a folder and need not. */
    if (file_sync_dir(AT_FDCWD, dir) < 0 && errno != ENOENT && errno != EINVAL)
        return fail(e, "sync", dir);
    return 0;
}

int
files_open(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    return fd < 0 ? fail(e, "read", path) : fd;
}

int
files_read_fd(int fd, const char *path, size_t cap, struct str *out,
              struct stat *st, struct err *e)
{
    if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode))
        return err_set(e, ERR_INVALID, "%s: not a file", path);
    if (file_read_all(fd, cap, out) == 0 && fstat(fd, st) == 0)
        return 0;
    if (errno == EFBIG)
        return err_set(e, ERR_INVALID, "%s: larger than the %zu bytes allowed",
                       path, cap);
    return fail(e, "read", path);
}

int
files_read(const char *path, size_t cap, struct str *out, struct stat *st,
           struct err *e)
{
    int fd = files_open(path, e), rc;

    if (fd < 0)
        return -1;
    rc = files_read_fd(fd, path, cap, out, st, e);
    (void)close(fd);
    return rc;
}
