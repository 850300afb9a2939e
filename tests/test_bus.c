#include "tests/bus_fixture.h"

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

/* --- durable messages ----------------------------------------------------- */

static void
a_published_message_gets_the_next_sequence(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_result r;

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
    struct bus_fixture *f = *state;
    struct bus_result r;

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
    struct bus_fixture *f = *state;
    struct bus_result r;

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
    struct bus_result r =
        publish(*state, "nowhere.at.all", NULL, "x", BUS_ANY_REVISION);

    assert_int_equal(r.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(r.msg, "nowhere.at.all"));
}

static void
a_message_larger_than_the_broker_allows_is_invalid(void **state)
{
    struct bus_fixture *f = *state;
    size_t max = bus_max_payload(f->bus);
    char *data = mem_zero(1, max + 1);
    struct bus_publication p = {.subject = "big.x",
                                .id =
                                    "0123456789012345678901234567890123456789",
                                .data = data,
                                .len = max + 1,
                                .expect = BUS_ANY_REVISION};
    struct bus_result r = {0}, fits = {0};

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
what_is_gathered_leaves_in_its_time_or_when_it_is_let_go(void **state)
{
    enum { LONG_MS = 60000, NEVER_MS = 200 };
    struct bus_publication p = {.subject = "gather.a",
                                .data = "x",
                                .len = 1,
                                .expect = BUS_ANY_REVISION};
    struct bus_fixture *f = *state;
    struct bus_result held = {0}, timed = {0};

    make(f, "gather");
    bus_cork(f->bus, LONG_MS);
    bus_publish(f->bus, &p, LONG_MS, on_stored, &held);
    assert_false(loop_until(f->loop, &held.done, NEVER_MS));
    bus_cork(f->bus, 0);
    finish(f, &held);
    assert_int_equal(held.code, ERR_NONE);
    bus_cork(f->bus, 50);
    bus_publish(f->bus, &p, LONG_MS, on_stored, &timed);
    finish(f, &timed);
    assert_int_equal(timed.code, ERR_NONE);
}

static void
text_that_would_break_the_protocol_is_invalid(void **state)
{
    struct bus_fixture *f = *state;

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
a_stream_that_is_full_says_so(void **state)
{
    struct bus_fixture *f = *state;

    api(f, "STREAM.CREATE.full",
        "{\"name\":\"full\",\"subjects\":[\"full.>\"],\"storage\":\"file\","
        "\"num_replicas\":1,\"retention\":\"limits\",\"discard\":\"new\","
        "\"max_msgs\":1}");
    assert_int_equal(publish(f, "full.a", NULL, "x", BUS_ANY_REVISION).code,
                     ERR_NONE);
    assert_int_equal(publish(f, "full.b", NULL, "x", BUS_ANY_REVISION).code,
                     ERR_FULL);
}

/* --- reading single messages ---------------------------------------------- */

static void
the_last_message_of_a_subject_is_read_or_absent(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_result r;
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
the_brokers_clock_is_known_from_what_it_stored(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_result old, new;
    int64_t then;

    assert_int_equal(bus_broker_ms(f->bus), 0);
    make(f, "clock");
    (void)publish(f, "clock.a", NULL, "x", BUS_ANY_REVISION);
    run_for(f, 50);
    (void)publish(f, "clock.b", NULL, "x", BUS_ANY_REVISION);
    assert_int_equal(bus_broker_ms(f->bus), 0);
    new = get_last(f, "clock", "clock.b");
    then = bus_broker_ms(f->bus);
    assert_true(then >= new.stored_at_ms);
    old = get_last(f, "clock", "clock.a"); /* does not turn it back */
    assert_true(old.stored_at_ms < new.stored_at_ms);
    run_for(f, 50);
    assert_true(bus_broker_ms(f->bus) >= then + 50);
}

static void
a_description_of_a_stream_tells_the_brokers_clock(void **state)
{
    struct bus_fixture *f = *state;
    int64_t now = str_wall_ms();

    make(f, "told");
    (void)publish(f, "told.a", NULL, "x", BUS_ANY_REVISION);
    assert_int_equal(bus_broker_ms(f->bus), 0);
    api(f, "STREAM.INFO.told", "");
    assert_true(bus_broker_ms(f->bus) >= now - 5000);
    assert_true(bus_broker_ms(f->bus) <= str_wall_ms() + 5000);
}

/* --- threads -------------------------------------------------------------- */

static void
no_signal_lands_on_a_thread_of_the_library(void **state)
{
    const uint64_t asked = 1 << (SIGTERM - 1) | 1 << (SIGCHLD - 1);
    struct dirent *d;
    char path[300], line[256];
    unsigned long long blocked;
    int others = 0;
    DIR *dir = opendir("/proc/self/task");

    (void)state;
    assert_non_null(dir);
    while ((d = readdir(dir)) != NULL) {
        FILE *f;

        if (d->d_name[0] == '.' || strtol(d->d_name, NULL, 10) == getpid())
            continue;
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/status",
                       d->d_name);
        f = fopen(path, "re");
        while (f && fgets(line, sizeof line, f))
            if (sscanf(line, "SigBlk: %llx", &blocked) == 1) {
                assert_int_equal(blocked & asked, asked);
                others++;
            }
        if (f)
            (void)fclose(f);
    }
    (void)closedir(dir);
    assert_true(others > 0);
}

static void
messages_of_a_subject_are_walked_through_in_order(void **state)
{
    struct bus_fixture *f = *state;
    uint64_t seq = 0;
    struct bus_result r;
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
    struct bus_fixture *f = *state;
    struct bus_result last = {0}, next = {0};

    bus_get_last(f->bus, "missing", "missing.a", 300, on_entry, &last);
    bus_get_next(f->bus, "missing", "missing.a", 1, 300, on_entry, &next);
    finish(f, &last);
    finish(f, &next);
    assert_false(last.absent || next.absent);
    /* nats-server 2.9 keeps silent, 2.10 says that nobody answers for it. */
    assert_true(last.code == ERR_TIMEOUT || last.code == ERR_UNAVAILABLE);
    assert_int_equal(next.code, last.code);
}

/* --- core NATS ------------------------------------------------------------ */

static void
news_reaches_subscribers_until_they_leave(void **state)
{
    struct bus_fixture *f = *state;
    struct listener a = {0}, b = {0};
    struct bus_sub *sa, *sb;
    struct err e;

    assert_int_equal(bus_subscribe(f->bus, "hb.>", on_note, &a, &sa, &e), 0);
    assert_int_equal(bus_subscribe(f->bus, "hb.x", on_note, &b, &sb, &e), 0);
    bus_publish_core(f->bus, "hb.x", "beat", 4);
    wait_count(f, &a.count, 1);
    wait_count(f, &b.count, 1);
    assert_string_equal(a.data, "beat");
    assert_string_equal(a.reply, "");
    bus_unsubscribe(sb);
    bus_publish_core(f->bus, "hb.x", "two", 3);
    wait_count(f, &a.count, 2);
    assert_int_equal(b.count, 1);
    bus_unsubscribe(sa);
}

static void
a_request_is_answered(void **state)
{
    struct bus_fixture *f = *state;
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
    struct bus_fixture *f = *state;
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
    struct bus_fixture *f = *state;
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
    struct bus_fixture *f = *state;
    struct listener l = {0};
    struct bus_result r = {0};
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
        bus_publish_core(f->bus, subject, "{\"stream\":\"x\",\"seq\":1}", 22);
    }
    run_for(f, 100);
    assert_false(r.done);
    bus_publish_core(f->bus, l.reply, "real", 4);
    bus_publish_core(f->bus, l.reply, "late",
                     4); /* take_error refuses a second */
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
    struct bus_fixture *f = *state;
    struct bus_publication p = {
        .subject = "fake.ack", .data = "x", .len = 1, .expect = -1};
    struct listener l = {0};
    struct bus_sub *s;
    struct err e;

    assert_int_equal(bus_subscribe(f->bus, "fake.ack", on_note, &l, &s, &e), 0);
    for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct bus_result r = {0};

        bus_publish(f->bus, &p, 5000, on_stored, &r);
        wait_count(f, &l.count, i + 1);
        bus_publish_core(f->bus, l.reply, answers[i], strlen(answers[i]));
        finish(f, &r);
        assert_int_equal(r.code, ERR_TIMEOUT);
    }
    bus_unsubscribe(s);
}

static void
what_is_forgotten_is_not_called(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_result r = {0}, stays = {0};
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
    do { /* stored all the same; a read may overtake it at the broker */
        stays = (struct bus_result){0};
        bus_get_last(f->bus, "forget", "forget.a", 5000, on_entry, &stays);
        finish(f, &stays);
    } while (stays.absent);
    assert_string_equal(stays.data, "x");
    run_for(f, 50);
    assert_false(r.done);
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
    struct bus_fixture f = {0};
    struct events ev = {0};
    struct err e;

    (void)state;
    (void)snprintf(url, sizeof url, "nats://u:p@%s", broker_url(b) + 7);
    assert_int_equal(loop_open(&f.loop, &e), 0);
    if (bus_open(&f.bus, f.loop, &conf, "narrow", 2000, &e) < 0)
        fail_msg("%s", e.msg);
    assert_null(strstr(bus_url(f.bus), "u:p"));
    bus_on_event(f.bus, on_event, &ev);
    bus_publish_core(f.bus, "allowed.x", "", 0);
    run_for(&f, 100);
    assert_int_equal(ev.denied, 0);
    bus_publish_core(f.bus, "forbidden.x", "", 0);
    wait_count(&f, &ev.denied, 1);
    assert_non_null(strstr(ev.text, "forbidden.x"));
    bus_close(f.bus);
    loop_close(f.loop);
    broker_stop(b);
}

static void
on_question(void *ctx, const struct bus_note *note)
{
    (void)str_copy(ctx, 64, note->reply);
}

/* Of two users of one role neither may read what the other is answered. */
static void
a_user_has_an_inbox_of_his_own(void **state)
{
    struct broker *b = broker_start_with(
        "authorization { users: [\n"
        "  { user: \"a\", password: \"p\", permissions: {\n"
        "    publish: [\"ask.>\"], subscribe: [\"_INBOX.alice.>\", "
        "\"ask.>\"] } } ] }",
        true);
    char url[64], inbox[] = "alice", bad[] = "a.b", reply[64] = "";
    struct bus_conf conf = {.url = url, .inbox = inbox};
    struct bus_fixture f = {0};
    struct bus_sub *sub, *other;
    struct events ev = {0};
    struct str answer = {0};
    struct err e;

    (void)state;
    (void)snprintf(url, sizeof url, "nats://a:p@%s", broker_url(b) + 7);
    assert_int_equal(loop_open(&f.loop, &e), 0);
    if (bus_open(&f.bus, f.loop, &conf, "cli", 2000, &e) < 0)
        fail_msg("%s", e.msg);
    bus_on_event(f.bus, on_event, &ev);
    assert_int_equal(
        bus_subscribe(f.bus, "ask.x", on_question, reply, &sub, &e), 0);
    assert_int_equal(bus_call(f.bus, "ask.x", "", 0, 200, &answer, &e), -1);
    assert_int_equal(strncmp(reply, "_INBOX.alice.", 13), 0);
    assert_int_equal(ev.denied, 0);
    assert_int_equal(
        bus_subscribe(f.bus, "_INBOX.cli.>", on_question, reply, &other, &e),
        0);
    wait_count(&f, &ev.denied, 1);
    bus_unsubscribe(other);
    bus_unsubscribe(sub);
    bus_close(f.bus);
    conf.inbox = bad;
    assert_int_equal(bus_open(&f.bus, f.loop, &conf, "cli", 2000, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.msg, "bus.inbox"));
    loop_close(f.loop);
    str_free(&answer);
    broker_stop(b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_published_message_gets_the_next_sequence),
        T(the_same_id_is_stored_once),
        T(a_revision_that_does_not_hold_is_a_conflict),
        T(publishing_where_no_stream_listens_is_unavailable),
        T(a_message_larger_than_the_broker_allows_is_invalid),
        T(what_is_gathered_leaves_in_its_time_or_when_it_is_let_go),
        T(text_that_would_break_the_protocol_is_invalid),
        T(a_stream_that_is_full_says_so),
        T(the_last_message_of_a_subject_is_read_or_absent),
        T(the_brokers_clock_is_known_from_what_it_stored),
        T(a_description_of_a_stream_tells_the_brokers_clock),
        T(no_signal_lands_on_a_thread_of_the_library),
        T(messages_of_a_subject_are_walked_through_in_order),
        T(reading_a_stream_that_does_not_exist_is_no_absence),
        T(news_reaches_subscribers_until_they_leave),
        T(a_request_is_answered),
        T(a_request_to_nobody_is_unavailable_at_once),
        T(a_request_without_an_answer_times_out),
        T(junk_sent_to_our_inbox_is_ignored),
        T(an_answer_that_is_no_acknowledgement_leaves_the_outcome_open),
        T(what_is_forgotten_is_not_called),
        cmocka_unit_test(credentials_that_are_wrong_are_denied),
        cmocka_unit_test(an_address_where_nobody_listens_is_unavailable),
        cmocka_unit_test(a_missing_permission_is_told),
        cmocka_unit_test(a_user_has_an_inbox_of_his_own),
    };

    log_open("test_bus");
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
