/* Tasks older than claims are kept: the ledger is asked before they are run. */
#include "tests/worker_fixture.h"

/* A ledger, as far as it is asked here. */
struct ledger {
    const char *answers[4]; /* one after the other; the last for ever */
    unsigned asked;
    char question[64];
};

static void
on_question(void *ctx, const struct bus_note *note)
{
    struct ledger *l = ctx;
    const char *answer = l->answers[l->asked < 3 ? l->asked : 3];

    l->asked++;
    (void)snprintf(l->question, sizeof l->question, "%.*s", (int)note->len,
                   (const char *)note->data);
    bus_publish_core(bus, note->reply, answer, strlen(answer));
}

/* Opens a worker for which every message is an old one. */
static struct bus_sub *
open_old_fixture(struct worker_fixture *s, struct ledger *l)
{
    int64_t stored_ms = str_wall_ms();
    struct bus_sub *asked = NULL;
    bool never = false;
    struct err e;

    assert_int_equal(
        bus_subscribe(bus, "ask.ledger.find", on_question, l, &asked, &e), 0);
    while (str_wall_ms() < stored_ms + 2)
        (void)loop_until(loop, &never, 1);
    open_fixture(s, 1);
    s->conf.old_after_ms = 1;
    return asked;
}

static void
an_old_task_that_is_over_is_not_run_again(void **state)
{
    static const char unknown[] = "{\"error\": {\"code\": \"not-found\"}}";
    struct ledger l = {
        {"{\"id\": \"old\", \"state\": \"failed\"}", unknown, unknown, unknown},
        0,
        ""};
    struct bus_sub *asked;
    struct lookup look;
    struct worker_fixture s;

    (void)state;
    submit_sh("old", "true");
    asked = open_old_fixture(&s, &l);
    submit_sh("new", "true");
    assert_int_equal(result("new", 1)->state, STATE_SUCCEEDED);
    assert_null(find_result("old", 1));
    get_claim("old", &look);
    assert_false(look.found);
    mem_pool_free(look.pool);
    bus_unsubscribe(asked);
    close_fixture(&s);
}

static void
an_old_task_that_only_waited_is_run(void **state)
{
    static const char *const answers[] = {
        "{\"id\": \"waited\", \"state\": \"routed\"}",
        "{\"id\": \"other\", \"name\": \"waited\", \"state\": \"failed\"}",
        "{\"error\": {\"code\": \"not-found\", \"message\": \"\"}}",
        "{\"error\": {\"code\": \"ambiguous\", \"message\": \"\"}}",
    };
    struct bus_sub *asked;
    struct ledger l = {0};
    struct worker_fixture s;
    char id[TASK_ID_SIZE];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(id, sizeof id, i ? "waited%u" : "waited", i);
        for (unsigned k = 0; k < 4; k++)
            l.answers[k] = answers[i];
        submit_sh(id, "true");
        asked = open_old_fixture(&s, &l);
        assert_int_equal(result(id, 1)->state, STATE_SUCCEEDED);
        assert_true(l.asked > 0);
        if (i == 0)
            assert_string_equal(l.question, "{\"task\": \"waited\"}");
        bus_unsubscribe(asked);
        close_fixture(&s);
    }
}

static void
an_old_task_waits_for_the_ledger(void **state)
{
    struct ledger l = {
        {"{\"error\": {\"code\": \"unavailable\"}}", "nonsense", "[]", "7"},
        0,
        ""};
    struct bus_sub *asked;
    struct lookup look;
    struct worker_fixture s;
    bool never = false;
    int64_t until = loop_now_ms() + PATIENCE_MS;

    (void)state;
    submit_sh("patient", "true");
    asked = open_old_fixture(&s, &l);
    while (l.asked == 0 && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    assert_true(l.asked > 0);
    get_claim("patient", &look);
    assert_false(look.found);
    mem_pool_free(look.pool);
    bus_unsubscribe(asked);
    close_fixture(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_task_that_is_over_is_not_run_again),
        cmocka_unit_test(an_old_task_that_only_waited_is_run),
        cmocka_unit_test(an_old_task_waits_for_the_ledger),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
