#include "router/router.h"

#include "lib/codec.h"
#include "lib/log.h"
#include "lib/str.h"
#include "lib/subject.h"
#include "lib/topology.h"
#include "tests/broker.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WAIT_MS = 20000 };

struct holder {
    struct router_conf conf;
};

static const struct conf_opt options[] = {ROUTER_CONF(struct holder, conf),
                                          CONF_END};

/* What went past on a subject. */
struct seen {
    char subject[64], id[TASK_ID_SIZE], text[512], policy[32];
    char of[32]; /* of a dead letter: where its message stood */
    size_t payload_len;
    uint64_t payload_bytes;
};

struct fixture {
    struct broker *broker;
    struct loop *loop;
    struct bus *bus, *router_bus;
    struct router *router;
    struct holder h;
    struct bus_sub *subs[3];
    struct seen seen[512];
    size_t n_seen;
    size_t want; /* news waited for */
    bool reached;
    size_t n_stored;
};

static void
note_seen(struct fixture *f, const struct bus_note *note, const char *id,
          const char *text)
{
    struct seen *s = &f->seen[f->n_seen];

    assert_true(f->n_seen < sizeof f->seen / sizeof *f->seen);
    (void)str_copy(s->subject, sizeof s->subject, note->subject);
    (void)str_copy(s->id, sizeof s->id, id);
    (void)str_copy(s->text, sizeof s->text, text);
    f->n_seen++;
    f->reached = f->n_seen >= f->want;
}

static void
on_task(void *ctx, const struct bus_note *note)
{
    struct mem_pool *p = mem_pool_new();
    struct fixture *f = ctx;
    struct routed_task rt;
    struct err e = {0};

    if (codec_decode(CODEC_ROUTED_TASK, note->data, note->len, p, &rt, &e) < 0)
        fail_msg("%s", e.msg);
    note_seen(f, note, rt.task->id, rt.decision->rule);
    mem_pool_free(p);
}

static void
on_result(void *ctx, const struct bus_note *note)
{
    struct mem_pool *p = mem_pool_new();
    struct result r;
    struct err e = {0};

    if (codec_decode(CODEC_RESULT, note->data, note->len, p, &r, &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(r.state, STATE_REJECTED);
    assert_true(r.final);
    assert_int_equal(r.attempt, 0);
    assert_string_equal(r.backend, "router");
    note_seen(ctx, note, r.task, r.reason);
    mem_pool_free(p);
}

static void
on_dead(void *ctx, const struct bus_note *note)
{
    struct mem_pool *p = mem_pool_new();
    struct fixture *f = ctx;
    struct dead_letter d;
    struct err e = {0};

    if (codec_decode(CODEC_DEAD_LETTER, note->data, note->len, p, &d, &e) < 0)
        fail_msg("%s", e.msg);
    assert_string_equal(d.process, "router");
    (void)str_copy(f->seen[f->n_seen].of, sizeof f->seen->of, d.subject);
    f->seen[f->n_seen].payload_len = d.payload.len;
    f->seen[f->n_seen].payload_bytes = d.payload_bytes;
    note_seen(f, note, d.task, d.reason);
    mem_pool_free(p);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct fixture *f = ctx;

    if (e)
        fail_msg("%s", e->msg);
    assert_non_null(stored);
    f->n_stored++;
}

static void
submit(struct fixture *f, const char *id, const void *data, size_t len)
{
    struct bus_publication p = {.subject = SUBJECT_TASKS_IN,
                                .id = id,
                                .data = data,
                                .len = len,
                                .expect = BUS_ANY_REVISION};

    if (id)
        bus_publish_until(f->bus, &p, on_stored, f);
    else
        bus_publish(f->bus, &p, WAIT_MS, on_stored, f);
}

static void
submit_text(struct fixture *f, const char *id, const char *text)
{
    submit(f, id, text, strlen(text));
}

static void
submit_bulk(struct fixture *f, const void *data, size_t len)
{
    struct bus_publication p = {.subject = SUBJECT_TASKS_BULK,
                                .data = data,
                                .len = len,
                                .expect = BUS_ANY_REVISION};

    bus_publish(f->bus, &p, WAIT_MS, on_stored, f);
}

/* Waits until n messages in all went past. */
static void
await(struct fixture *f, size_t n)
{
    f->want = n;
    f->reached = f->n_seen >= n;
    if (!loop_until(f->loop, &f->reached, WAIT_MS))
        fail_msg("%zu of %zu messages came", f->n_seen, n);
}

static const struct seen *
find_seen(const struct fixture *f, const char *subject, const char *id)
{
    for (size_t i = 0; i < f->n_seen; i++)
        if (strcmp(f->seen[i].subject, subject) == 0 &&
            strcmp(f->seen[i].id, id) == 0)
            return &f->seen[i];
    return NULL;
}

/* Has the broker deliver again after two seconds instead of thirty, so that a
 * test need not wait for what a kill took with it. */
static void
hasten(struct fixture *f)
{
    static const char config[] =
        "{\"stream_name\": \"TASKS_IN\", \"config\": {\"durable_name\": "
        "\"router\", \"deliver_policy\": \"all\", \"ack_policy\": "
        "\"explicit\", \"ack_wait\": 2000000000, \"max_deliver\": -1, "
        "\"max_ack_pending\": 1024, \"replay_policy\": \"instant\"}}";
    struct str answer = {0};
    struct err e = {0};

    if (bus_call(f->bus, "$JS.API.CONSUMER.DURABLE.CREATE.TASKS_IN.router",
                 config, sizeof config - 1, 5000, &answer, &e) < 0)
        fail_msg("%s", e.msg);
    if (strstr(str_text(&answer), "\"error\""))
        fail_msg("%s", str_text(&answer));
    str_free(&answer);
}

/* Waits until n of our submissions are on tasks.in. */
static void
await_stored(struct fixture *f, size_t n)
{
    bool never = false;
    int64_t until = loop_now_ms() + WAIT_MS;

    while (f->n_stored < n && loop_now_ms() < until)
        (void)loop_until(f->loop, &never, 20);
    assert_int_equal(f->n_stored, n);
}

/* Waits until the broker holds nothing of TASKS_IN against the router. */
static void
await_settled(struct fixture *f)
{
    int64_t until = loop_now_ms() + WAIT_MS;
    json_int_t open = -1;

    while (open != 0 && loop_now_ms() < until) {
        struct str answer = {0};
        struct err e = {0};
        json_t *json;

        open = -1;
        if (bus_call(f->bus, "$JS.API.CONSUMER.INFO.TASKS_IN.router", "", 0,
                     2000, &answer, &e) == 0) {
            json = json_loads(str_text(&answer), 0, NULL);
            open = json_integer_value(json_object_get(json, "num_pending")) +
                   json_integer_value(json_object_get(json, "num_ack_pending"));
            json_decref(json);
        }
        str_free(&answer);
    }
    assert_int_equal(open, 0);
}

static struct bus *
connect_as(struct fixture *f, const char *role)
{
    struct bus *b = NULL;
    struct err e = {0};

    if (bus_open(&b, f->loop, &f->h.conf.bus, role, 10000, &e) < 0)
        fail_msg("%s", e.msg);
    return b;
}

static void
start_router(struct fixture *f)
{
    struct err e = {0};

    f->router_bus = connect_as(f, "router");
    if (router_open(&f->router, f->router_bus, f->loop, &f->h.conf, &e) < 0)
        fail_msg("%s", e.msg);
}

static void
stop_router(struct fixture *f)
{
    router_close(f->router);
    bus_close(f->router_bus);
    f->router = NULL;
    f->router_bus = NULL;
}

static int
setup(void **state)
{
    static const struct topology_conf top = {.replicas = 1,
                                             .max_bytes = 64 << 20,
                                             .max_age_ms = 3600000,
                                             .log_retention_ms = 3600000,
                                             .log_max_bytes = 64 << 20};
    char *argv[] = {(char *)"test", (char *)"--config=/dev/null"};
    struct fixture *f = MEM_NEW(struct fixture);
    struct err e = {0};
    char *url;

    log_level_set(LOG_ERROR);
    if (conf_load(&f->h, options, "", 2, argv, &e) < 0)
        fail_msg("%s", e.msg);
    f->broker = broker_start();
    url = mem_strdup(broker_url(f->broker));
    mem_free(f->h.conf.bus.url);
    f->h.conf.bus.url = url;
    assert_int_equal(loop_open(&f->loop, &e), 0);
    f->bus = connect_as(f, "test");
    if (topology_provision(f->bus, &top, NULL, NULL, &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(
        bus_subscribe(f->bus, "tasks.*.*", on_task, f, &f->subs[0], &e), 0);
    assert_int_equal(bus_subscribe(f->bus, "results.router.*", on_result, f,
                                   &f->subs[1], &e),
                     0);
    assert_int_equal(
        bus_subscribe(f->bus, "dead.router", on_dead, f, &f->subs[2], &e), 0);
    start_router(f);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    stop_router(f);
    for (int i = 0; i < 3; i++)
        bus_unsubscribe(f->subs[i]);
    bus_forget(f->bus, f);
    bus_close(f->bus);
    loop_close(f->loop);
    broker_stop(f->broker);
    conf_free(&f->h, options);
    mem_free(f);
    return 0;
}

static void
a_task_goes_to_its_lane_and_is_settled(void **state)
{
    struct fixture *f = *state;
    const struct seen *s;
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
    struct fixture *f = *state;

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
    struct fixture *f = *state;
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
    struct fixture *f = *state;

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
    struct fixture *f = *state;

    submit_text(f, "t1",
                "{\"id\": \"t1\", \"steps\": [\"ls\"], \"hold\": true}");
    submit_text(f, "t2", "{\"id\": \"t2\", \"steps\": [\"ls\"]}");
    await(f, 1);
    await_settled(f);
    assert_int_equal(f->n_seen, 1);
    assert_string_equal(f->seen[0].id, "t2");
}

/* Sends a heartbeat for subject's worker that claims to be backend's. */
static void
beat(struct fixture *f, const char *subject, const char *backend)
{
    const char *lanes[] = {"default"};
    struct heartbeat hb;
    struct str data = {0};

    codec_init(CODEC_HEARTBEAT, &hb);
    hb.worker = "w1";
    hb.backend = backend;
    hb.lanes = lanes;
    hb.n_lanes = 1;
    codec_encode(CODEC_HEARTBEAT, &hb, &data);
    bus_send(f->bus, subject, data.data, data.len);
    str_free(&data);
}

static void
heartbeats_say_where_the_cloud_is(void **state)
{
    struct fixture *f = *state;
    char text[128], id[32];
    size_t n = 0;

    submit_text(f, "a0", "{\"id\": \"a0\", \"steps\": [\"make build\"]}");
    await(f, ++n);
    assert_string_equal(f->seen[0].subject, "tasks.local.default");
    bus_send(f->bus, "hb.codespace.w1", "\xff\xff", 2);
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
    struct fixture *f = *state;
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

/* Each of n tasks was seen on its lane. */
static void
expect_all(struct fixture *f, const char *prefix, int n)
{
    char id[32];

    for (int i = 0; i < n; i++) {
        (void)snprintf(id, sizeof id, "%s%d", prefix, i);
        if (!find_seen(f, "tasks.local.default", id))
            fail_msg("%s was lost", id);
    }
}

static void
submit_many(struct fixture *f, const char *prefix, int n)
{
    char id[32], text[128];

    for (int i = 0; i < n; i++) {
        (void)snprintf(id, sizeof id, "%s%d", prefix, i);
        (void)snprintf(text, sizeof text,
                       "{\"id\": \"%s\", \"steps\": [\"ls\"]}", id);
        submit_text(f, id, text);
    }
}

/* Messages of a stream, as the broker counts them. */
static json_int_t
messages_of(struct fixture *f, const char *stream)
{
    struct str answer = {0};
    struct err e = {0};
    char subject[64];
    json_int_t n;
    json_t *json;

    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", stream);
    if (bus_call(f->bus, subject, "", 0, 5000, &answer, &e) < 0)
        fail_msg("%s", e.msg);
    json = json_loads(str_text(&answer), 0, NULL);
    n = json_integer_value(
        json_object_get(json_object_get(json, "state"), "messages"));
    json_decref(json);
    str_free(&answer);
    return n;
}

static void
first_term(void *ctx)
{
    struct fixture *f = ctx;

    router_drain(f->router, 1);
}

static void
second_term(void *ctx)
{
    struct fixture *f = ctx;

    router_drain(f->router, 2);
}

/* Runs the loop with a signal that has just come. */
static int
run_with(struct fixture *f, loop_fn *term)
{
    struct loop_timer *t = loop_timer_start(f->loop, 0, 0, term, f);
    int rc = loop_run(f->loop);

    loop_timer_stop(t);
    return rc;
}

/* --- many in one message ------------------------------------------------- */

static void
many_in_one_message_are_judged_one_by_one(void **state)
{
    static const char bad[] =
        "{\"id\": \"b2\", \"lane\": \"a b\", \"steps\": [\"true\"]}";
    static const char *const members[] = {
        "{\"id\": \"b1\", \"steps\": [\"true\"]}", bad,
        "{\"name\": \"anonymous\", \"steps\": [\"true\"]}",
        "{\"id\": \"b4\", \"steps\": [\"true\"]}"};
    struct fixture *f = *state;
    struct str message = {0};
    const struct seen *dead, *rejected;
    size_t tasks = 0;

    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        codec_bulk_add(CODEC_TASKS, &message, members[i], strlen(members[i]));
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
    struct fixture *f = *state;

    submit_bulk(f, json, strlen(json));
    await(f, 2);
    await_settled(f);
    assert_non_null(find_seen(f, "tasks.local.default", "j1"));
    assert_non_null(find_seen(f, "tasks.local.default", "j2"));
}

static void
a_message_of_many_that_is_none_leaves_one_dead_letter(void **state)
{
    struct fixture *f = *state;

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

/* n tasks <prefix>0, <prefix>1 ... in one message. */
static void
submit_many_as_one(struct fixture *f, const char *prefix, size_t n)
{
    struct str message = {0};
    char text[96];

    for (size_t i = 0; i < n; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"id\": \"%s%zu\", \"steps\": [\"true\"]}", prefix, i);
        codec_bulk_add(CODEC_TASKS, &message, text, strlen(text));
    }
    submit_bulk(f, message.data, message.len);
    str_free(&message);
}

static void
a_message_of_more_than_the_window_goes_through_in_its_order(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;

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
    struct fixture *f = *state;

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

static void
a_broker_that_is_killed_costs_no_task(void **state)
{
    struct fixture *f = *state;

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
    struct fixture *f = *state;

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
    struct fixture *f = *state;

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
    struct fixture *f = *state;

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
    struct fixture *f = *state;

    submit_many(f, "d", 50);
    await(f, 1);
    assert_int_equal(run_with(f, second_term), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_task_goes_to_its_lane_and_is_settled),
        TEST(a_bad_message_leaves_a_dead_letter_and_a_rejection),
        TEST(a_large_bad_message_is_cut_but_its_size_is_kept),
        TEST(a_rejected_decision_is_a_result_and_no_dead_letter),
        TEST(a_held_task_is_settled_and_goes_nowhere),
        TEST(heartbeats_say_where_the_cloud_is),
        TEST(a_router_that_starts_asks_who_is_there),
        TEST(many_in_one_message_are_judged_one_by_one),
        TEST(many_may_come_as_json),
        TEST(a_message_of_many_that_is_none_leaves_one_dead_letter),
        TEST(a_message_of_more_than_the_window_goes_through_in_its_order),
        TEST(a_message_of_many_survives_its_router_and_its_broker),
        TEST(term_finishes_a_message_of_many),
        TEST(a_broker_that_is_killed_costs_no_task),
        TEST(a_router_that_is_cut_off_leaves_its_tasks_to_the_next),
        TEST(term_finishes_what_is_in_hand_and_takes_nothing_new),
        TEST(term_with_the_broker_away_does_not_wait_for_ever),
        TEST(a_second_term_stops_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
