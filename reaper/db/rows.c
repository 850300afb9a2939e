/*
 * Reads and writes the ledger's rows one at a time: tasks, attempts and their
 * costs, batches, and the small tables beside them (positions, streams,
 * quarantine, names of reports).
 */
#include "reaper/db/columns.h"
#include "reaper/db/db_private.h"

#include "lib/base/str.h"
#include "lib/model/money.h"

#include <string.h>

static void
bind_bytes(sqlite3_stmt *q, int at, struct bytes v)
{
    if (v.len)
        (void)sqlite3_bind_blob64(q, at, v.data, v.len, SQLITE_STATIC);
}

static struct bytes
load_bytes(sqlite3_stmt *q, int at, struct mem_pool *pool)
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

static const char *
load_text(sqlite3_stmt *q, int at, struct mem_pool *pool)
{
    const char *text = (const char *)sqlite3_column_text(q, at);
    int len = sqlite3_column_bytes(q, at);

    return text && len > 0 ? mem_pool_strndup(pool, text, (size_t)len) : "";
}

/* Each binds a member of *row to the next parameter of statement which, or
 * loads it from the next column of q; i counts them. */
#define BIND(type, column, member) BIND_##type(row->member);
#define BIND_INTEGER(v) db_bind_int(db, which, i++, (int64_t)(v))
#define BIND_TEXT(v) db_bind_text(db, which, i++, (v))
#define BIND_BLOB(v) bind_bytes(db->q[which], i++, (v))
#define LOAD(type, column, member) LOAD_##type(row->member);
#define LOAD_INTEGER(v) (v) = (__typeof__(v))sqlite3_column_int64(q, i++)
#define LOAD_TEXT(v) (v) = load_text(q, i++, pool)
#define LOAD_BLOB(v) (v) = load_bytes(q, i++, pool)

/* --- tasks ---------------------------------------------------------------- */

static int
read_task(struct db *db, enum statement which, struct mem_pool *pool,
          struct task_state *row, struct err *e)
{
    sqlite3_stmt *q = db->q[which];
    int rc = db_step(db, which, e), i = 0;

    if (rc > 0) {
        LOAD_INTEGER(row->n);
        LOAD_TEXT(row->id);
        LOAD_INTEGER(row->state);
        TASK_COLUMNS(LOAD)
    }
    db_done(db, which);
    return rc;
}

int
db_task(struct db *db, const char *id, struct mem_pool *pool,
        struct task_state *out, struct err *e)
{
    db_bind_text(db, Q_TASK, 1, id);
    return read_task(db, Q_TASK, pool, out, e);
}

int
db_task_at(struct db *db, int64_t n, struct mem_pool *pool,
           struct task_state *out, struct err *e)
{
    db_bind_int(db, Q_TASK_AT, 1, n);
    return read_task(db, Q_TASK_AT, pool, out, e);
}

static int
write_task(struct db *db, enum statement which, const struct task_state *row,
           enum db_part part, struct err *e)
{
    int i = 2;

    if (row->n) /* else NULL, which is the next free number */
        db_bind_int(db, which, 1, row->n);
    BIND_TEXT(row->id); /* an update has no such parameter */
    BIND_INTEGER(row->state);
    TASK_COMMON(BIND)
    if (part & DB_ROUTING) {
        TASK_ROUTING(BIND)
    }
    if (part & DB_OUTCOME) {
        TASK_OUTCOME(BIND)
    }
    if (part == DB_WHOLE) {
        TASK_DETAILS(BIND)
    }
    return db_run(db, which, e);
}

void
db_watch(struct db *db, struct db_watched *v, size_t n)
{
    db->watched = v;
    db->n_watched = n;
}

static void
mark_changed(struct db *db, const char *id, bool batch)
{
    for (size_t i = 0; i < db->n_watched; i++)
        if (db->watched[i].batch == batch && strcmp(db->watched[i].id, id) == 0)
            db->watched[i].changed = true;
}

int
db_put_task(struct db *db, struct task_state *row, enum db_part part,
            struct err *e)
{
    static const enum statement updates[] = {
        [DB_WHOLE] = Q_TASK_PUT,
        [DB_ROUTING] = Q_TASK_ROUTED,
        [DB_OUTCOME] = Q_TASK_ENDED,
        [DB_RUN] = Q_TASK_RUN,
    };

    if (row->n) {
        mark_changed(db, row->id, false);
        return write_task(db, updates[part], row, part, e);
    }
    if (write_task(db, Q_TASK_ADD, row, DB_WHOLE, e) < 0)
        return -1;
    row->n = sqlite3_last_insert_rowid(db->handle);
    return 0;
}

int
db_state(struct db *db, const char *id, enum state *out, struct err *e)
{
    int64_t state;
    int rc;

    db_bind_text(db, Q_TASK_STATE, 1, id);
    rc = db_number(db, Q_TASK_STATE, &state, e);
    *out = (enum state)state;
    return rc;
}

/* --- attempts ------------------------------------------------------------- */

/* Steps, and loads the attempt it found. */
static int
step_attempt(struct db *db, enum statement which, struct mem_pool *pool,
             struct attempt_row *row, struct err *e)
{
    sqlite3_stmt *q = db->q[which];
    int rc = db_step(db, which, e), i = 1; /* behind task */

    if (rc > 0) {
        *row = (struct attempt_row){.known = true};
        ATTEMPT_COLUMNS(LOAD)
    }
    return rc;
}

int
db_attempt(struct db *db, int64_t n, uint32_t attempt, uint64_t fence,
           struct mem_pool *pool, struct attempt_row *out, struct err *e)
{
    int rc;

    *out = (struct attempt_row){0};
    if (!n)
        return 0;
    db_bind_int(db, Q_ATTEMPT, 1, n);
    db_bind_int(db, Q_ATTEMPT, 2, attempt);
    db_bind_int(db, Q_ATTEMPT, 3, (int64_t)fence);
    rc = step_attempt(db, Q_ATTEMPT, pool, out, e);
    db_done(db, Q_ATTEMPT);
    return rc < 0 ? -1 : 0;
}

/* One row per attempt: a result that comes again is not added again. */
static int
put_cost(struct db *db, int64_t n, const struct attempt_row *row, struct err *e)
{
    enum statement which = Q_COST_PUT;
    int64_t nano;
    int i = 1;

    if (!row->cost_usd || !money_read(row->cost_usd, &nano))
        return 0;
    BIND_INTEGER(n);
    BIND_INTEGER(row->ended_at_ms / DB_DAY_MS);
    BIND_INTEGER(nano);
    COST_COLUMNS(BIND)
    return db_run(db, which, e);
}

int
db_put_attempt(struct db *db, int64_t n, const struct attempt_row *row,
               struct err *e)
{
    enum statement which = Q_ATTEMPT_PUT;
    int i = 1;

    BIND_INTEGER(n);
    ATTEMPT_COLUMNS(BIND)
    if (db_run(db, which, e) < 0)
        return -1;
    return put_cost(db, n, row, e);
}

int
db_attempts(struct db *db, int64_t n, struct mem_pool *pool,
            struct attempt_row **out, size_t *n_out, struct err *e)
{
    int rc;

    *out = mem_pool_alloc(pool, DB_ATTEMPTS_MAX * sizeof **out);
    *n_out = 0;
    db_bind_int(db, Q_ATTEMPTS, 1, n);
    db_bind_int(db, Q_ATTEMPTS, 2, DB_ATTEMPTS_MAX);
    while ((rc = step_attempt(db, Q_ATTEMPTS, pool, &(*out)[*n_out], e)) > 0)
        (*n_out)++;
    db_done(db, Q_ATTEMPTS);
    return rc;
}

/* --- costs ---------------------------------------------------------------- */

int
db_costs(struct db *db, int64_t day, struct mem_pool *pool,
         struct db_cost **out, size_t *n_out, struct err *e)
{
    sqlite3_stmt *q = db->q[Q_COSTS];
    int rc;

    *out = mem_pool_alloc(pool, DB_COSTS_MAX * sizeof **out);
    *n_out = 0;
    db_bind_int(db, Q_COSTS, 1, day);
    db_bind_int(db, Q_COSTS, 2, DB_COSTS_MAX);
    while ((rc = db_step(db, Q_COSTS, e)) > 0)
        (*out)[(*n_out)++] =
            (struct db_cost){.backend = load_text(q, 0, pool),
                             .provider = load_text(q, 1, pool),
                             .team = load_text(q, 2, pool),
                             .nano = sqlite3_column_int64(q, 3),
                             .attempts = sqlite3_column_int64(q, 4),
                             .estimated = sqlite3_column_int64(q, 5)};
    db_done(db, Q_COSTS);
    return rc;
}

/* --- batches -------------------------------------------------------------- */

static int
read_batch(struct db *db, enum statement which, struct mem_pool *pool,
           struct batch_state *row, struct err *e)
{
    sqlite3_stmt *q = db->q[which];
    int rc = db_step(db, which, e), i = 0;

    if (rc > 0) {
        *row = (struct batch_state){0};
        LOAD_INTEGER(row->n);
        LOAD_TEXT(row->b.id);
        LOAD_TEXT(row->b.name);
        BATCH_COLUMNS(LOAD)
    }
    db_done(db, which);
    return rc;
}

int
db_batch(struct db *db, const char *id, struct mem_pool *pool,
         struct batch_state *out, struct err *e)
{
    db_bind_text(db, Q_BATCH, 1, id);
    return read_batch(db, Q_BATCH, pool, out, e);
}

int
db_batch_at(struct db *db, int64_t n, struct mem_pool *pool,
            struct batch_state *out, struct err *e)
{
    db_bind_int(db, Q_BATCH_AT, 1, n);
    return read_batch(db, Q_BATCH_AT, pool, out, e);
}

int
db_put_batch(struct db *db, const struct batch_state *row, struct err *e)
{
    enum statement which = Q_BATCH_PUT;
    int i = 1;

    mark_changed(db, row->b.id, true);
    BIND_TEXT(row->b.id);
    BIND_TEXT(row->b.name);
    BATCH_COLUMNS(BIND)
    return db_run(db, which, e);
}

/* --- positions, quarantine, reports --------------------------------------- */

int
db_position(struct db *db, const char *consumer, uint64_t seq, struct err *e)
{
    db_bind_text(db, Q_POSITION, 1, consumer);
    db_bind_int(db, Q_POSITION, 2, (int64_t)seq);
    return db_run(db, Q_POSITION, e);
}

int
db_position_get(struct db *db, const char *consumer, uint64_t *out,
                struct err *e)
{
    int64_t seq;
    int rc;

    db_bind_text(db, Q_POSITION_GET, 1, consumer);
    rc = db_number(db, Q_POSITION_GET, &seq, e);
    *out = (uint64_t)seq;
    return rc;
}

int
db_quarantine(struct db *db, const struct quarantine *q, const char *name,
              struct err *e)
{
    size_t len = q->len;
    int64_t kept;

    db_bind_int(db, Q_QUARANTINED, 1, DB_QUARANTINE_KEPT);
    if (db_number(db, Q_QUARANTINED, &kept, e) < 0)
        return -1;
    if (kept >= DB_QUARANTINE_KEPT || !q->payload)
        len = 0;
    else if (len > DB_QUARANTINE_BYTES)
        len = DB_QUARANTINE_BYTES;
    db_bind_text(db, Q_QUARANTINE, 1, q->stream);
    db_bind_int(db, Q_QUARANTINE, 2, (int64_t)q->seq);
    db_bind_int(db, Q_QUARANTINE, 3, q->at_ms);
    db_bind_text(db, Q_QUARANTINE, 4, q->subject);
    db_bind_text(db, Q_QUARANTINE, 5, q->reason);
    db_bind_int(db, Q_QUARANTINE, 6, (int64_t)q->len);
    if (len)
        (void)sqlite3_bind_blob64(db->q[Q_QUARANTINE], 7, q->payload, len,
                                  SQLITE_STATIC);
    if (db_run(db, Q_QUARANTINE, e) < 0)
        return -1;
    if (sqlite3_changes(db->handle) > 0)
        db_count(db, "", name, 1);
    return 0;
}

/* Whether the text a statement finds first is this one. */
static int
finds(struct db *db, enum statement which, const char *text, bool *out,
      struct err *e)
{
    int rc = db_step(db, which, e);

    *out = rc > 0 && strcmp((const char *)sqlite3_column_text(db->q[which], 0),
                            text) == 0;
    db_done(db, which);
    return rc < 0 ? -1 : 0;
}

int
db_report_name(struct db *db, const char *name, const char *owner, bool *ours,
               struct err *e)
{
    db_bind_text(db, Q_NAME_PUT, 1, name);
    db_bind_text(db, Q_NAME_PUT, 2, owner);
    if (db_run(db, Q_NAME_PUT, e) < 0)
        return -1;
    db_bind_text(db, Q_NAME_OWNER, 1, name);
    return finds(db, Q_NAME_OWNER, owner, ours, e);
}

int
db_is_first(struct db *db, bool batch, const char *name, const char *id,
            bool *out, struct err *e)
{
    enum statement which = batch ? Q_BATCH_NAME_FIRST : Q_NAME_FIRST;

    db_bind_text(db, which, 1, name);
    return finds(db, which, id, out, e);
}

int
db_reported(struct db *db, bool batch, int64_t n, const char *path,
            bool changed, struct err *e)
{
    enum statement which = batch ? Q_BATCH_REPORTED : Q_REPORTED;

    db_bind_int(db, which, 1, n);
    db_bind_text(db, which, 2, path);
    db_bind_int(db, which, 3, changed);
    return db_run(db, which, e);
}

/* --- streams -------------------------------------------------------------- */

int
db_stream(struct db *db, const char *name, struct db_stream *out, struct err *e)
{
    sqlite3_stmt *q = db->q[Q_STREAM];
    int rc;

    *out = (struct db_stream){0};
    db_bind_text(db, Q_STREAM, 1, name);
    rc = db_step(db, Q_STREAM, e);
    if (rc > 0) {
        db_copy_text(q, 0, out->created, sizeof out->created);
        out->lost_at_ms = sqlite3_column_int64(q, 1);
        out->sweep = sqlite3_column_int(q, 2) != 0;
    }
    db_done(db, Q_STREAM);
    return rc < 0 ? -1 : 0;
}

int
db_put_stream(struct db *db, const char *name, const struct db_stream *row,
              struct err *e)
{
    db_bind_text(db, Q_STREAM_PUT, 1, name);
    db_bind_text(db, Q_STREAM_PUT, 2, row->created);
    db_bind_int(db, Q_STREAM_PUT, 3, row->lost_at_ms);
    db_bind_int(db, Q_STREAM_PUT, 4, row->sweep);
    return db_run(db, Q_STREAM_PUT, e);
}

int
db_position_set(struct db *db, const char *consumer, uint64_t seq,
                struct err *e)
{
    db_bind_text(db, Q_POSITION_SET, 1, consumer);
    db_bind_int(db, Q_POSITION_SET, 2, (int64_t)seq);
    return db_run(db, Q_POSITION_SET, e);
}

int
db_is_new(struct db *db, bool *out, struct err *e)
{
    int64_t n = 0, rows = 0;

    if (db_number(db, Q_POSITIONS, &n, e) < 0 ||
        db_number(db, Q_ROWS, &rows, e) < 0)
        return -1;
    *out = n == 0 && rows == 0;
    return 0;
}
