/*
 * Paths, small files and the supervisor's lock, a flock on the file lock: the
 * kernel releases it when the supervisor ends, however it ends.
 */
#include "fleet/fleet_dir.h"

#include "lib/os/file.h"
#include "lib/os/lock_file.h"
#include "lib/os/state_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCK_WAIT_MS = 200 }; /* fleet_dir_locked holds it for a moment */

int
fleet_dir_find(struct fleet_dir *dir, struct err *e)
{
    const char *own = getenv("SHUNT_HOME");
    char cwd[FLEET_DIR_PATH];
    int n;

    if (own && own[0] == '/')
        n = snprintf(dir->path, sizeof dir->path, "%s", own);
    else if (own && own[0] && getcwd(cwd, sizeof cwd))
        n = snprintf(dir->path, sizeof dir->path, "%s/%s", cwd, own);
    else
        return state_path(dir->path, sizeof dir->path, "", "SHUNT_HOME", e);
    if (n < 0 || (size_t)n >= sizeof dir->path)
        return err_set(e, ERR_INVALID, "SHUNT_HOME is too long");
    return 0;
}

const char *
fleet_dir_path(const struct fleet_dir *dir, const char *rel,
               struct fleet_dir_path *buf)
{
    /* cppcheck-suppress ctuuninitvar */
    (void)snprintf(buf->s, sizeof buf->s, "%s/%s", dir->path, rel);
    return buf->s;
}

int
fleet_dir_make(const struct fleet_dir *dir, struct err *e)
{
    static const char *const dirs[] = {"log", "nats", "spool", "spool/corrupt"};
    struct stat st;

    if (file_make_dirs(dir->path, 0700) < 0)
        return err_set(e, ERR_UNAVAILABLE, "make folder %s: %s", dir->path,
                       strerror(errno));
    if (stat(dir->path, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(e, ERR_INVALID, "%s is not a folder", dir->path);
    if (st.st_uid != geteuid())
        return err_set(e, ERR_DENIED, "%s belongs to another user", dir->path);
    if ((st.st_mode & 0077) && chmod(dir->path, 0700) < 0)
        return err_set(e, ERR_DENIED, "chmod %s: %s", dir->path,
                       strerror(errno));
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
        if (file_make_dirs(FLEET_DIR_PATH_OF(dir, dirs[i]), 0700) < 0)
            return err_set(e, ERR_UNAVAILABLE, "make folder %s/%s: %s",
                           dir->path, dirs[i], strerror(errno));
    return 0;
}

int
fleet_dir_write(const struct fleet_dir *dir, const char *rel, const char *text,
                mode_t mode, struct err *e)
{
    struct fleet_dir_path path;

    (void)fleet_dir_path(dir, rel, &path);
    if (file_replace(AT_FDCWD, path.s, text, strlen(text), mode) < 0)
        return err_set(e, ERR_UNAVAILABLE, "write %s: %s", path.s,
                       strerror(errno));
    return 0;
}

int
fleet_dir_read(const struct fleet_dir *dir, const char *rel, size_t cap,
               struct str *out, struct err *e)
{
    struct fleet_dir_path path;

    (void)fleet_dir_path(dir, rel, &path);
    if (file_read(path.s, cap, out) < 0)
        return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
                       "read %s: %s", path.s, strerror(errno));
    return 0;
}

bool
fleet_dir_line(const struct fleet_dir *dir, const char *rel, char *out,
               size_t size)
{
    struct str text = {0};
    struct err e = {0};
    bool ok = false;

    if (fleet_dir_read(dir, rel, 65536, &text, &e) == 0 && text.len) {
        text.data[strcspn(text.data, "\r\n")] = '\0';
        ok = text.data[0] && str_copy(out, size, text.data);
    }
    str_free(&text);
    return ok;
}

int
fleet_dir_token(const struct fleet_dir *dir, const char *rel, char out[64],
                struct err *e)
{
    char token[33], line[40];

    if (fleet_dir_line(dir, rel, out, 64) && strlen(out) >= 32)
        return 0;
    str_random(token, sizeof token);
    (void)snprintf(line, sizeof line, "%s\n", token);
    (void)str_copy(out, 64, token);
    return fleet_dir_write(dir, rel, line, 0600, e);
}

int
fleet_dir_lock(const struct fleet_dir *dir, int *fd, pid_t *holder,
               struct err *e)
{
    struct fleet_dir_path path;

    *fd = lock_file_take(fleet_dir_path(dir, "lock", &path), LOCK_WAIT_MS,
                         holder);
    if (*fd < 0 && errno == EWOULDBLOCK)
        return err_set(e, ERR_CONFLICT, "%s is locked", path.s);
    if (*fd < 0)
        return err_set(e, ERR_UNAVAILABLE, "lock %s: %s", path.s,
                       strerror(errno));
    return 0;
}

bool
fleet_dir_locked(const struct fleet_dir *dir, pid_t *holder)
{
    return lock_file_held(FLEET_DIR_PATH_OF(dir, "lock"), holder);
}
