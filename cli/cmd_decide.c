/*
 * decide and lint: what would happen to a task, without a broker.
 */
#include "cli/build.h"
#include "cli/commands.h"
#include "cli/judgement.h"
#include "cli/out.h"
#include "cli/routing.h"
#include "gateways/formats/formats.h"
#include "lib/codec.h"

#include <stdio.h>

enum { SUMMARY_MAX = 4096 };

static struct {
    bool live;
    const char *policy;
} flags;

const struct arg_opt decide_opts[] = {
    {"live", 0, NULL, "with the facts of the running fleet", ARG_SWITCH,
     &flags.live, 0, 0, NULL, NULL},
    {"policy", 0, "FILE", "by this policy; else by the router's", ARG_TEXT,
     &flags.policy, 0, 0, NULL, NULL},
    ARG_END,
};

static void
print_text(const struct task *t, const struct decision *d)
{
    char summary[SUMMARY_MAX];
    struct judged j = {
        .task = task_summary(t, summary, sizeof summary),
        .agent = t->hints ? t->hints->agent : "",
        .reason = d,
        .refusal = "",
        .state = "",
        .waits = "",
    };

    judgement_print(&j, judgement_in_japanese());
}

int
cmd_decide(struct cli *c, const struct args *a)
{
    struct facts facts = {0};
    struct policy policy;
    struct decision d;
    struct build b;
    bool rejected = false;
    json_t *list;
    size_t i;
    int rc = build_tasks(c, a, &b);

    if (rc)
        return rc;
    rc = routing_policy(c, flags.policy, &policy);
    if (!rc && flags.live)
        rc = routing_facts(c, &facts);
    if (rc)
        return rc;
    list = json_array();
    for (i = 0; i < b.n; i++) {
        codec_init(CODEC_DECISION, &d);
        decide(&b.tasks[i], &facts, &policy, c->pool, &d);
        rejected = rejected || d.rejected;
        if (c->json)
            (void)json_array_append_new(list, judgement_json(&d));
        else
            print_text(&b.tasks[i], &d);
    }
    if (c->json && !b.from_files)
        out_json(json_incref(json_array_get(list, 0)));
    else if (c->json)
        out_json(json_incref(list));
    json_decref(list);
    return rejected ? RC_REFUSED : RC_OK;
}

/* --- lint ---------------------------------------------------------------- */

/* Checks one file; returns whether it is valid and adds what was found. */
static bool
lint_file(struct cli *c, const char *name, json_t *list)
{
    json_t *o = json_pack("{s:s}", "file", name), *warnings = json_array();
    struct import in = {0};
    struct str text = {0};
    struct err e = {0};
    size_t i;
    bool ok =
        build_read(name, FORMATS_MAX_BYTES, &text, &e) == 0 &&
        formats_read(name, str_text(&text), text.len, c->pool, &in, &e) == 0;

    for (i = 0; ok && i < in.n_tasks; i++)
        ok = task_check(&in.tasks[i], &e) == 0;
    for (i = 0; i < in.n_warnings; i++) {
        (void)json_array_append_new(warnings, json_string(in.warnings[i]));
        cli_say(c, "warning: %s", in.warnings[i]);
    }
    (void)json_object_set_new(o, "ok", json_boolean(ok));
    (void)json_object_set_new(o, "warnings", warnings);
    if (ok) {
        (void)json_object_set_new(o, "format", json_string(in.format));
        (void)json_object_set_new(o, "tasks",
                                  json_integer((json_int_t)in.n_tasks));
        if (!c->json)
            (void)printf("%s\t%s\t%zu task%s\n", name, in.format, in.n_tasks,
                         in.n_tasks == 1 ? "" : "s");
    } else {
        (void)json_object_set_new(
            o, "error",
            out_with_schema("error", json_pack("{s:s, s:s}", "code",
                                               err_code_name(e.code), "message",
                                               e.msg)));
        (void)cli_fail(RC_USAGE, "lint", name, e.msg, NULL);
    }
    (void)json_array_append_new(list, out_with_schema("lint", o));
    str_free(&text);
    return ok;
}

int
cmd_lint(struct cli *c, const struct args *a)
{
    json_t *list = json_array();
    bool ok = true;
    size_t i;

    if (!a->n_words || a->dashes) {
        json_decref(list);
        return cli_usage(c, "at least one file is wanted");
    }
    for (i = 0; i < a->n_words; i++)
        ok = lint_file(c, a->words[i], list) && ok;
    if (c->json)
        out_json(list);
    else
        json_decref(list);
    return ok ? RC_OK : RC_USAGE;
}
