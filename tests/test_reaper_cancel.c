/* What becomes of cancels that nobody else carries out. */
#include "tests/reaper_fixture.h"

static void
a_cancel_of_a_task_nobody_knows_is_kept_for_it(void **state)
{
    struct reaper_fixture *f = *state;

    cancel(f, "t1");
    until_state_is(f, "t1", "submitted");
    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"], \"hold\": true}");
    until_state_is(f, "t1", "cancelled");
}

static void
the_key_goes_when_its_task_has_ended(void **state)
{
    struct reaper_fixture *f = *state;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"], \"hold\": true}");
    until_state_is(f, "t1", "held");
    cancel(f, "never-submitted");
    cancel(f, "t1");
    until_state_is(f, "t1", "cancelled");
    until_no_key(f, "t1");
    assert_true(has_key(f, "never-submitted"));
    cancel(f, "t1"); /* once more, for nothing */
    until_no_key(f, "t1");
    until_state_is(f, "t1", "cancelled");
}

/* As when a reaper was killed before it could remove it. */
static void
a_key_that_was_left_goes_at_the_next_start(void **state)
{
    struct reaper_fixture *f = *state;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"], \"hold\": true}");
    cancel(f, "t1");
    until_state_is(f, "t1", "cancelled");
    until_no_key(f, "t1");
    stop(f);
    cancel(f, "t1");
    start(f);
    until_no_key(f, "t1");
}

static void
a_router_may_cancel_what_it_has_not_routed(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r;
    json_t *task;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    codec_init(CODEC_RESULT, &r);
    r.task = "t1";
    r.backend = "router";
    r.state = STATE_CANCELLED;
    r.final = true;
    r.nonce = "nonce";
    r.reason = "cancelled by me@here";
    (void)publish(f, "results.router.cli", CODEC_RESULT, &r);
    task = until_state(f, "t1", "cancelled");
    assert_string_equal(text_of(task, "reason"), "cancelled by me@here");
    json_decref(task);
    assert_int_equal(counter(f, "quarantined"), 0);
}

static void
on_told(void *ctx, const struct bus_note *note)
{
    (void)note;
    ++*(unsigned *)ctx;
}

/* A worker has the task: perhaps it has missed the request. */
static void
a_worker_is_told_again_until_it_has_ended_the_task(void **state)
{
    struct reaper_fixture *f = *state;
    char subject[SUBJECT_SIZE];
    struct bus_sub *sub;
    unsigned told = 0;
    int64_t deadline = loop_now_ms() + LONG_MS;
    bool never = false;
    struct err e;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    (void)claim(f, "t1", 1, "secret");
    route(f, "t1");
    until_state_is(f, "t1", "routed");
    assert_int_equal(bus_subscribe(f->bus, subject_cancel(subject, "t1"),
                                   on_told, &told, &sub, &e),
                     0);
    cancel(f, "t1");
    while (told < 2) {
        assert_true(loop_now_ms() < deadline);
        (void)loop_until(f->loop, &never, 20);
    }
    bus_unsubscribe(sub);
}

/* Its work goes on elsewhere, and only a worker can stop that. */
static void
a_claim_with_a_note_is_left_to_a_worker(void **state)
{
    struct reaper_fixture *f = *state;
    char subject[SUBJECT_SIZE];
    struct claim c;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"]}");
    codec_init(CODEC_CLAIM, &c);
    c.task = "t1";
    c.attempt = 1;
    c.worker = "w";
    c.nonce = "secret";
    c.state = STATE_PREEMPTED;
    c.remote = "job-1";
    (void)publish(f, subject_claim(subject, "local", "t1"), CODEC_CLAIM, &c);
    c.task = "t2";
    c.remote = "";
    (void)publish(f, subject_claim(subject, "local", "t2"), CODEC_CLAIM, &c);
    route(f, "t1");
    route(f, "t2");
    until_state_is(f, "t2", "routed");
    cancel(f, "t1");
    cancel(f, "t2");
    until_state_is(f, "t2", "cancelled");
    until_state_is(f, "t1", "routed");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_cancel_of_a_task_nobody_knows_is_kept_for_it),
        TEST(the_key_goes_when_its_task_has_ended),
        TEST(a_key_that_was_left_goes_at_the_next_start),
        TEST(a_router_may_cancel_what_it_has_not_routed),
        TEST(a_worker_is_told_again_until_it_has_ended_the_task),
        TEST(a_claim_with_a_note_is_left_to_a_worker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
