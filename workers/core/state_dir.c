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
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIR_SIZE = PATH_MAX - 512 }; /* leaves room for the names in it */

struct state_dir {
    char name[SUBJECT_TOKEN_MAX + 1];
    char dir[DIR_SIZE];
    char outcomes[PATH_MAX];
    char mark[SUBJECT_TOKEN_MAX + 64];
    int lock;
};

static void
name_it(struct state_dir *h, const char *name)
{
    char host[256] = "";

    (void)gethostname(host, sizeof host - 1);
    subject_token_from(*name ? name : host, "worker", h->name);
}

static int
find_dir(struct state_dir *h, const char *own, struct err *e)
{
    char name[SUBJECT_TOKEN_MAX + 8];

    (void)snprintf(name, sizeof name, "worker-%s", h->name);
    if (!*own)
        return state_path(h->dir, sizeof h->dir, name, "worker.state_dir", e);
    if (!str_copy(h->dir, sizeof h->dir, own))
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
take_lock(struct state_dir *h, struct err *e)
{
    char path[PATH_MAX], text[24] = "unknown";
    pid_t holder = 0;

    (void)snprintf(path, sizeof path, "%s/lock", h->dir);
    h->lock = lock_file_take(path, 0, &holder);
    if (h->lock >= 0)
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
                   h->name, text, path);
}

/*
 * By the folder itself, not by its path: processes of a container are seen
 * from outside it, where the same path is another folder.
 */
static int
make_mark(struct state_dir *h, struct err *e)
{
    struct stat st;

    if (fstat(h->lock, &st) < 0)
        return err_set(e, ERR_UNAVAILABLE, "stat %s/lock: %s", h->dir,
                       strerror(errno));
    (void)snprintf(h->mark, sizeof h->mark, "SHUNT_WORKER=%s@%" PRIx64, h->name,
                   ((uint64_t)st.st_dev << 40) ^ (uint64_t)st.st_ino);
    return 0;
}

int
state_dir_open(struct state_dir **out, const char *name, const char *state_dir,
               struct err *e)
{
    struct state_dir *h = MEM_NEW(struct state_dir);
    char aside[PATH_MAX + 16];

    h->lock = -1;
    name_it(h, name);
    if (find_dir(h, state_dir, e) < 0)
        goto out;
    (void)snprintf(h->outcomes, sizeof h->outcomes, "%s/outcomes", h->dir);
    (void)snprintf(aside, sizeof aside, "%s/superseded", h->outcomes);
    if (make_dirs(h->dir, e) < 0 || take_lock(h, e) < 0 ||
        make_mark(h, e) < 0 || make_dirs(aside, e) < 0)
        goto out;
    *out = h;
    return 0;
out:
    state_dir_close(h);
    return -1;
}

void
state_dir_close(struct state_dir *h)
{
    if (!h)
        return;
    if (h->lock >= 0)
        (void)close(h->lock);
    mem_free(h);
}

const char *
state_dir_name(const struct state_dir *h)
{
    return h->name;
}

const char *
state_dir_worker_mark(const struct state_dir *h)
{
    return h->mark;
}

const char *
state_dir_results(const struct state_dir *h)
{
    return h->outcomes;
}
