/* Delays before trying again. */
#include "lib/base/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
a_row_of_failures_doubles_the_delay_up_to_the_cap(void **state)
{
    static const int64_t want[] = {100, 200, 400, 800, 1000, 1000};
    int64_t ms = 0;

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        ms = backoff_next(ms, 100, 1000);
        assert_int_equal(ms, want[i]);
        assert_int_equal(backoff_nth((uint32_t)i, 100, 1000), want[i]);
    }
}

static void
the_cap_is_met_exactly(void **state)
{
    (void)state;
    assert_int_equal(backoff_next(499, 100, 1000), 998);
    assert_int_equal(backoff_next(500, 100, 1000), 1000);
    assert_int_equal(backoff_next(501, 100, 1000), 1000);
    assert_int_equal(backoff_next(5, 5, 5), 5);
    assert_int_equal(backoff_nth(0, 5, 5), 5);
}

static void
a_least_delay_above_the_cap_wins_when_the_last_delay_is_kept(void **state)
{
    (void)state;
    assert_int_equal(backoff_next(0, 300, 200), 300);
    assert_int_equal(backoff_next(300, 300, 200), 300);
}

static void
nothing_overflows(void **state)
{
    (void)state;
    assert_true(backoff_next(INT64_MAX, 1, INT64_MAX) == INT64_MAX);
    assert_int_equal(backoff_nth(UINT32_MAX, 100, 1000), 1000);
    assert_int_equal(backoff_nth(UINT32_MAX, 0, 0), 0);
}

static void
jitter_spreads_between_its_two_factors(void **state)
{
    (void)state;
    assert_int_equal(backoff_jitter(1000, 0.5, 1.5, 0), 500);
    assert_int_equal(backoff_jitter(1000, 0.5, 1.5, 0.5), 1000);
    assert_int_equal(backoff_jitter(1000, 0.5, 1.5, 0.9999), 1499);
    assert_int_equal(backoff_jitter(1000, 0, 1, 0), 0);
    assert_int_equal(backoff_jitter(0, 0.5, 1.5, 0.5), 0);
}

static void
random_numbers_lie_in_the_unit_interval_and_differ(void **state)
{
    double first = backoff_random(), least = first, most = first;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        double r = backoff_random();

        assert_true(r >= 0 && r < 1);
        least = r < least ? r : least;
        most = r > most ? r : most;
    }
    assert_true(least < 0.1 && most > 0.9);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_of_failures_doubles_the_delay_up_to_the_cap),
        cmocka_unit_test(the_cap_is_met_exactly),
        cmocka_unit_test(
            a_least_delay_above_the_cap_wins_when_the_last_delay_is_kept),
        cmocka_unit_test(nothing_overflows),
        cmocka_unit_test(jitter_spreads_between_its_two_factors),
        cmocka_unit_test(random_numbers_lie_in_the_unit_interval_and_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
