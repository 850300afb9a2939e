/*
 * With bus_conf.confirm what is stored counts once the fsync server has
 * answered. The fsync server here is a subscription of the test's own.
 */
#include "tests/bus_fixture.h"

#include "lib/model/subject.h"

struct desk {
    struct bus *bus; /* the fsync server's */
    struct bus_sub *sub;
    unsigned asked;
    bool silent;
    const char *answer;
    char reply[160]; /* of the last question, while it is silent */
};

static void
on_question(void *ctx, const struct bus_note *note)
{
    struct desk *d = ctx;

    d->asked++;
    (void)str_copy(d->reply, sizeof d->reply, note->reply);
    if (!d->silent)
        bus_publish_core(d->bus, note->reply, d->answer, strlen(d->answer));
}

static void
open_desk(struct bus_fixture *f, struct desk *d)
{
    struct bus_conf conf = conf_of(f->broker);
    struct err e;

    if (!d->answer)
        d->answer = "";
    assert_int_equal(
        bus_open(&d->bus, f->loop, &conf, "fsync-server", 5000, &e), 0);
    assert_int_equal(
        bus_subscribe(d->bus, SUBJECT_SYNC, on_question, d, &d->sub, &e), 0);
    run_for(f, 20); /* the subscription arrives */
}

static void
close_desk(struct desk *d)
{
    bus_unsubscribe(d->sub);
    bus_close(d->bus);
}

static void
release(struct bus_fixture *f, struct desk *d)
{
    d->silent = false;
    bus_publish_core(d->bus, d->reply, "", 0);
    (void)f;
}

static int
confirm_setup(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_conf conf = conf_of(f->broker);
    struct err e = {0};

    conf.confirm = true;
    assert_int_equal(loop_open(&f->loop, &e), 0);
    assert_int_equal(bus_open(&f->bus, f->loop, &conf, "test", 10000, &e), 0);
    return 0;
}

static void
begin_publish(struct bus_fixture *f, const char *subject, int64_t timeout_ms,
              struct bus_result *r)
{
    struct bus_publication p = {
        .subject = subject, .data = "x", .len = 1, .expect = BUS_ANY_REVISION};

    bus_publish(f->bus, &p, timeout_ms, on_stored, r);
}

static void
a_publication_is_told_only_after_the_fsync_server_has_answered(void **state)
{
    struct bus_fixture *f = *state;
    struct desk d = {.silent = true};
    struct bus_result r = {0};

    make_stream(f, "held");
    open_desk(f, &d);
    begin_publish(f, "held.a", 20000, &r);
    wait_count(f, &d.asked, 1);
    run_for(f, 50);
    assert_false(r.done);
    release(f, &d);
    finish(f, &r);
    assert_int_equal(r.code, ERR_NONE);
    assert_int_equal(r.seq, 1);
    close_desk(&d);
}

static void
many_publications_share_a_question(void **state)
{
    struct bus_fixture *f = *state;
    struct desk d = {.silent = true};
    struct bus_result first = {0}, more[200] = {{0}};

    make_stream(f, "shared");
    open_desk(f, &d);
    begin_publish(f, "shared.a", 20000, &first);
    wait_count(f, &d.asked, 1);
    for (unsigned i = 0; i < 200; i++)
        begin_publish(f, "shared.a", 20000, &more[i]);
    run_for(f, 100); /* all are stored, and wait for the second question */
    release(f, &d);
    for (unsigned i = 0; i < 200; i++)
        finish(f, &more[i]);
    assert_true(first.done);
    assert_int_equal(d.asked, 2);
    close_desk(&d);
}

static void
an_fsync_server_that_refuses_is_asked_again(void **state)
{
    struct bus_fixture *f = *state;
    struct desk d = {.answer = "sync: input/output error"};
    struct bus_result r = {0};

    make_stream(f, "refused");
    open_desk(f, &d);
    begin_publish(f, "refused.a", 20000, &r);
    wait_count(f, &d.asked, 2);
    assert_false(r.done);
    d.answer = "";
    finish(f, &r);
    assert_int_equal(r.code, ERR_NONE);
    close_desk(&d);
}

static void
without_an_fsync_server_nothing_counts_as_stored(void **state)
{
    struct bus_fixture *f = *state;
    struct bus_result r = {0};

    make_stream(f, "alone");
    begin_publish(f, "alone.a", 400, &r);
    finish(f, &r);
    assert_int_equal(r.code, ERR_TIMEOUT); /* it may be there */
}

static void
what_is_refused_is_told_at_once(void **state)
{
    struct bus_fixture *f = *state;
    struct desk d = {.silent = true};
    struct bus_publication p = {
        .subject = "cas.a", .data = "x", .len = 1, .expect = 7};
    struct bus_result r = {0};

    make_stream(f, "cas");
    open_desk(f, &d);
    bus_publish(f->bus, &p, 5000, on_stored, &r);
    finish(f, &r);
    assert_int_equal(r.code, ERR_CONFLICT);
    assert_int_equal(d.asked, 0);
    close_desk(&d);
}

static void
what_is_read_waits_likewise(void **state)
{
    struct bus_fixture *f = *state;
    struct desk d = {0};
    struct bus_result stored = {0}, r = {0};

    make_stream(f, "read");
    open_desk(f, &d);
    begin_publish(f, "read.a", 20000, &stored);
    finish(f, &stored);
    d.silent = true;
    d.asked = 0;
    bus_get_last(f->bus, "read", "read.a", 20000, on_entry, &r);
    wait_count(f, &d.asked, 1);
    assert_false(r.done);
    release(f, &d);
    finish(f, &r);
    assert_string_equal(r.data, "x");
    close_desk(&d);
}

static void
whoever_forgets_is_not_called(void **state)
{
    struct bus_fixture *f = *state;
    struct desk d = {.silent = true};
    struct bus_result r = {0}, entry = {0};

    make_stream(f, "forget");
    open_desk(f, &d);
    begin_publish(f, "forget.a", 20000, &r);
    wait_count(f, &d.asked, 1);
    bus_get_last(f->bus, "forget", "forget.a", 20000, on_entry, &entry);
    run_for(f, 50);
    bus_forget(f->bus, &r);
    bus_forget(f->bus, &entry);
    release(f, &d);
    run_for(f, 50);
    assert_false(r.done);
    assert_false(entry.done);
    close_desk(&d);
}

static void
a_broken_connection_leaves_it_open_whether_it_is_stored(void **state)
{
    struct bus_fixture *f = *state;
    struct desk d = {.silent = true};
    struct bus_result r = {0};

    make_stream(f, "broken");
    open_desk(f, &d);
    begin_publish(f, "broken.a", 20000, &r);
    wait_count(f, &d.asked, 1);
    broker_kill(f->broker);
    finish(f, &r);
    assert_int_equal(r.code, ERR_TIMEOUT);
    broker_restart(f->broker);
    close_desk(&d);
}

#define CONFIRM(name)                                                          \
    cmocka_unit_test_setup_teardown(name, confirm_setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CONFIRM(a_publication_is_told_only_after_the_fsync_server_has_answered),
        CONFIRM(many_publications_share_a_question),
        CONFIRM(an_fsync_server_that_refuses_is_asked_again),
        CONFIRM(without_an_fsync_server_nothing_counts_as_stored),
        CONFIRM(what_is_refused_is_told_at_once),
        CONFIRM(what_is_read_waits_likewise),
        CONFIRM(whoever_forgets_is_not_called),
        CONFIRM(a_broken_connection_leaves_it_open_whether_it_is_stored),
    };

    mem_setup();
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
