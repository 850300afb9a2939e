/* What a loop says of the time in which it did not run, and what a lease makes
 * of that. */
#include "lib/io/loop.h"
#include "workers/core/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants these before it */
#include <cmocka.h>

enum { LEAST_MS = 100, FENCE_MS = 20000 };

static struct loop *loop;
static int64_t stopped; /* told so far */
static int tellings;
static bool over;

static int
open_it(void **state)
{
    struct err e;

    (void)state;
    stopped = 0;
    tellings = 0;
    over = false;
    return loop_open(&loop, &e);
}

static int
close_it(void **state)
{
    (void)state;
    loop_on_gap(loop, 0, NULL, NULL);
    loop_close(loop);
    return 0;
}

static void
on_gap(void *ctx, int64_t stopped_ms, int64_t slept_ms)
{
    (void)ctx;
    assert_true(slept_ms < LEAST_MS); /* nobody suspends this machine */
    stopped += stopped_ms;
    tellings++;
}

/* To the loop it is the same as being stopped. */
static void
be_stopped(void *ctx)
{
    int64_t until = loop_now_ms() + *(const int64_t *)ctx;

    while (loop_now_ms() < until)
        ;
}

static void
on_late_timer(void *ctx)
{
    *(bool *)ctx = tellings == 1;
    over = true;
}

/* A stop before the first turn of the loop belongs to the start. */
static void
begin(void (*fn)(void *ctx, int64_t stopped_ms, int64_t slept_ms))
{
    const bool never = false;

    loop_on_gap(loop, LEAST_MS, fn, NULL);
    loop_gap_period(loop, LEAST_MS / 2);
    (void)loop_until(loop, &never, 1);
    tellings = 0; /* of a slow machine */
    stopped = 0;
}

static void
a_stop_is_told_before_a_timer_that_it_made_late(void **state)
{
    int64_t ms = 4 * LEAST_MS;
    struct loop_timer *stop, *late;
    bool told_first = false;

    (void)state;
    begin(on_gap);
    stop = loop_timer_start(loop, 1, 0, be_stopped, &ms);
    late = loop_timer_start(loop, 30, 0, on_late_timer, &told_first);
    assert_true(loop_until(loop, &over, 10000));
    assert_true(told_first);
    assert_true(stopped >= 4 * LEAST_MS);
    loop_timer_stop(stop);
    loop_timer_stop(late);
}

static struct loop_timer *limit;

static void
put_off(void *ctx, int64_t stopped_ms, int64_t slept_ms)
{
    on_gap(ctx, stopped_ms, slept_ms);
    loop_timer_again(limit, LEAST_MS, 0);
}

static void
count(void *ctx)
{
    ++*(int *)ctx;
    over = true;
}

static void
a_late_timer_can_be_put_off(void **state)
{
    int64_t ms = 4 * LEAST_MS, began = loop_now_ms();
    struct loop_timer *stop;
    int fired = 0;

    (void)state;
    begin(put_off);
    stop = loop_timer_start(loop, 1, 0, be_stopped, &ms);
    limit = loop_timer_start(loop, 30, 0, count, &fired);
    assert_true(loop_until(loop, &over, 10000));
    assert_int_equal(fired, 1);
    assert_true(loop_now_ms() - began >= 5 * LEAST_MS);
    loop_timer_stop(stop);
    loop_timer_stop(limit);
}

static void
set_over(void *ctx)
{
    (void)ctx;
    over = true;
}

static void
a_loop_that_slept_as_it_was_to_was_not_stopped(void **state)
{
    struct loop_timer *t;

    (void)state;
    loop_on_gap(loop, LEAST_MS, on_gap, NULL);
    loop_gap_period(loop, LEAST_MS / 2);
    t = loop_timer_start(loop, (int64_t)(3 * LEAST_MS), 0, set_over, NULL);
    assert_true(loop_until(loop, &over, 10000));
    loop_check_gap(loop);
    /* This machine may be slow, but the sleep itself is no gap. */
    assert_true(tellings == 0 || stopped > 4 * LEAST_MS);
    loop_timer_stop(t);
}

static void
a_lease_that_was_fresh_gets_a_grace(void **state)
{
    int64_t gap_ms = 3600 * 1000, now = lease_now_ms();
    struct lease fresh = {.confirmed_ms = now - gap_ms - FENCE_MS / 2};
    struct lease old = {.confirmed_ms = now - gap_ms - 2 * FENCE_MS};
    struct lease in_grace = {.confirmed_ms = old.confirmed_ms,
                             .grace_ms = now - gap_ms + FENCE_MS / 2};

    (void)state;
    assert_true(lease_is_over(&fresh, FENCE_MS));
    lease_resume(&fresh, gap_ms, FENCE_MS);
    assert_false(lease_is_fresh(&fresh, FENCE_MS)); /* nothing may start */
    assert_false(lease_is_over(&fresh, FENCE_MS));
    /* What was over before is not saved by a sleep, and a grace not renewed. */
    lease_resume(&old, gap_ms, FENCE_MS);
    assert_true(lease_is_over(&old, FENCE_MS));
    lease_resume(&in_grace, gap_ms, FENCE_MS);
    assert_false(lease_is_over(&in_grace, FENCE_MS));
    assert_true(in_grace.grace_ms < now + FENCE_MS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_stop_is_told_before_a_timer_that_it_made_late, open_it, close_it),
        cmocka_unit_test_setup_teardown(a_late_timer_can_be_put_off, open_it,
                                        close_it),
        cmocka_unit_test_setup_teardown(
            a_loop_that_slept_as_it_was_to_was_not_stopped, open_it, close_it),
        cmocka_unit_test(a_lease_that_was_fresh_gets_a_grace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
