#include "tests/ledger_fixture.h"

/* What one attempt cost that ended at_ms, as fold records it. */
static void
spend(struct ledger_fixture *l, int64_t task, uint32_t attempt,
      const char *provider, const char *team, const char *cost, int64_t at_ms)
{
    struct result r;
    struct task_state row;
    struct attempt_row a = {0};
    struct event ev = {.kind = EVENT_RESULT, .result = &r, .at_ms = 1};
    struct err e = {0};

    codec_init(CODEC_RESULT, &r);
    fold_init(&row, "t");
    r.task = "t";
    r.attempt = attempt;
    r.fence = attempt;
    r.backend = "secutools";
    r.provider = provider;
    r.team = team;
    r.cost_usd = cost;
    r.finished_at_ms = at_ms;
    assert_true(fold(&row, &a, &ev));
    if (db_begin(l->db, &e) < 0 || db_put_attempt(l->db, task, &a, &e) < 0 ||
        db_commit(l->db, &e) < 0)
        fail_msg("%s", e.msg);
}

static json_t *
costs(struct ledger_fixture *l, const char *day)
{
    json_t *request = json_pack("{s:s}", "day", day), *o;

    o = query_answer(l->query, "costs", request);
    json_decref(request);
    return o;
}

static const char *
text(const json_t *o, const char *key)
{
    const char *v = json_string_value(json_object_get(o, key));

    return v ? v : "";
}

static void
costs_are_summed_exactly_by_provider_and_team_and_day(void **state)
{
    struct ledger_fixture *l = *state;
    const int64_t noon = INT64_C(1764072000000); /* 2025-11-25T12:00:00Z */
    json_t *o, *list;

    for (int i = 0; i < 10; i++)
        spend(l, 1 + i, 1, "gpu", "red", "0.1", noon + i);
    spend(l, 20, 1, "gpu", "blue", "0.000000001", noon);
    spend(l, 21, 1, "gemini", "", "12", noon);
    spend(l, 22, 1, "gemini", "", "", noon);                  /* said nothing */
    spend(l, 23, 1, "gemini", "", "99", noon + 12 * 3600000); /* tomorrow */
    o = costs(l, "2025-11-25");
    assert_string_equal(text(o, "day"), "2025-11-25");
    assert_string_equal(text(o, "total_usd"), "13.000000001");
    list = json_object_get(o, "costs");
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(text(json_array_get(list, 0), "provider"), "gemini");
    assert_string_equal(text(json_array_get(list, 0), "cost_usd"), "12.000000");
    assert_string_equal(text(json_array_get(list, 1), "team"), "blue");
    assert_string_equal(text(json_array_get(list, 1), "cost_usd"),
                        "0.000000001");
    assert_string_equal(text(json_array_get(list, 2), "team"), "red");
    assert_string_equal(text(json_array_get(list, 2), "cost_usd"), "1.000000");
    assert_int_equal(json_integer_value(
                         json_object_get(json_array_get(list, 2), "attempts")),
                     10);
    json_decref(o);
    o = costs(l, "2025-11-26");
    assert_string_equal(text(o, "total_usd"), "99.000000");
    json_decref(o);
}

static void
an_attempt_told_of_twice_counts_once(void **state)
{
    struct ledger_fixture *l = *state;
    json_t *o;

    spend(l, 1, 1, "gpu", "", "0.5", 1000);
    spend(l, 1, 1, "gpu", "", "0.5", 1000);
    spend(l, 1, 2, "gpu", "", "0.25", 1000); /* another attempt costs anew */
    o = costs(l, "1970-01-01");
    assert_string_equal(text(o, "total_usd"), "0.750000");
    json_decref(o);
}

static void
a_day_without_costs_says_zero_and_no_day_is_an_error(void **state)
{
    struct ledger_fixture *l = *state;
    json_t *o = costs(l, "2020-02-29");

    assert_string_equal(text(o, "total_usd"), "0.000000");
    assert_int_equal(json_array_size(json_object_get(o, "costs")), 0);
    json_decref(o);
    o = costs(l, "yesterday");
    assert_string_equal(text(json_object_get(o, "error"), "code"), "invalid");
    json_decref(o);
}

#define T(F) cmocka_unit_test_setup_teardown(F, open_ledger, close_ledger)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(costs_are_summed_exactly_by_provider_and_team_and_day),
        T(an_attempt_told_of_twice_counts_once),
        T(a_day_without_costs_says_zero_and_no_day_is_an_error),
    };

    mem_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
