/*
 * Reads and writes the ledger's rows one at a time: tasks, attempts and their
 * costs, batches, and the small tables beside them (positions, streams,
 * quarantine, names of reports).
 */
#include "reaper/db/columns.h"
#include "reaper/db/db_private.h"

#include "lib/model/money.h"

#include <string.h>

/* What a column of a list adds to a statement. */
#define NAME(type, column, member) ", " #column
#define PARAMETER(type, column, member) ", ?"
#define ASSIGN(type, column, member) ", " #column " = ?"
#define REPLACE(type, column, member) ", " #column " = excluded." #column

/* The columns that no list holds come first. A plain ? is the parameter after
 * the greatest before it. */
#define SELECT_TASK "SELECT n, id, state" TASK_COLUMNS(NAME) " FROM tasks "
#define UPDATE_TASK(parts)                                                     \
    "UPDATE tasks SET state = ?3" TASK_COMMON(ASSIGN) parts " WHERE n = ?1"
#define SELECT_ATTEMPT                                                         \
    "SELECT task" ATTEMPT_COLUMNS(NAME) " FROM attempts WHERE task = ?1 "
#define SELECT_BATCH "SELECT n, id, name" BATCH_COLUMNS(NAME) " FROM batches "
#define UPDATE_BATCH                                                           \
    " ON CONFLICT(id) DO UPDATE SET name = ?2" BATCH_COLUMNS(REPLACE)
#define INSERT(into, first, parameters, columns)                               \
    "INSERT " into "(" first columns(NAME) ") VALUES(" parameters columns(     \
        PARAMETER) ")"

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
    size_t n = data && len > 0 ? (size_t)len : 0;

    return (struct bytes){
        n ? (const uint8_t *)mem_pool_strndup(pool, data, n) : NULL, n};
}

static const char *
load_text(sqlite3_stmt *q, int at, struct mem_pool *pool)
{
    const char *text = (const char *)sqlite3_column_text(q, at);
    int len = sqlite3_column_bytes(q, at);

    return text && len > 0 ? mem_pool_strndup(pool, text, (size_t)len) : "";
}

/* Each binds a member of *row to the next parameter of statement q, or
 * loads it from its next column; i counts them. */
#define BIND(type, column, member) BIND_##type(row->member);
#define BIND_INTEGER(v) db_bind_int(q, i++, (int64_t)(v))
#define BIND_TEXT(v) db_bind_text(q, i++, (v))
#define BIND_BLOB(v) bind_bytes(q, i++, (v))
#define LOAD(type, column, member) LOAD_##type(row->member);
#define LOAD_INTEGER(v) (v) = (__typeof__(v))sqlite3_column_int64(q, i++)
#define LOAD_TEXT(v) (v) = load_text(q, i++, pool)
#define LOAD_BLOB(v) (v) = load_bytes(q, i++, pool)

/* --- tasks ---------------------------------------------------------------- */

static int
read_task(struct db *db, sqlite3_stmt *q, struct mem_pool *pool,
          struct task_state *row, struct err *e)
{
    int rc = db_step(db, q, e), i = 0;

    if (rc > 0) {
        LOAD_INTEGER(row->n);
        LOAD_TEXT(row->id);
        LOAD_INTEGER(row->state);
        TASK_COLUMNS(LOAD)
    }
    db_done(q);
    return rc;
}

int
db_task(struct db *db, const char *id, struct mem_pool *pool,
        struct task_state *out, struct err *e)
{
    sqlite3_stmt *q = db_sql(db, SELECT_TASK "WHERE id = ?1");

    db_bind_text(q, 1, id);
    return read_task(db, q, pool, out, e);
}

int
db_task_at(struct db *db, int64_t n, struct mem_pool *pool,
           struct task_state *out, struct err *e)
{
    sqlite3_stmt *q = db_sql(db, SELECT_TASK "WHERE n = ?1");

    db_bind_int(q, 1, n);
    return read_task(db, q, pool, out, e);
}

static int
write_task(struct db *db, sqlite3_stmt *q, const struct task_state *row,
           enum db_part part, struct err *e)
{
    int i = 2;

    if (row->n) /* else NULL, which is the next free number */
        db_bind_int(q, 1, row->n);
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
    return db_run(db, q, e);
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
    static const char *const updates[] = {
        [DB_WHOLE] = UPDATE_TASK(TASK_ROUTING(ASSIGN) TASK_OUTCOME(ASSIGN)
                                     TASK_DETAILS(ASSIGN)),
        [DB_ROUTING] = UPDATE_TASK(TASK_ROUTING(ASSIGN)),
        [DB_OUTCOME] = UPDATE_TASK(TASK_OUTCOME(ASSIGN)),
        [DB_RUN] = UPDATE_TASK(TASK_ROUTING(ASSIGN) TASK_OUTCOME(ASSIGN)),
    };

    if (row->n) {
        mark_changed(db, row->id, false);
        return write_task(db, db_sql(db, updates[part]), row, part, e);
    }
    if (write_task(db,
                   db_sql(db, INSERT("INTO tasks", "n, id, state", "?1, ?2, ?3",
                                     TASK_COLUMNS)),
                   row, DB_WHOLE, e) < 0)
        return -1;
    row->n = sqlite3_last_insert_rowid(db->handle);
    return 0;
}

int
db_state(struct db *db, const char *id, enum state *out, struct err *e)
{
    sqlite3_stmt *q = db_sql(db, "SELECT state FROM tasks WHERE id = ?1");
    int64_t state;
    int rc;

    db_bind_text(q, 1, id);
    rc = db_number(db, q, &state, e);
    *out = (enum state)state;
    return rc;
}

/* --- attempts ------------------------------------------------------------- */

/* Steps, and loads the attempt it found. */
static int
step_attempt(struct db *db, sqlite3_stmt *q, struct mem_pool *pool,
             struct attempt_row *row, struct err *e)
{
    int rc = db_step(db, q, e), i = 1; /* behind task */

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
    sqlite3_stmt *q =
        db_sql(db, SELECT_ATTEMPT "AND attempt = ?2 AND fence = ?3");
    int rc;

    *out = (struct attempt_row){0};
    if (!n)
        return 0;
    db_bind_int(q, 1, n);
    db_bind_int(q, 2, attempt);
    db_bind_int(q, 3, (int64_t)fence);
    rc = step_attempt(db, q, pool, out, e);
    db_done(q);
    return rc < 0 ? -1 : 0;
}

/* One row per attempt: a result that comes again is not added again. */
static int
put_cost(struct db *db, int64_t n, const struct attempt_row *row, struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, INSERT("OR REPLACE INTO costs", "task, day, nano",
                          "?1, ?2, ?3", COST_COLUMNS));
    int64_t nano;
    int i = 1;

    if (!row->cost_usd || !money_read(row->cost_usd, &nano))
        return 0;
    BIND_INTEGER(n);
    BIND_INTEGER(row->ended_at_ms / DB_DAY_MS);
    BIND_INTEGER(nano);
    COST_COLUMNS(BIND)
    return db_run(db, q, e);
}

int
db_put_attempt(struct db *db, int64_t n, const struct attempt_row *row,
               struct err *e)
{
    sqlite3_stmt *q = db_sql(
        db, INSERT("OR REPLACE INTO attempts", "task", "?1", ATTEMPT_COLUMNS));
    int i = 1;

    BIND_INTEGER(n);
    ATTEMPT_COLUMNS(BIND)
    if (db_run(db, q, e) < 0)
        return -1;
    return put_cost(db, n, row, e);
}

int
db_attempts(struct db *db, int64_t n, struct mem_pool *pool,
            struct attempt_row **out, size_t *n_out, struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, SELECT_ATTEMPT "ORDER BY attempt, fence LIMIT ?2");
    int rc;

    *out = mem_pool_alloc(pool, DB_ATTEMPTS_MAX * sizeof **out);
    *n_out = 0;
    db_bind_int(q, 1, n);
    db_bind_int(q, 2, DB_ATTEMPTS_MAX);
    while ((rc = step_attempt(db, q, pool, &(*out)[*n_out], e)) > 0)
        (*n_out)++;
    db_done(q);
    return rc;
}

/* --- costs ---------------------------------------------------------------- */

int
db_costs(struct db *db, int64_t day, struct mem_pool *pool,
         struct db_cost **out, size_t *n_out, struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, "SELECT backend, provider, team, sum(nano), count(*), "
                   "sum(estimated) FROM costs WHERE day = ?1 "
                   "GROUP BY backend, provider, team "
                   "ORDER BY backend, provider, team LIMIT ?2");
    int rc;

    *out = mem_pool_alloc(pool, DB_COSTS_MAX * sizeof **out);
    *n_out = 0;
    db_bind_int(q, 1, day);
    db_bind_int(q, 2, DB_COSTS_MAX);
    while ((rc = db_step(db, q, e)) > 0)
        (*out)[(*n_out)++] =
            (struct db_cost){.backend = load_text(q, 0, pool),
                             .provider = load_text(q, 1, pool),
                             .team = load_text(q, 2, pool),
                             .nano = sqlite3_column_int64(q, 3),
                             .attempts = sqlite3_column_int64(q, 4),
                             .estimated = sqlite3_column_int64(q, 5)};
    db_done(q);
    return rc;
}

/* --- batches -------------------------------------------------------------- */

static int
read_batch(struct db *db, sqlite3_stmt *q, struct mem_pool *pool,
           struct batch_state *row, struct err *e)
{
    int rc = db_step(db, q, e), i = 0;

    if (rc > 0) {
        *row = (struct batch_state){0};
        LOAD_INTEGER(row->n);
        LOAD_TEXT(row->b.id);
        LOAD_TEXT(row->b.name);
        BATCH_COLUMNS(LOAD)
    }
    db_done(q);
    return rc;
}

int
db_batch(struct db *db, const char *id, struct mem_pool *pool,
         struct batch_state *out, struct err *e)
{
    sqlite3_stmt *q = db_sql(db, SELECT_BATCH "WHERE id = ?1");

    db_bind_text(q, 1, id);
    return read_batch(db, q, pool, out, e);
}

int
db_batch_at(struct db *db, int64_t n, struct mem_pool *pool,
            struct batch_state *out, struct err *e)
{
    sqlite3_stmt *q = db_sql(db, SELECT_BATCH "WHERE n = ?1");

    db_bind_int(q, 1, n);
    return read_batch(db, q, pool, out, e);
}

int
db_put_batch(struct db *db, const struct batch_state *row, struct err *e)
{
    sqlite3_stmt *q = db_sql(db, INSERT("INTO batches", "id, name", "?1, ?2",
                                        BATCH_COLUMNS) UPDATE_BATCH);
    int i = 1;

    mark_changed(db, row->b.id, true);
    BIND_TEXT(row->b.id);
    BIND_TEXT(row->b.name);
    BATCH_COLUMNS(BIND)
    return db_run(db, q, e);
}

/* --- positions, quarantine, reports --------------------------------------- */

int
db_position(struct db *db, const char *consumer, uint64_t seq, bool exactly,
            struct err *e)
{
    sqlite3_stmt *q = db_sql(
        db, exactly ? "UPDATE positions SET seq = ?2 WHERE consumer = ?1"
                    : "INSERT INTO positions(consumer, seq) VALUES(?1, ?2) "
                      "ON CONFLICT(consumer) DO UPDATE SET seq = max(seq, ?2)");

    db_bind_text(q, 1, consumer);
    db_bind_int(q, 2, (int64_t)seq);
    return db_run(db, q, e);
}

int
db_position_get(struct db *db, const char *consumer, uint64_t *out,
                struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, "SELECT seq FROM positions WHERE consumer = ?1");
    int64_t seq;
    int rc;

    db_bind_text(q, 1, consumer);
    rc = db_number(db, q, &seq, e);
    *out = (uint64_t)seq;
    return rc;
}

int
db_quarantine(struct db *db, const struct quarantine *m, const char *name,
              struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, "SELECT count(*) FROM (SELECT 1 FROM quarantine LIMIT ?1)");
    size_t len = m->len;
    int64_t kept;

    db_bind_int(q, 1, DB_QUARANTINE_KEPT);
    if (db_number(db, q, &kept, e) < 0)
        return -1;
    if (kept >= DB_QUARANTINE_KEPT || !m->payload)
        len = 0;
    else if (len > DB_QUARANTINE_BYTES)
        len = DB_QUARANTINE_BYTES;
    q = db_sql(db, "INSERT OR IGNORE INTO quarantine(stream, seq, at, "
                   "subject, reason, bytes, payload) "
                   "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    db_bind_text(q, 1, m->stream);
    db_bind_int(q, 2, (int64_t)m->seq);
    db_bind_int(q, 3, m->at_ms);
    db_bind_text(q, 4, m->subject);
    db_bind_text(q, 5, m->reason);
    db_bind_int(q, 6, (int64_t)m->len);
    if (len)
        (void)sqlite3_bind_blob64(q, 7, m->payload, len, SQLITE_STATIC);
    if (db_run(db, q, e) < 0)
        return -1;
    if (sqlite3_changes(db->handle) > 0)
        db_count(db, "", name, 1);
    return 0;
}

/* Whether the text a statement finds first is this one. */
static int
finds(struct db *db, sqlite3_stmt *q, const char *text, bool *out,
      struct err *e)
{
    int rc = db_step(db, q, e);

    *out = rc > 0 && strcmp((const char *)sqlite3_column_text(q, 0), text) == 0;
    db_done(q);
    return rc < 0 ? -1 : 0;
}

int
db_report_name(struct db *db, const char *name, const char *owner, bool *ours,
               struct err *e)
{
    sqlite3_stmt *q = db_sql(
        db, "INSERT OR IGNORE INTO report_names(name, owner) VALUES(?1, ?2)");

    db_bind_text(q, 1, name);
    db_bind_text(q, 2, owner);
    if (db_run(db, q, e) < 0)
        return -1;
    q = db_sql(db, "SELECT owner FROM report_names WHERE name = ?1");
    db_bind_text(q, 1, name);
    return finds(db, q, owner, ours, e);
}

int
db_is_first(struct db *db, bool batch, const char *name, const char *id,
            bool *out, struct err *e)
{
    sqlite3_stmt *q =
        batch
            ? db_sql(db, "SELECT id FROM batches WHERE name = ?1 "
                         "ORDER BY first_at, id LIMIT 1")
            : db_sql(db, "SELECT id FROM tasks WHERE name = ?1 AND name <> '' "
                         "AND accepted_at > 0 "
                         "ORDER BY accepted_at, accepted_seq LIMIT 1");

    db_bind_text(q, 1, name);
    return finds(db, q, id, out, e);
}

int
db_reported(struct db *db, bool batch, int64_t n, const char *path,
            bool changed, struct err *e)
{
    sqlite3_stmt *q =
        batch
            ? db_sql(db, "UPDATE batches SET report_due = ?3, report = ?2 "
                         "WHERE n = ?1")
            : db_sql(
                  db,
                  "UPDATE tasks SET report_due = ?3, report = ?2 WHERE n = ?1");

    db_bind_int(q, 1, n);
    db_bind_text(q, 2, path);
    db_bind_int(q, 3, changed);
    return db_run(db, q, e);
}

/* --- streams -------------------------------------------------------------- */

int
db_stream(struct db *db, const char *name, struct db_stream *out, struct err *e)
{
    sqlite3_stmt *q = db_sql(
        db, "SELECT created, lost_at, sweep FROM streams WHERE name = ?1");
    int rc;

    *out = (struct db_stream){0};
    db_bind_text(q, 1, name);
    rc = db_step(db, q, e);
    if (rc > 0) {
        db_copy_text(q, 0, out->created, sizeof out->created);
        out->lost_at_ms = sqlite3_column_int64(q, 1);
        out->sweep = sqlite3_column_int(q, 2) != 0;
    }
    db_done(q);
    return rc < 0 ? -1 : 0;
}

int
db_put_stream(struct db *db, const char *name, const struct db_stream *row,
              struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, "INSERT INTO streams(name, created, lost_at, sweep) "
                   "VALUES(?1, ?2, ?3, ?4) ON CONFLICT(name) DO UPDATE SET "
                   "created = ?2, lost_at = ?3, sweep = ?4");

    db_bind_text(q, 1, name);
    db_bind_text(q, 2, row->created);
    db_bind_int(q, 3, row->lost_at_ms);
    db_bind_int(q, 4, row->sweep);
    return db_run(db, q, e);
}

int
db_is_new(struct db *db, bool *out, struct err *e)
{
    int64_t n = 0, rows = 0;

    if (db_number(db, db_sql(db, "SELECT count(*) FROM positions"), &n, e) <
            0 ||
        db_number(db, db_sql(db, "SELECT max(n) FROM tasks"), &rows, e) < 0)
        return -1;
    *out = n == 0 && rows == 0;
    return 0;
}
