/*
 * test_results - counts passed and failed tests from the output of test
 * runners.
 *
 * Knows pytest, unittest, jest, vitest, mocha, node --test, go test (plain,
 * -v and -json), cargo test, ctest, GoogleTest and cmocka, and TAP (bats,
 * prove, node). Several runs add up. Lines must be without escape
 * sequences (lib/base/ansi).
 *
 * A failure is never missed: what breaks before its tests are counted (errors
 * while collecting, a package that does not build, tests of a TAP plan that did
 * not run) counts as failed. An expected failure (xfail, TODO) counts as
 * skipped.
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
    uint64_t go_tests, go_failed; /* of the present package; of all in JSON */
    uint64_t unittest; /* tests of a run whose verdict follows, + 1 */
};

void test_results_line(struct test_results *t, const char *line, size_t len);

/* The counts so far, as if the output ended here. */
struct testcounts test_results_now(const struct test_results *t);

#endif
