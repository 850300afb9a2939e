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
     &ls.states, 0, 0, NULL,
     "open done submitted accepted held blocked routed running retry_wait "
     "succeeded failed unverified no_op timed_out cancelled rejected dead "
     "unknown"},
    {"limit", 'n', "N", "show at most N tasks (default 20; 0 for all)",
     ARG_NUMBER, &ls.limit, 0, 100000000, NULL, NULL},
    {"batch", 0, "ID", "show tasks of this batch alone", ARG_TEXT, &ls.batch, 0,
     0, NULL, NULL},
    ARG_END,
};

/* The names of the states that --state selects; RC_OK, or the exit code after
 * the error was printed. */
static int
selected_states(struct cli *c, json_t **out)
{
    const char *names[STATE_COUNT + 3];
    enum state s;
    size_t i, n = 0;
    bool open, done;

    *out = json_array();
    for (s = STATE_SUBMITTED; s < STATE_LOST; s++)
        names[n++] = state_name(s);
    names[n++] = "open";
    names[n++] = "done";
    names[n] = NULL;
    for (i = 0; i < ls.states.n; i++) {
        const char *want = ls.states.items[i];

        open = !strcmp(want, "open");
        done = !strcmp(want, "done");
        if (!open && !done && state_from_name(want) == STATE_UNSPECIFIED) {
            json_decref(*out);
            *out = NULL;
            return cli_usage_unknown(c, "state", want, names);
        }
        for (s = STATE_SUBMITTED; s < STATE_LOST; s++)
            if ((open && !state_is_terminal(s)) ||
                (done && state_is_terminal(s)) || !strcmp(want, state_name(s)))
                (void)json_array_append_new(*out, json_string(state_name(s)));
    }
    return RC_OK;
}

/* Backend and lane, without the lane if it is the default. */
static void
where(const json_t *row, char *out, size_t size)
{
    const char *backend = cli_text(row, "backend", "");
    const char *lane = cli_text(row, "lane", "");

    if (!backend[0])
        (void)snprintf(out, size, "-");
    else
        (void)snprintf(out, size, "%s%s%s", backend,
                       strcmp(lane, "default") && lane[0] ? "." : "",
                       strcmp(lane, "default") ? lane : "");
}

/* How long it ran, or has been running. */
static void
how_long(const json_t *row, int64_t now_ms, char *out, size_t size)
{
    int64_t from = cli_time(row, "started_at"),
            to = cli_time(row, "finished_at");

    if (!from) {
        (void)snprintf(out, size, "-");
        return;
    }
    if (!to || to < from)
        to = now_ms > from ? now_ms : from;
    (void)str_duration((uint64_t)(to - from), out, size);
}

static void
print_rows(const json_t *rows)
{
    static const char *const heads[] = {"ID",  "NAME", "STATE",  "WHERE",
                                        "AGE", "TIME", "COMMAND"};
    struct out_table *t = out_table_new(heads, 7);
    char id[TASK_ID_SIZE], at[96], age[32], took[32];
    int64_t now = str_wall_ms();
    bool short_ids = isatty(STDOUT_FILENO);
    const json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        const char *full = cli_text(row, "id", "");
        const char *cells[] = {id,
                               cli_text(row, "name", NULL),
                               cli_text(row, "state", "?"),
                               at,
                               age,
                               took,
                               cli_text(row, "command", "")};

        (void)str_copy(id, sizeof id, full);
        /* Eight characters of a generated id are unique enough. */
        if (short_ids && strlen(full) == 16)
            id[SHORT_ID] = '\0';
        where(row, at, sizeof at);
        how_long(row, now, took, sizeof took);
        (void)out_ago(cli_time(row, "submitted_at"), now, age, sizeof age);
        out_table_row(t, cells);
    }
    out_table_end(t);
}

int
cmd_ls(struct cli *c, const struct args *a)
{
    json_t *states = NULL, *request, *rows = NULL, *reply = NULL;
    struct err e = {0};
    int rc;

    if (cli_no_arguments(c, a))
        return RC_USAGE;
    rc = selected_states(c, &states);
    if (rc)
        return rc;
    rc = cli_need_broker(c, CONNECT_MS);
    if (rc) {
        json_decref(states);
        return rc;
    }
    cli_drain_spool(c);
    request = json_object();
    if (json_array_size(states))
        (void)json_object_set(request, "states", states);
    json_decref(states);
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
        print_rows(rows);
    else
        cli_say(c, "no tasks");
    json_decref(rows);
    return RC_OK;
}

/* --- show ---------------------------------------------------------------- */

static void
line(const char *label, const char *value)
{
    struct str s = {0};

    if (!value[0])
        return;
    str_addf(&s, "%-11s ", label);
    str_add_printable(&s, value, strlen(value));
    (void)puts(str_text(&s));
    str_free(&s);
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
    if (cli_text(d, "reason", "")[0])
        str_addf(&s, ": %s", cli_text(d, "reason", ""));
    line("decision", str_text(&s));
    json_array_foreach(json_object_get(d, "signals"), i, v)
    {
        str_reset(&s);
        str_addf(&s, "  %+" PRId64 " %s", cli_int(v, "points", 0),
                 cli_text(v, "name", "?"));
        if (cli_text(v, "match", "")[0])
            str_addf(&s, " (%s)", cli_text(v, "match", ""));
        line("", str_text(&s));
    }
    str_free(&s);
}

static void
show_timeline(const json_t *list)
{
    const json_t *v;
    struct str s = {0};
    size_t i;

    json_array_foreach(list, i, v)
    {
        str_reset(&s);
        str_addf(&s, "%s  %-10s %s", cli_text(v, "at", ""),
                 cli_text(v, "state", ""), cli_text(v, "note", ""));
        line(i ? "" : "timeline", str_text(&s));
    }
    str_free(&s);
}

static void
show_attempts(const json_t *list)
{
    const json_t *v;
    struct str s = {0};
    size_t i;

    if (json_array_size(list) < 2)
        return;
    json_array_foreach(list, i, v)
    {
        str_reset(&s);
        str_addf(&s, "%" PRId64 " %s", cli_int(v, "attempt", 0),
                 cli_text(v, "state", "?"));
        if (json_object_get(v, "exit_code"))
            str_addf(&s, ", exit %" PRId64, cli_int(v, "exit_code", 0));
        if (cli_text(v, "worker", "")[0])
            str_addf(&s, ", on %s", cli_text(v, "worker", ""));
        if (cli_text(v, "reason", "")[0])
            str_addf(&s, ": %s", cli_text(v, "reason", ""));
        line(i ? "" : "attempts", str_text(&s));
    }
    str_free(&s);
}

/* What an AI platform reported about its job. */
static void
show_service(const json_t *t)
{
    struct str s = {0};
    char took[32];

    line("provider", cli_text(t, "provider", ""));
    line("model", cli_text(t, "model", ""));
    if (cli_text(t, "cost_usd", "")[0]) {
        str_addf(&s, "$%s%s", cli_text(t, "cost_usd", ""),
                 cli_bool(t, "cost_estimated") ? " (estimated)" : "");
        line("cost", str_text(&s));
    }
    str_reset(&s);
    str_addz(&s, cli_text(t, "remote_id", ""));
    if (s.len && cli_int(t, "run_ms", 0))
        str_addf(
            &s, ", ran %s there",
            str_duration((uint64_t)cli_int(t, "run_ms", 0), took, sizeof took));
    line("job", str_text(&s));
    if (cli_int(t, "input_tokens", 0) || cli_int(t, "output_tokens", 0)) {
        str_reset(&s);
        str_addf(&s, "%" PRId64 " in, %" PRId64 " out",
                 cli_int(t, "input_tokens", 0), cli_int(t, "output_tokens", 0));
        line("tokens", str_text(&s));
    }
    str_free(&s);
}

static void
show_text(const json_t *t)
{
    const json_t *task = json_object_get(t, "task");
    char text[128];
    bool colour = out_colour(STDOUT_FILENO);

    line("id", cli_text(t, "id", ""));
    line("name", cli_text(t, "name", ""));
    (void)printf(
        "%-11s %s\n", "state",
        out_state(cli_text(t, "state", "?"), colour, text, sizeof text));
    if (json_object_get(t, "exit_code")) {
        (void)snprintf(text, sizeof text, "%" PRId64,
                       cli_int(t, "exit_code", 0));
        line("exit code", text);
    }
    line("reason", cli_text(t, "reason", ""));
    line("command", cli_text(t, "command", ""));
    line("workdir", cli_text(task, "workdir", ""));
    where(t, text, sizeof text);
    line("where", text);
    line("worker", cli_text(t, "worker", ""));
    how_long(t, str_wall_ms(), text, sizeof text);
    line("time", text);
    show_service(t);
    show_decision(json_object_get(t, "decision"));
    show_attempts(json_object_get(t, "attempt_list"));
    show_timeline(json_object_get(t, "timeline"));
    line("batch", cli_text(t, "batch", ""));
    line("report", cli_text(t, "report", ""));
    if (cli_int(t, "output_bytes", 0)) {
        (void)out_size((uint64_t)cli_int(t, "output_bytes", 0), text,
                       sizeof text);
        line("output", text);
    }
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
