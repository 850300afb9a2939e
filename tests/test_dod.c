#include "lib/model/dod.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define U DOD_UNKNOWN

static struct dod_facts
facts(int exit_code)
{
    struct dod_facts f = {.exit_code = exit_code,
                          .attempt = 1,
                          .tests_total = U,
                          .tests_passed = U,
                          .tests_failed = U,
                          .tests_skipped = U,
                          .files_changed = U};

    for (size_t i = 0; i < DOD_CALLS_MAX; i++)
        f.calls[i] = U;
    return f;
}

static enum dod_verdict
admit(const char *text, const struct dod_facts *f, char *part, size_t size)
{
    struct mem_pool *pool = mem_pool_new();
    const struct dod *d;
    const char *said;
    enum dod_verdict v;
    struct err e = {0};

    if (dod_parse(text, pool, &d, &e) < 0)
        fail_msg("%s: %s", text, e.msg);
    v = dod_judge(d, f, pool, &said);
    if (part)
        (void)snprintf(part, size, "%s", said);
    mem_pool_free(pool);
    return v;
}

/* --- what is always known ------------------------------------------------- */

struct dod_row {
    const char *text;
    int exit_code;
    int64_t duration_ms, output_bytes;
    bool done;
};

static const struct dod_row rows[] = {
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
    {"1 == 1", 0, 0, 0, true},
    /* without a word on the exit code, 0 is asked for */
    {"1 == 1", 9, 0, 0, false},
    {"duration < 1s", 9, 0, 0, false},
    {"exit_code >= 0 and duration < 1s", 9, 0, 0, true},
    {"true", 0, 0, 0, true},
    {"false", 0, 0, 0, false},
    {"true != false", 0, 0, 0, true},
    {"signal == 0 and attempt == 1", 0, 0, 0, true},
};

static void
expressions_judge_the_facts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct dod_row *r = &rows[i];
        struct dod_facts f = facts(r->exit_code);

        f.duration_ms = r->duration_ms;
        f.output_bytes = r->output_bytes;
        if ((admit(r->text, &f, NULL, 0) == DOD_DONE) != r->done)
            fail_msg("%s: not %d", r->text, r->done);
    }
}

/* --- what may be unknown -------------------------------------------------- */

/* call: what the only call of the row gives. */
static const struct {
    const char *text;
    int exit_code;
    int64_t changed, call, failed;
    enum dod_verdict want;
    const char *part;
} verdicts[] = {
    {"tests.failed == 0", 0, U, U, 0, DOD_DONE, ""},
    {"tests.failed == 0", 0, U, U, 3, DOD_FAILED,
     "tests.failed == 0 (tests.failed is 3)"},
    {"tests.failed == 0", 0, U, U, U, DOD_UNPROVEN,
     "tests.failed == 0 (tests.failed is unknown: no test results were "
     "recognised in the output)"},
    {"tests.failed == 0", 1, U, U, 0, DOD_FAILED, ""},
    {"tests.failed == 0", 1, U, U, U, DOD_FAILED, ""},
    {"not tests.failed > 0", 0, U, U, U, DOD_UNPROVEN, NULL},
    /* three values: unknown gives way to what decides alone */
    {"tests.failed == 0 or duration < 1s", 0, U, U, U, DOD_DONE, ""},
    {"duration < 1s or tests.failed == 0", 0, U, U, U, DOD_DONE, ""},
    {"tests.failed == 0 or duration > 1s", 0, U, U, U, DOD_UNPROVEN, NULL},
    {"tests.failed == 0 and duration > 1s", 0, U, U, U, DOD_FAILED,
     "duration > 1s (duration is 0ms)"},
    {"duration > 1s and tests.failed == 0", 0, U, U, U, DOD_FAILED, NULL},
    {"tests.failed == 0 and duration < 1s", 0, U, U, U, DOD_UNPROVEN, NULL},
    {"not (tests.failed == 0 and duration > 1s)", 0, U, U, U, DOD_DONE, ""},
    /* a code that is not 0 is forgiven only by what is true */
    {"exit_code <= 1 and tests.failed == 0", 1, U, U, 0, DOD_DONE, ""},
    {"exit_code <= 1 and tests.failed == 0", 1, U, U, 2, DOD_FAILED,
     "tests.failed == 0 (tests.failed is 2)"},
    {"exit_code <= 1 and tests.failed == 0", 1, U, U, U, DOD_FAILED, NULL},
    {"exit_code <= 1 and tests.failed == 0", 2, U, U, 0, DOD_FAILED, ""},
    {"exit_code == 0 and tests.failed == 0", 3, U, U, 2, DOD_FAILED,
     "exit code 3; tests.failed == 0 (tests.failed is 2)"},
    {"tests.failed == 0 and exit_code == 0", 3, U, U, 2, DOD_FAILED,
     "exit code 3; tests.failed == 0 (tests.failed is 2)"},
    {"tests.failed == 0 and exit_code == 0", 3, U, U, 0, DOD_FAILED, ""},
    {"tests.failed == 0 or exit_code == 0", 3, U, U, 2, DOD_FAILED,
     "exit code 3; tests.failed == 0 (tests.failed is 2)"},
    {"exit_code == 3", 0, U, U, U, DOD_FAILED,
     "exit_code == 3 (exit_code is 0)"},
    /* nothing changed */
    {"files_changed >= 1", 0, 0, U, U, DOD_NO_OP,
     "files_changed >= 1 (files_changed is 0)"},
    {"files_changed >= 1", 0, 1, U, U, DOD_DONE, ""},
    {"files_changed >= 1", 0, U, U, U, DOD_UNPROVEN,
     "files_changed >= 1 (files_changed is unknown: no git)"},
    {"files_changed >= 1", 1, 0, U, U, DOD_FAILED, ""},
    {"files_changed('a') >= 1", 0, 0, 0, U, DOD_NO_OP,
     "files_changed('a') >= 1 (files_changed('a') is 0)"},
    /* something else changed: that is no no-op */
    {"files_changed('a') >= 1", 0, 2, 0, U, DOD_FAILED, NULL},
    {"files_changed('a') >= 1 and tests.failed == 0", 0, 0, 0, 0, DOD_NO_OP,
     NULL},
    {"files_changed('a') >= 1 and tests.failed == 0", 0, 0, 0, 1, DOD_FAILED,
     NULL},
    {"files_changed('a') >= 1 and duration > 1s", 0, 0, 0, U, DOD_FAILED,
     "files_changed('a') >= 1 (files_changed('a') is 0); duration > 1s "
     "(duration is 0ms)"},
    {"not files_changed('a') == 0", 0, 0, 0, U, DOD_NO_OP, NULL},
    {"not (files_changed('a') < 1 or duration > 1s)", 0, 0, 0, U, DOD_NO_OP,
     NULL},
    {"files_changed('a') == 0", 0, 0, 0, U, DOD_DONE, ""},
    {"files_changed('a') == 0", 0, 1, 1, U, DOD_FAILED, NULL},
    /* truths */
    {"file_exists('f')", 0, U, 1, U, DOD_DONE, ""},
    {"file_exists('f')", 0, U, 0, U, DOD_FAILED,
     "file_exists('f') (file_exists('f') is false)"},
    {"file_exists('f')", 0, U, U, U, DOD_UNPROVEN,
     "file_exists('f') (file_exists('f') is unknown: no folder)"},
    {"not log_contains('x')", 0, U, 1, U, DOD_FAILED,
     "not log_contains('x') (log_contains('x') is true)"},
    {"log_contains('x') == false", 0, U, 0, U, DOD_DONE, ""},
};

static void
what_is_unknown_is_neither_true_nor_false(void **state)
{
    char part[512];

    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        struct dod_facts f = facts(verdicts[i].exit_code);
        enum dod_verdict v;

        f.files_changed = verdicts[i].changed;
        f.calls[0] = verdicts[i].call;
        f.tests_failed = verdicts[i].failed;
        f.no_changes = "no git";
        f.no_files = "no folder";
        v = admit(verdicts[i].text, &f, part, sizeof part);
        if (v != verdicts[i].want)
            fail_msg("%s: %d instead of %d (%s)", verdicts[i].text, (int)v,
                     (int)verdicts[i].want, part);
        if (verdicts[i].part && strcmp(part, verdicts[i].part) != 0)
            fail_msg("%s: %s", verdicts[i].text, part);
        if (v != DOD_DONE && verdicts[i].exit_code == 0)
            assert_true(*part);
    }
}

/* --- what must be gathered ------------------------------------------------ */

static void
only_what_is_asked_for_is_needed(void **state)
{
    struct mem_pool *pool = mem_pool_new();
    static const struct dod_needs nothing = {.exit_code = true};
    const struct dod_needs *n;
    const struct dod *d;
    struct err e;

    (void)state;
    assert_int_equal(
        dod_parse("exit_code == 0 and duration < 1m", pool, &d, &e), 0);
    assert_memory_equal(dod_needs(d), &nothing, sizeof nothing);
    assert_int_equal(
        dod_parse(
            "files_changed(\"a/**\") >= 1 and tests.failed == 0 and not "
            "log_matches(\"^\\d+ \\\"x\\\\\\\\\") and file_exists('o\\\"') "
            "and files_changed('a/**') < 9",
            pool, &d, &e),
        0);
    n = dod_needs(d);
    assert_true(n->changes && n->tests && n->log && n->files && !n->exit_code);
    assert_int_equal(n->n_calls, 3);
    assert_string_equal(n->calls[0].arg, "a/**");
    assert_string_equal(n->calls[1].arg, "^\\d+ \"x\\\\");
    assert_string_equal(n->calls[2].arg, "o\\\"");
    mem_pool_free(pool);
}

/* --- mistakes ------------------------------------------------------------- */

static const struct {
    const char *text, *column, *what;
} errors[] = {
    {"exit_code", "column 10:", "comparison"},
    {"exit_code = 0", "column 11:", "written =="},
    {"exit_code == ", "column 14:", "ends too soon"},
    {"exit_code == 0 and", "column 19:", "ends too soon"},
    {"exit_cod == 0", "column 1:", "did you mean exit_code?"},
    {"test.failed == 0", "column 1:", "did you mean tests.failed?"},
    {"filesChanged('a') > 0", "column 1:", "did you mean files_changed?"},
    {"log_match('a')", "column 1:", "did you mean log_matches?"},
    {"elephant == 0", "column 1:", "unknown name; known are exit_code"},
    {"exit_code == 0 && duration < 1s", "column 16:", "'and'"},
    {"exit_code == 0 junk", "column 16:", "'and'"},
    {"1 < duration < 5", "column 14:", "'and'"},
    {"exit_code == 20m", "column 14:", "whole number"},
    {"duration < -1s", "column 12:", "duration"},
    {"duration < 1q", "column 12:", "duration"},
    {"output_bytes > 1x", "column 16:", "size"},
    {"exit_code < duration", "column 13:", "cannot be compared"},
    {"duration < '20m'",
     "column 12:", "a duration cannot be compared with text"},
    {"'a' == 'a'", "column 8:", "text"},
    {"exit_code == true",
     "column 14:", "cannot be compared with true or false"},
    {"log_contains('a') == 1", "column 22:", "a number cannot be compared"},
    {"log_contains('a') > true", "column 19:", "== or !="},
    {"(exit_code == 0", "column 16:", "expected )"},
    {"exit_code == 0)", "column 15:", "'and'"},
    {"exit_code == 99999999999999999999", "column 14:", "whole number"},
    {"system(\"x\")", "column 1:", "unknown name"},
    {"exit_code == 0\xff", "column 15:", "'and'"},
    {"exit_code(1) == 1", "column 10:", "not a function"},
    {"log_matches", "column 1:", "is a function: log_matches('"},
    {"log_matches()", "column 13:", "wants a text in quotes"},
    {"log_matches(TODO)", "column 13:", "wants a text in quotes"},
    {"log_matches('TODO'", "column 19:", "expected )"},
    {"log_matches('TODO)", "column 13:", "has no end"},
    {"log_matches('(a')", "column 13:", "without its )"},
    {"log_matches('')", "column 13:", "empty"},
    {"log_contains('a\nb')", "column 16:", "control"},
    {"files_changed('a')", "column 19:", "comparison"},
    {"files_changed('[a') > 0", "column 15:", "set without ]"},
    {"files_changed('../a') > 0", "column 15:", "leaves the work"},
    {"file_exists('/etc/passwd')", "column 13:", "below the workdir"},
    {"file_exists('a/../../b')", "column 13:", "below the workdir"},
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
        assert_int_equal(e.msg[strlen(e.msg) - 1], '^');
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
    assert_int_equal(
        dod_check("log_contains('\xe5\xae\x8c\xe4\xba\x86') x", &e), -1);
    assert_string_equal(e.msg, "column 20: expected 'and', 'or' or the end\n"
                               "  log_contains('\xe5\xae\x8c\xe4\xba\x86') x\n"
                               "                       ^");
}

static void
long_or_deep_text_is_refused_not_followed(void **state)
{
    char text[4096], deep[200];
    struct err e = {0};
    size_t n = 0;

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

    for (char c = 'a'; c <= 'p'; c++)
        n += (size_t)snprintf(text + n, sizeof text - n, "log_contains('%c')%s",
                              c, c == 'p' ? "" : " or ");
    assert_int_equal(dod_check(text, &e), 0);
    (void)snprintf(text + n, sizeof text - n, " or log_contains('a')");
    assert_int_equal(dod_check(text, &e), 0);
    (void)snprintf(text + n, sizeof text - n, " or log_contains('q')");
    assert_int_equal(dod_check(text, &e), -1);
    assert_non_null(strstr(e.msg, "more than 16"));
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
        cmocka_unit_test(what_is_unknown_is_neither_true_nor_false),
        cmocka_unit_test(only_what_is_asked_for_is_needed),
        cmocka_unit_test(errors_name_the_column_and_show_the_place),
        cmocka_unit_test(the_caret_stands_below_the_mistake),
        cmocka_unit_test(long_or_deep_text_is_refused_not_followed),
        cmocka_unit_test(a_mistake_far_to_the_right_is_still_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
