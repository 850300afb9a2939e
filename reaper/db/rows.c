#include "reaper/db/db_private.h"

#include "lib/model/money.h"

#include <string.h>

static void
bind_bytes(struct db *s, enum statement which, int at, struct bytes v)
{
    if (v.len)
        (void)sqlite3_bind_blob64(s->q[which], at, v.data, v.len,
                                  SQLITE_STATIC);
    else
        (void)sqlite3_bind_null(s->q[which], at);
}

static struct bytes
bytes_at(sqlite3_stmt *q, int at, struct mem_pool *pool)
{
    const void *data = sqlite3_column_blob(q, at);
    int len = sqlite3_column_bytes(q, at);
    struct bytes out = {0};

    if (data && len > 0) {
        void *copy = mem_pool_alloc(pool, (size_t)len);

        memcpy(copy, data, (size_t)len);
        out.data = copy;
        out.len = (size_t)len;
    }
    return out;
}

/* --- tasks ---------------------------------------------------------------- */

static void
load_task(sqlite3_stmt *q, struct mem_pool *pool, struct task_state *out)
{
    int i = 0;

#define INT(T) ((T)sqlite3_column_int64(q, i++))
#define TEXT() db_text(q, i++, pool)
    out->n = INT(int64_t);
    out->id = TEXT();
    out->state = INT(enum state);
    out->task_from = INT(enum task_from);
    out->name = TEXT();
    out->source = TEXT();
    out->command = TEXT();
    out->report_path = TEXT();
    out->batch = TEXT();
    out->batch_name = TEXT();
    out->batch_index = INT(uint32_t);
    out->batch_size = INT(uint32_t);
    out->submitted_at_ms = INT(int64_t);
    out->accepted_at_ms = INT(int64_t);
    out->accepted_seq = INT(uint64_t);
    out->gate = INT(enum gate);
    out->ungated = INT(int) != 0;
    out->routed = INT(int) != 0;
    out->drive = INT(uint32_t);
    out->routed_at_ms = INT(int64_t);
    out->routed_seq = INT(uint64_t);
    out->backend = TEXT();
    out->lane = TEXT();
    out->cancel_at_ms = INT(int64_t);
    out->cancel_by = TEXT();
    out->cancel_reason = TEXT();
    out->has_result = INT(int) != 0;
    out->final = INT(int) != 0;
    out->again = INT(int) != 0;
    out->result_attempt = INT(uint32_t);
    out->result_fence = INT(uint64_t);
    out->exit_code = INT(int32_t);
    out->failed_step = INT(uint32_t);
    out->reason = TEXT();
    out->worker = TEXT();
    out->started_at_ms = INT(int64_t);
    out->finished_at_ms = INT(int64_t);
    out->retry_at_ms = INT(int64_t);
    out->attempts = INT(uint32_t);
    out->finals = INT(uint32_t);
    out->released = INT(int) != 0;
    out->report_due = INT(int) != 0;
    out->report = TEXT();
    out->task = bytes_at(q, i++, pool);
    out->decision = bytes_at(q, i++, pool);
    out->drives = INT(uint32_t);
    out->resubmits = INT(uint32_t);
    out->in_at_ms = INT(int64_t);
    out->in_seq = INT(uint64_t);
    out->routed_task = bytes_at(q, i++, pool);
#undef INT
#undef TEXT
}

/* The macros bind what stands in the order of the statement's parameters. */
#define INT(V) db_bind_int(s, which, i++, (int64_t)(V))
#define TEXT(V) db_bind_text(s, which, i++, (V))
#define BYTES(V) bind_bytes(s, which, i++, (V))

static void
bind_task(struct db *s, enum statement which, const struct task_state *r)
{
    int i = 1;

    if (r->n)
        INT(r->n);
    else
        i++;     /* NULL: the next free number */
    TEXT(r->id); /* which an update leaves */
    INT(r->state);
    INT(r->task_from);
    TEXT(r->name);
    TEXT(r->source);
    TEXT(r->command);
    TEXT(r->report_path);
    TEXT(r->batch);
    TEXT(r->batch_name);
    INT(r->batch_index);
    INT(r->batch_size);
    INT(r->submitted_at_ms);
    INT(r->accepted_at_ms);
    INT(r->accepted_seq);
    INT(r->gate);
    INT(r->ungated);
    INT(r->routed);
    INT(r->drive);
    INT(r->routed_at_ms);
    INT(r->routed_seq);
    TEXT(r->backend);
    TEXT(r->lane);
    INT(r->cancel_at_ms);
    TEXT(r->cancel_by);
    TEXT(r->cancel_reason);
    INT(r->has_result);
    INT(r->final);
    INT(r->again);
    INT(r->result_attempt);
    INT(r->result_fence);
    INT(r->exit_code);
    INT(r->failed_step);
    TEXT(r->reason);
    TEXT(r->worker);
    INT(r->started_at_ms);
    INT(r->finished_at_ms);
    INT(r->retry_at_ms);
    INT(r->attempts);
    INT(r->finals);
    INT(r->released);
    INT(r->report_due);
    TEXT(r->report);
    BYTES(r->task);
    BYTES(r->decision);
    INT(r->drives);
    INT(r->resubmits);
    INT(r->in_at_ms);
    INT(r->in_seq);
    BYTES(r->routed_task);
}

/* Each of these binds the parameters from i on, and returns the next one. */
static int
bind_state(struct db *s, enum statement which, const struct task_state *r)
{
    int i = 1;

    INT(r->n);
    INT(r->state);
    return i;
}

static int
bind_decision(struct db *s, enum statement which, int i,
              const struct task_state *r)
{
    INT(r->routed);
    INT(r->drive);
    INT(r->routed_at_ms);
    INT(r->routed_seq);
    TEXT(r->backend);
    TEXT(r->lane);
    INT(r->report_due);
    BYTES(r->decision);
    BYTES(r->routed_task);
    return i;
}

static int
bind_result(struct db *s, enum statement which, int i,
            const struct task_state *r)
{
    INT(r->has_result);
    INT(r->final);
    INT(r->again);
    INT(r->result_attempt);
    INT(r->result_fence);
    INT(r->exit_code);
    INT(r->failed_step);
    TEXT(r->reason);
    TEXT(r->worker);
    INT(r->started_at_ms);
    INT(r->finished_at_ms);
    INT(r->retry_at_ms);
    INT(r->attempts);
    INT(r->finals);
    return i;
}

static void
bind_routing(struct db *s, enum statement which, const struct task_state *r)
{
    (void)bind_decision(s, which, bind_state(s, which, r), r);
}

static void
bind_outcome(struct db *s, enum statement which, const struct task_state *r)
{
    int i = bind_result(s, which, bind_state(s, which, r), r);

    INT(r->report_due);
}

static void
bind_run(struct db *s, enum statement which, const struct task_state *r)
{
    int i = bind_decision(s, which, bind_state(s, which, r), r);

    (void)bind_result(s, which, i, r);
}

#undef INT
#undef TEXT
#undef BYTES

static int
read_task(struct db *s, enum statement which, struct mem_pool *pool,
          struct task_state *out, struct err *e)
{
    int rc = db_step(s, which, e);

    if (rc > 0)
        load_task(s->q[which], pool, out);
    db_done(s, which);
    return rc;
}

int
db_task(struct db *s, const char *id, struct mem_pool *pool,
        struct task_state *out, struct err *e)
{
    db_bind_text(s, Q_TASK, 1, id);
    return read_task(s, Q_TASK, pool, out, e);
}

int
db_task_at(struct db *s, int64_t n, struct mem_pool *pool,
           struct task_state *out, struct err *e)
{
    db_bind_int(s, Q_TASK_AT, 1, n);
    return read_task(s, Q_TASK_AT, pool, out, e);
}

void
db_watch(struct db *s, struct db_watched *v, size_t n)
{
    s->watched = v;
    s->n_watched = n;
}

static void
tell_watched(struct db *s, const char *id, bool batch)
{
    for (size_t i = 0; i < s->n_watched; i++)
        if (s->watched[i].batch == batch && strcmp(s->watched[i].id, id) == 0)
            s->watched[i].changed = true;
}

int
db_put_task(struct db *s, struct task_state *row, enum db_part part,
            struct err *e)
{
    static const struct {
        enum statement which;
        void (*bind)(struct db *s, enum statement which,
                     const struct task_state *row);
    } puts[] = {
        [DB_WHOLE] = {Q_TASK_PUT, bind_task},
        [DB_ROUTING] = {Q_TASK_ROUTED, bind_routing},
        [DB_OUTCOME] = {Q_TASK_ENDED, bind_outcome},
        [DB_RUN] = {Q_TASK_RUN, bind_run},
    };

    if (row->n) {
        tell_watched(s, row->id, false);
        puts[part].bind(s, puts[part].which, row);
        return db_run(s, puts[part].which, e);
    }
    bind_task(s, Q_TASK_ADD, row);
    if (db_run(s, Q_TASK_ADD, e) < 0)
        return -1;
    row->n = sqlite3_last_insert_rowid(s->db);
    return 0;
}

int
db_state(struct db *s, const char *id, enum state *out, struct err *e)
{
    int rc;

    *out = STATE_UNSPECIFIED;
    db_bind_text(s, Q_TASK_STATE, 1, id);
    rc = db_step(s, Q_TASK_STATE, e);
    if (rc > 0)
        *out = (enum state)sqlite3_column_int(s->q[Q_TASK_STATE], 0);
    db_done(s, Q_TASK_STATE);
    return rc < 0 ? -1 : 0;
}

/* --- attempts ------------------------------------------------------------- */

static void
load_attempt(sqlite3_stmt *q, struct mem_pool *pool, struct attempt_row *out)
{
    *out = (struct attempt_row){
        .known = true,
        .attempt = (uint32_t)sqlite3_column_int64(q, 0),
        .fence = (uint64_t)sqlite3_column_int64(q, 1),
        .final = sqlite3_column_int(q, 2) != 0,
        .again = sqlite3_column_int(q, 3) != 0,
        .at_ms = sqlite3_column_int64(q, 4),
        .result = bytes_at(q, 5, pool),
    };
}

int
db_attempt(struct db *s, int64_t n, uint32_t attempt, uint64_t fence,
           struct mem_pool *pool, struct attempt_row *out, struct err *e)
{
    int rc;

    *out = (struct attempt_row){0};
    if (!n)
        return 0;
    db_bind_int(s, Q_ATTEMPT, 1, n);
    db_bind_int(s, Q_ATTEMPT, 2, attempt);
    db_bind_int(s, Q_ATTEMPT, 3, (int64_t)fence);
    rc = db_step(s, Q_ATTEMPT, e);
    if (rc > 0)
        load_attempt(s->q[Q_ATTEMPT], pool, out);
    db_done(s, Q_ATTEMPT);
    return rc < 0 ? -1 : 0;
}

/* One row per attempt, so that what is told again is not added again. */
static int
put_cost(struct db *s, int64_t n, const struct attempt_row *a, struct err *e)
{
    int64_t nano;

    if (!a->cost_usd || !money_read(a->cost_usd, &nano))
        return 0;
    db_bind_int(s, Q_COST_PUT, 1, n);
    db_bind_int(s, Q_COST_PUT, 2, a->attempt);
    db_bind_int(s, Q_COST_PUT, 3, (int64_t)a->fence);
    db_bind_int(s, Q_COST_PUT, 4, a->ended_at_ms / DB_DAY_MS);
    db_bind_text(s, Q_COST_PUT, 5, a->backend);
    db_bind_text(s, Q_COST_PUT, 6, a->provider);
    db_bind_text(s, Q_COST_PUT, 7, a->team);
    db_bind_int(s, Q_COST_PUT, 8, nano);
    db_bind_int(s, Q_COST_PUT, 9, a->estimated);
    return db_run(s, Q_COST_PUT, e);
}

int
db_put_attempt(struct db *s, int64_t n, const struct attempt_row *a,
               struct err *e)
{
    db_bind_int(s, Q_ATTEMPT_PUT, 1, n);
    db_bind_int(s, Q_ATTEMPT_PUT, 2, a->attempt);
    db_bind_int(s, Q_ATTEMPT_PUT, 3, (int64_t)a->fence);
    db_bind_int(s, Q_ATTEMPT_PUT, 4, a->final);
    db_bind_int(s, Q_ATTEMPT_PUT, 5, a->again);
    db_bind_int(s, Q_ATTEMPT_PUT, 6, a->at_ms);
    bind_bytes(s, Q_ATTEMPT_PUT, 7, a->result);
    if (db_run(s, Q_ATTEMPT_PUT, e) < 0)
        return -1;
    return put_cost(s, n, a, e);
}

int
db_attempts(struct db *s, int64_t n, struct mem_pool *pool,
            struct attempt_row **out, size_t *n_out, struct err *e)
{
    int rc;

    *out = mem_pool_alloc(pool, DB_ATTEMPTS_MAX * sizeof **out);
    *n_out = 0;
    db_bind_int(s, Q_ATTEMPTS, 1, n);
    db_bind_int(s, Q_ATTEMPTS, 2, DB_ATTEMPTS_MAX);
    while ((rc = db_step(s, Q_ATTEMPTS, e)) > 0)
        load_attempt(s->q[Q_ATTEMPTS], pool, &(*out)[(*n_out)++]);
    db_done(s, Q_ATTEMPTS);
    return rc;
}

/* --- costs ---------------------------------------------------------------- */

int
db_costs(struct db *s, int64_t day, struct mem_pool *pool, struct db_cost **out,
         size_t *n_out, struct err *e)
{
    sqlite3_stmt *q = s->q[Q_COSTS];
    int rc;

    *out = mem_pool_alloc(pool, DB_COSTS_MAX * sizeof **out);
    *n_out = 0;
    db_bind_int(s, Q_COSTS, 1, day);
    db_bind_int(s, Q_COSTS, 2, DB_COSTS_MAX);
    while ((rc = db_step(s, Q_COSTS, e)) > 0)
        (*out)[(*n_out)++] =
            (struct db_cost){.backend = db_text(q, 0, pool),
                             .provider = db_text(q, 1, pool),
                             .team = db_text(q, 2, pool),
                             .nano = sqlite3_column_int64(q, 3),
                             .attempts = sqlite3_column_int64(q, 4),
                             .estimated = sqlite3_column_int64(q, 5)};
    db_done(s, Q_COSTS);
    return rc;
}

/* --- batches -------------------------------------------------------------- */

static int
read_batch(struct db *s, enum statement which, struct mem_pool *pool,
           struct batch_state *out, struct err *e)
{
    sqlite3_stmt *q = s->q[which];
    int rc = db_step(s, which, e);

    if (rc > 0)
        *out = (struct batch_state){
            .n = sqlite3_column_int64(q, 0),
            .b = {.id = db_text(q, 1, pool),
                  .name = db_text(q, 2, pool),
                  .size = (uint32_t)sqlite3_column_int64(q, 3),
                  .accepted = (uint32_t)sqlite3_column_int64(q, 4),
                  .succeeded = (uint32_t)sqlite3_column_int64(q, 5),
                  .failed = (uint32_t)sqlite3_column_int64(q, 6),
                  .cancelled = (uint32_t)sqlite3_column_int64(q, 7),
                  .first_at_ms = sqlite3_column_int64(q, 8),
                  .last_at_ms = sqlite3_column_int64(q, 9),
                  .done = sqlite3_column_int(q, 10) != 0},
            .report_due = sqlite3_column_int(q, 11) != 0,
            .report = db_text(q, 12, pool),
        };
    db_done(s, which);
    return rc;
}

int
db_batch(struct db *s, const char *id, struct mem_pool *pool,
         struct batch_state *out, struct err *e)
{
    db_bind_text(s, Q_BATCH, 1, id);
    return read_batch(s, Q_BATCH, pool, out, e);
}

int
db_batch_at(struct db *s, int64_t n, struct mem_pool *pool,
            struct batch_state *out, struct err *e)
{
    db_bind_int(s, Q_BATCH_AT, 1, n);
    return read_batch(s, Q_BATCH_AT, pool, out, e);
}

int
db_put_batch(struct db *s, const struct batch_state *b, struct err *e)
{
    tell_watched(s, b->b.id, true);
    db_bind_text(s, Q_BATCH_PUT, 1, b->b.id);
    db_bind_text(s, Q_BATCH_PUT, 2, b->b.name);
    db_bind_int(s, Q_BATCH_PUT, 3, b->b.size);
    db_bind_int(s, Q_BATCH_PUT, 4, b->b.accepted);
    db_bind_int(s, Q_BATCH_PUT, 5, b->b.succeeded);
    db_bind_int(s, Q_BATCH_PUT, 6, b->b.failed);
    db_bind_int(s, Q_BATCH_PUT, 7, b->b.cancelled);
    db_bind_int(s, Q_BATCH_PUT, 8, b->b.first_at_ms);
    db_bind_int(s, Q_BATCH_PUT, 9, b->b.last_at_ms);
    db_bind_int(s, Q_BATCH_PUT, 10, b->b.done);
    db_bind_int(s, Q_BATCH_PUT, 11, b->report_due);
    db_bind_text(s, Q_BATCH_PUT, 12, b->report);
    return db_run(s, Q_BATCH_PUT, e);
}
