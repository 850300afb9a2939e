#include "tests/ledger_fixture.h"

enum { DAY = 86400 * 1000 };

/* A task that was accepted at_ms; routed: and decided. */
static void
add(struct ledger_fixture *l, const char *id, const char *script, int64_t at_ms,
    bool routed)
{
    struct step step = {.name = "", .script = script, .workdir = ""};
    struct decision d;
    struct task_state row;
    struct task t;
    struct err e = {0};

    codec_init(CODEC_TASK, &t);
    t.id = id;
    t.steps = &step;
    t.n_steps = 1;
    t.notes = "not for a decision";
    codec_init(CODEC_DECISION, &d);
    d.backend = "local";
    d.lane = "default";
    d.rule = "score-too-low";
    d.decided_at_ms = at_ms;
    fold_init(&row, id);
    row.state = routed ? STATE_ROUTED : STATE_ACCEPTED;
    row.name = "n";
    row.accepted_at_ms = at_ms;
    row.task_from = TASK_FROM_ACCEPTED;
    row.task = encoded(l, CODEC_TASK, &t);
    row.routed = routed;
    if (routed)
        row.decision = encoded(l, CODEC_DECISION, &d);
    if (db_begin(l->db, &e) < 0 || db_put_task(l->db, &row, DB_WHOLE, &e) < 0 ||
        db_commit(l->db, &e) < 0)
        fail_msg("%s", e.msg);
}

/* One page; *before moves on. The caller owns it. */
static json_t *
page(struct ledger_fixture *l, int64_t since_ms, json_int_t *before)
{
    json_t *request = json_pack("{s:I, s:I}", "since_ms", (json_int_t)since_ms,
                                "before", *before);
    json_t *o = query_answer(l->query, "decisions", request);

    json_decref(request);
    assert_true(json_dumpb(o, NULL, 0, JSON_COMPACT) <= SMALL_BYTES);
    *before = json_integer_value(json_object_get(o, "next"));
    return o;
}

/* How many tasks all pages hold; *pages how many those are. */
static size_t
count(struct ledger_fixture *l, int64_t since_ms, size_t *pages)
{
    json_int_t before = 0;
    size_t n = 0;

    *pages = 0;
    do {
        json_t *o = page(l, since_ms, &before);

        n += json_array_size(json_object_get(o, "tasks"));
        ++*pages;
        json_decref(o);
    } while (before);
    return n;
}

static void
pages_end_early_and_hold_every_decision_once(void **state)
{
    struct ledger_fixture *l = *state;
    char id[16];
    size_t pages;

    for (int i = 0; i < 250; i++) {
        (void)snprintf(id, sizeof id, "t%d", i);
        add(l, id, "true", (int64_t)DAY * (i + 1), i % 50 != 7);
    }
    assert_int_equal(count(l, 0, &pages), 245);
    assert_true(pages > 2);
    assert_int_equal(count(l, (int64_t)DAY * 248, &pages), 3);
    assert_int_equal(count(l, (int64_t)DAY * 251, &pages), 0);
    assert_int_equal(pages, 1); /* a whole page is older: nothing follows */
}

static void
a_decision_comes_with_what_it_read_of_the_task(void **state)
{
    struct ledger_fixture *l = *state;
    json_int_t before = 0;
    json_t *o, *row, *task;

    add(l, "a1", "make build", 1000, true);
    o = page(l, 0, &before);
    assert_int_equal(before, 0);
    row = json_array_get(json_object_get(o, "tasks"), 0);
    task = json_object_get(row, "task");
    assert_string_equal(json_string_value(json_object_get(row, "id")), "a1");
    assert_string_equal(json_string_value(json_object_get(row, "name")), "n");
    assert_string_equal(json_string_value(json_object_get(row, "decided_at")),
                        "1970-01-01T00:00:01.000Z");
    assert_string_equal(json_string_value(json_object_get(
                            json_object_get(row, "decision"), "rule")),
                        "score-too-low");
    assert_non_null(json_object_get(task, "steps"));
    assert_null(json_object_get(task, "notes"));
    json_decref(o);
}

static void
a_task_longer_than_an_answer_comes_without_itself(void **state)
{
    struct ledger_fixture *l = *state;
    char *script = mem_pool_alloc(l->pool, 2 * SMALL_BYTES);
    json_int_t before = 0;
    json_t *o, *row;

    (void)memset(script, 'x', 2 * SMALL_BYTES - 1);
    add(l, "a1", "true", 1000, true);
    add(l, "a2", script, 1000, true);
    o = page(l, 0, &before);
    row = json_array_get(json_object_get(o, "tasks"), 0);
    assert_string_equal(json_string_value(json_object_get(row, "id")), "a2");
    assert_null(json_object_get(row, "task"));
    assert_non_null(json_object_get(row, "decision"));
    json_decref(o);
    if (before) { /* it took the page for itself */
        o = page(l, 0, &before);
        row = json_array_get(json_object_get(o, "tasks"), 0);
        assert_string_equal(json_string_value(json_object_get(row, "id")),
                            "a1");
        json_decref(o);
    }
    assert_int_equal(before, 0);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(pages_end_early_and_hold_every_decision_once),
        TEST(a_decision_comes_with_what_it_read_of_the_task),
        TEST(a_task_longer_than_an_answer_comes_without_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
