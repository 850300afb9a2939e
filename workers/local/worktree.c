/*
 * Each of the two ways through is a row of git commands (enum worktree_stage):
 * where is the repository, is it the right one, which branch is checked out,
 * where does the wanted one stand, add a work tree; and later, is anything left
 * in it, remove it.
 */
#include "workers/local/worktree.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/os/file.h"
#include "lib/os/lock_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LIMIT_MS = 10 * 60 * 1000, /* of each way; large repositories take long */
    LOCK_AGAIN_MS = 50,
};

enum worktree_stage {
    STAGE_PLACES,        /* the repository, and the workdir within */
    STAGE_REMOTES,       /* what it is a clone of */
    STAGE_HEAD,          /* the branch that is checked out */
    STAGE_LOCAL_BRANCH,  /* the commit of the wanted one */
    STAGE_ORIGIN_BRANCH, /* if there is none: of origin's */
    STAGE_ADD,
    STAGE_READY,
    STAGE_STATUS,  /* changed files */
    STAGE_COMMITS, /* whether a branch or tag contains its commit */
    STAGE_REMOVE,
    STAGE_END,
};

struct worktree {
    struct worktree_conf conf;
    struct mem_pool *pool;
    struct git_command *command;
    enum worktree_stage stage;
    const char *top, *common, *prefix; /* of the user's checkout */
    const char *commit;
    const char *path;    /* of the work tree; NULL: the task runs in place */
    const char *workdir; /* where the task runs */
    const char *marker;  /* path.used */
    bool unused;         /* no task has begun in it: nothing can be lost */
    bool runs, kept;
    int lock; /* -1: not held */
    struct loop_timer *limit, *timer;
    loop_fn *done;
    void *ctx;
    char why[512];
};

static void advance(struct worktree *w);

/* --- the end of a way ----------------------------------------------------- */

static void
unlock(struct worktree *w)
{
    if (w->lock >= 0)
        (void)close(w->lock);
    w->lock = -1;
}

static void
on_done(void *ctx)
{
    struct worktree *w = ctx;

    loop_timer_stop(w->timer);
    w->timer = NULL;
    w->done(w->ctx);
}

/* Reports the end from the loop. */
static void
finish(struct worktree *w)
{
    unlock(w);
    loop_timer_stop(w->limit);
    w->limit = NULL;
    loop_timer_stop(w->timer);
    w->timer = loop_timer_start(w->conf.git.loop, 0, 0, on_done, w);
}

static void __attribute__((format(printf, 2, 3)))
fail(struct worktree *w, const char *fmt, ...)
{
    va_list ap;

    if (!*w->why) {
        va_start(ap, fmt);
        (void)vsnprintf(w->why, sizeof w->why, fmt, ap);
        va_end(ap);
    }
    finish(w);
}

static const char *
shown_workdir(const struct worktree *w)
{
    return w->conf.git.workdir ? w->conf.git.workdir : "the worker's folder";
}

/* --- answers of git ------------------------------------------------------- */

static char *
answer(struct worktree *w)
{
    return mem_pool_strdup(w->pool, git_command_output(w->command));
}

static bool
take_places(struct worktree *w)
{
    char *at = answer(w);

    w->common = strsep(&at, "\n");
    w->top = strsep(&at, "\n");
    w->prefix = strsep(&at, "\n");
    return w->prefix && *w->common == '/' && *w->top == '/';
}

/* Whether the URL of a remote is that of owner/name. */
static bool
is_repo(const char *url, const char *repo)
{
    size_t len = strlen(url), n = strlen(repo);

    while (len && url[len - 1] == '/')
        len--;
    if (len > 4 && strncmp(url + len - 4, ".git", 4) == 0)
        len -= 4;
    return len > n && strncasecmp(url + len - n, repo, n) == 0 &&
           (url[len - n - 1] == '/' || url[len - n - 1] == ':');
}

/* A repository without remotes may be any. Each line is a key and a URL. */
static bool
is_right_repo(struct worktree *w)
{
    char *at = answer(w), *line, *url = NULL;

    while ((line = strsep(&at, "\n")) && *line) {
        url = strchr(line, ' ');
        if (url && is_repo(url + 1, w->conf.repo))
            return true;
    }
    if (!url)
        return true;
    (void)snprintf(w->why, sizeof w->why,
                   "repo %.80s: %.80s is a checkout of %.100s", w->conf.repo,
                   w->top, url + 1);
    return false;
}

static bool
take_commit(struct worktree *w)
{
    char *at = answer(w);

    w->commit = strsep(&at, "\n");
    return w->commit && strlen(w->commit) >= 40;
}

/* --- the work tree -------------------------------------------------------- */

static const char *
beside(struct worktree *w, const char *suffix)
{
    return mem_pool_printf(w->pool, "%s%s", w->path, suffix);
}

static int
touch(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    return fd < 0 ? -1 : close(fd);
}

/* The task may begin. */
static void
ready(struct worktree *w)
{
    if (w->path && touch(w->marker) < 0) {
        fail(w, "%.200s: %s", w->marker, strerror(errno));
        return;
    }
    w->unused = false;
    w->stage = STAGE_READY;
    finish(w);
}

static void
keep(struct worktree *w)
{
    w->kept = true;
    (void)rename(w->marker, beside(w, ".kept"));
    log_info("worktree.kept", "path=%s", LOG_TEXT(w->path));
    finish(w);
}

static void
removed(struct worktree *w)
{
    (void)unlink(w->marker);
    finish(w);
}

/* --- stages --------------------------------------------------------------- */

static void
not_in_place(struct worktree *w, const char *head)
{
    if (w->conf.in_place) {
        fail(w, "branch %.80s: %.120s is on %.60s", w->conf.branch, w->top,
             *head ? head : "no branch");
        return;
    }
    w->path = mem_pool_printf(w->pool, "%s/%s", w->conf.folder, w->conf.name);
    w->marker = beside(w, ".used");
    w->unused = true;
    w->workdir = mem_pool_printf(w->pool, "%s/%s", w->path, w->prefix);
    w->stage = STAGE_LOCAL_BRANCH;
    advance(w);
}

/* failure: NULL, or what git says, which for some stages is an answer. */
static void
stage_ended(struct worktree *w, const char *failure)
{
    char *at;
    const char *line;

    switch (w->stage) {
    case STAGE_PLACES:
        if (failure || !take_places(w)) {
            fail(w, "branch %.80s: %.120s: %.90s", w->conf.branch,
                 shown_workdir(w), failure ? failure : "not a work tree");
            return;
        }
        w->stage = !w->path    ? STAGE_REMOTES
                   : w->unused ? STAGE_REMOVE
                               : STAGE_STATUS;
        break;
    case STAGE_REMOTES:
        if (*w->conf.repo && !is_right_repo(w)) {
            finish(w);
            return;
        }
        w->stage++;
        break;
    case STAGE_HEAD:
        at = answer(w);
        line = strsep(&at, "\n");
        if (strncmp(line, "refs/heads/", 11) == 0)
            line += 11;
        if (!failure && strcmp(line, w->conf.branch) == 0)
            ready(w);
        else
            not_in_place(w, failure ? "" : line);
        return;
    case STAGE_LOCAL_BRANCH:
    case STAGE_ORIGIN_BRANCH:
        if (!failure && take_commit(w)) {
            w->stage = STAGE_ADD;
        } else if (w->stage++ == STAGE_ORIGIN_BRANCH) {
            w->path = NULL;
            fail(w,
                 "branch %.80s: %.120s has none of that name, nor has "
                 "origin; git fetch may help",
                 w->conf.branch, w->top);
            return;
        }
        break;
    case STAGE_ADD:
        unlock(w);
        if (!failure) {
            ready(w);
            return;
        }
        w->path = NULL; /* what there is of it goes at the next start */
        fail(w, "branch %.80s: %.200s", w->conf.branch, failure);
        return;
    case STAGE_STATUS:
    case STAGE_COMMITS:
        if (failure) { /* the next start of the worker tries again */
            log_warn("worktree.status", "path=%s error=\"%s\"",
                     LOG_TEXT(w->path), LOG_TEXT(failure));
            finish(w);
            return;
        }
        if ((*git_command_output(w->command) != '\0') ==
            (w->stage == STAGE_STATUS)) {
            keep(w);
            return;
        }
        w->stage++;
        break;
    case STAGE_REMOVE:
        if (failure)
            log_warn("worktree.remove", "path=%s error=\"%s\"",
                     LOG_TEXT(w->path), LOG_TEXT(failure));
        removed(w);
        return;
    case STAGE_READY:
    case STAGE_END:
        return;
    }
    advance(w);
}

static void
on_end(void *ctx, const char *failure)
{
    struct worktree *w = ctx;

    w->runs = false;
    if (*w->why) /* it took too long */
        finish(w);
    else
        stage_ended(w, failure);
}

static void
on_lock_timer(void *ctx)
{
    advance(ctx);
}

/* Two that change the list of work trees could take each other's for stale.
 * False: it is tried again. */
static bool
lock(struct worktree *w)
{
    pid_t holder;

    if (w->lock < 0)
        w->lock = lock_file_take(
            mem_pool_printf(w->pool, "%s/shunt-worktree.lock", w->common), 0,
            &holder);
    if (w->lock >= 0 || errno != EWOULDBLOCK)
        return true; /* where there can be no lock, git has to do */
    loop_timer_stop(w->timer);
    w->timer =
        loop_timer_start(w->conf.git.loop, LOCK_AGAIN_MS, 0, on_lock_timer, w);
    return false;
}

static void
advance(struct worktree *w)
{
    const char *local =
        mem_pool_printf(w->pool, "refs/heads/%s", w->conf.branch);
    const char *origin =
        mem_pool_printf(w->pool, "refs/remotes/origin/%s", w->conf.branch);
    const char *const argv[][10] = {
        [STAGE_PLACES] = {"rev-parse", "--path-format=absolute",
                          "--git-common-dir", "--show-toplevel",
                          "--show-prefix"},
        [STAGE_REMOTES] = {"config", "--get-regexp",
                           "^remote\\..*\\.(url|pushurl)$"},
        [STAGE_HEAD] = {"symbolic-ref", "--quiet", "HEAD"},
        [STAGE_LOCAL_BRANCH] = {"show-ref", "--verify", "--hash", local},
        [STAGE_ORIGIN_BRANCH] = {"show-ref", "--verify", "--hash", origin},
        [STAGE_ADD] = {"worktree", "add", "--detach", "--quiet", w->path,
                       w->commit},
        [STAGE_STATUS] = {"status", "--porcelain", "--untracked-files=normal"},
        [STAGE_COMMITS] = {"for-each-ref", "--count=1", "--contains", "HEAD"},
        [STAGE_REMOVE] = {"worktree", "remove", "--force", w->path},
        [STAGE_END] = {NULL},
    };
    struct git_run run = {.argv = argv[w->stage]};

    if ((w->stage == STAGE_ADD || w->stage == STAGE_REMOVE) && !lock(w))
        return;
    if (w->stage == STAGE_ADD && file_make_dirs(w->conf.folder, 0700) < 0) {
        fail(w, "%.200s: %s", w->conf.folder, strerror(errno));
        return;
    }
    if (w->stage == STAGE_STATUS || w->stage == STAGE_COMMITS)
        run.workdir = w->path;
    if (w->stage == STAGE_REMOVE)
        run.workdir = w->common;
    w->runs = true;
    git_command_run(w->command, &run, on_end, w);
}

static void
on_late(void *ctx)
{
    struct worktree *w = ctx;

    (void)snprintf(w->why, sizeof w->why, "branch %.80s: git took too long",
                   w->conf.branch);
    if (w->runs)
        git_command_kill(w->command);
    else
        finish(w);
}

static void
begin(struct worktree *w, enum worktree_stage stage, loop_fn *done, void *ctx)
{
    w->stage = stage;
    w->done = done;
    w->ctx = ctx;
    w->limit = loop_timer_start(w->conf.git.loop, LIMIT_MS, 0, on_late, w);
    advance(w);
}

/* --- for callers ---------------------------------------------------------- */

struct worktree *
worktree_open(const struct worktree_conf *conf)
{
    struct worktree *w = MEM_NEW(struct worktree);

    w->conf = *conf;
    w->pool = mem_pool_new();
    w->command = git_command_new(&conf->git);
    w->top = w->common = w->prefix = w->commit = w->marker = "";
    w->workdir = conf->git.workdir;
    w->lock = -1;
    return w;
}

void
worktree_close(struct worktree *w)
{
    if (!w)
        return;
    git_command_free(w->command);
    loop_timer_stop(w->limit);
    loop_timer_stop(w->timer);
    unlock(w);
    mem_pool_free(w->pool);
    mem_free(w);
}

void
worktree_prepare(struct worktree *w, loop_fn *done, void *ctx)
{
    begin(w, STAGE_PLACES, done, ctx);
}

const char *
worktree_error(const struct worktree *w)
{
    return w->why;
}

const char *
worktree_workdir(const struct worktree *w)
{
    return w->workdir;
}

const char *
worktree_checkout(const struct worktree *w)
{
    return w->top;
}

const char *
worktree_top(const struct worktree *w)
{
    return w->path ? w->path : w->top;
}

void
worktree_finish(struct worktree *w, loop_fn *done, void *ctx)
{
    w->why[0] = '\0';
    if (w->path && access(w->path, F_OK) < 0) {
        (void)unlink(w->marker); /* the task has removed it */
        w->path = NULL;
    }
    if (w->path) {
        begin(w, w->unused ? STAGE_REMOVE : STAGE_STATUS, done, ctx);
        return;
    }
    w->done = done;
    w->ctx = ctx;
    finish(w);
}

void
worktree_put_off(struct worktree *w)
{
    if (w && w->limit)
        loop_timer_again(w->limit, LIMIT_MS, 0);
}

const char *
worktree_kept(const struct worktree *w)
{
    return w->kept ? w->path : NULL;
}

/* --- what was left behind ------------------------------------------------- */

struct worktree_prune {
    struct git_command_conf git;
    struct mem_pool *pool;
    const char *folder;
    const char **names;
    size_t n, cap, next;
    struct worktree *at; /* NULL: none */
    struct loop_timer *timer;
};

static void prune_next(void *ctx);

static void
on_pruned(void *ctx)
{
    struct worktree_prune *p = ctx;

    worktree_close(p->at);
    p->at = NULL;
    prune_next(p);
}

/* Goes through one as its task would have at its end. */
static void
prune_next(void *ctx)
{
    struct worktree_prune *p = ctx;
    struct worktree_conf conf = {.git = p->git,
                                 .folder = p->folder,
                                 .name = "",
                                 .branch = "",
                                 .repo = ""};
    struct worktree *w;

    if (p->next == p->n)
        return;
    conf.name = p->names[p->next++];
    conf.git.workdir = mem_pool_printf(p->pool, "%s/%s", p->folder, conf.name);
    w = p->at = worktree_open(&conf);
    w->path = conf.git.workdir;
    w->marker = beside(w, ".used");
    w->unused = access(w->marker, F_OK) < 0;
    log_info("worktree.left", "path=%s", LOG_TEXT(w->path));
    begin(w, STAGE_PLACES, on_pruned, p);
}

static bool
is_left(const struct worktree_prune *p, int dir, const char *name)
{
    struct stat st;

    return !strchr(name, '.') && /* a marker */
           access(mem_pool_printf(p->pool, "%s/%s.kept", p->folder, name),
                  F_OK) < 0 &&
           fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(st.st_mode);
}

struct worktree_prune *
worktree_prune_start(const struct git_command_conf *git, const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *d;
    struct worktree_prune *p;

    if (!dir)
        return NULL; /* none was ever made */
    p = MEM_NEW(struct worktree_prune);
    p->git = *git;
    p->pool = mem_pool_new();
    p->folder = mem_pool_strdup(p->pool, folder);
    while ((d = readdir(dir)) != NULL)
        if (is_left(p, dirfd(dir), d->d_name)) {
            p->names = mem_grow(p->names, p->n, &p->cap, sizeof *p->names);
            p->names[p->n++] = mem_pool_strdup(p->pool, d->d_name);
        }
    (void)closedir(dir);
    p->timer = loop_timer_start(git->loop, 0, 0, prune_next, p);
    return p;
}

void
worktree_prune_stop(struct worktree_prune *p)
{
    if (!p)
        return;
    worktree_close(p->at);
    loop_timer_stop(p->timer);
    mem_free(p->names);
    mem_pool_free(p->pool);
    mem_free(p);
}
