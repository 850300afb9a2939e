/*
 * Finds the worker's folder, creates it, and takes its lock before anything in
 * it is touched. The mark of its processes comes from the lock file, which is
 * the same in every life of the worker.
 */
#include "workers/core/state_dir.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"
#include "lib/os/file.h"
#include "lib/os/lock_file.h"
#include "lib/os/state_path.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIR_SIZE = PATH_MAX - 512 }; /* leaves room for the names in it */

struct state_dir {
    char name[SUBJECT_TOKEN_MAX + 1];
    char dir[DIR_SIZE];
    char outcomes[PATH_MAX];
    char worktrees[PATH_MAX + 16];
    char mark[SUBJECT_TOKEN_MAX + 64];
    int lock;
};

static void
name_it(struct state_dir *d, const char *name)
{
    char host[256] = "";

    (void)gethostname(host, sizeof host - 1);
    subject_token_from(*name ? name : host, "worker", d->name);
}

static int
find_dir(struct state_dir *d, const char *own, struct err *e)
{
    char name[SUBJECT_TOKEN_MAX + 8];

    (void)snprintf(name, sizeof name, "worker-%s", d->name);
    if (!*own)
        return state_path(d->dir, sizeof d->dir, name, "worker.state_dir", e);
    if (!str_copy(d->dir, sizeof d->dir, own))
        return err_set(e, ERR_INVALID, "worker.state_dir is too long");
    return 0;
}

static int
make_dirs(const char *path, struct err *e)
{
    if (file_make_dirs(path, 0700) < 0)
        return err_set(e, ERR_UNAVAILABLE,
                       "worker.state_dir: make folder %s: %s", path,
                       strerror(errno));
    return 0;
}

static int
take_lock(struct state_dir *d, struct err *e)
{
    char path[PATH_MAX], text[24] = "unknown";
    pid_t holder = 0;

    (void)snprintf(path, sizeof path, "%s/lock", d->dir);
    d->lock = lock_file_take(path, 0, &holder);
    if (d->lock >= 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return err_set(e, ERR_UNAVAILABLE, "worker.state_dir: lock %s: %s",
                       path, strerror(errno));
    if (holder)
        (void)snprintf(text, sizeof text, "%d", (int)holder);
    return err_set(e, ERR_CONFLICT,
                   "worker %s runs already on this machine (pid %s holds "
                   "%.400s): give this one a worker.name and a "
                   "worker.state_dir of its own",
                   d->name, text, path);
}

/*
 * By the folder itself, not by its path: processes of a container are seen
 * from outside it, where the same path is another folder.
 */
static int
make_mark(struct state_dir *d, struct err *e)
{
    struct stat st;

    if (fstat(d->lock, &st) < 0)
        return err_set(e, ERR_UNAVAILABLE, "stat %s/lock: %s", d->dir,
                       strerror(errno));
    (void)snprintf(d->mark, sizeof d->mark, "SHUNT_WORKER=%s@%" PRIx64, d->name,
                   ((uint64_t)st.st_dev << 40) ^ (uint64_t)st.st_ino);
    return 0;
}

int
state_dir_open(struct state_dir **out, const char *name, const char *state_dir,
               struct err *e)
{
    struct state_dir *d = MEM_NEW(struct state_dir);
    char aside[PATH_MAX + 16], whole[PATH_MAX];

    d->lock = -1;
    name_it(d, name);
    if (find_dir(d, state_dir, e) < 0)
        goto out;
    (void)snprintf(d->outcomes, sizeof d->outcomes, "%s/outcomes", d->dir);
    (void)snprintf(aside, sizeof aside, "%s/superseded", d->outcomes);
    if (make_dirs(d->dir, e) < 0 || take_lock(d, e) < 0 ||
        make_mark(d, e) < 0 || make_dirs(aside, e) < 0)
        goto out;
    (void)snprintf(d->worktrees, sizeof d->worktrees, "%s/worktrees",
                   realpath(d->dir, whole) ? whole : d->dir);
    *out = d;
    return 0;
out:
    state_dir_close(d);
    return -1;
}

void
state_dir_close(struct state_dir *d)
{
    if (!d)
        return;
    if (d->lock >= 0)
        (void)close(d->lock);
    mem_free(d);
}

const char *
state_dir_name(const struct state_dir *d)
{
    return d->name;
}

const char *
state_dir_worker_mark(const struct state_dir *d)
{
    return d->mark;
}

const char *
state_dir_results(const struct state_dir *d)
{
    return d->outcomes;
}

const char *
state_dir_worktrees(const struct state_dir *d)
{
    return d->worktrees;
}
