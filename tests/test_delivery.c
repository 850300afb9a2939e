/* Tasks of one message on their lane: they run as there is room, and the
 * message is settled once, whatever becomes of each. */
#include "tests/worker_fixture.h"

#include <jansson.h>

enum { SEEN_MOST = 32 };

/* Tasks that went to the lane by themselves, and dead letters. */
static struct {
    char ids[SEEN_MOST][TASK_ID_SIZE];
    uint32_t drives[SEEN_MOST];
    size_t n;
    size_t n_dead;
    char dead_payload[512];
    bool short_runs; /* as the worker said last */
} went;

static struct bus_sub *subs[3];

static void
on_routed(void *ctx, const struct bus_note *note)
{
    struct mem_pool *pool = mem_pool_new();
    struct codec_multi tasks;
    struct routed_task rt;
    struct err e;

    (void)ctx;
    if (codec_multi_open(&tasks, CODEC_ROUTED_TASKS, note->data, note->len,
                         &e) < 0)
        memset(&tasks, 0, sizeof tasks);
    if (tasks.alone) {
        assert_true(went.n < SEEN_MOST);
        assert_int_equal(codec_decode(CODEC_ROUTED_TASK, note->data, note->len,
                                      pool, &rt, &e),
                         0);
        (void)str_copy(went.ids[went.n], TASK_ID_SIZE, rt.task->id);
        went.drives[went.n++] = rt.drive;
    }
    codec_multi_close(&tasks);
    mem_pool_free(pool);
}

static void
on_dead(void *ctx, const struct bus_note *note)
{
    struct mem_pool *pool = mem_pool_new();
    struct dead_letter d;
    struct err e;

    (void)ctx;
    assert_int_equal(
        codec_decode(CODEC_DEAD_LETTER, note->data, note->len, pool, &d, &e),
        0);
    assert_true(d.payload.len < sizeof went.dead_payload);
    memcpy(went.dead_payload, d.payload.data, d.payload.len);
    went.dead_payload[d.payload.len] = '\0';
    went.n_dead++;
    mem_pool_free(pool);
}

static void
on_beat(void *ctx, const struct bus_note *note)
{
    struct mem_pool *pool = mem_pool_new();
    struct heartbeat hb;
    struct err e;

    (void)ctx;
    assert_int_equal(
        codec_decode(CODEC_HEARTBEAT, note->data, note->len, pool, &hb, &e), 0);
    went.short_runs = hb.brisk;
    mem_pool_free(pool);
}

static int
begin(void **state)
{
    struct err e;

    (void)state;
    memset(&went, 0, sizeof went);
    if (bus_subscribe(bus, "tasks.local.*", on_routed, NULL, &subs[0], &e) <
            0 ||
        bus_subscribe(bus, "dead.local", on_dead, NULL, &subs[1], &e) < 0 ||
        bus_subscribe(bus, "hb.local.w1", on_beat, NULL, &subs[2], &e) < 0)
        fail_msg("%s", e.msg);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof subs / sizeof *subs; i++)
        bus_unsubscribe(subs[i]);
    return 0;
}

static bool
is_settled(void)
{
    struct str answer = {0};
    json_int_t left = -1;
    json_t *json;
    struct err e;

    if (bus_call(bus, "$JS.API.CONSUMER.INFO.TASKS.local_default", "", 0, 5000,
                 &answer, &e) < 0)
        fail_msg("%s", e.msg);
    json = json_loads(str_text(&answer), 0, NULL);
    assert_non_null(json);
    left = json_integer_value(json_object_get(json, "num_pending")) +
           json_integer_value(json_object_get(json, "num_ack_pending"));
    json_decref(json);
    str_free(&answer);
    return left == 0;
}

/* Runs the loop until nothing of the lane is held against the workers. */
static void
await_settled(void)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;

    while (!is_settled())
        assert_true(loop_now_ms() < until);
}

static void
await_went(size_t n)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    bool never = false;

    while (went.n < n && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    assert_int_equal(went.n, n);
}

static size_t
results_of(const char *task)
{
    size_t n = 0;

    for (size_t i = 0; i < seen.n; i++)
        n += strcmp(seen.r[i].task, task) == 0;
    return n;
}

/* --- what becomes of them ------------------------------------------------- */

static void
all_run_and_the_message_is_settled(void **state)
{
    static const char *const ids[] = {"all0", "all1", "all2", "all3", "all4"};
    struct order o[5], *together[5];
    struct worker_fixture s;

    (void)state;
    open_fixture(&s, 2);
    for (size_t i = 0; i < 5; i++) {
        order(together[i] = &o[i], ids[i], i == 3 ? "exit 7" : "true");
    }
    submit_together(together, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(result(ids[i], 1)->state,
                         i == 3 ? STATE_FAILED : STATE_SUCCEEDED);
        assert_true(result(ids[i], 1)->final);
    }
    await_settled();
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(results_of(ids[i]), 1);
    assert_int_equal(went.n, 0);
    close_fixture(&s);
}

static void
one_that_is_not_over_is_sent_on_by_itself(void **state)
{
    struct order o[3], *together[] = {&o[0], &o[1], &o[2]};
    struct worker_fixture s;

    (void)state;
    open_fixture(&s, 1);
    order(&o[0], "again0", "true");
    order(&o[1], "again1", "exit $((SHUNT_ATTEMPT == 1))");
    o[1].task.retries = 1;
    order(&o[2], "again2", "true");
    submit_together(together, 3);
    assert_int_equal(result("again1", 1)->state, STATE_FAILED);
    assert_false(result("again1", 1)->final);
    assert_int_equal(result("again1", 2)->state, STATE_SUCCEEDED);
    await_settled();
    assert_int_equal(went.n, 1);
    assert_string_equal(went.ids[0], "again1");
    assert_int_equal(went.drives[0], 1);
    /* The others did not come again with it. */
    assert_int_equal(results_of("again0"), 1);
    assert_int_equal(results_of("again2"), 1);
    close_fixture(&s);
}

static void
what_is_none_is_buried_and_the_others_run(void **state)
{
    struct str message = {0}, bytes = {0};
    struct order o;
    struct worker_fixture s;

    (void)state;
    open_fixture(&s, 1);
    for (int i = 0; i < 3; i++) {
        struct routed_task rt = {&o.task, &o.decision, 0};

        order(&o, i ? "bury2" : "bury0", "true");
        str_reset(&bytes);
        codec_encode(CODEC_ROUTED_TASK, &rt, &bytes);
        if (i == 1)
            codec_multi_add(CODEC_ROUTED_TASKS, &message, "nonsense", 8);
        else
            codec_multi_add(CODEC_ROUTED_TASKS, &message, bytes.data,
                            bytes.len);
    }
    (void)store("tasks.local.default", message.data, message.len);
    assert_int_equal(result("bury0", 1)->state, STATE_SUCCEEDED);
    assert_int_equal(result("bury2", 1)->state, STATE_SUCCEEDED);
    await_settled();
    assert_int_equal(went.n_dead, 1);
    assert_string_equal(went.dead_payload, "nonsense");
    message.data[message.len - 1] = '\xff';
    message.len--; /* the last member is cut off */
    (void)store("tasks.local.default", message.data, message.len);
    await_settled();
    assert_int_equal(went.n_dead, 2);
    assert_int_equal(results_of("bury0"), 1);
    str_free(&bytes);
    str_free(&message);
    close_fixture(&s);
}

static void
a_task_that_stands_in_it_twice_runs_once(void **state)
{
    struct order o[2], *together[] = {&o[0], &o[0], &o[1]};
    struct worker_fixture s;

    (void)state;
    open_fixture(&s, 3);
    order(&o[0], "twice", "true");
    order(&o[1], "thrice", "true");
    submit_together(together, 3);
    assert_int_equal(result("twice", 1)->state, STATE_SUCCEEDED);
    assert_int_equal(result("thrice", 1)->state, STATE_SUCCEEDED);
    await_settled();
    assert_int_equal(results_of("twice"), 1);
    close_fixture(&s);
}

/* How long the broker waits for a word about a delivery. */
static void
set_ack_wait(int64_t ms)
{
    char config[512];
    struct str answer = {0};
    struct err e;

    (void)snprintf(config, sizeof config,
                   "{\"stream_name\": \"TASKS\", \"config\": "
                   "{\"durable_name\": \"local_default\", "
                   "\"filter_subject\": \"tasks.local.default\", "
                   "\"deliver_policy\": \"all\", \"ack_policy\": "
                   "\"explicit\", \"ack_wait\": %lld000000, "
                   "\"max_deliver\": -1, \"max_ack_pending\": 20000, "
                   "\"replay_policy\": \"instant\"}}",
                   (long long)ms);
    if (bus_call(bus, "$JS.API.CONSUMER.DURABLE.CREATE.TASKS.local_default",
                 config, strlen(config), 5000, &answer, &e) < 0)
        fail_msg("%s", e.msg);
    if (strstr(str_text(&answer), "\"error\""))
        fail_msg("%s", str_text(&answer));
    str_free(&answer);
}

static void
a_second_delivery_neither_runs_nor_settles_anything(void **state)
{
    struct order o[2], *together[] = {&o[0], &o[1]};
    struct worker_fixture s;

    (void)state;
    open_fixture(&s, 2);
    set_ack_wait(200); /* sooner than the worker says that it is at it */
    order(&o[0], "second0", "sleep 1.5");
    order(&o[1], "second1", "true");
    submit_together(together, 2);
    assert_int_equal(result("second1", 1)->state, STATE_SUCCEEDED);
    assert_int_equal(result("second0", 1)->state, STATE_SUCCEEDED);
    await_settled();
    assert_int_equal(results_of("second0"), 1);
    assert_int_equal(results_of("second1"), 1);
    set_ack_wait(30000);
    close_fixture(&s);
}

static void
those_without_a_slot_are_sent_on_to_others(void **state)
{
    static char other[] = "w2", dir[80];
    char script[600];
    struct order o[3], *together[] = {&o[0], &o[1], &o[2]};
    struct worker_fixture s, s2;
    pid_t pid;

    (void)state;
    open_fixture(&s, 1);
    order(&o[0], "slot0", announcing("sleep 1000", script, sizeof script));
    order(&o[1], "slot1", "true");
    order(&o[2], "slot2", "true");
    submit_together(together, 3);
    pid = announced();
    await_went(2);
    assert_string_equal(went.ids[0], "slot1");
    assert_string_equal(went.ids[1], "slot2");
    (void)snprintf(dir, sizeof dir, "%s/state2", folder);
    open_fixture_in(&s2, other, dir, 1);
    assert_string_equal(result("slot1", 1)->worker, "w2");
    assert_string_equal(result("slot2", 1)->worker, "w2");
    assert_int_equal(kill(pid, 0), 0);
    (void)kill(-pid, SIGKILL);
    assert_int_equal(result("slot0", 1)->state, STATE_FAILED);
    await_settled();
    close_fixture(&s2);
    close_fixture(&s);
}

static void
a_worker_that_stops_leaves_the_rest_to_others(void **state)
{
    static char other[] = "w3", dir[80];
    char script[600];
    struct order o[3], *together[] = {&o[0], &o[1], &o[2]};
    struct worker_fixture s, s2;

    (void)state;
    open_fixture(&s, 1);
    order(&o[0], "stop0", announcing("sleep 1000", script, sizeof script));
    order(&o[1], "stop1", "true");
    order(&o[2], "stop2", "true");
    submit_together(together, 3);
    (void)announced();
    worker_drain(s.worker, 1);
    await_went(2);
    worker_drain(s.worker, 2); /* and hands back the first: it is sent on */
    assert_int_equal(loop_run(loop), 0);
    await_went(3);
    assert_string_equal(went.ids[2], "stop0");
    close_fixture(&s);
    assert_true(results_of("stop1") == 0 && results_of("stop2") == 0);
    (void)snprintf(dir, sizeof dir, "%s/state3", folder);
    open_fixture_in(&s2, other, dir, 3);
    assert_int_equal(result("stop1", 1)->state, STATE_SUCCEEDED);
    assert_int_equal(result("stop2", 1)->state, STATE_SUCCEEDED);
    (void)announced(); /* the first runs again */
    worker_drain(s2.worker, 2);
    assert_int_equal(loop_run(loop), 0);
    close_fixture(&s2);
}

/* --- what the worker says of itself --------------------------------------- */

static void
await_brisk(bool short_runs)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    bool never = false;

    while (went.short_runs != short_runs && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    assert_int_equal(went.short_runs, short_runs);
}

static void
short_runs_are_told_and_a_long_one_ends_that(void **state)
{
    struct order o, *one = &o;
    struct worker_fixture s;
    char id[24];

    (void)state;
    open_fixture(&s, 2);
    /* As many as it takes: how long a run of true takes is the machine's. */
    for (unsigned i = 0; !went.short_runs && i < RESULTS_MAX / 2; i++) {
        (void)snprintf(id, sizeof id, "short%u", i);
        order(&o, id, "true");
        o.steps[0].kind = STEP_ARGV;
        o.steps[0].argv = (const char *[]){"true"};
        o.steps[0].n_argv = 1;
        submit_together(&one, 1);
        (void)result(id, 1);
    }
    await_brisk(true);
    submit_sh("long", "sleep 2");
    (void)result("long", 1);
    await_brisk(false);
    close_fixture(&s);
}

#define PARCEL_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        PARCEL_TEST(all_run_and_the_message_is_settled),
        PARCEL_TEST(one_that_is_not_over_is_sent_on_by_itself),
        PARCEL_TEST(what_is_none_is_buried_and_the_others_run),
        PARCEL_TEST(a_task_that_stands_in_it_twice_runs_once),
        PARCEL_TEST(a_second_delivery_neither_runs_nor_settles_anything),
        PARCEL_TEST(those_without_a_slot_are_sent_on_to_others),
        PARCEL_TEST(short_runs_are_told_and_a_long_one_ends_that),
        PARCEL_TEST(a_worker_that_stops_leaves_the_rest_to_others),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
