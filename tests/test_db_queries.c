/* What is asked of the ledger's database. */
#include "tests/db_fixture.h"

static void
lists_are_newest_first_and_go_on_where_they_stopped(void **state)
{
    struct db_fixture *f = *state;
    int64_t ns[DB_PAGE_MAX];
    char id[16];
    struct db_filter q = {.batch = "", .limit = 3};
    struct err e;

    begin(f);
    for (int i = 1; i <= 10; i++) {
        (void)snprintf(id, sizeof id, "t%d", i);
        (void)put(f, id, "",
                  i % 2   ? STATE_SUCCEEDED
                  : i % 4 ? STATE_FAILED
                          : STATE_ROUTED);
    }
    commit(f);
    assert_int_equal(db_list(f->db, &q, ns, &e), 3);
    assert_int_equal(ns[0], 10);
    assert_int_equal(ns[2], 8);
    q.before = 2;
    assert_int_equal(db_list(f->db, &q, ns, &e), 1);
    q.before = 0;
    q.states = 1u << STATE_FAILED | 1u << STATE_ROUTED;
    assert_int_equal(db_list(f->db, &q, ns, &e), 3);
    assert_int_equal(ns[0], 10);
    assert_int_equal(ns[1], 8);
    assert_int_equal(ns[2], 6);
    q.before = 6;
    assert_int_equal(db_list(f->db, &q, ns, &e), 2);
    assert_int_equal(ns[0], 4);
    assert_int_equal(ns[1], 2);
}

static void
a_selector_is_an_id_a_name_a_prefix_or_last(void **state)
{
    struct db_fixture *f = *state;
    char id[TASK_ID_SIZE];
    struct err e = {0};

    begin(f);
    (void)put(f, "abc1", "x", STATE_ACCEPTED);
    (void)put(f, "abd2", "x", STATE_ACCEPTED);
    (void)put(f, "zz", "ab", STATE_ACCEPTED);
    (void)put(f, "ghost", "", STATE_SUBMITTED);
    commit(f);
    assert_int_equal(db_find_task(f->db, "abc1", id, &e), 1);
    assert_string_equal(id, "abc1");
    assert_int_equal(db_find_task(f->db, "abd", id, &e), 1);
    assert_string_equal(id, "abd2");
    assert_int_equal(db_find_task(f->db, "x", id, &e), 1);
    assert_string_equal(id, "abd2"); /* the newest of that name */
    assert_int_equal(db_find_task(f->db, "ab", id, &e), 1);
    assert_string_equal(id, "zz"); /* a name, not an ambiguous prefix */
    assert_int_equal(db_find_task(f->db, "last", id, &e), 1);
    assert_string_equal(id, "zz"); /* nothing is known of the ghost */
    assert_int_equal(db_find_task(f->db, "a", id, &e), -1);
    assert_int_equal(e.code, ERR_CONFLICT);
    assert_non_null(strstr(e.msg, "abc1"));
    assert_int_equal(db_find_task(f->db, "q", id, &e), 0);
    assert_int_equal(db_find_task(f->db, "%", id, &e), 0);
    assert_int_equal(
        db_find_task(
            f->db,
            "a-selector-that-is-longer-than-any-id-of-a-task-could-ever-be", id,
            &e),
        0);
}

static void
members_of_a_batch_come_by_their_index(void **state)
{
    struct db_fixture *f = *state;
    struct batch_state b;
    char id[TASK_ID_SIZE];
    int64_t *ns;
    struct err e;

    begin(f);
    for (int i = 5; i >= 1; i--) {
        struct task_state row;

        (void)snprintf(id, sizeof id, "m%d", i);
        fold_init(&row, id);
        row.batch = "b1";
        row.batch_index = (uint32_t)i;
        row.state = i == 2 || i == 4 ? STATE_FAILED : STATE_SUCCEEDED;
        assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
    }
    fold_batch_init(&b, "b1");
    b.b.name = "numbers";
    b.b.size = 5;
    b.report_due = true;
    assert_int_equal(db_put_batch(f->db, &b, &e), 0);
    commit(f);
    assert_int_equal(db_members(f->db, "b1", ~0u, 3, f->pool, &ns, &e), 3);
    assert_int_equal(ns[0], 5); /* m1 was put last */
    assert_int_equal(ns[2], 3);
    assert_int_equal(
        db_members(f->db, "b1", 1u << STATE_FAILED, 9, f->pool, &ns, &e), 2);
    assert_int_equal(ns[0], 4);
    assert_int_equal(db_find_batch(f->db, "numbers", id, &e), 1);
    assert_string_equal(id, "b1");
    assert_int_equal(db_batch(f->db, "b1", f->pool, &b, &e), 1);
    assert_int_equal(b.b.size, 5);
    assert_true(b.report_due);
}

static void
tasks_of_one_message_are_found_one_by_one(void **state)
{
    struct db_fixture *f = *state;
    const struct db_lane lane = {.backend = "local", .lane = "default"};
    struct db_place at = {0};
    struct task_state row;
    int64_t ns[9], found[2];
    struct err e;
    int n = 0, got;

    begin(f);
    for (int i = 0; i < 9; i++) {
        char id[] = {'t', (char)('0' + i), '\0'};

        fold_init(&row, id);
        row.state = STATE_ROUTED;
        row.routed = true;
        row.backend = lane.backend;
        row.lane = lane.lane;
        row.routed_seq = i < 7 ? 5 : 6; /* seven in one, two in the next */
        assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
        ns[i] = row.n;
    }
    commit(f);
    do {
        got = db_on_lane(f->db, &lane, &at, 6, 2, found, &e);
        assert_in_range(got, 0, 2);
        for (int i = 0; i < got; i++, n++) {
            assert_int_equal(found[i], ns[n]);
            at = (struct db_place){n < 7 ? 5 : 6, found[i]};
        }
    } while (got > 0);
    assert_int_equal(n, 9);
    assert_int_equal(db_on_lane(f->db, &lane, NULL, 5, 2, found, &e), 2);
    assert_int_equal(found[0], ns[0]);
}

static void
what_waits_is_found(void **state)
{
    struct db_fixture *f = *state;
    struct task_state row;
    int64_t ns[4], blocked;
    enum state s;
    struct err e;

    begin(f);
    blocked = put(f, "t1", "", STATE_BLOCKED);
    fold_init(&row, "t2");
    row.state = STATE_ROUTED;
    row.cancel_at_ms = 1;
    assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
    commit(f);
    assert_int_equal(db_todo(f->db, DB_BLOCKED, 0, 4, ns, &e), 1);
    assert_int_equal(ns[0], blocked);
    assert_int_equal(db_todo(f->db, DB_CANCELLED, 0, 4, ns, &e), 1);
    assert_int_equal(ns[0], row.n);
    row.state = STATE_CANCELLED;
    assert_int_equal(db_put_task(f->db, &row, DB_WHOLE, &e), 0);
    assert_int_equal(db_todo(f->db, DB_CANCELLED, 0, 4, ns, &e), 0);
    assert_int_equal(db_state(f->db, "t2", &s, &e), 0);
    assert_int_equal(s, STATE_CANCELLED);
    assert_int_equal(db_state(f->db, "t3", &s, &e), 0);
    assert_int_equal(s, STATE_UNSPECIFIED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lists_are_newest_first_and_go_on_where_they_stopped),
        TEST(a_selector_is_an_id_a_name_a_prefix_or_last),
        TEST(members_of_a_batch_come_by_their_index),
        TEST(tasks_of_one_message_are_found_one_by_one),
        TEST(what_waits_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
