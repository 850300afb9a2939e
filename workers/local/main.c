/*
 * shunt-worker-local - runs tasks as child processes on this machine.
 *
 * Reads    tasks.local.<lane>, $KV.control.cancel.*, ctl.local.<worker>
 * Writes   results.local.<source>, logs.<task>, dead.local, claims.local.*,
 *          started.<task>, hb.local.<worker>
 *          worker.state_dir: outcomes the broker has not confirmed, work
 *          trees of tasks that name a branch
 * Config   the worker and local sections of config.yaml, see options below
 * Signals  TERM and INT stop intake, let tasks finish for
 *          worker.drain_timeout, then hand them back; a second one kills
 * Exit     0 asked to stop, 1 could not start or was denied by the bus
 *
 * Processes left by an earlier process of this worker are killed at start, and
 * its work trees removed, unless there is something in them.
 */
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/os/os.h"
#include "workers/core/worker.h"
#include "workers/local/environment.h"
#include "workers/local/guard.h"
#include "workers/local/local.h"
#include "workers/local/orphans.h"

enum { ORPHANS_MS = 5000 };

struct local_main_conf {
    struct worker_conf worker;
    char *shell;
};

static const struct conf_opt options[] = {
    WORKER_CONF(struct local_main_conf, worker),
    CONF_LIST(struct local_main_conf, worker.lanes, "worker.lanes", "default",
              "lanes to take tasks from"),
    CONF_STR(struct local_main_conf, shell, "local.shell", "/bin/bash",
             "shell for scripts; /bin/sh if it does not exist"),
    CONF_END,
};

static const char about[] =
    "shunt-worker-local - runs tasks as child processes on this machine";

/* Kills orphans before any of their tasks can run again. */
static int
open_state(struct state_dir **out, const struct worker_conf *conf,
           struct err *e)
{
    int left;

    if (state_dir_open(out, conf->name, conf->state_dir, e) < 0)
        return -1;
    left = orphans_kill(state_dir_worker_mark(*out), ORPHANS_MS);
    if (left > 0)
        log_error("worker.orphans",
                  "left=%d text=\"processes of an earlier process of this "
                  "worker do not end\"",
                  left);
    return 0;
}

static int
open_local(struct local **out, struct loop *l,
           const struct local_main_conf *conf, const struct state_dir *state,
           struct err *e)
{
    if (local_open(out, l, conf->shell, conf->worker.grace_ms, e) < 0)
        return -1;
    local_use_worktrees(*out, state_dir_worktrees(state));
    environment_publish();
    return 0;
}

int
main(int argc, char **argv)
{
    struct local_main_conf conf = {0};
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct state_dir *state = NULL;
    struct local *local = NULL;
    struct worker *worker = NULL;
    struct loop_signal *gone = NULL; /* the guard is */
    struct err e = {0};
    int rc = 1;

    mem_setup();
    log_open("worker-local");
    os_hide_memory(); /* tasks run as the same user */
    if (conf_load(&conf, options, about, argc, argv, &e) < 0 ||
        guard_start(&e) < 0 || open_state(&state, &conf.worker, &e) < 0 ||
        loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &conf.worker.bus, "worker-local",
                 conf.worker.connect_timeout_ms, &e) < 0 ||
        open_local(&local, loop, &conf, state, &e) < 0 ||
        worker_open(&worker, bus, loop, &conf.worker, state, &local_executor,
                    local, &e) < 0) {
        log_error("worker.start", "error=\"%s\"", e.msg);
    } else {
        gone = guard_watch(loop);
        loop_on_term(loop, worker_drain, worker);
        mem_trim();
        rc = loop_run(loop); /* until drained, or until the bus gives up */
    }

    loop_signal_stop(gone);
    worker_close(worker);
    local_close(local);
    bus_close(bus);
    loop_close(loop); /* runs the last close callbacks */
    state_dir_close(state);
    conf_free(&conf, options);
    return rc;
}
