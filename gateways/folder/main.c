/*
 * gateway-folder - watches folders: files become tasks, outcomes are written
 * back.
 *
 * Reads    files in the folders of folder.folders; results.*.folder (durable
 *          gateway_folder); answers to ask.ledger.show
 * Writes   tasks.in, tasks.bulk; the folders, and reports/codex_runs beside an
 *          inbox
 * Config   the sections bus and folder of config.yaml: FOLDER_CONF in folder.h
 * Signals  TERM and INT stop intake, finish what is being stored, then exit;
 *          a second one exits at once; USR1 reads folder.added again
 * Exit     0 asked to stop, 1 could not start or lost its rights on the bus
 */
#include "gateways/folder/folder.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/version.h"
#include "lib/bus/bus.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/io/loop.h"
#include "lib/os/os.h"

struct gateway_program {
    struct folder_conf conf;
};

static const struct conf_opt options[] = {
    FOLDER_CONF(struct gateway_program, conf), CONF_END};

static int
verify(struct bus *b, struct err *e)
{
    if (jetstream_verify(b, "TASKS_IN", NULL, e) < 0)
        return -1;
    return jetstream_verify(b, "RESULTS", "gateway_folder", e);
}

int
main(int argc, char **argv)
{
    struct gateway_program program = {0};
    struct folder_conf *conf = &program.conf;
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct folder *folder = NULL;
    struct err e = {0};
    int rc = 1;

    mem_setup();
    log_open("gateway-folder");
    os_hide_memory();
    if (conf_load(&program, options,
                  "shunt-gateway-folder - submits files in folders as tasks",
                  argc, argv, &e) < 0 ||
        loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &conf->bus, "gateway-folder",
                 conf->connect_timeout_ms, &e) < 0 ||
        verify(bus, &e) < 0 || folder_open(&folder, bus, loop, conf, &e) < 0) {
        log_error("folder.start", "error=\"%s\"", LOG_TEXT(e.msg));
    } else {
        loop_on_term(loop, folder_drain, folder);
        log_info("folder.start", "url=%s version=%s", bus_url(bus),
                 shunt_version);
        mem_trim();
        rc = loop_run(loop); /* until a signal, or until the bus gives up */
        log_info("folder.stop", "rc=%d", rc);
    }

    folder_close(folder);
    bus_close(bus);
    loop_close(loop); /* runs the last close callbacks */
    conf_free(&program, options);
    return rc;
}
