/*
 * bus_fixture - what the tests of bus share: a broker for the group, a loop and
 * a connection per test, callbacks that note what they were told.
 */
#ifndef TESTS_BUS_FIXTURE_H
#define TESTS_BUS_FIXTURE_H

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/bus.h"
#include "tests/broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WAIT_MS = 20000 };

struct bus_fixture {
    struct broker *broker;
    struct loop *loop;
    struct bus *bus;
};

static inline struct bus_conf
conf_of(const struct broker *b)
{
    return (struct bus_conf){.url = (char *)broker_url(b)};
}

/* --- one broker for the group, one connection per test -------------------- */

static inline int
group_setup(void **state)
{
    struct bus_fixture *f = MEM_NEW(struct bus_fixture);

    f->broker = broker_start();
    *state = f;
    return 0;
}

static inline int
group_teardown(void **state)
{
    struct bus_fixture *f = *state;

    broker_stop(f->broker);
    mem_free(f);
    return 0;
}

static inline int
setup(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_conf conf = conf_of(f->broker);
    struct err e = {0};

    assert_int_equal(loop_open(&f->loop, &e), 0);
    if (bus_open(&f->bus, f->loop, &conf, "test", 10000, &e) < 0)
        fail_msg("%s", e.msg);
    return 0;
}

static inline int
teardown(void **state)
{
    struct bus_fixture *f = *state;

    bus_close(f->bus);
    f->bus = NULL;
    loop_close(f->loop);
    f->loop = NULL;
    return 0;
}

static inline void
stop(void *ctx)
{
    loop_stop(ctx, 0);
}

static inline void
run_for(struct bus_fixture *f, int64_t ms)
{
    struct loop_timer *t = loop_timer_start(f->loop, ms, 0, stop, f->loop);

    (void)loop_run(f->loop);
    loop_timer_stop(t);
}

/* Runs the loop until *n is at least want. */
static inline void
wait_count(struct bus_fixture *f, const unsigned *n, unsigned want)
{
    int64_t give_up = loop_now_ms() + WAIT_MS;

    while (*n < want) {
        if (loop_now_ms() > give_up)
            fail_msg("%u of %u after %d ms", *n, want, WAIT_MS);
        run_for(f, 2);
    }
}

/* --- asking and waiting --------------------------------------------------- */

struct bus_result {
    bool done;
    enum err_code code; /* ERR_NONE: it went well */
    char msg[512];
    uint64_t seq;
    bool duplicate;
    bool absent;
    char subject[64], data[256];
    int64_t stored_at_ms;
};

static inline void
take_error(struct bus_result *r, const struct err *e)
{
    assert_false(r->done);
    r->done = true;
    if (e) {
        r->code = e->code;
        (void)str_copy(r->msg, sizeof r->msg, e->msg);
    }
}

static inline void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct bus_result *r = ctx;

    assert_true((stored != NULL) != (e != NULL));
    take_error(r, e);
    if (stored) {
        r->seq = stored->seq;
        r->duplicate = stored->duplicate;
    }
}

static inline void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct bus_result *r = ctx;

    take_error(r, e);
    r->absent = !entry && !e;
    if (entry) {
        r->seq = entry->revision;
        r->stored_at_ms = entry->stored_at_ms;
        (void)str_copy(r->subject, sizeof r->subject, entry->subject);
        assert_true(entry->len < sizeof r->data);
        if (entry->len)
            memcpy(r->data, entry->data, entry->len);
    }
}

static inline void
on_reply(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct bus_result *r = ctx;

    assert_true((note != NULL) != (e != NULL));
    take_error(r, e);
    if (note && note->len < sizeof r->data && note->len)
        memcpy(r->data, note->data, note->len);
}

static inline void
finish(struct bus_fixture *f, struct bus_result *r)
{
    if (!loop_until(f->loop, &r->done, WAIT_MS))
        fail_msg("no answer");
}

static inline struct bus_result
publish(struct bus_fixture *f, const char *subject, const char *id,
        const char *data, int64_t expect)
{
    struct bus_publication p = {.subject = subject,
                                .id = id,
                                .data = data,
                                .len = strlen(data),
                                .expect = expect};
    struct bus_result r = {0};

    bus_publish(f->bus, &p, 5000, on_stored, &r);
    assert_false(r.done); /* never from inside the call */
    finish(f, &r);
    return r;
}

static inline struct bus_result
get_last(struct bus_fixture *f, const char *stream, const char *subject)
{
    struct bus_result r = {0};

    bus_get_last(f->bus, stream, subject, 5000, on_entry, &r);
    finish(f, &r);
    return r;
}

static inline struct bus_result
get_next(struct bus_fixture *f, const char *stream, const char *subject,
         uint64_t seq)
{
    struct bus_result r = {0};

    bus_get_next(f->bus, stream, subject, seq, 5000, on_entry, &r);
    finish(f, &r);
    return r;
}

static inline void
api(struct bus_fixture *f, const char *subject, const char *body)
{
    struct str answer = {0};
    char full[128];
    struct err e;

    (void)snprintf(full, sizeof full, "$JS.API.%s", subject);
    if (bus_call(f->bus, full, body, strlen(body), 5000, &answer, &e) < 0)
        fail_msg("%s", e.msg);
    if (strstr(str_text(&answer), "\"error\""))
        fail_msg("%s: %s", full, str_text(&answer));
    str_free(&answer);
}

/* A stream of that name for name.>, with a durable "c". */
static inline void
make_stream(struct bus_fixture *f, const char *name)
{
    char subject[64], body[512];

    (void)snprintf(subject, sizeof subject, "STREAM.CREATE.%s", name);
    (void)snprintf(body, sizeof body,
                   "{\"name\":\"%s\",\"subjects\":[\"%s.>\"],\"allow_direct\":"
                   "true,\"storage\":\"file\",\"num_replicas\":1,"
                   "\"retention\":\"limits\",\"duplicate_window\":60000000000}",
                   name, name);
    api(f, subject, body);
}

static inline void
make_durable(struct bus_fixture *f, const char *name)
{
    char subject[64], body[512];

    (void)snprintf(subject, sizeof subject, "CONSUMER.DURABLE.CREATE.%s.c",
                   name);
    (void)snprintf(body, sizeof body,
                   "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"c\","
                   "\"ack_policy\":\"explicit\",\"deliver_policy\":\"all\","
                   "\"ack_wait\":30000000000,\"max_ack_pending\":1000}}",
                   name);
    api(f, subject, body);
}

static inline void
make(struct bus_fixture *f, const char *name)
{
    make_stream(f, name);
    make_durable(f, name);
}

/* --- listeners ------------------------------------------------------------ */

struct listener {
    unsigned count;
    char data[64], reply[128];
    struct bus *answer_on; /* answers each request */
};

static inline void
on_note(void *ctx, const struct bus_note *note)
{
    struct listener *l = ctx;

    l->count++;
    assert_true(note->len < sizeof l->data);
    memset(l->data, 0, sizeof l->data);
    if (note->len)
        memcpy(l->data, note->data, note->len);
    (void)str_copy(l->reply, sizeof l->reply, note->reply);
    if (l->answer_on)
        bus_publish_core(l->answer_on, note->reply, "pong", 4);
}

/* --- readers of a stream ---------------------------------------------------
 */

struct reader {
    struct bus_consumer *consumer;
    struct bus_msg *held[64];
    unsigned n_held, count, most_unsettled;
    bool hold; /* keep messages; else settle them */
    uint64_t last_seq, delivered;
    bool disorder;
    int64_t first_at, second_at; /* of the first message's deliveries */
    char id[64], data[64];
};

static inline void
on_msg(void *ctx, struct bus_msg *m)
{
    struct reader *r = ctx;
    unsigned unsettled = bus_consumer_unsettled(r->consumer);

    r->count++;
    r->delivered = m->delivered;
    if (m->delivered == 1 && m->seq <= r->last_seq)
        r->disorder = true;
    r->last_seq = m->seq;
    if (unsettled > r->most_unsettled)
        r->most_unsettled = unsettled;
    (void)str_copy(r->id, sizeof r->id, m->id);
    assert_true(m->len < sizeof r->data);
    memset(r->data, 0, sizeof r->data);
    if (m->len)
        memcpy(r->data, m->data, m->len);
    if (r->hold)
        r->held[r->n_held++] = m;
    else
        bus_msg_done(m);
}

static inline void
consume(struct bus_fixture *f, struct bus *b, const char *stream,
        struct reader *r)
{
    struct err e;

    (void)f;
    if (bus_consume(b, stream, "c", on_msg, r, &r->consumer, &e) < 0)
        fail_msg("%s", e.msg);
}

static inline void
publish_many(struct bus_fixture *f, const char *subject, unsigned n)
{
    struct bus_result *r = mem_zero(n, sizeof *r);
    struct bus_publication p = {
        .subject = subject, .data = "x", .len = 1, .expect = BUS_ANY_REVISION};

    for (unsigned i = 0; i < n; i++)
        bus_publish(f->bus, &p, 10000, on_stored, &r[i]);
    for (unsigned i = 0; i < n; i++) {
        finish(f, &r[i]);
        assert_int_equal(r[i].code, ERR_NONE);
    }
    mem_free(r);
}

/* --- events ----------------------------------------------------------------
 */

struct events {
    unsigned up, down, denied;
    char text[256];
};

static inline void
on_event(void *ctx, enum bus_event event, const char *text)
{
    struct events *ev = ctx;

    switch (event) {
    case BUS_UP:
        ev->up++;
        break;
    case BUS_DOWN:
        ev->down++;
        break;
    case BUS_DENIED:
        ev->denied++;
        (void)str_copy(ev->text, sizeof ev->text, text);
        break;
    case BUS_CLOSED:
        fail_msg("closed: %s", text);
        break;
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* The bucket KV_control as topology makes it, emptied for each test. */
static inline void
make_control_bucket(struct bus_fixture *f)
{
    struct str answer = {0};
    struct err e;
    static const char del[] = "$JS.API.STREAM.DELETE.KV_control";

    (void)bus_call(f->bus, del, "", 0, 5000, &answer, &e); /* may not exist */
    str_free(&answer);
    api(f, "STREAM.CREATE.KV_control",
        "{\"name\":\"KV_control\",\"subjects\":[\"$KV.control.>\"],"
        "\"allow_direct\":true,\"storage\":\"file\",\"num_replicas\":1,"
        "\"retention\":\"limits\",\"max_msgs_per_subject\":1,"
        "\"duplicate_window\":60000000000}");
}

#endif
