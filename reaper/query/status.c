/*
 * Answers status and workers: the counters of the ledger, in all and by lane,
 * with the tasks that run told apart from those routed; workers alive, watched
 * folders, alarms, and how far the consumers are behind.
 */
#include "reaper/query/query_private.h"

#include "lib/model/codec.h"
#include "reaper/query/alarms.h"
#include "reaper/report/report.h"

#include <stdio.h>
#include <string.h>

struct status {
    struct query *query;
    json_t *counters, *lanes, *workers;
    json_t *folders, *alarms; /* NULL: not asked for */
    size_t room;
    unsigned stale;
};

static json_t *
lane_of(struct status *s, const char *scope)
{
    json_t *o = json_object_get(s->lanes, scope);

    if (!o) {
        o = json_object();
        report_set(s->lanes, scope, o);
    }
    return o;
}

static void
on_counter(void *ctx, const char *scope, const char *name, int64_t value)
{
    struct status *s = ctx;

    if (value)
        report_set(*scope ? lane_of(s, scope) : s->counters, name,
                   json_integer(value));
}

/* Running tasks are stored as routed: subtracts them. */
static void
move_running(json_t *counters)
{
    json_int_t running = query_count(counters, "running");
    json_int_t routed = query_count(counters, "routed");

    if (!running || !routed)
        return;
    if (routed > running)
        report_set(counters, "routed", json_integer(routed - running));
    else
        (void)json_object_del(counters, "routed");
}

static void
add_one(json_t *o, const char *key)
{
    report_set(o, key, json_integer(query_count(o, key) + 1));
}

static void
on_running(void *ctx, const struct presence_task *t)
{
    struct status *s = ctx;
    struct task_state row;
    char lane[2 * TASK_ID_SIZE + 1];

    if (!query_running_row(s->query, t, &row))
        return;
    add_one(s->counters, "running");
    if (!*row.backend)
        return;
    (void)snprintf(lane, sizeof lane, "%s.%s", row.backend, row.lane);
    add_one(lane_of(s, lane), "running");
}

static void
on_silent(void *ctx, const struct presence_task *t)
{
    struct status *s = ctx;
    struct task_state row;

    s->stale += query_stale_row(s->query, t, &row);
}

static void
add_alarm(json_t *alarms, const char *name, const char *text)
{
    json_t *o;

    if (json_array_size(alarms) >= 2 * (size_t)ALARMS_MAX)
        return;
    o = json_object();
    report_set_text(o, "name", name);
    report_set_text(o, "text", text);
    (void)json_array_append_new(alarms, o);
}

static void
on_fault(void *ctx, const char *name, const char *text)
{
    struct status *s = ctx;

    add_alarm(s->alarms, name, text);
}

/* What a gateway says of its folders: some of it is for people to act on. */
static void
add_folders(struct status *s, const struct heartbeat *h)
{
    json_t *o = codec_to_json(CODEC_HEARTBEAT, h), *folder;
    size_t i;

    json_array_foreach(json_object_get(o, "folders"), i, folder)
    {
        const struct folder_state *f = &h->folders[i];

        report_set(folder, "waiting", json_integer(f->waiting));
        report_set(folder, "running", json_integer(f->running));
        report_set_text(folder, "host", h->host);
        for (size_t j = 0; s->alarms && j < f->n_problems; j++)
            add_alarm(s->alarms, "folder_unusable", f->problems[j]);
        for (size_t j = 0; s->alarms && j < f->n_warnings; j++)
            add_alarm(s->alarms, "folder_waits", f->warnings[j]);
        if (s->folders)
            (void)query_append(s->folders, json_incref(folder), &s->room,
                               false);
    }
    json_decref(o);
}

static void
on_worker(void *ctx, const struct heartbeat *h, int64_t age_ms)
{
    struct status *s = ctx;
    json_t *o;

    if (strcmp(h->backend, HEARTBEAT_FOLDER) == 0) {
        add_folders(s, h);
        return;
    }
    o = codec_to_json(CODEC_HEARTBEAT, h);
    report_set(o, "running", json_integer(h->running_count));
    report_set(o, "age_ms", json_integer(age_ms));
    if (!query_append(s->workers, o, &s->room, false))
        return;
    for (size_t i = 0; i < h->n_lanes; i++) {
        char lane[2 * TASK_ID_SIZE + 1];

        (void)snprintf(lane, sizeof lane, "%s.%.40s", h->backend, h->lanes[i]);
        add_one(lane_of(s, lane), "workers");
    }
}

static json_t *
lag_json(struct query *q)
{
    json_t *o = json_object();

    for (int i = 0; q->p.lag; i++) {
        const char *name;
        uint64_t n = q->p.lag(q->p.ctx, i, &name);

        if (!name)
            break;
        report_set(o, name, json_integer((json_int_t)n));
    }
    return o;
}

json_t *
query_workers(struct query *q, const json_t *request)
{
    struct status s = {
        .lanes = json_object(), .workers = json_array(), .room = query_room(q)};

    (void)request;
    presence_each_worker(q->p.presence, on_worker, &s);
    json_decref(s.lanes);
    return json_pack("{s:o}", "workers", s.workers);
}

json_t *
query_status(struct query *q, const json_t *request)
{
    struct status s = {.query = q,
                       .counters = json_object(),
                       .lanes = json_object(),
                       .workers = json_array(),
                       .folders = json_array()};
    json_t *o = json_object();
    struct err e;

    (void)request;
    report_set(o, "counters", s.counters);
    report_set(o, "lanes", s.lanes);
    report_set(o, "workers", s.workers);
    report_set(o, "folders", s.folders);
    report_set(o, "lag", lag_json(q));
    if (q->p.streams)
        report_set(o, "streams", stream_monitor_json(q->p.streams));
    if (db_counters(q->p.db, on_counter, &s, &e) < 0) {
        json_decref(o);
        return query_failure(&e);
    }
    presence_each_task(q->p.presence, false, on_running, &s);
    move_running(s.counters);
    for (void *at = json_object_iter(s.lanes); at;
         at = json_object_iter_next(s.lanes, at))
        move_running(json_object_iter_value(at));
    presence_each_task(q->p.presence, true, on_silent, &s);
    report_set(o, "stale", json_integer(s.stale));
    if (q->p.disk) {
        s.alarms = disk_monitor_alarms(q->p.disk,
                                       query_count(s.counters, "quarantined"));
        report_set(o, "alarms", s.alarms);
    }
    if (s.alarms)
        presence_each_fault(q->p.presence, on_fault, &s);
    s.room = query_room_beside(q, o);
    s.room -= s.room / 4; /* for the lanes that workers name */
    presence_each_worker(q->p.presence, on_worker, &s);
    return o;
}
