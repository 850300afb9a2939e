/* Results on their way: what leaves together, and what is reported once it is
 * stored. The attempts are made by hand. */
#include "workers/core/result_publisher.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/model/codec.h"
#include "tests/broker.h"
#include "workers/core/worker_types.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LONG_MS = 20000, ATTEMPTS = 100, LARGE = 10 * 1024 };

struct result_publisher_fixture {
    struct broker *broker;
    struct loop *loop;
    struct bus *bus;
    struct bus_sub *results;
    struct worker w;
    struct attempt attempts[ATTEMPTS];
    struct task tasks[ATTEMPTS];
    char ids[ATTEMPTS][TASK_ID_SIZE];
    unsigned published; /* calls of on_published */
    bool all_published;
    unsigned early, stored; /* calls of on_published_early */
    bool all_early;
    unsigned want;
    unsigned messages;
    unsigned members[ATTEMPTS]; /* of each message */
    char subjects[ATTEMPTS][SUBJECT_SIZE];
};

static struct result_publisher_fixture *fixture;
static const struct executor executor = {.name = "local"};

/* --- what is reported ----------------------------------------------------- */

static void
on_published(struct attempt *a, const struct err *e)
{
    assert_null(e);
    assert_null(a->message);
    fixture->published++;
    fixture->all_published = fixture->published == fixture->want;
}

static void
on_published_early(struct attempt *a, bool stored)
{
    assert_null(a->message);
    fixture->early++;
    fixture->stored += stored;
    fixture->all_early = fixture->early == fixture->want;
}

/* --- the fixture ---------------------------------------------------------- */

static void
on_results(void *ctx, const struct bus_note *note)
{
    struct result_publisher_fixture *f = ctx;
    struct codec_multi b;
    struct err e;

    assert_true(f->messages < ATTEMPTS);
    assert_int_equal(
        codec_multi_open(&b, CODEC_RESULTS, note->data, note->len, &e), 0);
    f->members[f->messages] = (unsigned)b.count;
    (void)str_copy(f->subjects[f->messages], SUBJECT_SIZE, note->subject);
    f->messages++;
    codec_multi_close(&b);
}

static int
setup(void **state)
{
    struct jetstream_conf conf = {.replicas = 1,
                                  .max_bytes = -1,
                                  .max_age_ms = 3600000,
                                  .log_retention_ms = 3600000,
                                  .log_max_bytes = -1};
    struct result_publisher_fixture *f =
        MEM_NEW(struct result_publisher_fixture);
    struct bus_conf bus_conf;
    struct err e = {0};

    *state = fixture = f;
    log_level_set(LOG_ERROR);
    f->broker = broker_start();
    bus_conf =
        (struct bus_conf){.url = (char *)(uintptr_t)broker_url(f->broker)};
    if (loop_open(&f->loop, &e) < 0 ||
        bus_open(&f->bus, f->loop, &bus_conf, "test", LONG_MS, &e) < 0 ||
        jetstream_provision(f->bus, &conf,
                            &(struct jetstream_rules){.change = true,
                                                      .allow_shrink = true,
                                                      .by = "test"},
                            NULL, NULL, &e) < 0 ||
        bus_subscribe(f->bus, "results.>", on_results, f, &f->results, &e) < 0)
        fail_msg("%s", e.msg);
    f->w.bus = f->bus;
    f->w.loop = f->loop;
    f->w.ex = &executor;
    result_publisher_open(&f->w, on_published, on_published_early);
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        struct attempt *a = &f->attempts[i];

        (void)snprintf(f->ids[i], sizeof f->ids[i], "t%u", i);
        a->w = &f->w;
        a->task = &f->tasks[i];
        f->tasks[i].source = "";
        codec_init(CODEC_RESULT, &a->result);
        a->result.task = f->ids[i];
        a->result.attempt = 1;
        a->result.backend = "local";
        a->result.final = true;
        a->result.state = STATE_SUCCEEDED;
    }
    return 0;
}

static int
teardown(void **state)
{
    struct result_publisher_fixture *f = *state;

    result_publisher_close(&f->w);
    bus_unsubscribe(f->results);
    bus_close(f->bus);
    loop_close(f->loop);
    broker_stop(f->broker);
    str_free(&f->w.scratch);
    mem_free(f);
    return 0;
}

/* Publishes the results of the attempts from..to-1 in one turn. */
static void
publish(struct result_publisher_fixture *f, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        result_publisher_publish(&f->attempts[i], false);
}

static void
until_published(struct result_publisher_fixture *f, unsigned want)
{
    f->want = want;
    f->all_published = f->published == want;
    assert_true(loop_until(f->loop, &f->all_published, LONG_MS));
}

static json_int_t
stored_messages(struct result_publisher_fixture *f)
{
    struct str answer = {0};
    struct err e = {0};
    json_int_t n;
    json_t *o;

    if (bus_call(f->bus, "$JS.API.STREAM.INFO.RESULTS", "", 0, LONG_MS, &answer,
                 &e) < 0)
        fail_msg("%s", e.msg);
    o = json_loads(str_text(&answer), 0, NULL);
    n = json_integer_value(
        json_object_get(json_object_get(o, "state"), "messages"));
    json_decref(o);
    str_free(&answer);
    return n;
}

/* --- tests ---------------------------------------------------------------- */

static void
results_of_one_turn_are_one_message(void **state)
{
    struct result_publisher_fixture *f = *state;

    publish(f, 0, 3);
    until_published(f, 3);
    assert_int_equal(f->messages, 1);
    assert_int_equal(f->members[0], 3);
    assert_string_equal(f->subjects[0], "results.local.cli");
    assert_true(f->w.confirmed_ms > 0);
    publish(f, 3, 4);
    until_published(f, 4);
    assert_int_equal(f->messages, 2);
    assert_int_equal(f->members[1], 1);
}

static void
each_source_has_messages_of_its_own(void **state)
{
    struct result_publisher_fixture *f = *state;

    f->tasks[2].source = f->tasks[3].source = "folder";
    publish(f, 0, 4);
    until_published(f, 4);
    assert_int_equal(f->messages, 2);
    assert_int_equal(f->members[0], 2);
    assert_string_equal(f->subjects[0], "results.local.cli");
    assert_int_equal(f->members[1], 2);
    assert_string_equal(f->subjects[1], "results.local.folder");
}

static void
a_message_stays_small(void **state)
{
    static uint8_t large[LARGE];
    struct output_part part = {STREAM_STDOUT, {large, sizeof large}};
    struct result_publisher_fixture *f = *state;
    unsigned n = 0;

    publish(f, 0, ATTEMPTS);
    until_published(f, ATTEMPTS);
    assert_true(f->messages > 1);
    for (unsigned i = 0; i < f->messages; i++) {
        assert_in_range(f->members[i], 1, 64);
        n += f->members[i];
    }
    assert_int_equal(n, ATTEMPTS);
    f->messages = f->published = 0;
    for (unsigned i = 0; i < 2; i++) {
        f->attempts[i].result.attempt = 2;
        f->attempts[i].result.output = &part;
        f->attempts[i].result.n_output = 1;
    }
    publish(f, 0, 2);
    until_published(f, 2);
    assert_int_equal(f->messages, 2);
}

static void
an_attempt_that_is_gone_is_not_reported_to(void **state)
{
    struct result_publisher_fixture *f = *state;

    publish(f, 0, 3);
    result_publisher_forget(&f->attempts[1]);
    result_publisher_forget(&f->attempts[1]); /* also without a message */
    memset(&f->attempts[1], 0xa5, sizeof f->attempts[1]);
    until_published(f, 2);
    assert_int_equal(f->members[0], 3); /* its result is on its way all the
                                           same */
}

static void
a_worker_may_close_with_results_on_their_way(void **state)
{
    struct result_publisher_fixture *f = *state;

    publish(f, 0, 3);
    result_publisher_close(&f->w);
    result_publisher_open(&f->w, on_published, on_published_early);
    publish(f, 3, 4);
    until_published(f, 1);
}

/* Sent once: it must not come up when its attempt has long gone another way. */
static void
an_early_message_is_by_itself_and_sent_once(void **state)
{
    struct result_publisher_fixture *f = *state;

    publish(f, 0, 2);
    for (unsigned i = 2; i < 5; i++)
        result_publisher_publish(&f->attempts[i], true);
    publish(f, 5, 6);
    f->want = 3;
    until_published(f, 3);
    assert_true(loop_until(f->loop, &f->all_early, LONG_MS));
    assert_int_equal(f->stored, 3);
    assert_int_equal(f->messages, 3);
    assert_int_equal(f->members[0], 2);
    assert_int_equal(f->members[1], 3);
    assert_int_equal(f->members[2], 1);

    broker_kill(f->broker);
    f->want = 4;
    f->all_early = false;
    result_publisher_publish(&f->attempts[6], true);
    assert_true(loop_until(f->loop, &f->all_early, LONG_MS));
    assert_int_equal(f->stored, 3);
    broker_restart(f->broker);
    publish(f, 7, 8);
    until_published(f, 4);
    assert_int_equal(stored_messages(f), 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(results_of_one_turn_are_one_message),
        TEST(each_source_has_messages_of_its_own),
        TEST(a_message_stays_small),
        TEST(an_attempt_that_is_gone_is_not_reported_to),
        TEST(an_early_message_is_by_itself_and_sent_once),
        TEST(a_worker_may_close_with_results_on_their_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
