/*
 * worker_fixture - a worker of this machine on a real broker, and what a test
 * does with it: submit tasks, put claims, wait for results.
 *
 * For one test program: it has its own copy of everything.
 */
#ifndef TESTS_WORKER_FIXTURE_H
#define TESTS_WORKER_FIXTURE_H

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "tests/broker.h"
#include "tests/folder.h"
#include "workers/core/worker.h"
#include "workers/local/local.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants these before it */
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 25000, RESULTS_MAX = 256, LEASE_MS = 1500 };

static struct broker *broker;
static struct loop *loop;
static struct bus *bus; /* the test's own; the worker has another */
static struct local *local;
static struct bus_consumer *results;
static char none[] = "";
static char folder[] = "/tmp/shunt-worker-XXXXXX";
static char state_dir[64];

/* What was stored on results.>. It is read from the stream, as the ledger
 * does: after a broker's restart a worker may be connected again before the
 * test is, and a live message would be missed. */
static struct {
    struct mem_pool *pool;
    struct result r[RESULTS_MAX];
    size_t n;
    uint64_t seq; /* of the newest message */
} seen;

static inline void
take_results(const struct bus_msg *m)
{
    struct codec_multi many;
    struct bytes data;
    struct err e;

    assert_int_equal(
        codec_multi_open(&many, CODEC_RESULTS, m->data, m->len, &e), 0);
    while (codec_multi_next(&many, &data)) {
        assert_true(seen.n < RESULTS_MAX);
        assert_int_equal(codec_decode(CODEC_RESULT, data.data, data.len,
                                      seen.pool, &seen.r[seen.n], &e),
                         0);
        seen.n++;
    }
    codec_multi_close(&many);
    seen.seq = m->seq;
}

static inline void
on_results(void *ctx, struct bus_msg *m)
{
    (void)ctx;
    if (m->seq > seen.seq) /* or it comes again */
        take_results(m);
    bus_msg_done(m);
}

static inline struct bus_conf
bus_conf(void)
{
    struct bus_conf bc = {none, none, none,  none, none,
                          none, none, false, none};

    bc.url = (char *)(uintptr_t)broker_url(broker);
    return bc;
}

/* Creates what of the streams and consumers is missing. */
static inline void
provision(void)
{
    struct jetstream_conf tc = {.replicas = 1,
                                .max_bytes = -1,
                                .max_age_ms = 3600000,
                                .log_retention_ms = 3600000,
                                .log_max_bytes = -1,
                                .lanes = (char *[]){NULL}};
    struct err e;

    if (jetstream_provision(bus, &tc,
                            &(struct jetstream_rules){.change = true,
                                                      .allow_shrink = true,
                                                      .by = "test"},
                            NULL, NULL, &e) < 0)
        fail_msg("%s", e.msg);
}

static inline int
setup(void **state)
{
    struct bus_conf bc;
    struct err e;

    (void)state;
    broker = broker_start();
    bc = bus_conf();
    seen.pool = mem_pool_new();
    assert_non_null(mkdtemp(folder));
    log_level_set(LOG_ERROR);
    if (loop_open(&loop, &e) < 0 ||
        bus_open(&bus, loop, &bc, "test", PATIENCE_MS, &e) < 0 ||
        local_open(&local, loop, "/bin/bash", 300, &e) < 0)
        fail_msg("%s", e.msg);
    provision();
    if (bus_consume(bus, "RESULTS", "reaper", on_results, NULL, &results, &e) <
        0)
        fail_msg("%s", e.msg);
    bus_consumer_window(results, RESULTS_MAX);
    return 0;
}

static inline int
teardown(void **state)
{
    (void)state;
    local_close(local);
    bus_consumer_close(results);
    bus_close(bus);
    loop_close(loop);
    broker_stop(broker);
    mem_pool_free(seen.pool);
    (void)folder_remove(folder);
    return 0;
}

/* --- a worker and its tasks ---------------------------------------------- */

struct worker_fixture {
    struct worker_conf conf;
    struct state_dir *dir;
    struct bus *bus;
    struct worker *worker;
};

static char *lanes[] = {(char[]){"default"}, NULL};

/* A worker of that name; both texts must outlive it. */
static inline void
open_fixture_in(struct worker_fixture *s, char *name, char *dir, int64_t slots)
{
    struct err e;

    *s = (struct worker_fixture){.conf = {.bus = bus_conf(),
                                          .name = name,
                                          .state_dir = dir,
                                          .lanes = lanes,
                                          .slots = slots,
                                          .lease_ms = LEASE_MS,
                                          .grace_ms = 300,
                                          .drain_timeout_ms = 60000,
                                          .output_head = 65536,
                                          .output_tail = 65536}};
    if (state_dir_open(&s->dir, name, dir, &e) < 0 ||
        bus_open(&s->bus, loop, &s->conf.bus, "worker-local", PATIENCE_MS, &e) <
            0 ||
        worker_open(&s->worker, s->bus, loop, &s->conf, s->dir, &local_executor,
                    local, &e) < 0)
        fail_msg("%s", e.msg);
}

static inline void
open_fixture(struct worker_fixture *s, int64_t slots)
{
    static char name[] = "w1";

    (void)snprintf(state_dir, sizeof state_dir, "%s/state", folder);
    open_fixture_in(s, name, state_dir, slots);
}

static inline void
close_fixture(struct worker_fixture *s)
{
    worker_close(s->worker);
    bus_close(s->bus);
    state_dir_close(s->dir);
}

static inline void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    if (e)
        fail_msg("%s", e->msg);
    *(uint64_t *)ctx = stored->seq;
}

static inline uint64_t
store(const char *subject, const void *data, size_t len)
{
    struct bus_publication p = {.subject = subject,
                                .data = data,
                                .len = len,
                                .expect = BUS_ANY_REVISION};
    uint64_t seq = 0;
    int64_t until = loop_now_ms() + PATIENCE_MS;
    bool never = false;

    bus_publish(bus, &p, PATIENCE_MS, on_stored, &seq);
    while (seq == 0 && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    assert_true(seq > 0);
    return seq;
}

/* A task with one shell step, ready to be changed. */
struct order {
    struct task task;
    struct step steps[3];
    struct decision decision;
};

static inline void
order(struct order *o, const char *id, const char *script)
{
    memset(o, 0, sizeof *o);
    codec_init(CODEC_TASK, &o->task);
    codec_init(CODEC_DECISION, &o->decision);
    o->task.id = id;
    o->task.source = "cli";
    for (int i = 0; i < 3; i++)
        o->steps[i] = (struct step){
            .name = "", .kind = STEP_SHELL, .script = script, .workdir = ""};
    o->task.steps = o->steps;
    o->task.n_steps = 1;
    o->decision.backend = "local";
    o->decision.lane = "default";
    o->decision.rule = o->decision.reason = "test";
}

static inline void
submit(struct order *o)
{
    struct routed_task rt = {&o->task, &o->decision, 0};
    struct str bytes = {0};

    codec_encode(CODEC_ROUTED_TASK, &rt, &bytes);
    (void)store("tasks.local.default", bytes.data, bytes.len);
    str_free(&bytes);
}

/* The same of n of them, as one message. */
static inline void
submit_together(struct order *const *orders, size_t n)
{
    struct str message = {0}, bytes = {0};

    for (size_t i = 0; i < n; i++) {
        struct routed_task rt = {&orders[i]->task, &orders[i]->decision, 0};

        str_reset(&bytes);
        codec_encode(CODEC_ROUTED_TASK, &rt, &bytes);
        codec_multi_add(CODEC_ROUTED_TASKS, &message, bytes.data, bytes.len);
    }
    (void)store("tasks.local.default", message.data, message.len);
    str_free(&bytes);
    str_free(&message);
}

static inline void
submit_sh(const char *id, const char *script)
{
    struct order o;

    order(&o, id, script);
    submit(&o);
}

static inline void
request_cancel(const char *task)
{
    struct control c = {.task = task,
                        .verb = "cancel",
                        .reason = "not needed",
                        .by = "me@here",
                        .at_ms = 1,
                        .worker = ""};
    char subject[SUBJECT_SIZE];
    struct str bytes = {0};

    codec_encode(CODEC_CONTROL, &c, &bytes);
    (void)store(subject_cancel(subject, task), bytes.data, bytes.len);
    str_free(&bytes);
}

static inline uint64_t
put_claim(const struct claim *c)
{
    char subject[SUBJECT_SIZE];
    struct str bytes = {0};
    uint64_t seq;

    codec_encode(CODEC_CLAIM, c, &bytes);
    seq =
        store(subject_claim(subject, "local", c->task), bytes.data, bytes.len);
    str_free(&bytes);
    return seq;
}

struct lookup {
    struct claim claim;
    struct mem_pool *pool;
    uint64_t revision;
    bool answered, found;
};

static inline void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct lookup *l = ctx;
    struct err bad;

    assert_null(e);
    l->answered = true;
    l->found = entry && codec_decode(CODEC_CLAIM, entry->data, entry->len,
                                     l->pool, &l->claim, &bad) == 0;
    l->revision = entry ? entry->revision : 0;
}

/* The claim of a task; free its pool. */
static inline void
get_claim(const char *task, struct lookup *l)
{
    char subject[SUBJECT_SIZE];

    *l = (struct lookup){.pool = mem_pool_new()};
    bus_get_last(bus, "KV_claims", subject_claim(subject, "local", task),
                 PATIENCE_MS, on_entry, l);
    assert_true(loop_until(loop, &l->answered, PATIENCE_MS));
}

static inline const struct result *
find_result(const char *task, uint32_t attempt)
{
    for (size_t i = 0; i < seen.n; i++)
        if (strcmp(seen.r[i].task, task) == 0 && seen.r[i].attempt == attempt)
            return &seen.r[i];
    return NULL;
}

static inline const struct result *
result(const char *task, uint32_t attempt)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    const struct result *r;
    bool never = false;

    while (!(r = find_result(task, attempt)) && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    if (!r)
        fail_msg("no result of %s, attempt %u", task, attempt);
    return r;
}

static inline char *
output_of(const struct result *r)
{
    struct str s = {0};

    for (size_t i = 0; i < r->n_output; i++)
        str_add(&s, r->output[i].data.data, r->output[i].data.len);
    str_addz(&s, "");
    return s.data;
}

static inline void
assert_output(const struct result *r, const char *want)
{
    char *text = output_of(r);

    assert_string_equal(text, want);
    free(text);
}

/* A script that says in a file that it runs, then goes on. */
static inline const char *
announcing(const char *then, char *out, size_t size)
{
    (void)snprintf(out, size, "echo $$ >%s/new; mv %s/new %s/file; %s", folder,
                   folder, folder, then);
    return out;
}

/* Waits until it has said so; returns its pid. */
static inline pid_t
announced(void)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    bool never = false;
    char path[300];
    int pid = 0;
    FILE *f = NULL;

    (void)snprintf(path, sizeof path, "%s/file", folder);
    while (!(f = fopen(path, "re")) && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    (void)fclose(f);
    (void)unlink(path);
    return (pid_t)pid;
}

static inline bool
is_gone(pid_t pid)
{
    int64_t until = loop_now_ms() + PATIENCE_MS;
    bool never = false;

    while (kill(pid, 0) == 0 && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    return kill(pid, 0) < 0 && errno == ESRCH;
}

#endif
