/*
 * The command explain: asks the reaper for a task, and prints its stored
 * decision and what it waits for.
 */
#include "cli/commands.h"
#include "cli/decision_print.h"
#include "cli/output.h"
#include "cli/task_ops.h"
#include "lib/model/codec.h"

#include <string.h>

enum { CONNECT_MS = 2000 };

static const char *
agent_of(const json_t *row)
{
    const json_t *task = json_object_get(row, "task");

    return cli_text(json_object_get(task, "hints"), "agent", "");
}

/* Why it was rejected, or ended before it was routed; such a task has no stored
 * decision. */
static const char *
refusal_of(const json_t *row)
{
    enum state s = cli_state(row);

    if (!state_is_terminal(s) || json_object_get(row, "decision"))
        return "";
    return cli_text(row, "reason", state_name(s));
}

static void
print_json(json_t *row)
{
    static const char *const same[] = {"id", "name", "state", "command", NULL};
    const char *agent = agent_of(row), *refusal = refusal_of(row);
    json_t *o = json_object(), *d = json_object_get(row, "decision");

    out_copy(o, row, same);
    if (json_is_object(d))
        out_complete_decision(d);
    d = json_is_object(d) ? out_with_schema("decision", json_incref(d)) : NULL;
    (void)json_object_update_new(
        o, json_pack("{s:s*, s:s*, s:o?, s:O?}", "agent", *agent ? agent : NULL,
                     "refusal", *refusal ? refusal : NULL, "decision", d,
                     "waits", json_object_get(row, "waits")));
    out_object("explain", o);
}

static int
print_text(struct cli *c, const json_t *row, struct err *e)
{
    const json_t *d = json_object_get(row, "decision");
    struct decision decision;
    struct decided j = {
        .task = cli_text(row, "command", ""),
        .agent = agent_of(row),
        .refusal = refusal_of(row),
        .state = cli_text(row, "state", ""),
        .waits = cli_text(json_object_get(row, "waits"), "text", ""),
    };

    if (json_is_object(d)) {
        if (codec_from_json(CODEC_DECISION, d, c->pool, &decision, NULL, NULL,
                            e) < 0)
            return err_wrap(e, "read the stored decision");
        j.decision = &decision;
    }
    decision_print(&j, decision_in_japanese());
    return 0;
}

/* The reaper's answer about a task that is still in this machine's spool; NULL
 * if it is not there. */
static json_t *
spooled(struct cli *c, const char *selector)
{
    char id[TASK_ID_SIZE];

    if (!task_ops_spooled(c, selector, id))
        return NULL;
    return json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "state", "submitted",
                     "waits", "for", "broker", "text",
                     "is spooled here, not sent to a broker yet");
}

int
cmd_explain(struct cli *c, const struct args *a)
{
    json_t *row = NULL;
    struct err e = {0};
    int rc;

    if (a->n_words != 1 || a->dashes)
        return cli_usage(c, "one task is required: an id or its beginning, a "
                            "name, or last");
    if (cli_connect(c, CONNECT_MS, &e) < 0)
        row = spooled(c, a->words[0]);
    rc = row ? RC_OK : cli_need_broker(c, 0);
    if (rc)
        return rc;
    if (!row)
        cli_drain_spool(c);
    if (!row && cli_show(c, a->words[0], &row, &e) < 0)
        return cli_fail_lookup("explain the task", a->words[0], &e);
    if (c->json)
        print_json(row);
    else if (print_text(c, row, &e) < 0)
        rc = cli_fail_err(
            "explain the task", a->words[0], &e,
            mem_pool_printf(c->pool, "shunt show %s", a->words[0]));
    json_decref(row);
    return rc;
}
