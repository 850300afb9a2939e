/*
 * Opens the ledger's SQLite file, brings its schema up to date, prepares every
 * statement once, and runs transactions.
 *
 * A lock file beside the database keeps a second process out. Counters are
 * collected in memory and written by db_commit, each of them once.
 */
#include "reaper/db/db_private.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/os/file.h"
#include "lib/os/lock_file.h"
#include "reaper/db/columns.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUSY_MS = 2000 };

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

static const char *const sql[Q_COUNT_OF] = {
    [Q_BEGIN] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
    [Q_ROLLBACK] = "ROLLBACK",
    [Q_TASK] = SELECT_TASK "WHERE id = ?1",
    [Q_TASK_AT] = SELECT_TASK "WHERE n = ?1",
    [Q_TASK_ADD] =
        INSERT("INTO tasks", "n, id, state", "?1, ?2, ?3", TASK_COLUMNS),
    [Q_TASK_PUT] = UPDATE_TASK(TASK_ROUTING(ASSIGN) TASK_OUTCOME(ASSIGN)
                                   TASK_DETAILS(ASSIGN)),
    [Q_TASK_ROUTED] = UPDATE_TASK(TASK_ROUTING(ASSIGN)),
    [Q_TASK_ENDED] = UPDATE_TASK(TASK_OUTCOME(ASSIGN)),
    [Q_TASK_RUN] = UPDATE_TASK(TASK_ROUTING(ASSIGN) TASK_OUTCOME(ASSIGN)),
    [Q_TASK_STATE] = "SELECT state FROM tasks WHERE id = ?1",
    [Q_ATTEMPT] = SELECT_ATTEMPT "AND attempt = ?2 AND fence = ?3",
    [Q_ATTEMPT_PUT] =
        INSERT("OR REPLACE INTO attempts", "task", "?1", ATTEMPT_COLUMNS),
    [Q_ATTEMPTS] = SELECT_ATTEMPT "ORDER BY attempt, fence LIMIT ?2",
    [Q_COST_PUT] = INSERT("OR REPLACE INTO costs", "task, day, nano",
                          "?1, ?2, ?3", COST_COLUMNS),
    [Q_COSTS] = "SELECT backend, provider, team, sum(nano), count(*), "
                "sum(estimated) FROM costs WHERE day = ?1 "
                "GROUP BY backend, provider, team "
                "ORDER BY backend, provider, team LIMIT ?2",
    [Q_BATCH] = SELECT_BATCH "WHERE id = ?1",
    [Q_BATCH_AT] = SELECT_BATCH "WHERE n = ?1",
    [Q_BATCH_PUT] = INSERT("INTO batches", "id, name", "?1, ?2", BATCH_COLUMNS)
        UPDATE_BATCH,
    [Q_COUNT] = "INSERT INTO counters(scope, name, value) VALUES(?1, ?2, ?3) "
                "ON CONFLICT(scope, name) DO UPDATE SET value = value + ?3",
    [Q_COUNTERS] = "SELECT scope, name, value FROM counters "
                   "ORDER BY scope, name",
    [Q_QUARANTINED] =
        "SELECT count(*) FROM (SELECT 1 FROM quarantine LIMIT ?1)",
    [Q_POSITION] = "INSERT INTO positions(consumer, seq) VALUES(?1, ?2) "
                   "ON CONFLICT(consumer) DO UPDATE SET seq = max(seq, ?2)",
    [Q_POSITION_GET] = "SELECT seq FROM positions WHERE consumer = ?1",
    [Q_QUARANTINE] = "INSERT OR IGNORE INTO quarantine(stream, seq, at, "
                     "subject, reason, bytes, payload) "
                     "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [Q_LIST] = "SELECT n FROM tasks WHERE n < ?1 AND state <> 1 "
               "ORDER BY n DESC LIMIT ?2",
    [Q_LIST_STATE] = "SELECT n FROM tasks WHERE state = ?3 AND n < ?1 "
                     "ORDER BY n DESC LIMIT ?2",
    [Q_LIST_BATCH] = "SELECT n FROM tasks WHERE batch = ?3 AND batch <> '' "
                     "AND n < ?1 ORDER BY n DESC LIMIT ?2",
    [Q_LIST_BATCH_STATES] =
        "SELECT n FROM tasks WHERE batch = ?3 AND batch <> '' AND n < ?1 "
        "AND (?4 >> state) & 1 ORDER BY n DESC LIMIT ?2",
    [Q_MEMBERS] = "SELECT n, batch_index FROM tasks "
                  "WHERE batch = ?1 AND batch <> '' AND state = ?2 "
                  "AND +state >= 8 ORDER BY batch_index, id LIMIT ?3",
    [Q_MEMBERS_OPEN] = "SELECT n, batch_index FROM tasks "
                       "WHERE batch = ?1 AND batch <> '' "
                       "AND (?2 >> state) & 1 AND state < 8 "
                       "ORDER BY batch_index, id LIMIT ?3",
    [Q_LAST] = "SELECT id FROM tasks WHERE state <> 1 ORDER BY n DESC LIMIT 1",
    [Q_BY_NAME] = "SELECT id FROM tasks WHERE name = ?1 AND name <> '' "
                  "ORDER BY accepted_at DESC, accepted_seq DESC LIMIT 1",
    [Q_BY_PREFIX] = "SELECT id FROM tasks WHERE id >= ?1 AND id < ?2 LIMIT 2",
    [Q_BATCH_LAST] = "SELECT id FROM batches ORDER BY n DESC LIMIT 1",
    [Q_BATCH_BY_NAME] = "SELECT id FROM batches WHERE name = ?1 "
                        "ORDER BY n DESC LIMIT 1",
    [Q_BATCH_BY_PREFIX] =
        "SELECT id FROM batches WHERE id >= ?1 AND id < ?2 LIMIT 2",
    [Q_BLOCKED] = "SELECT n FROM tasks WHERE state = 4 AND n > ?1 "
                  "ORDER BY n LIMIT ?2",
    [Q_CANCELLED] = "SELECT n FROM tasks WHERE cancel_at > 0 AND state < 8 "
                    "AND n > ?1 ORDER BY n LIMIT ?2",
    [Q_DUE] = "SELECT n FROM tasks WHERE report_due = 1 AND n > ?1 "
              "ORDER BY n LIMIT ?2",
    [Q_DUE_BATCH] = "SELECT n FROM batches WHERE report_due = 1 AND n > ?1 "
                    "ORDER BY n LIMIT ?2",
    [Q_NAME_PUT] =
        "INSERT OR IGNORE INTO report_names(name, owner) VALUES(?1, ?2)",
    [Q_NAME_OWNER] = "SELECT owner FROM report_names WHERE name = ?1",
    [Q_NAME_FIRST] = "SELECT id FROM tasks WHERE name = ?1 AND name <> '' "
                     "AND accepted_at > 0 "
                     "ORDER BY accepted_at, accepted_seq LIMIT 1",
    [Q_BATCH_NAME_FIRST] = "SELECT id FROM batches WHERE name = ?1 "
                           "ORDER BY first_at, id LIMIT 1",
    [Q_LANES] = "SELECT backend, lane FROM tasks WHERE routed = 1 "
                "AND state < 8 AND (backend, lane) > (?1, ?2) "
                "ORDER BY backend, lane LIMIT 1",
    [Q_ON_LANE] = "SELECT n FROM tasks WHERE routed = 1 AND state < 8 "
                  "AND backend = ?1 AND lane = ?2 "
                  "AND (routed_seq, n) > (?3, ?4) AND routed_seq <= ?5 "
                  "ORDER BY routed_seq, n LIMIT ?6",
    [Q_UNROUTED] = "SELECT n FROM tasks WHERE state = 2 AND n > ?1 "
                   "ORDER BY n LIMIT ?2",
    [Q_DISPATCHES] = "UPDATE tasks SET drives = ?2 WHERE n = ?1",
    [Q_RESUBMITS] = "UPDATE tasks SET resubmits = ?2 WHERE n = ?1",
    [Q_STREAM] = "SELECT created, lost_at, sweep FROM streams WHERE name = ?1",
    [Q_STREAM_PUT] = "INSERT INTO streams(name, created, lost_at, sweep) "
                     "VALUES(?1, ?2, ?3, ?4) ON CONFLICT(name) DO UPDATE SET "
                     "created = ?2, lost_at = ?3, sweep = ?4",
    [Q_POSITION_SET] = "UPDATE positions SET seq = ?2 WHERE consumer = ?1",
    [Q_POSITIONS] = "SELECT count(*) FROM positions",
    [Q_ROWS] = "SELECT max(n) FROM tasks",
    [Q_STATES] = "SELECT state, count(*) FROM tasks GROUP BY state",
    [Q_REPORTED] = "UPDATE tasks SET report_due = ?3, report = ?2 WHERE n = ?1",
    [Q_BATCH_REPORTED] =
        "UPDATE batches SET report_due = ?3, report = ?2 WHERE n = ?1",
};

_Static_assert(STATE_SUBMITTED == 1 && STATE_BLOCKED == 4 &&
                   STATE_SUCCEEDED == 8,
               "the statements spell these numbers");

/* --- statements ----------------------------------------------------------- */

int
db_fail(struct db *db, const char *what, struct err *e)
{
    return err_set(e, ERR_UNAVAILABLE, "ledger database: %s: %s", what,
                   sqlite3_errmsg(db->handle));
}

void
db_done(struct db *db, enum statement which)
{
    (void)sqlite3_reset(db->q[which]);
    (void)sqlite3_clear_bindings(db->q[which]);
}

int
db_step(struct db *db, enum statement which, struct err *e)
{
    int rc = sqlite3_step(db->q[which]);

    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    /* SQLite's reason comes first: the text of a statement is long. */
    return err_set(e, ERR_UNAVAILABLE, "ledger database: %s (%.40s...)",
                   sqlite3_errmsg(db->handle), sqlite3_sql(db->q[which]));
}

int
db_run(struct db *db, enum statement which, struct err *e)
{
    int rc = db_step(db, which, e);

    db_done(db, which);
    return rc < 0 ? -1 : 0;
}

/* Binding fails only for want of memory or a wrong index; the step that
 * follows then meets NULL where the schema or the reader does not mind. */
void
db_bind_int(struct db *db, enum statement which, int at, int64_t v)
{
    (void)sqlite3_bind_int64(db->q[which], at, v);
}

void
db_bind_text(struct db *db, enum statement which, int at, const char *v)
{
    (void)sqlite3_bind_text(db->q[which], at, v, -1, SQLITE_STATIC);
}

int
db_number(struct db *db, enum statement which, int64_t *out, struct err *e)
{
    int rc = db_step(db, which, e);

    *out = rc > 0 ? sqlite3_column_int64(db->q[which], 0) : 0;
    db_done(db, which);
    return rc < 0 ? -1 : 0;
}

void
db_copy_text(sqlite3_stmt *q, int at, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(q, at);

    (void)str_copy(out, size, text ? text : "");
}

/* --- opening -------------------------------------------------------------- */

/* Makes the folder, if need be, and locks the database in it. */
static int
take_lock(struct db *db, const char *path, struct err *e)
{
    char name[4096], *slash;
    pid_t holder = 0;

    if (snprintf(name, sizeof name, "%s.lock", path) >= (int)sizeof name)
        return err_set(e, ERR_INVALID, "reaper.database: path too long");
    slash = strrchr(name, '/');
    if (slash && slash != name) {
        *slash = '\0';
        if (file_make_dirs(name, 0700) < 0)
            return err_set(e, ERR_DENIED, "make folder %s: %s", name,
                           strerror(errno));
        *slash = '/';
    }
    db->lock = lock_file_take(name, 0, &holder);
    if (db->lock >= 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return err_set(e, ERR_DENIED, "lock %s: %s", name, strerror(errno));
    return err_set(e, ERR_CONFLICT,
                   "another reaper has the ledger %s open; stop it, or "
                   "give this one its own reaper.database",
                   path);
}

static int
exec(struct db *db, const char *text, struct err *e)
{
    if (sqlite3_exec(db->handle, text, NULL, NULL, NULL) != SQLITE_OK)
        return db_fail(db, "set up", e);
    return 0;
}

static int
read_version(struct db *db, int *out, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int rc =
        sqlite3_prepare_v2(db->handle, "PRAGMA user_version", -1, &q, NULL);

    if (rc == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        *out = sqlite3_column_int(q, 0);
    else
        rc = err_set(e, ERR_INVALID, "%s is not a database: %s",
                     sqlite3_db_filename(db->handle, "main"),
                     sqlite3_errmsg(db->handle));
    (void)sqlite3_finalize(q);
    return rc == SQLITE_OK ? 0 : -1;
}

static int
migrate(struct db *db, struct err *e)
{
    char pragma[64];
    int version = 0, newest = 0;

    while (db_migrations[newest])
        newest++;
    if (read_version(db, &version, e) < 0)
        return -1;
    if (version > newest)
        return err_set(e, ERR_INVALID,
                       "the ledger has schema %d, this program knows %d: it "
                       "was written by a newer shunt",
                       version, newest);
    for (; version < newest; version++) {
        (void)snprintf(pragma, sizeof pragma,
                       "PRAGMA user_version = %d; COMMIT;", version + 1);
        if (exec(db, "BEGIN IMMEDIATE", e) < 0 ||
            exec(db, db_migrations[version], e) < 0 || exec(db, pragma, e) < 0)
            return -1;
    }
    return 0;
}

static int
prepare(struct db *db, struct err *e)
{
    for (int i = 0; i < Q_COUNT_OF; i++)
        if (sqlite3_prepare_v3(db->handle, sql[i], -1,
                               SQLITE_PREPARE_PERSISTENT, &db->q[i],
                               NULL) != SQLITE_OK)
            return db_fail(db, sql[i], e);
    return 0;
}

int
db_open(struct db **out, const char *path, bool sync, struct err *e)
{
    struct db *db = MEM_NEW(struct db);
    mode_t mask;
    int rc;

    db->lock = -1;
    if (take_lock(db, path, e) < 0)
        goto fail;
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    mask = umask(0077); /* commands may hold what others should not read */
    rc = sqlite3_open_v2(
        path, &db->handle,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        err_set(e, ERR_UNAVAILABLE, "open %s: %s", path,
                db->handle ? sqlite3_errmsg(db->handle) : "no memory");
    } else {
        (void)sqlite3_busy_timeout(db->handle, BUSY_MS);
        rc = exec(db,
                  "PRAGMA journal_mode = WAL;"
                  "PRAGMA cache_size = -2048; PRAGMA mmap_size = 0;"
                  "PRAGMA wal_autocheckpoint = 2000;"
                  "PRAGMA temp_store = MEMORY;"
                  "PRAGMA journal_size_limit = 8388608;",
                  e);
        if (rc == 0)
            rc = exec(db,
                      sync ? "PRAGMA synchronous = FULL"
                           : "PRAGMA synchronous = NORMAL",
                      e);
        if (rc == 0)
            rc = migrate(db, e);
    }
    (void)umask(mask);
    if (rc != 0 || prepare(db, e) < 0)
        goto fail;
    *out = db;
    return 0;
fail:
    db_close(db);
    return -1;
}

void
db_close(struct db *db)
{
    if (!db)
        return;
    for (int i = 0; i < Q_COUNT_OF; i++)
        (void)sqlite3_finalize(db->q[i]);
    (void)sqlite3_close(db->handle);
    if (db->lock >= 0)
        (void)close(db->lock);
    mem_free(db->counts);
    mem_free(db);
}

/* --- transactions --------------------------------------------------------- */

int
db_begin(struct db *db, struct err *e)
{
    db->n_counts = 0;
    return db_run(db, Q_BEGIN, e);
}

void
db_count(void *ctx, const char *scope, const char *name, int64_t delta)
{
    struct db *db = ctx;
    struct db_delta *d;

    for (size_t i = 0; i < db->n_counts; i++) {
        d = &db->counts[i];
        if (strcmp(d->name, name) == 0 && strcmp(d->scope, scope) == 0) {
            d->delta += delta;
            return;
        }
    }
    db->counts =
        mem_grow(db->counts, db->n_counts, &db->cap_counts, sizeof *db->counts);
    d = &db->counts[db->n_counts++];
    (void)snprintf(d->scope, sizeof d->scope, "%s", scope);
    (void)snprintf(d->name, sizeof d->name, "%s", name);
    d->delta = delta;
}

int
db_commit(struct db *db, struct err *e)
{
    for (size_t i = 0; i < db->n_counts; i++) {
        if (!db->counts[i].delta)
            continue;
        db_bind_text(db, Q_COUNT, 1, db->counts[i].scope);
        db_bind_text(db, Q_COUNT, 2, db->counts[i].name);
        db_bind_int(db, Q_COUNT, 3, db->counts[i].delta);
        if (db_run(db, Q_COUNT, e) < 0)
            return -1;
    }
    db->n_counts = 0;
    return db_run(db, Q_COMMIT, e);
}

void
db_rollback(struct db *db)
{
    struct err e;

    db->n_counts = 0;
    if (!sqlite3_get_autocommit(db->handle))
        (void)db_run(db, Q_ROLLBACK, &e);
}

void
db_give_up(struct db *db, struct loop *l, const struct err *e)
{
    db_rollback(db);
    log_error("reaper.store", "error=\"%s\"", LOG_TEXT(e->msg));
    loop_stop(l, 1);
}

void
db_idle(struct db *db)
{
    /* The next commit meets a failure again and returns it. */
    (void)sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE,
                                    NULL, NULL);
    (void)sqlite3_db_release_memory(db->handle);
}
