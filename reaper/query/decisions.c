/*
 * Answers decisions: past decisions with the part of the task that a policy
 * reads, newest first, a page at a time, for `shunt route replay`.
 */
#include "reaper/query/query_private.h"

#include "lib/model/codec.h"
#include "reaper/report/report.h"

#include <string.h>

enum { PROMPT_MOST = 200 };

/* The part of a submission that a decision reads: steps and command, hints,
 * pins; of a prompt the beginning. */
static json_t *
policy_part(const struct task *t, struct mem_pool *pool)
{
    struct task s = *t;

    query_strip(&s);
    s.dod = s.report_path = "";
    s.batch = NULL;
    s.prompt = mem_pool_strndup(
        pool, s.prompt, str_utf8_cut(s.prompt, strlen(s.prompt), PROMPT_MOST));
    return codec_to_json(CODEC_TASK, &s);
}

/* NULL: it has no decision, or its submission is not known. */
static json_t *
decided(struct query *q, const struct task_state *row)
{
    struct report_task t;
    json_t *o;

    report_task_fill(row, NULL, 0, q->pool, &t);
    if (!t.decision || !t.task)
        return NULL;
    o = json_object();
    report_set_text(o, "id", row->id);
    report_set_text(o, "name", row->name);
    report_set_time(o, "decided_at", t.decision->decided_at_ms);
    report_set(o, "decision", codec_to_json(CODEC_DECISION, t.decision));
    report_set(o, "task", policy_part(t.task, q->pool));
    return o;
}

struct page {
    json_t *tasks;
    size_t room;
    int64_t since_ms;
    int64_t seen; /* the last row looked at */
    bool recent;  /* one of them is not too old */
};

/* 1: looked at, 0: it belongs to the next page, -1: error. */
static int
add_row(struct query *q, struct page *p, int64_t n, struct err *e)
{
    struct task_state row;
    json_t *o;

    mem_pool_reset(q->pool);
    if (db_task_at(q->p.db, n, q->pool, &row, e) <= 0)
        return -1;
    if ((row.accepted_at_ms ? row.accepted_at_ms : row.routed_at_ms) <
        p->since_ms)
        return 1;
    p->recent = true;
    o = decided(q, &row);
    if (!o)
        return 1;
    if (json_array_size(p->tasks) == 0 && query_size(o) >= p->room)
        (void)json_object_del(o, "task"); /* longer than an answer may be */
    return query_append(p->tasks, o, &p->room, true);
}

json_t *
query_decisions(struct query *q, const json_t *request)
{
    struct db_filter filter = {
        .batch = "",
        .before = json_integer_value(json_object_get(request, "before")),
        .limit = DB_PAGE_MAX};
    struct page p = {
        .tasks = json_array(),
        .room = query_room(q),
        .since_ms = json_integer_value(json_object_get(request, "since_ms"))};
    int64_t ns[DB_PAGE_MAX];
    struct err e = {0};
    int n = db_list(q->p.db, &filter, ns, &e), rc = n < 0 ? -1 : 1;
    bool more = n == DB_PAGE_MAX;

    for (int i = 0; i < n && rc > 0; i++) {
        rc = add_row(q, &p, ns[i], &e);
        if (rc > 0)
            p.seen = ns[i];
    }
    if (rc < 0) {
        json_decref(p.tasks);
        return query_failure(&e);
    }
    /* Rows are in the order they were first seen: a whole page of older ones is
     * the last. */
    if (rc > 0 && !(more && p.recent))
        p.seen = 0;
    return json_pack("{s:o, s:I}", "tasks", p.tasks, "next",
                     (json_int_t)p.seen);
}
