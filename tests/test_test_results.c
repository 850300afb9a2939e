#include "lib/model/test_results.h"

#include "lib/base/ansi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct test_results_row {
    const char *name, *text;
    bool seen;
    unsigned passed, failed, skipped;
};

static const struct test_results_row rows[] = {
    {"nothing", "", false, 0, 0, 0},
    {"talk about tests",
     "all tests passed\n3 errors in 2 files\nok\nok, 5 files\nFAIL\n"
     "Tests: see below\n3 passed\n2 failed in 3 attempts\nok 1 of 2\n",
     false, 0, 0, 0},

    {"a range is no plan", "1..9\n", false, 0, 0, 0},

    {"pytest",
     "============================= test session starts ====================\n"
     "platform linux -- Python 3.11.2, pytest-7.2.1, pluggy-1.0.0\n"
     "rootdir: /w\ncollected 6 items\n\n"
     "test_a.py FFF..s                                               [100%]\n\n"
     "=========================== short test summary info ===================\n"
     "FAILED test_a.py::test_1 - assert 1 == 2\n"
     "FAILED test_a.py::test_2 - assert 1 == 2\n"
     "FAILED test_a.py::test_3 - assert 1 == 2\n"
     "==================== 3 failed, 2 passed, 1 skipped in 0.12s "
     "===========\n",
     true, 2, 3, 1},
    {"pytest -q", "..F\n3 failed, 2 passed in 0.12s\n", true, 2, 3, 0},
    {"pytest in colours",
     "\033[31m=== \033[31m\033[1m1 failed\033[0m, \033[32m2 passed\033[0m"
     "\033[31m in 0.05s\033[0m\033[31m ===\033[0m\n",
     true, 2, 1, 0},
    {"pytest that cannot import",
     "!!!!!!!!!!!!! Interrupted: 1 error during collection !!!!!!!!!!!!!\n"
     "=========================== 1 error in 0.10s =====================\n",
     true, 0, 1, 0},
    {"pytest with warnings and known failures",
     "== 1 passed, 2 xfailed, 1 xpassed, 3 deselected, 4 warnings in 0.33s "
     "==\n",
     true, 2, 0, 2},
    {"pytest for more than a minute",
     "===== 5 passed, 2 errors in 62.10s (0:01:02) =====\n", true, 5, 2, 0},
    {"pytest without tests",
     "============================ no tests ran in 0.01s ==================\n",
     true, 0, 0, 0},
    {"pytest with a plugin that counts",
     "=== 1 failed, 2 passed, 7 subtests passed in 0.02s ===\n", true, 2, 1, 0},

    {"unittest", "...\n-----\nRan 3 tests in 0.001s\n\nOK\n", true, 3, 0, 0},
    {"unittest that fails",
     "Ran 6 tests in 0.002s\n\nFAILED (failures=1, errors=1, skipped=1, "
     "expected failures=1)\n",
     true, 2, 2, 2},

    {"jest",
     "Test Suites: 1 failed, 1 passed, 2 total\n"
     "Tests:       1 failed, 2 skipped, 3 passed, 6 total\n"
     "Snapshots:   0 total\nTime:        1.2 s\n",
     true, 3, 1, 2},
    {"jest that passes", "Tests:       4 passed, 4 total\n", true, 4, 0, 0},
    {"jest in colours",
     "\033[1mTests:       \033[22m\033[1m\033[31m1 failed\033[39m\033[22m, "
     "\033[1m\033[32m1 passed\033[39m\033[22m, 2 total\n",
     true, 1, 1, 0},
    {"jest with nothing to do", "Tests:       0 total\n", true, 0, 0, 0},

    {"vitest",
     " Test Files  1 failed | 1 passed (2)\n"
     "      Tests  1 failed | 3 passed (4)\n   Start at  10:00:00\n",
     true, 3, 1, 0},
    {"vitest in colours",
     "\033[2m Test Files \033[22m \033[1m\033[31m1 failed\033[39m\033[22m"
     "\033[90m (1)\033[39m\n"
     "\033[2m      Tests \033[22m \033[1m\033[31m1 failed\033[39m\033[22m"
     "\033[2m | \033[22m\033[1m\033[32m3 passed\033[39m\033[22m"
     "\033[2m | \033[22m\033[33m2 skipped\033[39m\033[90m (6)\033[39m\n",
     true, 3, 1, 2},
    {"vitest without tests", "      Tests  no tests\n", true, 0, 0, 0},

    {"mocha", "\n  3 passing (12ms)\n  2 pending\n  1 failing\n\n", true, 3, 1,
     2},
    {"node --test",
     "\xe2\x84\xb9 tests 6\n\xe2\x84\xb9 suites 0\n\xe2\x84\xb9 pass 3\n"
     "\xe2\x84\xb9 fail 1\n\xe2\x84\xb9 cancelled 0\n\xe2\x84\xb9 skipped 1\n"
     "\xe2\x84\xb9 todo 1\n\xe2\x84\xb9 duration_ms 50.1\n",
     true, 3, 1, 2},

    {"go test", "ok  \texample.com/a\t0.003s\nok  \texample.com/b\t(cached)\n",
     true, 2, 0, 0},
    {"go test that fails",
     "--- FAIL: TestX (0.00s)\n    x_test.go:5: no\nFAIL\n"
     "FAIL\texample.com/a\t0.002s\nok  \texample.com/b\t0.002s\nFAIL\n",
     true, 1, 1, 0},
    {"go test that does not build",
     "# example.com/a\n./a.go:3:1: syntax error\n"
     "FAIL\texample.com/a [build failed]\nFAIL\n",
     true, 0, 1, 0},
    {"go test -v",
     "=== RUN   TestX\n=== RUN   TestX/one\n--- FAIL: TestX (0.00s)\n"
     "    --- FAIL: TestX/one (0.00s)\n=== RUN   TestY\n"
     "--- PASS: TestY (0.00s)\n--- SKIP: TestZ (0.00s)\nFAIL\n"
     "FAIL\texample.com/a\t0.002s\n"
     "=== RUN   TestQ\n--- PASS: TestQ (0.00s)\nPASS\n"
     "ok  \texample.com/b\t0.002s\n",
     true, 2, 2, 1},
    {"go test without tests",
     "?   \texample.com/a\t[no test files]\n"
     "ok  \texample.com/b\t0.002s [no tests to run]\n",
     true, 0, 0, 0},
    {"go test -json",
     "{\"Time\":\"t\",\"Action\":\"run\",\"Package\":\"p\",\"Test\":\"TestX\"}"
     "\n"
     "{\"Action\":\"output\",\"Package\":\"p\",\"Test\":\"TestX\",\"Output\":"
     "\"--- FAIL: TestX\\n\"}\n"
     "{\"Action\":\"fail\",\"Package\":\"p\",\"Test\":\"TestX\"}\n"
     "{\"Action\":\"pass\",\"Package\":\"p\",\"Test\":\"TestY\"}\n"
     "{\"Action\":\"skip\",\"Package\":\"p\",\"Test\":\"TestZ\"}\n"
     "{\"Action\":\"fail\",\"Package\":\"p\",\"Elapsed\":0.1}\n",
     true, 1, 1, 1},
    {"go test -json that does not build",
     "{\"Action\":\"fail\",\"Package\":\"p\",\"Elapsed\":0}\n", true, 0, 1, 0},

    {"cargo test",
     "running 6 tests\ntest a ... ok\n\n"
     "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 "
     "filtered out; finished in 0.00s\n\n"
     "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered "
     "out; finished in 0.00s\n",
     true, 7, 1, 2},
    {"ctest",
     "95% tests passed, 1 tests failed out of 20\n\nTotal Test time (real) = "
     "0.02 sec\n",
     true, 19, 1, 0},
    {"ctest that passes", "100% tests passed, 0 tests failed out of 3\n", true,
     3, 0, 0},
    {"GoogleTest",
     "[       OK ] A.b (0 ms)\n[  FAILED  ] A.c (0 ms)\n"
     "[==========] 3 tests from 1 test suite ran. (0 ms total)\n"
     "[  PASSED  ] 1 test.\n[  SKIPPED ] 1 test, listed below:\n"
     "[  SKIPPED ] A.d\n[  FAILED  ] 1 test, listed below:\n"
     "[  FAILED  ] A.c\n\n 1 FAILED TEST\n",
     true, 1, 1, 1},
    {"cmocka",
     "[==========] Running 2 test(s).\n[ RUN      ] a\n[       OK ] a\n"
     "[==========] 2 test(s) run.\n[  PASSED  ] 2 test(s).\n",
     true, 2, 0, 0},

    {"TAP",
     "TAP version 13\n1..4\nok 1 - one\nnot ok 2 - two\n  ---\n  why: x\n"
     "  ...\nok 3 # SKIP no net\nnot ok 4 - later # TODO some day\n",
     true, 1, 1, 2},
    {"TAP with the plan behind", "ok 1\nok 2\n1..2\n", true, 2, 0, 0},
    {"TAP whose tests are missing", "1..5\nok 1\nok 2\n", true, 2, 3, 0},
    {"TAP that dies at once", "TAP version 14\n1..5\n", true, 0, 5, 0},
    {"TAP that gives up", "1..3\nok 1\nBail out! no broker\n", true, 1, 2, 0},
    {"TAP that gives up without a plan", "ok 1\nBail out!\n", true, 1, 1, 0},
    {"TAP of several programs",
     "1..2\nok 1\nok 2\n1..2\nok 1\nnot ok 2\nok 1\nok 2\nok 3\n1..3\n1..1\n"
     "ok 1\n",
     true, 7, 1, 0},
    {"TAP with subtests",
     "1..1\n    ok 1 - inner\n    not ok 2 - inner # TODO\n    1..2\n"
     "ok 1 - outer\n",
     true, 1, 0, 0},
    {"TAP that skips all", "TAP version 13\n1..0 # SKIP nothing to do\n", true,
     0, 0, 0},
    {"TAP with CRLF", "1..2\r\nok 1\r\nnot ok 2\r\n", true, 1, 1, 0},

    {"several kinds",
     "== 1 passed in 0.01s ==\nTests:       1 failed, 1 total\n"
     "1..1\nok 1\n",
     true, 2, 1, 0},
    {"numbers beyond reason",
     "99999999999999999999999999 failed, 1 passed in 0.01s\n", true, 1, 1000000,
     0},
};

static void
on_line(void *ctx, const char *line, size_t len)
{
    test_results_line(ctx, line, len);
}

static void
test_row(void **state)
{
    const struct test_results_row *r = *state;

    for (size_t piece = 1; piece < 100; piece += 33) {
        struct test_results t = {0};
        struct ansi l = {.state = ANSI_TEXT};
        struct testcounts c;
        size_t len = strlen(r->text);

        for (size_t at = 0; at < len; at += piece)
            ansi_add(&l, r->text + at, len - at < piece ? len - at : piece,
                     on_line, &t);
        ansi_end(&l, on_line, &t);
        c = test_results_now(&t);
        if (c.seen != r->seen || c.passed != r->passed ||
            c.skipped != r->skipped || c.failed != r->failed)
            fail_msg("%s: %d, %u passed, %u failed, %u skipped", r->name,
                     c.seen, (unsigned)c.passed, (unsigned)c.failed,
                     (unsigned)c.skipped);
    }
}

/* --- lines ---------------------------------------------------------------- */

struct seen {
    char text[256];
    size_t longest, n;
};

static void
on_seen(void *ctx, const char *line, size_t len)
{
    struct seen *s = ctx;
    size_t at = strlen(s->text);

    if (len > s->longest)
        s->longest = len;
    s->n++;
    (void)snprintf(s->text + at, sizeof s->text - at, "%.*s|",
                   len > 20 ? 0 : (int)len, line);
}

static void
lines_end_in_many_ways_and_lose_their_colours(void **state)
{
    static const struct {
        const char *bytes, *want;
    } cases[] = {
        {"a\nb", "a|b|"},
        {"a\r\nb\r\n", "a|b|"},
        {"10%\r20%\r\n\n", "10%|20%||"},
        {"\n\n", "||"},
        {"\033[1;31mred\033[0m\n", "red|"},
        {"\033]0;title\007x\033]8;;http://y\033\\z\n", "xz|"},
        {"a\033(Bb\033[?25lc\n", "aBbc|"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ansi l = {.state = ANSI_TEXT};
        struct seen s = {0};

        for (const char *c = cases[i].bytes; *c; c++)
            ansi_add(&l, c, 1, on_seen, &s);
        ansi_end(&l, on_seen, &s);
        assert_string_equal(s.text, cases[i].want);
    }
}

static void
a_line_without_end_comes_in_pieces(void **state)
{
    struct ansi l = {.state = ANSI_TEXT};
    struct seen s = {0};
    char block[1000];

    (void)state;
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 200; i++)
        ansi_add(&l, block, sizeof block, on_seen, &s);
    ansi_end(&l, on_seen, &s);
    assert_int_equal(s.longest, ANSI_MAX);
    assert_int_equal(s.n, 200000 / ANSI_MAX + 1);
}

int
main(void)
{
    enum { N = sizeof rows / sizeof *rows };
    struct CMUnitTest tests[N + 2] = {
        cmocka_unit_test(lines_end_in_many_ways_and_lose_their_colours),
        cmocka_unit_test(a_line_without_end_comes_in_pieces),
    };

    for (size_t i = 0; i < N; i++)
        tests[i + 2] =
            (struct CMUnitTest){.name = rows[i].name,
                                .test_func = test_row,
                                .initial_state = (void *)(uintptr_t)&rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
