#include "tests/bus_fixture.h"

static void
a_consumer_hands_over_what_was_published(void **state)
{
    struct bus_fixture *f = *state;
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
    struct bus_fixture *f = *state;
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
    struct bus_fixture *f = *state;
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

/* Large messages, kept as they come. */
struct pile {
    struct bus_consumer *consumer;
    struct bus_msg *held[64];
    unsigned n;
};

static void
on_large(void *ctx, struct bus_msg *m)
{
    struct pile *p = ctx;

    p->held[p->n++] = m;
}

/* Large messages do not fill the memory because the window is for small ones;
 * one beyond the limit comes all the same. */
static void
a_window_may_have_a_limit_of_bytes(void **state)
{
    enum { MOST = 64 * 1024, SIZE = 10 * 1024, N = 60 };
    struct bus_fixture *f = *state;
    struct pile p = {0};
    char *text = mem_zero(1, 2 * MOST + 1);
    unsigned done = 0, most = 0;
    struct err e;

    make(f, "bytes");
    assert_int_equal(
        bus_consume(f->bus, "bytes", "c", on_large, &p, &p.consumer, &e), 0);
    bus_consumer_bytes(p.consumer, MOST);
    memset(text, 'x', SIZE);
    for (int i = 0; i < N / 2; i++)
        (void)publish(f, "bytes.a", NULL, text, BUS_ANY_REVISION);
    memset(text, 'x', 2 * MOST);
    (void)publish(f, "bytes.a", NULL, text, BUS_ANY_REVISION);
    text[SIZE] = '\0';
    for (int i = 0; i < N / 2; i++)
        (void)publish(f, "bytes.a", NULL, text, BUS_ANY_REVISION);
    bus_consumer_window(p.consumer, 1000);
    while (done < N + 1) {
        wait_count(f, &p.n, done + 1);
        run_for(f, 20);
        if (p.n - done > most)
            most = p.n - done;
        for (; done < p.n; done++)
            bus_msg_done(p.held[done]);
    }
    assert_int_equal(p.n, N + 1);
    assert_in_range(most, 2, 4 * MOST / SIZE);
    bus_consumer_close(p.consumer);
    mem_free(text);
}

static void
a_message_can_do_without_its_data(void **state)
{
    struct bus_fixture *f = *state;
    struct reader r = {.hold = true};
    struct bus_msg *m;
    uint64_t seq;

    make(f, "shed");
    (void)publish(f, "shed.a", "the-id", "some text", BUS_ANY_REVISION);
    consume(f, f->bus, "shed", &r);
    bus_consumer_window(r.consumer, 5);
    wait_count(f, &r.count, 1);
    seq = r.held[0]->seq;
    m = bus_msg_shed(bus_msg_shed(r.held[0]));
    assert_string_equal(m->subject, "shed.a");
    assert_string_equal(m->id, "the-id");
    assert_int_equal(m->len, 0);
    assert_int_equal(m->seq, seq);
    /* It is settled as any other. */
    bus_msg_retry(m, 0);
    wait_count(f, &r.count, 2);
    assert_int_equal(r.held[1]->seq, seq);
    assert_int_equal(r.held[1]->len, strlen("some text"));
    bus_msg_done(bus_msg_shed(r.held[1]));
    bus_consumer_close(r.consumer);
}

static void
a_message_to_retry_comes_again_after_the_delay(void **state)
{
    struct bus_fixture *f = *state;
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
    struct bus_fixture *f = *state;
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

static void
a_consumer_that_is_deleted_is_taken_up_again_when_it_returns(void **state)
{
    struct bus_fixture *f = *state;
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
    struct bus_fixture *f = *state;
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
a_consumer_takes_deliveries_only_from_its_own(void **state)
{
    struct bus_fixture *f = *state;
    struct reader r = {0};
    struct listener l = {0};
    char inbox[256], *dot;
    struct bus_result ask = {0};
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
    bus_publish_core(f->bus, inbox, "junk without a reply subject", 28);
    run_for(f, 100);
    assert_int_equal(r.count, 0);
    (void)publish(f, "own.a", NULL, "true", BUS_ANY_REVISION);
    wait_count(f, &r.count, 1);
    assert_string_equal(r.data, "true");
    bus_forget(f->bus, &ask);
    bus_consumer_close(r.consumer);
    bus_unsubscribe(s);
}

/* --- outages ----------------------------------------------------------------
 */

static void
consumers_and_publications_survive_a_killed_broker(void **state)
{
    struct bus_fixture *f = *state;
    struct reader r = {0};
    struct events ev = {0};
    struct bus_result now = {0}, until[20];
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
    bus_publish_core(f->bus, "hb.x", "dropped", 7);
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
    struct bus_fixture *f = *state;
    struct listener l = {0};
    struct events ev = {0};
    struct bus_result r = {0};
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
    bus_publish_core(f->bus, "ask.dying", "", 0); /* the subscription is back */
    wait_count(f, &l.count, 2);
    bus_unsubscribe(s);
}

static void
a_frozen_broker_does_not_hold_up_the_loop(void **state)
{
    enum { N = 200 };
    static char block[256 * 1024];
    struct bus_fixture *f = *state;
    struct bus_result *r = mem_zero(N, sizeof *r);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_consumer_hands_over_what_was_published),
        T(pulls_overlap_and_nothing_comes_twice_or_out_of_order),
        T(no_more_than_the_window_is_unsettled),
        T(a_window_may_have_a_limit_of_bytes),
        T(a_message_can_do_without_its_data),
        T(a_message_to_retry_comes_again_after_the_delay),
        T(with_window_zero_what_still_arrives_is_handed_back),
        T(a_consumer_that_is_deleted_is_taken_up_again_when_it_returns),
        T(a_consumer_that_is_gone_is_not_asked_in_a_loop),
        T(a_consumer_takes_deliveries_only_from_its_own),
        T(consumers_and_publications_survive_a_killed_broker),
        T(what_was_under_way_when_the_broker_died_is_of_unknown_outcome),
        T(a_frozen_broker_does_not_hold_up_the_loop),
    };

    log_open("test_bus_consumer");
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
