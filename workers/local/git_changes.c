/*
 * Each snapshot is a row of git commands (enum git_stage), run one after the
 * other as children: add all files to a copy of the index, write it as a tree,
 * and after the task compare the two trees.
 */
#include "workers/local/git_changes.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/os/file.h"
#include "lib/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SNAPSHOT_MS = 60000, /* for each of the two */
    PATH_BYTES = 4096,
    INDEX_MAX = 512 * 1024 * 1024,
    TREE_SIZE = 65, /* a name of SHA-256 and its NUL */
    READ_BYTES = 64 * 1024,
};

/* The commands of a snapshot, in this order. */
enum git_stage {
    STAGE_PATHS, /* where the index and objects are */
    STAGE_ADD,   /* the files to our index */
    STAGE_CLEAN, /* their contents are not needed, only their names */
    STAGE_TREE,  /* write the index as a tree */
    STAGE_DIFF,  /* compare the two trees; only after the task */
    STAGE_DONE,
};

struct git_changes {
    struct git_command_conf conf;
    struct mem_pool *pool;
    char folder[64];  /* "": none yet */
    char *index_path; /* of the repository */
    char *objects;
    char before[TREE_SIZE], after[TREE_SIZE];
    enum git_stage stage;
    struct git_command *command;
    bool runs;             /* the command of the stage */
    char path[PATH_BYTES]; /* its first n_path bytes are filled */
    size_t n_path;
    struct loop_timer *timer;
    struct dod_evidence *evidence; /* NULL: before */
    loop_fn *done;
    void *ctx;
    char why[128]; /* why the changes are unknown; "": they are not */
};

static void advance(struct git_changes *c);

/* --- output of git -------------------------------------------------------- */

/* Takes paths, each ended by NUL. */
static void
take_paths(void *ctx, const char *data, size_t len)
{
    struct git_changes *c = ctx;

    for (size_t i = 0; i < len; i++) {
        if (data[i]) {
            if (c->n_path < sizeof c->path - 1)
                c->path[c->n_path++] = data[i];
            continue;
        }
        c->path[c->n_path] = '\0';
        dod_evidence_changed(c->evidence, c->path);
        c->n_path = 0;
    }
}

/* --- end of a snapshot ---------------------------------------------------- */

static void
stop_timer(struct git_changes *c)
{
    loop_timer_stop(c->timer);
    c->timer = NULL;
}

static void
on_done(void *ctx)
{
    struct git_changes *c = ctx;

    stop_timer(c);
    if (c->evidence)
        dod_evidence_changes_done(c->evidence, *c->why ? c->why : NULL);
    c->done(c->ctx);
}

/* Reports the end from the loop. */
static void
finish(struct git_changes *c)
{
    c->stage = STAGE_DONE;
    stop_timer(c);
    c->timer = loop_timer_start(c->conf.loop, 0, 0, on_done, c);
}

static void
fail(struct git_changes *c, const char *why)
{
    if (!*c->why)
        (void)str_copy(c->why, sizeof c->why, why);
    finish(c);
}

/* --- temporary files ------------------------------------------------------ */

static char *
in_folder(struct git_changes *c, const char *name)
{
    return mem_pool_printf(c->pool, "%s/%s", c->folder, name);
}

static int
write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    int rc = f && fputs(text, f) >= 0 ? 0 : -1;

    if (f && fclose(f) != 0)
        rc = -1;
    return rc;
}

/* A folder for objects from which the repository's are found as well. */
static int
make_objects(struct git_changes *c, const char *name)
{
    char *path = in_folder(c, name);
    char *info = mem_pool_printf(c->pool, "%s/info", path);

    if (file_make_dirs(info, 0700) < 0)
        return -1;
    return write_file(mem_pool_printf(c->pool, "%s/alternates", info),
                      mem_pool_printf(c->pool, "%s\n", c->objects));
}

static int
copy_bytes(int from, int to)
{
    char buf[READ_BYTES];
    int64_t total = 0;
    ssize_t n;

    while ((n = read(from, buf, sizeof buf)) > 0) {
        total += n;
        if (total > INDEX_MAX || file_write_all(to, buf, (size_t)n) < 0)
            return -1;
    }
    return n < 0 ? -1 : 0;
}

/* The copy keeps the original's time: files modified no earlier than the index
 * was written may have changed within one tick, and git reads them again. */
static int
copy_age(int from, int to)
{
    struct timespec times[2];
    struct stat st;
    int64_t at_ns;

    if (fstat(from, &st) < 0)
        return -1;
    at_ns = os_mtime_ns(&st);
    times[0].tv_sec = (time_t)(at_ns / 1000000000);
    times[0].tv_nsec = (long)(at_ns % 1000000000);
    times[1] = times[0];
    return futimens(to, times);
}

/* Copies the repository's index, which spares git reading unchanged files;
 * there may be none yet. */
static int
copy_index(struct git_changes *c)
{
    char *path = in_folder(c, "index");
    int from = open(c->index_path, O_RDONLY | O_CLOEXEC), to = -1, rc = -1;

    (void)unlink(path);
    if (from < 0)
        return errno == ENOENT ? 0 : -1;
    to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to >= 0)
        rc = copy_bytes(from, to) < 0 || copy_age(from, to) < 0 ? -1 : 0;
    if (to >= 0)
        (void)close(to);
    (void)close(from);
    return rc;
}

static int
prepare_folder(struct git_changes *c)
{
    const char *tmp = getenv("TMPDIR");

    if (!*c->folder) {
        (void)snprintf(c->folder, sizeof c->folder, "%.40s/shunt-git-XXXXXX",
                       tmp && *tmp && strlen(tmp) <= 40 ? tmp : "/tmp");
        if (!mkdtemp(c->folder)) {
            c->folder[0] = '\0';
            return -1;
        }
    }
    return make_objects(c, "blobs") < 0 || make_objects(c, "trees") < 0
               ? -1
               : copy_index(c);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

static void stage_ended(struct git_changes *c);

/* --- one command ---------------------------------------------------------- */

static void
on_end(void *ctx, const char *failure)
{
    struct git_changes *c = ctx;

    c->runs = false;
    if (*c->why) { /* timed out or cancelled */
        finish(c);
    } else if (failure) {
        fail(c, failure);
    } else {
        stage_ended(c);
    }
}

static void
start(struct git_changes *c)
{
    static const char *const ask[] = {"rev-parse",
                                      "--path-format=absolute",
                                      "--is-inside-work-tree",
                                      "--git-path",
                                      "index",
                                      "--git-path",
                                      "objects",
                                      NULL};
    static const char *const files[] = {"add", "-A", "--", ".", NULL};
    static const char *const tree[] = {"write-tree", "--missing-ok", NULL};
    const char *const clean[] = {"rm", "-rf", "--", in_folder(c, "blobs"),
                                 NULL};
    const char *const diff[] = {
        "diff-tree",     "-r",         "-z",      "--name-only", "--no-renames",
        "--no-ext-diff", "--relative", c->before, c->after,      NULL};
    const char *const *const argv[] = {[STAGE_PATHS] = ask,
                                       [STAGE_ADD] = files,
                                       [STAGE_CLEAN] = clean,
                                       [STAGE_TREE] = tree,
                                       [STAGE_DIFF] = diff};
    struct git_run run = {.argv = argv[c->stage]};

    if (c->stage == STAGE_CLEAN)
        run.file = "rm";
    if (c->stage == STAGE_DIFF)
        run.take = take_paths;
    if (c->stage != STAGE_PATHS) {
        run.env[0] =
            mem_pool_printf(c->pool, "GIT_INDEX_FILE=%s/index", c->folder);
        run.env[1] =
            mem_pool_printf(c->pool, "GIT_OBJECT_DIRECTORY=%s/%s", c->folder,
                            c->stage == STAGE_ADD ? "blobs" : "trees");
    }
    c->runs = true;
    git_command_run(c->command, &run, on_end, c);
}

/* --- stages --------------------------------------------------------------- */

/* "true", the index, the objects, each on its own line. */
static bool
read_places(struct git_changes *c)
{
    char *at = mem_pool_strdup(c->pool, git_command_output(c->command));
    char *inside = strsep(&at, "\n");

    c->index_path = strsep(&at, "\n");
    c->objects = strsep(&at, "\n");
    return at && c->index_path[0] == '/' && c->objects[0] == '/' &&
           strcmp(inside, "true") == 0;
}

static bool
read_tree(struct git_changes *c)
{
    const char *name = git_command_output(c->command);
    size_t len = strcspn(name, "\n");
    char *out = c->evidence ? c->after : c->before;

    if (len < 40 || len >= TREE_SIZE || strspn(name, "0123456789abcdef") < len)
        return false;
    memcpy(out, name, len);
    out[len] = '\0';
    return true;
}

static void
stage_ended(struct git_changes *c)
{
    if (c->stage == STAGE_PATHS && !read_places(c)) {
        fail(c, "not in a work tree of git");
    } else if (c->stage == STAGE_TREE && !read_tree(c)) {
        fail(c, "git printed no tree id");
    } else {
        c->stage++;
        advance(c);
    }
}

static void
advance(struct git_changes *c)
{
    if (c->stage == STAGE_ADD && prepare_folder(c) < 0) {
        fail(c, "the index cannot be copied");
        return;
    }
    if (c->stage == STAGE_DIFF &&
        (!c->evidence || strcmp(c->before, c->after) == 0))
        c->stage = STAGE_DONE;
    if (c->stage == STAGE_DONE)
        finish(c);
    else
        start(c);
}

static void
on_late(void *ctx)
{
    struct git_changes *c = ctx;

    (void)str_copy(c->why, sizeof c->why, "git took longer than a minute");
    if (c->runs)
        git_command_kill(c->command);
}

/* --- life ----------------------------------------------------------------- */

struct git_changes *
git_changes_open(const struct git_command_conf *conf)
{
    struct git_changes *c = MEM_NEW(struct git_changes);

    c->conf = *conf;
    c->pool = mem_pool_new();
    c->command = git_command_new(conf);
    return c;
}

static void
take_snapshot(struct git_changes *c, enum git_stage from, loop_fn *done,
              void *ctx)
{
    c->done = done;
    c->ctx = ctx;
    c->stage = from;
    c->timer = loop_timer_start(c->conf.loop, SNAPSHOT_MS, 0, on_late, c);
    if (*c->why)
        finish(c);
    else
        advance(c);
}

void
git_changes_before(struct git_changes *c, loop_fn *done, void *ctx)
{
    take_snapshot(c, STAGE_PATHS, done, ctx);
}

void
git_changes_after(struct git_changes *c, struct dod_evidence *f, loop_fn *done,
                  void *ctx)
{
    c->evidence = f;
    take_snapshot(c, STAGE_ADD, done, ctx);
}

void
git_changes_put_off(struct git_changes *c)
{
    if (c && c->runs)
        loop_timer_again(c->timer, SNAPSHOT_MS, 0);
}

void
git_changes_close(struct git_changes *c)
{
    if (!c)
        return;
    stop_timer(c);
    git_command_free(c->command);
    if (*c->folder)
        (void)nftw(c->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    mem_pool_free(c->pool);
    mem_free(c);
}
