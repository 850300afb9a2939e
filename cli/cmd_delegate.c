/*
 * The command delegate, which is also called ccl-delegate: prompts for the AI
 * platform. It prints JSON, for dispatchers that are scripts.
 */
#include "cli/commands.h"
#include "cli/decide_inputs.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "cli/task_builder.h"
#include "cli/task_ops.h"
#include "lib/model/codec.h"
#include "lib/model/money.h"

#include <stdio.h>
#include <string.h>

enum { CONNECT_MS = 3000, ACTIVE_MAX = 1000 };

static struct {
    const char *provider, *complexity, *max_cost;
    bool wait, allow, needs_claude;
    int64_t timeout_ms;
} flags = {.timeout_ms = -1};

const struct arg_opt delegate_opts[] = {
    {"provider", 0, "P", "provider: auto, gpu, gemini or claude-api", ARG_TEXT,
     &flags.provider, .words = "auto gpu gemini claude-api"},
    {"complexity", 0, "HINT", "complexity of the prompt: low, medium or high",
     ARG_TEXT, &flags.complexity, .words = "low medium high"},
    {"max-cost", 0, "USD", "upper limit of the cost, like 0.50", ARG_TEXT,
     .to = &flags.max_cost},
    {"wait", 0, NULL, "submit: wait for the result and print it", ARG_SWITCH,
     .to = &flags.wait},
    {"timeout", 0, "TIME", "submit --wait, result: wait at most TIME", ARG_MS,
     .to = &flags.timeout_ms},
    {"allow-delegation", 0, NULL,
     "allow delegation of a file without such front matter", ARG_SWITCH,
     .to = &flags.allow},
    {"needs-claude-code", 0, NULL, "as if the task needed Claude Code",
     ARG_SWITCH, .to = &flags.needs_claude},
    ARG_END,
};

/* --- decisions ----------------------------------------------------------- */

/*
 * Applies the flags to the task, for decide and submit alike. What its front
 * matter says of delegation stands, and without allow_delegation it says no;
 * allow holds only for a task that has none.
 */
static void
apply_flags(struct cli *c, struct task *t, bool allow)
{
    struct delegation *d = mem_pool_alloc(c->pool, sizeof *d);

    *d = (struct delegation){.preferred_ai = "",
                             .complexity_hint = "",
                             .max_cost_usd = "",
                             .allow_delegation = allow};
    if (t->delegation)
        *d = *t->delegation;
    if (flags.provider)
        d->preferred_ai = flags.provider;
    if (flags.complexity)
        d->complexity_hint = flags.complexity;
    if (flags.max_cost)
        d->max_cost_usd = flags.max_cost;
    d->needs_claude_code = d->needs_claude_code || flags.needs_claude;
    t->delegation = d;
}

/* Completes the task and decides about it. */
static int
admit(struct cli *c, struct task *t, struct decision *d)
{
    struct routing_facts facts = {0};
    struct policy policy;
    struct err e = {0};
    int rc;

    task_complete(t, c->pool, str_wall_ms());
    if (task_check(t, &e) < 0)
        return cli_fail(RC_USAGE, "check the task", t->name, e.msg,
                        "shunt delegate --help");
    rc = decide_inputs_policy(c, NULL, &policy);
    if (rc)
        return rc;
    codec_init(CODEC_DECISION, d);
    decide(t, &facts, &policy, c->pool, d);
    return RC_OK;
}

static bool
is_delegated(const struct decision *d)
{
    return !d->rejected && strcmp(d->backend, "secutools") == 0;
}

/* The decision as ccl-delegate's callers read it. */
static json_t *
decision_json(const struct decision *d)
{
    bool delegated = is_delegated(d);
    const char *provider =
        delegated || strcmp(d->lane, "claude-code") == 0 ? d->lane : d->backend;

    return json_pack("{s:s, s:s, s:s, s:b}", "provider",
                     d->rejected ? "none" : provider, "reason", d->reason,
                     "rule", d->rule, "delegated", delegated);
}

static int
run_decide(struct cli *c, const struct args *a)
{
    static const char *stand_in[] = {"x"};
    struct args empty = *a;
    struct decision d;
    struct task_builder b;
    json_t *list = json_array();
    int rc;

    if (a->n_words == 1 && !a->dashes) { /* by the flags alone */
        empty.dashes = true;
        empty.command = (char **)(uintptr_t)stand_in;
        empty.n_command = 1;
    }
    rc = task_builder_prompts(c, &empty, 1, &b);
    for (size_t i = 0; i < b.n && !rc; i++) {
        /* Whoever types a prompt for an AI platform allows it. */
        apply_flags(c, &b.tasks[i], flags.allow || a->dashes);
        rc = admit(c, &b.tasks[i], &d);
        if (!rc)
            (void)json_array_append_new(list, decision_json(&d));
    }
    if (!rc && b.n == 1)
        out_object("delegate", json_incref(json_array_get(list, 0)));
    else if (!rc)
        out_list("delegate", list);
    json_decref(list);
    return rc;
}

/* --- get, result --------------------------------------------------------- */

/* The members of a shown task that a dispatcher needs. */
static json_t *
state_json(const json_t *task)
{
    static const char *const keys[] = {
        "id",          "name",   "state",        "lane",
        "provider",    "model",  "cost_usd",     "cost_estimated",
        "queue_ms",    "run_ms", "input_tokens", "output_tokens",
        "attempts",    "reason", "submitted_at", "started_at",
        "finished_at", NULL};
    const json_t *waits = json_object_get(task, "waits");
    json_t *o = json_object();

    out_copy(o, task, keys);
    (void)json_object_update_new(
        o, json_pack("{s:O*, s:O*, s:b}", "job_id",
                     json_object_get(task, "remote_id"), "waits",
                     json_object_get(waits, "text"), "delegated",
                     strcmp(cli_text(task, "backend", ""), "secutools") == 0));
    return out_with_schema("delegate", o);
}

/* Shows the task a selector names; the caller owns *task. */
static int
show(struct cli *c, const char *selector, json_t **task)
{
    struct err e = {0};
    int rc = cli_need_broker(c, CONNECT_MS);

    if (rc)
        return rc;
    cli_drain_spool(c);
    if (cli_show(c, selector, task, &e) == 0)
        return RC_OK;
    return cli_fail_lookup("find the task", selector, &e);
}

static int
run_get(struct cli *c, const struct args *a)
{
    json_t *task = NULL;
    int rc;

    if (a->n_words != 2 || a->dashes)
        return cli_usage(c, "get: one task is required");
    rc = show(c, a->words[1], &task);
    if (!rc)
        out_json(state_json(task));
    json_decref(task);
    return rc;
}

/* Waits for the task and shows it again. */
static int
wait_for(struct cli *c, json_t **task)
{
    json_t *ids = json_pack("[{s:s, s:s}]", "id", cli_text(*task, "id", ""),
                            "state", cli_text(*task, "state", ""));
    char id[TASK_ID_SIZE];

    (void)str_copy(id, sizeof id, cli_text(*task, "id", ""));
    (void)task_ops_wait(c, ids, flags.timeout_ms, NULL, NULL);
    json_decref(ids);
    json_decref(*task);
    *task = NULL;
    return show(c, id, task);
}

/* Prints the output of a finished task. */
static int
print_result(struct cli *c, const json_t *task)
{
    const char *id = cli_text(task, "id", ""), *reason;
    struct follow *f = NULL;
    struct err e = {0};
    int rc = RC_OK;

    if (!state_is_terminal(cli_state(task))) {
        reason = cli_text(json_object_get(task, "waits"), "text", "");
        cli_say(c, "%s has not finished (%s)%s%s", id,
                cli_text(task, "state", "?"), *reason ? ": " : "", reason);
        return RC_PENDING;
    }
    if (follow_open(&f, c, id, &e) < 0 || follow_print(f, task, 0, &e) < 0)
        rc = cli_fail_err("read the output", id, &e, "shunt status");
    follow_close(f);
    if (rc || cli_state(task) == STATE_SUCCEEDED)
        return rc;
    return cli_fail(RC_UNSUCCESSFUL, cli_text(task, "state", "?"), id,
                    cli_text(task, "reason", "it did not succeed"),
                    mem_pool_printf(c->pool, "shunt explain %s", id));
}

static int
result_of(struct cli *c, const char *selector, bool wait)
{
    json_t *task = NULL;
    int rc = show(c, selector, &task);

    if (!rc && wait && !state_is_terminal(cli_state(task)))
        rc = wait_for(c, &task);
    if (!rc)
        rc = print_result(c, task);
    json_decref(task);
    return rc;
}

static int
run_result(struct cli *c, const struct args *a)
{
    if (a->n_words != 2 || a->dashes)
        return cli_usage(c, "result: one task is required");
    return result_of(c, a->words[1], flags.timeout_ms >= 0);
}

/* --- submit -------------------------------------------------------------- */

/* Refuses tasks that do not allow delegation, before anything is sent. */
static int
may_delegate(struct cli *c, struct task_builder *b, bool typed)
{
    struct decision d;
    int rc;

    for (size_t i = 0; i < b->n; i++) {
        apply_flags(c, &b->tasks[i], flags.allow || typed);
        rc = admit(c, &b->tasks[i], &d);
        if (rc)
            return rc;
        if (!is_delegated(&d))
            return cli_fail(RC_REFUSED, "delegate", b->tasks[i].name, d.reason,
                            "shunt submit");
    }
    return RC_OK;
}

static int
run_submit(struct cli *c, const struct args *a)
{
    struct submission sent;
    struct task_builder b;
    int rc;

    if (a->dashes == (a->n_words > 1))
        return cli_usage(c,
                         "submit: a prompt after -- or one file is required");
    rc = task_builder_prompts(c, a, 1, &b);
    if (!rc)
        rc = may_delegate(c, &b, a->dashes);
    if (!rc)
        rc = task_builder_submit(c, &b, &sent);
    if (rc)
        return rc;
    for (size_t i = 0; i < b.n; i++) {
        cli_note_submitted(c, b.tasks[i].id);
        if (c->json && !flags.wait)
            out_object("delegate",
                       json_pack("{s:s, s:s, s:s, s:b}", "id", b.tasks[i].id,
                                 "name", b.tasks[i].name, "state", "submitted",
                                 "spooled", sent.spooled));
        else if (!flags.wait)
            (void)printf("%s\n", b.tasks[i].id);
    }
    (void)fflush(stdout);
    task_builder_say_sent(c, &b, &sent);
    for (size_t i = 0; i < b.n && flags.wait; i++) {
        int one = result_of(c, b.tasks[i].id, true);

        rc = rc ? rc : one;
    }
    return rc;
}

/* --- status -------------------------------------------------------------- */

/* Unfinished tasks on the platform's lanes. */
static int
list_active(struct cli *c, json_t **out, struct err *e)
{
    static const char *const keys[] = {"id",     "name",       "state",
                                       "lane",   "started_at", "attempts",
                                       "worker", NULL};
    json_t *rows = NULL, *row, *one;
    json_t *request =
        json_pack("{s:[s, s, s]}", "states", "routed", "running", "retry_wait");
    size_t i;

    *out = json_array();
    if (task_ops_list(c, request, 0, &rows, e) < 0)
        return -1;
    json_array_foreach(rows, i, row)
    {
        if (strcmp(cli_text(row, "backend", ""), "secutools") != 0 ||
            json_array_size(*out) == ACTIVE_MAX)
            continue;
        one = json_object();
        out_copy(one, row, keys);
        (void)json_array_append_new(*out, one);
    }
    json_decref(rows);
    return 0;
}

/* The sum of the counters of the platform's lanes. */
static json_t *
sum_counters(const json_t *status)
{
    json_t *sum = json_object(), *lane, *v;
    const char *name, *key;

    json_object_foreach(json_object_get(status, "lanes"), name, lane)
    {
        if (strncmp(name, "secutools.", 10) != 0)
            continue;
        json_object_foreach(lane, key, v)
        {
            (void)json_object_set_new(
                sum, key,
                json_integer(cli_int(sum, key, 0) + json_integer_value(v)));
        }
    }
    (void)json_object_del(sum, "workers");
    return sum;
}

static int
run_status(struct cli *c, const struct args *a)
{
    json_t *status = NULL, *costs = NULL, *active = NULL;
    struct err e = {0};
    int rc;

    if (a->n_words != 1 || a->dashes)
        return cli_usage(c, "status takes no further arguments");
    rc = cli_need_broker(c, CONNECT_MS);
    if (rc)
        return rc;
    if (cli_ask(c, "status", json_object(), &status, &e) < 0 ||
        cli_ask(c, "costs", json_object(), &costs, &e) < 0 ||
        list_active(c, &active, &e) < 0)
        rc = cli_fail_err("read the status", NULL, &e, "shunt status");
    else
        out_object("delegate",
                   json_pack("{s:O, s:o, s:O, s:O}", "active", active,
                             "counters", sum_counters(status), "day",
                             json_object_get(costs, "day"), "costs",
                             json_object_get(costs, "costs")));
    json_decref(status);
    json_decref(costs);
    json_decref(active);
    return rc;
}

int
cmd_delegate(struct cli *c, const struct args *a)
{
    static const char *const names[] = {"submit", "get",    "result",
                                        "decide", "status", NULL};
    static int (*const verbs[])(struct cli * c, const struct args *a) = {
        run_submit, run_get, run_result, run_decide, run_status};
    const char *word = a->n_words ? a->words[0] : "";
    int64_t nano;

    if (flags.max_cost && !money_read(flags.max_cost, &nano))
        return cli_usage(c, "--max-cost %s: not an amount like 0.50",
                         flags.max_cost);
    for (size_t i = 0; names[i]; i++)
        if (strcmp(word, names[i]) == 0)
            return verbs[i](c, a);
    return *word ? cli_usage_unknown(c, "verb", word, names)
                 : cli_usage(c, "a verb is required: submit, get, result, "
                                "decide or status");
}
