#include "workers/core/state_dir.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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
    const char *state = getenv("XDG_STATE_HOME"), *user = getenv("HOME");
    int n;

    if (*own)
        n = snprintf(h->dir, sizeof h->dir, "%s", own);
    else if (state && state[0] == '/')
        n = snprintf(h->dir, sizeof h->dir, "%s/shunt/worker-%s", state,
                     h->name);
    else if (user && user[0] == '/')
        n = snprintf(h->dir, sizeof h->dir, "%s/.local/state/shunt/worker-%s",
                     user, h->name);
    else
        return err_set(e, ERR_INVALID,
                       "neither worker.state_dir nor HOME says where to keep "
                       "state");
    if (n < 0 || (size_t)n >= sizeof h->dir)
        return err_set(e, ERR_INVALID, "worker.state_dir is too long");
    return 0;
}

/* mkdir -p; folders that exist are left as they are. */
static int
make_path(const char *path, struct err *e)
{
    char part[PATH_MAX];

    (void)str_copy(part, sizeof part, path);
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return err_set(e, ERR_UNAVAILABLE, "worker.state_dir: mkdir %s: %s",
                           part, strerror(errno));
        if (!slash)
            return 0;
        *slash = '/';
    }
}

static int
already_running(const struct state_dir *h, const char *path, struct err *e)
{
    char text[32] = "";
    ssize_t n = pread(h->lock, text, sizeof text - 1, 0);

    text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
    return err_set(e, ERR_CONFLICT,
                   "worker %s runs already on this machine (pid %s holds "
                   "%.400s): give this one a worker.name and a "
                   "worker.state_dir of its own",
                   h->name, *text ? text : "unknown", path);
}

static int
take_lock(struct state_dir *h, struct err *e)
{
    char path[PATH_MAX], text[32];
    int n;

    (void)snprintf(path, sizeof path, "%s/lock", h->dir);
    h->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (h->lock < 0)
        return err_set(e, ERR_UNAVAILABLE, "worker.state_dir: open %s: %s",
                       path, strerror(errno));
    if (flock(h->lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return already_running(h, path, e);
        return err_set(e, ERR_UNAVAILABLE, "lock %s: %s", path,
                       strerror(errno));
    }
    /* For people; a full disk is no reason not to start. */
    n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(h->lock, 0) == 0)
        (void)!pwrite(h->lock, text, (size_t)n, 0);
    return 0;
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
    if (make_path(h->dir, e) < 0 || take_lock(h, e) < 0 ||
        make_mark(h, e) < 0 || make_path(aside, e) < 0)
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
