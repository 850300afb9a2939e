/*
 * Answers questions about tasks and batches: list, find, show, batch.
 *
 * A running task is stored in the state it started from; what its worker
 * reports is laid over the row. Lists end when the answer is full and say where
 * to continue; long texts, output and submissions are cut and marked as cut.
 */
#include "reaper/query/query_private.h"

#include "lib/base/log.h"
#include "lib/model/codec.h"
#include "lib/model/job_ref.h"
#include "reaper/report/report.h"

#include <stdlib.h>
#include <string.h>

enum {
    FAILED_MAX = 100,   /* rows of a batch that did not succeed */
    TEXT_MOST = 300,    /* bytes of a command or reason in a list */
    BATCH_BYTES = 1024, /* of a batch's own values */
};

/* --- rows ----------------------------------------------------------------- */

const struct presence_task *
query_running(const struct query *q, const struct task_state *row)
{
    const struct presence_task *t = presence_find(q->p.presence, row->id);

    return t && !state_is_terminal(row->state) && t->attempt > row->attempts
               ? t
               : NULL;
}

bool
query_running_row(const struct query *q, const struct presence_task *t,
                  struct task_state *out)
{
    struct err e;

    mem_pool_reset(q->pool);
    return db_task(q->p.db, t->id, q->pool, out, &e) > 0 &&
           query_running(q, out) == t;
}

static json_t *
row_json(const struct query *q, const struct task_state *row)
{
    const struct presence_task *t = query_running(q, row);
    json_t *o = report_row_json(row);
    struct job_ref remote;

    query_add_wait(q, row, o);
    if (!t)
        return o;
    report_set_text(o, "state", state_name(STATE_RUNNING));
    report_set_time(o, "started_at", t->started_at_ms);
    report_set_text(o, "worker", t->worker);
    report_set(o, "attempts", json_integer(t->attempt));
    if (t->remote && job_ref_read(t->remote, &remote)) {
        report_set_text(o, "job_key", remote.key);
        report_set_text(o, "job_id", remote.id);
    }
    /* These describe the attempt before. */
    (void)json_object_del(o, "finished_at");
    (void)json_object_del(o, "exit_code");
    (void)json_object_del(o, "reason");
    (void)json_object_del(o, "failed_step");
    (void)json_object_del(o, "retry_at");
    return o;
}

static void
shorten(json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    size_t len = text ? strlen(text) : 0;
    struct str cut = {0};

    if (len <= TEXT_MOST)
        return;
    str_add(&cut, text, str_utf8_cut(text, len, TEXT_MOST));
    str_addz(&cut, "...");
    report_set(o, key, json_stringn(cut.data, cut.len));
    str_free(&cut);
}

json_t *
query_row(const struct query *q, const struct task_state *row)
{
    json_t *o = row_json(q, row);

    shorten(o, "command");
    shorten(o, "reason");
    shorten(o, "name");
    return o;
}

/* The id of the task or batch that the selector request[kind] means; NULL: id
 * is filled. */
static json_t *
find_id(struct query *q, const json_t *request, const char *kind,
        int (*find)(struct db *db, const char *selector, char id[TASK_ID_SIZE],
                    struct err *e),
        char id[TASK_ID_SIZE])
{
    const char *selector = json_string_value(json_object_get(request, kind));
    struct err e;
    int rc;

    if (!selector || !*selector) {
        (void)err_set(
            &e, ERR_INVALID,
            "%s: missing; give an id, a prefix of one, a name or last", kind);
        return query_failure(&e);
    }
    rc = find(q->p.db, selector, id, &e);
    if (rc == 0)
        (void)err_set(&e, ERR_NOT_FOUND,
                      "no %s has the id, prefix or name \"%s\"", kind,
                      LOG_TEXT(selector));
    return rc > 0 ? NULL : query_failure(&e);
}

/* --- list ----------------------------------------------------------------- */

static uint32_t
bit(enum state s)
{
    return 1u << s;
}

static int
read_states(const json_t *list, uint32_t *out, struct err *e)
{
    const json_t *v;
    size_t i;

    *out = 0;
    if (list && !json_is_null(list) && !json_is_array(list))
        return err_set(e, ERR_INVALID, "states: not a list of names");
    json_array_foreach(list, i, v)
    {
        const char *name = json_string_value(v);
        enum state s = name ? state_from_name(name) : STATE_UNSPECIFIED;

        if (s == STATE_UNSPECIFIED)
            return err_set(e, ERR_INVALID, "states: \"%s\" is not a state",
                           name ? LOG_TEXT(name) : "");
        *out |= bit(s);
    }
    return 0;
}

struct task_list {
    struct query *query;
    uint32_t states; /* 0: any */
    uint32_t stored; /* of these, the ones that rows are stored in */
    const char *batch;
    int64_t before;
    size_t limit, room;
    json_t *tasks;
    int64_t next;
    int64_t *running; /* the numbers of rows of running tasks */
    size_t n_running, cap_running;
};

/* Whether the list includes the row; a running task counts as such. */
static bool
includes(const struct task_list *l, const struct task_state *row)
{
    enum state s = query_running(l->query, row) ? STATE_RUNNING : row->state;

    return !l->states || (l->states & bit(s));
}

/* Adds the rows of a page of numbers; false when the list is full. */
static bool
add_page(struct task_list *l, const int64_t *ns, int n, struct err *e)
{
    for (int i = 0; i < n; i++) {
        struct task_state row;

        mem_pool_reset(l->query->pool);
        if (db_task_at(l->query->p.db, ns[i], l->query->pool, &row, e) <= 0)
            return false;
        if (!includes(l, &row)) {
            l->before = ns[i];
            continue;
        }
        if (json_array_size(l->tasks) >= l->limit ||
            !query_append(l->tasks, query_row(l->query, &row), &l->room,
                          true)) {
            l->next = l->before;
            return false;
        }
        l->before = ns[i];
    }
    return true;
}

static void
add_running(void *ctx, const struct presence_task *t)
{
    struct task_list *l = ctx;
    struct task_state row;

    if (!query_running_row(l->query, t, &row) ||
        (*l->batch && strcmp(row.batch, l->batch) != 0))
        return;
    l->running =
        mem_grow(l->running, l->n_running, &l->cap_running, sizeof *l->running);
    l->running[l->n_running++] = row.n;
}

/* Merges running rows between l->before and floor into a page. */
static int
merge(const struct task_list *l, int64_t floor, int64_t *ns, int n)
{
    int total = n, kept = 0;

    for (size_t i = 0; i < l->n_running; i++)
        if (l->running[i] >= floor && (!l->before || l->running[i] < l->before))
            ns[total++] = l->running[i];
    qsort(ns, (size_t)total, sizeof *ns, db_newest_first);
    for (int i = 0; i < total; i++)
        if (!kept || ns[kept - 1] != ns[i])
            ns[kept++] = ns[i];
    return kept;
}

/* Running tasks are stored in the state they started from, and may be few among
 * very many: they are looked up by what the workers report. */
static int
fill(struct task_list *l, struct err *e)
{
    int64_t *ns;
    int n, got;

    *e = (struct err){0};
    if (l->states & bit(STATE_RUNNING))
        presence_each_task(l->query->p.presence, false, add_running, l);
    ns = mem_alloc((DB_PAGE_MAX + l->n_running) * sizeof *ns);
    do {
        struct db_filter filter = {.states = l->stored,
                                   .batch = l->batch,
                                   .before = l->before,
                                   .limit = DB_PAGE_MAX};

        got = n = l->states && !l->stored
                      ? 0
                      : db_list(l->query->p.db, &filter, ns, e);
        if (n >= 0 && l->n_running)
            n = merge(l, n == DB_PAGE_MAX ? ns[n - 1] : 0, ns, n);
        if (n > 0 && !add_page(l, ns, n, e))
            break;
    } while (got == DB_PAGE_MAX);
    mem_free(ns);
    mem_free(l->running);
    return e->code ? -1 : 0;
}

json_t *
query_list(struct query *q, const json_t *request)
{
    const json_t *limit = json_object_get(request, "limit");
    const char *batch = json_string_value(json_object_get(request, "batch"));
    struct task_list l = {
        .query = q, .limit = DB_PAGE_MAX, .room = query_room(q)};
    char id[TASK_ID_SIZE] = "";
    struct err e;
    json_t *o;

    if (read_states(json_object_get(request, "states"), &l.states, &e) < 0)
        return query_failure(&e);
    if (json_integer_value(limit) > 0 &&
        json_integer_value(limit) < DB_PAGE_MAX)
        l.limit = (size_t)json_integer_value(limit);
    l.before = json_integer_value(json_object_get(request, "before"));
    if (batch && *batch) {
        o = find_id(q, request, "batch", db_find_batch, id);
        if (o)
            return o;
    }
    l.batch = id;
    l.stored = l.states & ~bit(STATE_RUNNING);
    l.tasks = json_array();
    if (fill(&l, &e) < 0) {
        json_decref(l.tasks);
        return query_failure(&e);
    }
    return json_pack("{s:o, s:I}", "tasks", l.tasks, "next",
                     (json_int_t)l.next);
}

/* --- find, show ----------------------------------------------------------- */

/* The row a request's selector means; NULL: *out is filled. */
static json_t *
find_row(struct query *q, const json_t *request, struct task_state *out)
{
    char id[TASK_ID_SIZE];
    json_t *o = find_id(q, request, "task", db_find_task, id);
    struct err e;
    int rc;

    if (o)
        return o;
    mem_pool_reset(q->pool);
    rc = db_task(q->p.db, id, q->pool, out, &e);
    if (rc == 0)
        (void)err_set(&e, ERR_UNAVAILABLE, "the task is gone");
    return rc > 0 ? NULL : query_failure(&e);
}

json_t *
query_find(struct query *q, const json_t *request)
{
    struct task_state row;
    json_t *o = find_row(q, request, &row), *full;
    const struct presence_task *runs;
    uint32_t attempts;

    if (o)
        return o;
    runs = query_running(q, &row);
    attempts = row.attempts;
    o = json_object();
    full = row_json(q, &row);
    if (runs && runs->attempt > attempts)
        attempts = runs->attempt;
    report_set_text(o, "id", row.id);
    (void)json_object_set(o, "state", json_object_get(full, "state"));
    (void)json_object_set_new(o, "attempts", json_integer(attempts));
    json_decref(full);
    return o;
}

/* Parts of the output until most bytes are used, from the end backwards. */
static json_t *
output_json(const struct result *r, size_t most, bool *cut)
{
    json_t *all, *list = json_array();
    struct result part = {0};

    codec_init(CODEC_RESULT, &part);
    *cut = false;
    for (size_t i = r->n_output; i-- > 0 && !*cut;) {
        struct output_part one = r->output[i];
        size_t size = one.data.len / 3 * 4 + 48;

        if (size > most) {
            size_t keep = most > 64 ? (most - 64) / 4 * 3 : 0;

            one.data.data += one.data.len - keep;
            one.data.len = keep;
            *cut = true;
            if (!keep)
                break;
        }
        most -= size < most ? size : most;
        part.output = &one;
        part.n_output = 1;
        all = codec_to_json(CODEC_RESULT, &part);
        (void)json_array_insert(
            list, 0, json_array_get(json_object_get(all, "output"), 0));
        json_decref(all);
    }
    return list;
}

void
query_strip(struct task *t)
{
    t->context_header = t->notes = "";
    t->env = NULL;
    t->n_env = 0;
    t->outputs = NULL;
    t->n_outputs = 0;
    t->after = NULL;
    t->n_after = 0;
    t->tags = NULL;
    t->n_tags = 0;
}

/* The submission without what may be long. */
static json_t *
short_task(const struct task *t)
{
    struct task s = *t;
    json_t *o;

    query_strip(&s);
    s.steps = NULL;
    s.n_steps = 0;
    s.prompt = s.command = "";
    o = codec_to_json(CODEC_TASK, &s);
    report_set(o, "truncated", json_true());
    return o;
}

static void
add_outcome(struct query *q, json_t *o, const struct result *r)
{
    bool cut;

    report_set(o, "output", output_json(r, query_room_beside(q, o), &cut));
    if (cut)
        report_set(o, "output_cut", json_true());
    report_set(o, "output_bytes", json_integer((json_int_t)r->output_bytes));
    report_set(o, "dropped_bytes", json_integer((json_int_t)r->dropped_bytes));
    report_set(o, "log_chunks", json_integer(r->log_chunks));
}

static json_t *
show_json(struct query *q, const struct report_task *t)
{
    json_t *o = row_json(q, t->row), *list = json_array();

    for (size_t i = 0; i < t->n_attempts; i++) {
        json_t *attempt = report_attempt_json(&t->attempts[i]);

        if (t->n_attempts > 20)
            shorten(attempt, "reason");
        (void)json_array_append_new(list, attempt);
    }
    query_add_waits(
        q, t->row,
        t->n_attempts ? &t->attempts[t->n_attempts - 1].result : NULL, o);
    report_set_text(o, "report", t->row->report);
    if (q->p.reports)
        report_set_text(o, "report_error",
                        report_writer_error(q->p.reports, false, t->row->n));
    report_set_warnings(o, t->task, t->outcome);
    if (t->outcome)
        report_set_service(o, t->outcome);
    if (t->decision)
        report_set(o, "decision", codec_to_json(CODEC_DECISION, t->decision));
    report_set(o, "attempt_list", list);
    report_set(o, "timeline", report_timeline_json(t));
    if (t->task)
        report_set(o, "task", codec_to_json(CODEC_TASK, t->task));
    if (query_size(o) > query_room(q)) {
        if (t->task)
            report_set(o, "task", short_task(t->task));
        if (query_size(o) > query_room(q))
            (void)json_object_del(o, "decision");
        if (query_size(o) > query_room(q))
            (void)json_object_del(o, "timeline");
        if (query_size(o) > query_room(q))
            (void)json_object_del(o, "attempt_list");
    }
    if (t->outcome)
        add_outcome(q, o, t->outcome);
    return o;
}

json_t *
query_show(struct query *q, const json_t *request)
{
    struct task_state row;
    struct report_task t;
    struct attempt_row *attempts;
    json_t *o = find_row(q, request, &row);
    size_t n;
    struct err e;

    if (o)
        return o;
    if (row.report_due && q->p.reports) {
        /* Who looks at a task should find its report where it says. */
        report_writer_now(q->p.reports, false, row.n);
        if (db_task_at(q->p.db, row.n, q->pool, &row, &e) <= 0)
            return query_error("unavailable", "the task is gone");
    }
    if (db_attempts(q->p.db, row.n, q->pool, &attempts, &n, &e) < 0)
        return query_failure(&e);
    report_task_fill(&row, attempts, n, q->pool, &t);
    return json_pack("{s:o}", "task", show_json(q, &t));
}

/* The task as it was submitted, with its secrets: to submit it once more. Only
 * who may submit tasks can ask on the bus. */
json_t *
query_submission(struct query *q, const json_t *request)
{
    struct task_state row;
    struct task t;
    json_t *o = find_row(q, request, &row);
    struct err e;

    if (o)
        return o;
    if (codec_decode(CODEC_TASK, row.task.data, row.task.len, q->pool, &t, &e) <
        0)
        return query_error("unavailable", "its submission is not known");
    o = codec_to_json(CODEC_TASK, &t);
    if (query_size(o) <= query_room(q))
        return json_pack("{s:o}", "task", o);
    json_decref(o);
    return query_error("unavailable", "its submission is too large to answer");
}

/* --- batch ---------------------------------------------------------------- */

/* NULL: the database failed. */
static json_t *
failed_rows(struct query *q, const char *batch, size_t most, struct err *e)
{
    struct task_state row;
    uint32_t states = 0;
    json_t *list = json_array();
    int64_t *ns;
    int n;

    for (int s = 1; s < STATE_COUNT; s++)
        if (state_is_terminal((enum state)s) && s != STATE_SUCCEEDED)
            states |= bit((enum state)s);
    n = db_members(q->p.db, batch, states, FAILED_MAX, q->pool, &ns, e);
    for (int i = 0; i < n; i++) {
        if (db_task_at(q->p.db, ns[i], q->pool, &row, e) <= 0)
            n = -1;
        else if (!query_append(list, query_row(q, &row), &most, false))
            break;
    }
    if (n >= 0)
        return list;
    json_decref(list);
    return NULL;
}

json_t *
query_batch(struct query *q, const json_t *request)
{
    char id[TASK_ID_SIZE];
    struct batch_state b;
    struct err e;
    json_t *o = find_id(q, request, "batch", db_find_batch, id), *rows;
    int rc;

    if (o)
        return o;
    mem_pool_reset(q->pool);
    rc = db_batch(q->p.db, id, q->pool, &b, &e);
    if (rc > 0 && b.report_due && q->p.reports) {
        report_writer_now(q->p.reports, true, b.n);
        rc = db_batch(q->p.db, id, q->pool, &b, &e);
    }
    if (rc <= 0)
        return rc < 0 ? query_failure(&e)
                      : query_error("unavailable", "the batch is gone");
    rows = failed_rows(q, id, query_room(q) - BATCH_BYTES, &e);
    if (!rows)
        return query_failure(&e);
    o = json_object();
    report_set(o, "batch", codec_to_json(CODEC_BATCH, &b.b));
    report_set(o, "failed", rows);
    report_set_text(o, "report", b.report);
    return o;
}
