/* What goes into the ledger's database, and comes back. */
#include "tests/db_fixture.h"

#include <sqlite3.h>

static void
a_row_comes_back_as_it_went_in(void **state)
{
    struct db_fixture *f = *state;
    struct task_state row, got;
    uint8_t blob[] = {0, 1, 2, 255};
    struct err e;

    fold_init(&row, "t1");
    row.state = STATE_FAILED;
    row.task_from = TASK_FROM_ACCEPTED;
    row.task = (struct bytes){blob, sizeof blob};
    row.decision = (struct bytes){blob, 2};
    row.name = "n\xc3\xa4me";
    row.source = "cli";
    row.command = "echo 'x'";
    row.report_path = "r/x.md";
    row.batch = "b1";
    row.batch_name = "batch";
    row.batch_index = 7;
    row.batch_size = 9;
    row.submitted_at_ms = 1;
    row.accepted_at_ms = 2;
    row.accepted_seq = UINT64_MAX / 2;
    row.gate = GATE_HELD;
    row.ungated = row.routed = true;
    row.dispatch = 3;
    row.routed_at_ms = 4;
    row.routed_seq = 5;
    row.backend = "local";
    row.lane = "default";
    row.cancel_at_ms = 6;
    row.cancel_by = "me";
    row.cancel_reason = "why";
    row.has_result = row.final = row.again = true;
    row.result_attempt = 2;
    row.result_fence = 77;
    row.exit_code = -1;
    row.failed_step = 1;
    row.reason = "r";
    row.worker = "w";
    row.started_at_ms = 8;
    row.finished_at_ms = 9;
    row.retry_at_ms = 10;
    row.attempts = 2;
    row.finals = 1;
    row.released = row.report_due = true;
    row.report = "/r/x.md";
    begin(f);
    assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
    commit(f);
    reopen(f);
    assert_int_equal(db_task(f->db, "t1", f->pool, &got, &e), 1);
    assert_int_equal(got.task.len, sizeof blob);
    assert_memory_equal(got.task.data, blob, sizeof blob);
    assert_int_equal(got.decision.len, 2);
#define SAME_TEXT(field) assert_string_equal(got.field, row.field)
#define SAME(field) assert_int_equal(got.field, row.field)
    SAME_TEXT(id), SAME_TEXT(name), SAME_TEXT(source), SAME_TEXT(command);
    SAME_TEXT(report_path), SAME_TEXT(batch), SAME_TEXT(batch_name);
    SAME_TEXT(backend), SAME_TEXT(lane), SAME_TEXT(cancel_by);
    SAME_TEXT(cancel_reason), SAME_TEXT(reason), SAME_TEXT(worker);
    SAME_TEXT(report);
    SAME(n), SAME(state), SAME(task_from), SAME(batch_index), SAME(batch_size);
    SAME(submitted_at_ms), SAME(accepted_at_ms), SAME(accepted_seq);
    SAME(gate), SAME(ungated), SAME(routed), SAME(dispatch), SAME(routed_at_ms);
    SAME(routed_seq), SAME(cancel_at_ms), SAME(has_result), SAME(final);
    SAME(again), SAME(result_attempt), SAME(result_fence), SAME(exit_code);
    SAME(failed_step), SAME(started_at_ms), SAME(finished_at_ms);
    SAME(retry_at_ms), SAME(attempts), SAME(finals), SAME(released);
    SAME(report_due);
    assert_int_equal(db_task(f->db, "t2", f->pool, &got, &e), 0);
}

static void
what_was_not_committed_is_gone(void **state)
{
    struct db_fixture *f = *state;
    struct task_state got;
    struct err e;

    begin(f);
    (void)put(f, "t1", "", STATE_ACCEPTED);
    db_count(f->db, "", "tasks", 1);
    db_rollback(f->db);
    assert_int_equal(db_task(f->db, "t1", f->pool, &got, &e), 0);
    begin(f);
    commit(f);
    reopen(f);
    assert_int_equal(db_task(f->db, "t1", f->pool, &got, &e), 0);
}

static void
a_second_process_is_refused_with_a_clear_message(void **state)
{
    struct db_fixture *f = *state;
    struct db *other = NULL;
    struct err e = {0};

    assert_int_equal(db_open(&other, f->path, true, &e), -1);
    assert_null(other);
    assert_int_equal(e.code, ERR_CONFLICT);
    assert_non_null(strstr(e.msg, "another reaper"));
    assert_non_null(strstr(e.msg, f->path));
}

static void
a_newer_schema_and_a_foreign_file_are_refused(void **state)
{
    struct db_fixture *f = *state;
    sqlite3 *db;
    FILE *file;
    struct err e = {0};

    db_close(f->db);
    f->db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(db_open(&f->db, f->path, true, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.msg, "newer"));
    assert_int_equal(unlink(f->path), 0);
    file = fopen(f->path, "w");
    assert_non_null(file);
    for (int i = 0; i < 500; i++)
        (void)fputs("this is no database\n", file);
    (void)fclose(file);
    assert_int_equal(db_open(&f->db, f->path, true, &e), -1);
    assert_null(f->db);
}

static void
nobody_else_may_read_the_file(void **state)
{
    struct db_fixture *f = *state;
    struct stat st;

    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void
attempts_are_kept_by_number_and_fence(void **state)
{
    struct db_fixture *f = *state;
    uint8_t body[3000] = {7};
    struct attempt_row a = {.attempt = 2,
                            .fence = 9,
                            .final = true,
                            .at_ms = 5,
                            .result = {body, sizeof body}},
                       got, *list;
    size_t n;
    int64_t row;
    struct err e;

    begin(f);
    row = put(f, "t1", "", STATE_ROUTED);
    assert_int_equal(db_put_attempt(f->db, row, &a, &e), 0);
    a.attempt = 1;
    a.fence = 3;
    a.final = false;
    assert_int_equal(db_put_attempt(f->db, row, &a, &e), 0);
    a.again = true;
    assert_int_equal(db_put_attempt(f->db, row, &a, &e), 0);
    commit(f);
    assert_int_equal(db_attempts(f->db, row, f->pool, &list, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_int_equal(list[0].attempt, 1);
    assert_true(list[0].again);
    assert_int_equal(list[1].fence, 9);
    assert_memory_equal(list[1].result.data, body, sizeof body);
    assert_int_equal(db_attempt(f->db, row, 2, 8, f->pool, &got, &e), 0);
    assert_false(got.known);
    assert_int_equal(db_attempt(f->db, row, 2, 9, f->pool, &got, &e), 0);
    assert_true(got.known);
    assert_true(got.final);
}

struct sum {
    int64_t value;
    const char *scope, *name;
};

static void
on_counter(void *ctx, const char *scope, const char *name, int64_t value)
{
    struct sum *s = ctx;

    if (strcmp(scope, s->scope) == 0 && strcmp(name, s->name) == 0)
        s->value += value;
}

static int64_t
counter(struct db_fixture *f, const char *scope, const char *name)
{
    struct sum s = {0, scope, name};
    struct err e;

    assert_int_equal(db_counters(f->db, on_counter, &s, &e), 0);
    return s.value;
}

static void
counters_add_up_over_transactions(void **state)
{
    struct db_fixture *f = *state;

    for (int i = 0; i < 3; i++) {
        begin(f);
        db_count(f->db, "", "routed", 2);
        db_count(f->db, "", "routed", -1);
        db_count(f->db, "local.default", "routed", 5);
        commit(f);
    }
    assert_int_equal(counter(f, "", "routed"), 3);
    assert_int_equal(counter(f, "local.default", "routed"), 15);
}

static void
positions_only_grow(void **state)
{
    struct db_fixture *f = *state;
    uint64_t seq;
    struct err e;

    begin(f);
    assert_int_equal(db_position(f->db, "c", 7, false, &e), 0);
    assert_int_equal(db_position(f->db, "c", 3, false, &e), 0);
    commit(f);
    assert_int_equal(db_position_get(f->db, "c", &seq, &e), 0);
    assert_int_equal(seq, 7);
    assert_int_equal(db_position_get(f->db, "d", &seq, &e), 0);
    assert_int_equal(seq, 0);
}

static void
a_quarantined_message_counts_once_and_is_cut(void **state)
{
    struct db_fixture *f = *state;
    char *payload = mem_zero(1, 100000);
    struct quarantine q = {.stream = "RESULTS",
                           .subject = "results.local.cli",
                           .reason = "why",
                           .seq = 5,
                           .at_ms = 1,
                           .payload = payload,
                           .len = 100000};
    sqlite3_stmt *stmt;
    sqlite3 *db;
    struct err e;

    for (int i = 0; i < 2; i++) {
        begin(f);
        assert_int_equal(db_quarantine(f->db, &q, "quarantined", &e), 0);
        commit(f);
    }
    assert_int_equal(counter(f, "", "quarantined"), 1);
    mem_free(payload);
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT length(payload), bytes FROM quarantine",
                           -1, &stmt, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0), DB_QUARANTINE_BYTES);
    assert_int_equal(sqlite3_column_int(stmt, 1), 100000);
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
}

/* A row as it is accepted, decided and over; each is put by the caller. */
static void
accept_row(struct db_fixture *f, struct task_state *row, enum db_part part)
{
    struct err e;

    fold_init(row, "t1");
    row->state = STATE_ACCEPTED;
    row->name = "kept";
    row->accepted_seq = 5;
    assert_int_equal(db_put_task(f->db, row, part, &e), 0);
    row->name = "not written";
    row->accepted_seq = 6; /* nor this */
}

static void
decide_row(struct task_state *row)
{
    row->state = STATE_ROUTED;
    row->routed = true;
    row->dispatch = 1;
    row->routed_at_ms = 71;
    row->routed_seq = 7;
    row->backend = "local";
    row->lane = "default";
    row->decision = (struct bytes){(const uint8_t *)"why", 3};
    row->routed_task = (struct bytes){(const uint8_t *)"what", 4};
}

static void
end_row(struct task_state *row)
{
    row->state = STATE_FAILED;
    row->has_result = row->final = row->again = row->report_due = true;
    row->result_attempt = 2;
    row->result_fence = 9;
    row->exit_code = 3;
    row->failed_step = 1;
    row->reason = "exit code 3";
    row->worker = "w1";
    row->started_at_ms = 81;
    row->finished_at_ms = 82;
    row->retry_at_ms = 83;
    row->attempts = 2;
    row->finals = 1;
}

static void
assert_over(struct db_fixture *f, const struct task_state *row)
{
    struct task_state got;
    struct err e;

    assert_int_equal(db_task(f->db, "t1", f->pool, &got, &e), 1);
    assert_int_equal(got.n, row->n);
    assert_string_equal(got.name, "kept");
    assert_int_equal(got.accepted_seq, 5);
    assert_int_equal(got.state, STATE_FAILED);
    assert_true(got.routed && got.report_due && got.has_result && got.final &&
                got.again);
    assert_int_equal(got.dispatch, 1);
    assert_int_equal(got.routed_at_ms, 71);
    assert_int_equal(got.routed_seq, 7);
    assert_string_equal(got.backend, "local");
    assert_string_equal(got.lane, "default");
    assert_int_equal(got.decision.len, 3);
    assert_memory_equal(got.decision.data, "why", 3);
    assert_int_equal(got.routed_task.len, 4);
    assert_memory_equal(got.routed_task.data, "what", 4);
    assert_int_equal(got.result_attempt, 2);
    assert_int_equal(got.result_fence, 9);
    assert_int_equal(got.exit_code, 3);
    assert_int_equal(got.failed_step, 1);
    assert_string_equal(got.reason, "exit code 3");
    assert_string_equal(got.worker, "w1");
    assert_int_equal(got.started_at_ms, 81);
    assert_int_equal(got.finished_at_ms, 82);
    assert_int_equal(got.retry_at_ms, 83);
    assert_int_equal(got.attempts, 2);
    assert_int_equal(got.finals, 1);
}

static void
a_part_of_a_row_is_written_alone(void **state)
{
    struct db_fixture *f = *state;
    struct task_state row;
    struct err e;

    begin(f);
    accept_row(f, &row, DB_OUTCOME); /* a new one is written whole */
    decide_row(&row);
    assert_int_equal(db_put_task(f->db, &row, DB_ROUTING, &e), 0);
    end_row(&row);
    row.dispatch = 2; /* is not written */
    assert_int_equal(db_put_task(f->db, &row, DB_OUTCOME, &e), 0);
    commit(f);
    assert_over(f, &row);
}

static void
decision_and_outcome_are_written_together(void **state)
{
    struct db_fixture *f = *state;
    struct task_state row;
    struct err e;

    begin(f);
    accept_row(f, &row, DB_WHOLE);
    decide_row(&row);
    end_row(&row);
    assert_int_equal(db_put_task(f->db, &row, DB_RUN, &e), 0);
    commit(f);
    assert_over(f, &row);
}

static void
a_report_is_due_until_it_was_written(void **state)
{
    struct db_fixture *f = *state;
    struct task_state row;
    int64_t ns[4], n;
    bool ours;
    struct err e;

    begin(f);
    (void)put(f, "t0", "", STATE_SUCCEEDED);
    fold_init(&row, "t1");
    row.state = STATE_FAILED;
    row.report_due = true;
    assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
    n = row.n;
    commit(f);
    reopen(f);
    assert_int_equal(db_todo(f->db, DB_REPORT_DUE, 0, 4, ns, &e), 1);
    assert_int_equal(ns[0], n);
    assert_int_equal(db_reported(f->db, false, n, "/r/t1.md", true, &e), 0);
    assert_int_equal(db_todo(f->db, DB_REPORT_DUE, 0, 4, ns, &e), 1);
    assert_int_equal(db_reported(f->db, false, n, "/r/t1.md", false, &e), 0);
    assert_int_equal(db_todo(f->db, DB_REPORT_DUE, 0, 4, ns, &e), 0);
    assert_int_equal(db_task(f->db, "t1", f->pool, &row, &e), 1);
    assert_string_equal(row.report, "/r/t1.md");
    assert_int_equal(db_report_name(f->db, "jobs/x", "t1", &ours, &e), 0);
    assert_true(ours);
    assert_int_equal(db_report_name(f->db, "jobs/x", "t2", &ours, &e), 0);
    assert_false(ours);
    assert_int_equal(db_report_name(f->db, "jobs/x", "t1", &ours, &e), 0);
    assert_true(ours);
}

static void
rows_that_are_watched_tell_that_they_were_written(void **state)
{
    struct db_fixture *f = *state;
    struct db_watched rows[] = {{.id = "t1"}, {.id = "t2"}, {.id = "b1"}};
    struct batch_state b = {.b.id = "b1", .b.name = "", .report = ""};
    struct task_state row;
    struct err e;

    rows[2].batch = true;
    begin(f);
    (void)put(f, "t1", "", STATE_SUCCEEDED);
    (void)put(f, "b1", "", STATE_SUCCEEDED);
    commit(f);
    db_watch(f->db, rows, 3);
    begin(f);
    fold_init(&row, "");
    assert_int_equal(db_task(f->db, "t1", f->pool, &row, &e), 1);
    assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
    assert_int_equal(db_task(f->db, "b1", f->pool, &row, &e), 1);
    assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
    assert_true(rows[0].changed);
    assert_false(rows[1].changed);
    assert_false(rows[2].changed); /* that was the task of the same id */
    assert_int_equal(db_put_batch(f->db, &b, &e), 0);
    assert_true(rows[2].changed);
    rows[0].changed = false;
    db_watch(f->db, NULL, 0);
    assert_int_equal(db_task(f->db, "t1", f->pool, &row, &e), 1);
    assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
    assert_false(rows[0].changed);
    commit(f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_row_comes_back_as_it_went_in),
        TEST(what_was_not_committed_is_gone),
        TEST(a_second_process_is_refused_with_a_clear_message),
        TEST(a_part_of_a_row_is_written_alone),
        TEST(decision_and_outcome_are_written_together),
        TEST(a_newer_schema_and_a_foreign_file_are_refused),
        TEST(nobody_else_may_read_the_file),
        TEST(attempts_are_kept_by_number_and_fence),
        TEST(counters_add_up_over_transactions),
        TEST(positions_only_grow),
        TEST(a_quarantined_message_counts_once_and_is_cut),
        TEST(a_report_is_due_until_it_was_written),
        TEST(rows_that_are_watched_tell_that_they_were_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
