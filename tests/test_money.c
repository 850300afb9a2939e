#include "lib/model/money.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void
amounts_are_read_exactly(void **state)
{
    static const struct {
        const char *text;
        int64_t nano;
    } rows[] = {
        {"0", 0},
        {"12", 12 * MONEY_USD},
        {"0.0123", 12300000},
        {".5", 500000000},
        {"3.", 3 * MONEY_USD},
        {"0.000000001", 1},
        {"0.0000000004", 0},
        {"0.0000000005", 1},
        {"0.9999999999", MONEY_USD},
        {"9000000000.999999999", INT64_C(9000000000999999999)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t nano = -1;

        assert_true(money_read(rows[i].text, &nano));
        assert_int_equal(nano, rows[i].nano);
    }
}

static void
what_is_no_amount_is_refused(void **state)
{
    static const char *const rows[] = {"",           ".",
                                       "-1",         "+1",
                                       " 1",         "1 ",
                                       "1e3",        "x",
                                       "1,5",        "1.2.3",
                                       "NaN",        "0x1",
                                       "9300000000", "99999999999999999999"};
    int64_t nano;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_false(money_read(rows[i], &nano));
}

static void
amounts_are_shown_with_six_digits_or_as_many_as_they_need(void **state)
{
    char text[MONEY_SIZE];

    (void)state;
    assert_string_equal(money_text(0, text), "0.000000");
    assert_string_equal(money_text(12300000, text), "0.012300");
    assert_string_equal(money_text(1, text), "0.000000001");
    assert_string_equal(money_text(12345678901, text), "12.345678901");
    assert_string_equal(money_text(INT64_MAX, text), "9223372036.854775807");
}

static void
sums_do_not_wrap(void **state)
{
    (void)state;
    assert_int_equal(money_add(1, 2), 3);
    assert_int_equal(money_add(INT64_MAX, 1), INT64_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_are_read_exactly),
        cmocka_unit_test(what_is_no_amount_is_refused),
        cmocka_unit_test(
            amounts_are_shown_with_six_digits_or_as_many_as_they_need),
        cmocka_unit_test(sums_do_not_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
