/*
 * shunt-worker-local - runs tasks as child processes on this machine.
 *
 * Reads    tasks.local.<lane>, $KV.control.cancel.*, ctl.local.<worker>
 * Writes   results.local.<source>, logs.<task>, dead.local, claims.local.*,
 *          started.<task>, hb.local.<worker>
 * Config   the worker and local sections of config.yaml, see options below
 * Signals  TERM and INT take nothing new, let tasks finish for
 *          worker.drain_timeout, then hand them back; a second one kills
 * Exit     0 asked to stop, 1 could not start or was denied by the bus
 */
#include "lib/conf.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "workers/local/local.h"
#include "workers/worker.h"

#include <signal.h>

struct main_conf {
    struct worker_conf worker;
    char *shell;
};

static const struct conf_opt options[] = {
    WORKER_CONF(struct main_conf, worker),
    CONF_LIST(struct main_conf, worker.lanes, "worker.lanes", "default",
              "lanes to take tasks from"),
    CONF_STR(struct main_conf, shell, "local.shell", "/bin/bash",
             "runs scripts; /bin/sh if it does not exist"),
    CONF_END,
};

static const char about[] =
    "shunt-worker-local - runs tasks as child processes on this machine";

/*
 * While the bus starts its threads: they inherit what is blocked. The end of a
 * child that came to one of them would interrupt its wait, which the library
 * takes for the end of the connection.
 */
static void
block_sigchld(int how)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    (void)pthread_sigmask(how, &set, NULL);
}

int
main(int argc, char **argv)
{
    struct main_conf conf = {0};
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct local *local = NULL;
    struct worker *worker = NULL;
    struct err e = {0};
    int rc = 1;

    mem_setup();
    log_open("worker-local");
    block_sigchld(SIG_BLOCK);
    if (conf_load(&conf, options, about, argc, argv, &e) < 0 ||
        loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &conf.worker.bus, "worker-local",
                 conf.worker.connect_timeout_ms, &e) < 0 ||
        local_open(&local, loop, conf.shell, conf.worker.grace_ms, &e) < 0 ||
        worker_open(&worker, bus, loop, &conf.worker, &local_executor, local,
                    &e) < 0) {
        log_error("worker.start", "error=\"%s\"", e.msg);
    } else {
        block_sigchld(SIG_UNBLOCK);
        loop_on_term(loop, worker_drain, worker);
        rc = loop_run(loop); /* until drained, or until the bus gives up */
    }

    worker_close(worker);
    local_close(local);
    bus_close(bus);
    loop_close(loop); /* runs the last close callbacks */
    conf_free(&conf, options);
    return rc;
}
