/*
 * Holds the schema of the ledger's database as the migrations that led to it.
 *
 * A new file goes through all of them, an existing one through those that are
 * newer than its user_version; none is ever changed. A unit test compares the
 * outcome with the lists in columns.h.
 */
#include "reaper/db/db_private.h"

/* Times are milliseconds, flags 0 or 1, states the numbers of the wire. */
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

/* Columns for reconciliation. Names of reports are given in the order in which
 * tasks were accepted, so that a replay gives the same ones. */
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

/* Less to write per task: attempts in one tree instead of two, and the members
 * of a batch are indexed only when they have finished. The sign before state
 * keeps the planner from walking the condition as a range. */
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

/* The cost of attempts in nanodollars, by days since 1970 (UTC). Sums are read
 * from the index alone. */
static const char schema_costs[] =
    "CREATE TABLE costs("
    " task INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " fence INTEGER NOT NULL, day INTEGER NOT NULL, backend TEXT NOT NULL,"
    " provider TEXT NOT NULL, team TEXT NOT NULL, nano INTEGER NOT NULL, "
    "estimated INTEGER NOT NULL,"
    " PRIMARY KEY(task, attempt, fence)) WITHOUT ROWID;"
    "CREATE INDEX costs_day ON costs(day, backend, provider, team, nano,"
    " estimated);";

/* Whether exit_code means nothing. */
static const char schema_no_exit_code[] =
    "ALTER TABLE tasks ADD COLUMN no_exit_code INTEGER;";

/* In order; a new one is appended. */
#define DB_MIGRATIONS                                                          \
    schema_1, schema_2, schema_3, schema_costs, schema_no_exit_code

const char *const db_migrations[] = {DB_MIGRATIONS, NULL};
