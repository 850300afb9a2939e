/*
 * Answers delegated: sums of the tasks on an AI platform, in all and by
 * provider, what they cost today, and those that are not finished.
 */
#include "reaper/query/query_private.h"

#include "reaper/report/report.h"

#include <string.h>

enum { ACTIVE_MAX = 200 }; /* tasks in an answer */

/* Adds the counters of a lane to the sums in out. */
static void
add_delegation(json_t *out, const json_t *lane)
{
    json_int_t failed = 0;

    for (int s = 1; s < STATE_COUNT; s++)
        if (state_is_terminal((enum state)s) && s != STATE_SUCCEEDED &&
            s != STATE_CANCELLED)
            failed += query_count(lane, state_name((enum state)s));
    const struct {
        const char *name;
        json_int_t n;
    } sums[] = {
        {"submitted", query_count(lane, "tasks")},
        {"waiting",
         query_count(lane, "routed") + query_count(lane, "retry_wait")},
        {"running", query_count(lane, "running")},
        {"succeeded", query_count(lane, "succeeded")},
        {"failed", failed},
        {"cancelled", query_count(lane, "cancelled")},
    };

    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        report_set(out, sums[i].name,
                   json_integer(query_count(out, sums[i].name) + sums[i].n));
}

/* Tasks that are not finished, oldest first on each lane. */
struct active {
    struct query *query;
    json_t *list;
    size_t room;
    bool more; /* than the list holds */
};

static json_t *
delegated_json(const struct query *q, const struct task_state *row)
{
    const struct presence_task *t = query_running(q, row);
    json_t *o = query_row(q, row);

    report_set_text(o, "provider", row->lane);
    report_set_time(o, "since", t ? t->started_at_ms : row->routed_at_ms);
    return o;
}

/* False when the list is full. */
static bool
add_delegated(struct active *l, int64_t n, struct err *e)
{
    struct task_state row;

    mem_pool_reset(l->query->pool);
    if (db_task_at(l->query->p.db, n, l->query->pool, &row, e) <= 0)
        return true; /* finished since */
    l->more =
        json_array_size(l->list) >= ACTIVE_MAX ||
        !query_append(l->list, delegated_json(l->query, &row), &l->room, false);
    return !l->more;
}

static int
add_active(struct active *l, struct err *e)
{
    struct db_lane at = {.backend = QUERY_DELEGATED, .lane = ""}, next;
    int64_t ns[ACTIVE_MAX + 1];
    int rc, n;

    while ((rc = db_next_lane(l->query->p.db, &at, &next, e)) > 0 &&
           strcmp(next.backend, QUERY_DELEGATED) == 0) {
        n = db_on_lane(l->query->p.db, &next, NULL, INT64_MAX, ACTIVE_MAX + 1,
                       ns, e);
        if (n < 0)
            return -1;
        for (int i = 0; i < n; i++)
            if (!add_delegated(l, ns[i], e))
                return 0;
        at = next;
    }
    return rc < 0 ? -1 : 0;
}

json_t *
query_delegation(json_t *lanes, json_t *providers)
{
    json_t *all = json_object(), *sums, *lane;
    const size_t prefix = sizeof QUERY_DELEGATED;
    const char *name;

    add_delegation(all, NULL);
    json_object_foreach(lanes, name, lane)
    {
        if (strncmp(name, QUERY_DELEGATED ".", prefix) != 0)
            continue;
        add_delegation(all, lane);
        sums = json_object();
        add_delegation(sums, lane);
        report_set(sums, "workers", json_integer(query_count(lane, "workers")));
        if (providers)
            report_set(providers, name + prefix, json_incref(sums));
        json_decref(sums);
    }
    return all;
}

json_t *
query_delegated(struct query *q, const json_t *request)
{
    json_t *status = query_status(q, NULL), *o, *providers;
    struct active l = {.query = q};
    struct err e = {0};

    (void)request;
    if (json_object_get(status, "error"))
        return status;
    o = json_object();
    providers = json_object();
    report_set(o, "counters",
               query_delegation(json_object_get(status, "lanes"), providers));
    report_set(o, "providers", providers);
    report_set(o, "costs_today", query_costs(q, NULL));
    json_decref(status);
    l.list = json_array();
    l.room = query_room_beside(q, o);
    if (add_active(&l, &e) < 0) {
        json_decref(l.list);
        json_decref(o);
        return query_failure(&e);
    }
    report_set(o, "active", l.list);
    report_set(o, "active_cut", json_boolean(l.more));
    return o;
}
