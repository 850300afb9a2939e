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

const struct arg_opt provision_opts[] = {ARG_END};

static const struct conf_opt opts[] = {
    CONF_INT(struct jetstream_conf, replicas, "bus.replicas", "1", 1, 5,
             "copies of each stream"),
    CONF_BYTES(struct jetstream_conf, max_bytes, "bus.max_bytes", "2G", -1,
               INT64_MAX,
               "largest size of each durable stream; -1 for no limit"),
    CONF_MS(struct jetstream_conf, max_age_ms, "bus.max_age", "30d", 3600000,
            INT64_MAX / 1000000, "how long to keep tasks and results"),
    CONF_MS(struct jetstream_conf, log_retention_ms, "bus.log_retention", "7d",
            60000, INT64_MAX / 1000000, "how long to keep output"),
    CONF_BYTES(struct jetstream_conf, log_max_bytes, "bus.log_max_bytes", "2G",
               -1, INT64_MAX,
               "largest size of all output together; -1 for no limit"),
    CONF_LIST(struct jetstream_conf, lanes, "bus.lanes", "",
              "additional lanes, named backend.lane"),
    CONF_END};

/* The rest of the section, read by cli_find_broker. */
struct all {
    struct jetstream_conf topology;
    struct bus_conf bus;
};

int
provision_conf(struct jetstream_conf *out, struct err *e)
{
    static struct all all;
    static const struct conf_opt bus[] = {CONF_BUS(struct all, bus), CONF_END};
    struct conf_opt
        both[sizeof opts / sizeof opts[0] + sizeof bus / sizeof bus[0]];
    size_t n = 0, i;

    for (i = 0; opts[i].key; i++)
        both[n++] = opts[i];
    for (i = 0; bus[i].key; i++)
        both[n++] = bus[i];
    both[n] = (struct conf_opt)CONF_END;
    if (conf_load(&all, both, "", 0, NULL, e) < 0)
        return -1;
    *out = all.topology;
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
        (void)printf("%s\t%s\n", what, name);
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
