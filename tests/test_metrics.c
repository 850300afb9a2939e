#include "reaper/http/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct metrics_facts facts = {.ready = true, .version = "1.2"};

static struct str
render(const char *status)
{
    json_t *o = json_loads(status, 0, NULL);
    struct str out = {0};

    assert_non_null(o);
    metrics_text(o, json_object_get(o, "of today"), &facts, &out);
    json_decref(o);
    return out;
}

static void
has(const struct str *out, const char *line)
{
    const char *at = strstr(out->data, line);

    if (!at || (at != out->data && at[-1] != '\n') || at[strlen(line)] != '\n')
        fail_msg("no line '%s' in\n%s", line, out->data);
}

static void
states_lanes_workers_lag_and_alarms_are_told(void **state)
{
    struct str out = render(
        "{\"counters\": {\"tasks\": 7, \"succeeded\": 4, \"running\": 1},"
        " \"lanes\": {\"local.gpu\": {\"routed\": 2, \"retry_wait\": 1,"
        " \"running\": 1, \"workers\": 1}},"
        " \"workers\": [{\"worker\": \"w\", \"backend\": \"local\", "
        "\"slots\": 4, \"running\": 1, \"age_ms\": 1050}],"
        " \"of today\": {\"costs\": [{\"provider\": \"gpu\", "
        "\"team\": \"a\", \"cost_usd\": \"0.012300\"}]},"
        " \"lag\": {\"RESULTS.reaper\": 3}, \"stale\": 2,"
        " \"alarms\": [{\"name\": \"disk_low\", \"text\": \"x\"}]}");

    (void)state;
    has(&out, "# TYPE shunt_tasks gauge");
    has(&out, "shunt_tasks{state=\"succeeded\"} 4");
    has(&out, "shunt_tasks{state=\"failed\"} 0");
    has(&out, "# TYPE shunt_tasks_accepted_total counter");
    has(&out, "shunt_tasks_accepted_total 7");
    has(&out, "shunt_lane_tasks{backend=\"local\",lane=\"gpu\","
              "state=\"routed\"} 2");
    has(&out, "shunt_lane_waiting_tasks{backend=\"local\",lane=\"gpu\"} 3");
    has(&out, "shunt_lane_workers{backend=\"local\",lane=\"gpu\"} 1");
    has(&out, "shunt_workers 1");
    has(&out, "shunt_worker_slots{backend=\"local\",worker=\"w\"} 4");
    has(&out, "shunt_worker_heartbeat_age_seconds{backend=\"local\","
              "worker=\"w\"} 1.050");
    has(&out, "shunt_ledger_lag_messages{consumer=\"RESULTS.reaper\"} 3");
    has(&out, "shunt_cost_today_usd{provider=\"gpu\",team=\"a\"} 0.012300");
    has(&out, "shunt_alarm{name=\"disk_low\"} 1");
    has(&out, "shunt_stale_tasks 2");
    has(&out, "shunt_ready 1");
    has(&out, "shunt_bus_up 0");
    has(&out, "shunt_info{version=\"1.2\"} 1");
    assert_int_equal(out.data[out.len - 1], '\n');
    str_free(&out);
}

static void
names_cannot_break_out_of_their_quotes(void **state)
{
    struct str out = render("{\"lag\": {\"a\\\"} 1\\nx{b=\\\"\\\\\": 1}}");

    (void)state;
    has(&out, "shunt_ledger_lag_messages{consumer="
              "\"a\\\"} 1\\nx{b=\\\"\\\\\"} 1");
    str_free(&out);
}

static void
an_empty_ledger_has_metrics_too(void **state)
{
    struct str out = render("{}");

    (void)state;
    has(&out, "shunt_tasks{state=\"running\"} 0");
    has(&out, "shunt_workers 0");
    assert_null(strstr(out.data, "state=\"lost\""));
    assert_null(strstr(out.data, "state=\"?\""));
    str_free(&out);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_lanes_workers_lag_and_alarms_are_told),
        cmocka_unit_test(names_cannot_break_out_of_their_quotes),
        cmocka_unit_test(an_empty_ledger_has_metrics_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
