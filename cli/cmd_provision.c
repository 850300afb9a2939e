/*
 * The command provision: creates or updates the streams and consumers, and
 * prints each with what was done to it.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "lib/base/conf.h"
#include "lib/bus/jetstream_setup.h"

#include <stdio.h>
#include <string.h>

/* The section bus; cli_find_broker reads its other half. */
struct bus_section {
    struct jetstream_conf jetstream;
    struct bus_conf bus;
};

static const struct conf_opt opts[] = {
    CONF_INT(struct bus_section, jetstream.replicas, "bus.replicas", "1", 1, 5,
             "copies of each stream"),
    CONF_BYTES(struct bus_section, jetstream.max_bytes, "bus.max_bytes", "2G",
               -1, INT64_MAX,
               "largest size of each durable stream; -1 for no limit"),
    CONF_MS(struct bus_section, jetstream.max_age_ms, "bus.max_age", "30d",
            3600000, INT64_MAX / 1000000, "how long to keep tasks and results"),
    CONF_MS(struct bus_section, jetstream.log_retention_ms, "bus.log_retention",
            "7d", 60000, INT64_MAX / 1000000, "how long to keep output"),
    CONF_BYTES(struct bus_section, jetstream.log_max_bytes, "bus.log_max_bytes",
               "2G", -1, INT64_MAX,
               "largest size of all output together; -1 for no limit"),
    CONF_LIST(struct bus_section, jetstream.lanes, "bus.lanes", "",
              "additional lanes, named backend.lane"),
    CONF_BUS(struct bus_section, bus),
    CONF_END};

int
provision_conf(struct jetstream_conf *out, struct err *e)
{
    static struct bus_section section;

    if (conf_load(&section, opts, "", 0, NULL, e) < 0)
        return -1;
    *out = section.jetstream;
    return 0;
}

struct provision_report {
    const struct cli *c;
    json_t *list;
    size_t changed;
};

static void
on_object(void *ctx, const char *what, const char *name)
{
    struct provision_report *r = ctx;

    r->changed += strcmp(what, "ok") != 0;
    (void)json_array_append_new(
        r->list, json_pack("{s:s, s:s}", "name", name, "what", what));
    if (!r->c->json)
        out_line("%s\t%s", what, name);
}

int
cmd_provision(struct cli *c, const struct args *a)
{
    struct provision_report r = {.c = c};
    struct jetstream_conf conf;
    struct err e = {0};
    int rc;

    if (cli_no_arguments(c, a))
        return RC_USAGE;
    rc = cli_need_broker(c, 5000);
    if (rc)
        return rc;
    if (provision_conf(&conf, &e) < 0)
        return cli_fail_err("read the configuration", NULL, &e, "shunt doctor");
    r.list = json_array();
    if (jetstream_provision(c->bus, &conf, on_object, &r, &e) < 0) {
        json_decref(r.list);
        return cli_fail_err("provision", bus_url(c->bus), &e, "shunt doctor");
    }
    if (c->json)
        out_object("provision", json_pack("{s:o}", "objects", r.list));
    else
        json_decref(r.list);
    if (!r.changed)
        cli_say(c, "everything is up to date");
    return RC_OK;
}
