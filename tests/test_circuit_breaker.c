#include "workers/secutools/circuit_breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct breaker_conf free_way = {
    .open_after = 3, .open_ms = 1000, .open_most_ms = 3000};
static const struct breaker_conf ten_a_second = {.rate = 10,
                                                 .burst = 2,
                                                 .open_after = 3,
                                                 .open_ms = 1000,
                                                 .open_most_ms = 3000};

static void
without_a_rate_everything_goes_at_once(void **state)
{
    struct breaker g;

    (void)state;
    breaker_init(&g, &free_way, 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(breaker_acquire(&g, 0), 0);
}

static void
a_rate_lets_a_burst_go_and_then_one_at_a_time(void **state)
{
    struct breaker g;

    (void)state;
    breaker_init(&g, &ten_a_second, 0);
    assert_int_equal(breaker_acquire(&g, 0), 0);
    assert_int_equal(breaker_acquire(&g, 0), 0);
    assert_int_equal(breaker_acquire(&g, 0), 100);
    assert_int_equal(breaker_acquire(&g, 60), 40);
    assert_int_equal(breaker_acquire(&g, 100), 0);
    assert_int_equal(breaker_acquire(&g, 100), 100);
    /* Rest is saved up to a burst, not beyond. */
    assert_int_equal(breaker_acquire(&g, 100000), 0);
    assert_int_equal(breaker_acquire(&g, 100000), 0);
    assert_int_equal(breaker_acquire(&g, 100000), 100);
}

static void
failures_in_a_row_open_it_and_one_request_tries(void **state)
{
    struct breaker g;

    (void)state;
    breaker_init(&g, &free_way, 0);
    breaker_failed(&g, 0);
    breaker_failed(&g, 0);
    breaker_answered(&g); /* not in a row */
    breaker_failed(&g, 0);
    breaker_failed(&g, 0);
    assert_int_equal(breaker_acquire(&g, 10), 0);
    breaker_failed(&g, 10);
    assert_int_equal(breaker_acquire(&g, 10), 1000);
    breaker_failed(&g, 500); /* under way when it opened */
    assert_int_equal(breaker_acquire(&g, 1009), 1);
    assert_int_equal(breaker_acquire(&g, 1010), 0); /* the probe */
    assert_true(breaker_acquire(&g, 1010) > 0);     /* the others wait */
    breaker_failed(&g, 1100);
    assert_int_equal(breaker_acquire(&g, 1100), 2000); /* longer each time */
    assert_int_equal(breaker_acquire(&g, 3100), 0);
    breaker_failed(&g, 3100);
    assert_int_equal(breaker_acquire(&g, 3100), 3000); /* up to a limit */
    assert_int_equal(breaker_acquire(&g, 6100), 0);
    breaker_answered(&g);
    assert_int_equal(breaker_acquire(&g, 6100), 0);
    assert_int_equal(breaker_acquire(&g, 6100), 0);
    breaker_failed(&g, 6100);
    breaker_failed(&g, 6100);
    breaker_failed(&g, 6100);
    assert_int_equal(breaker_acquire(&g, 6100), 1000); /* and all anew */
}

static void
a_probe_without_an_answer_is_given_up(void **state)
{
    struct breaker g;

    (void)state;
    breaker_init(&g, &free_way, 0);
    for (int i = 0; i < 3; i++)
        breaker_failed(&g, 0);
    assert_int_equal(breaker_acquire(&g, 1000), 0);
    assert_int_equal(breaker_acquire(&g, 1000), 60000);
    assert_int_equal(breaker_acquire(&g, 61000), 0);
}

static void
a_pause_that_was_asked_for_is_kept(void **state)
{
    struct breaker g;

    (void)state;
    breaker_init(&g, &free_way, 0);
    breaker_pause(&g, 5000);
    breaker_pause(&g, 2000); /* a shorter one does not end it */
    assert_int_equal(breaker_acquire(&g, 0), 5000);
    breaker_answered(&g);
    assert_int_equal(breaker_acquire(&g, 4999), 1);
    assert_int_equal(breaker_acquire(&g, 5000), 0);
}

static void
backoff_doubles_up_to_its_cap_and_heeds_the_platform(void **state)
{
    (void)state;
    assert_int_equal(breaker_backoff(0, 500, 60000, -1, 0.5), 250);
    assert_int_equal(breaker_backoff(3, 500, 60000, -1, 0.5), 2000);
    assert_int_equal(breaker_backoff(30, 500, 60000, -1, 0.5), 30000);
    assert_int_equal(breaker_backoff(1 << 30, 500, 60000, -1, 0.999), 59940);
    assert_int_equal(breaker_backoff(0, 500, 60000, 7000, 0.9), 7000);
    assert_int_equal(breaker_backoff(0, 500, 60000, 0, 0.0), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rate_everything_goes_at_once),
        cmocka_unit_test(a_rate_lets_a_burst_go_and_then_one_at_a_time),
        cmocka_unit_test(failures_in_a_row_open_it_and_one_request_tries),
        cmocka_unit_test(a_probe_without_an_answer_is_given_up),
        cmocka_unit_test(a_pause_that_was_asked_for_is_kept),
        cmocka_unit_test(backoff_doubles_up_to_its_cap_and_heeds_the_platform),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
