/*
 * Answers watchdog: running and silent tasks, lanes with tasks but no worker,
 * and paused lanes with the reason.
 */
#include "reaper/query/query_private.h"

#include "lib/io/loop.h"
#include "reaper/report/report.h"

#include <string.h>

enum { LISTED_MAX = 100 }; /* tasks in an answer */

/* --- stale tasks ---------------------------------------------------------- */

bool
query_stale_row(const struct query *q, const struct presence_task *t,
                struct task_state *out)
{
    struct err e;

    mem_pool_reset(q->pool);
    return strcmp(t->backend, QUERY_DELEGATED) != 0 &&
           db_task(q->p.db, t->id, q->pool, out, &e) > 0 &&
           !state_is_terminal(out->state) && t->attempt > out->attempts &&
           strcmp(out->backend, QUERY_DELEGATED) != 0;
}

/* --- the list ------------------------------------------------------------- */

struct watched_task {
    struct query *query;
    json_t *list;
    int64_t now_ms;
    bool more; /* than the list holds */
};

static void
add_task(struct watched_task *w, const struct task_state *row,
         const struct presence_task *t, const char *state)
{
    json_t *o;

    if (json_array_size(w->list) >= LISTED_MAX) {
        w->more = true;
        return;
    }
    o = json_object();
    report_set_text(o, "id", row->id);
    report_set_text(o, "name", row->name);
    report_set_text(o, "state", state);
    report_set_text(o, "backend", row->backend);
    report_set_text(o, "lane", row->lane);
    report_set_text(o, "worker", t->worker);
    report_set_time(o, "started_at", t->started_at_ms);
    report_set(o, "silent_ms", json_integer(w->now_ms - t->seen_ms));
    (void)json_array_append_new(w->list, o);
}

static void
add_stale(void *ctx, const struct presence_task *t)
{
    struct watched_task *w = ctx;
    struct task_state row;

    if (query_stale_row(w->query, t, &row))
        add_task(w, &row, t, "stale");
}

static void
add_running(void *ctx, const struct presence_task *t)
{
    struct watched_task *w = ctx;
    struct task_state row;

    if (json_array_size(w->list) >= LISTED_MAX)
        w->more = true; /* rows are read only for tasks that are shown */
    else if (query_running_row(w->query, t, &row))
        add_task(w, &row, t,
                 strcmp(row.backend, QUERY_DELEGATED) == 0
                     ? "delegated_to_secutools"
                     : "running");
}

/* --- lanes ---------------------------------------------------------------- */

/* Adds since when the oldest task of the lane waits. */
static void
add_since(struct query *q, const struct db_lane *lane, json_t *o)
{
    struct task_state row;
    struct err e;
    int64_t n;

    mem_pool_reset(q->pool);
    if (db_on_lane(q->p.db, lane, NULL, INT64_MAX, 1, &n, &e) == 1 &&
        db_task_at(q->p.db, n, q->pool, &row, &e) > 0)
        report_set_time(o, "since", row.routed_at_ms);
}

/* Lanes with waiting tasks and no worker. */
static json_t *
idle_lanes(struct query *q, json_t *lanes)
{
    json_t *list = json_array(), *lane, *o;
    const char *name, *dot;

    json_object_foreach(lanes, name, lane)
    {
        json_int_t waiting =
            query_count(lane, "routed") + query_count(lane, "retry_wait");
        struct db_lane key = {{0}, {0}};

        dot = strchr(name, '.');
        if (!waiting || query_count(lane, "workers") || !dot ||
            (size_t)(dot - name) >= sizeof key.backend)
            continue;
        memcpy(key.backend, name, (size_t)(dot - name));
        (void)str_copy(key.lane, sizeof key.lane, dot + 1);
        o = json_object();
        report_set_text(o, "backend", key.backend);
        report_set_text(o, "lane", key.lane);
        report_set(o, "waiting", json_integer(waiting));
        add_since(q, &key, o);
        (void)json_array_append_new(list, o);
    }
    return list;
}

/* Lanes that are paused now, and why. */
static json_t *
paused_lanes(const struct query *q)
{
    json_t *list = json_array(), *o;
    int64_t now = str_wall_ms();
    size_t n = q->p.pauses ? lane_pauses_count(q->p.pauses) : 0;

    for (size_t i = 0; i < n && json_array_size(list) < LISTED_MAX; i++) {
        const struct lane_pause *p = lane_pauses_at(q->p.pauses, i);

        if (lane_pauses_find(q->p.pauses, p->backend, p->lane, now) != p)
            continue;
        o = json_object();
        report_set_text(o, "backend", p->backend);
        report_set_text(o, "lane", p->lane);
        report_set_text(o, "reason", p->reason);
        report_set_text(o, "by", p->by);
        report_set_time(o, "since", p->at_ms);
        report_set(o, "until", json_null());
        report_set_time(o, "until", p->until_ms);
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *
counts(const json_t *status, const json_t *sums)
{
    json_int_t all =
        query_count(json_object_get(status, "counters"), "running");
    json_int_t delegated = query_count(sums, "running");

    return json_pack("{s:I, s:I, s:I}", "running", all - delegated, "stale",
                     query_count(status, "stale"), "delegated_to_secutools",
                     query_count(sums, "waiting") + delegated);
}

json_t *
query_watchdog(struct query *q, const json_t *request)
{
    json_t *status = query_status(q, NULL), *o, *lanes, *idle, *sums;
    struct watched_task w = {.query = q, .now_ms = loop_now_ms()};

    (void)request;
    if (json_object_get(status, "error"))
        return status;
    lanes = json_object_get(status, "lanes");
    idle = idle_lanes(q, lanes);
    sums = query_delegation(lanes, NULL);
    w.list = json_array();
    presence_each_task(q->p.presence, true, add_stale, &w);
    presence_each_task(q->p.presence, false, add_running, &w);
    o = json_object();
    report_set(
        o, "ok",
        json_boolean(!query_count(status, "stale") && !json_array_size(idle)));
    report_set(o, "counts", counts(status, sums));
    report_set(o, "lanes_without_worker", idle);
    report_set(o, "lanes_paused", paused_lanes(q));
    report_set(o, "delegation", sums);
    report_set(o, "tasks", w.list);
    report_set(o, "tasks_cut", json_boolean(w.more));
    json_decref(status);
    return o;
}
