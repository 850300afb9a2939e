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

enum { MAX_AGE_LEAST = 3600 * 1000, LOG_RETENTION_LEAST = 60 * 1000 };

static const struct conf_opt opts[] = {
    CONF_INT(struct bus_section, jetstream.replicas, "bus.replicas", "0", 0, 5,
             "copies of each stream; 0: as the fleet has it, 1 in a new one"),
    CONF_BYTES(struct bus_section, jetstream.max_bytes, "bus.max_bytes", "0",
               -1, INT64_MAX,
               "largest size of each durable stream; -1 for no limit; 0: as "
               "the fleet has it, 2G in a new one"),
    CONF_MS(struct bus_section, jetstream.max_age_ms, "bus.max_age", "0", 0,
            INT64_MAX / 1000000,
            "how long to keep tasks and results, at least 1h; 0: as the fleet "
            "has it, 30d in a new one"),
    CONF_MS(struct bus_section, jetstream.log_retention_ms, "bus.log_retention",
            "0", 0, INT64_MAX / 1000000,
            "how long to keep output, at least 1m; 0: as the fleet has it, 7d "
            "in a new one"),
    CONF_BYTES(struct bus_section, jetstream.log_max_bytes, "bus.log_max_bytes",
               "0", -1, INT64_MAX,
               "largest size of all output together; -1 for no limit; 0: as "
               "the fleet has it, 2G in a new one"),
    CONF_LIST(struct bus_section, jetstream.lanes, "bus.lanes", "",
              "additional lanes, named backend.lane"),
    CONF_BUS(struct bus_section, bus),
    CONF_END};

static int
check_least(const char *key, int64_t value, int64_t least, struct err *e)
{
    if (value == 0 || value >= least)
        return 0;
    return err_set(e, ERR_INVALID, "%s: %lld ms is less than %lld ms", key,
                   (long long)value, (long long)least);
}

int
provision_conf(struct jetstream_conf *out, struct err *e)
{
    static struct bus_section section;

    if (conf_load(&section, opts, "", 0, NULL, e) < 0 ||
        check_least("bus.max_age", section.jetstream.max_age_ms, MAX_AGE_LEAST,
                    e) < 0 ||
        check_least("bus.log_retention", section.jetstream.log_retention_ms,
                    LOG_RETENTION_LEAST, e) < 0)
        return -1;
    *out = section.jetstream;
    return 0;
}

struct provision_report {
    const struct cli *c;
    json_t *list;
    size_t changed;
};

static struct {
    bool change, allow_shrink, dry_run;
} flags;

const struct arg_opt provision_opts[] = {
    {"change", 0, NULL,
     "change the fleet's settings to what the configuration here says",
     ARG_SWITCH, .to = &flags.change},
    {"allow-shrink", 0, NULL,
     "the same, also where the fleet gets less, which may delete messages",
     ARG_SWITCH, .to = &flags.allow_shrink},
    {"dry-run", 0, NULL, "only print what would be created and changed",
     ARG_SWITCH, .to = &flags.dry_run},
    ARG_END,
};

static void
on_object(void *ctx, const char *what, const char *name, const char *changes)
{
    struct provision_report *r = ctx;

    r->changed += strcmp(what, "ok") != 0;
    (void)json_array_append_new(r->list,
                                json_pack("{s:s, s:s, s:s}", "name", name,
                                          "what", what, "changes", changes));
    if (!r->c->json)
        out_line("%s\t%s%s%s", what, name, *changes ? "\t" : "", changes);
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
    if (jetstream_provision(c->bus, &conf,
                            &(struct jetstream_rules){
                                .change = flags.change || flags.allow_shrink,
                                .allow_shrink = flags.allow_shrink,
                                .dry_run = flags.dry_run,
                                .by = cli_user(c->pool)},
                            on_object, &r, &e) < 0) {
        json_decref(r.list);
        if (e.code == ERR_CONFLICT)
            return cli_fail(RC_USAGE, "provision", bus_url(c->bus), e.msg,
                            "shunt provision --dry-run");
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
