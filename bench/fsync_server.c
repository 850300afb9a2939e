/*
 * fsync_server - the fsync server of `shunt up` (fleet/fsync_server) for a
 * benchmark's fleet, which has no supervisor.
 *
 * usage: fsync_server --fsync-store DIR      and the options of any daemon that
 *                                            name the broker
 *
 * Writes   "ready" once it answers
 * Exit     0 after TERM or INT, 1 could not start or was denied by the bus
 */
#include "fleet/fsync_server.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <stdio.h>

struct fsync_conf {
    struct bus_conf bus;
    char *store;
};

static const struct conf_opt options[] = {
    CONF_BUS(struct fsync_conf, bus),
    CONF_STR(struct fsync_conf, store, "fsync.store", "",
             "the broker's store_dir"),
    CONF_END,
};

int
main(int argc, char **argv)
{
    struct fsync_conf conf = {0};
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct fsync_server *server = NULL;
    struct err e = {0};
    int rc = 1;

    mem_setup();
    log_open("fsync-server");
    if (conf_load(&conf, options, "fsync_server - for benchmarks", argc, argv,
                  &e) < 0 ||
        loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &conf.bus, "supervisor", 5000, &e) < 0 ||
        fsync_server_open(&server, bus, loop, conf.store, &e) < 0) {
        log_error("fsync_server.start", "error=\"%s\"", e.msg);
    } else {
        (void)puts("ready");
        (void)fflush(stdout);
        loop_on_term(loop, NULL, NULL);
        rc = loop_run(loop);
    }
    fsync_server_close(server);
    bus_close(bus);
    loop_close(loop);
    conf_free(&conf, options);
    return rc;
}
