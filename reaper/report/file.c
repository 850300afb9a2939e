/*
 * Walks a path from outside one component at a time, with a descriptor of each
 * folder and following no link, and replaces the file in the last one. What is
 * there already is replaced only if its beginning says that it is a report.
 */
#include "reaper/report/file.h"

#include "lib/base/failpoint.h"
#include "lib/base/mem.h"
#include "lib/os/file.h"
#include "lib/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
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
                   error == EXDEV || error == ELOOP || error == ENOTDIR
                       ? "leads through a file or link, into .git or the "
                         "fleet's state, or out of the folder"
                       : strerror(error));
}

/* The folder name in dir, made if it is not there. It may be no link: as name
 * has one component and is not "..", nothing leads out of dir. */
static int
enter(int dir, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dir, name, flags);

    if (fd >= 0 || errno != ENOENT)
        return fd;
    if ((mkdirat(dir, name, 0755) < 0 && errno != EEXIST) || os_sync(dir) < 0)
        return -1;
    return openat(dir, name, flags);
}

/* Whether a file system may take it for a repository's own folder. */
static bool
is_git(const char *name)
{
    return strcasecmp(name, ".git") == 0;
}

/* Whether dir may be walked through; else errno is set. */
static bool
is_open(const struct report_root *root, int dir)
{
    struct stat st;

    if (fstat(dir, &st) < 0)
        return false;
    if (root->barred_ino == 0 || st.st_ino != root->barred_ino ||
        st.st_dev != root->barred_dev)
        return true;
    errno = EXDEV;
    return false;
}

/* Closes dir and keeps errno; -1. */
static int
abandon(int dir)
{
    int error = errno;

    (void)close(dir);
    errno = error;
    return -1;
}

/* The root, from which a path is walked. */
static int
open_root(const struct report_root *root, const char *path)
{
    int dir;

    errno = EXDEV;
    if (*path == '/')
        return -1;
    dir = open(root->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 || is_open(root, dir) ? dir : abandon(dir);
}

/* One component at a time; *name is what is left: the file. */
static int
walk(const struct report_root *root, int dir, char *path, char **name)
{
    char *slash, *at = path;

    while ((slash = strchr(at, '/'))) {
        int next;

        *slash = '\0';
        if (*at && strcmp(at, ".") != 0) {
            errno = EXDEV;
            next = strcmp(at, "..") == 0 || is_git(at) ? -1 : enter(dir, at);
            (void)abandon(dir);
            if (next < 0)
                return -1;
            dir = next;
            if (!is_open(root, dir))
                return abandon(dir);
        }
        at = slash + 1;
    }
    *name = at;
    return dir;
}

static int
put(int dir, const char *name, const void *data, size_t len, const char **what)
{
    struct file_draft f;
    struct stat st;
    int rc;

    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
        is_git(name)) {
        errno = EXDEV;
        return -1;
    }
    *what = "write";
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    if (file_draft_open(&f, dir, name, NULL, 0644) < 0)
        return -1;
    rc = file_write_all(f.fd, data, len);
    if (rc == 0) {
        FAILPOINT("reaper.after_report_tmp");
        rc = file_draft_commit(&f);
    }
    file_draft_close(&f);
    if (rc < 0)
        return -1;
    FAILPOINT("reaper.after_report");
    *what = "sync folder";
    return file_sync_dir(dir, ".");
}

/* --- what is there already ------------------------------------------------ */

/* Whether owner's report may stand under name in dir. */
static bool
may_replace(int dir, const char *name, const struct report_mark *owner,
            const char *retry_of)
{
    char head[REPORT_MARK_HEAD];
    struct report_mark old;
    struct stat st;
    ssize_t n;
    int fd;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT;
    if (!S_ISREG(st.st_mode))
        return false;
    fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    n = read(fd, head, sizeof head);
    (void)close(fd);
    return n > 0 && report_mark_read(head, (size_t)n, &old) &&
           (report_mark_replaces(owner, &old) || strcmp(old.id, retry_of) == 0);
}

/* path with -<the first len characters of id> before its extension; a name that
 * would be too long for it loses its end. */
static const char *
with_id(const char *path, const char *id, int len, struct mem_pool *pool)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');

    const char *end;

    if (!dot || dot == name)
        dot = name + strlen(name);
    for (end = dot;
         end > name &&
         (size_t)(end - name) + (size_t)len + 1 + strlen(dot) > NAME_MAX;)
        while (end-- > name && ((unsigned char)*end & 0xc0) == 0x80)
            ;
    return mem_pool_printf(pool, "%.*s-%.*s%s", (int)(end - path), path, len,
                           id, dot);
}

const char *
report_file_place(const struct report_root *root, const char *path,
                  const struct report_mark *owner, const char *retry_of,
                  struct mem_pool *pool, struct err *e)
{
    const char *tries[] = {path, with_id(path, owner->id, 8, pool),
                           with_id(path, owner->id, TASK_ID_SIZE, pool)};
    char *copy = mem_pool_strdup(pool, path), *name = NULL;
    const char *slash;
    int dir = -1;

    dir = open_root(root, path);
    if (dir >= 0)
        dir = walk(root, dir, copy, &name);
    if (dir < 0) {
        fail(e, root->path, path, "open", errno);
        return NULL;
    }
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        slash = strrchr(tries[i], '/');
        if (may_replace(dir, slash ? slash + 1 : tries[i], owner, retry_of)) {
            (void)close(dir);
            return tries[i];
        }
    }
    (void)close(dir);
    err_set(e, ERR_CONFLICT,
            "%s/%s: a file that is not this report is there, and beside it, "
            "too",
            root->path, path);
    return NULL;
}

int
report_file_put(const struct report_root *root, const char *path,
                const void *data, size_t len, struct err *e)
{
    char *copy = mem_strdup(path), *name = NULL;
    const char *what = "open";
    int dir = -1, rc = -1;

    dir = open_root(root, path);
    if (dir >= 0)
        dir = walk(root, dir, copy, &name);
    if (dir >= 0)
        rc = put(dir, name, data, len, &what);
    if (rc < 0)
        fail(e, root->path, path, what, errno);
    if (dir >= 0)
        (void)close(dir);
    mem_free(copy);
    return rc;
}
