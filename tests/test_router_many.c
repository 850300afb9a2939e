/* Tasks that come in one message, and leave in as many as their lane likes. */
#include "tests/router_fixture.h"

#include "tests/drop_messages.h"

/* n tasks <prefix>0, <prefix>1 ... in one message. */
static void
submit_many_as_one(struct router_fixture *f, const char *prefix, size_t n)
{
    struct str message = {0};
    char text[96];

    for (size_t i = 0; i < n; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"id\": \"%s%zu\", \"steps\": [\"true\"]}", prefix, i);
        codec_multi_add(CODEC_TASKS, &message, text, strlen(text));
    }
    submit_bulk(f, message.data, message.len);
    str_free(&message);
}

static void
many_in_one_message_are_judged_one_by_one(void **state)
{
    static const char bad[] =
        "{\"id\": \"b2\", \"lane\": \"a b\", \"steps\": [\"true\"]}";
    static const char *const members[] = {
        "{\"id\": \"b1\", \"steps\": [\"true\"]}", bad,
        "{\"name\": \"anonymous\", \"steps\": [\"true\"]}",
        "{\"id\": \"b4\", \"steps\": [\"true\"]}"};
    struct router_fixture *f = *state;
    struct str message = {0};
    const struct router_seen *dead, *rejected;
    size_t tasks = 0;

    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        codec_multi_add(CODEC_TASKS, &message, members[i], strlen(members[i]));
    submit_bulk(f, message.data, message.len);
    await(f, 5); /* three tasks, a dead letter, a rejection */
    await_settled(f);
    assert_non_null(find_seen(f, "tasks.local.default", "b1"));
    assert_non_null(find_seen(f, "tasks.local.default", "b4"));
    for (size_t i = 0; i < f->n_seen; i++)
        tasks += strcmp(f->seen[i].subject, "tasks.local.default") == 0;
    assert_int_equal(tasks, 3);
    dead = find_seen(f, "dead.router", "b2");
    assert_non_null(dead);
    assert_string_equal(dead->of, "tasks.bulk");
    assert_int_equal(dead->payload_bytes, strlen(bad));
    rejected = find_seen(f, "results.router.cli", "b2");
    assert_non_null(rejected);
    str_free(&message);
}

static void
many_may_come_as_json(void **state)
{
    static const char json[] =
        "{\"tasks\": [{\"id\": \"j1\", \"steps\": [\"true\"]}, "
        "{\"id\": \"j2\", \"steps\": [\"true\"]}]}";
    struct router_fixture *f = *state;

    submit_bulk(f, json, strlen(json));
    await(f, 2);
    await_settled(f);
    assert_non_null(find_seen(f, "tasks.local.default", "j1"));
    assert_non_null(find_seen(f, "tasks.local.default", "j2"));
}

static void
a_message_of_many_that_is_none_leaves_one_dead_letter(void **state)
{
    struct router_fixture *f = *state;

    submit_bulk(f, "", 0);
    submit_bulk(f, "\xff\xff", 2);
    await(f, 2);
    await_settled(f);
    assert_int_equal(messages_of(f, "TASKS"), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(f->seen[i].subject, "dead.router");
        assert_string_equal(f->seen[i].of, "tasks.bulk");
        assert_string_equal(f->seen[i].id, "");
    }
}

static void
a_message_of_more_than_the_window_goes_through_in_its_order(void **state)
{
    struct router_fixture *f = *state;
    char id[24];

    stop_router(f);
    f->h.conf.window = 16;
    start_router(f);
    submit_many_as_one(f, "w", 300);
    submit_many(f, "x", 20);
    await(f, 320);
    await_settled(f);
    expect_all(f, "x", 20);
    for (size_t i = 0; i < 300; i++) {
        (void)snprintf(id, sizeof id, "w%zu", i);
        assert_string_equal(f->seen[i].id, id);
    }
}

static void
a_message_of_many_survives_its_router_and_its_broker(void **state)
{
    struct router_fixture *f = *state;

    hasten(f);
    stop_router(f);
    f->h.conf.window = 16;
    start_router(f);
    submit_many_as_one(f, "s", 200);
    await(f, 10);
    stop_router(f); /* with some of its tasks in hand */
    start_router(f);
    await(f, 60);
    broker_kill(f->broker);
    broker_restart(f->broker);
    await_settled(f);
    assert_int_equal(messages_of(f, "TASKS"), 200);
}

static void
term_finishes_a_message_of_many(void **state)
{
    struct router_fixture *f = *state;

    stop_router(f);
    f->h.conf.window = 16;
    start_router(f);
    submit_many_as_one(f, "t", 200);
    await(f, 1);
    assert_int_equal(run_with(f, first_term), 0);
    stop_router(f);
    assert_int_equal(messages_of(f, "TASKS"), 200);
    start_router(f);
    await_settled(f);
}

/* --- messages of many on a lane ------------------------------------------ */

/* How many members the message had that this task came in. */
static size_t
members_with(const struct router_fixture *f, const char *prefix, size_t i)
{
    const struct router_seen *s;
    char id[24];

    (void)snprintf(id, sizeof id, "%s%zu", prefix, i);
    s = find_seen(f, "tasks.local.default", id);
    assert_non_null(s);
    return s->members;
}

/* A local worker says so, until the router goes by it: news and tasks are not
 * ordered among each other. */
static void
until_brisk(struct router_fixture *f, const char *worker, bool short_runs,
            bool together)
{
    char subject[64], prefix[24];
    size_t at;

    (void)snprintf(subject, sizeof subject, "hb.local.%s", worker);
    do {
        at = f->n_seen;
        assert_true(at < 100);
        send_beat(f, subject, "local", worker, short_runs);
        (void)snprintf(prefix, sizeof prefix, "probe%zu-", at);
        submit_many_as_one(f, prefix, 2);
        await(f, at + 2);
    } while (f->seen[at].members != (together ? 2 : 1));
}

static void
tasks_of_one_message_leave_together_where_all_runs_are_short(void **state)
{
    struct router_fixture *f = *state;
    size_t at;

    until_brisk(f, "a", true, true);
    until_brisk(f, "b", true, true);
    at = f->n_seen;
    submit_many_as_one(f, "s", 40);
    await(f, at + 40);
    for (size_t i = 0; i < 40; i++) {
        assert_memory_equal(f->seen[at + i].id, "s", 1);
        assert_int_equal(atoi(f->seen[at + i].id + 1), i); /* in their order */
        assert_int_equal(members_with(f, "s", i), i < 32 ? 16 : 8);
    }
    /* Those that came alone leave alone. */
    submit_many(f, "alone", 20);
    await(f, at + 60);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(members_with(f, "alone", i), 1);
    /* And so do all, once one of the workers has long runs. */
    until_brisk(f, "b", false, false);
    at = f->n_seen;
    submit_many_as_one(f, "l", 40);
    await(f, at + 40);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(members_with(f, "l", i), 1);
    await_settled(f);
}

static void
what_goes_elsewhere_does_not_part_them(void **state)
{
    struct router_fixture *f = *state;
    struct str message = {0};
    char text[128];
    size_t at;

    until_brisk(f, "a", true, true);
    at = f->n_seen;
    for (size_t i = 0; i < 32; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"id\": \"e%zu\", \"steps\": [\"true\"], "
                       "\"backend\": \"%s\"}",
                       i, i % 2 ? "codespace" : "local");
        codec_multi_add(CODEC_TASKS, &message, text, strlen(text));
    }
    submit_bulk(f, message.data, message.len);
    str_free(&message);
    await(f, at + 32);
    for (size_t i = 0; i < 32; i++) {
        const struct router_seen *s = &f->seen[at + i];

        if (strcmp(s->subject, "tasks.local.default") == 0)
            assert_int_equal(s->members, 16);
        else
            assert_int_equal(s->members, 1);
    }
    await_settled(f);
}

static void
a_full_window_does_not_part_them_and_a_killed_broker_has_them_once(void **state)
{
    struct router_fixture *f = *state;
    json_int_t before;
    size_t at;

    hasten(f);
    stop_router(f);
    f->h.conf.window = 20; /* not a multiple of what is in a message */
    start_router(f);
    until_brisk(f, "a", true, true);
    at = f->n_seen;
    await_settled(f);
    /* What was settled might come again after a kill, and leave in other
     * company. */
    drop_messages(f->bus, "TASKS_IN");
    before = messages_of(f, "TASKS");
    submit_many_as_one(f, "s", 200);
    await(f, at + 60);
    broker_kill(f->broker);
    broker_restart(f->broker);
    await_settled(f);
    /* Whatever was sent again was the same message. */
    assert_int_equal(messages_of(f, "TASKS") - before, 13);
}

static void
a_router_that_is_cut_off_leaves_its_bundles_to_the_next(void **state)
{
    struct router_fixture *f = *state;
    size_t at;

    hasten(f);
    until_brisk(f, "a", true, true);
    at = f->n_seen;
    submit_many_as_one(f, "c", 200);
    await(f, at + 16);
    stop_router(f);
    start_router(f); /* it has not heard the worker: one by one */
    await_settled(f);
    for (size_t i = 0; i < 200; i++)
        assert_true(members_with(f, "c", i) > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_in_one_message_are_judged_one_by_one),
        TEST(many_may_come_as_json),
        TEST(a_message_of_many_that_is_none_leaves_one_dead_letter),
        TEST(a_message_of_more_than_the_window_goes_through_in_its_order),
        TEST(a_message_of_many_survives_its_router_and_its_broker),
        TEST(term_finishes_a_message_of_many),
        TEST(tasks_of_one_message_leave_together_where_all_runs_are_short),
        TEST(what_goes_elsewhere_does_not_part_them),
        TEST(
            a_full_window_does_not_part_them_and_a_killed_broker_has_them_once),
        TEST(a_router_that_is_cut_off_leaves_its_bundles_to_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
