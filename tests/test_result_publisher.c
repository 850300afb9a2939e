/* Results on their way: what leaves together, and who is told that it is
 * stored. The attempts are made by hand; what becomes of one is not finish.c's.
 */
#include "workers/core/worker_private.h"

#include "lib/base/log.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/model/codec.h"
#include "tests/broker.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LONG_MS = 20000, JOBS = 100, LARGE = 10 * 1024 };

struct result_publisher_fixture {
    struct broker *broker;
    struct loop *loop;
    struct bus *bus;
    struct bus_sub *results;
    struct worker w;
    struct attempt attempts[JOBS];
    char ids[JOBS][TASK_ID_SIZE];
    const char *sources[JOBS]; /* "cli" unless set */
    unsigned posted;           /* calls of settle_published */
    bool all_posted;
    unsigned early, stored; /* calls of settle_published_early */
    bool all_early;
    unsigned want;
    unsigned messages, heard;
    unsigned members[JOBS]; /* of each message */
    char subjects[JOBS][SUBJECT_SIZE];
};

static struct result_publisher_fixture *fixture;

/* --- what post.c asks of the rest of the worker --------------------------- */

void
settle_published(struct attempt *a, const struct err *e)
{
    assert_null(e);
    assert_null(a->post);
    fixture->posted++;
    fixture->all_posted = fixture->posted == fixture->want;
}

void
settle_published_early(struct attempt *a, bool stored)
{
    assert_null(a->post);
    fixture->early++;
    fixture->stored += stored;
    fixture->all_early = fixture->early == fixture->want;
}

const char *
result_publisher_subject(const struct attempt *a, char *out)
{
    const char *source = fixture->sources[a - fixture->attempts];

    return subject_result(out, "local", source ? source : "cli");
}

void
spool_replay_confirmed(struct worker *w)
{
    assert_ptr_equal(w, &fixture->w);
    fixture->heard++;
}

/* --- the fixture ---------------------------------------------------------- */

static void
on_results(void *ctx, const struct bus_note *note)
{
    struct result_publisher_fixture *f = ctx;
    struct codec_bulk b;
    struct err e;

    assert_true(f->messages < JOBS);
    assert_int_equal(
        codec_bulk_open(&b, CODEC_RESULTS, note->data, note->len, &e), 0);
    f->members[f->messages] = (unsigned)b.count;
    (void)str_copy(f->subjects[f->messages], SUBJECT_SIZE, note->subject);
    f->messages++;
    codec_bulk_close(&b);
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
        jetstream_provision(f->bus, &conf, NULL, NULL, &e) < 0 ||
        bus_subscribe(f->bus, "results.>", on_results, f, &f->results, &e) < 0)
        fail_msg("%s", e.msg);
    f->w.bus = f->bus;
    f->w.loop = f->loop;
    result_publisher_open(&f->w);
    for (unsigned i = 0; i < JOBS; i++) {
        struct attempt *a = &f->attempts[i];

        (void)snprintf(f->ids[i], sizeof f->ids[i], "t%u", i);
        a->w = &f->w;
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

/* Posts the results of the attempts from..to-1 in one turn. */
static void
post(struct result_publisher_fixture *f, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        result_publisher_publish(&f->attempts[i]);
}

static void
until_posted(struct result_publisher_fixture *f, unsigned want)
{
    f->want = want;
    f->all_posted = f->posted == want;
    assert_true(loop_until(f->loop, &f->all_posted, LONG_MS));
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

    post(f, 0, 3);
    until_posted(f, 3);
    assert_int_equal(f->messages, 1);
    assert_int_equal(f->members[0], 3);
    assert_string_equal(f->subjects[0], "results.local.cli");
    assert_int_equal(f->heard, 1);
    post(f, 3, 4);
    until_posted(f, 4);
    assert_int_equal(f->messages, 2);
    assert_int_equal(f->members[1], 1);
}

static void
each_source_has_messages_of_its_own(void **state)
{
    struct result_publisher_fixture *f = *state;

    f->sources[2] = f->sources[3] = "folder";
    post(f, 0, 4);
    until_posted(f, 4);
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

    post(f, 0, JOBS);
    until_posted(f, JOBS);
    assert_true(f->messages > 1);
    for (unsigned i = 0; i < f->messages; i++) {
        assert_in_range(f->members[i], 1, 64);
        n += f->members[i];
    }
    assert_int_equal(n, JOBS);
    f->messages = f->posted = 0;
    for (unsigned i = 0; i < 2; i++) {
        f->attempts[i].result.attempt = 2;
        f->attempts[i].result.output = &part;
        f->attempts[i].result.n_output = 1;
    }
    post(f, 0, 2);
    until_posted(f, 2);
    assert_int_equal(f->messages, 2);
}

static void
a_job_that_is_gone_is_not_told(void **state)
{
    struct result_publisher_fixture *f = *state;

    post(f, 0, 3);
    result_publisher_forget(&f->attempts[1]);
    result_publisher_forget(&f->attempts[1]); /* also without a post */
    memset(&f->attempts[1], 0xa5, sizeof f->attempts[1]);
    until_posted(f, 2);
    assert_int_equal(f->members[0], 3); /* its result is on its way all the
                                           same */
}

static void
a_worker_may_close_with_results_on_their_way(void **state)
{
    struct result_publisher_fixture *f = *state;

    post(f, 0, 3);
    result_publisher_close(&f->w);
    result_publisher_open(&f->w);
    post(f, 3, 4);
    until_posted(f, 1);
}

/* Sent once: it must not come up when its job has long gone another way. */
static void
an_early_message_is_by_itself_and_sent_once(void **state)
{
    struct result_publisher_fixture *f = *state;

    post(f, 0, 2);
    for (unsigned i = 2; i < 5; i++)
        result_publisher_publish_early(&f->attempts[i]);
    post(f, 5, 6);
    f->want = 3;
    until_posted(f, 3);
    assert_true(loop_until(f->loop, &f->all_early, LONG_MS));
    assert_int_equal(f->stored, 3);
    assert_int_equal(f->messages, 3);
    assert_int_equal(f->members[0], 2);
    assert_int_equal(f->members[1], 3);
    assert_int_equal(f->members[2], 1);

    broker_kill(f->broker);
    f->want = 4;
    f->all_early = false;
    result_publisher_publish_early(&f->attempts[6]);
    assert_true(loop_until(f->loop, &f->all_early, LONG_MS));
    assert_int_equal(f->stored, 3);
    broker_restart(f->broker);
    post(f, 7, 8);
    until_posted(f, 4);
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
        TEST(a_job_that_is_gone_is_not_told),
        TEST(an_early_message_is_by_itself_and_sent_once),
        TEST(a_worker_may_close_with_results_on_their_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
