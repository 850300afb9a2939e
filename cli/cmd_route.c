/*
 * The command route replay: runs decide() with another policy on the tasks of
 * the ledger, and prints those that would run elsewhere.
 */
#include "cli/commands.h"
#include "cli/decide_inputs.h"
#include "cli/decision_print.h"
#include "cli/output.h"
#include "lib/model/codec.h"

#include <stdio.h>
#include <string.h>

enum { CONNECT_MS = 2000, PLACE_SIZE = 192 };

static struct {
    const char *policy;
    int64_t since_ms;
} flags = {.since_ms = INT64_C(30) * 86400 * 1000};

const struct arg_opt route_opts[] = {
    {"policy", 0, "FILE", "apply this policy (default: the router's)", ARG_TEXT,
     .to = &flags.policy},
    {"since", 0, "TIME", "tasks of the last TIME (default 30d)", ARG_MS,
     .to = &flags.since_ms},
    ARG_END,
};

struct replay {
    struct cli *c;
    struct policy policy;
    struct mem_pool *pool; /* of the task at hand */
    json_t *rows;          /* of the table */
    int64_t tasks, changed, skipped;
};

/* --- facts and comparison --------------------------------------------------
 */

/*
 * The facts of that time as far as the stored decision shows them: the number
 * of running tasks if it counted, and the backend that was missing. Everything
 * else is assumed to have been available.
 */
static struct routing_facts
facts_then(const struct decision *was)
{
    struct routing_facts f = {.known = true,
                              .codespace_configured = true,
                              .secutools_configured = true};

    for (size_t i = 0; i < was->n_signals; i++) {
        unsigned running;

        if (sscanf(was->signals[i].match, "%9u running here", &running) == 1)
            f.running_local = running;
    }
    if (strcmp(was->wanted, "codespace") == 0)
        f.codespace_configured = false;
    if (strcmp(was->wanted, "secutools") == 0)
        f.secutools_configured = false;
    return f;
}

static bool
goes_elsewhere(const struct decision *was, const struct decision *now)
{
    return was->rejected != now->rejected ||
           strcmp(was->backend, now->backend) != 0 ||
           strcmp(was->lane, now->lane) != 0;
}

/* --- printing --------------------------------------------------------------
 */

static const char *
place_text(const struct decision *d, char out[PLACE_SIZE])
{
    if (d->rejected)
        (void)snprintf(out, PLACE_SIZE, "rejected (%.60s)", d->rule);
    else
        (void)snprintf(out, PLACE_SIZE, "%.40s.%.40s (%.60s)", d->backend,
                       d->lane, d->rule);
    return out;
}

static void
print_change(struct replay *r, const json_t *row, const struct decision *was,
             const struct decision *now)
{
    char from[PLACE_SIZE], to[PLACE_SIZE];

    if (!r->c->json) {
        (void)json_array_append_new(
            r->rows,
            json_pack("{s:s, s:s*, s:s, s:s}", "id", cli_text(row, "id", ""),
                      "name", cli_text(row, "name", NULL), "was",
                      place_text(was, from), "now", place_text(now, to)));
        return;
    }
    out_json_line(out_with_schema(
        "replay",
        json_pack("{s:s, s:s, s:o, s:o}", "id", cli_text(row, "id", ""), "name",
                  cli_text(row, "name", ""), "was", decision_json(was),
                  "would_be", decision_json(now))));
}

static void
print_summary(const struct replay *r)
{
    if (r->c->json) {
        out_json_line(out_with_schema(
            "replay_summary",
            json_pack("{s:s, s:I, s:I, s:I}", "policy", r->policy.version,
                      "tasks", (json_int_t)r->tasks, "changed",
                      (json_int_t)r->changed, "skipped",
                      (json_int_t)r->skipped)));
        return;
    }
    (void)printf("%lld of %lld tasks would change\n", (long long)r->changed,
                 (long long)r->tasks);
    if (r->skipped)
        cli_say(r->c,
                "%lld more were skipped: the reaper's answer is incomplete "
                "for them",
                (long long)r->skipped);
    cli_say(r->c,
            "applied policy %s; facts of that time are not kept, beyond "
            "what the stored decisions tell",
            r->policy.version);
}

/* --- the tasks of the ledger ------------------------------------------------
 */

static void
replay_row(struct replay *r, const json_t *row)
{
    const json_t *task = json_object_get(row, "task");
    struct decision was, now;
    struct routing_facts facts;
    struct task t;
    struct err e = {0};

    mem_pool_reset(r->pool);
    if (!task ||
        codec_from_json(CODEC_TASK, task, r->pool, &t, NULL, NULL, &e) < 0 ||
        codec_from_json(CODEC_DECISION, json_object_get(row, "decision"),
                        r->pool, &was, NULL, NULL, &e) < 0) {
        r->skipped++;
        return;
    }
    facts = facts_then(&was);
    decide(&t, &facts, &r->policy, r->pool, &now);
    r->tasks++;
    if (!goes_elsewhere(&was, &now))
        return;
    r->changed++;
    print_change(r, row, &was, &now);
}

static int
replay_all(struct replay *r, struct err *e)
{
    int64_t since = str_wall_ms() - flags.since_ms, before = 0;

    do {
        json_t *reply = NULL, *row;
        size_t i;

        if (cli_ask(r->c, "decisions",
                    json_pack("{s:I, s:I}", "since_ms", (json_int_t)since,
                              "before", (json_int_t)before),
                    &reply, e) < 0)
            return -1;
        json_array_foreach(json_object_get(reply, "tasks"), i, row)
        {
            replay_row(r, row);
        }
        before = cli_int(reply, "next", 0);
        json_decref(reply);
    } while (before > 0);
    return 0;
}

int
cmd_route(struct cli *c, const struct args *a)
{
    static const struct out_column columns[] = {
        {"ID", "id", NULL, 0, false},
        {"NAME", "name", NULL, 3, false},
        {"WAS", "was", NULL, 2, false},
        {"WOULD BE", "now", NULL, 1, false},
    };
    struct replay r = {.c = c};
    struct err e = {0};
    int rc;

    if (a->n_words != 1 || a->dashes || strcmp(a->words[0], "replay") != 0)
        return cli_usage(c, "a verb is required: replay");
    rc = decide_inputs_policy(c, flags.policy, &r.policy);
    if (!rc)
        rc = cli_need_broker(c, CONNECT_MS);
    if (rc)
        return rc;
    r.pool = mem_pool_new();
    r.rows = json_array();
    if (replay_all(&r, &e) < 0)
        rc = cli_fail_err("replay the decisions", NULL, &e, "shunt status");
    if (json_array_size(r.rows))
        OUT_TABLE(r.rows, columns);
    json_decref(r.rows);
    if (!rc)
        print_summary(&r);
    mem_pool_free(r.pool);
    return rc;
}
