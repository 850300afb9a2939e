#include "tests/bus_fixture.h"

#include "lib/bus/cancels.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <inttypes.h>

struct cancels_watcher {
    struct cancels *cancels;
    unsigned requests;
    char last[SUBJECT_TOKEN_MAX + 1];
};

static void
on_request(void *ctx, const struct control *c)
{
    struct cancels_watcher *w = ctx;

    w->requests++;
    (void)str_copy(w->last, sizeof w->last, c->task);
}

static void
request(struct bus_fixture *f, const char *task)
{
    struct control c = {.task = task,
                        .verb = "cancel",
                        .reason = "not needed",
                        .by = "me@here",
                        .at_ms = 1,
                        .worker = ""};
    struct bus_result r = {0};

    cancels_put(f->bus, &c, on_stored, &r);
    finish(f, &r);
    assert_int_equal(r.code, ERR_NONE);
}

/* Waits until all keys have been read: then an id that nobody has named is
 * known to have none. */
static void
wait_until_read(struct bus_fixture *f, const struct cancels_watcher *w)
{
    int64_t until = loop_now_ms() + 10000;
    bool never = false;

    while (cancels_may_have(w->cancels, "nobody") && loop_now_ms() < until)
        (void)loop_until(f->loop, &never, 2);
    assert_false(cancels_may_have(w->cancels, "nobody"));
}

static void
watch(struct bus_fixture *f, struct cancels_watcher *w)
{
    struct err e;

    assert_int_equal(
        cancels_open(&w->cancels, f->bus, f->loop, on_request, w, &e), 0);
    /* Nothing may start unseen before it knows. */
    assert_true(cancels_may_have(w->cancels, "nobody"));
}

static void
requests_of_before_are_read_at_the_start(void **state)
{
    struct bus_fixture *f = *state;
    struct cancels_watcher w = {0};

    make_control_bucket(f);
    request(f, "t1");
    request(f, "t2");
    (void)publish(f, "$KV.control.cancel.t3", NULL, "x", BUS_ANY_REVISION);
    (void)publish(f, "$KV.control.cancel.t4", NULL, "", BUS_ANY_REVISION);
    watch(f, &w);
    wait_until_read(f, &w);
    assert_int_equal(w.requests, 2);
    assert_true(cancels_may_have(w.cancels, "t1"));
    assert_true(cancels_may_have(w.cancels, "t2"));
    assert_false(cancels_may_have(w.cancels, "t3")); /* not a request */
    assert_false(cancels_may_have(w.cancels, "t4"));
    cancels_close(w.cancels);
}

static void
requests_are_heard_live(void **state)
{
    struct bus_fixture *f = *state;
    struct cancels_watcher w = {0};

    make_control_bucket(f);
    watch(f, &w);
    wait_until_read(f, &w);
    for (int i = 1; i <= 200; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "t%d", i);
        request(f, id);
        wait_count(f, &w.requests, (unsigned)i);
        assert_string_equal(w.last, id);
        assert_true(cancels_may_have(w.cancels, id));
    }
    assert_true(cancels_may_have(w.cancels, "t1"));
    assert_false(cancels_may_have(w.cancels, "nobody"));
    cancels_close(w.cancels);
}

static void
a_new_reading_knows_nothing_until_it_is_done_and_drops_what_is_gone(
    void **state)
{
    struct bus_fixture *f = *state;
    struct cancels_watcher w = {0};

    make_control_bucket(f);
    request(f, "t1");
    watch(f, &w);
    wait_until_read(f, &w);
    api(f, "STREAM.PURGE.KV_control", "{\"filter\":\"$KV.control.cancel.t1\"}");
    assert_true(cancels_may_have(w.cancels, "t1"));
    cancels_refresh(w.cancels);
    assert_true(cancels_may_have(w.cancels, "nobody"));
    wait_until_read(f, &w);
    assert_false(cancels_may_have(w.cancels, "t1"));
    cancels_close(w.cancels);
}

static void
too_many_requests_are_not_known(void **state)
{
    struct bus_fixture *f = *state;
    struct cancels_watcher w = {0};
    struct control c = {.verb = "cancel", .reason = "", .by = "", .worker = ""};
    char id[16];

    make_control_bucket(f);
    watch(f, &w);
    wait_until_read(f, &w);
    for (int i = 0; i < CANCELS_MAX; i++) {
        assert_false(cancels_may_have(w.cancels, "nobody"));
        (void)snprintf(id, sizeof id, "t%d", i);
        c.task = id;
        cancels_put(f->bus, &c, NULL, NULL);
        if (i % 512 == 511)
            wait_count(f, &w.requests, (unsigned)i + 1);
    }
    assert_true(cancels_may_have(w.cancels, "nobody"));
    cancels_close(w.cancels);
}

struct cancel_answer {
    struct control control;
    struct mem_pool *pool;
    bool answered, found;
};

static void
on_key(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct cancel_answer *a = ctx;

    assert_null(e);
    a->answered = true;
    a->found = cancels_read(entry, a->pool, &a->control);
}

static void
ask(struct bus_fixture *f, const char *task, struct cancel_answer *a)
{
    mem_pool_reset(a->pool);
    a->answered = false;
    cancels_get(f->bus, task, on_key, a);
    assert_true(loop_until(f->loop, &a->answered, 10000));
}

static void
the_key_says_who_and_why(void **state)
{
    struct bus_fixture *f = *state;
    struct cancel_answer a = {.pool = mem_pool_new()};
    char why[CANCELS_REASON_SIZE];

    make_control_bucket(f);
    request(f, "t1");
    ask(f, "t2", &a);
    assert_false(a.found);
    ask(f, "t1", &a);
    assert_true(a.found);
    cancels_reason(a.control.by, a.control.reason, why);
    assert_string_equal(why, "cancelled by me@here: not needed");
    cancels_reason("", "", why);
    assert_string_equal(why, "cancelled by somebody");
    mem_pool_free(a.pool);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(requests_of_before_are_read_at_the_start),
        T(requests_are_heard_live),
        T(a_new_reading_knows_nothing_until_it_is_done_and_drops_what_is_gone),
        T(too_many_requests_are_not_known),
        T(the_key_says_who_and_why),
    };

    mem_setup();
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
