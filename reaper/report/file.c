#include "reaper/report/file.h"

#include "lib/base/failpoint.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int
fail(struct err *e, const char *root, const char *path, const char *what,
     int error)
{
    enum err_code code = ERR_UNAVAILABLE;

    if (error == EXDEV || error == ELOOP || error == ENOTDIR ||
        error == EISDIR || error == EINVAL || error == ENAMETOOLONG)
        code = ERR_INVALID;
    else if (error == EACCES || error == EPERM || error == EROFS)
        code = ERR_DENIED;
    return err_set(e, code, "%s/%s: %s: %s", root, path, what,
                   error == EXDEV || error == ELOOP
                       ? "leads through a link or out of the folder"
                       : strerror(error));
}

/* Opens below dir, following no link. Old kernels and some sandboxes have no
 * openat2: one component without links is as safe. */
static int
open_beneath(int dir, const char *name, int flags)
{
    struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    int fd;

    if (flags & O_CREAT)
        how.mode = 0644;
    fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof how);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        fd = openat(dir, name, flags | O_CLOEXEC | O_NOFOLLOW, 0644);
    return fd;
}

/* The folder name below dir, made if it is not there. */
static int
enter(int dir, const char *name)
{
    int fd = open_beneath(dir, name, O_RDONLY | O_DIRECTORY);

    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
        return -1;
    fd = open_beneath(dir, name, O_RDONLY | O_DIRECTORY);
    if (fd >= 0)
        (void)fsync(dir);
    return fd;
}

/* One component at a time; *name is what is left: the file. */
static int
walk(int dir, char *path, char **name)
{
    char *slash, *at = path;

    while ((slash = strchr(at, '/'))) {
        int next;

        *slash = '\0';
        if (*at && strcmp(at, ".") != 0) {
            if (strcmp(at, "..") == 0) {
                (void)close(dir);
                errno = EXDEV;
                return -1;
            }
            next = enter(dir, at);
            if (next < 0) {
                int error = errno;

                (void)close(dir);
                errno = error;
                return -1;
            }
            (void)close(dir);
            dir = next;
        }
        at = slash + 1;
    }
    *name = at;
    return dir;
}

static bool
write_all(int fd, const char *data, size_t len)
{
    while (len) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static int
put(int dir, const char *name, const void *data, size_t len, const char **what)
{
    char tmp[64], token[13];
    struct stat st;
    int fd, error;

    /* A name of its own: nobody can have put a link there. */
    str_random(token, sizeof token);
    (void)snprintf(tmp, sizeof tmp, ".shunt-%s.tmp", token);
    *what = "write";
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    fd = open_beneath(dir, tmp, O_WRONLY | O_CREAT | O_EXCL);
    if (fd < 0)
        return -1;
    if (!write_all(fd, data, len) || fsync(fd) < 0) {
        error = errno;
        (void)close(fd);
        goto undo;
    }
    FAILPOINT("reaper.after_report_tmp");
    if (close(fd) < 0 || renameat(dir, tmp, dir, name) < 0) {
        error = errno;
        goto undo;
    }
    FAILPOINT("reaper.after_report");
    *what = "sync folder";
    return fsync(dir);
undo:
    (void)unlinkat(dir, tmp, 0);
    errno = error;
    return -1;
}

int
report_file_put(const char *root, const char *path, const void *data,
                size_t len, struct err *e)
{
    char *copy = mem_strdup(path), *name = NULL;
    const char *what = "open";
    int dir, rc = -1;

    dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        fail(e, root, path, "open its root", errno);
        goto out;
    }
    if (*path == '/') {
        (void)close(dir);
        fail(e, root, path, what, EXDEV);
        goto out;
    }
    dir = walk(dir, copy, &name);
    if (dir < 0) {
        fail(e, root, path, what, errno);
        goto out;
    }
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        fail(e, root, path, what, EXDEV);
    } else {
        rc = put(dir, name, data, len, &what);
        if (rc < 0)
            fail(e, root, path, what, errno);
    }
    (void)close(dir);
out:
    mem_free(copy);
    return rc;
}

int
report_file_root(const char *root, struct err *e)
{
    char *copy = mem_strdup(root), *p = copy;
    int rc = 0;

    while (rc == 0 && p) {
        p = strchr(p + 1, '/');
        if (p)
            *p = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            rc = err_set(e, ERR_DENIED, "make folder %s: %s", copy,
                         strerror(errno));
        if (p)
            *p = '/';
    }
    mem_free(copy);
    return rc;
}
