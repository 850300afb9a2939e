/*
 * Outcomes that the broker does not confirm, while it confirms others.
 */
#include "tests/worker_fixture.h"

#include "workers/core/state_dir.h"

static bool never;

static bool
is_on_disk(const struct worker_fixture *s, const char *name)
{
    char path[4200];

    (void)snprintf(path, sizeof path, "%s/%s", state_dir_results(s->dir), name);
    return access(path, F_OK) == 0;
}

static void
wait_on_disk(const struct worker_fixture *s, const char *name, bool wanted)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;

    while (is_on_disk(s, name) != wanted && loop_now_ms() < until)
        (void)loop_until(loop, &never, 10);
    assert_int_equal(is_on_disk(s, name), wanted);
}

/* Until the claim of task was written so many times more. */
static void
wait_renewed(const char *task, int times)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    uint64_t before = 0;
    struct lookup l;

    while (times >= 0 && loop_now_ms() < until) {
        get_claim(task, &l);
        assert_true(l.found);
        if (l.revision != before)
            times--;
        before = l.revision;
        mem_pool_free(l.pool);
        (void)loop_until(loop, &never, 10);
    }
    assert_true(times < 0);
}

static void
touch_go(void)
{
    char path[100];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/go", folder);
    f = fopen(path, "we");
    assert_non_null(f);
    (void)fclose(f);
}

static void
on_result(void *ctx, const struct bus_note *note)
{
    (void)note;
    *(bool *)ctx = true;
}

/* Results find no stream, and claims do. */
static void
an_outcome_goes_to_disk_once_nothing_is_confirmed_any_more(void **state)
{
    struct str answer = {0};
    char script[200], wait[500];
    struct bus_sub *results_sub;
    bool said = false;
    struct worker_fixture s;
    struct err e;

    (void)state;
    open_fixture(&s, 2);
    if (bus_call(bus, "$JS.API.STREAM.DELETE.RESULTS", "", 0, PATIENCE_MS,
                 &answer, &e) < 0)
        fail_msg("%s", e.msg);
    str_free(&answer);
    (void)snprintf(script, sizeof script,
                   "until [ -e %s/go ]; do sleep 0.05; done", folder);
    submit_sh("renewed", announcing(script, wait, sizeof wait));
    (void)announced();
    if (bus_subscribe(bus, "results.>", on_result, &said, &results_sub, &e) < 0)
        fail_msg("%s", e.msg);
    submit_sh("waiting", "true");
    assert_true(loop_until(loop, &said, PATIENCE_MS)); /* and not stored */
    bus_unsubscribe(results_sub);
    wait_renewed("renewed", 4); /* one every LEASE_MS / 3 */
    assert_false(is_on_disk(&s, "waiting-1"));
    touch_go();
    wait_on_disk(&s, "waiting-1", true);
    wait_on_disk(&s, "renewed-1", true);
    provision();
    wait_on_disk(&s, "waiting-1", false);
    wait_on_disk(&s, "renewed-1", false);
    assert_int_equal(result("waiting", 1)->state, STATE_SUCCEEDED);
    assert_int_equal(result("renewed", 1)->state, STATE_SUCCEEDED);
    close_fixture(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            an_outcome_goes_to_disk_once_nothing_is_confirmed_any_more),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
