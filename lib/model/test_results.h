/*
 * test_results - how many tests passed and failed, read from what they print.
 *
 * Knows pytest, unittest, jest, vitest, mocha, node --test, go test (plain,
 * -v and -json), cargo test, ctest, GoogleTest and cmocka, and TAP (bats,
 * prove, node). Several runs add up. Lines come without escape sequences
 * (lib/base/ansi).
 *
 * A failure is never left out: what breaks before its tests are counted
 * (errors while collecting, a package that does not build, tests that a TAP
 * plan announces and that never came) counts as failed. What is known to fail
 * (xfail, TODO) counts as skipped.
 *
 * Thread: any; pure.
 */
#ifndef LIB_MODEL_TEST_RESULTS_H
#define LIB_MODEL_TEST_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct testcounts {
    bool seen; /* some results were recognised */
    uint64_t passed, failed, skipped;
};

/* One TAP document. */
struct test_results_tap {
    bool seen, planned, trailing, bailed;
    uint64_t plan, tests;
    struct testcounts counts;
};

/* Zero-initialized has seen nothing. */
struct test_results {
    struct testcounts counts;
    struct test_results_tap tap;
    uint64_t go_tests, go_failed; /* of the package at hand; of all in JSON */
    uint64_t unittest;            /* tests of a run whose verdict comes, + 1 */
};

void test_results_line(struct test_results *t, const char *line, size_t len);

/* What was counted so far, as if nothing else came. */
struct testcounts test_results_now(const struct test_results *t);

#endif
