#include "tests/bus_fixture.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- a server that misbehaves ----------------------------------------------
 */

/* Says something to its first client that listens and hangs up, or not; serves
 * the next. */
struct fake {
    pthread_t thread;
    int fd; /* listens */
    const char *say;
    size_t len;
    bool hang_up, said;
    atomic_bool stopping;
    char url[64];
};

static void
say(int fd, const char *text, size_t len)
{
    (void)send(fd, text, len, MSG_NOSIGNAL);
}

/* Answers what has come; false if the client has gone. *ready: it has
 * subscribed, so it is past its greeting. */
static bool
answer(int fd, bool *ready)
{
    char text[4096];
    ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);

    if (n <= 0)
        return n < 0;
    text[n] = '\0';
    for (const char *p = text; (p = strstr(p, "PING\r\n")) != NULL; p++)
        say(fd, "PONG\r\n", 6);
    *ready = *ready || strstr(text, "SUB a ");
    return true;
}

static void
serve(struct fake *f, int fd)
{
    static const char hello[] =
        "INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"proto\":1,"
        "\"headers\":true,\"max_payload\":1048576}\r\n";
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool ready = false;

    say(fd, hello, sizeof hello - 1);
    while (!f->stopping) {
        if (poll(&p, 1, 10) > 0 && !answer(fd, &ready))
            break;
        if (!ready || f->said)
            continue;
        f->said = true;
        say(fd, f->say, f->len);
        if (f->hang_up)
            break;
    }
    (void)close(fd);
}

static void *
run_fake(void *ctx)
{
    struct fake *f = ctx;
    struct pollfd p = {.fd = f->fd, .events = POLLIN};

    while (!f->stopping)
        if (poll(&p, 1, 10) > 0)
            serve(f, accept4(f->fd, NULL, NULL, SOCK_CLOEXEC));
    return NULL;
}

static void
start_fake(struct fake *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;

    f->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(f->fd, 8), 0);
    assert_int_equal(getsockname(f->fd, (struct sockaddr *)&a, &len), 0);
    (void)snprintf(f->url, sizeof f->url, "nats://127.0.0.1:%d",
                   ntohs(a.sin_port));
    assert_int_equal(pthread_create(&f->thread, NULL, run_fake, f), 0);
}

static void
stop_fake(struct fake *f)
{
    f->stopping = true;
    (void)pthread_join(f->thread, NULL);
    (void)close(f->fd);
}

/* The connection is lost and found again, and what comes is none of ours. */
static void
survive(const char *text, size_t len, bool hang_up)
{
    struct fake fake = {.say = text, .len = len, .hang_up = hang_up};
    struct bus_conf conf = {.url = fake.url};
    struct bus_fixture f = {0};
    struct events ev = {0};
    struct listener l = {0};
    struct bus_sub *s;
    struct err e;

    start_fake(&fake);
    assert_int_equal(loop_open(&f.loop, &e), 0);
    if (bus_open(&f.bus, f.loop, &conf, "test", 5000, &e) < 0)
        fail_msg("%s", e.msg);
    bus_on_event(f.bus, on_event, &ev);
    assert_int_equal(bus_subscribe(f.bus, "a", on_note, &l, &s, &e), 0);
    wait_count(&f, &ev.down, 1);
    wait_count(&f, &ev.up, 1);
    run_for(&f, 50);
    assert_true(bus_is_up(f.bus));
    assert_int_equal(ev.down, 1);
    assert_int_equal(l.count, 0);
    bus_unsubscribe(s);
    bus_close(f.bus);
    loop_close(f.loop);
    stop_fake(&fake);
}

static void
a_server_that_talks_nonsense_is_left_for_a_fresh_connection(void **state)
{
    static const char *const lines[] = {
        "\x15\x03\x03 is no line of ours\r\n",
        "MSG a\r\n",
        "MSG a 1 99999999999\r\n",
        "MSG a 1 2\r\nlonger than it says\r\n",
        "HMSG a 1 9 2\r\nhi\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        survive(lines[i], strlen(lines[i]), false);
}

static void
half_a_message_is_never_finished_by_the_next_connection(void **state)
{
    static const char *const halves[] = {
        "MS",
        "MSG a 2 100\r\n",
        "MSG a 2 100\r\nthe beginning",
        "HMSG a 2 40 100\r\nNATS/1.0\r\nNats-",
        "-ERR 'Stale Connection'\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof halves / sizeof *halves; i++)
        survive(halves[i], strlen(halves[i]), true);
}

static void
a_line_without_end_is_not_read_for_ever(void **state)
{
    enum { LEN = 1 << 20 };
    char *line = mem_alloc(LEN);

    (void)state;
    memset(line, 'I', LEN);
    survive(line, LEN, false);
    mem_free(line);
}

/* --- outages ---------------------------------------------------------------
 */

static void
until_down(struct bus_fixture *f, struct events *ev)
{
    int64_t give_up = loop_now_ms() + 2 * (int64_t)WAIT_MS;

    while (ev->down == 0 && loop_now_ms() < give_up)
        run_for(f, 10);
    assert_int_equal(ev->down, 1);
}

static void
a_frozen_broker_is_given_up_and_taken_up_again(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_publication p = {
        .subject = "frozen.a", .id = "f", .data = "x", .len = 1, .expect = -1};
    struct bus_result asked = {0}, until = {0};
    struct reader r = {.hold = true};
    struct events ev = {0};

    make(f, "frozen");
    bus_on_event(f->bus, on_event, &ev);
    consume(f, f->bus, "frozen", &r);
    bus_consumer_window(r.consumer, 2);
    (void)publish(f, "frozen.a", NULL, "1", BUS_ANY_REVISION);
    wait_count(f, &r.count, 1);

    broker_freeze(f->broker, true);
    bus_request(f->bus, "ask.void", "", 0, 60000, on_reply, &asked);
    bus_publish_until(f->bus, &p, on_stored, &until);
    until_down(f, &ev);
    assert_true(asked.done); /* its answer can come no more */
    assert_int_equal(asked.code, ERR_TIMEOUT);
    assert_false(until.done);
    bus_msg_done(r.held[0]);
    run_for(f, 100);
    broker_freeze(f->broker, false);

    wait_count(f, &ev.up, 1);
    finish(f, &until);
    assert_int_equal(until.code, ERR_NONE);
    wait_count(f, &r.count, 2);
    bus_msg_done(r.held[1]);
    bus_consumer_close(r.consumer);
}

static void
what_is_settled_during_an_outage_is_settled_after_it(void **state)
{
    struct bus_fixture *f = *state;
    struct reader r = {.hold = true};
    struct str answer = {0};
    struct events ev = {0};
    struct err e;

    make(f, "late");
    bus_on_event(f->bus, on_event, &ev);
    consume(f, f->bus, "late", &r);
    bus_consumer_window(r.consumer, 3);
    publish_many(f, "late.a", 3);
    wait_count(f, &r.count, 3);
    /* Killed, it may have forgotten what it delivered, and repeat it. */
    broker_shut_down(f->broker);
    wait_count(f, &ev.down, 1);
    for (unsigned i = 0; i < 3; i++)
        bus_msg_done(r.held[i]);
    broker_restart(f->broker);
    wait_count(f, &ev.up, 1);
    do {
        str_reset(&answer);
        if (bus_call(f->bus, "$JS.API.CONSUMER.INFO.late.c", "", 0, 5000,
                     &answer, &e) < 0)
            run_for(f, 20);
    } while (!strstr(str_text(&answer), "\"num_ack_pending\":0"));
    assert_int_equal(r.count, 3);
    str_free(&answer);
    bus_consumer_close(r.consumer);
}

static void
closing_does_not_wait_for_a_broker_that_is_away(void **state)
{
    struct bus_fixture *f = *state;
    struct events ev = {0};
    int64_t before;

    bus_on_event(f->bus, on_event, &ev);
    broker_kill(f->broker);
    wait_count(f, &ev.down, 1);
    run_for(f, 300);
    before = loop_now_ms();
    bus_close(f->bus);
    f->bus = NULL;
    assert_true(loop_now_ms() - before < 5000);
    broker_restart(f->broker);
}

static void
closing_while_answers_are_awaited_tells_nobody(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_publication p = {
        .subject = "close.a", .id = "c", .data = "x", .len = 1, .expect = -1};
    struct bus_result r[4];
    struct listener deaf = {0};
    struct reader reader = {0};
    struct bus_sub *s;
    struct err e;

    memset(r, 0, sizeof r);
    make(f, "close");
    assert_int_equal(bus_subscribe(f->bus, "ask.deaf", on_note, &deaf, &s, &e),
                     0);
    consume(f, f->bus, "close", &reader);
    bus_consumer_window(reader.consumer, 8);
    run_for(f, 20);
    bus_request(f->bus, "ask.deaf", "", 0, 60000, on_reply, &r[0]);
    bus_publish(f->bus, &p, 60000, on_stored, &r[1]);
    bus_publish_until(f->bus, &p, on_stored, &r[2]);
    bus_get_last(f->bus, "close", "close.a", 60000, on_entry, &r[3]);
    bus_consumer_close(reader.consumer);
    bus_unsubscribe(s);
    bus_close(f->bus);
    f->bus = NULL;
    for (int i = 0; i < 4; i++)
        assert_false(r[i].done);
    assert_int_equal(deaf.count, 0);
    loop_close(f->loop);
    /* What was sent before the end has arrived all the same. */
    assert_int_equal(setup(state), 0);
    assert_string_equal(get_last(f, "close", "close.a").data, "x");
}

/* --- bursts ----------------------------------------------------------------
 */

static void
a_burst_of_publications_is_stored_whole(void **state)
{
    struct bus_fixture *f = *state;
    struct reader r = {0};

    make(f, "burst");
    publish_many(f, "burst.a", 20000);
    consume(f, f->bus, "burst", &r);
    bus_consumer_window(r.consumer, 1000);
    wait_count(f, &r.count, 20000);
    run_for(f, 50);
    assert_int_equal(r.count, 20000);
    assert_false(r.disorder);
    bus_consumer_close(r.consumer);
}

static void
a_burst_of_news_reaches_who_reads_in_time(void **state)
{
    struct bus_fixture *f = *state;
    static const char text[60] = "news";
    struct listener l = {0};
    struct bus_sub *s;
    struct err e;

    assert_int_equal(bus_subscribe(f->bus, "news", on_note, &l, &s, &e), 0);
    for (int i = 0; i < 50000; i++)
        bus_publish_core(f->bus, "news", text, sizeof text);
    wait_count(f, &l.count, 50000);
    assert_string_equal(l.data, "news");
    bus_unsubscribe(s);
}

static void
large_messages_come_whole(void **state)
{
    struct bus_fixture *f = *state;
    size_t len = bus_max_payload(f->bus);
    char *data = mem_alloc(len);
    struct bus_publication p = {
        .subject = "large.a", .data = data, .len = len, .expect = -1};
    struct str answer = {0};
    struct bus_result r;
    struct err e;

    api(f, "STREAM.CREATE.large",
        "{\"name\":\"large\",\"subjects\":[\"large.>\"],\"storage\":\"file\","
        "\"num_replicas\":1,\"retention\":\"limits\"}");
    for (size_t i = 0; i < len; i++)
        data[i] = (char)('a' + i % 23);
    for (int i = 0; i < 5; i++) {
        memset(&r, 0, sizeof r);
        bus_publish(f->bus, &p, 20000, on_stored, &r);
        finish(f, &r);
        assert_int_equal(r.code, ERR_NONE);
    }
    /* It comes back in a text a third longer. */
    p.len = len / 2;
    memset(&r, 0, sizeof r);
    bus_publish(f->bus, &p, 20000, on_stored, &r);
    finish(f, &r);
    assert_int_equal(bus_call(f->bus, "$JS.API.STREAM.MSG.GET.large",
                              "{\"seq\":6}", 9, 20000, &answer, &e),
                     0);
    assert_true(answer.len > len / 2);
    str_free(&answer);
    mem_free(data);
}

/* --- TLS -------------------------------------------------------------------
 */

/* A certificate for 127.0.0.1 in dir; false if there is no openssl. */
static bool
certify(const char *dir)
{
    char command[512];

    (void)snprintf(command, sizeof command,
                   "cd %s && openssl req -x509 -newkey rsa:2048 -nodes "
                   "-keyout key.pem -out cert.pem -days 2 -subj /CN=localhost "
                   "-addext subjectAltName=IP:127.0.0.1,DNS:localhost "
                   ">/dev/null 2>&1",
                   dir);
    return system(command) == 0;
}

struct secure {
    char dir[32], ca[64], url[64];
    struct broker *broker;
    bool verify; /* it wants certificates of clients */
};

static void
start_secure(struct secure *s)
{
    char more[256];

    (void)snprintf(s->dir, sizeof s->dir, "/tmp/shunt-tls-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    if (!certify(s->dir)) {
        (void)rmdir(s->dir);
        skip();
    }
    (void)snprintf(s->ca, sizeof s->ca, "%s/cert.pem", s->dir);
    (void)snprintf(more, sizeof more,
                   "tls { cert_file: \"%s/cert.pem\", "
                   "key_file: \"%s/key.pem\", ca_file: \"%s\", verify: %s }",
                   s->dir, s->dir, s->ca, s->verify ? "true" : "false");
    s->broker = broker_start_with(more, true);
    (void)snprintf(s->url, sizeof s->url, "tls://%s",
                   broker_url(s->broker) + strlen("nats://"));
}

static void
stop_secure(struct secure *s)
{
    char path[64];

    broker_stop(s->broker);
    (void)unlink(s->ca);
    (void)snprintf(path, sizeof path, "%s/key.pem", s->dir);
    (void)unlink(path);
    (void)rmdir(s->dir);
}

static void
a_certificate_that_is_missing_is_named(void **state)
{
    struct secure s = {.verify = true};
    struct bus_conf conf = {.url = s.url, .ca_file = s.ca};
    struct loop *loop;
    struct bus *b;
    struct err e;

    (void)state;
    start_secure(&s);
    assert_int_equal(loop_open(&loop, &e), 0);
    assert_int_equal(bus_open(&b, loop, &conf, "test", 2000, &e), -1);
    assert_int_equal(e.code, ERR_DENIED);
    assert_non_null(strstr(e.msg, "bus.cert_file"));
    loop_close(loop);
    stop_secure(&s);
}

static void
under_tls_everything_works_likewise(void **state)
{
    struct secure s = {0};
    struct bus_conf conf = {.url = s.url, .ca_file = s.ca};
    struct bus_publication p = {
        .subject = "tls.b", .id = "b", .data = "x", .len = 1, .expect = -1};
    struct bus_result until = {0};
    struct events ev = {0};
    struct reader r = {0};
    struct bus_fixture f = {0};
    struct err e;

    (void)state;
    start_secure(&s);
    assert_int_equal(loop_open(&f.loop, &e), 0);
    if (bus_open(&f.bus, f.loop, &conf, "test", 5000, &e) < 0)
        fail_msg("%s", e.msg);
    bus_on_event(f.bus, on_event, &ev);
    make(&f, "tls");
    consume(&f, f.bus, "tls", &r);
    bus_consumer_window(r.consumer, 8);
    publish_many(&f, "tls.a", 100);
    wait_count(&f, &r.count, 100);
    assert_int_equal(publish(&f, "tls.a", "i", "x", 100).code, ERR_NONE);
    assert_int_equal(publish(&f, "tls.a", NULL, "x", 7).code, ERR_CONFLICT);
    wait_count(&f, &r.count, 101);
    assert_string_equal(r.id, "i");
    assert_true(get_next(&f, "tls", "tls.none", 1).absent);

    broker_kill(s.broker);
    wait_count(&f, &ev.down, 1);
    bus_publish_until(f.bus, &p, on_stored, &until);
    broker_restart(s.broker);
    finish(&f, &until);
    assert_int_equal(until.code, ERR_NONE);
    wait_count(&f, &r.count, 102);
    bus_consumer_close(r.consumer);
    bus_close(f.bus);
    loop_close(f.loop);
    stop_secure(&s);
}

static void
a_broker_that_asks_for_tls_is_not_spoken_to_in_clear(void **state)
{
    struct secure s = {0};
    struct bus_conf conf = {0};
    struct bus *bus = NULL;
    struct loop *l;
    struct err e;

    (void)state;
    start_secure(&s);
    conf.url = (char *)broker_url(s.broker); /* nats:// */
    assert_int_equal(loop_open(&l, &e), 0);
    /* Nobody vouches for its certificate. */
    assert_int_equal(bus_open(&bus, l, &conf, "test", 2000, &e), -1);
    assert_int_equal(e.code, ERR_DENIED);
    conf.ca_file = s.ca;
    if (bus_open(&bus, l, &conf, "test", 5000, &e) < 0)
        fail_msg("%s", e.msg);
    bus_close(bus);
    loop_close(l);
    stop_secure(&s);
}

/* --- being refused ---------------------------------------------------------
 */

/* The configuration of the broker takes its token from the environment. */
static void
restart_with(struct broker *b, const char *token)
{
    broker_kill(b);
    assert_int_equal(setenv("SHUNT_TEST_TOKEN", token, 1), 0);
    broker_restart(b);
}

/* A broker that wants a token, and a connection that reads it from a file. */
struct token_fixture {
    char path[32];
    struct broker *broker;
    struct bus_conf conf;
    struct bus_fixture f;
    struct events ev;
};

static void
write_token(struct token_fixture *t, const char *token)
{
    FILE *file = fopen(t->path, "we");

    assert_non_null(file);
    (void)fprintf(file, "%s\n", token);
    (void)fclose(file);
}

static void
token_open(struct token_fixture *t)
{
    struct err e;
    int fd;

    *t = (struct token_fixture){.path = "/tmp/shunt-token-XXXXXX"};
    fd = mkstemp(t->path);
    assert_true(fd >= 0);
    (void)close(fd);
    write_token(t, "right");
    assert_int_equal(setenv("SHUNT_TEST_TOKEN", "right", 1), 0);
    t->broker =
        broker_start_with("authorization { token: $SHUNT_TEST_TOKEN }", true);
    t->conf = (struct bus_conf){.url = (char *)broker_url(t->broker),
                                .token_file = t->path};
    assert_int_equal(loop_open(&t->f.loop, &e), 0);
    if (bus_open(&t->f.bus, t->f.loop, &t->conf, "test", 5000, &e) < 0)
        fail_msg("%s", e.msg);
    bus_on_event(t->f.bus, on_event, &t->ev);
}

static void
token_close(struct token_fixture *t)
{
    bus_close(t->f.bus);
    loop_close(t->f.loop);
    broker_stop(t->broker);
    (void)unlink(t->path);
    (void)unsetenv("SHUNT_TEST_TOKEN");
}

/* The seed alone is enough: the public key follows from it. */
static void
a_seed_is_all_that_a_key_file_needs(void **state)
{
    static const char seed[] =
        "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n";
    char path[] = "/tmp/shunt-nkey-XXXXXX";
    struct broker *b = broker_start_with(
        "authorization { users: [ { nkey: "
        "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ] }",
        true);
    struct bus_conf conf = {.url = (char *)broker_url(b), .nkey_file = path};
    struct loop *loop;
    struct bus *bus;
    struct err e;
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, seed, sizeof seed - 1), sizeof seed - 1);
    (void)close(fd);
    assert_int_equal(loop_open(&loop, &e), 0);
    if (bus_open(&bus, loop, &conf, "test", 5000, &e) < 0)
        fail_msg("%s", e.msg);
    bus_close(bus);
    loop_close(loop);
    broker_stop(b);
    (void)unlink(path);
}

static void
a_token_that_is_withdrawn_is_told_once_and_tried_on(void **state)
{
    struct token_fixture t;

    (void)state;
    token_open(&t);
    restart_with(t.broker, "wrong");
    wait_count(&t.f, &t.ev.denied, 1);
    assert_non_null(strstr(t.ev.text, broker_url(t.broker)));
    restart_with(t.broker, "right");
    wait_count(&t.f, &t.ev.up, 1);
    assert_int_equal(t.ev.down, 1);
    assert_int_equal(t.ev.denied, 1);
    token_close(&t);
}

/* As when keys are rotated: the new one is in the file before the broker asks
 * for it. */
static void
a_token_that_is_replaced_is_read_again(void **state)
{
    struct token_fixture t;

    (void)state;
    token_open(&t);
    write_token(&t, "other");
    restart_with(t.broker, "other");
    wait_count(&t.f, &t.ev.up, 1);
    assert_int_equal(t.ev.denied, 0);
    token_close(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_server_that_talks_nonsense_is_left_for_a_fresh_connection),
        cmocka_unit_test(
            half_a_message_is_never_finished_by_the_next_connection),
        cmocka_unit_test(a_line_without_end_is_not_read_for_ever),
        T(a_frozen_broker_is_given_up_and_taken_up_again),
        T(what_is_settled_during_an_outage_is_settled_after_it),
        T(closing_does_not_wait_for_a_broker_that_is_away),
        T(closing_while_answers_are_awaited_tells_nobody),
        T(a_burst_of_publications_is_stored_whole),
        T(a_burst_of_news_reaches_who_reads_in_time),
        T(large_messages_come_whole),
        cmocka_unit_test(a_certificate_that_is_missing_is_named),
        cmocka_unit_test(under_tls_everything_works_likewise),
        cmocka_unit_test(a_broker_that_asks_for_tls_is_not_spoken_to_in_clear),
        cmocka_unit_test(a_token_that_is_withdrawn_is_told_once_and_tried_on),
        cmocka_unit_test(a_token_that_is_replaced_is_read_again),
        cmocka_unit_test(a_seed_is_all_that_a_key_file_needs),
    };

    log_open("test_bus_conn");
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
