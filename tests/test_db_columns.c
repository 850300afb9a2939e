/*
 * The columns of the ledger's relations: the schema has those that are listed,
 * a ledger of an older schema keeps its rows, and a new column needs a line in
 * a list, a member and a migration. For the latter this program is built from
 * the sources of reaper/db with just these three added.
 */
#define TASK_EXTRA(X) X(INTEGER, priority, priority)

/* The member: the struct of a task ends with report. */
#define report                                                                 \
    report;                                                                    \
    uint32_t priority
#include "reaper/ingest/fold.h"
#undef report

/* The migration: all of them, and one more. */
#define db_migrations db_migrations_before
#include "reaper/db/schema.c"
#undef db_migrations

extern const char *const db_migrations[];
const char *const db_migrations[] = {
    DB_MIGRATIONS, "ALTER TABLE tasks ADD COLUMN priority INTEGER", NULL};

#include "reaper/db/db.c"
#include "reaper/db/queries.c"
#include "reaper/db/rows.c"

#include "tests/db_fixture.h"

static void
run_sql(sqlite3 *db, const char *text)
{
    char *error = NULL;

    if (sqlite3_exec(db, text, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", text, error);
}

/* Replaces the ledger by one of the first so many migrations, with rows. */
static void
make_old_ledger(struct db_fixture *f, int version, const char *rows)
{
    char pragma[40];
    sqlite3 *db;

    db_close(f->db);
    f->db = NULL;
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    for (int i = 0; i < version; i++)
        run_sql(db, db_migrations[i]);
    (void)snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", version);
    run_sql(db, pragma);
    run_sql(db, rows);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

#define LISTED(type, column, member) {#type, #column},

struct listed {
    const char *type, *column;
};

static void
assert_schema(struct db_fixture *f, const char *table,
              const struct listed *columns, size_t n)
{
    sqlite3_stmt *q;
    size_t found = 0;

    assert_int_equal(
        sqlite3_prepare_v2(f->db->handle,
                           "SELECT name, type FROM pragma_table_info(?1)", -1,
                           &q, NULL),
        SQLITE_OK);
    (void)sqlite3_bind_text(q, 1, table, -1, SQLITE_STATIC);
    while (sqlite3_step(q) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(q, 0);
        size_t i = 0;

        while (i < n && strcmp(columns[i].column, name) != 0)
            i++;
        if (i == n)
            fail_msg("%s.%s is in no list", table, name);
        assert_string_equal((const char *)sqlite3_column_text(q, 1),
                            columns[i].type);
        found++;
    }
    assert_int_equal(found, n); /* none is listed that is not there */
    (void)sqlite3_finalize(q);
}

static void
the_schema_has_the_columns_that_are_listed(void **state)
{
    static const struct listed tasks[] = {{"INTEGER", "n"},
                                          {"TEXT", "id"},
                                          {"INTEGER", "state"},
                                          TASK_COLUMNS(LISTED)};
    static const struct listed attempts[] = {{"INTEGER", "task"},
                                             ATTEMPT_COLUMNS(LISTED)};
    static const struct listed costs[] = {{"INTEGER", "task"},
                                          {"INTEGER", "day"},
                                          {"INTEGER", "nano"},
                                          COST_COLUMNS(LISTED)};
    static const struct listed batches[] = {{"INTEGER", "n"},
                                            {"TEXT", "id"},
                                            {"TEXT", "name"},
                                            BATCH_COLUMNS(LISTED)};
    struct db_fixture *f = *state;

    assert_schema(f, "tasks", tasks, sizeof tasks / sizeof *tasks);
    assert_schema(f, "attempts", attempts, sizeof attempts / sizeof *attempts);
    assert_schema(f, "costs", costs, sizeof costs / sizeof *costs);
    assert_schema(f, "batches", batches, sizeof batches / sizeof *batches);
}

static void
a_new_column_is_written_and_read(void **state)
{
    struct db_fixture *f = *state;
    struct task_state row, got;
    struct err e;

    make_old_ledger(f, 4,
                    "INSERT INTO tasks(id, state, name, drives) "
                    "VALUES('t1', 2, 'of before', 3)");
    reopen(f);
    assert_int_equal(db_task(f->db, "t1", f->pool, &got, &e), 1);
    assert_string_equal(got.name, "of before");
    assert_int_equal(got.dispatches, 3);
    assert_int_equal(got.priority, 0);
    got.priority = 5;
    fold_init(&row, "t2");
    row.priority = 7;
    begin(f);
    assert_int_equal(db_put_task(f->db, &got, DB_WHOLE, &e), 0);
    got.priority = 6; /* which is no part of the routing */
    assert_int_equal(db_put_task(f->db, &got, DB_ROUTING, &e), 0);
    assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
    commit(f);
    reopen(f);
    assert_int_equal(db_task(f->db, "t1", f->pool, &got, &e), 1);
    assert_int_equal(got.priority, 5);
    assert_int_equal(got.dispatches, 3);
    assert_int_equal(db_task(f->db, "t2", f->pool, &got, &e), 1);
    assert_int_equal(got.priority, 7);
}

static void
a_ledger_of_the_first_schema_keeps_its_rows(void **state)
{
    struct db_fixture *f = *state;
    struct attempt_row *attempts;
    struct task_state got;
    struct batch_state b;
    struct err e;
    size_t n;

    make_old_ledger(
        f, 1,
        "INSERT INTO tasks(n, id, state, task_from, name, accepted_at,"
        " accepted_seq, routed, backend, lane, exit_code, task)"
        " VALUES(9, 't1', 9, 2, 'old', 12, 34, 1, 'local', 'default', -1,"
        " x'00ff');"
        "INSERT INTO attempts VALUES(9, 2, 77, 1, 0, 13, x'0102'),"
        " (9, 1, 70, 0, 1, 12, NULL);"
        "INSERT INTO batches VALUES(4, 'b1', 'numbers', 3, 2, 1, 1, 0, 5, 6, 0,"
        " 1, '');");
    reopen(f);
    assert_int_equal(db_task(f->db, "t1", f->pool, &got, &e), 1);
    assert_int_equal(got.n, 9);
    assert_int_equal(got.state, STATE_FAILED);
    assert_int_equal(got.task_from, TASK_FROM_ACCEPTED);
    assert_string_equal(got.name, "old");
    assert_string_equal(got.reason, "");
    assert_int_equal(got.accepted_at_ms, 12);
    assert_int_equal(got.in_at_ms, 12);
    assert_int_equal(got.in_seq, 34);
    assert_true(got.routed);
    assert_string_equal(got.lane, "default");
    assert_int_equal(got.exit_code, -1);
    assert_int_equal(got.task.len, 2);
    assert_memory_equal(got.task.data, "\0\xff", 2);
    assert_int_equal(db_attempts(f->db, 9, f->pool, &attempts, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_int_equal(attempts[0].fence, 70);
    assert_true(attempts[0].again);
    assert_int_equal(attempts[0].result.len, 0);
    assert_true(attempts[1].final);
    assert_int_equal(attempts[1].at_ms, 13);
    assert_memory_equal(attempts[1].result.data, "\1\2", 2);
    assert_int_equal(db_batch(f->db, "b1", f->pool, &b, &e), 1);
    assert_int_equal(b.n, 4);
    assert_string_equal(b.b.name, "numbers");
    assert_int_equal(b.b.accepted, 2);
    assert_true(b.report_due);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_schema_has_the_columns_that_are_listed),
        TEST(a_new_column_is_written_and_read),
        TEST(a_ledger_of_the_first_schema_keeps_its_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
