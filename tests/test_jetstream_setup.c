#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/jetstream_setup.h"
#include "tests/broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct jetstream_setup_fixture {
    struct broker *broker;
    struct loop *loop;
    struct bus *bus;
};

static void
open_with(struct jetstream_setup_fixture *f, struct broker *broker)
{
    struct bus_conf conf = {.url = (char *)broker_url(broker)};
    struct err e;

    f->broker = broker;
    assert_int_equal(loop_open(&f->loop, &e), 0);
    if (bus_open(&f->bus, f->loop, &conf, "admin", 10000, &e) < 0)
        fail_msg("%s", e.msg);
}

static int
setup(void **state)
{
    struct jetstream_setup_fixture *f = MEM_NEW(struct jetstream_setup_fixture);

    open_with(f, broker_start());
    *state = f;
    return 0;
}

static int
setup_without_jetstream(void **state)
{
    struct jetstream_setup_fixture *f = MEM_NEW(struct jetstream_setup_fixture);

    open_with(f, broker_start_with("", false));
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct jetstream_setup_fixture *f = *state;

    bus_close(f->bus);
    loop_close(f->loop);
    broker_stop(f->broker);
    mem_free(f);
    return 0;
}

static const struct jetstream_conf usual = {
    .replicas = 1,
    .max_bytes = 1 << 30,
    .max_age_ms = INT64_C(30) * 24 * 3600 * 1000,
    .log_retention_ms = INT64_C(7) * 24 * 3600 * 1000,
    .log_max_bytes = 256 << 20,
};

static const struct jetstream_rules anything = {
    .change = true, .allow_shrink = true, .by = "me@here"};

struct setup_report {
    unsigned created, updated, ok, to_create, to_update;
    char changes[512]; /* of the last that differed */
};

static void
on_report(void *ctx, const char *what, const char *name, const char *changes)
{
    struct setup_report *r = ctx;

    assert_true(*name != '\0');
    if (*changes)
        (void)str_copy(r->changes, sizeof r->changes, changes);
    if (strcmp(what, "created") == 0)
        r->created++;
    else if (strcmp(what, "updated") == 0)
        r->updated++;
    else if (strcmp(what, "to create") == 0)
        r->to_create++;
    else if (strcmp(what, "to update") == 0)
        r->to_update++;
    else if (strcmp(what, "ok") == 0)
        r->ok++;
    else
        fail_msg("what is %s", what);
}

static struct setup_report
provision(struct jetstream_setup_fixture *f, const struct jetstream_conf *conf)
{
    struct setup_report r = {0};
    struct err e;

    if (jetstream_provision(f->bus, conf, &anything, on_report, &r, &e) < 0)
        fail_msg("%s", e.msg);
    return r;
}

static void
verify(struct jetstream_setup_fixture *f, const char *stream,
       const char *durable)
{
    struct err e;

    if (jetstream_verify(f->bus, stream, durable, &e) < 0)
        fail_msg("%s", e.msg);
}

/* The broker's answer; fails the test if it is an error. */
static void
api(struct jetstream_setup_fixture *f, const char *subject, const char *body)
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

struct jetstream_setup_result {
    bool done;
    enum err_code code;
    uint64_t seq;
};

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct jetstream_setup_result *r = ctx;

    r->done = true;
    r->code = e ? e->code : ERR_NONE;
    r->seq = stored ? stored->seq : 0;
}

static struct jetstream_setup_result
publish(struct jetstream_setup_fixture *f, const char *subject, int64_t expect)
{
    struct bus_publication p = {
        .subject = subject, .data = "x", .len = 1, .expect = expect};
    struct jetstream_setup_result r = {0};

    bus_publish(f->bus, &p, 5000, on_stored, &r);
    assert_true(loop_until(f->loop, &r.done, 10000));
    return r;
}

static void
provisioning_twice_changes_nothing(void **state)
{
    struct setup_report first = provision(*state, &usual);
    struct setup_report second = provision(*state, &usual);

    assert_int_equal(first.created, 9 + 6 + 7);
    assert_int_equal(first.updated + first.ok, 0);
    assert_int_equal(second.ok, first.created);
    assert_int_equal(second.created + second.updated, 0);
}

static void
every_stream_and_consumer_passes_its_own_check(void **state)
{
    struct jetstream_setup_fixture *f = *state;

    (void)provision(f, &usual);
    verify(f, "TASKS_IN", "router");
    verify(f, "TASKS_IN", "ledger");
    verify(f, "TASKS", "ledger");
    verify(f, "RESULTS", "reaper");
    verify(f, "RESULTS", "gateway_folder");
    verify(f, "LOGS", NULL);
    verify(f, "DEAD", NULL);
    verify(f, "KV_claims", NULL);
    verify(f, "KV_control", "ledger");
    verify(f, "TASKS", "local_default");
    verify(f, "TASKS", "local_claude-code");
    verify(f, "TASKS", "codespace_default");
    verify(f, "TASKS", "secutools_claude-api");
}

static void
changed_limits_are_brought_up_to_date(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    struct jetstream_conf conf = usual;
    struct setup_report r;

    (void)provision(f, &usual);
    conf.log_max_bytes *= 2;
    conf.max_age_ms = 60000; /* below the duplicate window's usual length */
    r = provision(f, &conf);
    assert_int_equal(r.updated, 4); /* LOGS, and the three task streams */
    assert_int_equal(r.created, 0);
    verify(f, "TASKS", "ledger");
}

/* --- a fleet that is there ------------------------------------------------ */

static enum err_code
provision_by(struct jetstream_setup_fixture *f,
             const struct jetstream_conf *conf,
             const struct jetstream_rules *rules, struct setup_report *r,
             struct err *e)
{
    *r = (struct setup_report){0};
    *e = (struct err){0};
    (void)jetstream_provision(f->bus, conf, rules, on_report, r, e);
    return e->code;
}

static void
what_is_not_configured_stays_as_the_fleet_has_it(void **state)
{
    static const struct jetstream_rules none = {.by = "other@host"};
    struct jetstream_setup_fixture *f = *state;
    struct jetstream_conf conf = {0};
    char mine[] = "local.big_mem";
    char *lanes[] = {mine, NULL};
    struct setup_report r;
    struct err e;

    conf = usual;
    conf.lanes = lanes;
    (void)provision(f, &conf);
    conf = (struct jetstream_conf){0};
    assert_int_equal(provision_by(f, &conf, &none, &r, &e), ERR_NONE);
    assert_int_equal(r.ok, 9 + 6 + 8); /* the lane, too */
    conf = usual;
    assert_int_equal(provision_by(f, &conf, &none, &r, &e), ERR_NONE);
    assert_int_equal(r.updated + r.created, 0);
}

static void
another_configuration_changes_nothing_unless_it_is_asked_to(void **state)
{
    static const struct jetstream_rules none = {.by = "other@host"},
                                        change = {.change = true, .by = ""},
                                        keep = {.change = true,
                                                .keep = true,
                                                .by = ""};
    struct jetstream_setup_fixture *f = *state;
    struct jetstream_conf less = usual, more = usual;
    struct setup_report r;
    struct err e;

    (void)provision(f, &usual);
    more.log_max_bytes *= 2;
    assert_int_equal(provision_by(f, &more, &none, &r, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.msg, "bus.log_max_bytes"));
    assert_non_null(strstr(e.msg, "--change"));
    assert_int_equal(provision_by(f, &more, &change, &r, &e), ERR_NONE);
    assert_int_equal(r.updated, 1);
    assert_string_equal(r.changes, "max_bytes: 268435456 -> 536870912");

    less.max_age_ms = 3600000;
    assert_int_equal(provision_by(f, &less, &change, &r, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.msg, "bus.max_age"));
    assert_non_null(strstr(e.msg, "--allow-shrink"));
    less = more;
    less.max_bytes = 1 << 20;
    assert_int_equal(provision_by(f, &less, &change, &r, &e), ERR_CONFLICT);
    log_level_set(LOG_ERROR); /* it warns */
    assert_int_equal(provision_by(f, &less, &keep, &r, &e), ERR_NONE);
    assert_int_equal(r.updated, 0);
    assert_int_equal(provision_by(f, &less, &anything, &r, &e), ERR_NONE);
    assert_true(r.updated > 0);
}

static void
a_stream_that_somebody_enlarged_is_not_shrunk_silently(void **state)
{
    static const struct jetstream_rules change = {.change = true, .by = ""};
    struct jetstream_setup_fixture *f = *state;
    struct setup_report r;
    struct err e;

    (void)provision(f, &usual);
    api(f, "STREAM.UPDATE.DEAD",
        "{\"name\":\"DEAD\",\"subjects\":[\"dead.*\",\"more\"],\"storage\":"
        "\"file\",\"retention\":\"limits\",\"discard\":\"new\",\"deny_"
        "delete\":true,\"num_replicas\":1,\"max_msgs\":-1,\"max_msgs_per_"
        "subject\":-1,\"max_bytes\":-1}");
    assert_int_equal(provision_by(f, &usual, &change, &r, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.msg, "stream DEAD"));
    assert_non_null(strstr(e.msg, "--allow-shrink"));
    assert_int_equal(provision_by(f, &usual, &anything, &r, &e), ERR_NONE);
    assert_int_equal(r.updated, 1);
}

static void
a_dry_run_writes_nothing(void **state)
{
    static const struct jetstream_rules dry = {.dry_run = true, .change = true};
    struct jetstream_setup_fixture *f = *state;
    struct jetstream_conf conf = usual;
    struct setup_report r;
    struct err e;

    assert_int_equal(provision_by(f, &usual, &dry, &r, &e), ERR_NONE);
    assert_int_equal(r.to_create, 9 + 6 + 7);
    assert_int_equal(jetstream_verify(f->bus, "TASKS", NULL, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    (void)provision(f, &usual);
    conf.log_max_bytes *= 2;
    assert_int_equal(provision_by(f, &conf, &dry, &r, &e), ERR_NONE);
    assert_int_equal(r.to_update, 1);
    assert_int_equal(provision(f, &conf).updated, 1);
}

static void
the_layout_of_a_later_program_is_left_alone(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    static const char later[] = "{\"layout\": 99, \"version\": \"9.1\"}";
    static const char nonsense[] = "[7]";
    struct str answer = {0};
    struct setup_report r;
    struct err e;

    (void)provision(f, &usual);
    assert_int_equal(bus_call(f->bus, "$KV.fleet.settings", later,
                              strlen(later), 5000, &answer, &e),
                     0);
    assert_int_equal(provision_by(f, &usual, &anything, &r, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.msg, "9.1"));
    assert_int_equal(bus_call(f->bus, "$KV.fleet.settings", nonsense,
                              strlen(nonsense), 5000, &answer, &e),
                     0);
    assert_int_equal(provision_by(f, &usual, &anything, &r, &e), ERR_INVALID);
    str_free(&answer);
}

/* As fleets were before they had settings of their own. */
static void
a_fleet_without_an_entry_keeps_what_its_streams_have(void **state)
{
    static const struct jetstream_rules none = {.by = "other@host"};
    struct jetstream_setup_fixture *f = *state;
    struct jetstream_conf conf = usual;
    struct setup_report r;
    struct err e;

    (void)provision(f, &usual);
    api(f, "STREAM.DELETE.KV_fleet", "");
    conf.max_bytes = 1 << 20;
    assert_int_equal(provision_by(f, &conf, &none, &r, &e), ERR_CONFLICT);
    conf = (struct jetstream_conf){0};
    assert_int_equal(provision_by(f, &conf, &none, &r, &e), ERR_NONE);
    assert_int_equal(r.created, 1);
    assert_int_equal(r.updated, 0);
}

/* --- lanes ---------------------------------------------------------------- */

static void
lanes_of_the_configuration_get_a_consumer(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    char mine[] = "local.big_mem", built_in[] = "local.default";
    char *lanes[] = {mine, built_in, NULL};
    struct jetstream_conf conf = usual;
    struct err e;

    conf.lanes = lanes;
    assert_int_equal(provision(f, &conf).created, 9 + 6 + 8);
    verify(f, "TASKS", "local_big_mem");
    assert_int_equal(jetstream_verify(f->bus, "TASKS", "local_other", &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
}

static void
a_lane_that_is_no_lane_is_refused(void **state)
{
    static const char *const bad[] = {"local",   "local.",    ".x", "a.b.c",
                                      "local.*", "local.a b", ""};
    struct jetstream_setup_fixture *f = *state;
    struct jetstream_conf conf = usual;
    char *lanes[] = {NULL, NULL};
    struct err e;

    conf.lanes = lanes;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lanes[0] = mem_strdup(bad[i]);
        assert_int_equal(
            jetstream_provision(f->bus, &conf, &anything, NULL, NULL, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        mem_free(lanes[0]);
    }
}

static void
a_broker_that_is_not_provisioned_is_named_as_such(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    struct err e;

    assert_int_equal(jetstream_verify(f->bus, "TASKS", NULL, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "TASKS"));
    assert_non_null(strstr(e.msg, "shunt provision"));
}

static void
a_missing_durable_is_named_as_such(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    struct err e;

    (void)provision(f, &usual);
    api(f, "CONSUMER.DELETE.TASKS_IN.router", "");
    assert_int_equal(jetstream_verify(f->bus, "TASKS_IN", "router", &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "TASKS_IN/router"));
    assert_int_equal(provision(f, &usual).created, 1);
    verify(f, "TASKS_IN", "router");
}

static void
drift_is_told_with_field_and_both_values_and_mended(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    struct err e;

    (void)provision(f, &usual);
    api(f, "STREAM.UPDATE.TASKS",
        "{\"name\":\"TASKS\",\"subjects\":[\"tasks.*.*\"],\"storage\":\"file\","
        "\"retention\":\"limits\",\"discard\":\"old\",\"deny_delete\":true,"
        "\"deny_purge\":true,\"num_replicas\":1,\"max_msgs\":-1,\"max_msgs_per_"
        "subject\":-1}");
    assert_int_equal(jetstream_verify(f->bus, "TASKS", NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.msg, "discard"));
    assert_non_null(strstr(e.msg, "old"));
    assert_non_null(strstr(e.msg, "new"));
    assert_non_null(strstr(e.msg, "shunt provision"));
    assert_int_equal(provision(f, &usual).updated, 1);
    verify(f, "TASKS", NULL);

    api(f, "CONSUMER.DURABLE.CREATE.RESULTS.reaper",
        "{\"stream_name\":\"RESULTS\",\"config\":{\"durable_name\":\"reaper\","
        "\"ack_policy\":\"explicit\",\"deliver_policy\":\"all\","
        "\"replay_policy\":\"instant\",\"ack_wait\":30000000000,"
        "\"max_ack_pending\":5,\"max_deliver\":-1}}");
    assert_int_equal(jetstream_verify(f->bus, "RESULTS", "reaper", &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.msg, "max_ack_pending"));
    assert_int_equal(provision(f, &usual).updated, 1);
    verify(f, "RESULTS", "reaper");
}

/* As a fleet left it that knew no messages of many tasks. */
static void
a_stream_is_given_the_subject_it_does_not_have(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    struct err e;

    (void)provision(f, &usual);
    api(f, "STREAM.UPDATE.TASKS_IN",
        "{\"name\":\"TASKS_IN\",\"subjects\":[\"tasks.in\"],\"storage\":"
        "\"file\",\"retention\":\"limits\",\"discard\":\"new\",\"deny_"
        "delete\":true,\"deny_purge\":true,\"num_replicas\":1,\"max_msgs\":-1,"
        "\"max_msgs_per_"
        "subject\":-1}");
    assert_int_equal(publish(f, "tasks.in", BUS_ANY_REVISION).seq, 1);
    assert_int_equal(jetstream_verify(f->bus, "TASKS_IN", NULL, &e), -1);
    assert_non_null(strstr(e.msg, "tasks.bulk"));
    assert_int_equal(provision(f, &usual).updated, 1);
    verify(f, "TASKS_IN", "router");
    assert_int_equal(publish(f, "tasks.bulk", BUS_ANY_REVISION).seq, 2);
}

static void
what_cannot_be_changed_is_refused_with_the_difference(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    struct err e;

    api(f, "STREAM.CREATE.TASKS",
        "{\"name\":\"TASKS\",\"subjects\":[\"tasks.*.*\"],\"storage\":"
        "\"memory\",\"retention\":\"limits\",\"num_replicas\":1}");
    assert_int_equal(
        jetstream_provision(f->bus, &usual, &anything, NULL, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_non_null(strstr(e.msg, "stream TASKS"));
    assert_non_null(strstr(e.msg, "storage"));
    assert_non_null(strstr(e.msg, "memory"));
}

static void
a_broker_without_jetstream_is_unavailable(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    struct err e;

    assert_int_equal(
        jetstream_provision(f->bus, &usual, &anything, NULL, NULL, &e), -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(e.msg, "JetStream"));
    assert_int_equal(jetstream_verify(f->bus, "TASKS", NULL, &e), -1);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
}

/* --- what the streams are made for ---------------------------------------- */

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct jetstream_setup_result *r = ctx;

    r->done = true;
    r->code = e ? e->code : ERR_NONE;
    r->seq = entry ? entry->revision : 0;
}

static void
every_subject_we_use_has_its_stream(void **state)
{
    static const char *const subjects[] = {
        "tasks.in",
        "tasks.bulk",
        "tasks.local.default",
        "results.local.cli",
        "logs.t1",
        "dead.router",
        "$KV.claims.local.t1",
        "$KV.control.cancel.t1",
    };
    struct jetstream_setup_fixture *f = *state;

    (void)provision(f, &usual);
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        assert_int_equal(publish(f, subjects[i], BUS_ANY_REVISION).code,
                         ERR_NONE);
}

static void
a_claim_is_taken_by_one_and_renewed_by_revision(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    struct jetstream_setup_result r, read = {0};

    (void)provision(f, &usual);
    r = publish(f, "$KV.claims.local.t1", 0);
    assert_int_equal(r.code, ERR_NONE);
    assert_int_equal(publish(f, "$KV.claims.local.t1", 0).code, ERR_CONFLICT);
    r = publish(f, "$KV.claims.local.t1", (int64_t)r.seq);
    assert_int_equal(r.code, ERR_NONE);
    bus_get_last(f->bus, "KV_claims", "$KV.claims.local.t1", 5000, on_entry,
                 &read);
    assert_true(loop_until(f->loop, &read.done, 10000));
    assert_int_equal(read.seq, r.seq);
}

static void
log_chunks_of_a_task_are_read_in_order(void **state)
{
    struct jetstream_setup_fixture *f = *state;
    struct jetstream_setup_result r = {0};

    (void)provision(f, &usual);
    (void)publish(f, "logs.t1", BUS_ANY_REVISION);
    (void)publish(f, "logs.t2", BUS_ANY_REVISION);
    (void)publish(f, "logs.t1", BUS_ANY_REVISION);
    bus_get_next(f->bus, "LOGS", "logs.t1", 2, 5000, on_entry, &r);
    assert_true(loop_until(f->loop, &r.done, 10000));
    assert_int_equal(r.seq, 3);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(provisioning_twice_changes_nothing),
        T(every_stream_and_consumer_passes_its_own_check),
        T(changed_limits_are_brought_up_to_date),
        T(what_is_not_configured_stays_as_the_fleet_has_it),
        T(another_configuration_changes_nothing_unless_it_is_asked_to),
        T(a_stream_that_somebody_enlarged_is_not_shrunk_silently),
        T(a_dry_run_writes_nothing),
        T(the_layout_of_a_later_program_is_left_alone),
        T(a_fleet_without_an_entry_keeps_what_its_streams_have),
        T(lanes_of_the_configuration_get_a_consumer),
        T(a_lane_that_is_no_lane_is_refused),
        T(a_broker_that_is_not_provisioned_is_named_as_such),
        T(a_missing_durable_is_named_as_such),
        T(drift_is_told_with_field_and_both_values_and_mended),
        T(a_stream_is_given_the_subject_it_does_not_have),
        T(what_cannot_be_changed_is_refused_with_the_difference),
        cmocka_unit_test_setup_teardown(
            a_broker_without_jetstream_is_unavailable, setup_without_jetstream,
            teardown),
        T(every_subject_we_use_has_its_stream),
        T(a_claim_is_taken_by_one_and_renewed_by_revision),
        T(log_chunks_of_a_task_are_read_in_order),
    };

    log_open("test_topology");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
