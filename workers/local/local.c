/*
 * Runs an attempt through these stages: what it needs of its checkout
 * (checkout.c), the steps one after the other, the end of whatever processes
 * they have left, and what is looked at and cleared away after that.
 */
#include "workers/local/local.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/os/file.h"
#include "lib/os/os.h"
#include "lib/os/proc.h"
#include "workers/local/environment.h"
#include "workers/local/local_private.h"
#include "workers/local/steps.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SPARE_MAX = 64,     /* freed runs kept for reuse */
    CHECK_FIRST_MS = 5, /* between checks whether the family is gone */
    CHECK_LAST_MS = 200,
    OOM_COUNT_MS = 1000, /* often enough to know whether it was during a run */
    EXIT_NOT_EXECUTABLE = 126,
    EXIT_NOT_FOUND = 127,
    EXIT_SIGNAL = 128,
};

#define OUT_OF_MEMORY ", likely out of memory"

/* --- end of a task -------------------------------------------------------- */

static void on_timer(void *ctx);

static void
set_timer(struct local_run *r, int64_t delay_ms)
{
    r->due_ms = loop_now_ms() + delay_ms;
    if (r->timer)
        loop_timer_again(r->timer, delay_ms, 0);
    else
        r->timer = loop_timer_start(r->local->loop, delay_ms, 0, on_timer, r);
}

static void
stop_timer(struct local_run *r)
{
    loop_timer_stop(r->timer);
    r->timer = NULL;
}

/* Tells what the steps have left behind and local_end_family has ended. */
static void
tell_left_behind(struct local_run *r)
{
    struct str names = {0};
    int n = proc_family_signalled(r->family, &names);

    if (n > 0)
        r->order.warn(r->order.ctx,
                      mem_pool_printf(r->pool,
                                      "ended %d process%s left behind: %s", n,
                                      n > 1 ? "es" : "", str_text(&names)));
    str_free(&names);
}

/* No process is alive. May free the run. */
static void
finish(struct local_run *r)
{
    if (r->termed && !r->cancelled && !r->outcome.timed_out && !r->checked)
        tell_left_behind(r);
    capture_drain(&r->pipes);
    stop_timer(r);
    if (!checkout_end(r)) {
        proc_family_close(r->family);
        r->family = NULL;
        r->done = true;
    }
    if (!r->starting)
        r->order.changed(r->order.ctx);
}

/* Ends the rest of the family: TERM, the grace period, KILL. */
void
local_end_family(struct local_run *r)
{
    int64_t now = loop_now_ms();
    int signo = 0;

    if (r->hard || now >= r->kill_ms)
        signo = SIGKILL;
    else if (!r->termed)
        signo = SIGTERM;
    if (proc_family_gone(r->family) ||
        proc_family_signal(r->family, signo) == 0) {
        finish(r);
        return;
    }
    if (signo == SIGTERM)
        (void)proc_family_signal(r->family, SIGCONT);
    r->termed = true;
    set_timer(r, r->check_ms);
    r->check_ms *= 2;
    if (r->check_ms > CHECK_LAST_MS)
        r->check_ms = CHECK_LAST_MS;
}

void
local_end_steps(struct local_run *r)
{
    r->ending = true;
    capture_close_theirs(&r->pipes);
    r->check_ms = CHECK_FIRST_MS;
    r->kill_ms = loop_now_ms() + r->local->grace_ms;
    if (!r->cancelled && !r->outcome.timed_out)
        proc_family_let_go(r->family);
    local_end_family(r);
}

/* --- steps ---------------------------------------------------------------- */

/* What the system has ended for want of memory until now, or until at most
 * most_ms ago. */
static uint64_t
count_oom_kills(struct local *l, int64_t most_ms)
{
    int64_t now = loop_now_ms();

    if (!l->oom_ms || now - l->oom_ms >= most_ms) {
        l->oom_kills = os_oom_kills();
        l->oom_ms = now;
    }
    return l->oom_kills;
}

/* Whether a step that SIGKILL has ended, or so it says, was probably ended for
 * want of memory: not by us, and the system did that during the run. */
static bool
is_oom(const struct local_run *r)
{
    return !r->cancelled && !r->hard && !r->outcome.timed_out &&
           count_oom_kills(r->local, 0) > r->oom_kills;
}

/* Records the failure of the current step as the outcome; the first one
 * counts. */
static void fail_step(struct local_run *r, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
fail_step(struct local_run *r, int code, const char *fmt, ...)
{
    struct outcome *o = &r->outcome;
    const struct task *t = r->order.task;
    const char *name = t->steps[r->step].name;
    size_t len = 0;
    va_list ap;

    if (o->failed_step)
        return;
    o->failed_step = (uint32_t)r->step + 1;
    o->exit_code = code;
    if (t->n_steps > 1)
        (void)snprintf(o->reason, sizeof o->reason,
                       "step %u%s%s%s: ", o->failed_step, *name ? " (" : "",
                       STR_SHORT(name, 60), *name ? ")" : "");
    len = strlen(o->reason);
    va_start(ap, fmt);
    (void)vsnprintf(o->reason + len, sizeof o->reason - len, fmt, ap);
    va_end(ap);
}

static const char *
expand_home(struct local_run *r, const char *path)
{
    const char *home = environment_get(r->env, "HOME");

    if (path[0] != '~' || (path[1] && path[1] != '/') || !home)
        return path;
    return mem_pool_printf(r->pool, "%s%s", home, path + 1);
}

/* The folder of a step; NULL: the worker's. */
static const char *
find_workdir(struct local_run *r, const struct step *s)
{
    const char *base = r->workdir;
    const char *own = checkout_path(r, expand_home(r, s->workdir));

    if (*own && *own != '/' && base)
        return mem_pool_printf(r->pool, "%s/%s", base, own);
    return *own ? own : base;
}

/* Whether a step did not start because its folder does not exist: then it has
 * failed. Not checked beforehand, since this is rare. */
static bool
workdir_is_missing(struct local_run *r, const char *dir)
{
    struct stat st;

    if (!dir)
        return false;
    if (stat(dir, &st) < 0)
        fail_step(r, EXIT_OUR_SIDE, "workdir %s %s", STR_SHORT(dir, 150),
                  errno == ENOENT ? "does not exist" : strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        fail_step(r, EXIT_OUR_SIDE, "workdir %s is not a folder",
                  STR_SHORT(dir, 150));
    else
        return false;
    return true;
}

/* Whose PATH was searched, and what to do about it. */
static const char *
whose_path(struct local_run *r)
{
    char host[256] = "";

    if (r->order.task->n_submit_env &&
        environment_is_submitters(r->local->environment, r->order.task))
        return "the PATH of the submitter; give its path, or --env PATH=...";
    (void)gethostname(host, sizeof host - 1);
    return mem_pool_printf(r->pool,
                           "the PATH of the worker on %.60s; give its path, or "
                           "--env PATH=...",
                           host);
}

static void
step_not_started(struct local_run *r, const char *workdir,
                 const struct step_exec *x, const struct err *e)
{
    int code = EXIT_OUR_SIDE;

    if (workdir_is_missing(r, workdir))
        return;
    if (x->argv && e->code == ERR_NOT_FOUND)
        code = EXIT_NOT_FOUND;
    else if (x->argv && (e->code == ERR_DENIED || e->code == ERR_INVALID))
        code = EXIT_NOT_EXECUTABLE;
    r->scarce = e->code == ERR_UNAVAILABLE && r->step == 0;
    if (code == EXIT_NOT_FOUND && !strchr(x->argv[0], '/'))
        fail_step(r, code, "%s: no such program in %s",
                  STR_SHORT(x->argv[0], 80), whose_path(r));
    else
        fail_step(r, code, "%s", STR_SHORT(e->msg, 180));
}

static void on_step_end(void *ctx, const struct proc_end *end);

static int
run_exec(struct local_run *r, struct proc_opts *o, const struct step_exec *x,
         struct err *e)
{
    int rc;

    o->file = x->argv[0];
    o->argv = x->argv;
    o->in = x->in >= 0 ? x->in : r->input;
    rc = proc_start(r->local->set, o, on_step_end, r, &r->proc, e);
    if (x->in >= 0)
        (void)close(x->in);
    return rc;
}

/* False if the step could not be started, and has failed. */
static bool
start_step(struct local_run *r, struct err *e)
{
    const struct step *s = &r->order.task->steps[r->step];
    struct proc_opts o = {.env = r->env,
                          .out = r->pipes.ends[0].theirs,
                          .err = r->pipes.ends[1].theirs,
                          .family = r->family,
                          .umask = r->umask,
                          .expendable = true};
    const char *shell = r->local->shell;
    struct step_exec x;
    int rc;

    o.workdir = find_workdir(r, s);
    rc = step_exec(s, shell, r->exec_simple, r->pool, &x, e);
    if (rc == 0 && x.in >= 0 && r->input >= 0) {
        (void)close(x.in);
        rc = err_set(e, ERR_INVALID,
                     "a script that long is itself sent as standard input: a "
                     "task with --stdin keeps it in a file");
    }
    if (rc == 0)
        rc = run_exec(r, &o, &x, e);
    if (rc < 0 && x.simple && e->code != ERR_UNAVAILABLE) {
        /* The shell gives the best message, or can run it after all. */
        rc = step_exec(s, shell, false, r->pool, &x, e);
        if (rc == 0)
            rc = run_exec(r, &o, &x, e);
    }
    if (rc < 0) {
        step_not_started(r, o.workdir, &x, e);
        return false;
    }
    if (s->timeout_ms > 0) {
        r->kill_ms = INT64_MAX;
        set_timer(r, (int64_t)s->timeout_ms);
    }
    return true;
}

/* Starts the next step or ends the task. May free the run. */
void
local_advance(struct local_run *r, struct err *e)
{
    if (r->step == r->order.task->n_steps || r->cancelled ||
        r->outcome.failed_step || !start_step(r, e))
        local_end_steps(r);
    else if (r->step + 1 == r->order.task->n_steps)
        capture_close_theirs(&r->pipes); /* only the family holds them now */
}

static void
on_step_end(void *ctx, const struct proc_end *end)
{
    struct local_run *r = ctx;
    struct outcome *o = &r->outcome;
    struct err e;

    r->proc = NULL;
    if (!r->ending)
        stop_timer(r);
    if (end->max_rss_bytes > o->max_rss_bytes)
        o->max_rss_bytes = end->max_rss_bytes;
    o->cpu_ms += end->cpu_ms;
    if (end->signalled) {
        if (!o->failed_step)
            o->signal = end->code;
        fail_step(r, EXIT_SIGNAL + end->code, "killed by signal %d (%s)%s",
                  end->code, strsignal(end->code),
                  end->code == SIGKILL && is_oom(r) ? OUT_OF_MEMORY : "");
    } else if (end->code == EXIT_NOT_FOUND) {
        fail_step(r, end->code,
                  "exit code 127, as of a program that is not in "
                  "%s",
                  whose_path(r));
    } else if (end->code != 0) {
        fail_step(r, end->code, "exit code %d%s", end->code,
                  end->code == EXIT_SIGNAL + SIGKILL && is_oom(r)
                      ? OUT_OF_MEMORY
                      : "");
    } else if (!r->cancelled) {
        r->step++;
    }
    local_advance(r, &e);
}

static void
on_timer(void *ctx)
{
    struct local_run *r = ctx;
    char text[32];

    if (r->ending) {
        local_end_family(r);
    } else if (r->kill_ms == INT64_MAX) { /* the step's limit */
        (void)str_duration(r->order.task->steps[r->step].timeout_ms, text,
                           sizeof text);
        fail_step(r, EXIT_OUR_SIDE, "ran longer than %s", text);
        r->outcome.timed_out = true;
        r->kill_ms = loop_now_ms() + r->local->grace_ms;
        (void)proc_family_signal(r->family, SIGTERM);
        (void)proc_family_signal(r->family, SIGCONT);
        set_timer(r, r->local->grace_ms);
    } else {
        (void)proc_family_signal(r->family, SIGKILL);
        set_timer(r, CHECK_LAST_MS);
    }
}

/* --- the executor --------------------------------------------------------- */

/* A run that is zeroed except for its local and its pool. */
static struct local_run *
run_new(struct local *l)
{
    struct local_run *r = l->spare;
    struct mem_pool *pool;

    if (!r) {
        r = MEM_NEW(struct local_run);
        r->pool = mem_pool_new();
    } else {
        l->spare = r->next;
        l->n_spare--;
    }
    pool = r->pool;
    *r = (struct local_run){.local = l, .pool = pool, .input = -1};
    return r;
}

static void
run_free(struct local_run *r)
{
    struct local *l = r->local;

    if (l->n_spare < SPARE_MAX) {
        mem_pool_reset(r->pool);
        r->next = l->spare;
        l->spare = r;
        l->n_spare++;
        return;
    }
    mem_pool_free(r->pool);
    mem_free(r);
}

static void
local_free(void *run)
{
    struct local_run *r = run;

    if (!r)
        return;
    if (r->proc)
        proc_forget(r->proc);
    for (int i = 0; r->family && i < 3; i++)
        if (proc_family_signal(r->family, SIGKILL) == 0)
            break;
    proc_family_close(r->family);
    stop_timer(r);
    input_fetch_close(r->fetch);
    checkout_release(r);
    capture_close(&r->pipes);
    if (r->input >= 0)
        (void)close(r->input);
    run_free(r);
}

/* The task's variables, umask and standard input. */
static int
set_environment(struct local_run *r, struct err *e)
{
    const struct environment *env = r->local->environment;
    const struct task *t = r->order.task;
    const char **secrets;

    if (environment_secrets(env, t, r->pool, &secrets, e) < 0)
        return -1;
    environment_hide(env, &r->order, secrets);
    r->env = environment_of(env, &r->order, secrets, r->pool, &r->exec_simple);
    if (*t->umask && environment_is_submitters(env, t))
        r->umask = PROC_UMASK | (unsigned)strtoul(t->umask, NULL, 8);
    if (!t->input)
        return 0;
    r->input = os_scratch_file();
    if (r->input < 0 ||
        file_write_all(r->input, t->input->data.data, t->input->data.len) < 0 ||
        lseek(r->input, 0, SEEK_SET) < 0)
        return err_set(e, ERR_UNAVAILABLE, "no memory for standard input: %s",
                       strerror(errno));
    return 0;
}

static int
local_start(void *ctx, const struct run_order *order, void **out, struct err *e)
{
    struct local *l = ctx;
    struct local_run *r;
    const char *base;

    if (order->task->n_steps == 0)
        return err_set(e, ERR_INVALID,
                       "a local worker runs steps, and the "
                       "task has none");
    r = run_new(l);
    r->order = *order;
    if (capture_open(&r->pipes, l->reader, order->output, e) < 0) {
        local_free(r);
        return -1;
    }
    if (set_environment(r, e) < 0) {
        local_free(r);
        return -1;
    }
    r->family = proc_family_open(l->set, order->mark);
    r->oom_kills = count_oom_kills(l, OOM_COUNT_MS);
    base = expand_home(r, order->task->workdir);
    r->workdir = *base ? base : NULL; /* steps may have their own */
    r->starting = true;
    checkout_begin(r, e);
    if (r->scarce) {
        local_free(r);
        return -1;
    }
    r->starting = false;
    if (!r->done)
        capture_watch(&r->pipes);
    *out = r;
    return 0;
}

static enum run_status
local_poll(void *run, struct outcome *out)
{
    struct local_run *r = run;

    if (!r->done)
        return r->preparing  ? RUN_PREPARES
               : r->checking ? RUN_CHECKS
                             : RUN_BUSY;
    *out = r->outcome;
    return RUN_DONE;
}

static void
local_cancel(void *run, bool hard, bool leave)
{
    struct local_run *r = run;
    (void)leave; /* no part of it runs elsewhere */
    if (r->done)
        return;
    r->cancelled = true;
    r->hard = r->hard || hard;
    if (r->ending) {
        set_timer(r, 0);
        return;
    }
    (void)proc_family_signal(r->family, hard ? SIGKILL : SIGTERM);
    if (!hard)
        (void)proc_family_signal(r->family, SIGCONT);
}

/* A step's limit, and the grace of what is to end. */
static void
local_put_off(void *run, int64_t ms)
{
    struct local_run *r = run;

    checkout_put_off(r);
    if (r->kill_ms != INT64_MAX)
        r->kill_ms += ms;
    if (r->timer && !r->ending && !r->checking)
        set_timer(r, r->due_ms + ms - loop_now_ms());
}

const struct executor local_executor = {.name = "local",
                                        .start = local_start,
                                        .poll = local_poll,
                                        .cancel = local_cancel,
                                        .put_off = local_put_off,
                                        .free = local_free};

int
local_open(struct local **out, struct loop *l, const char *shell,
           int64_t grace_ms, struct err *e)
{
    const struct rlimit no_core = {0, 0};
    struct local *local = MEM_NEW(struct local);

    if (proc_set_open(&local->set, l, true, e) < 0) {
        mem_free(local);
        return -1;
    }
    (void)setrlimit(RLIMIT_CORE, &no_core);
    local->loop = l;
    local->reader = capture_reader_new(l);
    local->shell = access(shell, X_OK) == 0 ? shell : "/bin/sh";
    local->grace_ms = grace_ms;
    local->environment = environment_read();
    *out = local;
    return 0;
}

void
local_use_worktrees(struct local *l, const char *folder)
{
    const struct git_command_conf git = {
        .loop = l->loop,
        .set = l->set,
        .env = (const char *const *)(uintptr_t)environ};

    l->worktrees = folder;
    l->prune = worktree_prune_start(&git, folder);
}

void
local_close(struct local *l)
{
    struct local_run *r;

    if (!l)
        return;
    while ((r = l->spare) != NULL) {
        l->spare = r->next;
        mem_pool_free(r->pool);
        mem_free(r);
    }
    worktree_prune_stop(l->prune);
    capture_reader_free(l->reader);
    proc_set_close(l->set);
    environment_free(l->environment);
    mem_free(l);
}
