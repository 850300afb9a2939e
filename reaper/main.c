/*
 * reaper - keeps the ledger: what was accepted, where it went, how it ended.
 *
 * Reads    tasks.in, tasks.bulk, tasks.*.*, results.*.*, $KV.control.cancel.*
 *          (durables ledger and reaper), $KV.control.lane.>, hb.>, started.*,
 *          KV_claims
 * Writes   done.<task>, batch.<batch>, results.ledger.*, claims of tasks that
 *          are cancelled before they ran, tasks.in (released tasks),
 *          $KV.control.lane.* (pauses, before the bucket expires them)
 * Answers  ask.ledger.* (proto/SUBJECTS.md), HTTP if reaper.http is set
 * Files    the database and its lock, reports/ below the report root
 * Config   the reaper section of config.yaml, see REAPER_CONF
 * Signals  TERM and INT stop intake, commit the messages in hand, then exit
 * Exit     0 asked to stop, 1 could not start, lost its permissions, or could
 *          not write the database (messages not committed are redelivered)
 */
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/version.h"
#include "lib/bus/bus.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/io/loop.h"
#include "lib/os/os.h"
#include "reaper/reaper.h"
#include "reaper/sources.h"

#include <unistd.h>

struct reaper_program {
    struct reaper_conf conf;
};

static const struct conf_opt options[] = {
    REAPER_CONF(struct reaper_program, conf), CONF_END};

static int
verify(struct bus *b, struct err *e)
{
    for (int i = 0; i < SOURCES_N; i++)
        if (jetstream_verify(b, sources_list[i].stream, sources_list[i].durable,
                             e) < 0)
            return -1;
    return jetstream_verify(b, "KV_claims", NULL, e);
}

int
main(int argc, char **argv)
{
    struct reaper_program program = {0};
    struct reaper_conf *conf = &program.conf;
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct reaper *reaper = NULL;
    struct err e = {0};
    int rc = 1;

    mem_setup();
    log_open("reaper");
    os_hide_memory();
    if (conf_load(&program, options,
                  "shunt-reaper - keeps the ledger of all tasks", argc, argv,
                  &e) < 0 ||
        loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &conf->bus, "reaper", conf->connect_timeout_ms,
                 &e) < 0 ||
        verify(bus, &e) < 0 || reaper_open(&reaper, bus, loop, conf, &e) < 0) {
        log_error("reaper.start", "error=\"%s\"", LOG_TEXT(e.msg));
    } else {
        (void)nice((int)conf->nice); /* lowering the priority always succeeds */
        loop_on_term(loop, reaper_drain, reaper);
        log_info("reaper.start", "url=%s version=%s", bus_url(bus),
                 shunt_version);
        mem_trim();
        rc = loop_run(loop); /* until a signal, or until the bus gives up */
        log_info("reaper.stop", "rc=%d", rc);
    }

    reaper_close(reaper);
    bus_close(bus);
    loop_close(loop); /* runs the last close callbacks */
    conf_free(&program, options);
    return rc;
}
