#include "reaper/reaper.h"

#include "lib/codec.h"
#include "lib/log.h"
#include "lib/subject.h"
#include "lib/topology.h"
#include "reaper/live.h"
#include "tests/broker.h"

#include <dirent.h>
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

struct fixture {
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

static void
on_done(void *ctx, const struct bus_note *note)
{
    struct fixture *f = ctx;

    str_reset(&f->done);
    str_add(&f->done, note->data, note->len);
    (void)str_copy(f->done_subject, sizeof f->done_subject, note->subject);
    f->n_done++;
}

static void
on_batch(void *ctx, const struct bus_note *note)
{
    struct fixture *f = ctx;

    str_reset(&f->batch);
    str_add(&f->batch, note->data, note->len);
}

static void
provision(struct fixture *f)
{
    struct topology_conf conf = {.replicas = 1,
                                 .max_bytes = 64 * 1024 * 1024,
                                 .max_age_ms = 3600000,
                                 .log_retention_ms = 3600000,
                                 .log_max_bytes = 64 * 1024 * 1024};
    struct err e = {0};

    if (topology_provision(f->bus, &conf, NULL, NULL, &e) < 0)
        fail_msg("%s", e.msg);
}

static void
start(struct fixture *f)
{
    struct err e = {0};

    if (bus_open(&f->reaper_bus, f->loop, &f->bus_conf, "reaper", LONG_MS, &e) <
            0 ||
        reaper_open(&f->reaper, f->reaper_bus, f->loop, &f->conf, &e) < 0)
        fail_msg("%s", e.msg);
}

static void
stop(struct fixture *f)
{
    reaper_close(f->reaper);
    f->reaper = NULL;
    bus_close(f->reaper_bus);
    f->reaper_bus = NULL;
}

static int
open_fixture(void **state)
{
    static char empty[1];
    struct fixture *f = MEM_NEW(struct fixture);
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
    f->conf.report_root = f->root;
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

static void
remove_all(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    char path[512];

    while (d && (entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (entry->d_type == DT_DIR)
            remove_all(path);
        else
            (void)unlink(path);
    }
    if (d)
        (void)closedir(d);
    (void)rmdir(dir);
}

static int
close_fixture(void **state)
{
    struct fixture *f = *state;

    stop(f);
    bus_unsubscribe(f->done_sub);
    bus_unsubscribe(f->batch_sub);
    bus_close(f->bus);
    loop_close(f->loop);
    broker_stop(f->broker);
    mem_free(f->bus_conf.url);
    str_free(&f->done);
    str_free(&f->batch);
    remove_all(f->dir);
    mem_free(f);
    return 0;
}

/* --- talking to it -------------------------------------------------------- */

struct reply {
    bool arrived;
    struct bus_stored stored;
    struct err e;
};

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct reply *r = ctx;

    r->arrived = true;
    if (e)
        r->e = *e;
    else
        r->stored = *stored;
}

static uint64_t
publish_bytes(struct fixture *f, const char *subject, const char *id,
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

static uint64_t
publish(struct fixture *f, const char *subject, enum codec_type type,
        const void *msg)
{
    struct str bytes = {0};
    uint64_t seq;

    codec_encode(type, msg, &bytes);
    seq = publish_bytes(f, subject, NULL, bytes.data, bytes.len);
    str_free(&bytes);
    return seq;
}

static json_t *
question(struct fixture *f, const char *verb, const char *request)
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
static json_t *
show(struct fixture *f, const char *id)
{
    char request[128];
    json_t *o, *task;

    (void)snprintf(request, sizeof request, "{\"task\": \"%s\"}", id);
    o = question(f, "show", request);
    task = json_incref(json_object_get(o, "task"));
    json_decref(o);
    return task;
}

static const char *
text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return text ? text : "";
}

/* Asks until the task is in that state; returns its `show`. */
static json_t *
until_state(struct fixture *f, const char *id, const char *state)
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

static void
until_state_is(struct fixture *f, const char *id, const char *state)
{
    json_decref(until_state(f, id, state));
}

static int64_t
counter(struct fixture *f, const char *name)
{
    json_t *o = question(f, "status", "{}");
    int64_t n = json_integer_value(
        json_object_get(json_object_get(o, "counters"), name));

    json_decref(o);
    return n;
}

static void
until_counter(struct fixture *f, const char *name, int64_t want)
{
    int64_t deadline = loop_now_ms() + LONG_MS, got = 0;

    while (loop_now_ms() < deadline && (got = counter(f, name)) != want)
        ;
    assert_int_equal(got, want);
}

/* --- the other processes, by hand ----------------------------------------- */

static void
submit(struct fixture *f, const char *json)
{
    (void)publish_bytes(f, SUBJECT_TASKS_IN, NULL, json, strlen(json));
}

static void
route(struct fixture *f, const char *id)
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
    (void)publish(f, "tasks.local.default", CODEC_ROUTED_TASK, &routed);
}

static uint64_t
claim(struct fixture *f, const char *id, uint32_t attempt, const char *nonce)
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

static void
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

static void
finish(struct fixture *f, const char *id, enum state state, const char *batch)
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
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
}

static void
cancel(struct fixture *f, const char *id)
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

static struct str
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
static struct str
until_file(struct fixture *f, const char *path)
{
    int64_t deadline = loop_now_ms() + LONG_MS;
    bool never = false;

    while (access(path, F_OK) != 0 && loop_now_ms() < deadline)
        (void)loop_until(f->loop, &never, 5);
    if (access(path, F_OK) != 0)
        fail_msg("%s was never written", path);
    return slurp(path);
}

/* --- tests ---------------------------------------------------------------- */

static void
a_task_is_followed_from_submission_to_report(void **state)
{
    struct fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    struct result r;
    struct str report;
    struct err e;
    json_t *task;

    submit(f, "{\"id\": \"t1\", \"name\": \"first\", \"steps\": [\"true\"]}");
    until_state_is(f, "t1", "accepted");
    route(f, "t1");
    until_state_is(f, "t1", "routed");
    finish(f, "t1", STATE_SUCCEEDED, "");
    task = until_state(f, "t1", "succeeded");
    assert_string_equal(text_of(task, "name"), "first");
    assert_string_equal(text_of(task, "worker"), "w");
    assert_string_equal(text_of(task, "backend"), "local");
    assert_int_equal(json_integer_value(json_object_get(task, "attempts")), 1);
    assert_string_equal(
        text_of(json_array_get(json_object_get(task, "output"), 0), "data"),
        "aGVsbG8K");
    /* The report stands where show says, at once. */
    report = slurp(text_of(task, "report"));
    assert_non_null(strstr(str_text(&report), "# first: succeeded"));
    assert_non_null(strstr(str_text(&report), "hello"));
    str_free(&report);
    json_decref(task);
    assert_string_equal(f->done_subject, "done.t1");
    assert_int_equal(
        codec_decode(CODEC_RESULT, f->done.data, f->done.len, pool, &r, &e), 0);
    assert_true(r.final);
    assert_int_equal(r.n_output, 1);
    assert_int_equal(counter(f, "succeeded"), 1);
    assert_int_equal(counter(f, "routed"), 0);
    mem_pool_free(pool);
}

static void
an_outcome_may_come_before_the_task(void **state)
{
    struct fixture *f = *state;
    json_t *task;

    finish(f, "t1", STATE_FAILED, "");
    until_state_is(f, "t1", "failed");
    route(f, "t1");
    submit(f, "{\"id\": \"t1\", \"name\": \"late\", \"steps\": [\"true\"]}");
    until_counter(f, "tasks", 1);
    task = until_state(f, "t1", "failed");
    assert_int_equal(json_integer_value(json_object_get(task, "exit_code")), 3);
    json_decref(task);
}

static void
a_repeated_message_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct result r;
    uint64_t fence;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t1\", \"steps\": [\"false\"]}");
    route(f, "t1");
    fence = claim(f, "t1", 1, "secret");
    fill_result(&r, "t1", "secret", fence);
    for (int i = 0; i < 3; i++)
        (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    until_state_is(f, "t1", "succeeded");
    until_counter(f, "succeeded", 1);
    assert_int_equal(counter(f, "attempts"), 1);
    assert_int_equal(counter(f, "tasks"), 1);
    assert_int_equal(counter(f, "superseded"), 0);
    assert_int_equal(counter(f, "quarantined"), 0);
}

static void
a_result_that_does_not_know_the_nonce_is_set_aside(void **state)
{
    struct fixture *f = *state;
    struct result r;
    uint64_t fence;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    fence = claim(f, "t1", 1, "secret");
    fill_result(&r, "t1", "guess", fence);
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    r.nonce = "";
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    until_counter(f, "quarantined", 2);
    /* Nobody ran that one. */
    fill_result(&r, "t2", "secret", 5);
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    /* Of another backend than its subject says. */
    fill_result(&r, "t1", "secret", fence);
    (void)publish(f, "results.codespace.cli", CODEC_RESULT, &r);
    /* In the name of the router, which runs nothing. */
    r.backend = "router";
    (void)publish(f, "results.router.cli", CODEC_RESULT, &r);
    until_counter(f, "quarantined", 5);
    until_state_is(f, "t1", "routed");
    assert_null(show(f, "t2"));
    assert_int_equal(f->n_done, 0);
}

static void
a_stale_outcome_is_kept_and_not_shown(void **state)
{
    struct fixture *f = *state;
    struct result r;
    uint64_t old, fence;
    json_t *task;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    old = claim(f, "t1", 1, "first");
    fence = claim(f, "t1", 2, "second");
    fill_result(&r, "t1", "first", old);
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    until_counter(f, "superseded", 1);
    until_state_is(f, "t1", "routed");
    fill_result(&r, "t1", "second", fence);
    r.attempt = 2;
    r.state = STATE_FAILED;
    r.exit_code = 1;
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    task = until_state(f, "t1", "failed");
    assert_int_equal(json_array_size(json_object_get(task, "attempt_list")), 2);
    json_decref(task);
    assert_int_equal(counter(f, "superseded"), 1);
}

static void
junk_is_counted_and_harms_nothing(void **state)
{
    struct fixture *f = *state;
    uint8_t noise[300];

    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(i * 7 + 3);
    (void)publish_bytes(f, "tasks.in", NULL, noise, sizeof noise);
    (void)publish_bytes(f, "tasks.in", NULL, "{\"id\": 7", 8);
    (void)publish_bytes(f, "tasks.local.default", NULL, noise, sizeof noise);
    (void)publish_bytes(f, "results.local.cli", NULL, noise, sizeof noise);
    (void)publish_bytes(f, "results.local.cli", NULL, "", 0);
    (void)publish_bytes(f, "$KV.control.cancel.x", NULL, noise, sizeof noise);
    (void)publish_bytes(f, "$KV.control.cancel.x", NULL, "", 0);
    until_counter(f, "malformed", 4);
    until_counter(f, "quarantined", 2);
    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    until_state_is(f, "t1", "accepted");
}

static void
a_bad_question_gets_an_answer(void **state)
{
    static const char *const bad[][2] = {
        {"list", "[1]"},
        {"list", "{\"states\": [\"nonsense\"]}"},
        {"list", "{\"batch\": \"none\"}"},
        {"show", "{}"},
        {"show", "{\"task\": \"none\"}"},
        {"show", "{\"task\": 7}"},
        {"batch", "{\"batch\": \"none\"}"},
        {"find", "not json"},
        {"dance", "{}"}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *o = question(f, bad[i][0], bad[i][1]);

        assert_true(*text_of(json_object_get(o, "error"), "code"));
        assert_true(*text_of(json_object_get(o, "error"), "message"));
        json_decref(o);
    }
}

static void
a_blocked_task_goes_on_when_the_other_succeeded(void **state)
{
    struct fixture *f = *state;

    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"], \"after\": [\"t1\"]}");
    until_state_is(f, "t2", "blocked");
    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    finish(f, "t1", STATE_SUCCEEDED, "");
    /* It comes by tasks.in again, without the condition. */
    until_state_is(f, "t2", "accepted");
    assert_int_equal(counter(f, "tasks"), 2);
}

static void
a_blocked_task_is_cancelled_when_the_other_did_not_succeed(void **state)
{
    struct fixture *f = *state;
    json_t *task;

    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"], \"after\": [\"t1\"]}");
    route(f, "t1");
    finish(f, "t1", STATE_FAILED, "");
    task = until_state(f, "t2", "cancelled");
    assert_non_null(strstr(text_of(task, "reason"), "t1"));
    assert_null(json_object_get(task, "exit_code"));
    json_decref(task);
}

static void
a_task_waits_for_its_time(void **state)
{
    struct fixture *f = *state;
    char text[200];
    int64_t at_ms = str_wall_ms() + 1500;

    (void)snprintf(
        text, sizeof text,
        "{\"id\": \"t1\", \"steps\": [\"true\"], \"not_before_ms\": %lld}",
        (long long)at_ms);
    submit(f, text);
    until_state_is(f, "t1", "blocked");
    until_state_is(f, "t1", "accepted");
    assert_true(str_wall_ms() >= at_ms);
}

static void
a_cancel_of_a_held_task_is_carried_out_at_once(void **state)
{
    struct fixture *f = *state;
    json_t *task;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"], \"hold\": true}");
    until_state_is(f, "t1", "held");
    cancel(f, "t1");
    task = until_state(f, "t1", "cancelled");
    assert_non_null(strstr(text_of(task, "reason"), "me@here"));
    json_decref(task);
    assert_int_equal(counter(f, "quarantined"), 0);
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct reply *r = ctx;

    (void)e;
    r->arrived = true;
    r->stored.seq = entry ? entry->revision : 0;
}

static void
a_cancel_before_anybody_claimed_takes_the_claim(void **state)
{
    struct fixture *f = *state;
    char subject[SUBJECT_SIZE];
    struct reply r = {0};

    cancel(f, "t1"); /* even before the ledger knows the task */
    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    route(f, "t1");
    until_state_is(f, "t1", "cancelled");
    bus_get_last(f->bus, "KV_claims", subject_claim(subject, "local", "t1"),
                 CALL_MS, on_entry, &r);
    assert_true(loop_until(f->loop, &r.arrived, LONG_MS));
    assert_true(r.stored.seq > 0);
    assert_int_equal(counter(f, "quarantined"), 0);
}

static void
a_cancel_of_a_task_that_runs_is_the_workers(void **state)
{
    struct fixture *f = *state;
    struct result r;
    uint64_t fence;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    fence = claim(f, "t1", 1, "secret");
    route(f, "t1");
    cancel(f, "t1");
    fill_result(&r, "t1", "secret", fence);
    r.state = STATE_CANCELLED;
    (void)publish(f, "results.local.cli", CODEC_RESULT, &r);
    json_decref(until_state(f, "t1", "cancelled"));
    assert_int_equal(counter(f, "attempts"), 1);
}

static void
a_batch_is_told_of_and_reported_when_all_are_over(void **state)
{
    struct fixture *f = *state;
    struct mem_pool *pool = mem_pool_new();
    char path[200], text[256], id[16];
    struct batch b;
    struct str report;
    struct err e;
    json_t *o;

    for (int i = 1; i <= 3; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"id\": \"m%d\", \"steps\": [\"step-%d\"], \"batch\":"
                       " {\"id\": \"b1\", \"name\": \"three\", \"index\": %d, "
                       "\"size\": 3}}",
                       i, i, i);
        submit(f, text);
        (void)snprintf(id, sizeof id, "m%d", i);
        route(f, id);
        finish(f, id, i == 2 ? STATE_FAILED : STATE_SUCCEEDED, "b1");
    }
    (void)snprintf(path, sizeof path, "%s/reports/batches/three.md", f->root);
    report = until_file(f, path);
    assert_non_null(strstr(str_text(&report), "# three: 2 of 3 succeeded"));
    assert_non_null(strstr(str_text(&report), "step-2"));
    str_free(&report);
    (void)snprintf(path, sizeof path, "%s/reports/jobs", f->root);
    assert_int_not_equal(access(path, F_OK), 0);
    o = question(f, "batch", "{\"batch\": \"three\"}");
    assert_int_equal(json_integer_value(json_object_get(
                         json_object_get(o, "batch"), "failed")),
                     1);
    assert_int_equal(json_array_size(json_object_get(o, "failed")), 1);
    assert_true(*text_of(o, "report"));
    json_decref(o);
    o = question(f, "list", "{\"batch\": \"b1\", \"states\": [\"failed\"]}");
    assert_int_equal(json_array_size(json_object_get(o, "tasks")), 1);
    json_decref(o);
    assert_int_equal(
        codec_decode(CODEC_BATCH, f->batch.data, f->batch.len, pool, &b, &e),
        0);
    assert_true(b.done);
    mem_pool_free(pool);
}

static void
a_report_path_is_below_the_root_and_names_may_clash(void **state)
{
    struct fixture *f = *state;
    char path[200];
    struct str report;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"], \"report_path\": "
              "\"mine/x.out\"}");
    finish(f, "t1", STATE_SUCCEEDED, "");
    (void)snprintf(path, sizeof path, "%s/mine/x.out", f->root);
    report = until_file(f, path);
    assert_non_null(strstr(str_text(&report), "State: succeeded"));
    str_free(&report);
    submit(f, "{\"id\": \"aaaaaaaabb\", \"name\": \"same\", \"steps\": "
              "[\"true\"]}");
    finish(f, "aaaaaaaabb", STATE_SUCCEEDED, "");
    (void)snprintf(path, sizeof path, "%s/reports/jobs/same.md", f->root);
    report = until_file(f, path);
    str_free(&report);
    submit(f, "{\"id\": \"ccccccccdd\", \"name\": \"same\", \"steps\": "
              "[\"true\"]}");
    finish(f, "ccccccccdd", STATE_FAILED, "");
    (void)snprintf(path, sizeof path, "%s/reports/jobs/same-cccccccc.json",
                   f->root);
    report = until_file(f, path);
    str_free(&report);
}

static void
a_report_that_could_not_be_written_is_written_after_a_restart(void **state)
{
    struct fixture *f = *state;
    char path[200];
    struct str report;
    FILE *file;

    log_level_set(LOG_ERROR + 1); /* the failure is wanted */
    (void)snprintf(path, sizeof path, "%s/reports", f->root);
    file = fopen(path, "w"); /* in the way of the folder */
    assert_non_null(file);
    (void)fclose(file);
    submit(f, "{\"id\": \"t1\", \"name\": \"kept\", \"steps\": [\"true\"]}");
    finish(f, "t1", STATE_SUCCEEDED, "");
    until_state_is(f, "t1", "succeeded");
    stop(f);
    assert_int_equal(unlink(path), 0);
    log_level_set(LOG_ERROR);
    start(f);
    (void)snprintf(path, sizeof path, "%s/reports/jobs/kept.md", f->root);
    report = until_file(f, path);
    assert_non_null(strstr(str_text(&report), "kept: succeeded"));
    str_free(&report);
}

static void
delete_consumer(struct fixture *f, const char *name)
{
    char subject[SUBJECT_SIZE];
    struct str answer = {0};
    struct err e = {0};

    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE.%s", name);
    if (bus_call(f->bus, subject, "", 0, CALL_MS, &answer, &e) < 0)
        fail_msg("%s", e.msg);
    str_free(&answer);
}

static void
a_replay_of_the_streams_gives_the_same_reports(void **state)
{
    static const char *const files[] = {
        "reports/jobs/one.md", "reports/jobs/one.json", "reports/jobs/two.md",
        "reports/batches/pair.md", "reports/batches/pair.json"};
    enum { N = sizeof files / sizeof *files };
    struct fixture *f = *state;
    struct str before[N], after;
    char path[200];

    submit(f, "{\"id\": \"t1\", \"name\": \"one\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t2\", \"name\": \"two\", \"steps\": [\"false\"]}");
    submit(f, "{\"id\": \"m1\", \"steps\": [\"true\"], \"batch\": {\"id\": "
              "\"b\", \"name\": \"pair\", \"index\": 1, \"size\": 2}}");
    submit(f, "{\"id\": \"m2\", \"steps\": [\"true\"], \"batch\": {\"id\": "
              "\"b\", \"name\": \"pair\", \"index\": 2, \"size\": 2}}");
    for (int i = 0; i < 4; i++) {
        static const char *const ids[] = {"t1", "t2", "m1", "m2"};

        route(f, ids[i]);
        finish(f, ids[i], i == 1 ? STATE_FAILED : STATE_SUCCEEDED,
               i < 2 ? "" : "b");
    }
    until_counter(f, "succeeded", 3);
    for (size_t i = 0; i < N; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", f->root, files[i]);
        before[i] = until_file(f, path);
    }
    /* Let the last rewrite settle: everything was folded before. */
    until_state_is(f, "t2", "failed");
    stop(f);
    remove_all(f->dir);
    assert_int_equal(mkdir(f->dir, 0700), 0);
    delete_consumer(f, "TASKS_IN.ledger");
    delete_consumer(f, "TASKS.ledger");
    delete_consumer(f, "RESULTS.reaper");
    delete_consumer(f, "KV_control.ledger");
    provision(f);
    start(f);
    until_counter(f, "succeeded", 3);
    until_counter(f, "tasks", 4);
    json_decref(until_state(f, "t1", "succeeded"));
    json_decref(until_state(f, "t2", "failed"));
    json_decref(question(f, "batch", "{\"batch\": \"b\"}"));
    for (size_t i = 0; i < N; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", f->root, files[i]);
        after = until_file(f, path);
        assert_string_equal(str_text(&before[i]), str_text(&after));
        str_free(&before[i]);
        str_free(&after);
    }
}

static void
a_second_reaper_on_one_database_is_refused(void **state)
{
    struct fixture *f = *state;
    struct reaper *other = NULL;
    struct err e = {0};

    assert_int_equal(reaper_open(&other, f->bus, f->loop, &f->conf, &e), -1);
    assert_null(other);
    assert_non_null(strstr(e.msg, "another reaper"));
}

static void
it_goes_on_where_it_was_when_the_broker_comes_back(void **state)
{
    struct fixture *f = *state;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    until_state_is(f, "t1", "accepted");
    broker_kill(f->broker);
    broker_restart(f->broker);
    for (int64_t deadline = loop_now_ms() + LONG_MS;
         !(bus_is_up(f->bus) && bus_is_up(f->reaper_bus)) &&
         loop_now_ms() < deadline;) {
        bool never = false;

        (void)loop_until(f->loop, &never, 20);
    }
    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"]}");
    route(f, "t1");
    finish(f, "t1", STATE_SUCCEEDED, "");
    until_state_is(f, "t1", "succeeded");
    until_state_is(f, "t2", "accepted");
}

static void
what_runs_is_laid_over_the_answers(void **state)
{
    struct fixture *f = *state;
    char subject[SUBJECT_SIZE];
    struct str bytes = {0};
    struct claim c;
    json_t *o;

    submit(f, "{\"id\": \"t1\", \"steps\": [\"true\"]}");
    submit(f, "{\"id\": \"t2\", \"steps\": [\"true\"]}");
    route(f, "t1");
    route(f, "t2");
    until_state_is(f, "t2", "routed");
    codec_init(CODEC_CLAIM, &c);
    c.task = "t1";
    c.attempt = 1;
    c.worker = "w";
    c.state = STATE_RUNNING;
    c.started_at_ms = 1700000000000;
    codec_encode(CODEC_CLAIM, &c, &bytes);
    bus_send(f->bus, subject_started(subject, "t1"), bytes.data, bytes.len);
    str_free(&bytes);
    o = until_state(f, "t1", "running");
    assert_string_equal(text_of(o, "worker"), "w");
    assert_string_equal(text_of(o, "started_at"), "2023-11-14T22:13:20.000Z");
    json_decref(o);
    o = question(f, "list", "{\"states\": [\"running\"]}");
    assert_int_equal(json_array_size(json_object_get(o, "tasks")), 1);
    json_decref(o);
    o = question(f, "list", "{\"states\": [\"routed\"]}");
    assert_int_equal(json_array_size(json_object_get(o, "tasks")), 1);
    assert_string_equal(
        text_of(json_array_get(json_object_get(o, "tasks"), 0), "id"), "t2");
    json_decref(o);
    assert_int_equal(counter(f, "running"), 1);
    finish(f, "t1", STATE_SUCCEEDED, "");
    until_state_is(f, "t1", "succeeded");
    assert_int_equal(counter(f, "running"), 0);
}

/* --- what runs, without a broker ------------------------------------------ */

static void
a_full_heartbeat_says_what_does_not_run_any_more(void **unused)
{
    struct running_task one = {"t1", 1, 5, ""};
    struct heartbeat h;
    struct claim c;
    struct live *l;
    struct err e;

    (void)unused;
    assert_int_equal(live_open(&l, NULL, &e), 0);
    codec_init(CODEC_HEARTBEAT, &h);
    h.worker = "w";
    h.backend = "local";
    h.running = &one;
    h.n_running = h.running_count = 1;
    codec_init(CODEC_CLAIM, &c);
    c.task = "t2";
    c.worker = "w";
    c.attempt = 1;
    live_on_started(l, &c, "local", 1000);
    assert_non_null(live_find(l, "t2"));
    live_on_heartbeat(l, &h, "", 0, 2000);
    assert_non_null(live_find(l, "t1"));
    assert_null(live_find(l, "t2"));
    live_over(l, "t1");
    assert_null(live_find(l, "t1"));
    live_close(l);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, open_fixture, close_fixture)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_task_is_followed_from_submission_to_report),
        TEST(an_outcome_may_come_before_the_task),
        TEST(a_repeated_message_changes_nothing),
        TEST(a_result_that_does_not_know_the_nonce_is_set_aside),
        TEST(a_stale_outcome_is_kept_and_not_shown),
        TEST(junk_is_counted_and_harms_nothing),
        TEST(a_bad_question_gets_an_answer),
        TEST(a_blocked_task_goes_on_when_the_other_succeeded),
        TEST(a_blocked_task_is_cancelled_when_the_other_did_not_succeed),
        TEST(a_task_waits_for_its_time),
        TEST(a_cancel_of_a_held_task_is_carried_out_at_once),
        TEST(a_cancel_before_anybody_claimed_takes_the_claim),
        TEST(a_cancel_of_a_task_that_runs_is_the_workers),
        TEST(a_batch_is_told_of_and_reported_when_all_are_over),
        TEST(a_report_path_is_below_the_root_and_names_may_clash),
        TEST(a_report_that_could_not_be_written_is_written_after_a_restart),
        TEST(a_replay_of_the_streams_gives_the_same_reports),
        TEST(a_second_reaper_on_one_database_is_refused),
        TEST(it_goes_on_where_it_was_when_the_broker_comes_back),
        TEST(what_runs_is_laid_over_the_answers),
        cmocka_unit_test(a_full_heartbeat_says_what_does_not_run_any_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
