/*
 * worker_noop - a worker whose tasks end as soon as they start.
 *
 * Lanes, claims, outcomes and results are those of workers/core; the executor
 * does nothing. So the time of a task is what shunt itself costs.
 *
 * Reads    the lanes of backend local that worker.lanes names
 * Writes   as every worker: claims, results, heartbeats, started.*
 * Config   the sections bus and worker of config.yaml
 * Signals  TERM and INT drain, a second one kills
 * Exit     0 asked to stop, 1 could not start or was denied by the bus
 */
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "workers/core/worker.h"

/* --- the executor -------------------------------------------------------- */

struct noop_run {
    bool over; /* always: nothing is ever running */
};

static struct noop_run done = {.over = true};

static int
noop_start(void *ctx, const struct run_order *order, void **out, struct err *e)
{
    (void)ctx;
    (void)order;
    (void)e;
    *out = &done; /* they are all alike */
    return 0;
}

static enum run_status
noop_poll(void *run, struct outcome *out)
{
    struct noop_run *r = run;

    *out = (struct outcome){.exit_code = 0};
    return r->over ? RUN_DONE : RUN_BUSY;
}

static void
noop_cancel(void *run, bool hard, bool leave)
{
    struct noop_run *r = run;
    (void)leave;
    (void)r;
    (void)hard;
}

static void
noop_free(void *run)
{
    struct noop_run *r = run;
    (void)r;
}

static const struct executor noop = {.name = "local",
                                     .start = noop_start,
                                     .poll = noop_poll,
                                     .cancel = noop_cancel,
                                     .free = noop_free};

/* --- the program --------------------------------------------------------- */

struct noop_main_conf {
    struct worker_conf worker;
};

static const struct conf_opt options[] = {
    WORKER_CONF(struct noop_main_conf, worker),
    CONF_LIST(struct noop_main_conf, worker.lanes, "worker.lanes", "default",
              "lanes to take tasks from"),
    CONF_END,
};

int
main(int argc, char **argv)
{
    struct noop_main_conf conf = {0};
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct state_dir *home = NULL;
    struct worker *worker = NULL;
    struct err e = {0};
    int rc = 1;

    mem_setup();
    log_open("worker-noop");
    if (conf_load(&conf, options, "worker_noop - ends every task at once", argc,
                  argv, &e) < 0 ||
        state_dir_open(&home, conf.worker.name, conf.worker.state_dir, &e) <
            0 ||
        loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &conf.worker.bus, "worker-local",
                 conf.worker.connect_timeout_ms, &e) < 0 ||
        worker_open(&worker, bus, loop, &conf.worker, home, &noop, NULL, &e) <
            0) {
        log_error("worker.start", "error=\"%s\"", e.msg);
    } else {
        loop_on_term(loop, worker_drain, worker);
        rc = loop_run(loop); /* until drained, or until the bus gives up */
    }

    worker_close(worker);
    bus_close(bus);
    loop_close(loop); /* runs the last close callbacks */
    state_dir_close(home);
    conf_free(&conf, options);
    return rc;
}
