#include "tests/worker_fixture.h"

/* A script that leaves a trace, and where. */
static const char *
tracing(const char *id, char *out, size_t size)
{
    (void)snprintf(out, size, "touch %s/ran-%s", folder, id);
    return out;
}

static void
assert_never_ran(const char *id)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/ran-%s", folder, id);
    assert_int_equal(access(path, F_OK), -1);
}

static void
assert_cancelled(const char *id, uint32_t attempt)
{
    const struct result *r = result(id, attempt);

    assert_int_equal(r->state, STATE_CANCELLED);
    assert_true(r->final);
    assert_string_equal(r->reason, "cancelled by me@here: not needed");
    assert_non_null(r->cancel);
    assert_string_equal(r->cancel->by, "me@here");
    assert_int_equal(r->cancel->at_ms, 1);
    assert_never_ran(id);
}

static void
a_cancel_before_the_delivery_is_seen_when_the_claim_is_won(void **state)
{
    struct worker_fixture s;
    struct lookup l;
    char script[128];

    (void)state;
    request_cancel("early1"); /* while there is no worker */
    open_fixture(&s, 1);
    request_cancel("early2");
    submit_sh("early1", tracing("early1", script, sizeof script));
    submit_sh("early2", tracing("early2", script, sizeof script));
    submit_sh("free", "true");
    assert_cancelled("early1", 1);
    assert_cancelled("early2", 1);
    assert_int_equal(result("free", 1)->state, STATE_SUCCEEDED);
    get_claim("early1", &l);
    assert_int_equal(l.claim.state, STATE_CANCELLED);
    mem_pool_free(l.pool);
    close_fixture(&s);
}

/* Behind a task that runs: in a message that is delivered, but not begun. */
static void
a_cancel_of_a_task_that_waits_for_a_slot_is_not_dropped(void **state)
{
    struct worker_fixture s;
    struct order o[3];
    char script[400], trace[128];

    (void)state;
    open_fixture(&s, 1);
    order(&o[0], "wait1", announcing("sleep 0.4", script, sizeof script));
    order(&o[1], "wait2", tracing("wait2", trace, sizeof trace));
    order(&o[2], "wait3", "true");
    submit_together((struct order *[]){&o[0], &o[1], &o[2]}, 3);
    (void)announced();
    request_cancel("wait2");
    assert_cancelled("wait2", 1);
    assert_int_equal(result("wait1", 1)->state, STATE_SUCCEEDED);
    assert_int_equal(result("wait3", 1)->state, STATE_SUCCEEDED);
    close_fixture(&s);
}

static void
a_cancel_between_two_attempts_stops_the_second(void **state)
{
    struct worker_fixture s;
    struct order o;
    char trace[160];

    (void)state;
    open_fixture(&s, 1);
    (void)snprintf(trace, sizeof trace,
                   "[ $SHUNT_ATTEMPT = 1 ] || touch %s/ran-again; exit 3",
                   folder);
    order(&o, "again", trace);
    o.task.retries = 1;
    submit(&o);
    assert_int_equal(result("again", 1)->state, STATE_FAILED);
    request_cancel("again");
    assert_cancelled("again", 2);
    close_fixture(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_cancel_before_the_delivery_is_seen_when_the_claim_is_won),
        cmocka_unit_test(
            a_cancel_of_a_task_that_waits_for_a_slot_is_not_dropped),
        cmocka_unit_test(a_cancel_between_two_attempts_stops_the_second),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
