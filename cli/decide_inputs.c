/*
 * Loads the router's section of the configuration for its policy and backends,
 * and turns the reaper's list of workers into struct routing_facts.
 */
#include "cli/decide_inputs.h"

#include "lib/base/conf.h"

#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 2000, LANES_MAX = 256 };

/* The keys of the router's section that matter to a decision. */
struct router_section {
    char *policy;
    char **backends;
};

static const struct conf_opt options[] = {
    CONF_STR(struct router_section, policy, "router.policy", "", ""),
    CONF_LIST(struct router_section, backends, "router.backends", "", ""),
    CONF_END};

static int
load_section(const struct cli *c, struct router_section *out, struct err *e)
{
    *out = (struct router_section){0};
    if (c->config)
        (void)setenv("SHUNT_CONFIG", c->config, 1);
    return conf_load(out, options, "", 0, NULL, e);
}

int
decide_inputs_policy(struct cli *c, const char *given, struct policy *out)
{
    struct router_section section = {0};
    struct err e = {0};
    int rc = RC_OK;

    if (!given && load_section(c, &section, &e) < 0)
        rc = cli_fail_err("read the configuration", NULL, &e, "shunt doctor");
    else if (policy_load(given ? given : section.policy, c->pool, out, &e) < 0)
        rc = cli_fail(RC_USAGE, "read the policy", given, e.msg,
                      "shunt decide --policy FILE -- COMMAND");
    conf_free(&section, options);
    return rc;
}

/* --- a running fleet ----------------------------------------------------- */

static bool
takes_work(const json_t *worker)
{
    return !cli_bool(worker, "stopped") &&
           !json_is_false(json_object_get(worker, "alive"));
}

static void
add_lanes(const json_t *worker, const char **lanes, struct routing_facts *f,
          struct mem_pool *pool)
{
    const json_t *lane;
    size_t i;

    json_array_foreach(json_object_get(worker, "lanes"), i, lane)
    {
        if (f->n_lanes < LANES_MAX && json_is_string(lane))
            lanes[f->n_lanes++] =
                mem_pool_printf(pool, "%s.%s", cli_text(worker, "backend", ""),
                                json_string_value(lane));
    }
}

static void
add_worker(const json_t *worker, const char **lanes, struct routing_facts *f,
           struct mem_pool *pool)
{
    bool local = strcmp(cli_text(worker, "backend", ""), "local") == 0;
    int64_t running = cli_int(worker, "running", 0);
    uint64_t free_bytes = (uint64_t)cli_int(worker, "memory_free_bytes", 0);

    if (!takes_work(worker))
        return;
    if (local && running > 0)
        f->running_local += (uint32_t)running;
    if (cli_bool(worker, "draining"))
        return;
    if (local && free_bytes > f->local_free_bytes)
        f->local_free_bytes = free_bytes;
    add_lanes(worker, lanes, f, pool);
}

static void
add_configured(char **backends, struct routing_facts *f)
{
    for (; backends && *backends; backends++) {
        if (strcmp(*backends, "codespace") == 0)
            f->codespace_configured = true;
        if (strcmp(*backends, "secutools") == 0)
            f->secutools_configured = true;
    }
}

int
decide_inputs_ask(struct cli *c, struct routing_facts *out, struct err *e)
{
    const char **lanes = mem_pool_alloc(c->pool, LANES_MAX * sizeof *lanes);
    struct router_section section = {0};
    json_t *reply = NULL, *worker;
    size_t i;

    if (load_section(c, &section, e) < 0 ||
        cli_ask(c, "status", json_object(), &reply, e) < 0) {
        conf_free(&section, options);
        return -1;
    }
    *out = (struct routing_facts){.known = true, .lanes = lanes};
    add_configured(section.backends, out);
    json_array_foreach(json_object_get(reply, "workers"), i, worker)
    {
        add_worker(worker, lanes, out, c->pool);
    }
    json_decref(reply);
    conf_free(&section, options);
    return 0;
}

int
decide_inputs_facts(struct cli *c, struct routing_facts *out)
{
    struct err e = {0};
    int rc = cli_need_broker(c, CONNECT_MS);

    if (!rc && decide_inputs_ask(c, out, &e) < 0)
        rc = cli_fail_err("read the fleet's state", NULL, &e, "shunt status");
    return rc;
}
