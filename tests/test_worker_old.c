/* Where no claim tells what became of a task: it is older than claims are kept,
 * or something else stands there. The ledger is asked. */
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

/* --- something that is no claim ------------------------------------------- */

/* What the broker answers a publication: its sender may have that sent
 * anywhere. */
static uint64_t
spoil_claim(const char *task)
{
    static const char answer[] = "{\"stream\":\"TASKS_IN\", \"seq\":7}";
    char subject[SUBJECT_SIZE];

    return store(subject_claim(subject, "local", task), answer, strlen(answer));
}

static void
until_claim_is_read(const char *task, struct lookup *look)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    bool never = false;

    for (;;) {
        get_claim(task, look);
        if (look->found)
            return;
        mem_pool_free(look->pool);
        assert_true(loop_now_ms() < until);
        (void)loop_until(loop, &never, 20);
    }
}

static void
a_running_task_writes_its_claim_over_what_is_none(void **state)
{
    struct worker_fixture s;
    struct lookup look;
    char script[700], go[300];
    uint64_t spoilt;
    FILE *f;

    (void)state;
    open_fixture(&s, 1);
    (void)snprintf(go, sizeof go, "until [ -e %s/go ]; do sleep .02; done",
                   folder);
    submit_sh("spoilt", announcing(go, script, sizeof script));
    (void)announced();
    log_level_set(LOG_ERROR + 1); /* it logs an error */
    spoilt = spoil_claim("spoilt");
    until_claim_is_read("spoilt", &look);
    log_level_set(LOG_ERROR);
    assert_true(look.revision > spoilt);
    assert_int_equal(look.claim.attempt, 1);
    assert_int_equal(look.claim.state, STATE_RUNNING);
    mem_pool_free(look.pool);
    (void)snprintf(go, sizeof go, "%s/go", folder);
    f = fopen(go, "we");
    assert_non_null(f);
    (void)fclose(f);
    assert_int_equal(result("spoilt", 1)->state, STATE_SUCCEEDED);
    close_fixture(&s);
}

/* It waits for a lease, since whoever has the task may yet write the claim
 * again, and then counts as an attempt that was lost. */
static void
what_is_no_claim_is_replaced_when_nobody_holds_it(void **state)
{
    static const char open[] =
        "{\"id\": \"planted\", \"state\": \"routed\", \"attempts\": 1}";
    struct ledger l = {{open, open, open, open}, 0, ""};
    struct worker_fixture s;
    struct bus_sub *asked;
    struct lookup look;
    struct err e;

    (void)state;
    log_level_set(LOG_ERROR + 1);
    assert_int_equal(
        bus_subscribe(bus, "ask.ledger.find", on_question, &l, &asked, &e), 0);
    (void)spoil_claim("planted");
    open_fixture(&s, 1);
    submit_sh("planted", "true");
    assert_int_equal(result("planted", 2)->state, STATE_SUCCEEDED);
    assert_true(l.asked > 0);
    get_claim("planted", &look);
    assert_true(look.found);
    mem_pool_free(look.pool);
    close_fixture(&s);
    bus_unsubscribe(asked);
    log_level_set(LOG_ERROR);
}

static void
a_task_that_may_have_run_and_must_not_again_ends_unknown(void **state)
{
    static const char open[] =
        "{\"id\": \"once\", \"state\": \"routed\", \"attempts\": 0}";
    struct ledger l = {{open, open, open, open}, 0, ""};
    struct worker_fixture s;
    struct bus_sub *asked;
    struct order o;
    struct err e;

    (void)state;
    log_level_set(LOG_ERROR + 1);
    assert_int_equal(
        bus_subscribe(bus, "ask.ledger.find", on_question, &l, &asked, &e), 0);
    (void)spoil_claim("once");
    open_fixture(&s, 1);
    order(&o, "once", "true");
    o.task.retry = RETRY_NEVER;
    submit(&o);
    assert_int_equal(result("once", 1)->state, STATE_UNKNOWN);
    close_fixture(&s);
    bus_unsubscribe(asked);
    log_level_set(LOG_ERROR);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_task_that_is_over_is_not_run_again),
        cmocka_unit_test(an_old_task_that_only_waited_is_run),
        cmocka_unit_test(an_old_task_waits_for_the_ledger),
        cmocka_unit_test(a_running_task_writes_its_claim_over_what_is_none),
        cmocka_unit_test(what_is_no_claim_is_replaced_when_nobody_holds_it),
        cmocka_unit_test(
            a_task_that_may_have_run_and_must_not_again_ends_unknown),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
