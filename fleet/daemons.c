/*
 * A fixed array of daemons in the order of their starts. One that ends is
 * started again by its timer; while the fleet stops, the same timer kills a
 * daemon that does not end in time.
 */
#include "fleet/daemons.h"

#include "fleet/daemon_log.h"
#include "fleet/restart.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    DAEMONS_MAX = 8,
    ARGS_MAX = 16,
    STOP_MS = 15000,         /* from TERM to KILL */
    STOP_WORKER_MS = 600000, /* a worker drains as its configuration says */
    SECOND_TERM_MS = 2000,   /* a worker kills its tasks itself */
};

struct daemon {
    struct daemons *all;
    char name[32];
    char *argv[ARGS_MAX];      /* the first is the program's file */
    struct daemon_env own_env; /* empty: that of all */
    uint64_t timer_slack_ns;
    struct proc *proc;                   /* NULL: not running */
    int log;                             /* -1: not opened yet */
    int64_t started_ms, started_mono_ms; /* wall clock and monotonic */
    struct restart restart;
    int deaths;
    char last_end[64];
    struct loop_timer *timer; /* starts again, or kills */
    bool termed;              /* TERM was sent */
};

struct daemons {
    const struct fleet_dir *dir;
    const struct daemon_env *env;
    struct loop *loop;
    struct proc_set *procs;
    void (*changed)(void *ctx);
    void *ctx;
    struct daemon v[DAEMONS_MAX];
    size_t n;
    bool stopping;
    void (*on_stopped)(void *ctx);
    void *stopped_ctx;
};

struct daemons *
daemons_new(const struct fleet_dir *dir, const struct daemon_env *env,
            struct loop *l, struct proc_set *procs, void (*changed)(void *ctx),
            void *ctx)
{
    struct daemons *all = MEM_NEW(struct daemons);

    all->dir = dir;
    all->env = env;
    all->loop = l;
    all->procs = procs;
    all->changed = changed;
    all->ctx = ctx;
    return all;
}

void
daemons_free(struct daemons *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < all->n; i++) {
        struct daemon *d = &all->v[i];

        loop_timer_stop(d->timer);
        if (d->proc)
            proc_forget(d->proc);
        if (d->log >= 0)
            (void)close(d->log);
        for (size_t j = 0; j < ARGS_MAX; j++)
            mem_free(d->argv[j]);
        daemon_env_release(&d->own_env);
    }
    mem_free(all);
}

static struct daemon *
find(const struct daemons *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (!strcmp(all->v[i].name, name))
            return (struct daemon *)(uintptr_t)&all->v[i];
    return NULL;
}

static bool
is_worker(const struct daemon *d)
{
    return strncmp(d->name, "worker", 6) == 0;
}

/* --- starting and starting again ----------------------------------------- */

static void stop_next(struct daemons *all);
static void start_again(void *ctx);

static void
on_end(void *ctx, const struct proc_end *end)
{
    struct daemon *d = ctx;
    struct daemons *all = d->all;
    int64_t pause;

    d->proc = NULL;
    (void)snprintf(d->last_end, sizeof d->last_end, "%s %d",
                   end->signalled ? "signal" : "status", end->code);
    if (all->stopping) {
        log_info("process.stopped", "name=%s end=\"%s\"", d->name, d->last_end);
        loop_timer_stop(d->timer);
        d->timer = NULL;
        all->changed(all->ctx);
        stop_next(all);
        return;
    }
    d->deaths++;
    pause = restart_pause(&d->restart, loop_now_ms() - d->started_mono_ms);
    log_warn("process.ended", "name=%s end=\"%s\" restart_in_ms=%lld", d->name,
             d->last_end, (long long)pause);
    if (d->timer)
        loop_timer_again(d->timer, pause, 0);
    else
        d->timer = loop_timer_start(all->loop, pause, 0, start_again, d);
    all->changed(all->ctx);
}

static int
start(struct daemon *d, struct err *e)
{
    struct daemons *all = d->all;
    char **env = d->own_env.entries ? d->own_env.entries : all->env->entries;
    struct proc_opts o = {.file = d->argv[0],
                          .argv = (const char *const *)d->argv,
                          .env = (const char *const *)env,
                          .in = -1,
                          .timer_slack_ns = d->timer_slack_ns};

    if (d->log < 0)
        d->log = daemon_log_open(all->dir, d->name, e);
    if (d->log < 0)
        return -1;
    o.out = o.err = d->log;
    if (proc_start(all->procs, &o, on_end, d, &d->proc, e) < 0)
        return err_wrap(e, "start %s", d->argv[0]);
    d->started_ms = str_wall_ms();
    d->started_mono_ms = loop_now_ms();
    log_info("process.started", "name=%s pid=%d restarts=%d", d->name,
             (int)proc_pid(d->proc), d->deaths);
    all->changed(all->ctx);
    return 0;
}

static void
start_again(void *ctx)
{
    struct daemon *d = ctx;
    struct err e = {0};

    if (d->all->stopping || d->proc || start(d, &e) == 0)
        return;
    log_error("process.start", "name=%s error=\"%s\"", d->name,
              LOG_TEXT(e.msg));
    loop_timer_again(d->timer, restart_pause_longest(&d->restart), 0);
}

int
daemons_start(struct daemons *all, const char *name, const char *const *argv,
              const struct daemon_opts *opts, struct err *e)
{
    struct daemon *d = &all->v[all->n];

    if (all->n == DAEMONS_MAX)
        return err_set(e, ERR_BUG, "more than %d processes", DAEMONS_MAX);
    *d = (struct daemon){.all = all, .log = -1};
    (void)str_copy(d->name, sizeof d->name, name);
    for (size_t i = 0; argv[i] && i + 1 < ARGS_MAX; i++)
        d->argv[i] = mem_strdup(argv[i]);
    if (opts && opts->env)
        daemon_env_copy(all->env, opts->env, &d->own_env);
    if (opts)
        d->timer_slack_ns = opts->timer_slack_ns;
    all->n++;
    return start(d, e);
}

/* --- stopping ------------------------------------------------------------ */

static void
kill_late(void *ctx)
{
    struct daemon *d = ctx;

    if (!d->proc)
        return;
    log_warn("process.killed", "name=%s reason=\"did not end in time\"",
             d->name);
    (void)proc_signal(d->proc, SIGKILL);
}

/* Sends TERM, and KILL after ms. */
static void
terminate(struct daemon *d, int64_t ms)
{
    d->termed = true;
    (void)proc_signal(d->proc, SIGTERM);
    loop_timer_stop(d->timer);
    d->timer = loop_timer_start(d->all->loop, ms, 0, kill_late, d);
}

/* Terminates the daemon that was started last of those alive; once none is,
 * the stop is complete. */
static void
stop_next(struct daemons *all)
{
    for (size_t i = all->n; i-- > 0;) {
        struct daemon *d = &all->v[i];

        if (!d->proc)
            continue;
        if (!d->termed)
            terminate(d, is_worker(d) ? STOP_WORKER_MS : STOP_MS);
        return;
    }
    if (all->on_stopped)
        all->on_stopped(all->stopped_ctx);
}

void
daemons_stop(struct daemons *all, void (*fn)(void *ctx), void *ctx)
{
    all->stopping = true;
    all->on_stopped = fn;
    all->stopped_ctx = ctx;
    for (size_t i = 0; i < all->n; i++) {
        loop_timer_stop(all->v[i].timer);
        all->v[i].timer = NULL;
    }
    stop_next(all);
}

void
daemons_signal(struct daemons *all, const char *name, int signo)
{
    struct daemon *d = find(all, name);

    if (d && d->proc)
        (void)proc_signal(d->proc, signo);
}

void
daemons_kill(struct daemons *all, const char *name)
{
    daemons_signal(all, name, SIGKILL);
}

void
daemons_kill_all(struct daemons *all)
{
    for (size_t i = 0; i < all->n; i++) {
        struct daemon *d = &all->v[i];

        if (!d->proc)
            continue;
        if (is_worker(d) && d->termed) {
            /* Its second TERM: it leaves no process of a task behind. */
            terminate(d, SECOND_TERM_MS);
        } else {
            d->termed = true;
            (void)proc_signal(d->proc, SIGKILL);
        }
    }
}

/* --- what is known of them ----------------------------------------------- */

bool
daemons_alive(const struct daemons *all)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].proc)
            return true;
    return false;
}

int
daemons_deaths(const struct daemons *all, const char *name)
{
    const struct daemon *d = find(all, name);

    return d ? d->deaths : 0;
}

int64_t
daemons_age_ms(const struct daemons *all, const char *name)
{
    const struct daemon *d = find(all, name);

    return d && d->proc ? loop_now_ms() - d->started_mono_ms : 0;
}

int
daemons_explain_end(const struct daemons *all, const char *name, struct err *e)
{
    const struct daemon *d = find(all, name);
    struct fleet_dir_path path;
    char line[301];

    if (!d)
        return err_set(e, ERR_BUG, "no process %s", name);
    daemon_log_last_line(all->dir, name, line, sizeof line, &path);
    return err_set(e, ERR_UNAVAILABLE, "%s %s%s: %s (%s)", name,
                   d->last_end[0] ? "ended with " : "does not answer",
                   d->last_end, line, path.s);
}

json_t *
daemons_to_json(const struct daemons *all)
{
    json_t *list = json_array();
    char since[32];

    for (size_t i = 0; all && i < all->n; i++) {
        const struct daemon *d = &all->v[i];

        (void)str_time(d->started_ms, since, sizeof since);
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:i, s:o*, s:s*, s:s*}", "name",
                            d->name, "state",
                            d->proc         ? "running"
                            : all->stopping ? "stopped"
                                            : "restarting",
                            "restarts", d->deaths, "pid",
                            d->proc ? json_integer(proc_pid(d->proc)) : NULL,
                            "started_at", d->proc ? since : NULL, "last_end",
                            d->last_end[0] ? d->last_end : NULL));
    }
    return list;
}

void
daemons_rotate_logs(struct daemons *all)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].log >= 0)
            daemon_log_rotate(all->dir, all->v[i].name, all->v[i].log);
}
