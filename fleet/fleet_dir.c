/*
 * Paths, small files and the supervisor's lock, a flock on the file lock: the
 * kernel releases it when the supervisor ends, however it ends.
 */
#include "fleet/fleet_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int
fleet_dir_find(struct fleet_dir *h, struct err *e)
{
    const char *own = getenv("SHUNT_HOME"), *state = getenv("XDG_STATE_HOME");
    const char *user = getenv("HOME");
    char cwd[FLEET_DIR_PATH];
    int n;

    if (own && own[0] == '/')
        n = snprintf(h->dir, sizeof h->dir, "%s", own);
    else if (own && own[0] && getcwd(cwd, sizeof cwd))
        n = snprintf(h->dir, sizeof h->dir, "%s/%s", cwd, own);
    else if (state && state[0] == '/')
        n = snprintf(h->dir, sizeof h->dir, "%s/shunt", state);
    else if (user && user[0] == '/')
        n = snprintf(h->dir, sizeof h->dir, "%s/.local/state/shunt", user);
    else
        return err_set(e, ERR_INVALID,
                       "set SHUNT_HOME or HOME: there is no place for state");
    if (n < 0 || (size_t)n >= sizeof h->dir)
        return err_set(e, ERR_INVALID, "SHUNT_HOME is too long");
    return 0;
}

const char *
fleet_dir_path(const struct fleet_dir *h, const char *rel,
               struct fleet_dir_path *buf)
{
    /* cppcheck-suppress ctuuninitvar */
    (void)snprintf(buf->s, sizeof buf->s, "%s/%s", h->dir, rel);
    return buf->s;
}

/* mkdir -p; folders that exist are left as they are. */
static int
make_path(const char *path, struct err *e)
{
    char part[FLEET_DIR_PATH];
    char *slash;

    (void)str_copy(part, sizeof part, path);
    for (slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return err_set(e, ERR_UNAVAILABLE, "mkdir %s: %s", part,
                           strerror(errno));
        *slash = '/';
    }
    if (mkdir(part, 0700) < 0 && errno != EEXIST)
        return err_set(e, ERR_UNAVAILABLE, "mkdir %s: %s", part,
                       strerror(errno));
    return 0;
}

int
fleet_dir_make(const struct fleet_dir *h, struct err *e)
{
    static const char *const dirs[] = {"log", "nats", "spool", "spool/corrupt"};
    struct stat st;
    size_t i;

    if (make_path(h->dir, e) < 0)
        return -1;
    if (stat(h->dir, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(e, ERR_INVALID, "%s is not a folder", h->dir);
    if (st.st_uid != geteuid())
        return err_set(e, ERR_DENIED, "%s belongs to another user", h->dir);
    if ((st.st_mode & 0077) && chmod(h->dir, 0700) < 0)
        return err_set(e, ERR_DENIED, "chmod %s: %s", h->dir, strerror(errno));
    for (i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
        if (make_path(FLEET_DIR_PATH_OF(h, dirs[i]), e) < 0)
            return -1;
    return 0;
}

int
fleet_dir_write(const struct fleet_dir *h, const char *rel, const char *text,
                mode_t mode, struct err *e)
{
    struct fleet_dir_path path, tmp;
    size_t len = strlen(text), done = 0;
    ssize_t n;
    int fd;

    (void)fleet_dir_path(h, rel, &path);
    (void)snprintf(tmp.s, sizeof tmp.s, "%s/%s.tmp-%d", h->dir, rel,
                   (int)getpid());
    fd = open(tmp.s, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return err_set(e, ERR_UNAVAILABLE, "open %s: %s", tmp.s,
                       strerror(errno));
    while (done < len) {
        n = write(fd, text + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        done += (size_t)n;
    }
    if (done < len || fchmod(fd, mode) < 0 || fsync(fd) < 0 ||
        rename(tmp.s, path.s) < 0) {
        err_set(e, ERR_UNAVAILABLE, "write %s: %s", path.s, strerror(errno));
        (void)close(fd);
        (void)unlink(tmp.s);
        return -1;
    }
    (void)close(fd);
    return 0;
}

int
fleet_dir_read(const struct fleet_dir *h, const char *rel, size_t cap,
               struct str *out, struct err *e)
{
    struct fleet_dir_path path;
    char buf[8192];
    size_t total = 0;
    ssize_t n;
    int fd;

    (void)fleet_dir_path(h, rel, &path);
    fd = open(path.s, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
                       "open %s: %s", path.s, strerror(errno));
    for (;;) {
        n = read(fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || (total += (size_t)n) > cap)
            break;
        str_add(out, buf, (size_t)n);
    }
    (void)close(fd);
    if (n != 0)
        return err_set(e, ERR_INVALID, "read %s: %s", path.s,
                       n < 0 ? strerror(errno) : "it is too large");
    return 0;
}

bool
fleet_dir_line(const struct fleet_dir *h, const char *rel, char *out,
               size_t size)
{
    struct str text = {0};
    struct err e = {0};
    bool ok = false;

    if (fleet_dir_read(h, rel, 65536, &text, &e) == 0 && text.len) {
        text.data[strcspn(text.data, "\r\n")] = '\0';
        ok = text.data[0] && str_copy(out, size, text.data);
    }
    str_free(&text);
    return ok;
}

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
fleet_dir_lock(const struct fleet_dir *h, int *fd, pid_t *holder, struct err *e)
{
    struct fleet_dir_path path;
    char text[32];
    int f, n;

    (void)fleet_dir_path(h, "lock", &path);
    f = open(path.s, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f < 0)
        return err_set(e, ERR_UNAVAILABLE, "open %s: %s", path.s,
                       strerror(errno));
    /* fleet_dir_locked holds the lock for a moment to look at it. */
    for (n = 0; flock(f, LOCK_EX | LOCK_NB) < 0 && n < 10; n++)
        (void)poll(NULL, 0, 20);
    if (n == 10) {
        *holder = read_holder(f);
        (void)close(f);
        return err_set(e, ERR_CONFLICT, "%s is locked", path.s);
    }
    n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(f, 0) < 0 || pwrite(f, text, (size_t)n, 0) != n) {
        err_set(e, ERR_UNAVAILABLE, "write %s: %s", path.s, strerror(errno));
        (void)close(f);
        return -1;
    }
    *fd = f;
    return 0;
}

bool
fleet_dir_locked(const struct fleet_dir *h, pid_t *holder)
{
    struct fleet_dir_path path;
    bool locked = false;
    int fd;

    *holder = 0;
    fd = open(fleet_dir_path(h, "lock", &path), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (flock(fd, LOCK_SH | LOCK_NB) < 0) {
        locked = true;
        *holder = read_holder(fd);
    }
    (void)close(fd);
    return locked;
}
