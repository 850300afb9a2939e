#include "router/router.h"

#include "lib/codec.h"
#include "lib/log.h"
#include "lib/str.h"
#include "lib/subject.h"
#include "lib/topology.h"
#include "router/fleet.h"
#include "router/judge.h"
#include "router/policy.h"
#include "tests/broker.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WAIT_MS = 20000, NOW_MS = 1700000000 };

struct holder {
    struct router_conf conf;
};

static const struct conf_opt options[] = {ROUTER_CONF(struct holder, conf),
                                          CONF_END};

/* --- judge ---------------------------------------------------------------- */

static struct mem_pool *pool;
static char extra_lane[] = "local.gpu";
static char *extra_lanes[] = {extra_lane, NULL};

static int
new_pool(void **state)
{
    (void)state;
    pool = mem_pool_new();
    return 0;
}

static int
free_pool(void **state)
{
    (void)state;
    mem_pool_free(pool);
    return 0;
}

static struct judgement
judge_arrival(const struct arrival *a)
{
    struct rules_of_house rules = {policy_default(), extra_lanes};
    struct facts facts = {.known = true, .codespace_available = true};
    struct judgement j;

    judge(a, &rules, &facts, NOW_MS, pool, &j);
    return j;
}

static struct judgement
judge_text(const char *text)
{
    struct arrival a = {.data = text,
                        .len = strlen(text),
                        .id = "",
                        .seq = 7,
                        .delivered = 1,
                        .stored_at_ms = NOW_MS - 5};

    return judge_arrival(&a);
}

static void
a_good_task_is_completed_and_routed(void **state)
{
    struct judgement j =
        judge_text("{\"id\": \"t1\", \"steps\": [\"cloud: ls\"]}");

    (void)state;
    assert_int_equal(j.verdict, VERDICT_ROUTE);
    assert_string_equal(j.id, "t1");
    assert_string_equal(j.source, "cli");
    assert_string_equal(j.decision.backend, "codespace");
    assert_int_equal(j.decision.decided_at_ms, NOW_MS);
    assert_int_equal(j.task.submitted_at_ms, NOW_MS - 5);
    assert_true(*j.task.name);
    assert_string_equal(j.task.steps[0].script, "ls");
}

static void
a_task_without_an_id_gets_one_that_every_reader_derives(void **state)
{
    static const char text[] = "{\"steps\": [\"ls\"]}";
    struct arrival a = {.data = text,
                        .len = sizeof text - 1,
                        .id = "",
                        .seq = 7,
                        .delivered = 1,
                        .stored_at_ms = NOW_MS - 5};
    char derived[TASK_ID_SIZE];

    (void)state;
    task_id_from_message(7, NOW_MS - 5, text, sizeof text - 1, derived);
    assert_string_equal(judge_arrival(&a).id, derived);
    a.id = "given";
    assert_string_equal(judge_arrival(&a).id, "given");
    a.id = "no token";
    assert_string_equal(judge_arrival(&a).id, derived);
}

static void
what_waits_is_left_to_the_ledger(void **state)
{
    (void)state;
    assert_int_equal(
        judge_text("{\"steps\": [\"ls\"], \"hold\": true}").verdict,
        VERDICT_LEAVE);
    assert_int_equal(
        judge_text("{\"steps\": [\"ls\"], \"after\": [\"x\"]}").verdict,
        VERDICT_LEAVE);
    /* also a time that has passed: the ledger parked it all the same */
    assert_int_equal(
        judge_text("{\"steps\": [\"ls\"], \"not_before_ms\": 1}").verdict,
        VERDICT_LEAVE);
    assert_int_equal(
        judge_text("{\"steps\": [\"ls\"], \"not_before_ms\": 0}").verdict,
        VERDICT_ROUTE);
}

static void
a_lane_must_exist(void **state)
{
    struct judgement j =
        judge_text("{\"steps\": [\"ls\"], \"lane\": \"nowhere\"}");

    (void)state;
    assert_int_equal(j.verdict, VERDICT_REJECT);
    assert_non_null(strstr(j.reason, "there is no lane local.nowhere; there "
                                     "are local.default, "));
    assert_non_null(strstr(j.reason, ", local.gpu"));
    j = judge_text("{\"steps\": [\"ls\"], \"backend\": \"local\", \"lane\": "
                   "\"gpu\"}");
    assert_int_equal(j.verdict, VERDICT_ROUTE);
}

static void
a_bad_message_is_dead_and_its_id_is_read_if_it_can_be(void **state)
{
    static const unsigned char garbage[] = {0xff, 0x00, '{', 0x80};
    struct arrival a = {
        .data = garbage, .len = sizeof garbage, .id = "", .delivered = 1};
    struct judgement j =
        judge_text("{\"id\": \"t2\", \"source\": \"github\", \"steps\": 3}");

    (void)state;
    assert_int_equal(j.verdict, VERDICT_DEAD);
    assert_string_equal(j.id, "t2");
    assert_string_equal(j.source, "github");
    assert_non_null(strstr(j.reason, "steps"));

    j = judge_text("{\"id\": \"../x\", \"source\": \"a.b\"}");
    assert_int_equal(j.verdict, VERDICT_DEAD);
    assert_string_equal(j.id, "");
    assert_string_equal(j.source, "cli");

    j = judge_arrival(&a);
    assert_int_equal(j.verdict, VERDICT_DEAD);
    assert_string_equal(j.id, "");
    a.id = "from-header";
    assert_string_equal(judge_arrival(&a).id, "from-header");
    a.len = 0;
    assert_int_equal(judge_arrival(&a).verdict, VERDICT_DEAD);
}

static void
the_twenty_first_delivery_is_dead_before_it_is_parsed(void **state)
{
    static const char text[] = "{\"id\": \"t3\", \"steps\": [\"ls\"]}";
    struct arrival a = {.data = text,
                        .len = sizeof text - 1,
                        .id = "hdr",
                        .delivered = JUDGE_DELIVERIES_MAX};

    (void)state;
    assert_int_equal(judge_arrival(&a).verdict, VERDICT_ROUTE);
    a.delivered++;
    assert_int_equal(judge_arrival(&a).verdict, VERDICT_DEAD);
    assert_string_equal(judge_arrival(&a).id, "hdr");
}

/* --- fleet ---------------------------------------------------------------- */

static void
hear(struct fleet *f, const char *backend, const char *worker, uint32_t running,
     int64_t now_ms)
{
    struct heartbeat hb = {
        .backend = backend, .worker = worker, .running_count = running};

    fleet_hear(f, &hb, now_ms);
}

static void
running_tasks_of_local_workers_add_up_until_they_fall_silent(void **state)
{
    struct fleet *f = fleet_new();
    struct facts facts;

    (void)state;
    fleet_facts(f, 1000, &facts);
    assert_true(facts.known);
    assert_int_equal(facts.running_local, 0);
    hear(f, "local", "a", 2, 1000);
    hear(f, "local", "b", 3, 9000);
    hear(f, "codespace", "a", 5, 1000);
    fleet_facts(f, 9000, &facts);
    assert_int_equal(facts.running_local, 5);
    assert_true(facts.codespace_available);
    assert_false(facts.secutools_available);
    hear(f, "local", "a", 1, 2000);
    fleet_facts(f, 9000, &facts);
    assert_int_equal(facts.running_local, 4);
    fleet_facts(f, 31001, &facts);
    assert_false(facts.codespace_available);
    assert_int_equal(facts.running_local, 4);
    fleet_facts(f, 32001, &facts);
    assert_int_equal(facts.running_local, 3);
    fleet_facts(f, 99000, &facts);
    assert_int_equal(fleet_size(f), 0);
    fleet_free(f);
}

static void
a_worker_that_stops_or_drains_is_not_available(void **state)
{
    struct heartbeat hb = {.backend = "secutools", .worker = "w"};
    struct fleet *f = fleet_new();
    struct facts facts;

    (void)state;
    fleet_hear(f, &hb, 0);
    fleet_facts(f, 0, &facts);
    assert_true(facts.secutools_available);
    hb.draining = true;
    fleet_hear(f, &hb, 0);
    fleet_facts(f, 0, &facts);
    assert_false(facts.secutools_available);
    hb.stopped = true;
    fleet_hear(f, &hb, 0);
    assert_int_equal(fleet_size(f), 0);
    fleet_hear(f, &hb, 0); /* unknown by now */
    assert_int_equal(fleet_size(f), 0);
    fleet_free(f);
}

static void
the_fleet_is_bounded_and_sums_do_not_overflow(void **state)
{
    struct fleet *f = fleet_new();
    struct facts facts;
    char name[16];

    (void)state;
    for (int i = 0; i < FLEET_MAX + 10; i++) {
        (void)snprintf(name, sizeof name, "w%d", i);
        hear(f, "local", name, UINT32_MAX, 0);
    }
    assert_int_equal(fleet_size(f), FLEET_MAX);
    fleet_facts(f, 0, &facts);
    assert_int_equal(facts.running_local, UINT32_MAX);
    hear(f, "local", "late", 1, FLEET_SILENT_MS + 1); /* the silent make room */
    assert_int_equal(fleet_size(f), 1);
    hear(f, "local", "no token", 1, 0);
    hear(f, "", "", 1, 0);
    assert_int_equal(fleet_size(f), 1);
    fleet_free(f);
}

/* --- policy --------------------------------------------------------------- */

/* Loads a configuration from words like "--router-threshold=3". */
static void
configure(struct holder *h, const char *first, const char *second)
{
    char *argv[] = {(char *)"test", (char *)"--config=/dev/null", (char *)first,
                    (char *)second};
    struct err e = {0};
    int argc = second ? 4 : first ? 3 : 2;

    *h = (struct holder){0};
    if (conf_load(h, options, "", argc, argv, &e) < 0)
        fail_msg("%s", e.msg);
}

static void
the_default_configuration_is_the_shipped_policy(void **state)
{
    struct holder h;
    struct policy p;
    struct err e = {0};

    (void)state;
    configure(&h, NULL, NULL);
    assert_int_equal(policy_from_conf(&h.conf, pool, &p, &e), 0);
    assert_string_equal(p.version, policy_default()->version);
    assert_int_equal(p.threshold, 2);
    assert_int_equal(p.n_executors, 3);
    conf_free(&h, options);

    configure(&h, "--router-threshold=3", "--router-executors=x=local.gpu");
    assert_int_equal(policy_from_conf(&h.conf, pool, &p, &e), 0);
    assert_string_not_equal(p.version, policy_default()->version);
    assert_int_equal(p.threshold, 3);
    assert_int_equal(p.n_executors, 1);
    assert_string_equal(p.executors[0].executor, "x");
    assert_string_equal(p.executors[0].backend, "local");
    assert_string_equal(p.executors[0].lane, "gpu");
    conf_free(&h, options);
}

static void
a_policy_that_makes_no_sense_is_refused(void **state)
{
    static const char *const words[] = {"--router-when-unavailable=perhaps",
                                        "--router-executors=x",
                                        "--router-executors=x=gke.default",
                                        "--router-executors==local.x",
                                        "--router-executors=x=local.",
                                        "--router-backends=gke",
                                        "--bus-lanes=local",
                                        "--bus-lanes=local.a.b",
                                        "--router-local-runtime=11m"};

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct holder h;
        struct policy p;
        struct err e = {0};

        configure(&h, words[i], NULL);
        if (policy_from_conf(&h.conf, pool, &p, &e) == 0)
            fail_msg("accepted: %s", words[i]);
        assert_int_equal(e.code, ERR_INVALID);
        conf_free(&h, options);
    }
}

/* --- a router on a real broker -------------------------------------------- */

/* What went past on a subject. */
struct seen {
    char subject[64], id[TASK_ID_SIZE], text[512], policy[32];
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
    assert_string_equal(d.subject, "tasks.in");
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
    struct fixture *f = MEM_NEW(struct fixture);
    struct err e = {0};
    char *url;

    log_level_set(LOG_ERROR);
    configure(&f->h, NULL, NULL);
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
    struct heartbeat hb;
    struct str data = {0};

    codec_init(CODEC_HEARTBEAT, &hb);
    hb.worker = "w1";
    hb.backend = backend;
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

#define POOLED(f) cmocka_unit_test_setup_teardown(f, new_pool, free_pool)
#define LIVE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        POOLED(a_good_task_is_completed_and_routed),
        POOLED(a_task_without_an_id_gets_one_that_every_reader_derives),
        POOLED(what_waits_is_left_to_the_ledger),
        POOLED(a_lane_must_exist),
        POOLED(a_bad_message_is_dead_and_its_id_is_read_if_it_can_be),
        POOLED(the_twenty_first_delivery_is_dead_before_it_is_parsed),
        POOLED(running_tasks_of_local_workers_add_up_until_they_fall_silent),
        POOLED(a_worker_that_stops_or_drains_is_not_available),
        POOLED(the_fleet_is_bounded_and_sums_do_not_overflow),
        POOLED(the_default_configuration_is_the_shipped_policy),
        POOLED(a_policy_that_makes_no_sense_is_refused),
        LIVE(a_task_goes_to_its_lane_and_is_settled),
        LIVE(a_bad_message_leaves_a_dead_letter_and_a_rejection),
        LIVE(a_large_bad_message_is_cut_but_its_size_is_kept),
        LIVE(a_rejected_decision_is_a_result_and_no_dead_letter),
        LIVE(a_held_task_is_settled_and_goes_nowhere),
        LIVE(heartbeats_say_where_the_cloud_is),
        LIVE(a_broker_that_is_killed_costs_no_task),
        LIVE(a_router_that_is_cut_off_leaves_its_tasks_to_the_next),
        LIVE(term_finishes_what_is_in_hand_and_takes_nothing_new),
        LIVE(term_with_the_broker_away_does_not_wait_for_ever),
        LIVE(a_second_term_stops_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
