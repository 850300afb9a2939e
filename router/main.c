/*
 * router - decides where tasks run.
 *
 * Reads    tasks.in, tasks.bulk (durable router), hb.> to know the workers,
 *          $KV.control.cancel.*
 * Writes   tasks.<backend>.<lane>, results.router.<source> (rejected, or
 *          cancelled before they were routed), claims of these, dead.router
 * Config   the sections bus and router of config.yaml: ROUTER_CONF in router.h
 * Signals  TERM and INT stop intake, store the pending decisions, then exit;
 *          a second one exits at once; HUP reads the policy again
 * Exit     0 asked to stop, 1 could not start or lost its rights on the bus
 */
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/version.h"
#include "lib/bus/bus.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/io/loop.h"
#include "lib/os/os.h"
#include "router/router.h"

#include <signal.h>

struct router_program {
    struct router_conf conf;
};

static const struct conf_opt options[] = {
    ROUTER_CONF(struct router_program, conf), CONF_END};

static int
verify(struct bus *b, struct err *e)
{
    if (jetstream_verify(b, "TASKS_IN", "router", e) < 0 ||
        jetstream_verify(b, "TASKS", NULL, e) < 0 ||
        jetstream_verify(b, "RESULTS", NULL, e) < 0 ||
        jetstream_verify(b, "KV_claims", NULL, e) < 0 ||
        jetstream_verify(b, "KV_control", NULL, e) < 0)
        return -1;
    return jetstream_verify(b, "DEAD", NULL, e);
}

int
main(int argc, char **argv)
{
    struct router_program program = {0};
    struct router_conf *conf = &program.conf;
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct router *router = NULL;
    struct loop_signal *hup = NULL;
    struct err e = {0};
    int rc = 1;

    mem_setup();
    log_open("router");
    os_hide_memory();
    if (conf_load(&program, options,
                  "shunt-router - decides where each task runs", argc, argv,
                  &e) < 0 ||
        loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &conf->bus, "router", conf->connect_timeout_ms,
                 &e) < 0 ||
        verify(bus, &e) < 0 || router_open(&router, bus, loop, conf, &e) < 0) {
        log_error("router.start", "error=\"%s\"", LOG_TEXT(e.msg));
    } else {
        loop_on_term(loop, router_drain, router);
        hup = loop_signal_start(loop, SIGHUP, router_reload, router);
        log_info("router.start", "url=%s version=%s", bus_url(bus),
                 shunt_version);
        mem_trim();
        rc = loop_run(loop); /* until a signal, or until the bus gives up */
        log_info("router.stop", "rc=%d", rc);
    }

    loop_signal_stop(hup);
    router_close(router);
    bus_close(bus);
    loop_close(loop); /* runs the last close callbacks */
    conf_free(&program, options);
    return rc;
}
