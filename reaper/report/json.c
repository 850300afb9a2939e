/*
 * Renders rows, attempts, the timeline and whole tasks as JSON: for reports,
 * and for the answers of reaper/query.
 */
#include "reaper/report/report_private.h"

#include "lib/model/codec.h"

#include <stdlib.h>
#include <string.h>

void
report_set(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

void
report_set_text(json_t *o, const char *key, const char *text)
{
    struct str clean = {0};

    if (!*text)
        return;
    str_add_utf8(&clean, text, strlen(text));
    report_set(o, key, json_stringn(str_text(&clean), clean.len));
    str_free(&clean);
}

void
report_set_time(json_t *o, const char *key, int64_t at_ms)
{
    char text[32];

    if (at_ms)
        report_set(o, key, json_string(str_time(at_ms, text, sizeof text)));
}

static void
set_count(json_t *o, const char *key, uint64_t value)
{
    if (value)
        report_set(o, key, json_integer((json_int_t)value));
}

json_t *
report_row_json(const struct task_state *r)
{
    json_t *o = json_object();

    report_set_text(o, "id", r->id);
    report_set_text(o, "name", r->name);
    report_set_text(o, "state", state_name(r->state));
    report_set_text(o, "backend", r->backend);
    report_set_text(o, "lane", r->lane);
    report_set_text(o, "source", r->source);
    report_set_text(o, "batch", r->batch);
    report_set_text(o, "command", r->command);
    report_set_time(o, "submitted_at", r->submitted_at_ms);
    report_set_time(o, "accepted_at", r->accepted_at_ms);
    report_set_time(o, "started_at", r->started_at_ms);
    report_set_time(o, "finished_at", r->finished_at_ms);
    if (fold_has_exit_code(r))
        report_set(o, "exit_code", json_integer(r->exit_code));
    report_set(o, "attempts", json_integer(r->attempts));
    report_set_text(o, "worker", r->worker);
    report_set_text(o, "reason", r->reason);
    set_count(o, "failed_step", r->failed_step);
    if (r->state == STATE_RETRY_WAIT)
        report_set_time(o, "retry_at", r->retry_at_ms);
    return o;
}

void
report_set_service(json_t *o, const struct result *r)
{
    report_set_text(o, "provider", r->provider);
    report_set_text(o, "model", r->model);
    report_set_text(o, "cost_usd", r->cost_usd);
    if (*r->cost_usd && r->cost_estimated)
        report_set(o, "cost_estimated", json_true());
    report_set_text(o, "remote_id", r->remote_id);
    set_count(o, "queue_ms", r->queue_ms);
    set_count(o, "run_ms", r->run_ms);
    set_count(o, "input_tokens", r->input_tokens);
    set_count(o, "output_tokens", r->output_tokens);
}

void
report_set_warnings(json_t *o, const struct task *t, const struct result *r)
{
    json_t *list = json_array();

    for (size_t i = 0; t && i < t->n_warnings; i++)
        (void)json_array_append_new(list, json_string(t->warnings[i]));
    for (size_t i = 0; r && i < r->n_warnings; i++)
        (void)json_array_append_new(list, json_string(r->warnings[i]));
    if (json_array_size(list))
        report_set(o, "warnings", json_incref(list));
    json_decref(list);
}

json_t *
report_attempt_json(const struct report_attempt *a)
{
    const struct result *r = &a->result;
    json_t *o = json_object();

    report_set(o, "attempt", json_integer(r->attempt));
    set_count(o, "fence", r->fence);
    report_set_text(o, "state", state_name(r->state));
    report_set(o, "final", json_boolean(r->final));
    if (a->superseded)
        report_set(o, "superseded", json_true());
    report_set_text(o, "backend", r->backend);
    report_set_text(o, "lane", r->lane);
    report_set_text(o, "worker", r->worker);
    if (task_has_exit_code(r))
        report_set(o, "exit_code", json_integer(r->exit_code));
    set_count(o, "signal", r->signal > 0 ? (uint64_t)r->signal : 0);
    set_count(o, "failed_step", r->failed_step);
    report_set_text(o, "reason", r->reason);
    report_set_warnings(o, NULL, r);
    report_set_time(o, "started_at", r->started_at_ms);
    report_set_time(o, "finished_at", r->finished_at_ms);
    report_set_time(o, "retry_at", r->retry_at_ms);
    set_count(o, "output_bytes", r->output_bytes);
    set_count(o, "dropped_bytes", r->dropped_bytes);
    set_count(o, "log_chunks", r->log_chunks);
    report_set_service(o, r);
    set_count(o, "max_rss_bytes", r->max_rss_bytes);
    set_count(o, "cpu_ms", r->cpu_ms);
    return o;
}

/* --- the timeline --------------------------------------------------------- */

enum { MOMENTS_MAX = 16 };

struct moment {
    int64_t at_ms;
    size_t order; /* among those of one time */
    const char *state, *note;
};

struct moments {
    struct moment *list;
    size_t n;
};

static void
moment(struct moments *m, int64_t at_ms, const char *state, const char *note)
{
    if (!at_ms)
        return;
    m->list[m->n] = (struct moment){at_ms, m->n, state, note};
    m->n++;
}

static int
by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

json_t *
report_timeline_json(const struct report_task *t)
{
    const struct task_state *r = t->row;
    struct moments m = {0};
    json_t *out = json_array();

    m.list = mem_zero(MOMENTS_MAX + 2 * t->n_attempts, sizeof *m.list);
    moment(&m, r->submitted_at_ms, "submitted", "");
    moment(&m, r->accepted_at_ms, "accepted", "");
    if (r->gate == GATE_HELD)
        moment(&m, r->accepted_at_ms, "held", "waits for a person");
    else if (r->gate == GATE_BLOCKED)
        moment(&m, r->accepted_at_ms, "blocked",
               "waits for other tasks or a time");
    if (r->routed)
        moment(&m, r->routed_at_ms, "routed",
               t->decision ? t->decision->reason : "");
    moment(&m, r->cancel_at_ms, "cancel requested", r->cancel_reason);
    for (size_t i = 0; i < t->n_attempts; i++) {
        const struct result *a = &t->attempts[i].result;
        int64_t end_ms =
            a->finished_at_ms ? a->finished_at_ms : t->attempts[i].at_ms;

        moment(&m, a->started_at_ms, "running", a->worker);
        moment(&m, end_ms, state_name(a->state), a->reason);
    }
    qsort(m.list, m.n, sizeof *m.list, by_time);
    for (size_t i = 0; i < m.n; i++) {
        json_t *o = json_object();

        report_set_time(o, "at", m.list[i].at_ms);
        report_set_text(o, "state", m.list[i].state);
        report_set_text(o, "note", m.list[i].note);
        (void)json_array_append_new(out, o);
    }
    mem_free(m.list);
    return out;
}

/* --- reports -------------------------------------------------------------- */

void
report_end_json(json_t *o, struct str *out)
{
    char *text = json_dumps(o, JSON_INDENT(2));

    if (text) {
        str_addz(out, text);
        str_addc(out, '\n');
    }
    free(text);
    json_decref(o);
}

json_t *
report_begin_json(const char *kind)
{
    json_t *o = codec_schema("report");

    report_set(o, "kind", json_string(kind));
    return o;
}

void
report_task_json(const struct report_task *t, struct str *out)
{
    json_t *o = report_begin_json("task"), *row = report_row_json(t->row);
    json_t *attempts = json_array();
    struct str text = {0};

    (void)json_object_update(o, row);
    json_decref(row);
    for (size_t i = 0; i < t->n_attempts; i++)
        (void)json_array_append_new(attempts,
                                    report_attempt_json(&t->attempts[i]));
    if (t->task)
        report_set(o, "task", codec_to_json(CODEC_TASK, t->task));
    if (t->decision)
        report_set(o, "decision", codec_to_json(CODEC_DECISION, t->decision));
    report_set(o, "attempt_list", attempts);
    report_set(o, "timeline", report_timeline_json(t));
    report_set_warnings(o, t->task, t->outcome);
    if (t->outcome) {
        task_add_output(&text, t->outcome->output, t->outcome->n_output);
        if (text.len) {
            struct str clean = {0};

            str_add_utf8(&clean, text.data, text.len);
            report_set(o, "output", json_stringn(str_text(&clean), clean.len));
            str_free(&clean);
        }
        report_set(o, "output_bytes",
                   json_integer((json_int_t)t->outcome->output_bytes));
    }
    str_free(&text);
    report_end_json(o, out);
}
