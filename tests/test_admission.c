#include "router/admission.h"

#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "router/router.h"
#include "router/worker_registry.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NOW_MS = 1700000000 };

struct holder {
    struct router_conf conf;
};

static const struct conf_opt options[] = {ROUTER_CONF(struct holder, conf),
                                          CONF_END};

/* --- admission ------------------------------------------------------------ */

static struct mem_pool *pool;
static char extra_lane[] = "local.gpu";
static char *extra_lanes[] = {extra_lane, NULL};

static int
new_pool(void **state)
{
    (void)state;
    pool = mem_pool_new();
    return 0;
}

static int
free_pool(void **state)
{
    (void)state;
    mem_pool_free(pool);
    return 0;
}

static struct admission
admit_inbound(const struct inbound *in)
{
    struct router_rules rules = {policy_default(), extra_lanes};
    struct routing_facts facts = {.known = true, .codespace_configured = true};
    struct admission a;

    admit(in, &rules, &facts, NOW_MS, pool, &a);
    return a;
}

static struct admission
admit_text(const char *text)
{
    struct inbound in = {.data = text,
                         .len = strlen(text),
                         .id = "",
                         .seq = 7,
                         .delivered = 1,
                         .stored_at_ms = NOW_MS - 5};

    return admit_inbound(&in);
}

static void
a_good_task_is_completed_and_routed(void **state)
{
    struct admission a =
        admit_text("{\"id\": \"t1\", \"steps\": [\"cloud: ls\"]}");

    (void)state;
    assert_int_equal(a.verdict, ADMIT_ROUTE);
    assert_string_equal(a.id, "t1");
    assert_string_equal(a.source, "cli");
    assert_string_equal(a.decision.backend, "codespace");
    assert_int_equal(a.decision.decided_at_ms, NOW_MS);
    assert_int_equal(a.task.submitted_at_ms, NOW_MS - 5);
    assert_true(*a.task.name);
    assert_string_equal(a.task.steps[0].script, "ls");
}

static void
a_task_without_an_id_gets_one_that_every_reader_derives(void **state)
{
    static const char text[] = "{\"steps\": [\"ls\"]}";
    struct inbound in = {.data = text,
                         .len = sizeof text - 1,
                         .id = "",
                         .seq = 7,
                         .delivered = 1,
                         .stored_at_ms = NOW_MS - 5};
    char derived[TASK_ID_SIZE];

    (void)state;
    task_id_from_message(7, NOW_MS - 5, text, sizeof text - 1, derived);
    assert_string_equal(admit_inbound(&in).id, derived);
    in.id = "given";
    assert_string_equal(admit_inbound(&in).id, "given");
    in.id = "no token";
    assert_string_equal(admit_inbound(&in).id, derived);
}

static void
a_task_that_must_wait_is_left_to_the_reaper(void **state)
{
    (void)state;
    assert_int_equal(
        admit_text("{\"steps\": [\"ls\"], \"hold\": true}").verdict,
        ADMIT_LEAVE);
    assert_int_equal(
        admit_text("{\"steps\": [\"ls\"], \"after\": [\"x\"]}").verdict,
        ADMIT_LEAVE);
    /* also a time that has passed: the reaper holds it all the same */
    assert_int_equal(
        admit_text("{\"steps\": [\"ls\"], \"not_before_ms\": 1}").verdict,
        ADMIT_LEAVE);
    assert_int_equal(
        admit_text("{\"steps\": [\"ls\"], \"not_before_ms\": 0}").verdict,
        ADMIT_ROUTE);
}

static void
a_lane_must_exist(void **state)
{
    struct admission a =
        admit_text("{\"steps\": [\"ls\"], \"lane\": \"nowhere\"}");

    (void)state;
    assert_int_equal(a.verdict, ADMIT_REJECT);
    assert_non_null(strstr(a.reason, "there is no lane local.nowhere; there "
                                     "are local.default, "));
    assert_non_null(strstr(a.reason, ", local.gpu"));
    a = admit_text("{\"steps\": [\"ls\"], \"backend\": \"local\", \"lane\": "
                   "\"gpu\"}");
    assert_int_equal(a.verdict, ADMIT_ROUTE);
}

static void
a_bad_message_is_dead_and_its_id_is_read_if_it_can_be(void **state)
{
    static const unsigned char garbage[] = {0xff, 0x00, '{', 0x80};
    struct inbound in = {
        .data = garbage, .len = sizeof garbage, .id = "", .delivered = 1};
    struct admission a =
        admit_text("{\"id\": \"t2\", \"source\": \"github\", \"steps\": 3}");

    (void)state;
    assert_int_equal(a.verdict, ADMIT_DEAD);
    assert_string_equal(a.id, "t2");
    assert_string_equal(a.source, "github");
    assert_non_null(strstr(a.reason, "steps"));

    a = admit_text("{\"id\": \"../x\", \"source\": \"a.b\"}");
    assert_int_equal(a.verdict, ADMIT_DEAD);
    assert_string_equal(a.id, "");
    assert_string_equal(a.source, "cli");

    a = admit_inbound(&in);
    assert_int_equal(a.verdict, ADMIT_DEAD);
    assert_string_equal(a.id, "");
    in.id = "from-header";
    assert_string_equal(admit_inbound(&in).id, "from-header");
    in.len = 0;
    assert_int_equal(admit_inbound(&in).verdict, ADMIT_DEAD);
}

static void
the_twenty_first_delivery_is_dead_before_it_is_parsed(void **state)
{
    static const char text[] = "{\"id\": \"t3\", \"steps\": [\"ls\"]}";
    struct inbound in = {.data = text,
                         .len = sizeof text - 1,
                         .id = "hdr",
                         .delivered = ADMISSION_DELIVERIES_MAX};

    (void)state;
    assert_int_equal(admit_inbound(&in).verdict, ADMIT_ROUTE);
    in.delivered++;
    assert_int_equal(admit_inbound(&in).verdict, ADMIT_DEAD);
    assert_string_equal(admit_inbound(&in).id, "hdr");
}

/* --- worker registry ------------------------------------------------------ */

static const char *default_lane[] = {"default"};

static bool
serves(const struct routing_facts *f, const char *lane)
{
    for (size_t i = 0; i < f->n_lanes; i++)
        if (strcmp(f->lanes[i], lane) == 0)
            return true;
    return false;
}

static void
beat(struct worker_registry *r, const char *backend, const char *worker,
     uint32_t running, int64_t now_ms)
{
    struct heartbeat hb = {.backend = backend,
                           .worker = worker,
                           .lanes = default_lane,
                           .n_lanes = 1,
                           .running_count = running};

    worker_registry_update(r, &hb, now_ms);
}

static void
beat_short_runs(struct worker_registry *r, const char *worker, bool short_runs,
                bool draining)
{
    struct heartbeat hb = {.backend = "local",
                           .worker = worker,
                           .lanes = default_lane,
                           .n_lanes = 1,
                           .draining = draining,
                           .brisk = short_runs};

    worker_registry_update(r, &hb, 1000);
}

static void
a_lane_has_short_runs_when_all_its_workers_report_them(void **state)
{
    struct worker_registry *r = worker_registry_new();

    (void)state;
    assert_false(worker_registry_has_short_runs(r, "local", "default", 1000));
    beat_short_runs(r, "a", true, false);
    assert_true(worker_registry_has_short_runs(r, "local", "default", 1000));
    assert_false(worker_registry_has_short_runs(r, "local", "other", 1000));
    assert_false(
        worker_registry_has_short_runs(r, "codespace", "default", 1000));
    beat_short_runs(r, "b", false, false);
    assert_false(worker_registry_has_short_runs(r, "local", "default", 1000));
    beat_short_runs(r, "b", false, true); /* it accepts no new tasks */
    assert_true(worker_registry_has_short_runs(r, "local", "default", 1000));
    beat_short_runs(r, "a", false, false);
    assert_false(worker_registry_has_short_runs(r, "local", "default", 1000));
    beat_short_runs(r, "a", true, false);
    assert_false(worker_registry_has_short_runs(
        r, "local", "default", 1000 + WORKER_REGISTRY_SILENT_MS + 1001));
    worker_registry_free(r);
}

static void
the_time_of_a_suspension_makes_no_worker_silent(void **state)
{
    struct worker_registry *r = worker_registry_new();
    int64_t now_ms = 1000 + WORKER_REGISTRY_SILENT_MS + 5000;

    (void)state;
    beat_short_runs(r, "a", true, false);
    worker_registry_put_off(r, 6000);
    assert_true(worker_registry_has_short_runs(r, "local", "default", now_ms));
    assert_false(
        worker_registry_has_short_runs(r, "local", "default", now_ms + 2001));
    worker_registry_free(r);
}

static void
running_tasks_of_local_workers_add_up_until_they_fall_silent(void **state)
{
    struct worker_registry *r = worker_registry_new();
    struct routing_facts facts;

    (void)state;
    worker_registry_facts(r, 1000, &facts);
    assert_true(facts.known);
    assert_int_equal(facts.running_local, 0);
    beat(r, "local", "a", 2, 1000);
    beat(r, "local", "b", 3, 9000);
    beat(r, "codespace", "a", 5, 1000);
    worker_registry_facts(r, 9000, &facts);
    assert_int_equal(facts.running_local, 5);
    assert_true(serves(&facts, "codespace.default"));
    assert_int_equal(facts.n_lanes, 2);
    beat(r, "local", "a", 1, 2000);
    worker_registry_facts(r, 9000, &facts);
    assert_int_equal(facts.running_local, 4);
    worker_registry_facts(r, 31001, &facts);
    assert_false(serves(&facts, "codespace.default"));
    assert_int_equal(facts.running_local, 4);
    worker_registry_facts(r, 32001, &facts);
    assert_int_equal(facts.running_local, 3);
    worker_registry_facts(r, 99000, &facts);
    assert_int_equal(worker_registry_size(r), 0);
    worker_registry_free(r);
}

static void
a_worker_that_stops_or_drains_is_not_available(void **state)
{
    struct heartbeat hb = {.backend = "secutools",
                           .worker = "w",
                           .lanes = default_lane,
                           .n_lanes = 1};
    struct worker_registry *r = worker_registry_new();
    struct routing_facts facts;

    (void)state;
    worker_registry_update(r, &hb, 0);
    worker_registry_facts(r, 0, &facts);
    assert_true(serves(&facts, "secutools.default"));
    hb.draining = true;
    worker_registry_update(r, &hb, 0);
    worker_registry_facts(r, 0, &facts);
    assert_int_equal(facts.n_lanes, 0);
    hb.stopped = true;
    worker_registry_update(r, &hb, 0);
    assert_int_equal(worker_registry_size(r), 0);
    worker_registry_update(r, &hb, 0); /* unknown by now */
    assert_int_equal(worker_registry_size(r), 0);
    worker_registry_free(r);
}

static void
the_facts_name_the_lanes_and_the_memory_of_open_workers(void **state)
{
    static const char *lanes[] = {"gpu", "no token", "auto", "gpu"};
    struct heartbeat hb = {.backend = "local",
                           .worker = "a",
                           .lanes = lanes,
                           .n_lanes = 4,
                           .memory_free_bytes = 1000};
    struct worker_registry *r = worker_registry_new();
    struct routing_facts facts;

    (void)state;
    worker_registry_update(r, &hb, 0);
    beat(r, "local", "b", 0, 0);
    worker_registry_facts(r, 0, &facts);
    assert_int_equal(facts.n_lanes, 3);
    assert_true(serves(&facts, "local.gpu") && serves(&facts, "local.auto") &&
                serves(&facts, "local.default"));
    assert_true(facts.local_free_bytes == 1000);
    hb.n_lanes = 1; /* what it says last counts */
    hb.memory_free_bytes = 900;
    worker_registry_update(r, &hb, 0);
    worker_registry_facts(r, 0, &facts);
    assert_int_equal(facts.n_lanes, 2);
    assert_true(facts.local_free_bytes == 900);
    hb.backend = "codespace"; /* memory elsewhere is not ours */
    hb.memory_free_bytes = 5000;
    worker_registry_update(r, &hb, 0);
    hb.backend = "local";
    hb.draining = true;
    worker_registry_update(r, &hb, 0);
    worker_registry_facts(r, 0, &facts);
    assert_true(facts.local_free_bytes == 0);
    assert_false(serves(&facts, "local.gpu"));
    worker_registry_free(r);
}

static void
the_registry_is_bounded_and_sums_do_not_overflow(void **state)
{
    struct worker_registry *r = worker_registry_new();
    struct routing_facts facts;
    char name[16];

    (void)state;
    for (int i = 0; i < WORKER_REGISTRY_MAX + 10; i++) {
        (void)snprintf(name, sizeof name, "w%d", i);
        beat(r, "local", name, UINT32_MAX, 0);
    }
    assert_int_equal(worker_registry_size(r), WORKER_REGISTRY_MAX);
    worker_registry_facts(r, 0, &facts);
    assert_int_equal(facts.running_local, UINT32_MAX);
    beat(r, "local", "late", 1,
         WORKER_REGISTRY_SILENT_MS + 1); /* the silent make room */
    assert_int_equal(worker_registry_size(r), 1);
    beat(r, "local", "no token", 1, 0);
    beat(r, "", "", 1, 0);
    assert_int_equal(worker_registry_size(r), 1);
    worker_registry_free(r);
}

/* --- configuration ------------------------------------------------------- */

/* Loads a configuration from one word like "--router-policy=x". */
static void
configure(struct holder *h, const char *word)
{
    char *argv[] = {(char *)"test", (char *)"--config=/dev/null", (char *)word};
    struct err e = {0};

    *h = (struct holder){0};
    if (conf_load(h, options, "", word ? 3 : 2, argv, &e) < 0)
        fail_msg("%s", e.msg);
}

static void
without_a_file_the_shipped_policy_is_in_force(void **state)
{
    struct holder h;
    struct policy p;
    struct err e = {0};

    (void)state;
    configure(&h, NULL);
    assert_int_equal(router_conf_check(&h.conf, &e), 0);
    assert_int_equal(router_conf_policy(&h.conf, pool, &p, &e), 0);
    assert_string_equal(p.version, policy_default()->version);
    conf_free(&h, options);
}

static void
a_configuration_that_makes_no_sense_is_refused(void **state)
{
    static const char *const words[] = {
        "--router-backends=gke", "--bus-lanes=local", "--bus-lanes=local.a.b",
        "--router-policy=/nowhere/policy.yaml", "--router-policy=Makefile"};

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct holder h;
        struct policy p;
        struct err e = {0};

        configure(&h, words[i]);
        if (router_conf_check(&h.conf, &e) == 0 &&
            router_conf_policy(&h.conf, pool, &p, &e) == 0)
            fail_msg("accepted: %s", words[i]);
        assert_true(*e.msg);
        conf_free(&h, options);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, new_pool, free_pool)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_lane_has_short_runs_when_all_its_workers_report_them),
        TEST(a_good_task_is_completed_and_routed),
        TEST(a_task_without_an_id_gets_one_that_every_reader_derives),
        TEST(a_task_that_must_wait_is_left_to_the_reaper),
        TEST(a_lane_must_exist),
        TEST(a_bad_message_is_dead_and_its_id_is_read_if_it_can_be),
        TEST(the_twenty_first_delivery_is_dead_before_it_is_parsed),
        TEST(the_time_of_a_suspension_makes_no_worker_silent),
        TEST(running_tasks_of_local_workers_add_up_until_they_fall_silent),
        TEST(a_worker_that_stops_or_drains_is_not_available),
        TEST(the_registry_is_bounded_and_sums_do_not_overflow),
        TEST(the_facts_name_the_lanes_and_the_memory_of_open_workers),
        TEST(without_a_file_the_shipped_policy_is_in_force),
        TEST(a_configuration_that_makes_no_sense_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
