#include "fleet/daemons.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/os/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MOST = 8, /* children */
    ARGS = 16,
    PAUSE_MS = 500,
    PAUSE_MAX_MS = 30000,
    STEADY_MS = 60000,       /* a life this long ends a series of failures */
    STOP_MS = 15000,         /* from TERM to KILL */
    STOP_WORKER_MS = 600000, /* a worker drains as its configuration says */
    SECOND_TERM_MS = 2000,   /* a worker kills its tasks itself */
    LOG_MAX = 32 * 1024 * 1024,
};

struct child {
    struct daemons *all;
    char name[32];
    char *file;
    char *argv[ARGS];
    char **env; /* NULL: that of all */
    uint64_t timer_slack_ns;
    struct proc *proc; /* NULL: not running */
    int log;
    int64_t started_ms, born_ms; /* wall and monotonic */
    int64_t pause_ms;
    int restarts, deaths;
    char last_end[64];
    struct loop_timer *timer; /* restart, or KILL */
    bool termed;
};

struct daemons {
    const struct fleet_dir *home;
    struct loop *loop;
    struct proc_set *procs;
    void (*changed)(void *ctx);
    void *ctx;
    char **env;
    struct child v[MOST];
    size_t n;
    bool stopping;
    void (*on_stopped)(void *ctx);
    void *stopped_ctx;
};

extern char **environ;

static void stop_next(struct daemons *c);

struct daemons *
daemons_new(const struct fleet_dir *h, struct loop *l, struct proc_set *procs,
            void (*changed)(void *ctx), void *ctx)
{
    struct daemons *c = MEM_NEW(struct daemons);

    c->home = h;
    c->loop = l;
    c->procs = procs;
    c->changed = changed;
    c->ctx = ctx;
    return c;
}

/* One of them may hold a secret. */
static void
free_env(char **env)
{
    for (size_t i = 0; env && env[i]; i++)
        secret_free(env[i]);
    mem_free(env);
}

void
daemons_free(struct daemons *c)
{
    size_t i, j;

    if (!c)
        return;
    for (i = 0; i < c->n; i++) {
        loop_timer_stop(c->v[i].timer);
        if (c->v[i].proc)
            proc_forget(c->v[i].proc);
        if (c->v[i].log >= 0)
            (void)close(c->v[i].log);
        mem_free(c->v[i].file);
        for (j = 0; j < ARGS; j++)
            mem_free(c->v[i].argv[j]);
        free_env(c->v[i].env);
    }
    free_env(c->env);
    mem_free(c);
}

static struct child *
find(const struct daemons *c, const char *name)
{
    size_t i;

    for (i = 0; i < c->n; i++)
        if (!strcmp(c->v[i].name, name))
            return (struct child *)(uintptr_t)&c->v[i];
    return NULL;
}

/* --- environment --------------------------------------------------------- */

/* Ways to another broker, and what we set ourselves. */
static bool
is_replaced(const char *entry)
{
    static const char *const names[] = {"NATS_URL=",
                                        "SECUTOOLS_API_KEY=",
                                        "NATS_CREDS=",
                                        "SHUNT_BUS_URL=",
                                        "SHUNT_BUS_CONFIRM=",
                                        "SHUNT_BUS_TOKEN_FILE=",
                                        "SHUNT_BUS_CA_FILE=",
                                        "SHUNT_BUS_CREDS_FILE=",
                                        "SHUNT_BUS_KEY_FILE=",
                                        "SHUNT_BUS_NKEY_FILE=",
                                        "SHUNT_HOME=",
                                        "SHUNT_BUS_CERT_FILE=",
                                        "SHUNT_WORKER_STATE_DIR=",
                                        "SHUNT_REAPER_DATABASE=",
                                        "SHUNT_REAPER_REPORT_ROOT=",
                                        "SHUNT_REAPER_REPORT_IN_WORKDIR="};
    size_t i;

    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strncmp(entry, names[i], strlen(names[i])))
            return true;
    return false;
}

static void
add_env(struct daemons *c, size_t *n, const char *key, const char *value)
{
    struct str s = {0};

    str_addf(&s, "%s=%s", key, value);
    c->env = mem_resize(c->env, (*n + 2) * sizeof *c->env);
    c->env[(*n)++] = mem_strdup(str_text(&s));
    c->env[*n] = NULL;
    str_free(&s);
}

void
daemons_environment(struct daemons *c, const struct daemons_facts *f)
{
    struct fleet_dir_path path;
    char text[32];
    size_t n = 0, i;

    for (i = 0; environ[i]; i++) {
        if (is_replaced(environ[i]) ||
            (f->slots && !strncmp(environ[i], "SHUNT_WORKER_SLOTS=", 19)) ||
            (*f->project && !strncmp(environ[i], "SHUNT_FOLDER_PROJECT=", 21)))
            continue;
        c->env = mem_resize(c->env, (n + 2) * sizeof *c->env);
        c->env[n++] = mem_strdup(environ[i]);
        c->env[n] = NULL;
    }
    add_env(c, &n, "SHUNT_HOME", c->home->dir);
    add_env(c, &n, "SHUNT_BUS_URL", f->url);
    add_env(c, &n, "SHUNT_BUS_TOKEN_FILE",
            fleet_dir_path(c->home, "token", &path));
    add_env(c, &n, "SHUNT_BUS_CONFIRM", f->confirm ? "true" : "false");
    add_env(c, &n, "SHUNT_WORKER_STATE_DIR",
            fleet_dir_path(c->home, "worker", &path));
    add_env(c, &n, "SHUNT_REAPER_DATABASE",
            fleet_dir_path(c->home, "ledger.db", &path));
    add_env(c, &n, "SHUNT_REAPER_REPORT_ROOT", c->home->dir);
    add_env(c, &n, "SHUNT_REAPER_REPORT_IN_WORKDIR", "true");
    if (*f->project)
        add_env(c, &n, "SHUNT_FOLDER_PROJECT", f->project);
    if (f->slots) {
        (void)snprintf(text, sizeof text, "%lld", (long long)f->slots);
        add_env(c, &n, "SHUNT_WORKER_SLOTS", text);
    }
    if (f->fast)
        daemons_set(c, "SHUNT_REAPER_SYNC", "false");
}

void
daemons_set(struct daemons *c, const char *key, const char *value)
{
    size_t len = strlen(key), n = 0;
    struct str s = {0};

    while (c->env[n] &&
           (strncmp(c->env[n], key, len) != 0 || c->env[n][len] != '='))
        n++;
    if (!c->env[n]) {
        add_env(c, &n, key, value);
        return;
    }
    str_addf(&s, "%s=%s", key, value);
    mem_free(c->env[n]);
    c->env[n] = mem_strdup(str_text(&s));
    str_free(&s);
}

/* Whether one of extra is about the variable of entry. */
static bool
is_named(const char *const *extra, const char *entry)
{
    size_t len = strcspn(entry, "=");

    for (; *extra; extra++)
        if (strncmp(*extra, entry, len) == 0 &&
            ((*extra)[len] == '=' || (*extra)[len] == '\0'))
            return true;
    return false;
}

/* The environment of all with extra over it. */
static char **
own_env(const struct daemons *c, const char *const *extra)
{
    size_t n = 0, more = 0, i;
    char **env;

    while (extra[more])
        more++;
    for (i = 0; c->env[i]; i++)
        ;
    env = mem_zero(i + more + 1, sizeof *env);
    for (i = 0; c->env[i]; i++)
        if (!is_named(extra, c->env[i]))
            env[n++] = mem_strdup(c->env[i]);
    for (i = 0; i < more; i++)
        if (strchr(extra[i], '='))
            env[n++] = mem_strdup(extra[i]);
    return env;
}

const char *const *
daemons_env(const struct daemons *c)
{
    return (const char *const *)c->env;
}

/* --- life ---------------------------------------------------------------- */

static int start(struct child *ch, struct err *e);

static void
restart(void *ctx)
{
    struct child *ch = ctx;
    struct err e = {0};

    if (ch->all->stopping || ch->proc)
        return;
    if (start(ch, &e) == 0)
        return;
    log_error("process.start", "name=%s error=\"%s\"", ch->name,
              LOG_TEXT(e.msg));
    ch->pause_ms = PAUSE_MAX_MS;
    loop_timer_again(ch->timer, ch->pause_ms, 0);
}

static void
on_end(void *ctx, const struct proc_end *end)
{
    struct child *ch = ctx;
    struct daemons *c = ch->all;
    int64_t lived = loop_now_ms() - ch->born_ms;

    ch->proc = NULL;
    (void)snprintf(ch->last_end, sizeof ch->last_end, "%s %d",
                   end->signalled ? "signal" : "status", end->code);
    if (c->stopping) {
        log_info("process.stopped", "name=%s end=\"%s\"", ch->name,
                 ch->last_end);
        loop_timer_stop(ch->timer);
        ch->timer = NULL;
        c->changed(c->ctx);
        stop_next(c);
        return;
    }
    ch->deaths++;
    ch->restarts++;
    if (lived >= STEADY_MS)
        ch->pause_ms = PAUSE_MS;
    log_warn("process.ended", "name=%s end=\"%s\" restart_in_ms=%lld", ch->name,
             ch->last_end, (long long)ch->pause_ms);
    if (ch->timer)
        loop_timer_again(ch->timer, ch->pause_ms, 0);
    else
        ch->timer = loop_timer_start(c->loop, ch->pause_ms, 0, restart, ch);
    ch->pause_ms *= 2;
    if (ch->pause_ms > PAUSE_MAX_MS)
        ch->pause_ms = PAUSE_MAX_MS;
    c->changed(c->ctx);
}

static void
log_path(const struct child *ch, const char *ending, struct fleet_dir_path *out)
{
    char rel[64];

    (void)snprintf(rel, sizeof rel, "log/%s.log%s", ch->name, ending);
    (void)fleet_dir_path(ch->all->home, rel, out);
}

static int
open_log(struct child *ch, struct err *e)
{
    struct fleet_dir_path path;

    if (ch->log >= 0)
        return 0;
    log_path(ch, "", &path);
    ch->log = open(path.s, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return ch->log >= 0 ? 0
                        : err_set(e, ERR_UNAVAILABLE, "open %s: %s", path.s,
                                  strerror(errno));
}

static int
start(struct child *ch, struct err *e)
{
    struct proc_opts o = {
        .file = ch->file,
        .argv = (const char *const *)ch->argv,
        .env = (const char *const *)(ch->env ? ch->env : ch->all->env),
        .in = -1,
        .timer_slack_ns = ch->timer_slack_ns};

    if (open_log(ch, e) < 0)
        return -1;
    o.out = o.err = ch->log;
    if (proc_start(ch->all->procs, &o, on_end, ch, &ch->proc, e) < 0)
        return err_wrap(e, "start %s", ch->file);
    ch->started_ms = str_wall_ms();
    ch->born_ms = loop_now_ms();
    log_info("process.started", "name=%s pid=%d restarts=%d", ch->name,
             (int)proc_pid(ch->proc), ch->restarts);
    ch->all->changed(ch->all->ctx);
    return 0;
}

int
daemons_start(struct daemons *c, const char *name, const char *file,
              const char *const *argv, const struct child_opts *opts,
              struct err *e)
{
    struct child *ch = &c->v[c->n];
    size_t i;

    if (c->n == MOST)
        return err_set(e, ERR_BUG, "more than %d processes", MOST);
    memset(ch, 0, sizeof *ch);
    ch->all = c;
    ch->log = -1;
    ch->pause_ms = PAUSE_MS;
    (void)str_copy(ch->name, sizeof ch->name, name);
    ch->file = mem_strdup(file);
    for (i = 0; argv[i] && i + 1 < ARGS; i++)
        ch->argv[i] = mem_strdup(argv[i]);
    if (opts && opts->env)
        ch->env = own_env(c, opts->env);
    if (opts)
        ch->timer_slack_ns = opts->timer_slack_ns;
    c->n++;
    return start(ch, e);
}

/* --- stopping ------------------------------------------------------------ */

static void
kill_late(void *ctx)
{
    struct child *ch = ctx;

    if (!ch->proc)
        return;
    log_warn("process.killed", "name=%s reason=\"did not end in time\"",
             ch->name);
    (void)proc_signal(ch->proc, SIGKILL);
}

/* Replaces the child's timer. */
static void
kill_after(struct child *ch, int64_t ms)
{
    loop_timer_stop(ch->timer);
    ch->timer = loop_timer_start(ch->all->loop, ms, 0, kill_late, ch);
}

/* TERM to the last one that is alive, or the end. */
static void
stop_next(struct daemons *c)
{
    struct child *ch;
    size_t i;

    for (i = c->n; i-- > 0;) {
        ch = &c->v[i];
        if (!ch->proc)
            continue;
        if (!ch->termed) {
            ch->termed = true;
            (void)proc_signal(ch->proc, SIGTERM);
            kill_after(ch, strncmp(ch->name, "worker", 6) ? STOP_MS
                                                          : STOP_WORKER_MS);
        }
        return;
    }
    if (c->on_stopped)
        c->on_stopped(c->stopped_ctx);
}

void
daemons_stop(struct daemons *c, void (*fn)(void *ctx), void *ctx)
{
    size_t i;

    c->stopping = true;
    c->on_stopped = fn;
    c->stopped_ctx = ctx;
    for (i = 0; i < c->n; i++) {
        loop_timer_stop(c->v[i].timer);
        c->v[i].timer = NULL;
    }
    stop_next(c);
}

void
daemons_kill(struct daemons *c, const char *name)
{
    struct child *ch = find(c, name);

    if (ch && ch->proc)
        (void)proc_signal(ch->proc, SIGKILL);
}

void
daemons_kill_all(struct daemons *c)
{
    struct child *ch;
    size_t i;

    for (i = 0; i < c->n; i++) {
        ch = &c->v[i];
        if (!ch->proc)
            continue;
        if (!strncmp(ch->name, "worker", 6) && ch->termed) {
            /* Its second TERM: it leaves no process of a task behind. */
            (void)proc_signal(ch->proc, SIGTERM);
            kill_after(ch, SECOND_TERM_MS);
        } else {
            ch->termed = true;
            (void)proc_signal(ch->proc, SIGKILL);
        }
    }
}

/* --- questions ----------------------------------------------------------- */

bool
daemons_alive(const struct daemons *c)
{
    size_t i;

    for (i = 0; i < c->n; i++)
        if (c->v[i].proc)
            return true;
    return false;
}

int
daemons_deaths(const struct daemons *c, const char *name)
{
    const struct child *ch = find(c, name);

    return ch ? ch->deaths : 0;
}

int64_t
daemons_age_ms(const struct daemons *c, const char *name)
{
    const struct child *ch = find(c, name);

    return ch && ch->proc ? loop_now_ms() - ch->born_ms : 0;
}

int
daemons_last_words(const struct daemons *c, const char *name, struct err *e)
{
    const struct child *ch = find(c, name);
    struct fleet_dir_path path;
    char tail[1024] = "", *line = tail, *nl;
    struct stat st;
    ssize_t n = 0;
    int fd;

    if (!ch)
        return err_set(e, ERR_BUG, "no process %s", name);
    log_path(ch, "", &path);
    fd = open(path.s, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0)
        n = pread(fd, tail, sizeof tail - 1,
                  st.st_size > 1000 ? st.st_size - 1000 : 0);
    if (fd >= 0)
        (void)close(fd);
    while (n > 0 && tail[n - 1] == '\n')
        n--;
    tail[n > 0 ? n : 0] = '\0';
    for (nl = strchr(tail, '\n'); nl; nl = strchr(line, '\n'))
        line = nl + 1;
    return err_set(e, ERR_UNAVAILABLE, "%s ended with %s: %.300s (%s)", name,
                   ch->last_end[0] ? ch->last_end : "nothing said", line,
                   path.s);
}

json_t *
daemons_to_json(const struct daemons *c)
{
    json_t *all = json_array(), *v;
    const struct child *ch;
    char since[32];
    size_t i;

    for (i = 0; c && i < c->n; i++) {
        ch = &c->v[i];
        v = json_pack("{s:s, s:s, s:i}", "name", ch->name, "state",
                      ch->proc      ? "running"
                      : c->stopping ? "stopped"
                                    : "restarting",
                      "restarts", ch->restarts);
        if (ch->proc) {
            (void)json_object_set_new(v, "pid",
                                      json_integer(proc_pid(ch->proc)));
            (void)json_object_set_new(
                v, "started_at",
                json_string(str_time(ch->started_ms, since, sizeof since)));
        }
        if (ch->last_end[0])
            (void)json_object_set_new(v, "last_end", json_string(ch->last_end));
        (void)json_array_append_new(all, v);
    }
    return all;
}

/* --- logs ---------------------------------------------------------------- */

/* The child goes on writing to the same file, which is emptied under it: it
 * was opened for appending. */
static void
rotate(struct child *ch)
{
    struct fleet_dir_path path, old;
    char buf[65536];
    off_t at = 0;
    ssize_t n;
    int in, out;

    log_path(ch, "", &path);
    log_path(ch, ".1", &old);
    in = open(path.s, O_RDONLY | O_CLOEXEC);
    out = open(old.s, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (in >= 0 && out >= 0 && (n = pread(in, buf, sizeof buf, at)) > 0 &&
           write(out, buf, (size_t)n) == n)
        at += n;
    (void)ftruncate(ch->log, 0);
    if (in >= 0)
        (void)close(in);
    if (out >= 0)
        (void)close(out);
}

void
daemons_rotate(struct daemons *c)
{
    struct stat st;
    size_t i;

    for (i = 0; i < c->n; i++)
        if (c->v[i].log >= 0 && fstat(c->v[i].log, &st) == 0 &&
            st.st_size > LOG_MAX)
            rotate(&c->v[i]);
}
