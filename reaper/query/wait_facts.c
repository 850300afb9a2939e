/*
 * Collects what is known of a waiting task (the tasks it comes after, workers
 * and pauses of its lane, tasks before it) and adds the reason that wait_reason
 * derives from these facts to an answer.
 */
#include "reaper/query/query_private.h"

#include "lib/model/codec.h"
#include "reaper/query/wait_reason.h"
#include "reaper/report/report.h"

#include <string.h>

enum {
    LOOKED_AT_MAX = 100, /* tasks it comes after */
    AHEAD_MAX = 100,     /* tasks before it on its lane */
};

/* Which tasks and what time a blocked task waits for. */
static void
add_gates(const struct query *q, const struct task_state *row,
          struct wait_facts *f)
{
    struct task t;
    struct err e;

    if (row->state != STATE_BLOCKED || row->released ||
        codec_decode(CODEC_TASK, row->task.data, row->task.len, q->pool, &t,
                     &e) < 0)
        return;
    f->not_before_ms = t.not_before_ms;
    for (size_t i = 0; i < t.n_after && i < LOOKED_AT_MAX; i++) {
        enum state s;

        if (db_state(q->p.db, t.after[i], &s, &e) < 0 || state_is_terminal(s))
            continue;
        if (f->n_after < WAIT_REASON_AFTER_MAX)
            f->after[f->n_after] = t.after[i];
        if (s == STATE_UNSPECIFIED && !f->unknown)
            f->unknown = t.after[i];
        f->n_after++;
    }
}

static void
on_worker(void *ctx, const struct heartbeat *h, int64_t age_ms)
{
    struct wait_facts *f = ctx;

    (void)age_ms;
    if (strcmp(h->backend, f->backend) != 0)
        return;
    for (size_t i = 0; i < h->n_lanes; i++) {
        if (strcmp(h->lanes[i], f->lane) != 0)
            continue;
        f->workers++;
        f->draining += h->draining;
        return;
    }
}

static void
add_pause(const struct query *q, struct wait_facts *f)
{
    const struct lane_pause *p =
        q->p.pauses
            ? lane_pauses_find(q->p.pauses, f->backend, f->lane, f->now_ms)
            : NULL;

    if (!p)
        return;
    f->paused = true;
    f->paused_until_ms = p->until_ms;
    f->pause_reason = p->reason;
}

static void
add_refusal(const struct result *last, struct wait_facts *f)
{
    if (!last || last->state != STATE_PREEMPTED)
        return;
    f->refused_until_ms = last->retry_at_ms;
    f->refused_reason = last->reason;
}

/* The tasks routed to its lane before it that do not run yet. */
static void
add_ahead(const struct query *q, const struct task_state *row,
          struct wait_facts *f)
{
    struct mem_pool *pool =
        mem_pool_new(); /* reset after each row: they may be large */
    struct db_lane lane;
    struct err e;
    int64_t ns[AHEAD_MAX];
    int n;

    (void)str_copy(lane.backend, sizeof lane.backend, row->backend);
    (void)str_copy(lane.lane, sizeof lane.lane, row->lane);
    f->ahead_max = AHEAD_MAX;
    n = db_on_lane(q->p.db, &lane, NULL,
                   row->routed_seq ? row->routed_seq - 1 : 0, AHEAD_MAX, ns,
                   &e);
    for (int i = 0; i < n; i++) {
        struct task_state other;

        mem_pool_reset(pool);
        if (db_task_at(q->p.db, ns[i], pool, &other, &e) > 0 &&
            !query_running(q, &other))
            f->ahead++;
    }
    mem_pool_free(pool);
}

static void
begin(const struct query *q, const struct task_state *row, struct wait_facts *f)
{
    *f = (struct wait_facts){
        .state = query_running(q, row) ? STATE_RUNNING : row->state,
        .now_ms = str_wall_ms(),
        .cancelled = row->cancel_at_ms != 0,
        .released = row->released,
        .retry_at_ms = row->retry_at_ms,
        .backend = row->backend,
        .lane = row->lane,
        .pause_reason = "",
        .refused_reason = "",
    };
}

void
query_add_wait(const struct query *q, const struct task_state *row, json_t *o)
{
    struct wait_facts f;
    struct str text = {0};

    if (row->state != STATE_HELD && row->state != STATE_BLOCKED)
        return;
    begin(q, row, &f);
    f.cancelled = false; /* a list shows why it is not routed */
    add_gates(q, row, &f);
    (void)wait_reason(&f, &text);
    report_set_text(o, "reason", str_text(&text));
    str_free(&text);
}

/* The same as the text, for programs. */
static json_t *
wait_json(enum wait_for w, const struct wait_facts *f, const char *text)
{
    const int64_t until_ms[WAIT_CANCEL + 1] = {
        [WAIT_TASKS] = f->not_before_ms,  [WAIT_TIME] = f->not_before_ms,
        [WAIT_RETRY] = f->retry_at_ms,    [WAIT_REFUSED] = f->refused_until_ms,
        [WAIT_LANE] = f->paused_until_ms,
    };
    json_t *o = json_object(), *list;

    report_set_text(o, "for", wait_reason_name(w));
    report_set_text(o, "text", text);
    if (w == WAIT_TASKS) {
        list = json_array();
        for (unsigned i = 0; i < f->n_after && i < WAIT_REASON_AFTER_MAX; i++)
            (void)json_array_append_new(list, json_string(f->after[i]));
        report_set(o, "tasks", list);
        report_set(o, "tasks_open", json_integer(f->n_after));
    }
    report_set_time(o, "until", until_ms[w]);
    if (w == WAIT_SLOT)
        report_set(o, "ahead", json_integer(f->ahead));
    return o;
}

void
query_add_waits(const struct query *q, const struct task_state *row,
                const struct result *last, json_t *o)
{
    struct wait_facts f;
    struct str text = {0};
    enum wait_for w;

    begin(q, row, &f);
    add_gates(q, row, &f);
    if (f.state == STATE_ROUTED || f.state == STATE_RETRY_WAIT) {
        add_pause(q, &f);
        add_refusal(last, &f);
        presence_each_worker(q->p.presence, on_worker, &f);
        add_ahead(q, row, &f);
    }
    w = wait_reason(&f, &text);
    if (w != WAIT_NOTHING)
        report_set(o, "waits", wait_json(w, &f, str_text(&text)));
    str_free(&text);
}
