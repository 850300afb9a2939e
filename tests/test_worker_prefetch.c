/* Claiming beyond the slots: how many, and what becomes of those that wait. */
#include "tests/worker_fixture.h"

#include "workers/core/prefetch.h"

enum { SLOTS = 8 };

/* --- how many ------------------------------------------------------------ */

static void
run(struct prefetch *a, int64_t ms, int times)
{
    while (times-- > 0)
        prefetch_ran(a, ms);
}

static void
nothing_is_claimed_ahead_of_what_is_not_known_to_be_short(void **state)
{
    struct prefetch a;

    (void)state;
    prefetch_init(&a);
    assert_int_equal(prefetch_count(&a, SLOTS, 1), 0);
    run(&a, 3, 5);
    assert_int_equal(prefetch_count(&a, SLOTS, 1), 0);
    run(&a, 3, 200);
    assert_int_equal(prefetch_count(&a, SLOTS, 1), 6); /* 8 x 2 x 1 / 3 */
    run(&a, PREFETCH_SHORT_MS + 10, 60);
    assert_int_equal(prefetch_count(&a, SLOTS, 1), 0);
}

static void
only_so_many_are_claimed_ahead_of_each_slot(void **state)
{
    struct prefetch a;

    (void)state;
    prefetch_init(&a);
    run(&a, 1, 60);
    for (int i = 0; i < 60; i++)
        prefetch_claimed(&a, 500);
    assert_int_equal(prefetch_count(&a, SLOTS, 1), PREFETCH_MOST * SLOTS);
    assert_int_equal(prefetch_count(&a, 1, 1), PREFETCH_MOST);
}

static void
short_runs_are_brisk_and_longer_ones_end_that(void **state)
{
    struct prefetch a;

    (void)state;
    prefetch_init(&a);
    assert_false(prefetch_runs_are_short(&a, 1));
    run(&a, 15, 200);
    assert_false(prefetch_runs_are_short(&a, 1));
    run(&a, 5, 200);
    assert_true(prefetch_runs_are_short(&a, 1));
    run(&a, 15, 200); /* not at every wavering */
    assert_true(prefetch_runs_are_short(&a, 1));
    run(&a, 25, 200);
    assert_false(prefetch_runs_are_short(&a, 1));
    run(&a, 5, 200);
    assert_true(prefetch_runs_are_short(&a, 1));
    run(&a, 60000, 1);
    assert_false(prefetch_runs_are_short(&a, 1));
    run(&a, 5, 200);
    assert_true(prefetch_runs_are_short(&a, 1));
    prefetch_returned(&a, 1); /* one waited for too long */
    assert_false(prefetch_runs_are_short(&a, 2));
}

static void
slots_with_long_runs_are_not_counted_on(void **state)
{
    struct prefetch a;

    (void)state;
    prefetch_init(&a);
    run(&a, 2, 200);
    assert_int_equal(prefetch_count(&a, SLOTS, 1), 8);
    assert_int_equal(prefetch_count(&a, 2, 1), 2);
    assert_int_equal(prefetch_count(&a, 0, 1), 0);
}

static void
one_long_run_forbids_it_for_a_while(void **state)
{
    struct prefetch a;
    int n = 0;

    (void)state;
    prefetch_init(&a);
    run(&a, 2, 200);
    run(&a, 600000, 1);
    assert_int_equal(prefetch_count(&a, SLOTS, 1), 0);
    while (prefetch_count(&a, SLOTS, 1) == 0 && n++ < 100)
        run(&a, 2, 1);
    assert_in_range(n, 5, 20);
}

static void
who_hands_one_back_claims_none_ahead_for_longer_each_time(void **state)
{
    struct prefetch a;
    int64_t now = 1000, bar = PREFETCH_BAR_MS;

    (void)state;
    prefetch_init(&a);
    run(&a, 2, 200);
    for (int i = 0; i < 10; i++) {
        prefetch_returned(&a, now);
        prefetch_returned(&a, now + 1); /* of the same jam */
        assert_int_equal(prefetch_count(&a, SLOTS, now + bar - 1), 0);
        now += bar;
        assert_int_equal(prefetch_count(&a, SLOTS, now), SLOTS);
        bar = bar * 2 < PREFETCH_BAR_MOST_MS ? bar * 2 : PREFETCH_BAR_MOST_MS;
    }
    /* Long after the last one it is short again. */
    now += PREFETCH_BAR_MOST_MS + 1;
    prefetch_returned(&a, now);
    assert_int_equal(prefetch_count(&a, SLOTS, now + PREFETCH_BAR_MS), SLOTS);
}

/* --- those that wait ----------------------------------------------------- */

/* Teaches the worker that tasks are short. */
static void
warm_up(const char *name)
{
    char id[TASK_ID_SIZE];

    for (int i = 0; i < 40; i++) {
        (void)snprintf(id, sizeof id, "%s%d", name, i);
        submit_sh(id, "true");
    }
    for (int i = 0; i < 40; i++) {
        (void)snprintf(id, sizeof id, "%s%d", name, i);
        assert_int_equal(result(id, 1)->state, STATE_SUCCEEDED);
    }
}

/* Waits until the task is claimed by w1. */
static void
wait_claimed(const char *id)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    struct lookup l;
    bool found;

    do {
        get_claim(id, &l);
        found = l.found;
        if (found) {
            assert_string_equal(l.claim.worker, "w1");
            assert_int_equal(l.claim.state, STATE_RUNNING);
        }
        mem_pool_free(l.pool);
    } while (!found && loop_now_ms() < until);
    assert_true(found);
}

/* A task that adds its attempt to a file. */
static void
submit_counting(const char *id, enum retry_policy retry)
{
    char script[300];
    struct order o;

    (void)snprintf(script, sizeof script, "printf $SHUNT_ATTEMPT >>%s/runs-%s",
                   folder, id);
    order(&o, id, script);
    o.task.retry = retry;
    submit(&o);
}

/* want NULL: it did not run. */
static void
assert_runs(const char *id, const char *want)
{
    char path[300], text[64] = "";
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/runs-%s", folder, id);
    f = fopen(path, "re");
    if (!want) {
        assert_null(f);
        return;
    }
    assert_non_null(f);
    (void)!fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    assert_string_equal(text, want);
}

static void
open_second(struct worker_fixture *s)
{
    static char name[] = "w2", dir[80];

    (void)snprintf(dir, sizeof dir, "%s/second", folder);
    open_fixture_in(s, name, dir, 1);
}

static void
what_waits_for_a_slot_is_handed_back_and_runs_elsewhere(void **state)
{
    char script[600];
    struct worker_fixture s, second;
    const struct result *r;
    struct lookup l;

    (void)state;
    open_fixture(&s, 1);
    warm_up("warm");
    submit_sh("hog", announcing("sleep 1000", script, sizeof script));
    (void)announced();
    submit_counting("ahead", RETRY_NEVER);
    r = result("ahead", 1);
    assert_int_equal(r->state, STATE_PREEMPTED);
    assert_false(r->final);
    assert_string_equal(r->worker, "w1");
    assert_string_equal(r->reason, "handed back: no slot became free");
    open_second(&second);
    r = result("ahead", 2);
    assert_int_equal(r->state, STATE_SUCCEEDED);
    assert_string_equal(r->worker, "w2");
    get_claim("ahead", &l);
    assert_int_equal(l.claim.lost, 0);
    assert_int_equal(l.claim.failed, 0);
    mem_pool_free(l.pool);
    assert_runs("ahead", "2");
    /* The first claims none ahead now: the others are w2's at once. */
    for (int i = 0; i < 3; i++) {
        char id[TASK_ID_SIZE];

        (void)snprintf(id, sizeof id, "after%d", i);
        submit_sh(id, "true");
        assert_string_equal(result(id, 1)->worker, "w2");
    }
    close_fixture(&second);
    close_fixture(&s);
}

static void
a_long_task_in_the_only_slot_keeps_no_others(void **state)
{
    char script[600], id[TASK_ID_SIZE];
    struct worker_fixture s, second;

    (void)state;
    open_fixture(&s, 1);
    submit_sh("long", announcing("sleep 1000", script, sizeof script));
    (void)announced();
    for (int i = 0; i < 3; i++) {
        (void)snprintf(id, sizeof id, "behind%d", i);
        submit_sh(id, "true");
    }
    open_second(&second);
    for (int i = 0; i < 3; i++) {
        (void)snprintf(id, sizeof id, "behind%d", i);
        assert_string_equal(result(id, 1)->worker, "w2");
        assert_int_equal(result(id, 1)->state, STATE_SUCCEEDED);
    }
    close_fixture(&second);
    close_fixture(&s);
}

static void
a_waiting_claim_that_cannot_be_renewed_does_not_run(void **state)
{
    char script[600];
    struct worker_fixture s;
    pid_t pid;

    (void)state;
    open_fixture(&s, 1);
    warm_up("calm");
    submit_sh("fenced", announcing("sleep 1000", script, sizeof script));
    pid = announced();
    submit_counting("waiting", RETRY_SAFE);
    wait_claimed("waiting");
    broker_freeze(broker, true);
    assert_true(is_gone(pid)); /* and the slot is free */
    broker_freeze(broker, false);
    submit_sh("later", "true");
    assert_int_equal(result("later", 1)->state, STATE_SUCCEEDED);
    assert_int_equal(result("waiting", 1)->state, STATE_PREEMPTED);
    assert_int_equal(result("waiting", 2)->state, STATE_SUCCEEDED);
    assert_runs("waiting", "2");
    close_fixture(&s);
}

static void
a_draining_worker_hands_back_what_waits_at_once(void **state)
{
    char script[600];
    struct worker_fixture s;
    const struct result *r;

    (void)state;
    open_fixture(&s, 1);
    warm_up("drain");
    submit_sh("last", announcing("sleep 1000", script, sizeof script));
    (void)announced();
    submit_counting("next", RETRY_SAFE);
    wait_claimed("next");
    worker_drain(s.worker, 1);
    r = result("next", 1);
    assert_int_equal(r->state, STATE_PREEMPTED);
    assert_string_equal(r->reason, "handed back: the worker stops");
    assert_null(find_result("last", 1));
    assert_runs("next", NULL);
    close_fixture(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            nothing_is_claimed_ahead_of_what_is_not_known_to_be_short),
        cmocka_unit_test(only_so_many_are_claimed_ahead_of_each_slot),
        cmocka_unit_test(short_runs_are_brisk_and_longer_ones_end_that),
        cmocka_unit_test(slots_with_long_runs_are_not_counted_on),
        cmocka_unit_test(one_long_run_forbids_it_for_a_while),
        cmocka_unit_test(
            who_hands_one_back_claims_none_ahead_for_longer_each_time),
        cmocka_unit_test(
            what_waits_for_a_slot_is_handed_back_and_runs_elsewhere),
        cmocka_unit_test(a_long_task_in_the_only_slot_keeps_no_others),
        cmocka_unit_test(a_waiting_claim_that_cannot_be_renewed_does_not_run),
        cmocka_unit_test(a_draining_worker_hands_back_what_waits_at_once),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
