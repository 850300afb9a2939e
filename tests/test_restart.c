/*
 * The pauses between the restarts of one daemon, without a clock.
 */
#include "fleet/restart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
the_pause_doubles_from_half_a_second_to_thirty_seconds(void **state)
{
    static const int64_t pauses[] = {500,   1000,  2000,  4000, 8000,
                                     16000, 30000, 30000, 30000};
    struct restart r = {0};

    (void)state;
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++)
        assert_int_equal(restart_pause(&r, 0), pauses[i]);
}

static void
a_life_of_a_minute_starts_the_pauses_over(void **state)
{
    struct restart r = {0};

    (void)state;
    assert_int_equal(restart_pause(&r, 0), 500);
    assert_int_equal(restart_pause(&r, 0), 1000);
    assert_int_equal(restart_pause(&r, 60000), 500);
    assert_int_equal(restart_pause(&r, 0), 1000);
}

static void
a_shorter_life_does_not(void **state)
{
    struct restart r = {0};

    (void)state;
    assert_int_equal(restart_pause(&r, 0), 500);
    assert_int_equal(restart_pause(&r, 59999), 1000);
}

static void
after_a_start_that_failed_the_longest_pause_holds(void **state)
{
    struct restart r = {0};

    (void)state;
    assert_int_equal(restart_pause_longest(&r), 30000);
    assert_int_equal(restart_pause(&r, 10), 30000);
    assert_int_equal(restart_pause(&r, 60000), 500);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            the_pause_doubles_from_half_a_second_to_thirty_seconds),
        cmocka_unit_test(a_life_of_a_minute_starts_the_pauses_over),
        cmocka_unit_test(a_shorter_life_does_not),
        cmocka_unit_test(after_a_start_that_failed_the_longest_pause_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
