/* How a worker serves its lanes: leaves them, tells of itself, heeds pauses. */
#include "tests/worker_fixture.h"

#include "lib/bus/control_send.h"
#include "lib/bus/lane_pause.h"

/* --- drain ---------------------------------------------------------------- */

static void
an_idle_worker_stops_at_once(void **state)
{
    struct worker_fixture s;

    (void)state;
    open_fixture(&s, 1);
    worker_drain(s.worker, 1);
    close_fixture(&s);
}

static void
a_draining_worker_lets_its_task_finish(void **state)
{
    char script[600];
    struct worker_fixture s;

    (void)state;
    open_fixture(&s, 1);
    submit_sh("lastone",
              announcing("sleep 0.3; echo finished", script, sizeof script));
    (void)announced();
    worker_drain(s.worker, 1);
    assert_int_equal(loop_run(loop), 0);
    assert_output(result("lastone", 1), "finished\n");
    close_fixture(&s);
}

static void
a_task_that_outlasts_the_drain_is_handed_back(void **state)
{
    char script[600];
    struct worker_fixture s;
    struct lookup l;
    const struct result *r;
    pid_t pid;

    (void)state;
    open_fixture(&s, 1);
    s.conf.drain_timeout_ms = 100;
    submit_sh("handed", announcing("[ $SHUNT_ATTEMPT = 2 ] || sleep 1000",
                                   script, sizeof script));
    pid = announced();
    worker_drain(s.worker, 1);
    assert_int_equal(loop_run(loop), 0);
    assert_true(is_gone(pid));
    r = result("handed", 1);
    assert_int_equal(r->state, STATE_PREEMPTED);
    assert_false(r->final);
    get_claim("handed", &l);
    assert_int_equal(l.claim.state, STATE_PREEMPTED);
    assert_int_equal(l.claim.failed, 0);
    mem_pool_free(l.pool);
    close_fixture(&s);
    /* The next worker takes it at once. */
    open_fixture(&s, 1);
    assert_int_equal(result("handed", 2)->state, STATE_SUCCEEDED);
    (void)announced();
    close_fixture(&s);
}

static void
a_second_term_kills_and_hands_back(void **state)
{
    char script[600];
    struct worker_fixture s;
    pid_t pid;

    (void)state;
    open_fixture(&s, 1);
    submit_sh("killed",
              announcing("[ $SHUNT_ATTEMPT = 2 ] && exit; trap '' TERM; "
                         "while :; do sleep 1; done",
                         script, sizeof script));
    pid = announced();
    worker_drain(s.worker, 1);
    worker_drain(s.worker, 2);
    assert_int_equal(loop_run(loop), 0);
    assert_true(is_gone(pid));
    assert_int_equal(result("killed", 1)->state, STATE_PREEMPTED);
    close_fixture(&s);
    open_fixture(&s, 1);
    assert_int_equal(result("killed", 2)->state, STATE_SUCCEEDED);
    (void)announced();
    close_fixture(&s);
}

/* --- heartbeats ----------------------------------------------------------- */

struct pulse {
    bool any, any_busy, any_stopped;
};

static void
on_heartbeat(void *ctx, const struct bus_note *note)
{
    struct pulse *p = ctx;
    struct mem_pool *pool = mem_pool_new();
    struct heartbeat h;
    struct err e;

    assert_int_equal(
        codec_decode(CODEC_HEARTBEAT, note->data, note->len, pool, &h, &e), 0);
    assert_string_equal(h.worker, "w1");
    assert_int_equal(h.slots, 3);
    assert_int_equal(h.n_lanes, 1);
    assert_int_equal(h.pid, getpid());
    assert_int_equal(h.n_running, h.running_count);
    p->any = true;
    if (h.stopped)
        p->any_stopped = true;
    if (h.running_count > 0) {
        assert_string_equal(h.running[0].task, "beating");
        p->any_busy = true;
    }
    mem_pool_free(pool);
}

/* A worker of 3 slots, whose heartbeats are received from the first on. */
static struct bus_sub *
open_with_heartbeats(struct worker_fixture *s, struct pulse *p)
{
    struct bus_sub *sub;
    struct err e;

    assert_int_equal(
        bus_subscribe(bus, SUBJECT_HEARTBEATS, on_heartbeat, p, &sub, &e), 0);
    open_fixture(s, 3);
    return sub;
}

static void
heartbeats_tell_busy_and_stopped(void **state)
{
    char script[600];
    struct pulse p = {0};
    struct bus_sub *sub;
    struct worker_fixture s;

    (void)state;
    sub = open_with_heartbeats(&s, &p);
    submit_sh("beating", announcing("sleep 1.5", script, sizeof script));
    (void)announced();
    assert_true(loop_until(loop, &p.any_busy, PATIENCE_MS));
    worker_drain(s.worker, 1);
    assert_int_equal(loop_run(loop), 0);
    assert_true(loop_until(loop, &p.any_stopped, PATIENCE_MS));
    bus_unsubscribe(sub);
    close_fixture(&s);
}

static void
a_roll_call_is_answered(void **state)
{
    struct control roll = control_msg_new(CONTROL_ROLL, "router");
    struct pulse p = {0};
    struct bus_sub *sub;
    struct worker_fixture s;

    (void)state;
    sub = open_with_heartbeats(&s, &p);
    assert_true(loop_until(loop, &p.any, PATIENCE_MS));
    p.any = false;
    control_send(bus, SUBJECT_ROLL, &roll);
    /* Before its next by itself, which comes each 10 s. */
    assert_true(loop_until(loop, &p.any, 5000));
    bus_unsubscribe(sub);
    close_fixture(&s);
}

/* --- paused lanes --------------------------------------------------------- */

static void
pause_lane(const char *lane, bool paused, int64_t for_ms)
{
    struct lane_pause p = {.backend = "local",
                           .paused = paused,
                           .at_ms = str_wall_ms(),
                           .until_ms = for_ms ? str_wall_ms() + for_ms : 0};
    int64_t until = loop_now_ms() + PATIENCE_MS;
    uint64_t seq = 0;
    bool never = false;

    (void)str_copy(p.lane, sizeof p.lane, lane);
    lane_pauses_set(bus, &p, on_stored, &seq);
    while (seq == 0 && loop_now_ms() < until)
        (void)loop_until(loop, &never, 5);
    assert_true(seq > 0);
}

static void
a_pause_of_before_the_worker_came_holds_until_it_ends(void **state)
{
    int64_t ends_ms = str_wall_ms() + 1500;
    struct worker_fixture s;

    (void)state;
    pause_lane("default", true, 1500);
    submit_sh("kept-back", "echo later");
    open_fixture(&s, 1);
    assert_true(result("kept-back", 1)->started_at_ms >= ends_ms);
    assert_output(result("kept-back", 1), "later\n");
    close_fixture(&s);
}

static void
a_paused_lane_goes_on_with_what_it_has_and_takes_no_more_until_resumed(
    void **state)
{
    char script[600];
    int64_t resumed_ms;
    struct worker_fixture s;

    (void)state;
    open_fixture(&s, 2);
    submit_sh("goes-on", announcing("sleep 0.5", script, sizeof script));
    (void)announced();
    pause_lane("default", true, 0);
    submit_sh("kept", "true");
    assert_int_equal(result("goes-on", 1)->state, STATE_SUCCEEDED);
    resumed_ms = str_wall_ms();
    pause_lane("default", false, 0);
    assert_true(result("kept", 1)->started_at_ms >= resumed_ms);
    close_fixture(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_worker_stops_at_once),
        cmocka_unit_test(a_draining_worker_lets_its_task_finish),
        cmocka_unit_test(a_task_that_outlasts_the_drain_is_handed_back),
        cmocka_unit_test(a_second_term_kills_and_hands_back),
        cmocka_unit_test(heartbeats_tell_busy_and_stopped),
        cmocka_unit_test(a_roll_call_is_answered),
        cmocka_unit_test(a_pause_of_before_the_worker_came_holds_until_it_ends),
        cmocka_unit_test(
            a_paused_lane_goes_on_with_what_it_has_and_takes_no_more_until_resumed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
