#include "reaper/query/disk_monitor.h"
#include "reaper/recover/repair_plan.h"
#include "tests/reaper_fixture.h"

#include "tests/drop_messages.h"

#include <arpa/inet.h>
#include <sys/socket.h>

/* --- more of the fixture -------------------------------------------------- */

/* Restarts the reaper with short times between reconcile passes. */
static void
restart_eager(struct reaper_fixture *f)
{
    stop(f);
    f->conf.reconcile =
        (struct reconcile_conf){.first_ms = 50, .every_ms = 100, .quiet_ms = 1};
    start(f);
}

struct taken {
    struct reaper_fixture *f;
    bool done;
    uint64_t seq;
    char id[64];
    struct str bytes;
};

static void
on_taken(void *ctx, struct bus_msg *m)
{
    struct taken *t = ctx;

    t->done = true;
    t->seq = m->seq;
    (void)str_copy(t->id, sizeof t->id, m->id);
    str_reset(&t->bytes);
    str_add(&t->bytes, m->data, m->len);
    bus_msg_done(m);
}

/* Takes the next message of a durable and acknowledges it, as a process that
 * then loses it. */
static void
take(struct reaper_fixture *f, const char *stream, const char *durable,
     struct taken *out)
{
    struct bus_consumer *c = NULL;
    bool never = false;
    struct err e = {0};

    *out = (struct taken){.f = f};
    if (bus_consume(f->bus, stream, durable, on_taken, out, &c, &e) < 0)
        fail_msg("%s", e.msg);
    bus_consumer_window(c, 1);
    if (!loop_until(f->loop, &out->done, LONG_MS))
        fail_msg("nothing came on %s/%s", stream, durable);
    bus_consumer_window(c, 0);
    (void)loop_until(f->loop, &never, 20); /* the ack goes out */
    bus_consumer_close(c);
}

static void
take_routed(struct reaper_fixture *f, struct mem_pool *pool,
            struct routed_task *out)
{
    struct taken t;
    struct err e;

    take(f, "TASKS", "local_default", &t);
    assert_int_equal(codec_decode(CODEC_ROUTED_TASK, t.bytes.data, t.bytes.len,
                                  pool, out, &e),
                     0);
    str_free(&t.bytes);
}

static void
forget_one(struct reaper_fixture *f)
{
    struct taken t;

    take(f, "TASKS", "local_default", &t);
    str_free(&t.bytes);
}

static json_t *
ask_stream(struct reaper_fixture *f, const char *verb, const char *stream)
{
    char subject[SUBJECT_SIZE];
    struct str answer = {0};
    struct err e = {0};
    json_t *o;

    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.%s.%s", verb,
                   stream);
    if (bus_call(f->bus, subject, "", 0, CALL_MS, &answer, &e) < 0)
        fail_msg("%s", e.msg);
    o = json_loadb(answer.data, answer.len, 0, NULL);
    str_free(&answer);
    return o;
}

static int64_t
messages_in(struct reaper_fixture *f, const char *stream)
{
    json_t *o = ask_stream(f, "INFO", stream);
    int64_t n = json_integer_value(
        json_object_get(json_object_get(o, "state"), "messages"));

    json_decref(o);
    return n;
}

/* Waits until an alarm is raised; its text. */
static void
until_alarm(struct reaper_fixture *f, const char *name)
{
    int64_t deadline = loop_now_ms() + LONG_MS;
    bool found = false;

    while (!found && loop_now_ms() < deadline) {
        json_t *o = question(f, "status", "{}"), *alarm;
        size_t i;

        json_array_foreach(json_object_get(o, "alarms"), i, alarm)
        {
            if (strcmp(text_of(alarm, "name"), name) == 0)
                found = *text_of(alarm, "text") != '\0';
        }
        json_decref(o);
    }
    if (!found)
        fail_msg("the alarm %s never rang", name);
}

/* Reads a claim; false if there is none. */
struct claim_reply {
    bool arrived, found;
    struct mem_pool *pool;
    struct claim claim;
};

static void
on_claim_read(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct claim_reply *r = ctx;
    struct err bad;

    assert_null(e);
    r->arrived = true;
    r->found = entry && codec_decode(CODEC_CLAIM, entry->data, entry->len,
                                     r->pool, &r->claim, &bad) == 0;
}

static bool
read_claim(struct reaper_fixture *f, const char *id, struct mem_pool *pool,
           struct claim *out)
{
    struct claim_reply r = {.pool = pool};
    char subject[SUBJECT_SIZE];

    bus_get_last(f->bus, "KV_claims", subject_claim(subject, "local", id),
                 CALL_MS, on_claim_read, &r);
    assert_true(loop_until(f->loop, &r.arrived, LONG_MS));
    *out = r.claim;
    return r.found;
}

/* Writes a claim as its worker left it. */
static void
leave_claim(struct reaper_fixture *f, const char *id, enum state state,
            uint32_t lease_ms, struct result *r)
{
    char subject[SUBJECT_SIZE];
    struct claim c;

    codec_init(CODEC_CLAIM, &c);
    c.task = id;
    c.attempt = 1;
    c.worker = "w";
    c.nonce = "secret";
    c.state = state;
    c.lease_ms = lease_ms;
    c.fence = 1;
    c.result = r;
    c.tail = (struct bytes){(const uint8_t *)"the end\n", 8};
    (void)publish(f, subject_claim(subject, "local", id), CODEC_CLAIM, &c);
}

/* --- outcomes that were never published ----------------------------------- */

static void
an_outcome_in_the_claim_is_published_by_the_ledger(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r;
    json_t *task;

    restart_eager(f);
    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    fill_result(&r, "t1", "secret", 1);
    r.output_bytes = 8;
    leave_claim(f, "t1", STATE_SUCCEEDED, 30000, &r);
    forget_one(f); /* the worker died before it published */
    task = until_state(f, "t1", "succeeded");
    assert_int_equal(json_integer_value(json_object_get(task, "attempts")), 1);
    assert_string_equal(
        text_of(json_array_get(json_object_get(task, "output"), 0), "data"),
        "dGhlIGVuZAo=");
    json_decref(task);
    assert_int_equal(counter(f, "quarantined"), 0);
    assert_int_equal(counter(f, "superseded"), 0);
}

/* --- tasks that nobody works on ------------------------------------------- */

static void
a_task_whose_message_is_gone_is_dispatched_again(void **state)
{
    struct reaper_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct routed_task routed;

    restart_eager(f);
    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    take_routed(f, pool, &routed);
    assert_int_equal(routed.drive, 0);
    take_routed(f, pool, &routed);
    assert_int_equal(routed.drive, 1);
    assert_string_equal(routed.task->id, "t1");
    assert_string_equal(routed.decision->rule, "test");
    take_routed(f, pool, &routed);
    assert_int_equal(routed.drive, 2);
    finish(f, "t1", STATE_SUCCEEDED, "");
    until_state_is(f, "t1", "succeeded");
    mem_pool_free(pool);
}

static void
all_tasks_of_a_message_that_is_gone_are_dispatched_again(void **state)
{
    static const char *const ids[] = {"t1", "t2", "t3"};
    struct reaper_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct routed_task routed;
    struct taken t;
    bool seen[3] = {false};

    restart_eager(f);
    for (int i = 0; i < 3; i++) {
        char text[64];

        (void)snprintf(text, sizeof text,
                       "{\"id\": \"%s\", \"steps\": [\"true\"]}", ids[i]);
        submit(f, text);
    }
    route_together(f, ids, 3);
    take(f, "TASKS", "local_default", &t);
    str_free(&t.bytes);
    for (int i = 0; i < 3; i++) {
        take_routed(f, pool, &routed);
        assert_int_equal(routed.drive, 1);
        for (int k = 0; k < 3; k++)
            if (strcmp(routed.task->id, ids[k]) == 0)
                seen[k] = true;
        finish(f, routed.task->id, STATE_SUCCEEDED, "");
    }
    assert_true(seen[0] && seen[1] && seen[2]);
    until_counter(f, "succeeded", 3);
    mem_pool_free(pool);
}

static void
what_the_router_changed_is_dispatched_as_it_was_routed(void **state)
{
    struct reaper_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct routed_task routed;

    restart_eager(f);
    /* route() sends the step without the prefix. */
    submit(f, "{\"id\": \"t1\", \"name\": \"t1\", \"steps\": "
              "[\"local: true\"]}");
    route(f, "t1");
    take_routed(f, pool, &routed);
    take_routed(f, pool, &routed);
    assert_int_equal(routed.drive, 1);
    assert_string_equal(routed.task->steps[0].script, "true");
    mem_pool_free(pool);
}

static void
a_task_that_waits_on_its_lane_is_left_alone(void **state)
{
    struct reaper_fixture *f = *state;
    int64_t until;

    restart_eager(f);
    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"]}");
    route(f, "t1");
    until = loop_now_ms() + 1000; /* ten passes */
    while (loop_now_ms() < until)
        until_state_is(f, "t1", "routed");
    assert_int_equal(messages_in(f, "TASKS"), 1);
    assert_int_equal(messages_in(f, "TASKS_IN"), 2);
}

static void
a_task_the_router_forgot_goes_to_it_again(void **state)
{
    struct reaper_fixture *f = *state;
    struct taken t;

    restart_eager(f);
    submit(f, "{\"id\": \"t1\", \"name\": \"mine\", \"steps\": [\"true\"]}");
    take(f, "TASKS_IN", "router", &t);
    str_free(&t.bytes);
    take(f, "TASKS_IN", "router", &t);
    assert_string_equal(t.id, "t1:in1");
    str_free(&t.bytes);
    route(f, "t1");
    until_state_is(f, "t1", "routed");
    assert_int_equal(counter(f, "tasks"), 1);
}

static void
a_lost_task_that_must_not_run_again_ends_unknown(void **state)
{
    struct reaper_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct claim c;
    json_t *task;

    restart_eager(f);
    submit(f, "{\"id\": \"t1\", \"name\": \"t1\", \"retry\": \"never\", "
              "\"steps\": [\"true\"]}");
    route(f, "t1");
    leave_claim(f, "t1", STATE_RUNNING, 1000, NULL);
    forget_one(f);
    task = until_state(f, "t1", "unknown");
    assert_non_null(strstr(text_of(task, "reason"), "lost"));
    json_decref(task);
    assert_true(read_claim(f, "t1", pool, &c));
    assert_int_equal(c.state, STATE_UNKNOWN);
    assert_int_equal(c.attempt, 1);
    assert_int_equal(messages_in(f, "TASKS"), 1);
    mem_pool_free(pool);
}

static void
what_is_no_claim_counts_as_none_and_the_task_dispatched_again(void **state)
{
    struct reaper_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    char subject[SUBJECT_SIZE];
    struct routed_task routed;

    restart_eager(f);
    log_level_set(LOG_ERROR + 1); /* it logs an error */
    submit(f, "{\"id\": \"t1\", \"name\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    (void)claim(f, "t1", 1, "n1");
    (void)publish_bytes(f, subject_claim(subject, "local", "t1"), NULL,
                        "{\"seq\":7}", 9);
    forget_one(f);
    take_routed(f, pool, &routed);
    assert_int_equal(routed.drive, 1);
    until_alarm(f, "claim_unreadable");
    log_level_set(LOG_ERROR);
    mem_pool_free(pool);
}

static void
messages_that_vanish_unread_ring_an_alarm(void **state)
{
    struct reaper_fixture *f = *state;

    submit(f, "{\"id\": \"t1\", \"name\": \"t1\", \"steps\": [\"true\"]}");
    until_state_is(f, "t1", "accepted");
    stop(f);
    submit(f, "{\"id\": \"t2\", \"name\": \"t2\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t3\", \"name\": \"t3\", \"steps\": [\"true\"]}");
    drop_messages(f->bus, "TASKS_IN");
    log_level_set(LOG_ERROR + 1);
    restart_eager(f);
    until_alarm(f, "messages_lost");
    log_level_set(LOG_ERROR);
}

/* --- a broker that lost its store ----------------------------------------- */

static void
an_emptied_store_is_noticed_and_its_tasks_dispatched_again(void **state)
{
    static const char *const streams[] = {"TASKS_IN", "TASKS", "RESULTS",
                                          "KV_claims"};
    struct reaper_fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct routed_task routed;
    struct result r;
    struct claim c;
    struct taken t;

    restart_eager(f);
    log_level_set(LOG_ERROR + 1); /* it logs an error */
    /* One not routed, one queued, one that failed once, one that has ended. */
    submit(f, "{\"id\": \"t0\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t1\", \"name\": \"t1\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t2\", \"name\": \"t2\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t3\", \"name\": \"t3\", \"steps\": [\"true\"]}");
    route(f, "t1");
    route(f, "t2");
    route(f, "t3");
    finish(f, "t3", STATE_SUCCEEDED, "");
    fill_result(&r, "t2", "secret", claim(f, "t2", 1, "secret"));
    r.final = false;
    r.state = STATE_FAILED;
    end_attempt(f, &r);
    until_counter(f, "attempts", 2);
    until_state_is(f, "t3", "succeeded");
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        json_decref(ask_stream(f, "DELETE", streams[i]));
    provision(f);
    until_alarm(f, "store_lost");
    take(f, "TASKS_IN", "router", &t);
    assert_string_equal(t.id, "t0:in1");
    str_free(&t.bytes);
    for (int i = 0; i < 2; i++) {
        take_routed(f, pool, &routed);
        assert_int_equal(routed.drive, 1);
        assert_true(strcmp(routed.task->id, "t1") == 0 ||
                    strcmp(routed.task->id, "t2") == 0);
    }
    /* The number of the attempt that failed is not used again. */
    assert_true(read_claim(f, "t2", pool, &c));
    assert_int_equal(c.attempt, 1);
    assert_int_equal(c.failed, 1);
    assert_false(read_claim(f, "t1", pool, &c));
    until_state_is(f, "t3", "succeeded");
    log_level_set(LOG_ERROR);
    mem_pool_free(pool);
}

/* --- planted messages ----------------------------------------------------- */

/* Publishes as any client can: with a reply subject of its choice. */
static void
plant(struct reaper_fixture *f, const char *subject, const char *reply,
      const char *payload)
{
    const char *port = strrchr(broker_url(f->broker), ':');
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct str text = {0};
    char answer[4096];
    uint64_t number = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(str_to_u64(port + 1, 1, 65535, &number));
    a.sin_port = htons((uint16_t)number);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    str_addf(&text,
             "CONNECT {\"verbose\":false}\r\nPUB %s %s %zu\r\n%s\r\n"
             "PING\r\n",
             subject, reply, strlen(payload), payload);
    assert_int_equal(write(fd, text.data, text.len), text.len);
    str_reset(&text);
    while (!strstr(str_text(&text), "PONG")) {
        ssize_t n = read(fd, answer, sizeof answer);

        assert_true(n > 0);
        str_add(&text, answer, (size_t)n);
    }
    str_free(&text);
    (void)close(fd);
}

/* --- alarms and reasons --------------------------------------------------- */

static void
a_planted_message_is_no_outcome_and_rings_an_alarm(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r;
    uint64_t fence;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    fence = claim(f, "t1", 1, "secret");
    until_state_is(f, "t1", "routed");
    /* The broker's own acknowledgement, sent to a subject of the submitter's.
     */
    plant(f, "tasks.in", "results.local.fake",
          "{\"id\": \"t2\", \"steps\": [\"true\"]}");
    until_counter(f, "quarantined", 1);
    /* Well formed, with a guessed nonce. */
    fill_result(&r, "t1", "guess", fence);
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    until_counter(f, "quarantined", 2);
    /* The right nonce in the name of another backend. */
    fill_result(&r, "t1", "secret", fence);
    (void)publish(f, "results.codespace.cli", CODEC_RESULT, &r);
    until_counter(f, "quarantined", 3);
    r.backend = "codespace";
    (void)publish(f, "results.codespace.cli", CODEC_RESULT, &r);
    until_counter(f, "quarantined", 4);
    until_state_is(f, "t1", "routed");
    assert_int_equal(f->n_done, 0);
    until_alarm(f, "quarantined");
    fill_result(&r, "t1", "secret", fence);
    end_attempt(f, &r);
    until_state_is(f, "t1", "succeeded");
    assert_int_equal(counter(f, "quarantined"), 4);
}

/* What the holder of another backend can publish: a claim of the task there,
 * with its outcome, and the result. */
static void
forge_elsewhere(struct reaper_fixture *f, const char *id)
{
    char subject[SUBJECT_SIZE];
    struct result r;
    struct claim c;

    fill_result(&r, id, "mine", 1);
    r.backend = "codespace";
    codec_init(CODEC_CLAIM, &c);
    c.task = id;
    c.attempt = 1;
    c.worker = "w";
    c.nonce = "mine";
    c.fence = 1;
    c.state = r.state;
    c.lease_ms = 30000;
    c.result = &r;
    (void)publish(f, subject_claim(subject, "codespace", id), CODEC_CLAIM, &c);
    (void)publish(f, "results.codespace.cli", CODEC_RESULT, &r);
}

static void
a_result_counts_only_from_the_lane_that_its_task_was_routed_to(void **state)
{
    struct reaper_fixture *f = *state;
    struct result r;

    submit(f, "{\"id\": \"t1\", \"name\": \"t1\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t2\", \"name\": \"t2\", \"steps\": [\"true\"], "
              "\"hold\": true}");
    route(f, "t1");
    until_state_is(f, "t1", "routed");
    until_state_is(f, "t2", "held");
    forge_elsewhere(f, "t1");
    until_counter(f, "quarantined", 1);
    forge_elsewhere(f, "t2"); /* not routed: it waits for that */
    fill_result(&r, "t1", "n", claim(f, "t1", 1, "n"));
    r.lane = "another";
    end_attempt(f, &r);
    until_counter(f, "quarantined", 2);
    until_state_is(f, "t1", "routed");
    until_state_is(f, "t2", "held");
    r.lane = "default";
    end_attempt(f, &r);
    until_state_is(f, "t1", "succeeded");
    route(f, "t2");
    until_counter(f, "quarantined", 3);
    until_state_is(f, "t2", "routed");
}

static void
a_waiting_task_has_a_reason(void **state)
{
    struct reaper_fixture *f = *state;
    json_t *o;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"], \"hold\": true}");
    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"], \"after\": "
              "[\"t1\", \"x9\"]}");
    submit(f, "{\"id\": \"t3\", \"steps\": [\"true\"], \"not_before_ms\": "
              "4102444800000}");
    o = until_state(f, "t1", "held");
    assert_string_equal(text_of(o, "reason"), "held by its submitter");
    json_decref(o);
    o = until_state(f, "t2", "blocked");
    assert_string_equal(text_of(o, "reason"),
                        "waits for t1, x9; x9 has not been submitted");
    json_decref(o);
    o = until_state(f, "t3", "blocked");
    assert_string_equal(text_of(o, "reason"),
                        "waits until 2100-01-01T00:00:00.000Z");
    assert_string_equal(text_of(json_object_get(o, "waits"), "for"), "time");
    json_decref(o);
}

static void
dead_letters_ring_an_alarm(void **state)
{
    struct reaper_fixture *f = *state;

    (void)publish_bytes(f, "dead.router", NULL, "x", 1);
    stop(f);
    start(f); /* counted at the start, then every 30 s */
    until_alarm(f, "dead_letters");
}

static void
a_small_disk_is_low_below_a_gibibyte_a_large_one_below_a_twentieth(void **state)
{
    const uint64_t gib = UINT64_C(1) << 30;

    (void)state;
    assert_true(disk_monitor_is_low(gib - 1, 10 * gib));
    assert_false(disk_monitor_is_low(gib, 10 * gib));
    assert_true(disk_monitor_is_low(5 * gib - 1, 100 * gib));
    assert_false(disk_monitor_is_low(5 * gib, 100 * gib));
}

/* --- without a broker ----------------------------------------------------- */

static void
only_what_no_delivery_will_end_is_repaired(void **unused)
{
    static const struct {
        const char *name;
        enum state state; /* of the claim; UNSPECIFIED: none */
        bool gone;
        int64_t age_ms, unchanged_ms;
        uint32_t started;
        enum retry_policy retry;
        enum repair_action what;
        bool restore;
    } rows[] = {
        {"waits", STATE_UNSPECIFIED, false, 0, 0, 0, RETRY_SAFE, REPAIR_NOTHING,
         false},
        {"gone", STATE_UNSPECIFIED, true, 0, 0, 0, RETRY_SAFE,
         REPAIR_REDISPATCH, false},
        {"claim aged out", STATE_UNSPECIFIED, false, 0, 0, 2, RETRY_SAFE,
         REPAIR_NOTHING, true},
        {"all gone", STATE_UNSPECIFIED, true, 0, 0, 2, RETRY_SAFE,
         REPAIR_REDISPATCH, true},
        {"runs", STATE_RUNNING, true, 5000, 60000, 0, RETRY_SAFE, REPAIR_LATER,
         false},
        {"silent, as far as one clock says", STATE_RUNNING, true, 90000, 0, 0,
         RETRY_SAFE, REPAIR_LATER, false},
        {"lost", STATE_RUNNING, true, 90000, 12000, 0, RETRY_SAFE,
         REPAIR_REDISPATCH, false},
        {"lost, to be delivered", STATE_RUNNING, false, 90000, 12000, 0,
         RETRY_SAFE, REPAIR_NOTHING, false},
        {"lost for good", STATE_RUNNING, true, 90000, 12000, 0, RETRY_NEVER,
         REPAIR_CLOSE, false},
        {"handed back", STATE_PREEMPTED, true, 0, 0, 0, RETRY_SAFE,
         REPAIR_REDISPATCH, false},
        {"over", STATE_FAILED, false, 0, 0, 0, RETRY_SAFE, REPAIR_EMIT, false},
    };

    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct task task;
        struct claim c;
        struct repair_plan plan;
        struct repair_facts facts = {
            .task = &task,
            .sight = {rows[i].age_ms, rows[i].unchanged_ms},
            .now_ms = 1700000000000,
            .gone = rows[i].gone,
            .started = rows[i].started};

        codec_init(CODEC_TASK, &task);
        codec_init(CODEC_CLAIM, &c);
        task.retry = rows[i].retry;
        c.attempt = 1;
        c.lease_ms = 30000;
        c.state = rows[i].state;
        if (rows[i].state != STATE_UNSPECIFIED)
            facts.claim = &c;
        repair_plan(&facts, &plan);
        if (plan.what != rows[i].what || plan.restore != rows[i].restore)
            fail_msg("%s: %d, restore %d", rows[i].name, plan.what,
                     plan.restore);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_outcome_in_the_claim_is_published_by_the_ledger),
        TEST(a_task_whose_message_is_gone_is_dispatched_again),
        TEST(all_tasks_of_a_message_that_is_gone_are_dispatched_again),
        TEST(what_the_router_changed_is_dispatched_as_it_was_routed),
        TEST(a_task_that_waits_on_its_lane_is_left_alone),
        TEST(a_task_the_router_forgot_goes_to_it_again),
        TEST(a_lost_task_that_must_not_run_again_ends_unknown),
        TEST(what_is_no_claim_counts_as_none_and_the_task_dispatched_again),
        TEST(messages_that_vanish_unread_ring_an_alarm),
        TEST(an_emptied_store_is_noticed_and_its_tasks_dispatched_again),
        TEST(a_planted_message_is_no_outcome_and_rings_an_alarm),
        TEST(a_result_counts_only_from_the_lane_that_its_task_was_routed_to),
        TEST(a_waiting_task_has_a_reason),
        TEST(dead_letters_ring_an_alarm),
        cmocka_unit_test(
            a_small_disk_is_low_below_a_gibibyte_a_large_one_below_a_twentieth),
        cmocka_unit_test(only_what_no_delivery_will_end_is_repaired),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
