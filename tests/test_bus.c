#include "lib/bus.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "tests/broker.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 20000 };

static char no_file[] = "";

struct fixture {
    struct broker *broker;
    struct loop *loop;
    struct bus *bus;
};

static struct bus_conf
conf_of(const struct broker *b)
{
    return (struct bus_conf){.url = (char *)broker_url(b),
                             .token_file = no_file,
                             .creds_file = no_file,
                             .nkey_file = no_file,
                             .ca_file = no_file,
                             .cert_file = no_file,
                             .key_file = no_file};
}

/* --- one broker for the group, one connection per test -------------------- */

static int
group_setup(void **state)
{
    struct fixture *f = MEM_NEW(struct fixture);

    f->broker = broker_start();
    *state = f;
    return 0;
}

static int
group_teardown(void **state)
{
    struct fixture *f = *state;

    broker_stop(f->broker);
    mem_free(f);
    return 0;
}

static int
setup(void **state)
{
    struct fixture *f = *state;
    struct bus_conf conf = conf_of(f->broker);
    struct err e = {0};

    assert_int_equal(loop_open(&f->loop, &e), 0);
    if (bus_open(&f->bus, f->loop, &conf, "test", 10000, &e) < 0)
        fail_msg("%s", e.msg);
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    bus_close(f->bus);
    f->bus = NULL;
    loop_close(f->loop);
    f->loop = NULL;
    return 0;
}

static void
stop(void *ctx)
{
    loop_stop(ctx, 0);
}

static void
run_for(struct fixture *f, int64_t ms)
{
    struct loop_timer *t = loop_timer_start(f->loop, ms, 0, stop, f->loop);

    (void)loop_run(f->loop);
    loop_timer_stop(t);
}

/* Runs the loop until *n is at least want. */
static void
wait_count(struct fixture *f, const unsigned *n, unsigned want)
{
    int64_t give_up = loop_now_ms() + WAIT_MS;

    while (*n < want) {
        if (loop_now_ms() > give_up)
            fail_msg("%u of %u after %d ms", *n, want, WAIT_MS);
        run_for(f, 2);
    }
}

/* --- asking and waiting --------------------------------------------------- */

struct result {
    bool done;
    enum err_code code; /* ERR_NONE: it went well */
    char msg[512];
    uint64_t seq;
    bool duplicate;
    bool absent;
    char subject[64], data[256];
    int64_t stored_at_ms;
};

static void
take_error(struct result *r, const struct err *e)
{
    assert_false(r->done);
    r->done = true;
    if (e) {
        r->code = e->code;
        (void)str_copy(r->msg, sizeof r->msg, e->msg);
    }
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct result *r = ctx;

    assert_true((stored != NULL) != (e != NULL));
    take_error(r, e);
    if (stored) {
        r->seq = stored->seq;
        r->duplicate = stored->duplicate;
    }
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct result *r = ctx;

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

static void
on_reply(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct result *r = ctx;

    assert_true((note != NULL) != (e != NULL));
    take_error(r, e);
    if (note && note->len < sizeof r->data && note->len)
        memcpy(r->data, note->data, note->len);
}

static void
finish(struct fixture *f, struct result *r)
{
    if (!loop_until(f->loop, &r->done, WAIT_MS))
        fail_msg("no answer");
}

static struct result
publish(struct fixture *f, const char *subject, const char *id,
        const char *data, int64_t expect)
{
    struct bus_publication p = {.subject = subject,
                                .id = id,
                                .data = data,
                                .len = strlen(data),
                                .expect = expect};
    struct result r = {0};

    bus_publish(f->bus, &p, 5000, on_stored, &r);
    assert_false(r.done); /* never from inside the call */
    finish(f, &r);
    return r;
}

static struct result
get_last(struct fixture *f, const char *stream, const char *subject)
{
    struct result r = {0};

    bus_get_last(f->bus, stream, subject, 5000, on_entry, &r);
    finish(f, &r);
    return r;
}

static struct result
get_next(struct fixture *f, const char *stream, const char *subject,
         uint64_t seq)
{
    struct result r = {0};

    bus_get_next(f->bus, stream, subject, seq, 5000, on_entry, &r);
    finish(f, &r);
    return r;
}

static void
api(struct fixture *f, const char *subject, const char *body)
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
static void
make_stream(struct fixture *f, const char *name)
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

static void
make_durable(struct fixture *f, const char *name)
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

static void
make(struct fixture *f, const char *name)
{
    make_stream(f, name);
    make_durable(f, name);
}

/* --- durable messages ----------------------------------------------------- */

static void
a_published_message_gets_the_next_sequence(void **state)
{
    struct fixture *f = *state;
    struct result r;

    make(f, "seq");
    r = publish(f, "seq.a", NULL, "one", BUS_ANY_REVISION);
    assert_int_equal(r.code, ERR_NONE);
    assert_int_equal(r.seq, 1);
    r = publish(f, "seq.b", NULL, "two", BUS_ANY_REVISION);
    assert_int_equal(r.seq, 2);
    assert_false(r.duplicate);
}

static void
the_same_id_is_stored_once(void **state)
{
    struct fixture *f = *state;
    struct result r;

    make(f, "dup");
    assert_false(publish(f, "dup.a", "id1", "x", BUS_ANY_REVISION).duplicate);
    r = publish(f, "dup.a", "id1", "x", BUS_ANY_REVISION);
    assert_int_equal(r.code, ERR_NONE);
    assert_true(r.duplicate);
    assert_int_equal(r.seq, 1);
}

static void
a_revision_that_does_not_hold_is_a_conflict(void **state)
{
    struct fixture *f = *state;
    struct result r;

    make(f, "cas");
    r = publish(f, "cas.k", NULL, "v1", 0);
    assert_int_equal(r.code, ERR_NONE);
    assert_int_equal(publish(f, "cas.k", NULL, "v2", 0).code, ERR_CONFLICT);
    assert_int_equal(publish(f, "cas.other", NULL, "o", 0).code, ERR_NONE);
    r = publish(f, "cas.k", NULL, "v2", (int64_t)r.seq);
    assert_int_equal(r.code, ERR_NONE);
    assert_int_equal(publish(f, "cas.k", NULL, "v3", 1).code, ERR_CONFLICT);
    assert_string_equal(get_last(f, "cas", "cas.k").data, "v2");
}

static void
publishing_where_no_stream_listens_is_unavailable(void **state)
{
    struct result r =
        publish(*state, "nowhere.at.all", NULL, "x", BUS_ANY_REVISION);

    assert_int_equal(r.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(r.msg, "nowhere.at.all"));
}

static void
a_message_larger_than_the_broker_allows_is_invalid(void **state)
{
    struct fixture *f = *state;
    size_t max = bus_max_payload(f->bus);
    char *data = mem_zero(1, max + 1);
    struct bus_publication p = {.subject = "big.x",
                                .id =
                                    "0123456789012345678901234567890123456789",
                                .data = data,
                                .len = max + 1,
                                .expect = BUS_ANY_REVISION};
    struct result r = {0}, fits = {0};

    make(f, "big");
    bus_publish(f->bus, &p, 5000, on_stored, &r);
    finish(f, &r);
    assert_int_equal(r.code, ERR_INVALID);
    p.len = max;
    p.expect = 0;
    bus_publish(f->bus, &p, 5000, on_stored, &fits);
    finish(f, &fits);
    assert_int_equal(fits.code, ERR_NONE);
    mem_free(data);
}

static void
text_that_would_break_the_protocol_is_invalid(void **state)
{
    struct fixture *f = *state;

    make(f, "inj");
    assert_int_equal(publish(f, "inj.a b", NULL, "x", BUS_ANY_REVISION).code,
                     ERR_INVALID);
    assert_int_equal(
        publish(f, "inj.a", "id\r\nNats-Rollup: all", "x", BUS_ANY_REVISION)
            .code,
        ERR_INVALID);
    assert_int_equal(publish(f, "", NULL, "x", BUS_ANY_REVISION).code,
                     ERR_INVALID);
}

static void
a_stream_that_is_full_is_unavailable(void **state)
{
    struct fixture *f = *state;

    api(f, "STREAM.CREATE.full",
        "{\"name\":\"full\",\"subjects\":[\"full.>\"],\"storage\":\"file\","
        "\"num_replicas\":1,\"retention\":\"limits\",\"discard\":\"new\","
        "\"max_msgs\":1}");
    assert_int_equal(publish(f, "full.a", NULL, "x", BUS_ANY_REVISION).code,
                     ERR_NONE);
    assert_int_equal(publish(f, "full.b", NULL, "x", BUS_ANY_REVISION).code,
                     ERR_UNAVAILABLE);
}

/* --- reading single messages ---------------------------------------------- */

static void
the_last_message_of_a_subject_is_read_or_absent(void **state)
{
    struct fixture *f = *state;
    struct result r;
    int64_t now = str_wall_ms();

    make(f, "kv");
    r = get_last(f, "kv", "kv.a");
    assert_int_equal(r.code, ERR_NONE);
    assert_true(r.absent);
    (void)publish(f, "kv.a", NULL, "old", BUS_ANY_REVISION);
    (void)publish(f, "kv.a", NULL, "new", BUS_ANY_REVISION);
    (void)publish(f, "kv.b", NULL, "other", BUS_ANY_REVISION);
    r = get_last(f, "kv", "kv.a");
    assert_false(r.absent);
    assert_string_equal(r.data, "new");
    assert_string_equal(r.subject, "kv.a");
    assert_int_equal(r.seq, 2);
    assert_true(r.stored_at_ms >= now - 5000);
    assert_true(r.stored_at_ms <= str_wall_ms() + 5000);
}

static void
messages_of_a_subject_are_walked_through_in_order(void **state)
{
    struct fixture *f = *state;
    uint64_t seq = 0;
    struct result r;
    char want[16];

    make(f, "walk");
    for (int i = 0; i < 6; i++) {
        (void)snprintf(want, sizeof want, "m%d", i);
        (void)publish(f, i % 2 ? "walk.odd" : "walk.even", NULL, want,
                      BUS_ANY_REVISION);
    }
    for (int i = 1; i < 6; i += 2) {
        r = get_next(f, "walk", "walk.odd", seq);
        (void)snprintf(want, sizeof want, "m%d", i);
        assert_string_equal(r.data, want);
        assert_string_equal(r.subject, "walk.odd");
        seq = r.seq + 1;
    }
    assert_true(get_next(f, "walk", "walk.odd", seq).absent);
}

static void
reading_a_stream_that_does_not_exist_is_no_absence(void **state)
{
    struct fixture *f = *state;
    struct result last = {0}, next = {0};

    bus_get_last(f->bus, "missing", "missing.a", 300, on_entry, &last);
    bus_get_next(f->bus, "missing", "missing.a", 1, 300, on_entry, &next);
    finish(f, &last);
    finish(f, &next);
    assert_int_equal(last.code, ERR_TIMEOUT); /* the broker keeps silent */
    assert_int_equal(next.code, ERR_TIMEOUT);
}

/* --- consumers ------------------------------------------------------------ */

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

static void
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

static void
consume(struct fixture *f, struct bus *b, const char *stream, struct reader *r)
{
    struct err e;

    (void)f;
    if (bus_consume(b, stream, "c", on_msg, r, &r->consumer, &e) < 0)
        fail_msg("%s", e.msg);
}

static void
publish_many(struct fixture *f, const char *subject, unsigned n)
{
    struct result *r = mem_zero(n, sizeof *r);
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

static void
a_consumer_hands_over_what_was_published(void **state)
{
    struct fixture *f = *state;
    struct reader r = {0};

    make(f, "one");
    consume(f, f->bus, "one", &r);
    (void)publish(f, "one.a", "the-id", "hello", BUS_ANY_REVISION);
    run_for(f, 50);
    assert_int_equal(r.count, 0); /* no window, no messages */
    bus_consumer_window(r.consumer, 4);
    wait_count(f, &r.count, 1);
    assert_string_equal(r.data, "hello");
    assert_string_equal(r.id, "the-id");
    assert_int_equal(r.delivered, 1);
    bus_consumer_close(r.consumer);
}

static void
pulls_overlap_and_nothing_comes_twice_or_out_of_order(void **state)
{
    struct fixture *f = *state;
    struct reader r = {0};

    make(f, "many");
    publish_many(f, "many.a", 2000);
    consume(f, f->bus, "many", &r);
    bus_consumer_window(r.consumer, 16);
    wait_count(f, &r.count, 2000);
    run_for(f, 100);
    assert_int_equal(r.count, 2000);
    assert_false(r.disorder);
    assert_true(r.most_unsettled <= 16);
    publish_many(f, "many.a", 100); /* and it goes on */
    wait_count(f, &r.count, 2100);
    bus_consumer_close(r.consumer);
}

static void
no_more_than_the_window_is_unsettled(void **state)
{
    struct fixture *f = *state;
    struct reader r = {.hold = true};

    make(f, "win");
    publish_many(f, "win.a", 20);
    consume(f, f->bus, "win", &r);
    bus_consumer_window(r.consumer, 5);
    wait_count(f, &r.count, 5);
    run_for(f, 100);
    assert_int_equal(r.count, 5);
    /* Each place that becomes free is filled, also a single one. */
    bus_msg_done(r.held[0]);
    wait_count(f, &r.count, 6);
    run_for(f, 50);
    assert_int_equal(r.count, 6);
    for (unsigned i = 1; i < 6; i++)
        bus_msg_done(r.held[i]);
    wait_count(f, &r.count, 11);
    assert_int_equal(bus_consumer_unsettled(r.consumer), 5);
    bus_consumer_close(r.consumer);
    for (unsigned i = 6; i < r.n_held; i++)
        bus_msg_drop(r.held[i]); /* valid although it is closed */
}

static void
a_message_to_retry_comes_again_after_the_delay(void **state)
{
    struct fixture *f = *state;
    struct reader r = {.hold = true};
    int64_t before;

    make(f, "again");
    consume(f, f->bus, "again", &r);
    bus_consumer_window(r.consumer, 1);
    (void)publish(f, "again.a", NULL, "x", BUS_ANY_REVISION);
    wait_count(f, &r.count, 1);
    before = loop_now_ms();
    bus_msg_retry(r.held[0], 700);
    wait_count(f, &r.count, 2);
    assert_true(loop_now_ms() - before >= 600);
    assert_int_equal(r.delivered, 2);
    before = loop_now_ms();
    bus_msg_retry(r.held[1], 0);
    wait_count(f, &r.count, 3);
    assert_true(loop_now_ms() - before < 600);
    bus_msg_done(r.held[2]);
    bus_consumer_close(r.consumer);
}

static void
with_window_zero_what_still_arrives_is_handed_back(void **state)
{
    struct fixture *f = *state;
    struct bus_conf conf = conf_of(f->broker);
    struct reader idle = {.hold = true}, busy = {.hold = true};
    struct bus *other;
    struct err e;

    make(f, "back");
    assert_int_equal(bus_open(&other, f->loop, &conf, "other", 5000, &e), 0);
    consume(f, f->bus, "back", &idle);
    bus_consumer_window(idle.consumer, 3);
    run_for(f, 100); /* its pull stands first in the broker's queue */
    bus_consumer_window(idle.consumer, 0);
    consume(f, other, "back", &busy);
    bus_consumer_window(busy.consumer, 8);
    publish_many(f, "back.a", 3);
    wait_count(f, &busy.count, 3);
    assert_int_equal(idle.count, 0);
    for (unsigned i = 0; i < busy.n_held; i++)
        bus_msg_done(busy.held[i]);
    bus_consumer_close(idle.consumer);
    bus_consumer_close(busy.consumer);
    bus_close(other);
}

/* --- core NATS ------------------------------------------------------------ */

struct listener {
    unsigned count;
    char data[64], reply[128];
    struct bus *answer_on; /* answers each request */
};

static void
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
        bus_send(l->answer_on, note->reply, "pong", 4);
}

static void
a_consumer_that_is_deleted_is_taken_up_again_when_it_returns(void **state)
{
    struct fixture *f = *state;
    struct reader r = {0};

    make(f, "del");
    consume(f, f->bus, "del", &r);
    bus_consumer_window(r.consumer, 4);
    (void)publish(f, "del.a", NULL, "1", BUS_ANY_REVISION);
    wait_count(f, &r.count, 1);
    api(f, "CONSUMER.DELETE.del.c", "");
    run_for(f, 300);
    make_durable(f, "del"); /* a new one: delivers from the start */
    wait_count(f, &r.count, 2);
    bus_consumer_close(r.consumer);
}

static void
a_consumer_that_is_gone_is_not_asked_in_a_loop(void **state)
{
    struct fixture *f = *state;
    struct listener spy = {0};
    struct reader r = {0};
    struct bus_sub *s;
    struct err e;

    make(f, "gone");
    assert_int_equal(bus_subscribe(f->bus, "$JS.API.CONSUMER.MSG.NEXT.gone.c",
                                   on_note, &spy, &s, &e),
                     0);
    consume(f, f->bus, "gone", &r);
    bus_consumer_window(r.consumer, 4);
    wait_count(f, &spy.count, 1);
    api(f, "CONSUMER.DELETE.gone.c", "");
    run_for(f, 2500);
    assert_true(spy.count >= 2); /* asked again, */
    assert_true(spy.count <= 4); /* a second apart */
    bus_consumer_close(r.consumer);
    bus_unsubscribe(s);
}

static void
news_reaches_subscribers_until_they_leave(void **state)
{
    struct fixture *f = *state;
    struct listener a = {0}, b = {0};
    struct bus_sub *sa, *sb;
    struct err e;

    assert_int_equal(bus_subscribe(f->bus, "hb.>", on_note, &a, &sa, &e), 0);
    assert_int_equal(bus_subscribe(f->bus, "hb.x", on_note, &b, &sb, &e), 0);
    bus_send(f->bus, "hb.x", "beat", 4);
    wait_count(f, &a.count, 1);
    wait_count(f, &b.count, 1);
    assert_string_equal(a.data, "beat");
    assert_string_equal(a.reply, "");
    bus_unsubscribe(sb);
    bus_send(f->bus, "hb.x", "two", 3);
    wait_count(f, &a.count, 2);
    assert_int_equal(b.count, 1);
    bus_unsubscribe(sa);
}

static void
a_request_is_answered(void **state)
{
    struct fixture *f = *state;
    struct listener l = {.answer_on = f->bus};
    struct str answer = {0};
    struct bus_sub *s;
    struct err e;

    assert_int_equal(bus_subscribe(f->bus, "ask.me", on_note, &l, &s, &e), 0);
    assert_int_equal(bus_call(f->bus, "ask.me", "ping", 4, 5000, &answer, &e),
                     0);
    assert_string_equal(str_text(&answer), "pong");
    assert_string_equal(l.data, "ping");
    assert_int_equal(strncmp(l.reply, "_INBOX.test.", 12), 0);
    str_free(&answer);
    bus_unsubscribe(s);
}

static void
a_request_to_nobody_is_unavailable_at_once(void **state)
{
    struct fixture *f = *state;
    int64_t before = loop_now_ms();
    struct str answer = {0};
    struct err e;

    assert_int_equal(bus_call(f->bus, "ask.void", "", 0, 5000, &answer, &e),
                     -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_true(loop_now_ms() - before < 2000);
    str_free(&answer);
}

static void
a_request_without_an_answer_times_out(void **state)
{
    struct fixture *f = *state;
    struct listener l = {0};
    int64_t before = loop_now_ms();
    struct str answer = {0};
    struct bus_sub *s;
    struct err e;

    assert_int_equal(bus_subscribe(f->bus, "ask.deaf", on_note, &l, &s, &e), 0);
    assert_int_equal(bus_call(f->bus, "ask.deaf", "", 0, 300, &answer, &e), -1);
    assert_int_equal(e.code, ERR_TIMEOUT);
    assert_true(loop_now_ms() - before >= 300);
    bus_unsubscribe(s);
}

static void
junk_sent_to_our_inbox_is_ignored(void **state)
{
    static const char *const tails[] = {
        "",
        "0-0",
        "0-ffffffffffffffff",
        "zz",
        "0-",
        "-1",
        "ffffffffffffff-1",
        "0-1x",
        "1 1",
        "c1",
        "%s",
        "99999999999999999999999-1",
    };
    struct fixture *f = *state;
    struct listener l = {0};
    struct result r = {0};
    char prefix[128], subject[256];
    struct bus_sub *s;
    struct err e;

    assert_int_equal(bus_subscribe(f->bus, "ask.slow", on_note, &l, &s, &e), 0);
    bus_request(f->bus, "ask.slow", "", 0, 10000, on_reply, &r);
    wait_count(f, &l.count, 1);
    (void)str_copy(prefix, sizeof prefix, l.reply);
    *strrchr(prefix, '.') = '\0';
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        (void)snprintf(subject, sizeof subject, "%s.%s", prefix, tails[i]);
        bus_send(f->bus, subject, "{\"stream\":\"x\",\"seq\":1}", 22);
    }
    run_for(f, 100);
    assert_false(r.done);
    bus_send(f->bus, l.reply, "real", 4);
    bus_send(f->bus, l.reply, "late", 4); /* take_error refuses a second */
    finish(f, &r);
    assert_string_equal(r.data, "real");
    run_for(f, 50);
    bus_unsubscribe(s);
}

static void
an_answer_that_is_no_acknowledgement_leaves_the_outcome_open(void **state)
{
    static const char *const answers[] = {
        "",
        "pong",
        "[]",
        "{}",
        "null",
        "{\"stream\":1,\"seq\":1}",
        "{\"stream\":\"s\",\"seq\":-1}",
        "{\"stream\":\"s\",\"seq\":\"1\"}",
        "{\"stream\":\"s\",\"seq\":1}{",
    };
    struct fixture *f = *state;
    struct bus_publication p = {
        .subject = "fake.ack", .data = "x", .len = 1, .expect = -1};
    struct listener l = {0};
    struct bus_sub *s;
    struct err e;

    assert_int_equal(bus_subscribe(f->bus, "fake.ack", on_note, &l, &s, &e), 0);
    for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct result r = {0};

        bus_publish(f->bus, &p, 5000, on_stored, &r);
        wait_count(f, &l.count, i + 1);
        bus_send(f->bus, l.reply, answers[i], strlen(answers[i]));
        finish(f, &r);
        assert_int_equal(r.code, ERR_TIMEOUT);
    }
    bus_unsubscribe(s);
}

static void
a_consumer_takes_deliveries_only_from_its_own(void **state)
{
    struct fixture *f = *state;
    struct reader r = {0};
    struct listener l = {0};
    char inbox[256], *dot;
    struct result ask = {0};
    struct bus_sub *s;
    struct err e;

    make(f, "own");
    assert_int_equal(bus_subscribe(f->bus, "ask.inbox", on_note, &l, &s, &e),
                     0);
    bus_request(f->bus, "ask.inbox", "", 0, 10000, on_reply, &ask);
    wait_count(f, &l.count, 1);
    consume(f, f->bus, "own", &r);
    bus_consumer_window(r.consumer, 4);
    (void)str_copy(inbox, sizeof inbox, l.reply);
    dot = strrchr(inbox, '.');
    (void)snprintf(dot, 32, ".c1.0-4");
    bus_send(f->bus, inbox, "junk without a reply subject", 28);
    run_for(f, 100);
    assert_int_equal(r.count, 0);
    (void)publish(f, "own.a", NULL, "true", BUS_ANY_REVISION);
    wait_count(f, &r.count, 1);
    assert_string_equal(r.data, "true");
    bus_forget(f->bus, &ask);
    bus_consumer_close(r.consumer);
    bus_unsubscribe(s);
}

static void
what_is_forgotten_is_not_called(void **state)
{
    struct fixture *f = *state;
    struct result r = {0}, stays = {0};
    struct bus_publication p = {.subject = "forget.a",
                                .id = "f1",
                                .data = "x",
                                .len = 1,
                                .expect = BUS_ANY_REVISION};

    make(f, "forget");
    bus_publish(f->bus, &p, 5000, on_stored, &r);
    bus_publish_until(f->bus, &p, on_stored, &r);
    bus_request(f->bus, "ask.void", "", 0, 5000, on_reply, &r);
    bus_get_last(f->bus, "forget", "forget.a", 5000, on_entry, &r);
    bus_forget(f->bus, &r);
    bus_get_last(f->bus, "forget", "forget.a", 5000, on_entry, &stays);
    finish(f, &stays);
    run_for(f, 50);
    assert_false(r.done);
    assert_string_equal(stays.data, "x"); /* stored all the same */
}

/* --- outages -------------------------------------------------------------- */

struct events {
    unsigned up, down, denied;
    char text[256];
};

static void
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
    }
}

static void
consumers_and_publications_survive_a_killed_broker(void **state)
{
    struct fixture *f = *state;
    struct reader r = {0};
    struct events ev = {0};
    struct result now = {0}, until[20];
    struct bus_publication p = {
        .subject = "kill.a", .data = "x", .len = 1, .expect = BUS_ANY_REVISION};
    char id[16];

    memset(until, 0, sizeof until);
    make(f, "kill");
    bus_on_event(f->bus, on_event, &ev);
    consume(f, f->bus, "kill", &r);
    bus_consumer_window(r.consumer, 8);
    publish_many(f, "kill.a", 30);
    wait_count(f, &r.count, 30);

    broker_kill(f->broker);
    wait_count(f, &ev.down, 1);
    assert_false(bus_is_up(f->bus));
    bus_publish(f->bus, &p, 5000, on_stored, &now);
    finish(f, &now);
    assert_int_equal(now.code, ERR_UNAVAILABLE);
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(id, sizeof id, "u%u", i);
        p.id = id;
        bus_publish_until(f->bus, &p, on_stored, &until[i]);
    }
    bus_send(f->bus, "hb.x", "dropped", 7);
    run_for(f, 300);
    assert_false(until[0].done);

    broker_restart(f->broker);
    wait_count(f, &ev.up, 1);
    for (unsigned i = 0; i < 20; i++) {
        finish(f, &until[i]);
        assert_int_equal(until[i].code, ERR_NONE);
    }
    /* Acks may have died with the broker, so some may come again. */
    while (r.last_seq < 50)
        wait_count(f, &r.count, r.count + 1);
    assert_true(r.count >= 50);
    assert_int_equal(ev.denied, 0);
    bus_consumer_close(r.consumer);
}

static void
what_was_under_way_when_the_broker_died_is_of_unknown_outcome(void **state)
{
    struct fixture *f = *state;
    struct listener l = {0};
    struct events ev = {0};
    struct result r = {0};
    struct bus_sub *s;
    struct err e;
    int64_t before = loop_now_ms();

    bus_on_event(f->bus, on_event, &ev);
    assert_int_equal(bus_subscribe(f->bus, "ask.dying", on_note, &l, &s, &e),
                     0);
    bus_request(f->bus, "ask.dying", "", 0, 60000, on_reply, &r);
    wait_count(f, &l.count, 1);
    broker_kill(f->broker);
    finish(f, &r);
    assert_int_equal(r.code, ERR_TIMEOUT);
    assert_true(loop_now_ms() - before < 10000);
    broker_restart(f->broker);
    wait_count(f, &ev.up, 1);
    bus_send(f->bus, "ask.dying", "", 0); /* the subscription is back */
    wait_count(f, &l.count, 2);
    bus_unsubscribe(s);
}

static void
a_frozen_broker_does_not_hold_up_the_loop(void **state)
{
    enum { N = 200 };
    static char block[256 * 1024];
    struct fixture *f = *state;
    struct result *r = mem_zero(N, sizeof *r);
    struct bus_publication p = {.subject = "ice.a",
                                .data = block,
                                .len = sizeof block,
                                .expect = BUS_ANY_REVISION};
    int64_t before, longest = 0;
    char id[16];

    make(f, "ice");
    broker_freeze(f->broker, true);
    /* More than the sockets between us hold. */
    for (unsigned i = 0; i < N; i++) {
        (void)snprintf(id, sizeof id, "ice%u", i);
        p.id = id;
        before = loop_now_ms();
        bus_publish_until(f->bus, &p, on_stored, &r[i]);
        run_for(f, 1);
        if (loop_now_ms() - before > longest)
            longest = loop_now_ms() - before;
    }
    broker_freeze(f->broker, false);
    for (unsigned i = 0; i < N; i++) {
        finish(f, &r[i]);
        assert_int_equal(r[i].code, ERR_NONE);
    }
    assert_true(longest < 500);
    mem_free(r);
}

/* --- opening -------------------------------------------------------------- */

static void
write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "we");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static void
credentials_that_are_wrong_are_denied(void **state)
{
    struct broker *b =
        broker_start_with("authorization { token: \"s3cret\" }", true);
    struct bus_conf conf = conf_of(b);
    char path[] = "/tmp/shunt-token-XXXXXX";
    struct loop *l;
    struct bus *bus = NULL;
    struct err e;

    (void)state;
    assert_true(close(mkstemp(path)) == 0);
    assert_int_equal(loop_open(&l, &e), 0);
    assert_int_equal(bus_open(&bus, l, &conf, "test", 2000, &e), -1);
    assert_int_equal(e.code, ERR_DENIED);

    conf.token_file = path;
    write_file(path, "wr0ng\n");
    assert_int_equal(bus_open(&bus, l, &conf, "test", 2000, &e), -1);
    assert_int_equal(e.code, ERR_DENIED);
    assert_null(strstr(e.msg, "wr0ng"));
    assert_non_null(strstr(e.msg, broker_url(b)));

    write_file(path, "  s3cret\r\nsecond line\n");
    if (bus_open(&bus, l, &conf, "test", 2000, &e) < 0)
        fail_msg("%s", e.msg);
    assert_null(strstr(bus_url(bus), "s3cret"));
    bus_close(bus);
    bus = NULL;

    (void)unlink(path);
    assert_int_equal(bus_open(&bus, l, &conf, "test", 2000, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.msg, path));
    assert_null(bus);
    loop_close(l);
    broker_stop(b);
}

static void
an_address_where_nobody_listens_is_unavailable(void **state)
{
    char url[] = "nats://me:pass@127.0.0.1:1";
    struct bus_conf conf = {.url = url};
    int64_t before = loop_now_ms();
    struct loop *l;
    struct bus *bus = NULL;
    struct err e;

    (void)state;
    assert_int_equal(loop_open(&l, &e), 0);
    assert_int_equal(bus_open(&bus, l, &conf, "test", 0, &e), -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(e.msg, "127.0.0.1:1"));
    assert_null(strstr(e.msg, "pass"));
    assert_true(loop_now_ms() - before < 3000);
    assert_int_equal(bus_open(&bus, l, &conf, "test", 700, &e), -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    loop_close(l);
}

static void
a_missing_permission_is_told(void **state)
{
    struct broker *b = broker_start_with(
        "authorization { users: [ { user: u, password: p, permissions: {\n"
        "  publish: { allow: [\"allowed.>\"] }\n"
        "  subscribe: { allow: [\"_INBOX.narrow.>\"] } } } ] }",
        true);
    char url[64];
    struct bus_conf conf = {.url = url};
    struct fixture f = {0};
    struct events ev = {0};
    struct err e;

    (void)state;
    (void)snprintf(url, sizeof url, "nats://u:p@%s", broker_url(b) + 7);
    assert_int_equal(loop_open(&f.loop, &e), 0);
    if (bus_open(&f.bus, f.loop, &conf, "narrow", 2000, &e) < 0)
        fail_msg("%s", e.msg);
    assert_null(strstr(bus_url(f.bus), "u:p"));
    bus_on_event(f.bus, on_event, &ev);
    bus_send(f.bus, "allowed.x", "", 0);
    run_for(&f, 100);
    assert_int_equal(ev.denied, 0);
    bus_send(f.bus, "forbidden.x", "", 0);
    wait_count(&f, &ev.denied, 1);
    assert_non_null(strstr(ev.text, "forbidden.x"));
    bus_close(f.bus);
    loop_close(f.loop);
    broker_stop(b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_published_message_gets_the_next_sequence),
        T(the_same_id_is_stored_once),
        T(a_revision_that_does_not_hold_is_a_conflict),
        T(publishing_where_no_stream_listens_is_unavailable),
        T(a_message_larger_than_the_broker_allows_is_invalid),
        T(text_that_would_break_the_protocol_is_invalid),
        T(a_stream_that_is_full_is_unavailable),
        T(the_last_message_of_a_subject_is_read_or_absent),
        T(messages_of_a_subject_are_walked_through_in_order),
        T(reading_a_stream_that_does_not_exist_is_no_absence),
        T(a_consumer_hands_over_what_was_published),
        T(pulls_overlap_and_nothing_comes_twice_or_out_of_order),
        T(no_more_than_the_window_is_unsettled),
        T(a_message_to_retry_comes_again_after_the_delay),
        T(with_window_zero_what_still_arrives_is_handed_back),
        T(a_consumer_that_is_deleted_is_taken_up_again_when_it_returns),
        T(a_consumer_that_is_gone_is_not_asked_in_a_loop),
        T(a_consumer_takes_deliveries_only_from_its_own),
        T(news_reaches_subscribers_until_they_leave),
        T(a_request_is_answered),
        T(a_request_to_nobody_is_unavailable_at_once),
        T(a_request_without_an_answer_times_out),
        T(junk_sent_to_our_inbox_is_ignored),
        T(an_answer_that_is_no_acknowledgement_leaves_the_outcome_open),
        T(what_is_forgotten_is_not_called),
        T(consumers_and_publications_survive_a_killed_broker),
        T(what_was_under_way_when_the_broker_died_is_of_unknown_outcome),
        T(a_frozen_broker_does_not_hold_up_the_loop),
        cmocka_unit_test(credentials_that_are_wrong_are_denied),
        cmocka_unit_test(an_address_where_nobody_listens_is_unavailable),
        cmocka_unit_test(a_missing_permission_is_told),
    };

    log_open("test_bus");
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
