/*
 * Writes the counters, lanes, workers and costs of two answers as families of
 * Prometheus samples. Label values come from outside and are escaped.
 */
#include "reaper/http/metrics.h"

#include "lib/model/task.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void
family(struct str *out, const char *name, const char *type, const char *help)
{
    str_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value; names from outside may hold any bytes. */
static void
add_value(struct str *out, const char *text)
{
    struct str clean = {0};

    str_add_utf8(&clean, text, strlen(text));
    for (size_t i = 0; i < clean.len; i++) {
        char c = clean.data[i];

        if (c == '\n') {
            str_addz(out, "\\n");
            continue;
        }
        if (c == '"' || c == '\\')
            str_addc(out, '\\');
        str_addc(out, c);
    }
    str_free(&clean);
}

/* Begins a sample with labels: keys and values, and a NULL. */
static void
labelled(struct str *out, const char *name, const char *key, ...)
{
    const char *before = "{";
    va_list args;

    str_addz(out, name);
    va_start(args, key);
    for (; key; key = va_arg(args, const char *)) {
        str_addf(out, "%s%s=\"", before, key);
        add_value(out, va_arg(args, const char *));
        before = "\",";
    }
    va_end(args);
    str_addz(out, "\"} ");
}

/* Ends it. */
static void
add_number(struct str *out, int64_t n)
{
    str_addf(out, "%" PRId64 "\n", n);
}

static int64_t
number(const json_t *o, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(o, key));
}

static const char *
text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static void
single(struct str *out, const char *name, const char *type, const char *help,
       int64_t value)
{
    family(out, name, type, help);
    str_addf(out, "%s %" PRId64 "\n", name, value);
}

/* --- tasks ---------------------------------------------------------------- */

/* States a task can be in; the others are those of attempts. */
static bool
is_of_tasks(enum state s)
{
    return s != STATE_UNSPECIFIED && s < STATE_LOST;
}

static void
add_tasks(struct str *out, const json_t *counters)
{
    family(out, "shunt_tasks", "gauge", "Tasks by state.");
    for (int s = 0; s < STATE_COUNT; s++)
        if (is_of_tasks((enum state)s)) {
            labelled(out, "shunt_tasks", "state", state_name((enum state)s),
                     NULL);
            add_number(out, number(counters, state_name((enum state)s)));
        }
    single(out, "shunt_tasks_accepted_total", "counter",
           "Tasks in the ledger that were accepted.",
           number(counters, "tasks"));
    single(out, "shunt_attempts_total", "counter",
           "Attempts of tasks that have ended.", number(counters, "attempts"));
    single(out, "shunt_results_superseded_total", "counter",
           "Final results of tasks that had already finished.",
           number(counters, "superseded"));
    single(out, "shunt_quarantined_total", "counter",
           "Messages that failed verification or do not decode.",
           number(counters, "quarantined"));
}

/* --- lanes ---------------------------------------------------------------- */

/* "backend.lane": copies the backend, returns the lane. */
static const char *
split_scope(const char *scope, char *backend, size_t size)
{
    size_t len = strcspn(scope, ".");

    (void)snprintf(backend, size, "%.*s", (int)len, scope);
    return scope + len + (scope[len] == '.');
}

static void
add_lane_states(struct str *out, json_t *lanes)
{
    const char *scope;
    json_t *counters;

    family(out, "shunt_lane_tasks", "gauge", "Tasks of a lane by state.");
    json_object_foreach(lanes, scope, counters)
    {
        char backend[TASK_ID_SIZE];
        const char *lane = split_scope(scope, backend, sizeof backend);

        for (int s = 0; s < STATE_COUNT; s++) {
            const char *state = state_name((enum state)s);

            if (!is_of_tasks((enum state)s) || !number(counters, state))
                continue;
            labelled(out, "shunt_lane_tasks", "backend", backend, "lane", lane,
                     "state", state, NULL);
            add_number(out, number(counters, state));
        }
    }
}

/* The sum of the counters key and other, which may be NULL, of each lane. */
static void
add_lane_family(struct str *out, json_t *lanes, const char *name,
                const char *help, const char *key, const char *other)
{
    const char *scope;
    json_t *counters;

    family(out, name, "gauge", help);
    json_object_foreach(lanes, scope, counters)
    {
        char backend[TASK_ID_SIZE];
        const char *lane = split_scope(scope, backend, sizeof backend);

        labelled(out, name, "backend", backend, "lane", lane, NULL);
        add_number(out, number(counters, key) + number(counters, other));
    }
}

/* --- workers -------------------------------------------------------------- */

static void
add_worker_family(struct str *out, const json_t *workers, const char *name,
                  const char *help, const char *key, bool is_ms)
{
    const json_t *w;
    size_t i;

    family(out, name, "gauge", help);
    json_array_foreach(workers, i, w)
    {
        labelled(out, name, "backend", text(w, "backend"), "worker",
                 text(w, "worker"), NULL);
        if (is_ms)
            str_addf(out, "%" PRId64 ".%03" PRId64 "\n", number(w, key) / 1000,
                     number(w, key) % 1000);
        else
            add_number(out, number(w, key));
    }
}

static void
add_workers(struct str *out, const json_t *workers)
{
    single(out, "shunt_workers", "gauge", "Workers alive.",
           (int64_t)json_array_size(workers));
    add_worker_family(out, workers, "shunt_worker_slots",
                      "Tasks a worker may run at once.", "slots", false);
    add_worker_family(out, workers, "shunt_worker_running_tasks",
                      "Tasks a worker runs.", "running", false);
    add_worker_family(out, workers, "shunt_worker_memory_free_bytes",
                      "Memory free on a worker's machine.", "memory_free_bytes",
                      false);
    add_worker_family(out, workers, "shunt_worker_heartbeat_age_seconds",
                      "Time since the last heartbeat of a worker.", "age_ms",
                      true);
}

/* --- costs ---------------------------------------------------------------- */

static void
add_costs(struct str *out, const json_t *costs)
{
    const json_t *row;
    size_t i;

    family(out, "shunt_cost_today_usd", "gauge",
           "The cost of attempts that ended today, UTC.");
    json_array_foreach(json_object_get(costs, "costs"), i, row)
    {
        labelled(out, "shunt_cost_today_usd", "provider", text(row, "provider"),
                 "team", text(row, "team"), NULL);
        str_addf(out, "%s\n", text(row, "cost_usd"));
    }
}

/* --- streams -------------------------------------------------------------- */

static void
add_stream_family(struct str *out, const json_t *streams, const char *name,
                  const char *help, const char *key)
{
    const json_t *s;
    size_t i;

    family(out, name, "gauge", help);
    json_array_foreach(streams, i, s)
    {
        labelled(out, name, "stream", text(s, "name"), NULL);
        add_number(out, number(s, key));
    }
}

static void
add_streams(struct str *out, const json_t *streams)
{
    add_stream_family(out, streams, "shunt_stream_messages",
                      "Messages in a stream of the broker.", "messages");
    add_stream_family(out, streams, "shunt_stream_bytes",
                      "Size of a stream of the broker.", "bytes");
    add_stream_family(out, streams, "shunt_stream_max_bytes",
                      "What a stream may hold; -1: no limit.", "max_bytes");
}

/* --- the rest ------------------------------------------------------------- */

/* Whether an alarm before the one at has its name: two folders may have the
 * same trouble, and a series is written once. */
static bool
is_named_before(const json_t *alarms, size_t at)
{
    const char *name = text(json_array_get(alarms, at), "name");

    for (size_t i = 0; i < at; i++)
        if (strcmp(text(json_array_get(alarms, i), "name"), name) == 0)
            return true;
    return false;
}

void
metrics_text(const json_t *status, const json_t *costs,
             const struct metrics_facts *f, struct str *out)
{
    json_t *lag = json_object_get(status, "lag"), *v;
    json_t *lanes = json_object_get(status, "lanes");
    const char *consumer;
    size_t i;

    family(out, "shunt_info", "gauge", "The version of the reaper.");
    labelled(out, "shunt_info", "version", f->version, NULL);
    add_number(out, 1);
    single(out, "shunt_ready", "gauge",
           "Whether the reaper has broker and database.", f->ready);
    single(out, "shunt_bus_up", "gauge", "Whether the broker is connected.",
           f->bus_up);
    add_tasks(out, json_object_get(status, "counters"));
    single(out, "shunt_stale_tasks", "gauge",
           "Tasks that ran and are silent now, except delegated ones.",
           number(status, "stale"));
    add_lane_states(out, lanes);
    add_lane_family(out, lanes, "shunt_lane_waiting_tasks",
                    "Tasks of a lane that do not run yet: scale by this.",
                    "routed", "retry_wait");
    add_lane_family(out, lanes, "shunt_lane_workers",
                    "Workers alive that take tasks from a lane.", "workers",
                    NULL);
    add_workers(out, json_object_get(status, "workers"));
    add_costs(out, costs);
    family(out, "shunt_ledger_lag_messages", "gauge",
           "Messages the reaper has not folded yet.");
    json_object_foreach(lag, consumer, v)
    {
        labelled(out, "shunt_ledger_lag_messages", "consumer", consumer, NULL);
        add_number(out, json_integer_value(v));
    }
    add_streams(out, json_object_get(status, "streams"));
    family(out, "shunt_alarm", "gauge",
           "Alarms that a person must look at: 1 each.");
    json_array_foreach(json_object_get(status, "alarms"), i, v)
    {
        if (is_named_before(json_object_get(status, "alarms"), i))
            continue;
        labelled(out, "shunt_alarm", "name", text(v, "name"), NULL);
        add_number(out, 1);
    }
}
