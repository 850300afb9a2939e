/*
 * Asks the disk about each folder, or about the one it will be made in.
 */
#include "gateways/folder/folder_access.h"

#include "gateways/folder/files.h"
#include "lib/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool
other_disk(const char *dir, const char *waiting, char *why, size_t size)
{
    (void)snprintf(why, size,
                   "%s is on another file system than %s, and files cannot be "
                   "moved between them: set running=, done= and failed= to "
                   "folders on the same one",
                   dir, waiting);
    return false;
}

static bool
no_access(const char *dir, int error, char *why, size_t size)
{
    if (error == EROFS)
        (void)snprintf(why, size,
                       "%s is on a file system that is mounted read-only: "
                       "mount it for writing",
                       dir);
    else
        (void)snprintf(why, size,
                       "%s: %s: user %u must be allowed to write in it", dir,
                       strerror(error), (unsigned)geteuid());
    return false;
}

void
folder_access_explain(const struct folder_layout *p, int error, char *why,
                      size_t size)
{
    if (error == EXDEV)
        (void)other_disk(p->running, p->waiting, why, size);
    else if (error == EROFS || error == EACCES || error == EPERM)
        (void)no_access(p->waiting, error, why, size);
    else
        (void)snprintf(why, size, "move a file from %s to %s: %s", p->waiting,
                       p->running, strerror(error));
}

/* The folder, or the nearest above it that exists. */
static bool
stat_nearest(const char *dir, struct files_path *at, struct stat *st)
{
    (void)str_copy(at->s, sizeof at->s, dir);
    while (stat(at->s, st) < 0) {
        char *slash = strrchr(at->s, '/');

        if (errno != ENOENT || !slash || slash == at->s)
            return false;
        *slash = '\0';
    }
    return true;
}

/* Looks at each component of dir below root. */
static bool
is_plain(const char *root, const char *dir, char *why, size_t size)
{
    size_t len = strlen(root);
    struct files_path at;
    struct stat st;
    char *slash;

    if (strncmp(dir, root, len) != 0 || dir[len] != '/')
        return true; /* a folder of its own, which the configuration names */
    (void)str_copy(at.s, sizeof at.s, dir);
    for (slash = at.s + len; slash; slash = strchr(slash + 1, '/')) {
        char *end = strchr(slash + 1, '/');

        if (end)
            *end = '\0';
        if (lstat(at.s, &st) == 0 && S_ISLNK(st.st_mode)) {
            (void)snprintf(why, size,
                           "%s is a symbolic link: nothing is moved or written "
                           "through it; make it a folder",
                           at.s);
            return false;
        }
        if (end)
            *end = '/';
    }
    return true;
}

bool
folder_access_is_plain(const struct folder_layout *p, char *why, size_t size)
{
    const char *const dirs[] = {p->waiting, p->running, p->done, p->failed};

    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        if (!is_plain(p->root, dirs[i], why, size))
            return false;
    return true;
}

bool
folder_access_check(const struct folder_layout *p, char *why, size_t size)
{
    const char *const dirs[] = {p->waiting, p->running, p->done, p->failed};
    struct stat waiting, st;
    struct files_path at;

    *why = '\0';
    if (!folder_access_is_plain(p, why, size))
        return false;
    if (stat(p->waiting, &waiting) < 0)
        return no_access(p->waiting, errno, why, size);
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        if (!stat_nearest(dirs[i], &at, &st))
            return no_access(dirs[i], errno, why, size);
        if (!S_ISDIR(st.st_mode))
            return no_access(at.s, ENOTDIR, why, size);
        if (st.st_dev != waiting.st_dev)
            return other_disk(dirs[i], p->waiting, why, size);
        if (access(at.s, W_OK | X_OK) < 0)
            return no_access(at.s, errno, why, size);
    }
    return true;
}
