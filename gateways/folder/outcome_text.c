/*
 * Converts the JSON of ask.ledger.show into the JSON of an outcome, and writes
 * that in the forms that the folder styles want.
 */
#include "gateways/folder/outcome_text.h"

#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/task.h"
#include "lib/model/task_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- reading -------------------------------------------------------------- */

/* Parses RFC 3339 in UTC, as the reaper writes it; 0: no time. */
static int64_t
time_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    struct tm tm = {0};
    int ms = 0;

    if (!text ||
        sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ", &tm.tm_year, &tm.tm_mon,
               &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms) < 6)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return (int64_t)timegm(&tm) * 1000 + ms;
}

static void
copy(json_t *to, const char *name, const json_t *from, const char *key)
{
    json_t *v = json_object_get(from, key);

    if (v)
        (void)json_object_set(to, name, v);
}

static void
add_span(json_t *o, const char *name, int64_t from, int64_t to)
{
    if (from && to >= from)
        (void)json_object_set_new(o, name, json_integer(to - from));
}

/* The attempt whose outcome counts: the last that was not superseded. */
static const json_t *
attempt_of(const json_t *task)
{
    const json_t *list = json_object_get(task, "attempt_list");

    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *a = json_array_get(list, i);

        if (!json_is_true(json_object_get(a, "superseded")))
            return a;
    }
    return NULL;
}

static json_t *
decision_of(const json_t *task)
{
    const json_t *d = json_object_get(task, "decision");
    json_t *o;

    if (!json_is_object(d))
        return NULL;
    o = json_object();
    copy(o, "rule", d, "rule");
    copy(o, "reason", d, "reason");
    if (json_is_true(json_object_get(d, "scored")))
        copy(o, "score", d, "score");
    return o;
}

static json_t *
result_of(const json_t *task)
{
    static const char *const first[] = {"state",   "exit_code", "attempts",
                                        "backend", "lane",      "worker"};
    static const char *const last[] = {"reason",       "failed_step",
                                       "submitted_at", "started_at",
                                       "finished_at",  "report"};
    const json_t *attempt = attempt_of(task);
    json_t *o = json_object(), *decision = decision_of(task);
    int64_t started = time_of(task, "started_at");

    copy(o, "task", task, "id");
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        copy(o, first[i], task, first[i]);
    copy(o, "job_id", attempt, "remote_id");
    copy(o, "provider", attempt, "provider");
    copy(o, "model", attempt, "model");
    copy(o, "cost_usd", attempt, "cost_usd");
    add_span(o, "queue_ms", time_of(task, "submitted_at"), started);
    add_span(o, "duration_ms", started, time_of(task, "finished_at"));
    if (decision)
        (void)json_object_set_new(o, "decision", decision);
    for (size_t i = 0; i < sizeof last / sizeof *last; i++)
        copy(o, last[i], task, last[i]);
    copy(o, "warnings", task, "warnings");
    return o;
}

static void
read_output(const json_t *task, struct task_outcome *out)
{
    struct mem_pool *pool = mem_pool_new();
    struct result r;
    struct err e = {0};
    json_t *o = json_object();
    json_int_t held = 0;

    copy(o, "task", task, "id");
    copy(o, "output", task, "output");
    if (codec_from_json(CODEC_RESULT, o, pool, &r, NULL, NULL, &e) == 0) {
        task_add_output(&out->output, r.output, r.n_output);
        for (size_t i = 0; i < r.n_output; i++)
            held += (json_int_t)r.output[i].data.len;
    }
    out->cut = json_integer_value(json_object_get(task, "output_bytes")) > held;
    json_decref(o);
    mem_pool_free(pool);
}

json_t *
outcome_delegated(const char *task, const char *key, const char *id,
                  const char *worker, const char *since)
{
    const struct {
        const char *name, *value;
    } fields[] = {
        {"task", task},
        {"state", *key ? "delegated_to_secutools" : "delegation_intended"},
        {"key", key},
        {"job_id", id},
        {"worker", worker},
        {"submitted_at", since},
    };
    json_t *o = json_object();

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (*fields[i].value)
            (void)json_object_set_new(o, fields[i].name,
                                      json_string(fields[i].value));
    return o;
}

static const char *
text_or_none(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));

    return text ? text : "";
}

/* For a task whose job id at a platform the reaper knows; else NULL. */
static json_t *
delegated_of(const json_t *task)
{
    const char *id = text_or_none(task, "job_id");

    if (!*id)
        return NULL;
    return outcome_delegated(
        text_or_none(task, "id"), text_or_none(task, "job_key"), id,
        text_or_none(task, "worker"), text_or_none(task, "started_at"));
}

int
outcome_read(const void *data, size_t len, struct task_outcome *out,
             struct err *e)
{
    json_t *answer = codec_parse_json("the reaper's answer", data, len, e);
    const json_t *task = json_object_get(answer, "task");
    const json_t *error = json_object_get(answer, "error");
    const char *state = json_string_value(json_object_get(task, "state"));
    const char *code = json_string_value(json_object_get(error, "code"));
    int rc = -1;

    *out = (struct task_outcome){0};
    if (!answer) {
        e->code = ERR_UNAVAILABLE;
    } else if (state) {
        out->terminal = state_is_terminal(state_from_name(state));
        if (out->terminal) {
            out->json = result_of(task);
            read_output(task, out);
        } else {
            out->delegated = delegated_of(task);
        }
        rc = 0;
    } else if (code && strcmp(code, "not-found") == 0) {
        err_set(e, ERR_NOT_FOUND, "the reaper does not know the task");
    } else {
        err_set(e, ERR_UNAVAILABLE, "the reaper answers: %s",
                code ? code : "?");
    }
    json_decref(answer);
    return rc;
}

void
outcome_release(struct task_outcome *o)
{
    json_decref(o->json);
    json_decref(o->delegated);
    str_free(&o->output);
    *o = (struct task_outcome){0};
}

/* --- outcome of a file ---------------------------------------------------- */

bool
outcome_succeeded(const json_t *json)
{
    const char *state = json_string_value(json_object_get(json, "state"));

    return state && state_from_name(state) == STATE_SUCCEEDED;
}

json_t *
outcome_of_file(json_t **list, size_t n, const char *claim)
{
    json_t *o, *tasks, *worst = list[0];

    if (n == 1) {
        const char *id = json_string_value(json_object_get(list[0], "task"));

        /* A file may name its task itself; its outcome must still be
         * recognized as this claim's. */
        if (!id || strcmp(id, claim) != 0)
            (void)json_object_set_new(list[0], "claim", json_string(claim));
        return list[0];
    }
    for (size_t i = 0; i < n && outcome_succeeded(worst); i++)
        worst = list[i];
    o = json_object();
    (void)json_object_set_new(o, "claim", json_string(claim));
    copy(o, "state", worst, "state");
    copy(o, "exit_code", worst, "exit_code");
    copy(o, "reason", worst, "reason");
    copy(o, "finished_at", list[n - 1], "finished_at");
    tasks = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(tasks, list[i]);
    (void)json_object_set_new(o, "tasks", tasks);
    return o;
}

/* --- writing -------------------------------------------------------------- */

void
outcome_json(const json_t *json, struct str *out)
{
    char *text = json_dumps(json, JSON_INDENT(2));

    str_addz(out, text ? text : "{}");
    str_addc(out, '\n');
    free(text);
}

/* Adds one line, whatever the value contains. */
static void
add_line(struct str *out, const char *key, const json_t *v)
{
    struct str clean = {0};

    if (json_is_integer(v)) {
        str_addf(out, "%s: %" JSON_INTEGER_FORMAT "\n", key,
                 json_integer_value(v));
        return;
    }
    if (!json_is_string(v))
        return;
    str_add_printable(&clean, json_string_value(v), json_string_length(v));
    for (size_t i = 0; i < clean.len; i++)
        if (clean.data[i] == '\n' || clean.data[i] == '\t')
            clean.data[i] = ' ';
    str_addf(out, "%s: %s\n", key, str_text(&clean));
    str_free(&clean);
}

static void
add_warnings(const json_t *o, struct str *out)
{
    const json_t *warnings = json_object_get(o, "warnings");

    for (size_t i = 0; i < json_array_size(warnings); i++)
        add_line(out, "warning", json_array_get(warnings, i));
}

/* Adds the lines of one task. The first ones are those that readers of the
 * footer know (provider, job_id, cost_usd, queue_ms, run_ms, finished_at). */
static void
add_task(const json_t *o, struct str *out)
{
    /* The platform's own id of it, if there is one. */
    const char *job = json_object_get(o, "job_id") ? "job_id" : "task";
    const struct {
        const char *label, *key;
    } lines[] = {{"provider", "provider"},
                 {"model", "model"},
                 {"job_id", job},
                 {"cost_usd", "cost_usd"},
                 {"queue_ms", "queue_ms"},
                 {"run_ms", "duration_ms"},
                 {"finished_at", "finished_at"},
                 {"state", "state"},
                 {"exit_code", "exit_code"},
                 {"reason", "reason"},
                 {"backend", "backend"},
                 {"lane", "lane"},
                 {"worker", "worker"},
                 {"attempts", "attempts"},
                 {"report", "report"},
                 {"claim", "claim"}};
    const json_t *d = json_object_get(o, "decision");
    const char *rule = json_string_value(json_object_get(d, "rule"));
    const char *why = json_string_value(json_object_get(d, "reason"));

    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        add_line(out, lines[i].label, json_object_get(o, lines[i].key));
    add_warnings(o, out);
    if (rule) {
        json_t *text = json_sprintf("%s: %s", rule, why ? why : "");

        add_line(out, "decision", text);
        json_decref(text);
    }
}

static void
add_tasks(const json_t *json, struct str *out)
{
    const json_t *tasks = json_object_get(json, "tasks"), *task;
    size_t i;

    if (!tasks) {
        add_task(json, out);
        return;
    }
    add_line(out, "state", json_object_get(json, "state"));
    add_line(out, "exit_code", json_object_get(json, "exit_code"));
    add_line(out, "claim", json_object_get(json, "claim"));
    add_warnings(json, out);
    json_array_foreach(tasks, i, task)
    {
        str_addz(out, "---\n");
        add_task(task, out);
    }
}

void
outcome_footer(const json_t *json, struct str *out)
{
    str_addz(out, "\n---\n");
    add_tasks(json, out);
}

void
outcome_run_log(const json_t *json, const struct str *output, struct str *out)
{
    add_tasks(json, out);
    str_addc(out, '\n');
    str_add_printable(out, str_text(output), output->len);
    if (output->len && output->data[output->len - 1] != '\n')
        str_addc(out, '\n');
}

bool
outcome_tells_of(const struct str *text, const char *task)
{
    return memmem(str_text(text), text->len, task, strlen(task)) != NULL;
}

int
outcome_into_json(const struct str *original, const json_t *json,
                  struct str *out, struct err *e)
{
    json_t *o = codec_parse_json("file", str_text(original), original->len, e);

    if (!o)
        return -1;
    if (!json_is_object(o)) {
        json_decref(o);
        return err_set(e, ERR_INVALID, "not a JSON object");
    }
    (void)json_object_set_new(
        o, "status",
        json_string(outcome_succeeded(json) ? "completed" : "failed"));
    (void)json_object_set(o, "result", (json_t *)(uintptr_t)json);
    outcome_json(o, out);
    json_decref(o);
    return 0;
}
