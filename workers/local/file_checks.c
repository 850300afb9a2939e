/*
 * Plain paths are checked by os_exists_beneath. Patterns are matched
 * on a walk of the workdir that enters only folders a pattern can match in.
 */
#include "workers/local/file_checks.h"

#include "lib/base/glob.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
    DEPTH_MAX = 64,           /* of folders */
    ENTRIES_MAX = 500 * 1000, /* in total */
    ENTRIES_AT_ONCE = 2000,   /* per turn of the loop */
};

/* A folder that is being read. */
struct level {
    DIR *dir;
    size_t path_len; /* of its own path, including the slash */
};

struct file_checks {
    struct dod_evidence *evidence;
    loop_fn *done;
    void *ctx;
    struct loop_timer *timer;
    int workdir; /* descriptor; -1: there is none */
    struct level levels[DEPTH_MAX];
    size_t n_levels;
    struct str path;          /* of the current entry */
    bool open[DOD_CALLS_MAX]; /* patterns not yet found */
    size_t n_open, n_entries;
    bool cut; /* not everything could be searched */
};

/* --- patterns ------------------------------------------------------------- */

/* Whether the pattern may match below the folder: the text before its first
 * wildcard leads to the folder or is within it. */
static bool
may_be_below(const char *pattern, const char *folder, size_t len)
{
    size_t plain = strcspn(pattern, "*?[\\");

    if (!strchr(pattern, '/'))
        return true; /* matches in every folder */
    while (strncmp(pattern, "./", 2) == 0) {
        pattern += 2;
        plain = strcspn(pattern, "*?[\\");
    }
    return memcmp(pattern, folder, plain < len ? plain : len) == 0;
}

static bool
is_wanted(const struct file_checks *x, const char *folder, size_t len)
{
    const struct dod_needs *needs = dod_evidence_needs(x->evidence);

    for (size_t i = 0; i < needs->n_calls; i++)
        if (x->open[i] && may_be_below(needs->calls[i].arg, folder, len))
            return true;
    return false;
}

/* Takes over fd; -1: it could not be opened. */
static void
enter(struct file_checks *x, int fd)
{
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir) {
        if (fd >= 0)
            (void)close(fd);
        x->cut = true;
        return;
    }
    x->levels[x->n_levels++] = (struct level){dir, x->path.len};
}

static void
check(struct file_checks *x)
{
    const struct dod_needs *needs = dod_evidence_needs(x->evidence);

    for (size_t i = 0; i < needs->n_calls; i++)
        if (x->open[i] && glob_match(needs->calls[i].arg, x->path.data)) {
            dod_evidence_exists(x->evidence, i, true);
            x->open[i] = false;
            x->n_open--;
        }
}

/* Opens the folder at x->path, which includes its slash. */
static void
open_folder(struct file_checks *x, const struct level *above, const char *name)
{
    int fd;

    if (x->n_levels == DEPTH_MAX) {
        x->cut = true;
        return;
    }
    fd = openat(dirfd(above->dir), name,
                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 || (errno != ENOTDIR && errno != ELOOP))
        enter(x, fd);
}

/* Checks an entry of the current folder. */
static void
visit(struct file_checks *x, const struct dirent *entry)
{
    const struct level *at = &x->levels[x->n_levels - 1];

    x->path.len = at->path_len;
    str_addz(&x->path, entry->d_name);
    check(x);
    if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)
        return;
    str_addc(&x->path, '/');
    if (strcmp(entry->d_name, ".git") != 0 &&
        is_wanted(x, x->path.data, x->path.len))
        open_folder(x, at, entry->d_name);
}

/* Visits the next entry of the current folder, or returns to its parent. */
static void
step(struct file_checks *x)
{
    const struct dirent *entry = readdir(x->levels[x->n_levels - 1].dir);

    if (!entry) {
        (void)closedir(x->levels[--x->n_levels].dir);
        return;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
        return;
    if (++x->n_entries > ENTRIES_MAX) {
        x->cut = true;
        return;
    }
    visit(x, entry);
}

static bool
is_finished(const struct file_checks *x)
{
    return x->n_levels == 0 || x->n_open == 0 || x->n_entries > ENTRIES_MAX;
}

static void
end(struct file_checks *x)
{
    const struct dod_needs *needs = dod_evidence_needs(x->evidence);

    loop_timer_stop(x->timer);
    x->timer = NULL;
    for (size_t i = 0; i < needs->n_calls; i++)
        if (x->open[i] && !x->cut)
            dod_evidence_exists(x->evidence, i, false);
    if (x->cut)
        dod_evidence_files_failed(x->evidence,
                                  "not all folders could be searched");
    x->done(x->ctx);
}

static void
on_turn(void *ctx)
{
    struct file_checks *x = ctx;

    for (int i = 0; i < ENTRIES_AT_ONCE && !is_finished(x); i++)
        step(x);
    if (is_finished(x))
        end(x);
    else
        loop_timer_again(x->timer, 0, 0);
}

/* --- life ----------------------------------------------------------------- */

static void
begin(struct file_checks *x)
{
    const struct dod_needs *needs = dod_evidence_needs(x->evidence);

    for (size_t i = 0; i < needs->n_calls; i++) {
        const struct dod_call *call = &needs->calls[i];

        if (call->fn != DOD_FILE_EXISTS)
            continue;
        x->open[i] = strpbrk(call->arg, "*?[\\") != NULL;
        x->n_open += x->open[i];
        if (!x->open[i])
            dod_evidence_exists(x->evidence, i,
                                os_exists_beneath(x->workdir, call->arg));
    }
    if (x->n_open > 0)
        enter(x, openat(x->workdir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

struct file_checks *
file_checks_open(struct loop *l, struct dod_evidence *f, const char *workdir,
                 loop_fn *done, void *ctx)
{
    struct file_checks *x = MEM_NEW(struct file_checks);

    x->evidence = f;
    x->done = done;
    x->ctx = ctx;
    x->workdir = os_open_folder(workdir ? workdir : ".");
    if (x->workdir >= 0)
        begin(x);
    else
        x->cut = true;
    x->timer = loop_timer_start(l, 0, 0, on_turn, x);
    return x;
}

void
file_checks_close(struct file_checks *x)
{
    if (!x)
        return;
    loop_timer_stop(x->timer);
    while (x->n_levels > 0)
        (void)closedir(x->levels[--x->n_levels].dir);
    if (x->workdir >= 0)
        (void)close(x->workdir);
    str_free(&x->path);
    mem_free(x);
}
