/*
 * The commands ls and show: print what the reaper knows of tasks, as a table
 * and as lines of a label and a value.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/task_ops.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CONNECT_MS = 2000, SHORT_ID = 8 };

static struct {
    struct arg_list states;
    int64_t limit;
    const char *batch;
} ls = {.limit = 20};

const struct arg_opt ls_opts[] = {
    {"state", 0, "STATE",
     "show tasks in this state; open, done or a name; repeatable", ARG_LIST,
     &ls.states,
     .words =
         "open done submitted accepted held blocked routed running retry_wait "
         "succeeded failed unverified no_op timed_out cancelled rejected dead "
         "unknown"},
    {"limit", 'n', "N", "show at most N tasks (default 20; 0 for all)",
     ARG_NUMBER, &ls.limit, .most = 100000000},
    {"batch", 0, "ID", "show tasks of this batch alone", ARG_TEXT,
     .to = &ls.batch},
    ARG_END,
};

/* Backend and lane, without the lane if it is the default. */
static void
add_where(const json_t *row, struct str *out)
{
    const char *backend = cli_text(row, "backend", "");
    const char *lane = cli_text(row, "lane", "");

    str_addz(out, backend[0] ? backend : "-");
    if (backend[0] && lane[0] && strcmp(lane, "default") != 0)
        str_addf(out, ".%s", lane);
}

/* How long it ran, or has been running. */
static void
add_time(const json_t *row, struct str *out)
{
    int64_t from = cli_time(row, "started_at"), now = str_wall_ms(),
            to = cli_time(row, "finished_at");
    char took[32] = "-";

    if (!to || to < from)
        to = now > from ? now : from;
    if (from)
        (void)str_duration((uint64_t)(to - from), took, sizeof took);
    str_addz(out, took);
}

static void
add_age(const json_t *row, struct str *out)
{
    char age[32];

    str_addz(out, out_ago(cli_time(row, "submitted_at"), str_wall_ms(), age,
                          sizeof age));
}

/* Eight characters of a generated id are unique enough for people. */
static void
add_id(const json_t *row, struct str *out)
{
    const char *id = cli_text(row, "id", "");
    size_t len = strlen(id);

    str_add(out, id, len == 16 && isatty(STDOUT_FILENO) ? SHORT_ID : len);
}

static void
add_command(const json_t *row, struct str *out)
{
    str_addz(out, cli_text(row, "command", ""));
}

static const struct out_column task_columns[] = {
    {"ID", NULL, add_id, 0, false},
    {"NAME", "name", NULL, 1, false},
    {"STATE", "state", NULL, 0, true},
    {"WHERE", NULL, add_where, 3, false},
    {"AGE", NULL, add_age, 4, false},
    {"TIME", NULL, add_time, 5, false},
    {"COMMAND", NULL, add_command, 2, false},
};

int
cmd_ls(struct cli *c, const struct args *a)
{
    json_t *states = NULL, *request, *rows = NULL, *reply = NULL;
    struct err e = {0};
    int rc;

    if (cli_no_arguments(c, a))
        return RC_USAGE;
    rc = task_ops_states(c, &ls.states, &states);
    if (rc)
        return rc;
    rc = cli_need_broker(c, CONNECT_MS);
    if (rc) {
        json_decref(states);
        return rc;
    }
    cli_drain_spool(c);
    request = json_pack("{s:o*}", "states", states);
    if (ls.batch && cli_ask(c, "batch", json_pack("{s:s}", "batch", ls.batch),
                            &reply, &e) < 0) {
        json_decref(request);
        return cli_fail_err("list tasks", ls.batch, &e, "shunt ls");
    }
    if (ls.batch)
        (void)json_object_set_new(
            request, "batch",
            json_string(
                cli_text(json_object_get(reply, "batch"), "id", ls.batch)));
    json_decref(reply);
    if (task_ops_list(c, request, ls.limit, &rows, &e) < 0)
        return cli_fail_err("list tasks", NULL, &e, "shunt status");
    if (c->json)
        out_list("task", rows);
    else if (json_array_size(rows) || !isatty(STDOUT_FILENO))
        OUT_TABLE(rows, task_columns);
    else
        cli_say(c, "no tasks");
    json_decref(rows);
    return RC_OK;
}

/* --- show ---------------------------------------------------------------- */

/* Prints a label and the value, unless it is empty, and frees the value. */
static void
line(const char *label, struct str *value)
{
    struct str s = {0};

    str_addf(&s, "%-11s ", label);
    str_add_printable(&s, str_text(value), value->len);
    if (value->len)
        (void)puts(str_text(&s));
    str_free(&s);
    str_free(value);
}

/* Adds a member, text or a whole number, after the text before, if the object
 * has it. */
static void
add_member(const char *before, const json_t *o, const char *key, struct str *s)
{
    if (json_is_integer(json_object_get(o, key)))
        str_addf(s, "%s%" PRId64, before, cli_int(o, key, 0));
    else if (cli_text(o, key, "")[0])
        str_addf(s, "%s%s", before, cli_text(o, key, ""));
}

static void
member(const char *label, const json_t *o, const char *key)
{
    struct str s = {0};

    add_member("", o, key, &s);
    line(label, &s);
}

static void
show_decision(const json_t *d)
{
    struct str s = {0};
    const json_t *v;
    size_t i;

    if (!json_is_object(d))
        return;
    str_addf(&s, "%s.%s by rule %s", cli_text(d, "backend", "?"),
             cli_text(d, "lane", "?"), cli_text(d, "rule", "?"));
    if (cli_bool(d, "scored"))
        str_addf(&s, ", score %" PRId64, cli_int(d, "score", 0));
    add_member(": ", d, "reason", &s);
    line("decision", &s);
    json_array_foreach(json_object_get(d, "signals"), i, v)
    {
        str_addf(&s, "  %+" PRId64 " %s", cli_int(v, "points", 0),
                 cli_text(v, "name", "?"));
        if (cli_text(v, "match", "")[0])
            str_addf(&s, " (%s)", cli_text(v, "match", ""));
        line("", &s);
    }
}

static void
show_timeline(const json_t *list)
{
    struct str s = {0};
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        str_addf(&s, "%s  %-10s %s", cli_text(v, "at", ""),
                 cli_text(v, "state", ""), cli_text(v, "note", ""));
        line(i ? "" : "timeline", &s);
    }
}

static void
show_attempts(const json_t *list)
{
    struct str s = {0};
    const json_t *v;
    size_t i;

    if (json_array_size(list) < 2)
        return;
    json_array_foreach(list, i, v)
    {
        str_addf(&s, "%" PRId64 " %s", cli_int(v, "attempt", 0),
                 cli_text(v, "state", "?"));
        add_member(", exit ", v, "exit_code", &s);
        add_member(", on ", v, "worker", &s);
        add_member(": ", v, "reason", &s);
        line(i ? "" : "attempts", &s);
    }
}

/* What did not happen as asked. */
static void
show_warnings(const json_t *list)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        struct str s = {0};

        str_addz(&s, json_is_string(v) ? json_string_value(v) : "");
        line(i ? "" : "warning", &s);
    }
}

/* What an AI platform reported about its job. */
static void
show_service(const json_t *t)
{
    struct str s = {0};
    char took[32];

    member("provider", t, "provider");
    member("model", t, "model");
    add_member("$", t, "cost_usd", &s);
    if (s.len && cli_bool(t, "cost_estimated"))
        str_addz(&s, " (estimated)");
    line("cost", &s);
    add_member("", t, "remote_id", &s);
    if (s.len && cli_int(t, "run_ms", 0))
        str_addf(
            &s, ", ran %s there",
            str_duration((uint64_t)cli_int(t, "run_ms", 0), took, sizeof took));
    line("job", &s);
    if (cli_int(t, "input_tokens", 0) || cli_int(t, "output_tokens", 0))
        str_addf(&s, "%" PRId64 " in, %" PRId64 " out",
                 cli_int(t, "input_tokens", 0), cli_int(t, "output_tokens", 0));
    line("tokens", &s);
}

/* "A, B (task)" */
static void
add_names(const json_t *names, const char *origin, struct str *s)
{
    const char *key;
    json_t *v;
    size_t n = 0;

    json_object_foreach((json_t *)(uintptr_t)names, key, v)
    {
        str_addf(s, "%s%s", n++ ? ", " : s->len ? "; " : "", key);
    }
    if (n)
        str_addf(s, " (%s)", origin);
}

/* What the task got, by name. */
static void
show_environment(const json_t *task)
{
    const json_t *input = json_object_get(task, "input"), *v;
    json_t *secrets = json_object();
    struct str s = {0};
    char size[32];
    size_t i;

    json_array_foreach(json_object_get(task, "secret_env"), i, v)
    {
        (void)json_object_set_new(secrets, json_string_value(v), json_null());
    }
    add_names(json_object_get(task, "env"), "task", &s);
    add_names(json_object_get(task, "submit_env"), "submitter", &s);
    add_names(secrets, "secret", &s);
    json_decref(secrets);
    line("env", &s);
    member("umask", task, "umask");
    if (input)
        str_addf(
            &s, "%s of standard input",
            out_size((uint64_t)cli_int(input, "size", 0), size, sizeof size));
    line("input", &s);
}

static void
show_text(const json_t *t)
{
    bool colour = out_colour(STDOUT_FILENO);
    struct str s = {0};
    char text[128];

    member("id", t, "id");
    member("name", t, "name");
    (void)printf(
        "%-11s %s\n", "state",
        out_state(cli_text(t, "state", "?"), colour, text, sizeof text));
    member("exit code", t, "exit_code");
    member("reason", t, "reason");
    show_warnings(json_object_get(t, "warnings"));
    member("command", t, "command");
    member("workdir", json_object_get(t, "task"), "workdir");
    show_environment(json_object_get(t, "task"));
    add_where(t, &s);
    line("where", &s);
    member("worker", t, "worker");
    add_time(t, &s);
    line("time", &s);
    show_service(t);
    show_decision(json_object_get(t, "decision"));
    show_attempts(json_object_get(t, "attempt_list"));
    show_timeline(json_object_get(t, "timeline"));
    member("batch", t, "batch");
    member("report", t, "report");
    member("no report", t, "report_error");
    if (cli_int(t, "output_bytes", 0))
        str_addz(&s, out_size((uint64_t)cli_int(t, "output_bytes", 0), text,
                              sizeof text));
    line("output", &s);
}

/* Shows a task that waits in this machine's spool; false if it does not. */
static bool
show_spooled(struct cli *c, const char *selector)
{
    char id[TASK_ID_SIZE];

    if (!task_ops_spooled(c, selector, id))
        return false;
    if (c->json)
        out_object("task", json_pack("{s:s, s:s, s:b}", "id", id, "state",
                                     "submitted", "spooled", 1));
    else
        (void)printf("id          %s\nstate       submitted\nreason      "
                     "spooled here, not sent to a broker yet\n",
                     id);
    return true;
}

int
cmd_show(struct cli *c, const struct args *a)
{
    json_t *task = NULL;
    struct err e = {0};
    int rc;

    if (a->n_words != 1 || a->dashes)
        return cli_usage(c, "one task is required: an id or its beginning, a "
                            "name, or last");
    if (cli_connect(c, CONNECT_MS, &e) < 0 && show_spooled(c, a->words[0]))
        return RC_OK;
    rc = cli_need_broker(c, 0);
    if (rc)
        return rc;
    cli_drain_spool(c);
    if (cli_show(c, a->words[0], &task, &e) < 0) {
        if (e.code == ERR_NOT_FOUND && show_spooled(c, a->words[0]))
            return RC_OK;
        return cli_fail_lookup("show the task", a->words[0], &e);
    }
    if (json_is_object(json_object_get(task, "decision")))
        out_complete_decision(json_object_get(task, "decision"));
    if (c->json)
        out_object("task", json_incref(task));
    else
        show_text(task);
    json_decref(task);
    return RC_OK;
}
