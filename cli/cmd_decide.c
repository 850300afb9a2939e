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

enum { SUMMARY_MAX = 4096 };

static struct {
    bool live;
    const char *policy;
} flags;

const struct arg_opt decide_opts[] = {
    {"live", 0, NULL, "consider the running fleet too", ARG_SWITCH,
     .to = &flags.live},
    {"policy", 0, "FILE", "apply this policy (default: the router's)", ARG_TEXT,
     .to = &flags.policy},
    ARG_END,
};

static void
print_text(const struct task *t, const struct decision *d)
{
    char summary[SUMMARY_MAX];
    struct decided j = {
        .task = task_summary(t, summary, sizeof summary),
        .agent = t->hints ? t->hints->agent : "",
        .decision = d,
        .refusal = "",
        .state = "",
        .waits = "",
    };

    decision_print(&j, decision_in_japanese());
}

int
cmd_decide(struct cli *c, const struct args *a)
{
    struct routing_facts facts = {0};
    struct policy policy;
    struct decision d;
    struct task_builder b;
    bool rejected = false;
    json_t *list;
    int rc = task_builder_tasks(c, a, &b);

    if (rc)
        return rc;
    rc = decide_inputs_policy(c, flags.policy, &policy);
    if (!rc && flags.live)
        rc = decide_inputs_facts(c, &facts);
    if (rc)
        return rc;
    list = json_array();
    for (size_t i = 0; i < b.n; i++) {
        codec_init(CODEC_DECISION, &d);
        decide(&b.tasks[i], &facts, &policy, c->pool, &d);
        rejected = rejected || d.rejected;
        if (c->json)
            (void)json_array_append_new(
                list, out_with_schema("decision", decision_json(&d)));
        else
            print_text(&b.tasks[i], &d);
    }
    if (c->json)
        out_json(json_incref(b.from_files ? list : json_array_get(list, 0)));
    json_decref(list);
    return rejected ? RC_REFUSED : RC_OK;
}
