#include "tests/bus_fixture.h"

#include "lib/bus/lane_pause.h"

struct watcher {
    struct lane_pauses *pauses;
    unsigned changes;
};

static void
on_change(void *ctx)
{
    struct watcher *w = ctx;

    w->changes++;
}

static void
set(struct bus_fixture *f, const char *lane, bool paused, const char *reason,
    int64_t until_ms)
{
    struct lane_pause p = {.paused = paused,
                           .at_ms = str_wall_ms(),
                           .until_ms = until_ms,
                           .backend = "secutools",
                           .by = "me@here"};
    struct bus_result r = {0};

    (void)str_copy(p.lane, sizeof p.lane, lane);
    (void)str_copy(p.reason, sizeof p.reason, reason);
    lane_pauses_set(f->bus, &p, on_stored, &r);
    finish(f, &r);
    assert_int_equal(r.code, ERR_NONE);
}

static void
watch(struct bus_fixture *f, struct watcher *w)
{
    struct err e;

    assert_int_equal(
        lane_pauses_open(&w->pauses, f->bus, f->loop, on_change, w, &e), 0);
    assert_false(lane_pauses_known(w->pauses));
    wait_count(f, &w->changes, 1);
    assert_true(lane_pauses_known(w->pauses));
}

static const struct lane_pause *
find(struct watcher *w, const char *lane)
{
    return lane_pauses_find(w->pauses, "secutools", lane, str_wall_ms());
}

static void
pauses_of_before_are_read_at_the_start(void **state)
{
    struct bus_fixture *f = *state;
    struct watcher w = {0};

    make_control_bucket(f);
    set(f, "gpu", true, "no budget", 0);
    set(f, "auto", true, "a mistake", 0);
    set(f, "auto", false, "", 0);
    (void)publish(f, "$KV.control.cancel.some-task", NULL, "x",
                  BUS_ANY_REVISION);
    set(f, "gemini", true, "too many requests", 0);
    watch(f, &w);
    assert_non_null(find(&w, "gpu"));
    assert_string_equal(find(&w, "gpu")->reason, "no budget");
    assert_string_equal(find(&w, "gpu")->by, "me@here");
    assert_null(find(&w, "auto"));
    assert_non_null(find(&w, "gemini"));
    assert_null(find(&w, "claude-api"));
    lane_pauses_close(w.pauses);
}

static void
an_empty_bucket_is_known_as_well(void **state)
{
    struct bus_fixture *f = *state;
    struct watcher w = {0};

    make_control_bucket(f);
    watch(f, &w);
    assert_int_equal(lane_pauses_count(w.pauses), 0);
    lane_pauses_close(w.pauses);
}

static void
pauses_are_heard_live(void **state)
{
    struct bus_fixture *f = *state;
    struct watcher w = {0};

    make_control_bucket(f);
    watch(f, &w);
    set(f, "gpu", true, "maintenance", 0);
    wait_count(f, &w.changes, 2);
    assert_string_equal(find(&w, "gpu")->reason, "maintenance");
    set(f, "gpu", false, "", 0);
    wait_count(f, &w.changes, 3);
    assert_null(find(&w, "gpu"));
    lane_pauses_close(w.pauses);
}

static void
a_pause_with_an_end_ends_by_itself(void **state)
{
    struct bus_fixture *f = *state;
    struct watcher w = {0};

    make_control_bucket(f);
    watch(f, &w);
    set(f, "gpu", true, "budget of today", str_wall_ms() + 300);
    wait_count(f, &w.changes, 2);
    assert_non_null(find(&w, "gpu"));
    wait_count(f, &w.changes, 3); /* told when it is over */
    assert_null(find(&w, "gpu"));
    assert_int_equal(lane_pauses_count(w.pauses), 1);
    lane_pauses_close(w.pauses);
}

static void
what_was_missed_is_read_again(void **state)
{
    struct bus_fixture *f = *state;
    struct watcher w = {0};
    struct events ev = {0};

    make_control_bucket(f);
    watch(f, &w);
    bus_on_event(f->bus, on_event, &ev);
    broker_kill(f->broker);
    broker_restart(f->broker);
    wait_count(f, &ev.up, 1);
    set(f, "gpu", true, "written since", 0);
    lane_pauses_refresh(w.pauses);
    wait_count(f, &w.changes, 2);
    assert_non_null(find(&w, "gpu"));
    lane_pauses_close(w.pauses);
}

static void
what_cannot_be_read_changes_nothing(void **state)
{
    struct bus_fixture *f = *state;
    struct watcher w = {0};

    make_control_bucket(f);
    set(f, "gpu", true, "first", 0);
    (void)publish(f, "$KV.control.lane.secutools.auto", NULL, "\x0a\xff",
                  BUS_ANY_REVISION);
    (void)publish(f, "$KV.control.lane.alone", NULL, "x", BUS_ANY_REVISION);
    watch(f, &w);
    assert_non_null(find(&w, "gpu"));
    assert_null(find(&w, "auto"));
    lane_pauses_close(w.pauses);
}

static uint64_t
revision_of(struct bus_fixture *f, const char *subject)
{
    return get_last(f, "KV_control", subject).seq;
}

static void
what_holds_is_stored_again_before_it_is_forgotten(void **state)
{
    static const char gpu[] = "$KV.control.lane.secutools.gpu";
    static const char over[] = "$KV.control.lane.secutools.auto";
    struct bus_fixture *f = *state;
    struct watcher w = {0};
    uint64_t first, ended;

    make_control_bucket(f);
    set(f, "gpu", true, "until somebody looks", 0);
    set(f, "auto", false, "", 0);
    first = revision_of(f, gpu);
    ended = revision_of(f, over);
    watch(f, &w);
    lane_pauses_keep(w.pauses, 0, 10);
    while (revision_of(f, gpu) == first)
        ;
    assert_string_equal(find(&w, "gpu")->reason, "until somebody looks");
    assert_string_equal(find(&w, "gpu")->by, "me@here");
    assert_int_equal(revision_of(f, over), ended);
    /* Whoever resumes it in between is not overruled. */
    set(f, "gpu", false, "", 0);
    while (find(&w, "gpu"))
        (void)loop_until(f->loop, &(bool){false}, 10);
    first = revision_of(f, gpu);
    wait_count(f, &w.changes, w.changes + 3); /* read three times more */
    assert_int_equal(revision_of(f, gpu), first);
    assert_null(find(&w, "gpu"));
    lane_pauses_close(w.pauses);
}

static void
what_is_young_is_left_alone(void **state)
{
    static const char gpu[] = "$KV.control.lane.secutools.gpu";
    struct bus_fixture *f = *state;
    struct watcher w = {0};
    uint64_t first;

    make_control_bucket(f);
    set(f, "gpu", true, "just now", 0);
    first = revision_of(f, gpu);
    watch(f, &w);
    lane_pauses_keep(w.pauses, 3600000, 10);
    wait_count(f, &w.changes, w.changes + 3);
    assert_int_equal(revision_of(f, gpu), first);
    lane_pauses_close(w.pauses);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(pauses_of_before_are_read_at_the_start),
        T(an_empty_bucket_is_known_as_well),
        T(pauses_are_heard_live),
        T(a_pause_with_an_end_ends_by_itself),
        T(what_was_missed_is_read_again),
        T(what_cannot_be_read_changes_nothing),
        T(what_holds_is_stored_again_before_it_is_forgotten),
        T(what_is_young_is_left_alone),
    };

    mem_setup();
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
