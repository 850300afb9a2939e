#include "gateways/folder/git_sync.h"

#include "gateways/folder/files.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define US "shunt-gateway-folder"

enum {
    GIT_MS = 120000, /* for one command */
    GRACE_MS = 5000,
    OUTPUT_MAX = 4096,
    TRIES = 3,       /* of a push that others overtake */
    BUSY_MAX = 2000, /* files in work that are named to git */
};

/* In this order, but for the ways back. */
enum git_step {
    STEP_FETCH,
    STEP_FORWARD, /* to what was fetched */
    STEP_ADD,     /* outcomes to the index */
    STEP_CHANGED, /* is there any? */
    STEP_COMMIT,
    STEP_AHEAD, /* is there anything to push? */
    STEP_PUSH,
    STEP_WHOSE,     /* what is not pushed */
    STEP_TAKE_BACK, /* one of ours: its files stay as they are */
    STEP_NONE
};

static const char *const step_names[] = {"fetch",  "merge", "add",  "diff",
                                         "commit", "ahead", "push", "log",
                                         "reset",  "none"};

struct git_words {
    char **v; /* NULL-terminated */
    size_t n;
};

struct git_sync {
    struct loop *loop;
    struct proc_set *procs;
    char *top;
    const struct folder_layout **places; /* whose outcomes are pushed */
    size_t n;
    git_sync_busy_fn *busy;
    void *ctx;
    int64_t interval_ms;
    struct loop_timer *next, *limit;
    enum git_step step;
    struct git_words paths; /* of this round */
    size_t n_busy;
    unsigned tries;
    struct proc *proc;
    struct loop_fd *fd;
    int pipe;
    struct str out, why; /* of this command; of one that went before it */
    bool termed, alarmed;
    struct proc_end end;
};

extern char **environ;

static void start(struct git_sync *k, enum git_step step);

/* --- words ---------------------------------------------------------------- */

static void
add_word(struct git_words *w, const char *head, const char *text)
{
    struct str s = {0};

    str_addf(&s, "%s%s", head, text);
    w->v = mem_resize(w->v, (w->n + 2) * sizeof *w->v);
    w->v[w->n++] = mem_strdup(str_text(&s));
    w->v[w->n] = NULL;
    str_free(&s);
}

static void
free_words(struct git_words *w)
{
    for (size_t i = 0; i < w->n; i++)
        mem_free(w->v[i]);
    mem_free(w->v);
    *w = (struct git_words){0};
}

/* --- what is committed ------------------------------------------------------
 */

/* dir must exist, or git takes the word for a mistake. */
static void
add_dir(struct git_sync *k, const char *dir, bool make)
{
    struct err e;

    if (make)
        (void)files_make_dir(dir, &e);
    if (files_exist(dir))
        add_word(&k->paths, "", dir);
}

static void
add_busy(struct git_sync *k, const char *dir, const char *name)
{
    struct files_path path;
    size_t len = strlen(k->top);

    (void)files_path(dir, name, &path);
    if (k->n_busy++ < BUSY_MAX && strncmp(path.s, k->top, len) == 0 &&
        path.s[len] == '/')
        add_word(&k->paths, ":(top,exclude,literal)", path.s + len + 1);
}

/* The folders of outcomes, and those where files wait without what is in
 * work: a file may be committed as gone only together with its outcome. */
static void
gather_paths(struct git_sync *k)
{
    free_words(&k->paths);
    k->n_busy = 0;
    k->busy(k->ctx, k, add_busy);
    for (size_t i = 0; i < k->n; i++) {
        const struct folder_layout *p = k->places[i];

        add_dir(k, p->done, false);
        add_dir(k, p->failed, false);
        add_dir(k, FILES_PATH(p->root, "reports"), false);
        if (k->n_busy <= BUSY_MAX)
            add_dir(k, p->waiting, true);
    }
}

static void
build(struct git_sync *k, enum git_step step, struct git_words *w)
{
    static const char *const argv[][8] = {
        [STEP_FETCH] = {"fetch", "--quiet"},
        [STEP_FORWARD] = {"merge", "--ff-only", "--quiet", "@{upstream}"},
        [STEP_ADD] = {"add", "--all", "--"},
        [STEP_CHANGED] = {"diff", "--cached", "--quiet", "--"},
        [STEP_COMMIT] = {"commit", "--quiet", "--no-verify", "-m",
                         "jobs: outcomes", "--"},
        [STEP_AHEAD] = {"log", "--format=%cn", "@{upstream}..HEAD"},
        [STEP_PUSH] = {"push", "--quiet"},
        [STEP_WHOSE] = {"log", "--format=%cn", "@{upstream}..HEAD"},
        [STEP_TAKE_BACK] = {"reset", "--quiet", "--mixed", "HEAD~1"},
        [STEP_NONE] = {NULL},
    };

    add_word(w, "", "git");
    add_word(w, "", "-c");
    add_word(w, "", "commit.gpgsign=false");
    for (size_t i = 0; argv[step][i]; i++)
        add_word(w, "", argv[step][i]);
    if (step == STEP_ADD || step == STEP_CHANGED || step == STEP_COMMIT)
        for (size_t i = 0; i < k->paths.n; i++)
            add_word(w, "", k->paths.v[i]);
}

/* Ours, with a name to know our commits by and nobody to ask. */
static void
build_env(struct git_words *w)
{
    bool ssh = getenv("GIT_SSH_COMMAND") != NULL;

    for (char **p = environ; *p; p++)
        if (strncmp(*p, "GIT_AUTHOR_", 11) != 0 &&
            strncmp(*p, "GIT_COMMITTER_", 14) != 0 &&
            strncmp(*p, "GIT_DIR=", 8) != 0 &&
            strncmp(*p, "GIT_WORK_TREE=", 14) != 0 &&
            strncmp(*p, "GIT_INDEX_FILE=", 15) != 0)
            add_word(w, "", *p);
    add_word(w, "GIT_AUTHOR_NAME=", US);
    add_word(w, "GIT_AUTHOR_EMAIL=", "shunt@localhost");
    add_word(w, "GIT_COMMITTER_NAME=", US);
    add_word(w, "GIT_COMMITTER_EMAIL=", "shunt@localhost");
    add_word(w, "GIT_TERMINAL_PROMPT=", "0");
    if (!ssh)
        add_word(w, "GIT_SSH_COMMAND=", "ssh -oBatchMode=yes");
}

/* --- rounds ------------------------------------------------------------------
 */

static void
rest(struct git_sync *k)
{
    k->step = STEP_NONE;
    k->tries = 0;
    free_words(&k->paths);
    loop_timer_again(k->next, k->interval_ms, 0);
}

/* Said once, until it is well again. */
static void
give_up(struct git_sync *k, const char *why)
{
    if (!k->alarmed)
        log_error("folder.git",
                  "checkout=\"%s\" step=%s error=\"%s\" text=\"files stay as "
                  "they are; a person must look\"",
                  k->top, step_names[k->step], LOG_TEXT(why));
    k->alarmed = true;
    rest(k);
}

/* The network is away, or a command hung: the next round tries again. */
static void
try_later(struct git_sync *k, const char *why)
{
    log_warn("folder.git", "checkout=\"%s\" step=%s error=\"%s\"", k->top,
             step_names[k->step], LOG_TEXT(why));
    rest(k);
}

static void
well(struct git_sync *k)
{
    if (k->alarmed)
        log_info("folder.git", "checkout=\"%s\" text=\"well again\"", k->top);
    k->alarmed = false;
    rest(k);
}

/* Whether each line of names, at least one, is ours. */
static bool
all_ours(const struct git_sync *k)
{
    const char *p = str_text(&k->out);

    if (!*p || k->out.len >= OUTPUT_MAX)
        return false;
    for (; *p; p += strcspn(p, "\n") + 1)
        if (strncmp(p, US "\n", sizeof US) != 0)
            return false;
    return true;
}

/* What follows a command that ended with that status. */
static void
follow(struct git_sync *k, int code)
{
    switch (k->step) {
    case STEP_FETCH:
        if (code)
            try_later(k, str_text(&k->out));
        else
            start(k, STEP_FORWARD);
        break;
    case STEP_FORWARD:
        if (code && k->n && k->tries++ < TRIES) {
            str_reset(&k->why);
            str_add(&k->why, str_text(&k->out), k->out.len);
            start(k, STEP_WHOSE); /* perhaps our own commit is in the way */
        } else if (code) {
            give_up(k, str_text(&k->out));
        } else if (k->n) {
            gather_paths(k);
            start(k, STEP_ADD);
        } else {
            well(k);
        }
        break;
    case STEP_ADD:
        if (code)
            give_up(k, str_text(&k->out));
        else
            start(k, STEP_CHANGED);
        break;
    case STEP_CHANGED:
        start(k, code == 1 ? STEP_COMMIT : STEP_AHEAD);
        break;
    case STEP_COMMIT:
        if (code)
            give_up(k, str_text(&k->out));
        else
            start(k, STEP_AHEAD);
        break;
    case STEP_AHEAD:
        if (code)
            give_up(k, str_text(&k->out));
        else if (k->out.len == 0)
            well(k);
        else if (all_ours(k))
            start(k, STEP_PUSH);
        else
            give_up(k, "there are commits of others that are not pushed");
        break;
    case STEP_PUSH:
        if (!code) {
            log_info("folder.pushed", "checkout=\"%s\"", k->top);
            well(k);
        } else if (k->tries++ < TRIES) {
            start(k, STEP_FETCH); /* somebody was faster, or the network */
        } else {
            give_up(k, str_text(&k->out));
        }
        break;
    case STEP_WHOSE:
        if (code == 0 && all_ours(k))
            start(k, STEP_TAKE_BACK);
        else
            give_up(k, str_text(&k->why));
        break;
    case STEP_TAKE_BACK:
        if (code)
            give_up(k, str_text(&k->out));
        else
            start(k, STEP_FORWARD);
        break;
    case STEP_NONE:
        break;
    }
}

/* --- one command
 * --------------------------------------------------------------- */

static void
clean_up(struct git_sync *k)
{
    loop_timer_stop(k->limit);
    loop_fd_stop(k->fd);
    if (k->pipe >= 0)
        (void)close(k->pipe);
    k->limit = NULL;
    k->fd = NULL;
    k->pipe = -1;
}

/* It has ended, and all it said is read. What it left running in the
 * background (a maintenance) may keep the pipe open: not waited for. */
static void
on_all(struct git_sync *k)
{
    int code = k->end.signalled ? 128 + k->end.code : k->end.code;

    clean_up(k);
    if (k->termed)
        try_later(k, "took too long and was stopped");
    else
        follow(k, code);
}

static bool
drain(struct git_sync *k)
{
    char buf[1024];
    ssize_t n;

    while ((n = read(k->pipe, buf, sizeof buf)) > 0 ||
           (n < 0 && errno == EINTR))
        if (n > 0 && k->out.len < OUTPUT_MAX)
            str_add(&k->out, buf, (size_t)n);
    return n == 0;
}

static void
on_output(void *ctx)
{
    struct git_sync *k = ctx;

    if (drain(k))
        loop_fd_pause(k->fd); /* until it has ended */
}

static void
on_end(void *ctx, const struct proc_end *end)
{
    struct git_sync *k = ctx;

    k->proc = NULL;
    k->end = *end;
    (void)drain(k);
    on_all(k);
}

static void
on_limit(void *ctx)
{
    struct git_sync *k = ctx;

    /* On TERM git removes its locks. */
    if (k->proc)
        (void)proc_signal(k->proc, k->termed ? SIGKILL : SIGTERM);
    k->termed = true;
    loop_timer_again(k->limit, GRACE_MS, 0);
}

static void
start(struct git_sync *k, enum git_step step)
{
    struct git_words argv = {0}, env = {0};
    struct proc_opts o = {.file = "git",
                          .workdir = k->top,
                          .in = -1,
                          /* Killed with us it would leave its locks. */
                          .keep_on_parent_death = true};
    int theirs = -1;
    struct err e = {0};

    k->step = step;
    k->termed = false;
    str_reset(&k->out);
    build(k, step, &argv);
    build_env(&env);
    o.argv = (const char *const *)argv.v;
    o.env = (const char *const *)env.v;
    if (proc_pipe(&k->pipe, &theirs, &e) == 0) {
        o.out = o.err = theirs;
        if (proc_start(k->procs, &o, on_end, k, &k->proc, &e) == 0) {
            k->fd = loop_fd_start(k->loop, k->pipe, on_output, k);
            k->limit = loop_timer_start(k->loop, GIT_MS, 0, on_limit, k);
        }
        (void)close(theirs);
    }
    free_words(&argv);
    free_words(&env);
    if (!k->proc) {
        clean_up(k);
        give_up(k, e.msg);
    }
}

static void
on_next(void *ctx)
{
    struct git_sync *k = ctx;

    if (k->step == STEP_NONE)
        start(k, STEP_FETCH);
}

/* --- life
 * ------------------------------------------------------------------------ */

char *
git_sync_find(const char *path)
{
    char *dir = mem_strdup(path), *slash;

    for (;;) {
        if (files_exist(FILES_PATH(dir, ".git")))
            return dir;
        slash = strrchr(dir, '/');
        if (!slash || slash == dir)
            break;
        *slash = '\0';
    }
    mem_free(dir);
    return NULL;
}

int
git_sync_open(struct git_sync **out, struct loop *l, struct proc_set *procs,
              const char *path, struct err *e)
{
    char *top = git_sync_find(path);
    struct git_sync *k;

    if (!top)
        return err_set(e, ERR_INVALID, "git=: %s lies in no git checkout",
                       path);
    k = MEM_NEW(struct git_sync);
    k->loop = l;
    k->procs = procs;
    k->top = top;
    k->pipe = -1;
    k->step = STEP_NONE;
    *out = k;
    return 0;
}

const char *
git_sync_top(const struct git_sync *k)
{
    return k->top;
}

void
git_sync_add(struct git_sync *k, const struct folder_layout *p)
{
    if (!p->push)
        return;
    k->places = mem_resize(k->places, (k->n + 1) * sizeof *k->places);
    k->places[k->n++] = p;
}

void
git_sync_start(struct git_sync *k, int64_t interval_ms, git_sync_busy_fn *busy,
               void *ctx)
{
    k->busy = busy;
    k->ctx = ctx;
    k->interval_ms = interval_ms;
    k->next = loop_timer_start(k->loop, 0, 0, on_next, k);
}

void
git_sync_close(struct git_sync *k)
{
    if (!k)
        return;
    loop_timer_stop(k->next);
    clean_up(k);
    if (k->proc)
        proc_forget(k->proc);
    free_words(&k->paths);
    str_free(&k->out);
    str_free(&k->why);
    mem_free(k->places);
    mem_free(k->top);
    mem_free(k);
}
