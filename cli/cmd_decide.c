/*
 * The command decide: runs the router's decide() on the tasks of the command
 * line and prints the decisions. Needs the broker with --live alone.
 */
#include "cli/commands.h"
#include "cli/decide_inputs.h"
#include "cli/decision_print.h"
#include "cli/output.h"
#include "cli/task_builder.h"
#include "lib/model/codec.h"

#include <stdio.h>
#include <string.h>

enum { SUMMARY_MAX = 4096, ASK_FLEET_MS = 300 };

static struct {
    bool live, policy_only;
    const char *policy;
} flags;

const struct arg_opt decide_opts[] = {
    {"live", 0, NULL, "consider the running fleet too", ARG_SWITCH,
     .to = &flags.live},
    {"policy-only", 0, NULL, "do not ask the running fleet what it would do",
     ARG_SWITCH, .to = &flags.policy_only},
    {"policy", 0, "FILE", "apply this policy (default: the router's)", ARG_TEXT,
     .to = &flags.policy},
    ARG_END,
};

/* "local.default: REASON" */
static const char *
outcome_text(const struct decision *d, struct mem_pool *pool)
{
    if (d->rejected)
        return mem_pool_printf(pool, "rejected: %s", d->reason);
    return mem_pool_printf(pool, "%s.%s: %s", d->backend, d->lane, d->reason);
}

static bool
is_same(const struct decision *a, const struct decision *b)
{
    return a->rejected == b->rejected && strcmp(a->backend, b->backend) == 0 &&
           strcmp(a->lane, b->lane) == 0 && strcmp(a->reason, b->reason) == 0;
}

/* A copy that decide may take a prefix from. */
static struct task *
copy_task(const struct task *t, struct mem_pool *pool)
{
    struct task *copy = mem_pool_alloc(pool, sizeof *copy);

    *copy = *t;
    copy->steps = mem_pool_alloc(pool, t->n_steps * sizeof *copy->steps);
    for (size_t i = 0; i < t->n_steps; i++) {
        copy->steps[i] = t->steps[i];
        copy->steps[i].argv = mem_pool_alloc(
            pool, t->steps[i].n_argv * sizeof *copy->steps[i].argv);
        for (size_t k = 0; k < t->steps[i].n_argv; k++)
            copy->steps[i].argv[k] = t->steps[i].argv[k];
    }
    return copy;
}

/* The facts of a fleet that runs here or is named, if it answers at once. */
static bool
ask_fleet(struct cli *c, struct routing_facts *facts)
{
    struct err e = {0};
    pid_t pid;

    if (flags.policy_only || flags.policy ||
        !(c->nats || fleet_dir_locked(&c->fleet_dir, &pid)) ||
        cli_connect(c, ASK_FLEET_MS, &e) < 0)
        return false;
    c->ask_patience_ms = ASK_FLEET_MS;
    return decide_inputs_ask(c, facts, &e) == 0;
}

static void
print_text(const struct task *t, const struct decision *d, const char *here)
{
    char summary[SUMMARY_MAX];
    struct decided j = {
        .task = task_summary(t, summary, sizeof summary),
        .agent = t->hints ? t->hints->agent : "",
        .decision = d,
        .refusal = "",
        .state = "",
        .waits = "",
        .here = here,
    };

    decision_print(&j, decision_in_japanese());
}

int
cmd_decide(struct cli *c, const struct args *a)
{
    struct routing_facts facts = {0}, fleet = {0};
    struct policy policy;
    struct decision d, here;
    struct task_builder b;
    bool rejected = false, asked;
    json_t *list, *o;
    int rc = task_builder_tasks(c, a, &b);

    if (rc)
        return rc;
    rc = decide_inputs_policy(c, flags.policy, &policy);
    if (!rc && flags.live)
        rc = decide_inputs_facts(c, &facts);
    if (rc)
        return rc;
    asked = !flags.live && ask_fleet(c, &fleet);
    list = json_array();
    for (size_t i = 0; i < b.n; i++) {
        codec_init(CODEC_DECISION, &d);
        codec_init(CODEC_DECISION, &here);
        if (asked)
            decide(copy_task(&b.tasks[i], c->pool), &fleet, &policy, c->pool,
                   &here);
        decide(&b.tasks[i], &facts, &policy, c->pool, &d);
        rejected = rejected || d.rejected || (asked && here.rejected);
        if (c->json) {
            o = decision_json(&d);
            if (asked)
                (void)json_object_set_new(o, "here", decision_json(&here));
            (void)json_array_append_new(list, out_with_schema("decision", o));
        } else {
            print_text(&b.tasks[i], &d,
                       asked && !is_same(&d, &here)
                           ? outcome_text(&here, c->pool)
                           : NULL);
        }
    }
    if (c->json)
        out_json(json_incref(b.from_files ? list : json_array_get(list, 0)));
    json_decref(list);
    return rejected ? RC_REFUSED : RC_OK;
}
