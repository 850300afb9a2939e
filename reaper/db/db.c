#include "reaper/db/db_private.h"

#include "lib/os/file.h"
#include "lib/os/lock_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUSY_MS = 2000 };

/*
 * times are milliseconds, flags 0 or 1, states the numbers of the wire. The
 * blobs stand last: what lists need is at the front of a row.
 */
static const char schema_1[] =
    "CREATE TABLE tasks("
    " n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL,"
    " task_from INTEGER, name TEXT, source TEXT, command TEXT,"
    " report_path TEXT, batch TEXT, batch_name TEXT, batch_index INTEGER,"
    " batch_size INTEGER, submitted_at INTEGER, accepted_at INTEGER,"
    " accepted_seq INTEGER, gate INTEGER, ungated INTEGER, routed INTEGER,"
    " drive INTEGER, routed_at INTEGER, routed_seq INTEGER, backend TEXT,"
    " lane TEXT, cancel_at INTEGER, cancel_by TEXT, cancel_reason TEXT,"
    " has_result INTEGER, final INTEGER, again INTEGER,"
    " result_attempt INTEGER, result_fence INTEGER, exit_code INTEGER,"
    " failed_step INTEGER, reason TEXT, worker TEXT, started_at INTEGER,"
    " finished_at INTEGER, retry_at INTEGER, attempts INTEGER,"
    " finals INTEGER, released INTEGER, report_due INTEGER, report TEXT,"
    " task BLOB, decision BLOB);"
    "CREATE INDEX tasks_state ON tasks(state, n);"
    "CREATE INDEX tasks_name ON tasks(name, n) WHERE name <> '';"
    "CREATE INDEX tasks_batch ON tasks(batch, n) WHERE batch <> '';"
    "CREATE INDEX tasks_member ON tasks(batch, state, batch_index, id)"
    " WHERE batch <> '';"
    "CREATE INDEX tasks_due ON tasks(n) WHERE report_due = 1;"
    "CREATE INDEX tasks_cancel ON tasks(n) WHERE cancel_at > 0 AND state < 8;"
    "CREATE TABLE attempts("
    " task INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " fence INTEGER NOT NULL, final INTEGER, again INTEGER, at INTEGER,"
    " result BLOB, UNIQUE(task, attempt, fence));"
    "CREATE TABLE batches("
    " n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT,"
    " size INTEGER, accepted INTEGER, succeeded INTEGER, failed INTEGER,"
    " cancelled INTEGER, first_at INTEGER, last_at INTEGER, done INTEGER,"
    " report_due INTEGER, report TEXT);"
    "CREATE INDEX batches_name ON batches(name, n);"
    "CREATE INDEX batches_due ON batches(n) WHERE report_due = 1;"
    "CREATE TABLE counters("
    " scope TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL,"
    " PRIMARY KEY(scope, name)) WITHOUT ROWID;"
    "CREATE TABLE positions("
    " consumer TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE quarantine("
    " stream TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,"
    " subject TEXT, reason TEXT, bytes INTEGER, payload BLOB,"
    " UNIQUE(stream, seq, at));"
    "CREATE TABLE report_names("
    " name TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;";

/* What reconciling needs, and names that are given in the order in which tasks
 * were accepted: a replay gives the same ones. */
static const char schema_2[] =
    "ALTER TABLE tasks ADD COLUMN drives INTEGER;"
    "ALTER TABLE tasks ADD COLUMN resubmits INTEGER;"
    "ALTER TABLE tasks ADD COLUMN in_at INTEGER;"
    "ALTER TABLE tasks ADD COLUMN in_seq INTEGER;"
    "ALTER TABLE tasks ADD COLUMN routed_task BLOB;"
    "UPDATE tasks SET in_at = accepted_at, in_seq = accepted_seq;"
    "CREATE INDEX tasks_lane ON tasks(backend, lane, routed_seq)"
    " WHERE routed = 1 AND state < 8;"
    "DROP INDEX tasks_name;"
    "CREATE INDEX tasks_name ON tasks(name, accepted_at, accepted_seq)"
    " WHERE name <> '';"
    "INSERT INTO counters SELECT '', 'unseen', count(*) FROM tasks"
    " WHERE task_from = 0;"
    "CREATE TABLE streams("
    " name TEXT PRIMARY KEY, created TEXT NOT NULL, lost_at INTEGER NOT NULL,"
    " sweep INTEGER NOT NULL) WITHOUT ROWID;";

/* Less to write per task: attempts in one tree instead of two, and members of
 * a batch are only sought once they are over. The sign before state keeps the
 * planner from taking the condition for a range to be walked. */
static const char schema_3[] =
    "CREATE TABLE attempts_3("
    " task INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " fence INTEGER NOT NULL, final INTEGER, again INTEGER, at INTEGER,"
    " result BLOB, PRIMARY KEY(task, attempt, fence)) WITHOUT ROWID;"
    "INSERT INTO attempts_3 SELECT task, attempt, fence, final, again, at,"
    " result FROM attempts ORDER BY task, attempt, fence;"
    "DROP TABLE attempts;"
    "ALTER TABLE attempts_3 RENAME TO attempts;"
    "DROP INDEX tasks_member;"
    "CREATE INDEX tasks_member ON tasks(batch, state, batch_index)"
    " WHERE batch <> '' AND +state >= 8;";

/* What attempts cost, in nanodollars, by days since 1970 (UTC): sums come from
 * the index alone. */
static const char schema_costs[] =
    "CREATE TABLE costs("
    " task INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " fence INTEGER NOT NULL, day INTEGER NOT NULL, backend TEXT NOT NULL,"
    " provider TEXT NOT NULL, team TEXT NOT NULL, nano INTEGER NOT NULL, "
    "estimated INTEGER NOT NULL,"
    " PRIMARY KEY(task, attempt, fence)) WITHOUT ROWID;"
    "CREATE INDEX costs_day ON costs(day, backend, provider, team, nano,"
    " estimated);";

/* Each leads from the version before to the next. */
static const char *const schemas[] = {schema_1, schema_2, schema_3,
                                      schema_costs};
enum { VERSION = sizeof schemas / sizeof *schemas };

/* In the order of load_task and bind_task. */
#define TASK_COLUMNS                                                           \
    "n, id, state, task_from, name, source, command, report_path, batch, "     \
    "batch_name, batch_index, batch_size, submitted_at, accepted_at, "         \
    "accepted_seq, gate, ungated, routed, drive, routed_at, routed_seq, "      \
    "backend, lane, cancel_at, cancel_by, cancel_reason, has_result, final, "  \
    "again, result_attempt, result_fence, exit_code, failed_step, reason, "    \
    "worker, started_at, finished_at, retry_at, attempts, finals, released, "  \
    "report_due, report, task, decision, drives, resubmits, in_at, in_seq, "   \
    "routed_task"

#define ATTEMPT_COLUMNS "attempt, fence, final, again, at, result"

#define BATCH_COLUMNS                                                          \
    "n, id, name, size, accepted, succeeded, failed, cancelled, first_at, "    \
    "last_at, done, report_due, report"

static const char *const sql[Q_COUNT_OF] = {
    [Q_BEGIN] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
    [Q_ROLLBACK] = "ROLLBACK",
    [Q_TASK] = "SELECT " TASK_COLUMNS " FROM tasks WHERE id = ?1",
    [Q_TASK_AT] = "SELECT " TASK_COLUMNS " FROM tasks WHERE n = ?1",
    [Q_TASK_ADD] =
        "INSERT INTO tasks(" TASK_COLUMNS ") VALUES("
        "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, "
        "?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, "
        "?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37, ?38, ?39, ?40, ?41, "
        "?42, ?43, ?44, ?45, ?46, ?47, ?48, ?49, ?50)",
    [Q_TASK_PUT] =
        "UPDATE tasks SET state = ?3, "
        "task_from = ?4, name = ?5, source = ?6, command = ?7, "
        "report_path = ?8, batch = ?9, batch_name = ?10, batch_index = ?11, "
        "batch_size = ?12, submitted_at = ?13, accepted_at = ?14, "
        "accepted_seq = ?15, gate = ?16, ungated = ?17, routed = ?18, "
        "drive = ?19, routed_at = ?20, routed_seq = ?21, backend = ?22, "
        "lane = ?23, cancel_at = ?24, cancel_by = ?25, cancel_reason = ?26, "
        "has_result = ?27, final = ?28, again = ?29, result_attempt = ?30, "
        "result_fence = ?31, exit_code = ?32, failed_step = ?33, "
        "reason = ?34, worker = ?35, started_at = ?36, finished_at = ?37, "
        "retry_at = ?38, attempts = ?39, finals = ?40, released = ?41, "
        "report_due = ?42, report = ?43, task = ?44, decision = ?45, "
        "drives = ?46, resubmits = ?47, in_at = ?48, in_seq = ?49, "
        "routed_task = ?50 WHERE n = ?1",
    [Q_TASK_ROUTED] =
        "UPDATE tasks SET state = ?2, routed = ?3, drive = ?4, "
        "routed_at = ?5, routed_seq = ?6, backend = ?7, lane = ?8, "
        "report_due = ?9, decision = ?10, routed_task = ?11 WHERE n = ?1",
    [Q_TASK_ENDED] =
        "UPDATE tasks SET state = ?2, has_result = ?3, final = ?4, "
        "again = ?5, result_attempt = ?6, result_fence = ?7, exit_code = ?8, "
        "failed_step = ?9, reason = ?10, worker = ?11, started_at = ?12, "
        "finished_at = ?13, retry_at = ?14, attempts = ?15, finals = ?16, "
        "report_due = ?17 WHERE n = ?1",
    [Q_TASK_RUN] =
        "UPDATE tasks SET state = ?2, routed = ?3, drive = ?4, "
        "routed_at = ?5, routed_seq = ?6, backend = ?7, lane = ?8, "
        "report_due = ?9, decision = ?10, routed_task = ?11, "
        "has_result = ?12, final = ?13, again = ?14, result_attempt = ?15, "
        "result_fence = ?16, exit_code = ?17, failed_step = ?18, "
        "reason = ?19, worker = ?20, started_at = ?21, finished_at = ?22, "
        "retry_at = ?23, attempts = ?24, finals = ?25 WHERE n = ?1",
    [Q_TASK_STATE] = "SELECT state FROM tasks WHERE id = ?1",
    [Q_ATTEMPT] = "SELECT " ATTEMPT_COLUMNS " FROM attempts "
                  "WHERE task = ?1 AND attempt = ?2 AND fence = ?3",
    [Q_ATTEMPT_PUT] = "INSERT INTO attempts(task, " ATTEMPT_COLUMNS ") "
                      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) "
                      "ON CONFLICT(task, attempt, fence) DO UPDATE SET "
                      "final = ?4, again = ?5, at = ?6, result = ?7",
    [Q_ATTEMPTS] = "SELECT " ATTEMPT_COLUMNS " FROM attempts WHERE task = ?1 "
                   "ORDER BY attempt, fence LIMIT ?2",
    [Q_COST_PUT] = "INSERT OR REPLACE INTO costs(task, attempt, fence, day, "
                   "backend, provider, team, nano, estimated) "
                   "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [Q_COSTS] = "SELECT backend, provider, team, sum(nano), count(*), "
                "sum(estimated) FROM costs WHERE day = ?1 "
                "GROUP BY backend, provider, team "
                "ORDER BY backend, provider, team LIMIT ?2",
    [Q_BATCH] = "SELECT " BATCH_COLUMNS " FROM batches WHERE id = ?1",
    [Q_BATCH_AT] = "SELECT " BATCH_COLUMNS " FROM batches WHERE n = ?1",
    [Q_BATCH_PUT] =
        "INSERT INTO batches(id, name, size, accepted, succeeded, failed, "
        "cancelled, first_at, last_at, done, report_due, report) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) "
        "ON CONFLICT(id) DO UPDATE SET name = ?2, size = ?3, accepted = ?4, "
        "succeeded = ?5, failed = ?6, cancelled = ?7, first_at = ?8, "
        "last_at = ?9, done = ?10, report_due = ?11, report = ?12",
    [Q_COUNT] = "INSERT INTO counters(scope, name, value) VALUES(?1, ?2, ?3) "
                "ON CONFLICT(scope, name) DO UPDATE SET value = value + ?3",
    [Q_COUNTERS] = "SELECT scope, name, value FROM counters "
                   "ORDER BY scope, name",
    [Q_COUNTER] = "SELECT count(*) FROM (SELECT 1 FROM quarantine LIMIT ?1)",
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
    [Q_DRIVES] = "UPDATE tasks SET drives = ?2 WHERE n = ?1",
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

/* --- small helpers -------------------------------------------------------- */

int
db_fail(struct db *s, const char *what, struct err *e)
{
    return err_set(e, ERR_UNAVAILABLE, "ledger database: %s: %s", what,
                   sqlite3_errmsg(s->db));
}

void
db_done(struct db *s, enum statement which)
{
    (void)sqlite3_reset(s->q[which]);
    (void)sqlite3_clear_bindings(s->q[which]);
}

int
db_step(struct db *s, enum statement which, struct err *e)
{
    int rc = sqlite3_step(s->q[which]);

    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    db_fail(s, sqlite3_sql(s->q[which]), e);
    /* The statement's text is long, and the reason matters more. */
    err_set(e, ERR_UNAVAILABLE, "ledger database: %s (%.40s...)",
            sqlite3_errmsg(s->db), sqlite3_sql(s->q[which]));
    return -1;
}

int
db_run(struct db *s, enum statement which, struct err *e)
{
    int rc = db_step(s, which, e);

    db_done(s, which);
    return rc < 0 ? -1 : 0;
}

/* Binding fails only for want of memory or a wrong index; the step that
 * follows then meets NULL where the schema or the reader does not mind. */
void
db_bind_int(struct db *s, enum statement which, int at, int64_t v)
{
    (void)sqlite3_bind_int64(s->q[which], at, v);
}

void
db_bind_text(struct db *s, enum statement which, int at, const char *v)
{
    (void)sqlite3_bind_text(s->q[which], at, v, -1, SQLITE_STATIC);
}

const char *
db_text(sqlite3_stmt *q, int at, struct mem_pool *pool)
{
    const char *text = (const char *)sqlite3_column_text(q, at);
    int len = sqlite3_column_bytes(q, at);

    return text && len > 0 ? mem_pool_strndup(pool, text, (size_t)len) : "";
}

/* --- opening -------------------------------------------------------------- */

/* Makes the folder, if need be, and locks the database in it. */
static int
take_lock(struct db *s, const char *path, struct err *e)
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
    s->lock = lock_file_take(name, 0, &holder);
    if (s->lock >= 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return err_set(e, ERR_DENIED, "lock %s: %s", name, strerror(errno));
    return err_set(e, ERR_CONFLICT,
                   "another reaper has the ledger %s open; stop it, or "
                   "give this one its own reaper.database",
                   path);
}

static int
exec(struct db *s, const char *text, struct err *e)
{
    if (sqlite3_exec(s->db, text, NULL, NULL, NULL) != SQLITE_OK)
        return db_fail(s, "set up", e);
    return 0;
}

static int
read_version(struct db *s, int *out, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int rc = sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &q, NULL);

    if (rc == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        *out = sqlite3_column_int(q, 0);
    else
        rc = err_set(e, ERR_INVALID, "%s is no database: %s",
                     sqlite3_db_filename(s->db, "main"), sqlite3_errmsg(s->db));
    (void)sqlite3_finalize(q);
    return rc == SQLITE_OK ? 0 : -1;
}

static int
migrate(struct db *s, struct err *e)
{
    char pragma[64];
    int version = 0;

    if (read_version(s, &version, e) < 0)
        return -1;
    if (version > VERSION)
        return err_set(e, ERR_INVALID,
                       "the ledger has schema %d, this program knows %d: it "
                       "was written by a newer shunt",
                       version, VERSION);
    for (; version < VERSION; version++) {
        (void)snprintf(pragma, sizeof pragma,
                       "PRAGMA user_version = %d; COMMIT;", version + 1);
        if (exec(s, "BEGIN IMMEDIATE", e) < 0 ||
            exec(s, schemas[version], e) < 0 || exec(s, pragma, e) < 0)
            return -1;
    }
    return 0;
}

static int
prepare(struct db *s, struct err *e)
{
    for (int i = 0; i < Q_COUNT_OF; i++)
        if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &s->q[i], NULL) != SQLITE_OK)
            return db_fail(s, sql[i], e);
    return 0;
}

int
db_open(struct db **out, const char *path, bool sync, struct err *e)
{
    struct db *s = MEM_NEW(struct db);
    mode_t mask;
    int rc;

    s->lock = -1;
    if (take_lock(s, path, e) < 0)
        goto fail;
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    mask = umask(0077); /* commands may hold what others should not read */
    rc = sqlite3_open_v2(
        path, &s->db,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        err_set(e, ERR_UNAVAILABLE, "open %s: %s", path,
                s->db ? sqlite3_errmsg(s->db) : "no memory");
    } else {
        (void)sqlite3_busy_timeout(s->db, BUSY_MS);
        rc = exec(s,
                  "PRAGMA journal_mode = WAL;"
                  "PRAGMA cache_size = -2048; PRAGMA mmap_size = 0;"
                  "PRAGMA wal_autocheckpoint = 2000;"
                  "PRAGMA temp_store = MEMORY;"
                  "PRAGMA journal_size_limit = 8388608;",
                  e);
        if (rc == 0)
            rc = exec(s,
                      sync ? "PRAGMA synchronous = FULL"
                           : "PRAGMA synchronous = NORMAL",
                      e);
        if (rc == 0)
            rc = migrate(s, e);
    }
    (void)umask(mask);
    if (rc != 0 || prepare(s, e) < 0)
        goto fail;
    *out = s;
    return 0;
fail:
    db_close(s);
    return -1;
}

void
db_close(struct db *s)
{
    if (!s)
        return;
    for (int i = 0; i < Q_COUNT_OF; i++)
        (void)sqlite3_finalize(s->q[i]);
    (void)sqlite3_close(s->db);
    if (s->lock >= 0)
        (void)close(s->lock);
    mem_free(s->counts);
    mem_free(s);
}

/* --- transactions --------------------------------------------------------- */

int
db_begin(struct db *s, struct err *e)
{
    s->n_counts = 0;
    return db_run(s, Q_BEGIN, e);
}

void
db_count(void *store, const char *scope, const char *name, int64_t delta)
{
    struct db *s = store;
    struct db_delta *d;

    for (size_t i = 0; i < s->n_counts; i++) {
        d = &s->counts[i];
        if (strcmp(d->name, name) == 0 && strcmp(d->scope, scope) == 0) {
            d->delta += delta;
            return;
        }
    }
    s->counts =
        mem_grow(s->counts, s->n_counts, &s->cap_counts, sizeof *s->counts);
    d = &s->counts[s->n_counts++];
    (void)snprintf(d->scope, sizeof d->scope, "%s", scope);
    (void)snprintf(d->name, sizeof d->name, "%s", name);
    d->delta = delta;
}

int
db_commit(struct db *s, struct err *e)
{
    for (size_t i = 0; i < s->n_counts; i++) {
        if (!s->counts[i].delta)
            continue;
        db_bind_text(s, Q_COUNT, 1, s->counts[i].scope);
        db_bind_text(s, Q_COUNT, 2, s->counts[i].name);
        db_bind_int(s, Q_COUNT, 3, s->counts[i].delta);
        if (db_run(s, Q_COUNT, e) < 0)
            return -1;
    }
    s->n_counts = 0;
    return db_run(s, Q_COMMIT, e);
}

void
db_rollback(struct db *s)
{
    struct err e;

    s->n_counts = 0;
    if (!sqlite3_get_autocommit(s->db))
        (void)db_run(s, Q_ROLLBACK, &e);
}

void
db_quiet(struct db *s)
{
    /* A failure here is met again, and told, by the next commit. */
    (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE,
                                    NULL, NULL);
    (void)sqlite3_db_release_memory(s->db);
}
