/*
 * router_fixture - a router on a real broker, in this process, and what goes
 * past: routed tasks, rejections, dead letters.
 *
 * For one test program: it has its own copy of everything.
 */
#ifndef TESTS_ROUTER_FIXTURE_H
#define TESTS_ROUTER_FIXTURE_H

#include "router/router.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
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

struct router_holder {
    struct router_conf conf;
};

static const struct conf_opt options[] = {
    ROUTER_CONF(struct router_holder, conf), CONF_END};

/* What went past on a subject. */
struct router_seen {
    char subject[64], id[TASK_ID_SIZE], text[512], policy[32];
    char of[32];    /* of a dead letter: where its message stood */
    size_t members; /* of the message it came in */
    size_t payload_len;
    uint64_t payload_bytes;
};

struct router_fixture {
    struct broker *broker;
    struct loop *loop;
    struct bus *bus, *router_bus;
    struct router *router;
    struct router_holder h;
    struct bus_sub *subs[3];
    struct router_seen seen[512];
    size_t n_seen;
    size_t want; /* news waited for */
    bool reached;
    size_t n_stored;
};

static inline void
note_seen(struct router_fixture *f, const struct bus_note *note, const char *id,
          const char *text)
{
    struct router_seen *s = &f->seen[f->n_seen];

    assert_true(f->n_seen < sizeof f->seen / sizeof *f->seen);
    (void)str_copy(s->subject, sizeof s->subject, note->subject);
    (void)str_copy(s->id, sizeof s->id, id);
    (void)str_copy(s->text, sizeof s->text, text);
    f->n_seen++;
    f->reached = f->n_seen >= f->want;
}

static inline void
on_task(void *ctx, const struct bus_note *note)
{
    struct mem_pool *p = mem_pool_new();
    struct router_fixture *f = ctx;
    struct codec_multi tasks;
    struct routed_task rt;
    struct bytes data;
    struct err e = {0};

    if (codec_multi_open(&tasks, CODEC_ROUTED_TASKS, note->data, note->len,
                         &e) < 0)
        fail_msg("%s", e.msg);
    while (codec_multi_next(&tasks, &data)) {
        if (codec_decode(CODEC_ROUTED_TASK, data.data, data.len, p, &rt, &e) <
            0)
            fail_msg("%s", e.msg);
        f->seen[f->n_seen].members = tasks.count;
        note_seen(f, note, rt.task->id, rt.decision->rule);
    }
    codec_multi_close(&tasks);
    mem_pool_free(p);
}

static inline void
on_result(void *ctx, const struct bus_note *note)
{
    struct mem_pool *p = mem_pool_new();
    struct result r;
    struct err e = {0};

    if (codec_decode(CODEC_RESULT, note->data, note->len, p, &r, &e) < 0)
        fail_msg("%s", e.msg);
    assert_true(r.state == STATE_REJECTED || r.state == STATE_CANCELLED);
    assert_true(r.final);
    assert_int_equal(r.attempt, 0);
    assert_string_equal(r.backend, "router");
    note_seen(ctx, note, r.task, r.reason);
    mem_pool_free(p);
}

static inline void
on_dead(void *ctx, const struct bus_note *note)
{
    struct mem_pool *p = mem_pool_new();
    struct router_fixture *f = ctx;
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

static inline void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct router_fixture *f = ctx;

    if (e)
        fail_msg("%s", e->msg);
    assert_non_null(stored);
    f->n_stored++;
}

static inline void
submit(struct router_fixture *f, const char *id, const void *data, size_t len)
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

static inline void
submit_text(struct router_fixture *f, const char *id, const char *text)
{
    submit(f, id, text, strlen(text));
}

static inline void
submit_bulk(struct router_fixture *f, const void *data, size_t len)
{
    struct bus_publication p = {.subject = SUBJECT_TASKS_BULK,
                                .data = data,
                                .len = len,
                                .expect = BUS_ANY_REVISION};

    bus_publish(f->bus, &p, WAIT_MS, on_stored, f);
}

/* Waits until n messages in all went past. */
static inline void
await(struct router_fixture *f, size_t n)
{
    f->want = n;
    f->reached = f->n_seen >= n;
    if (!loop_until(f->loop, &f->reached, WAIT_MS))
        fail_msg("%zu of %zu messages came", f->n_seen, n);
}

static inline const struct router_seen *
find_seen(const struct router_fixture *f, const char *subject, const char *id)
{
    for (size_t i = 0; i < f->n_seen; i++)
        if (strcmp(f->seen[i].subject, subject) == 0 &&
            strcmp(f->seen[i].id, id) == 0)
            return &f->seen[i];
    return NULL;
}

/* Has the broker deliver again after two seconds instead of thirty, so that a
 * test need not wait for what a kill took with it. */
static inline void
hasten(struct router_fixture *f)
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
static inline void
await_stored(struct router_fixture *f, size_t n)
{
    bool never = false;
    int64_t until = loop_now_ms() + WAIT_MS;

    while (f->n_stored < n && loop_now_ms() < until)
        (void)loop_until(f->loop, &never, 20);
    assert_int_equal(f->n_stored, n);
}

/* Waits until the broker holds nothing of TASKS_IN against the router. */
static inline void
await_settled(struct router_fixture *f)
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

static inline struct bus *
connect_as(struct router_fixture *f, const char *role)
{
    struct bus *b = NULL;
    struct err e = {0};

    if (bus_open(&b, f->loop, &f->h.conf.bus, role, 10000, &e) < 0)
        fail_msg("%s", e.msg);
    return b;
}

static inline void
start_router(struct router_fixture *f)
{
    struct err e = {0};

    f->router_bus = connect_as(f, "router");
    if (router_open(&f->router, f->router_bus, f->loop, &f->h.conf, &e) < 0)
        fail_msg("%s", e.msg);
}

static inline void
stop_router(struct router_fixture *f)
{
    router_close(f->router);
    bus_close(f->router_bus);
    f->router = NULL;
    f->router_bus = NULL;
}

static inline int
setup(void **state)
{
    static const struct jetstream_conf top = {.replicas = 1,
                                              .max_bytes = 64 << 20,
                                              .max_age_ms = 3600000,
                                              .log_retention_ms = 3600000,
                                              .log_max_bytes = 64 << 20};
    char *argv[] = {(char *)"test", (char *)"--config=/dev/null"};
    struct router_fixture *f = MEM_NEW(struct router_fixture);
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
    if (jetstream_provision(f->bus, &top,
                            &(struct jetstream_rules){.change = true,
                                                      .allow_shrink = true,
                                                      .by = "test"},
                            NULL, NULL, &e) < 0)
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

static inline int
teardown(void **state)
{
    struct router_fixture *f = *state;

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

static inline void
send_beat(struct router_fixture *f, const char *subject, const char *backend,
          const char *worker, bool short_runs)
{
    const char *lanes[] = {"default"};
    struct heartbeat hb;
    struct str data = {0};

    codec_init(CODEC_HEARTBEAT, &hb);
    hb.worker = worker;
    hb.backend = backend;
    hb.lanes = lanes;
    hb.n_lanes = 1;
    hb.brisk = short_runs;
    codec_encode(CODEC_HEARTBEAT, &hb, &data);
    bus_publish_core(f->bus, subject, data.data, data.len);
    str_free(&data);
}

/* Sends a heartbeat for subject's worker that claims to be backend's. */
static inline void
beat(struct router_fixture *f, const char *subject, const char *backend)
{
    send_beat(f, subject, backend, "w1", false);
}

static inline void
submit_many(struct router_fixture *f, const char *prefix, int n)
{
    char id[32], text[128];

    for (int i = 0; i < n; i++) {
        (void)snprintf(id, sizeof id, "%s%d", prefix, i);
        (void)snprintf(text, sizeof text,
                       "{\"id\": \"%s\", \"steps\": [\"ls\"]}", id);
        submit_text(f, id, text);
    }
}

/* Each of n tasks was seen on its lane. */
static inline void
expect_all(struct router_fixture *f, const char *prefix, int n)
{
    char id[32];

    for (int i = 0; i < n; i++) {
        (void)snprintf(id, sizeof id, "%s%d", prefix, i);
        if (!find_seen(f, "tasks.local.default", id))
            fail_msg("%s was lost", id);
    }
}

/* Messages of a stream, as the broker counts them. */
static inline json_int_t
messages_of(struct router_fixture *f, const char *stream)
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

static inline void
first_term(void *ctx)
{
    struct router_fixture *f = ctx;

    router_drain(f->router, 1);
}

static inline void
second_term(void *ctx)
{
    struct router_fixture *f = ctx;

    router_drain(f->router, 2);
}

/* Runs the loop with a signal that has just come. */
static inline int
run_with(struct router_fixture *f, loop_fn *term)
{
    struct loop_timer *t = loop_timer_start(f->loop, 0, 0, term, f);
    int rc = loop_run(f->loop);

    loop_timer_stop(t);
    return rc;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
