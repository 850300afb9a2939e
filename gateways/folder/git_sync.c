/*
 * One round on each interval: fetch, fast-forward, and if a folder pushes:
 * leave out files that have a secret, add, commit and push. Each step is a git
 * command run as a child; its exit status selects the next step (next_step).
 * Own commits are known by their committer.
 */
#include "gateways/folder/git_sync.h"

#include "gateways/folder/files.h"
#include "gateways/folder/secret_files.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/session_vars.h"
#include "lib/base/str.h"
#include "lib/os/os.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMMITTER "shunt-gateway-folder"

enum {
    GIT_MS = 120000, /* for one command */
    GRACE_MS = 5000,
    OUTPUT_MAX = 4096,
    STATUS_MAX = 4 * 1024 * 1024, /* of the list of changed files */
    TRIES = 3,                    /* of a push while others push as well */
    CLAIMED_MAX = 2000,           /* claimed files that are excluded by name */
};

/* In this order, except for the steps that go back. */
enum git_step {
    STEP_FETCH,
    STEP_FORWARD, /* to the fetched commit */
    STEP_STATUS,  /* which files would be committed? */
    STEP_ADD,     /* outcomes to the index */
    STEP_CHANGED, /* are there changes? */
    STEP_COMMIT,
    STEP_AHEAD, /* are there commits to push? */
    STEP_PUSH,
    STEP_WHOSE, /* who committed what is not pushed? */
    STEP_RESET, /* undo our own commit; its files stay as they are */
    STEP_NONE
};

static const char *const step_names[] = {"fetch", "merge",  "status", "add",
                                         "diff",  "commit", "ahead",  "push",
                                         "log",   "reset",  "none"};

struct git_words {
    char **v; /* NULL-terminated */
    size_t n;
};

struct git_sync {
    struct loop *loop;
    struct proc_set *procs;
    char *top;
    const struct folder_layout **layouts; /* whose outcomes are pushed */
    size_t n;
    git_sync_busy_fn *busy;
    void *ctx;
    int64_t interval_ms;
    struct loop_timer *next, *limit;
    enum git_step step;
    struct git_words paths; /* to commit in this round */
    size_t n_claimed;
    unsigned tries;
    struct proc *proc;
    struct loop_fd *fd;
    int pipe;
    struct str out, why; /* output of this command; of an earlier one */
    struct mask *secrets;
    struct str kept_back; /* files with secrets, as logged */
    struct str keeps;     /* those of this round */
    bool termed, alarmed;
    struct proc_end end;
};

static void start(struct git_sync *g, enum git_step step);

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

/* --- paths to commit ------------------------------------------------------ */

/* A folder must exist, or git reports an unknown path. */
static void
add_dir(struct git_sync *g, const char *dir, bool make)
{
    struct err e;

    if (make)
        (void)files_make_dir(dir, &e);
    if (file_exists(dir))
        add_word(&g->paths, "", dir);
}

static void
exclude_claimed(struct git_sync *g, const char *dir, const char *name)
{
    struct files_path path;
    size_t len = strlen(g->top);

    (void)files_path(dir, name, &path);
    if (g->n_claimed++ < CLAIMED_MAX && strncmp(path.s, g->top, len) == 0 &&
        path.s[len] == '/')
        add_word(&g->paths, ":(top,exclude,literal)", path.s + len + 1);
}

/* The folders of outcomes, and the waiting folders without claimed files: a
 * file may be committed as deleted only together with its outcome. */
static void
gather_paths(struct git_sync *g)
{
    free_words(&g->paths);
    g->n_claimed = 0;
    g->busy(g->ctx, g, exclude_claimed);
    for (size_t i = 0; i < g->n; i++) {
        const struct folder_layout *p = g->layouts[i];

        add_dir(g, p->done, false);
        add_dir(g, p->failed, false);
        add_dir(g, FILES_PATH(p->root, "reports"), false);
        if (g->n_claimed <= CLAIMED_MAX)
            add_dir(g, p->waiting, true);
    }
}

static void
build_argv(struct git_sync *g, enum git_step step, struct git_words *w)
{
    static const char *const settings[] = {"commit.gpgsign=false",
                                           "core.hooksPath=/dev/null",
                                           "core.fsmonitor=false"};
    static const char *const argv[][8] = {
        [STEP_FETCH] = {"fetch", "--quiet"},
        [STEP_FORWARD] = {"merge", "--ff-only", "--quiet", "@{upstream}"},
        [STEP_STATUS] = {"status", "--porcelain", "-z", "--untracked-files=all",
                         "--"},
        [STEP_ADD] = {"add", "--all", "--"},
        [STEP_CHANGED] = {"diff", "--cached", "--quiet", "--"},
        [STEP_COMMIT] = {"commit", "--quiet", "--no-verify", "-m",
                         "jobs: outcomes", "--"},
        [STEP_AHEAD] = {"log", "--format=%cn", "@{upstream}..HEAD"},
        [STEP_PUSH] = {"push", "--quiet"},
        [STEP_WHOSE] = {"log", "--format=%cn", "@{upstream}..HEAD"},
        [STEP_RESET] = {"reset", "--quiet", "--mixed", "HEAD~1"},
        [STEP_NONE] = {NULL},
    };

    add_word(w, "", "git");
    /* Nothing that the checkout brings along is run. */
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        add_word(w, "", "-c");
        add_word(w, "", settings[i]);
    }
    for (size_t i = 0; argv[step][i]; i++)
        add_word(w, "", argv[step][i]);
    if (step == STEP_STATUS || step == STEP_ADD || step == STEP_CHANGED ||
        step == STEP_COMMIT)
        for (size_t i = 0; i < g->paths.n; i++)
            add_word(w, "", g->paths.v[i]);
}

/* Our environment, with a committer to know our commits by and without
 * prompts. */
static void
build_env(struct git_words *w)
{
    bool ssh = getenv("GIT_SSH_COMMAND") != NULL;

    for (char **p = environ; *p; p++)
        if (!session_vars_is_git(*p))
            add_word(w, "", *p);
    add_word(w, "GIT_AUTHOR_NAME=", COMMITTER);
    add_word(w, "GIT_AUTHOR_EMAIL=", "shunt@localhost");
    add_word(w, "GIT_COMMITTER_NAME=", COMMITTER);
    add_word(w, "GIT_COMMITTER_EMAIL=", "shunt@localhost");
    add_word(w, "GIT_TERMINAL_PROMPT=", "0");
    if (!ssh)
        add_word(w, "GIT_SSH_COMMAND=", "ssh -oBatchMode=yes");
}

/* --- files with secrets --------------------------------------------------- */

/* The file stays uncommitted, and with it the end of the job that it tells of:
 * the job's file stays in the queue of the others. */
static void
keep_back(void *ctx, const char *path, size_t line)
{
    struct git_sync *g = ctx;
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t len = strlen(g->top);

    str_addf(&g->keeps, "%s%s:%zu", g->keeps.len ? ", " : "", path, line);
    add_word(&g->paths, ":(top,exclude,literal)", path);
    for (size_t i = 0; i < g->n; i++) {
        struct files_path waiting;

        (void)files_path(g->layouts[i]->waiting, name, &waiting);
        if (strncmp(waiting.s, g->top, len) == 0 && waiting.s[len] == '/')
            add_word(&g->paths, ":(top,exclude,literal)", waiting.s + len + 1);
    }
}

/* Logged once, and again when there are others. */
static void
keep_secrets_back(struct git_sync *g)
{
    str_reset(&g->keeps);
    secret_files_find(g->secrets, g->top, &g->out, keep_back, g);
    if (g->keeps.len > 0 &&
        strcmp(str_text(&g->keeps), str_text(&g->kept_back)) != 0)
        log_error("folder.secret",
                  "checkout=\"%s\" files=\"%s\" text=\"file:line that has a "
                  "secret: neither committed nor pushed; remove the secret or "
                  "the file\"",
                  g->top, LOG_TEXT(str_text(&g->keeps)));
    str_reset(&g->kept_back);
    str_addz(&g->kept_back, str_text(&g->keeps));
}

/* --- rounds --------------------------------------------------------------- */

static void
end_round(struct git_sync *g)
{
    g->step = STEP_NONE;
    g->tries = 0;
    free_words(&g->paths);
    loop_timer_again(g->next, g->interval_ms, 0);
}

/* Logged once, until a round succeeds again. */
static void
give_up(struct git_sync *g, const char *why)
{
    if (!g->alarmed)
        log_error("folder.git",
                  "checkout=\"%s\" step=%s error=\"%s\" text=\"left "
                  "unchanged; a person must act\"",
                  g->top, step_names[g->step], LOG_TEXT(why));
    g->alarmed = true;
    end_round(g);
}

/* The network is delegated, or a command hung: the next round tries again. */
static void
try_later(struct git_sync *g, const char *why)
{
    log_warn("folder.git", "checkout=\"%s\" step=%s error=\"%s\"", g->top,
             step_names[g->step], LOG_TEXT(why));
    end_round(g);
}

static void
end_round_well(struct git_sync *g)
{
    if (g->alarmed)
        log_info("folder.git", "checkout=\"%s\" text=\"recovered\"", g->top);
    g->alarmed = false;
    end_round(g);
}

/* Whether the output lists one or more committers, all of them us. */
static bool
all_ours(const struct git_sync *g)
{
    const char *p = str_text(&g->out);

    if (!*p || g->out.len >= OUTPUT_MAX)
        return false;
    for (; *p; p += strcspn(p, "\n") + 1)
        if (strncmp(p, COMMITTER "\n", sizeof COMMITTER) != 0)
            return false;
    return true;
}

/* Starts the step that follows a command with that exit status. */
static void
next_step(struct git_sync *g, int code)
{
    switch (g->step) {
    case STEP_FETCH:
        if (code)
            try_later(g, str_text(&g->out));
        else
            start(g, STEP_FORWARD);
        break;
    case STEP_FORWARD:
        if (code && g->n && g->tries++ < TRIES) {
            str_reset(&g->why);
            str_add(&g->why, str_text(&g->out), g->out.len);
            start(g, STEP_WHOSE); /* our own commit may be in the way */
        } else if (code) {
            give_up(g, str_text(&g->out));
        } else if (g->n) {
            gather_paths(g);
            start(g, STEP_STATUS);
        } else {
            end_round_well(g);
        }
        break;
    case STEP_STATUS:
        if (code || g->out.len >= STATUS_MAX) {
            give_up(g, code ? str_text(&g->out) : "too many changed files");
        } else {
            keep_secrets_back(g);
            start(g, STEP_ADD);
        }
        break;
    case STEP_ADD:
        if (code)
            give_up(g, str_text(&g->out));
        else
            start(g, STEP_CHANGED);
        break;
    case STEP_CHANGED:
        start(g, code == 1 ? STEP_COMMIT : STEP_AHEAD);
        break;
    case STEP_COMMIT:
        if (code)
            give_up(g, str_text(&g->out));
        else
            start(g, STEP_AHEAD);
        break;
    case STEP_AHEAD:
        if (code)
            give_up(g, str_text(&g->out));
        else if (g->out.len == 0)
            end_round_well(g);
        else if (all_ours(g))
            start(g, STEP_PUSH);
        else
            give_up(g, "there are commits of others that are not pushed");
        break;
    case STEP_PUSH:
        if (!code) {
            log_info("folder.pushed", "checkout=\"%s\"", g->top);
            end_round_well(g);
        } else if (g->tries++ < TRIES) {
            start(g,
                  STEP_FETCH); /* others were faster, or the network failed */
        } else {
            give_up(g, str_text(&g->out));
        }
        break;
    case STEP_WHOSE:
        if (code == 0 && all_ours(g))
            start(g, STEP_RESET);
        else
            give_up(g, str_text(&g->why));
        break;
    case STEP_RESET:
        if (code)
            give_up(g, str_text(&g->out));
        else
            start(g, STEP_FORWARD);
        break;
    case STEP_NONE:
        break;
    }
}

/* --- one command ---------------------------------------------------------- */

static void
close_command(struct git_sync *g)
{
    loop_timer_stop(g->limit);
    loop_fd_stop(g->fd);
    if (g->pipe >= 0)
        (void)close(g->pipe);
    g->limit = NULL;
    g->fd = NULL;
    g->pipe = -1;
}

/* The command has ended and its output is read. A background maintenance may
 * keep the pipe open; it is not waited for. */
static void
on_command_done(struct git_sync *g)
{
    int code = g->end.signalled ? 128 + g->end.code : g->end.code;

    close_command(g);
    if (g->termed)
        try_later(g, "took too long and was stopped");
    else
        next_step(g, code);
}

static bool
drain(struct git_sync *g)
{
    size_t most = g->step == STEP_STATUS ? STATUS_MAX : OUTPUT_MAX;
    char buf[1024];
    ssize_t n;

    while ((n = read(g->pipe, buf, sizeof buf)) > 0 ||
           (n < 0 && errno == EINTR))
        if (n > 0 && g->out.len < most)
            str_add(&g->out, buf, (size_t)n);
    return n == 0;
}

static void
on_output(void *ctx)
{
    struct git_sync *g = ctx;

    if (drain(g))
        loop_fd_pause(g->fd); /* until the command has ended */
}

static void
on_end(void *ctx, const struct proc_end *end)
{
    struct git_sync *g = ctx;

    g->proc = NULL;
    g->end = *end;
    (void)drain(g);
    on_command_done(g);
}

static void
on_limit(void *ctx)
{
    struct git_sync *g = ctx;

    /* On TERM git removes its locks. */
    if (g->proc)
        (void)proc_signal(g->proc, g->termed ? SIGKILL : SIGTERM);
    g->termed = true;
    loop_timer_again(g->limit, GRACE_MS, 0);
}

static void
start(struct git_sync *g, enum git_step step)
{
    struct git_words argv = {0}, env = {0};
    struct proc_opts o = {.file = "git",
                          .workdir = g->top,
                          .in = -1,
                          /* Killed with us, git would leave its locks. */
                          .keep_on_parent_death = true};
    int theirs = -1;
    struct err e = {0};

    g->step = step;
    g->termed = false;
    str_reset(&g->out);
    build_argv(g, step, &argv);
    build_env(&env);
    o.argv = (const char *const *)argv.v;
    o.env = (const char *const *)env.v;
    if (proc_pipe(&g->pipe, &theirs, &e) == 0) {
        o.out = o.err = theirs;
        if (proc_start(g->procs, &o, on_end, g, &g->proc, &e) == 0) {
            g->fd = loop_fd_start(g->loop, g->pipe, on_output, g);
            g->limit = loop_timer_start(g->loop, GIT_MS, 0, on_limit, g);
        }
        (void)close(theirs);
    }
    free_words(&argv);
    free_words(&env);
    if (!g->proc) {
        close_command(g);
        give_up(g, e.msg);
    }
}

static void
on_next(void *ctx)
{
    struct git_sync *g = ctx;

    if (g->step == STEP_NONE)
        start(g, STEP_FETCH);
}

/* --- life ----------------------------------------------------------------- */

char *
git_sync_find(const char *path)
{
    char *dir = mem_strdup(path), *slash;

    for (;;) {
        if (file_exists(FILES_PATH(dir, ".git")))
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
    struct git_sync *g;

    if (!top)
        return err_set(e, ERR_INVALID, "git=: %s is not in a git checkout",
                       path);
    g = MEM_NEW(struct git_sync);
    g->loop = l;
    g->procs = procs;
    g->top = top;
    g->pipe = -1;
    g->step = STEP_NONE;
    g->secrets = mask_new();
    for (char **p = environ; *p; p++)
        mask_add_entry(g->secrets, *p);
    *out = g;
    return 0;
}

const char *
git_sync_top(const struct git_sync *g)
{
    return g->top;
}

void
git_sync_add(struct git_sync *g, const struct folder_layout *p)
{
    if (!p->push)
        return;
    g->layouts = mem_resize(g->layouts, (g->n + 1) * sizeof *g->layouts);
    g->layouts[g->n++] = p;
}

void
git_sync_start(struct git_sync *g, int64_t interval_ms, git_sync_busy_fn *busy,
               void *ctx)
{
    g->busy = busy;
    g->ctx = ctx;
    g->interval_ms = interval_ms;
    g->next = loop_timer_start(g->loop, 0, 0, on_next, g);
}

void
git_sync_close(struct git_sync *g)
{
    if (!g)
        return;
    loop_timer_stop(g->next);
    close_command(g);
    if (g->proc)
        proc_forget(g->proc);
    free_words(&g->paths);
    str_free(&g->out);
    str_free(&g->why);
    str_free(&g->keeps);
    str_free(&g->kept_back);
    mask_free(g->secrets);
    mem_free(g->layouts);
    mem_free(g->top);
    mem_free(g);
}
