/* A router with tasks of their own message. */
#include "tests/router_fixture.h"

static void
a_task_goes_to_its_lane_and_is_settled(void **state)
{
    struct router_fixture *f = *state;
    const struct router_seen *s;
    struct str proto = {0};
    struct step step = {
        .name = "", .kind = STEP_SHELL, .script = "ls", .workdir = ""};
    struct task t;

    submit_text(f, "t1", "{\"id\": \"t1\", \"steps\": [\"git status\"]}");
    codec_init(CODEC_TASK, &t);
    t.id = "t2";
    t.steps = &step;
    t.n_steps = 1;
    t.backend = "codespace";
    codec_encode(CODEC_TASK, &t, &proto);
    submit(f, "t2", proto.data, proto.len);
    str_free(&proto);
    await(f, 2);
    s = find_seen(f, "tasks.local.default", "t1");
    assert_non_null(s);
    assert_string_equal(s->text, "score-too-low");
    assert_non_null(find_seen(f, "tasks.codespace.default", "t2"));
    await_settled(f);
}

static void
a_bad_message_leaves_a_dead_letter_and_a_rejection(void **state)
{
    struct router_fixture *f = *state;

    submit_text(f, "t1",
                "{\"id\": \"t1\", \"source\": \"github\", \"steps\": 1}");
    await(f, 2);
    assert_non_null(find_seen(f, "dead.router", "t1"));
    assert_non_null(find_seen(f, "results.router.github", "t1"));
    await_settled(f);
}

static void
a_large_bad_message_is_cut_but_its_size_is_kept(void **state)
{
    enum { SIZE = 900 * 1024 };
    struct router_fixture *f = *state;
    char *data = malloc(SIZE);

    assert_non_null(data);
    memset(data, 'x', SIZE);
    submit(f, NULL, data, SIZE);
    free(data);
    await(f, 1);
    assert_string_equal(f->seen[0].subject, "dead.router");
    assert_string_equal(f->seen[0].id, "");
    assert_int_equal(f->seen[0].payload_bytes, SIZE);
    assert_true(f->seen[0].payload_len <= 512 * 1024);
    assert_true(f->seen[0].payload_len > 256 * 1024);
    await_settled(f);
}

static void
a_rejected_decision_is_a_result_and_no_dead_letter(void **state)
{
    struct router_fixture *f = *state;

    submit_text(f, "t1",
                "{\"id\": \"t1\", \"steps\": [\"ls\"], \"executor\": \"x\"}");
    submit_text(f, "t2", "{\"id\": \"t2\", \"steps\": [\"ls\"]}");
    await(f, 2);
    assert_non_null(find_seen(f, "results.router.cli", "t1"));
    assert_non_null(strstr(find_seen(f, "results.router.cli", "t1")->text,
                           "known are devbox-codex"));
    assert_non_null(find_seen(f, "tasks.local.default", "t2"));
    await_settled(f);
    assert_int_equal(f->n_seen, 2);
}

static void
a_held_task_is_settled_and_goes_nowhere(void **state)
{
    struct router_fixture *f = *state;

    submit_text(f, "t1",
                "{\"id\": \"t1\", \"steps\": [\"ls\"], \"hold\": true}");
    submit_text(f, "t2", "{\"id\": \"t2\", \"steps\": [\"ls\"]}");
    await(f, 1);
    await_settled(f);
    assert_int_equal(f->n_seen, 1);
    assert_string_equal(f->seen[0].id, "t2");
}

static void
request_cancel(struct router_fixture *f, const char *id)
{
    char subject[SUBJECT_SIZE];
    struct control c = {.task = id,
                        .verb = "cancel",
                        .by = "me@here",
                        .reason = "",
                        .worker = ""};
    struct str bytes = {0};
    size_t n = f->n_stored;

    codec_encode(CODEC_CONTROL, &c, &bytes);
    bus_publish(
        f->bus,
        &(struct bus_publication){.subject = subject_cancel(subject, id),
                                  .data = bytes.data,
                                  .len = bytes.len,
                                  .expect = BUS_ANY_REVISION},
        WAIT_MS, on_stored, f);
    str_free(&bytes);
    while (f->n_stored == n)
        (void)loop_until(f->loop, &f->reached, 2);
}

static void
what_was_cancelled_before_is_not_routed(void **state)
{
    struct router_fixture *f = *state;

    request_cancel(f, "t1");
    submit_text(f, "t1", "{\"id\": \"t1\", \"steps\": [\"ls\"]}");
    submit_text(f, "t2", "{\"id\": \"t2\", \"steps\": [\"ls\"]}");
    await(f, 2);
    assert_non_null(find_seen(f, "results.router.cli", "t1"));
    assert_string_equal(find_seen(f, "results.router.cli", "t1")->text,
                        "cancelled by me@here");
    assert_non_null(find_seen(f, "tasks.local.default", "t2"));
    await_settled(f);
    assert_int_equal(f->n_seen, 2);
}

/* A worker has it: the end is that worker's to say. */
static void
what_is_claimed_already_is_left_to_its_worker(void **state)
{
    struct router_fixture *f = *state;
    char subject[SUBJECT_SIZE];
    size_t n = f->n_stored;

    bus_publish(f->bus,
                &(struct bus_publication){
                    .subject = subject_claim(subject, "local", "t1"),
                    .data = "x",
                    .len = 1,
                    .expect = 0},
                WAIT_MS, on_stored, f);
    while (f->n_stored == n)
        (void)loop_until(f->loop, &f->reached, 2);
    request_cancel(f, "t1");
    submit_text(f, "t1", "{\"id\": \"t1\", \"steps\": [\"ls\"]}");
    await(f, 1);
    assert_non_null(find_seen(f, "tasks.local.default", "t1"));
    await_settled(f);
    assert_int_equal(f->n_seen, 1);
}

static void
heartbeats_say_where_the_cloud_is(void **state)
{
    struct router_fixture *f = *state;
    char text[128], id[32];
    size_t n = 0;

    submit_text(f, "a0", "{\"id\": \"a0\", \"steps\": [\"make build\"]}");
    await(f, ++n);
    assert_string_equal(f->seen[0].subject, "tasks.local.default");
    bus_publish_core(f->bus, "hb.codespace.w1", "\xff\xff", 2);
    beat(f, "hb.local.w1", "codespace"); /* speaks of another: no effect */
    submit_text(f, "a1", "{\"id\": \"a1\", \"steps\": [\"make build\"]}");
    await(f, ++n);
    assert_string_equal(f->seen[1].subject, "tasks.local.default");

    /* News and tasks are not ordered among each other: ask until it is so. */
    while (strcmp(f->seen[n - 1].subject, "tasks.codespace.default") != 0) {
        assert_true(n < 100);
        beat(f, "hb.codespace.w1", "codespace");
        (void)snprintf(id, sizeof id, "b%zu", n);
        (void)snprintf(text, sizeof text,
                       "{\"id\": \"%s\", \"steps\": [\"make build\"]}", id);
        submit_text(f, id, text);
        await(f, ++n);
    }
    await_settled(f);
}

static void
on_roll_call(void *ctx, const struct bus_note *note)
{
    (void)note;
    beat(ctx, "hb.codespace.w1", "codespace");
}

static void
a_router_that_starts_asks_who_is_there(void **state)
{
    static const char many[] =
        "{\"tasks\": [{\"id\": \"b1\", \"steps\": [\"ls\"]},"
        " {\"id\": \"b2\", \"steps\": [\"make build\"]},"
        " {\"id\": \"b3\", \"steps\": [\"make build\"]}]}";
    struct router_fixture *f = *state;
    struct bus_sub *rolls;
    struct err e = {0};

    stop_router(f);
    assert_int_equal(
        bus_subscribe(f->bus, SUBJECT_ROLL, on_roll_call, f, &rolls, &e), 0);
    submit_bulk(f, many, sizeof many - 1);
    submit_text(f, "a", "{\"id\": \"a\", \"steps\": [\"make build\"]}");
    await_stored(f, 2); /* and the broker knows that we listen */
    start_router(f);
    await(f, 4);
    await_settled(f);
    assert_int_equal(f->n_seen, 4);
    assert_non_null(find_seen(f, "tasks.local.default", "b1"));
    assert_non_null(find_seen(f, "tasks.codespace.default", "b2"));
    assert_non_null(find_seen(f, "tasks.codespace.default", "b3"));
    assert_non_null(find_seen(f, "tasks.codespace.default", "a"));
    bus_unsubscribe(rolls);
}

static void
a_broker_that_is_killed_costs_no_task(void **state)
{
    struct router_fixture *f = *state;

    hasten(f);
    submit_many(f, "k", 100);
    await(f, 20);
    broker_kill(f->broker);
    broker_restart(f->broker);
    await_stored(f, 100);
    await_settled(f);
    assert_int_equal(messages_of(f, "TASKS"), 100);
}

static void
a_router_that_is_cut_off_leaves_its_tasks_to_the_next(void **state)
{
    struct router_fixture *f = *state;

    hasten(f);
    submit_many(f, "m", 100);
    await(f, 10);
    stop_router(f); /* with decisions in hand */
    start_router(f);
    submit_many(f, "n", 100);
    await(f, 200);
    await_settled(f);
    expect_all(f, "m", 100);
    expect_all(f, "n", 100);
    assert_int_equal(messages_of(f, "TASKS"), 200);
}

static void
term_finishes_what_is_in_hand_and_takes_nothing_new(void **state)
{
    struct router_fixture *f = *state;

    hasten(f);
    submit_many(f, "d", 50);
    await(f, 5);
    assert_int_equal(run_with(f, first_term), 0);
    stop_router(f);
    submit_many(f, "e", 1);
    start_router(f);
    await(f, 51);
    await_settled(f);
    assert_int_equal(messages_of(f, "TASKS"), 51);
}

static void
term_with_the_broker_away_does_not_wait_for_ever(void **state)
{
    struct router_fixture *f = *state;

    f->h.conf.drain_timeout_ms = 100;
    hasten(f);
    submit_many(f, "d", 100);
    await(f, 1);
    broker_kill(f->broker);
    assert_int_equal(run_with(f, first_term), 0);
    stop_router(f);
    broker_restart(f->broker);
    start_router(f);
    await_settled(f);
}

static void
a_second_term_stops_at_once(void **state)
{
    struct router_fixture *f = *state;

    submit_many(f, "d", 50);
    await(f, 1);
    assert_int_equal(run_with(f, second_term), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_task_goes_to_its_lane_and_is_settled),
        TEST(a_bad_message_leaves_a_dead_letter_and_a_rejection),
        TEST(a_large_bad_message_is_cut_but_its_size_is_kept),
        TEST(a_rejected_decision_is_a_result_and_no_dead_letter),
        TEST(a_held_task_is_settled_and_goes_nowhere),
        TEST(what_was_cancelled_before_is_not_routed),
        TEST(what_is_claimed_already_is_left_to_its_worker),
        TEST(heartbeats_say_where_the_cloud_is),
        TEST(a_router_that_starts_asks_who_is_there),
        TEST(a_broker_that_is_killed_costs_no_task),
        TEST(a_router_that_is_cut_off_leaves_its_tasks_to_the_next),
        TEST(term_finishes_what_is_in_hand_and_takes_nothing_new),
        TEST(term_with_the_broker_away_does_not_wait_for_ever),
        TEST(a_second_term_stops_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
