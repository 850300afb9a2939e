/*
 * fsync_server - confirms to a benchmark's fleet what the supervisor of `shunt
 * up` confirms to its own (fleet/fsync_server).
 *
 * usage: keeper --keeper-store DIR      the broker as for any daemon; until
 * TERM
 */
#include "fleet/fsync_server.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <stdio.h>

struct keeper_conf {
    struct bus_conf bus;
    char *store;
};

static const struct conf_opt options[] = {
    CONF_BUS(struct keeper_conf, bus),
    CONF_STR(struct keeper_conf, store, "keeper.store", "",
             "the broker's store_dir"),
    CONF_END,
};

int
main(int argc, char **argv)
{
    struct keeper_conf conf = {0};
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct fsync_server *keeper = NULL;
    struct err e = {0};
    int rc = 1;

    mem_setup();
    log_open("keeper");
    if (conf_load(&conf, options, "keeper - for benchmarks", argc, argv, &e) <
            0 ||
        loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &conf.bus, "supervisor", 5000, &e) < 0 ||
        fsync_server_open(&keeper, bus, loop, conf.store, &e) < 0) {
        log_error("keeper.start", "error=\"%s\"", e.msg);
    } else {
        (void)puts("ready");
        (void)fflush(stdout);
        loop_on_term(loop, NULL, NULL);
        rc = loop_run(loop);
    }
    fsync_server_close(keeper);
    bus_close(bus);
    loop_close(loop);
    conf_free(&conf, options);
    return rc;
}
