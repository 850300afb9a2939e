#include "tests/ledger_fixture.h"

#include "lib/io/loop.h"
#include "lib/model/subject.h"

/* A task on a lane, counted there. */
static void
add(struct ledger_fixture *l, const char *id, const char *backend,
    const char *lane, enum state state)
{
    char scope[64];
    struct task_state row;
    struct err e = {0};
    static uint64_t seq;

    fold_init(&row, id);
    row.state = state;
    row.name = id;
    row.task_from = TASK_FROM_ACCEPTED;
    row.accepted_at_ms = 1700000000000;
    row.routed = true;
    row.routed_at_ms = 1700000001000;
    row.routed_seq = ++seq;
    row.backend = backend;
    row.lane = lane;
    (void)snprintf(scope, sizeof scope, "%s.%s", backend, lane);
    if (db_begin(l->db, &e) < 0 || db_put_task(l->db, &row, DB_WHOLE, &e) < 0)
        fail_msg("%s", e.msg);
    db_count(l->db, scope, "tasks", 1);
    db_count(l->db, scope, state_name(state), 1);
    db_count(l->db, "", "tasks", 1);
    db_count(l->db, "", state_name(state), 1);
    if (db_commit(l->db, &e) < 0)
        fail_msg("%s", e.msg);
}

/* Somebody runs it, as was heard so many milliseconds ago. */
static void
runs(struct ledger_fixture *l, const char *id, const char *backend,
     int64_t ago_ms)
{
    struct claim c;

    codec_init(CODEC_CLAIM, &c);
    c.task = id;
    c.worker = "w";
    c.attempt = 1;
    c.started_at_ms = 1700000002000;
    presence_on_started(l->presence, &c, backend, loop_now_ms() - ago_ms);
}

static void
is_there(struct ledger_fixture *l, const char *backend, const char *lane)
{
    const char *lanes[] = {lane};
    struct str bytes = {0};
    struct heartbeat h;

    codec_init(CODEC_HEARTBEAT, &h);
    h.worker = "w";
    h.backend = backend;
    h.lanes = lanes;
    h.n_lanes = 1;
    codec_encode(CODEC_HEARTBEAT, &h, &bytes);
    presence_on_heartbeat(l->presence, &h, bytes.data, bytes.len,
                          loop_now_ms());
    str_free(&bytes);
}

static json_t *
answer(struct ledger_fixture *l, const char *verb)
{
    json_t *request = json_object();
    json_t *o = query_answer(l->query, verb, request);

    json_decref(request);
    assert_null(json_object_get(o, "error"));
    assert_true(json_dumpb(o, NULL, 0, JSON_COMPACT) <= SMALL_BYTES);
    return o;
}

static int64_t
number(const json_t *o, const char *part, const char *key)
{
    const json_t *v = json_object_get(json_object_get(o, part), key);

    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static const char *
text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

/* --- the watchdog --------------------------------------------------------- */

static void
a_task_whose_worker_fell_silent_is_stale(void **state)
{
    struct ledger_fixture *l = *state;
    json_t *o, *task;

    add(l, "old", "local", "default", STATE_ROUTED);
    add(l, "new", "local", "default", STATE_ROUTED);
    runs(l, "old", "local", 60000);
    runs(l, "new", "local", 0);
    is_there(l, "other", "default");
    o = answer(l, "watchdog");
    assert_int_equal(number(o, "counts", "stale"), 1);
    assert_int_equal(number(o, "counts", "running"), 1);
    assert_true(json_is_false(json_object_get(o, "ok")));
    task = json_array_get(json_object_get(o, "tasks"), 0);
    assert_string_equal(text(task, "id"), "old");
    assert_string_equal(text(task, "state"), "stale");
    task = json_array_get(json_object_get(o, "tasks"), 1);
    assert_string_equal(text(task, "id"), "new");
    assert_string_equal(text(task, "state"), "running");
    json_decref(o);
}

static void
what_is_over_is_not_stale(void **state)
{
    struct ledger_fixture *l = *state;
    json_t *o;

    add(l, "old", "local", "default", STATE_SUCCEEDED);
    runs(l, "old", "local", 60000);
    o = answer(l, "watchdog");
    assert_int_equal(number(o, "counts", "stale"), 0);
    assert_true(json_is_true(json_object_get(o, "ok")));
    json_decref(o);
}

static void
a_delegated_task_is_never_stale(void **state)
{
    struct ledger_fixture *l = *state;
    json_t *o, *task;

    add(l, "silent", "secutools", "gpu", STATE_ROUTED);
    add(l, "running", "secutools", "gpu", STATE_ROUTED);
    runs(l, "silent", "secutools", 60000);
    runs(l, "running", "secutools", 0);
    o = answer(l, "watchdog");
    assert_int_equal(number(o, "counts", "stale"), 0);
    assert_int_equal(number(o, "counts", "running"), 0);
    assert_int_equal(number(o, "counts", "delegated_to_secutools"), 2);
    assert_int_equal(json_array_size(json_object_get(o, "tasks")), 1);
    task = json_array_get(json_object_get(o, "tasks"), 0);
    assert_string_equal(text(task, "id"), "running");
    assert_string_equal(text(task, "state"), "delegated_to_secutools");
    assert_int_equal(number(o, "delegation", "submitted"), 2);
    json_decref(o);
}

static void
a_lane_with_work_and_no_worker_is_named(void **state)
{
    struct ledger_fixture *l = *state;
    json_t *o, *list, *lane;

    add(l, "a", "local", "gpu", STATE_ROUTED);
    add(l, "b", "local", "gpu", STATE_ROUTED);
    add(l, "c", "local", "default", STATE_ROUTED);
    is_there(l, "local", "default");
    o = answer(l, "watchdog");
    list = json_object_get(o, "lanes_without_worker");
    assert_int_equal(json_array_size(list), 1);
    lane = json_array_get(list, 0);
    assert_string_equal(text(lane, "backend"), "local");
    assert_string_equal(text(lane, "lane"), "gpu");
    assert_int_equal(json_integer_value(json_object_get(lane, "waiting")), 2);
    assert_string_equal(text(lane, "since"), "2023-11-14T22:13:21.000Z");
    json_decref(o);
    is_there(l, "local", "gpu"); /* the same worker, with another lane */
    o = answer(l, "watchdog");
    list = json_object_get(o, "lanes_without_worker");
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(text(json_array_get(list, 0), "lane"), "default");
    json_decref(o);
}

/* --- delegation ----------------------------------------------------------- */

static void
delegated_jobs_are_listed_and_summed_up_by_provider(void **state)
{
    struct ledger_fixture *l = *state;
    json_t *o, *gpu, *list;

    add(l, "a", "secutools", "gpu", STATE_ROUTED);
    add(l, "b", "secutools", "gpu", STATE_SUCCEEDED);
    add(l, "c", "secutools", "gpu", STATE_TIMED_OUT);
    add(l, "d", "secutools", "gemini", STATE_RETRY_WAIT);
    add(l, "e", "secutools", "gemini", STATE_CANCELLED);
    add(l, "f", "local", "gpu", STATE_ROUTED);
    runs(l, "a", "secutools", 0);
    o = answer(l, "delegated");
    assert_int_equal(number(o, "counters", "submitted"), 5);
    assert_int_equal(number(o, "counters", "waiting"), 1);
    assert_int_equal(number(o, "counters", "running"), 1);
    assert_int_equal(number(o, "counters", "succeeded"), 1);
    assert_int_equal(number(o, "counters", "failed"), 1);
    assert_int_equal(number(o, "counters", "cancelled"), 1);
    gpu = json_object_get(o, "providers");
    assert_int_equal(number(gpu, "gpu", "submitted"), 3);
    assert_int_equal(number(gpu, "gemini", "waiting"), 1);
    list = json_object_get(o, "active");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(text(json_array_get(list, 0), "id"), "d");
    assert_string_equal(text(json_array_get(list, 0), "provider"), "gemini");
    assert_string_equal(text(json_array_get(list, 1), "id"), "a");
    assert_string_equal(text(json_array_get(list, 1), "state"), "running");
    assert_string_equal(text(json_array_get(list, 1), "since"),
                        "2023-11-14T22:13:22.000Z");
    assert_true(json_is_false(json_object_get(o, "active_cut")));
    json_decref(o);
}

static void
what_delegation_cost_today_is_told(void **state)
{
    struct ledger_fixture *l = *state;
    struct attempt_row a = {0};
    struct event ev = {.kind = EVENT_RESULT, .at_ms = 1};
    struct task_state row;
    struct result r;
    struct err e = {0};
    json_t *o;

    codec_init(CODEC_RESULT, &r);
    r.task = "a";
    r.attempt = 1;
    r.backend = "secutools";
    r.provider = "gemini";
    r.cost_usd = "0.25";
    r.finished_at_ms = str_wall_ms();
    ev.result = &r;
    fold_init(&row, "a");
    assert_true(fold(&row, &a, &ev));
    if (db_begin(l->db, &e) < 0 || db_put_attempt(l->db, 1, &a, &e) < 0 ||
        db_commit(l->db, &e) < 0)
        fail_msg("%s", e.msg);
    o = answer(l, "delegated");
    assert_string_equal(text(json_object_get(o, "costs_today"), "total_usd"),
                        "0.250000");
    json_decref(o);
}

static void
more_jobs_than_an_answer_holds_are_cut_and_counted(void **state)
{
    struct ledger_fixture *l = *state;
    char id[16];
    json_t *o;

    for (int i = 0; i < 100; i++) {
        (void)snprintf(id, sizeof id, "job-%d", i);
        add(l, id, "secutools", "gpu", STATE_ROUTED);
    }
    o = answer(l, "delegated");
    assert_true(json_is_true(json_object_get(o, "active_cut")));
    assert_true(json_array_size(json_object_get(o, "active")) > 5);
    assert_int_equal(number(o, "counters", "waiting"), 100);
    json_decref(o);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_task_whose_worker_fell_silent_is_stale),
        TEST(what_is_over_is_not_stale),
        TEST(a_delegated_task_is_never_stale),
        TEST(a_lane_with_work_and_no_worker_is_named),
        TEST(delegated_jobs_are_listed_and_summed_up_by_provider),
        TEST(what_delegation_cost_today_is_told),
        TEST(more_jobs_than_an_answer_holds_are_cut_and_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
