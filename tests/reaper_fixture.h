/*
 * reaper_fixture - a broker, a reaper on it, and by hand what the other
 * processes would say.
 */
#ifndef TESTS_REAPER_FIXTURE_H
#define TESTS_REAPER_FIXTURE_H

#include "reaper/reaper.h"

#include "lib/base/log.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "reaper/query/presence.h"
#include "tests/broker.h"
#include "tests/folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LONG_MS = 20000, CALL_MS = 5000 };

struct reaper_fixture {
    char reports[128];              /* reports of f->root */
    char routed[256][TASK_ID_SIZE]; /* the tasks on a lane */
    size_t n_routed;
    char dir[64], root[96], database[96];
    struct broker *broker;
    struct loop *loop;
    struct bus *bus, *reaper_bus;
    struct bus_conf bus_conf;
    struct reaper_conf conf;
    struct reaper *reaper;
    struct bus_sub *done_sub, *batch_sub;
    struct str done, batch; /* the last news */
    char done_subject[SUBJECT_SIZE];
    unsigned n_done;
};

/* --- the fixture ---------------------------------------------------------- */

static inline void
on_done(void *ctx, const struct bus_note *note)
{
    struct reaper_fixture *f = ctx;

    str_reset(&f->done);
    str_add(&f->done, note->data, note->len);
    (void)str_copy(f->done_subject, sizeof f->done_subject, note->subject);
    f->n_done++;
}

static inline void
on_batch(void *ctx, const struct bus_note *note)
{
    struct reaper_fixture *f = ctx;

    str_reset(&f->batch);
    str_add(&f->batch, note->data, note->len);
}

static inline void
provision(struct reaper_fixture *f)
{
    struct jetstream_conf conf = {.replicas = 1,
                                  .max_bytes = 64 * 1024 * 1024,
                                  .max_age_ms = 3600000,
                                  .log_retention_ms = 3600000,
                                  .log_max_bytes = 64 * 1024 * 1024};
    struct err e = {0};

    if (jetstream_provision(f->bus, &conf,
                            &(struct jetstream_rules){.change = true,
                                                      .allow_shrink = true,
                                                      .by = "test"},
                            NULL, NULL, &e) < 0)
        fail_msg("%s", e.msg);
}

static inline void
start(struct reaper_fixture *f)
{
    struct err e = {0};

    if (bus_open(&f->reaper_bus, f->loop, &f->bus_conf, "reaper", LONG_MS, &e) <
            0 ||
        reaper_open(&f->reaper, f->reaper_bus, f->loop, &f->conf, &e) < 0)
        fail_msg("%s", e.msg);
}

static inline void
stop(struct reaper_fixture *f)
{
    reaper_close(f->reaper);
    f->reaper = NULL;
    bus_close(f->reaper_bus);
    f->reaper_bus = NULL;
}

static inline int
open_fixture(void **state)
{
    static char empty[1];
    struct reaper_fixture *f = MEM_NEW(struct reaper_fixture);
    struct err e = {0};

    *state = f;
    log_level_set(LOG_ERROR);
    f->broker = broker_start();
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/shunt-reaper-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->root, sizeof f->root, "%s/out", f->dir);
    (void)snprintf(f->database, sizeof f->database, "%s/ledger.db", f->dir);
    f->bus_conf = (struct bus_conf){.url = mem_strdup(broker_url(f->broker)),
                                    .token_file = empty,
                                    .creds_file = empty,
                                    .nkey_file = empty,
                                    .ca_file = empty,
                                    .cert_file = empty,
                                    .key_file = empty};
    f->conf.database = f->database;
    f->conf.sync = true;
    (void)snprintf(f->reports, sizeof f->reports, "%s/reports", f->root);
    f->conf.report_root = f->reports;
    if (loop_open(&f->loop, &e) < 0 ||
        bus_open(&f->bus, f->loop, &f->bus_conf, "test", LONG_MS, &e) < 0)
        return -1;
    provision(f);
    if (bus_subscribe(f->bus, SUBJECT_DONE_ALL, on_done, f, &f->done_sub, &e) <
            0 ||
        bus_subscribe(f->bus, "batch.*", on_batch, f, &f->batch_sub, &e) < 0)
        return -1;
    start(f);
    return 0;
}

static inline int
close_fixture(void **state)
{
    struct reaper_fixture *f = *state;

    stop(f);
    bus_unsubscribe(f->done_sub);
    bus_unsubscribe(f->batch_sub);
    bus_close(f->bus);
    loop_close(f->loop);
    broker_stop(f->broker);
    mem_free(f->bus_conf.url);
    str_free(&f->done);
    str_free(&f->batch);
    (void)folder_remove(f->dir);
    mem_free(f);
    return 0;
}

/* --- talking to it -------------------------------------------------------- */

struct reply {
    bool arrived;
    struct bus_stored stored;
    struct err e;
};

static inline void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct reply *r = ctx;

    r->arrived = true;
    if (e)
        r->e = *e;
    else
        r->stored = *stored;
}

static inline uint64_t
publish_bytes(struct reaper_fixture *f, const char *subject, const char *id,
              const void *data, size_t len)
{
    struct reply r = {0};

    bus_publish(f->bus,
                &(struct bus_publication){.subject = subject,
                                          .id = id,
                                          .data = data,
                                          .len = len,
                                          .expect = BUS_ANY_REVISION},
                CALL_MS, on_stored, &r);
    assert_true(loop_until(f->loop, &r.arrived, LONG_MS));
    if (r.e.code)
        fail_msg("%s: %s", subject, r.e.msg);
    return r.stored.seq;
}

static inline uint64_t
publish(struct reaper_fixture *f, const char *subject, enum codec_type type,
        const void *msg)
{
    struct str bytes = {0};
    uint64_t seq;

    codec_encode(type, msg, &bytes);
    seq = publish_bytes(f, subject, NULL, bytes.data, bytes.len);
    str_free(&bytes);
    return seq;
}

static inline json_t *
question(struct reaper_fixture *f, const char *verb, const char *request)
{
    int64_t deadline = loop_now_ms() + LONG_MS;
    char subject[SUBJECT_SIZE];
    struct str answer = {0};
    struct err e = {0};
    json_t *o;

    /* A ledger that has just started may not be subscribed yet. */
    while (bus_call(f->bus, subject_ask(subject, verb), request,
                    strlen(request), CALL_MS, &answer, &e) < 0)
        if (e.code != ERR_UNAVAILABLE || loop_now_ms() > deadline)
            fail_msg("%s: %s", verb, e.msg);
    o = json_loadb(answer.data, answer.len, 0, NULL);
    assert_non_null(o);
    str_free(&answer);
    return o;
}

/* The task of `show`; the caller owns it. NULL if there is none. */
static inline json_t *
show(struct reaper_fixture *f, const char *id)
{
    char request[128];
    json_t *o, *task;

    (void)snprintf(request, sizeof request, "{\"task\": \"%s\"}", id);
    o = question(f, "show", request);
    task = json_incref(json_object_get(o, "task"));
    json_decref(o);
    return task;
}

static inline const char *
text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return text ? text : "";
}

/* Asks until the task is in that state; returns its `show`. */
static inline json_t *
until_state(struct reaper_fixture *f, const char *id, const char *state)
{
    int64_t deadline = loop_now_ms() + LONG_MS;
    json_t *task = NULL;

    while (loop_now_ms() < deadline) {
        task = show(f, id);
        if (task && strcmp(text_of(task, "state"), state) == 0)
            return task;
        if (loop_now_ms() < deadline)
            json_decref(task);
    }
    fail_msg("%s never became %s", id, state);
    return NULL;
}

static inline void
until_state_is(struct reaper_fixture *f, const char *id, const char *state)
{
    json_decref(until_state(f, id, state));
}

static inline int64_t
counter(struct reaper_fixture *f, const char *name)
{
    json_t *o = question(f, "status", "{}");
    int64_t n = json_integer_value(
        json_object_get(json_object_get(o, "counters"), name));

    json_decref(o);
    return n;
}

static inline void
until_counter(struct reaper_fixture *f, const char *name, int64_t want)
{
    int64_t deadline = loop_now_ms() + LONG_MS, got = 0;

    while (loop_now_ms() < deadline && (got = counter(f, name)) != want)
        ;
    assert_int_equal(got, want);
}

/* --- the other processes, by hand ----------------------------------------- */

static inline void
submit(struct reaper_fixture *f, const char *json)
{
    (void)publish_bytes(f, SUBJECT_TASKS_IN, NULL, json, strlen(json));
}

/* Appends the routed task of that name. */
static inline void
add_routed(struct str *out, const char *id)
{
    struct routed_task routed;
    struct decision decision;
    struct task task;
    struct step step = {.name = "", .script = "true", .workdir = ""};

    codec_init(CODEC_ROUTED_TASK, &routed);
    codec_init(CODEC_TASK, &task);
    codec_init(CODEC_DECISION, &decision);
    task.id = id;
    task.name = id;
    task.source = "cli";
    task.steps = &step;
    task.n_steps = 1;
    decision.backend = "local";
    decision.lane = "default";
    decision.rule = "test";
    routed.task = &task;
    routed.decision = &decision;
    codec_encode(CODEC_ROUTED_TASK, &routed, out);
}

/* Whether the task is on a lane; else it is noted to be. */
static inline bool
note_route(struct reaper_fixture *f, const char *id)
{
    for (size_t i = 0; i < f->n_routed; i++)
        if (strcmp(f->routed[i], id) == 0)
            return true;
    assert_true(f->n_routed < sizeof f->routed / sizeof *f->routed);
    (void)str_copy(f->routed[f->n_routed++], sizeof *f->routed, id);
    return false;
}

static inline void
route(struct reaper_fixture *f, const char *id)
{
    struct str bytes = {0};

    (void)note_route(f, id);

    add_routed(&bytes, id);
    (void)publish_bytes(f, "tasks.local.default", NULL, bytes.data, bytes.len);
    str_free(&bytes);
}

/* The same of several, as one message. */
static inline void
route_together(struct reaper_fixture *f, const char *const *ids, size_t n)
{
    struct str message = {0}, bytes = {0};

    for (size_t i = 0; i < n; i++) {
        str_reset(&bytes);
        if (ids[i]) {
            (void)note_route(f, ids[i]);
            add_routed(&bytes, ids[i]);
        } else
            str_addz(&bytes, "nonsense");
        codec_multi_add(CODEC_ROUTED_TASKS, &message, bytes.data, bytes.len);
    }
    (void)publish_bytes(f, "tasks.local.default", NULL, message.data,
                        message.len);
    str_free(&bytes);
    str_free(&message);
}

static inline uint64_t
claim(struct reaper_fixture *f, const char *id, uint32_t attempt,
      const char *nonce)
{
    char subject[SUBJECT_SIZE];
    struct claim c;

    codec_init(CODEC_CLAIM, &c);
    c.task = id;
    c.attempt = attempt;
    c.worker = "w";
    c.nonce = nonce;
    c.state = STATE_RUNNING;
    c.lease_ms = 30000;
    return publish(f, subject_claim(subject, "local", id), CODEC_CLAIM, &c);
}

static inline void
fill_result(struct result *r, const char *id, const char *nonce, uint64_t fence)
{
    codec_init(CODEC_RESULT, r);
    r->task = id;
    r->attempt = 1;
    r->fence = fence;
    r->nonce = nonce;
    r->backend = "local";
    r->lane = "default";
    r->worker = "w";
    r->state = STATE_SUCCEEDED;
    r->final = true;
    r->started_at_ms = 1700000000000;
    r->finished_at_ms = 1700000001000;
}

/* The outcome of an attempt, in its claim. Of a task that no test has routed it
 * is routed first: else it is not believed. */
static inline void
settle(struct reaper_fixture *f, struct result *r)
{
    char subject[SUBJECT_SIZE];
    struct claim c;

    if (!note_route(f, r->task))
        route(f, r->task);

    codec_init(CODEC_CLAIM, &c);
    c.task = r->task;
    c.attempt = r->attempt;
    c.worker = r->worker;
    c.nonce = r->nonce;
    c.fence = r->fence;
    c.state = r->final ? r->state : STATE_RETRY_WAIT;
    c.lease_ms = 30000;
    c.result = r;
    (void)publish(f, subject_claim(subject, "local", r->task), CODEC_CLAIM, &c);
}

/* What the worker says of it: the claim, then the result. */
static inline void
end_attempt(struct reaper_fixture *f, struct result *r)
{
    settle(f, r);
    (void)publish(f, "results.local.cli", CODEC_RESULT, r);
}

static inline void
finish(struct reaper_fixture *f, const char *id, enum state state,
       const char *batch)
{
    struct output_part part = {STREAM_STDOUT, {(const uint8_t *)"hello\n", 6}};
    uint64_t fence = claim(f, id, 1, "secret");
    struct result r;

    fill_result(&r, id, "secret", fence);
    r.state = state;
    r.exit_code = state == STATE_SUCCEEDED ? 0 : 3;
    r.output = &part;
    r.n_output = 1;
    r.output_bytes = 6;
    r.batch = batch;
    end_attempt(f, &r);
}

static inline void
cancel(struct reaper_fixture *f, const char *id)
{
    char subject[SUBJECT_SIZE];
    struct control c;

    codec_init(CODEC_CONTROL, &c);
    c.task = id;
    c.verb = "cancel";
    c.by = "me@here";
    c.at_ms = 1700000000500;
    (void)publish(f, subject_cancel(subject, id), CODEC_CONTROL, &c);
}

struct cancel_key {
    bool answered, there;
};

static inline void
on_key(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct cancel_key *k = ctx;

    assert_null(e);
    k->answered = true;
    k->there = entry && entry->len > 0;
}

/* Whether there is a cancel of that task: its key is not empty. */
static inline bool
has_key(struct reaper_fixture *f, const char *task)
{
    char subject[SUBJECT_SIZE];
    struct cancel_key k = {0};

    bus_get_last(f->bus, "KV_control", subject_cancel(subject, task), CALL_MS,
                 on_key, &k);
    assert_true(loop_until(f->loop, &k.answered, LONG_MS));
    return k.there;
}

static inline void
until_no_key(struct reaper_fixture *f, const char *task)
{
    int64_t deadline = loop_now_ms() + LONG_MS;
    bool never = false;

    while (has_key(f, task)) {
        assert_true(loop_now_ms() < deadline);
        (void)loop_until(f->loop, &never, 20);
    }
}

static inline struct str
slurp(const char *path)
{
    struct str out = {0};
    char part[4096];
    size_t n;
    FILE *file = fopen(path, "r");

    while (file && (n = fread(part, 1, sizeof part, file)) > 0)
        str_add(&out, part, n);
    if (file)
        (void)fclose(file);
    return out;
}

/* Runs the loop until the file is there and returns its text. */
static inline struct str
until_file(struct reaper_fixture *f, const char *path)
{
    int64_t deadline = loop_now_ms() + LONG_MS;
    bool never = false;

    while (access(path, F_OK) != 0 && loop_now_ms() < deadline)
        (void)loop_until(f->loop, &never, 5);
    if (access(path, F_OK) != 0)
        fail_msg("%s was never written", path);
    return slurp(path);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, open_fixture, close_fixture)

#endif
