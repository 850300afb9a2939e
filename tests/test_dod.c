#include "lib/dod.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *text;
    int exit_code;
    int64_t duration_ms, output_bytes;
    bool done;
};

static const struct row rows[] = {
    {"", 0, 0, 0, true},
    {"", 1, 0, 0, false},
    {"  ", 0, 0, 0, true},
    {"exit_code == 0", 0, 0, 0, true},
    {"exit_code == 0", 2, 0, 0, false},
    {"exit_code==3", 3, 0, 0, true},
    {"exit_code != -1", 0, 0, 0, true},
    {"0 == exit_code", 0, 0, 0, true},
    {"duration < 20m", 0, 1199999, 0, true},
    {"duration < 20m", 0, 1200000, 0, false},
    {"duration <= 20m", 0, 1200000, 0, true},
    {"duration > 90", 0, 90001, 0, true},
    {"duration > 1h30m", 0, 5400000, 0, false},
    {"output_bytes >= 1K", 0, 0, 1024, true},
    {"output_bytes >= 1K", 0, 0, 1023, false},
    {"20m > duration", 0, 5, 0, true},
    {"exit_code == 0 and duration < 20m", 0, 5, 0, true},
    {"exit_code == 0 and duration < 20m", 1, 5, 0, false},
    {"exit_code == 1 or exit_code == 2", 2, 0, 0, true},
    /* and binds closer than or */
    {"exit_code == 0 or exit_code == 1 and duration < 1s", 0, 9999, 0, true},
    {"(exit_code == 0 or exit_code == 1) and duration < 1s", 0, 9999, 0, false},
    {"not exit_code == 0", 1, 0, 0, true},
    {"not not exit_code == 0", 1, 0, 0, false},
    {"not (exit_code == 0 and duration > 1s)", 0, 10, 0, true},
    {"not(exit_code == 0)", 0, 0, 0, false},
    {"1 == 1", 9, 0, 0, true},
};

static void
expressions_judge_the_facts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct dod_facts f = {r->exit_code, r->duration_ms, r->output_bytes};
        struct err e = {0};
        bool done = !r->done;

        if (dod_eval(r->text, &f, &done, &e) < 0)
            fail_msg("%s: %s", r->text, e.msg);
        if (done != r->done)
            fail_msg("%s: %d instead of %d", r->text, done, r->done);
    }
}

static const struct {
    const char *text, *column, *what;
} errors[] = {
    {"exit_code", "column 10:", "comparison"},
    {"exit_code = 0", "column 11:", "written =="},
    {"exit_code == ", "column 14:", "ends too soon"},
    {"exit_code == 0 and", "column 19:", "ends too soon"},
    {"exit_cod == 0", "column 1:", "unknown name"},
    {"exit_code == 0 && duration < 1s", "column 16:", "'and'"},
    {"exit_code == 0 junk", "column 16:", "'and'"},
    {"exit_code == 20m", "column 14:", "whole number"},
    {"duration < -1s", "column 12:", "duration"},
    {"duration < 1q", "column 12:", "duration"},
    {"output_bytes > 1x", "column 16:", "size"},
    {"exit_code < duration", "column 13:", "compared"},
    {"(exit_code == 0", "column 16:", "expected )"},
    {"exit_code == 0)", "column 15:", "'and'"},
    {"exit_code == 99999999999999999999", "column 14:", "whole number"},
    {"system(\"x\")", "column 1:", "unknown name"},
    {"exit_code == 0\xff", "column 15:", "'and'"},
};

static void
errors_name_the_column_and_show_the_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct err e = {0};

        assert_int_equal(dod_check(errors[i].text, &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        if (!strstr(e.msg, errors[i].column) || !strstr(e.msg, errors[i].what))
            fail_msg("%s: %s", errors[i].text, e.msg);
        assert_non_null(strchr(e.msg, '^'));
    }
}

static void
the_caret_stands_below_the_mistake(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(dod_check("exit_code = 0", &e), -1);
    assert_string_equal(e.msg, "column 11: equality is written ==\n"
                               "  exit_code = 0\n"
                               "            ^");
}

static void
long_or_deep_text_is_refused_not_followed(void **state)
{
    char text[4096], deep[200];
    struct err e = {0};

    (void)state;
    memset(text, ' ', sizeof text);
    text[1025] = '\0';
    assert_int_equal(dod_check(text, &e), -1);
    text[1024] = '\0';
    assert_int_equal(dod_check(text, &e), 0);

    memset(deep, '(', sizeof deep);
    (void)snprintf(deep + 100, 100, "exit_code == 0");
    assert_int_equal(dod_check(deep, &e), -1);
    assert_non_null(strstr(e.msg, "parentheses"));
}

static void
a_mistake_far_to_the_right_is_still_shown(void **state)
{
    char text[1024];
    struct err e = {0};

    (void)state;
    memset(text, ' ', sizeof text);
    (void)snprintf(text + 900, 100, "exit_code = 0");
    assert_int_equal(dod_check(text, &e), -1);
    assert_non_null(strstr(e.msg, "column 911:"));
    assert_non_null(strstr(e.msg, "exit_code = 0"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_judge_the_facts),
        cmocka_unit_test(errors_name_the_column_and_show_the_place),
        cmocka_unit_test(the_caret_stands_below_the_mistake),
        cmocka_unit_test(long_or_deep_text_is_refused_not_followed),
        cmocka_unit_test(a_mistake_far_to_the_right_is_still_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
