/*
 * One function per family of output lines; each line is offered to all of them,
 * and the first that recognises it counts.
 */
#include "lib/model/test_results.h"

#include <ctype.h>
#include <string.h>

enum { NUMBER_MAX = 1000000, LINE_MAX_BYTES = 4096 };

/* --- reading a line ------------------------------------------------------- */

/* The rest of a line. */
struct text {
    const char *at, *end;
};

static size_t
left(const struct text *x)
{
    return (size_t)(x->end - x->at);
}

static bool
take(struct text *x, const char *word)
{
    size_t len = strlen(word);

    if (left(x) < len || memcmp(x->at, word, len) != 0)
        return false;
    x->at += len;
    return true;
}

/* True if there are none as well. */
static void
take_blanks(struct text *x)
{
    while (x->at < x->end && (*x->at == ' ' || *x->at == '\t'))
        x->at++;
}

static bool
take_number(struct text *x, uint64_t *out)
{
    const char *start = x->at;

    *out = 0;
    for (; x->at < x->end && isdigit((unsigned char)*x->at); x->at++)
        if (*out < NUMBER_MAX)
            *out = *out * 10 + (uint64_t)(*x->at - '0');
    if (*out > NUMBER_MAX)
        *out = NUMBER_MAX;
    return x->at > start;
}

/* Letters only. */
static struct text
take_letters(struct text *x)
{
    struct text word = {x->at, x->at};

    while (x->at < x->end && isalpha((unsigned char)*x->at))
        x->at++;
    word.end = x->at;
    return word;
}

static bool
is(const struct text *x, const char *word)
{
    return left(x) == strlen(word) && memcmp(x->at, word, left(x)) == 0;
}

static bool
has(const struct text *x, const char *part)
{
    return memmem(x->at, left(x), part, strlen(part)) != NULL;
}

static void
add(struct testcounts *to, const struct testcounts *c)
{
    to->seen = true;
    to->passed += c->passed;
    to->failed += c->failed;
    to->skipped += c->skipped;
}

/* Adds n to the count that a word names; false: the word is unknown. */
static bool
add_word(struct testcounts *c, uint64_t n, const struct text *word)
{
    static const struct {
        const char *word;
        char what; /* passed, failed, skipped or none of them */
    } words[] = {
        {"passed", 'p'},     {"failed", 'f'},  {"skipped", 's'},
        {"error", 'f'},      {"errors", 'f'},  {"xfailed", 's'},
        {"xpassed", 'p'},    {"todo", 's'},    {"ignored", 's'},
        {"pending", 's'},    {"warning", '-'}, {"warnings", '-'},
        {"deselected", '-'}, {"rerun", '-'},   {"total", '-'},
        {"measured", '-'},
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!is(word, words[i].word))
            continue;
        c->passed += words[i].what == 'p' ? n : 0;
        c->failed += words[i].what == 'f' ? n : 0;
        c->skipped += words[i].what == 's' ? n : 0;
        return true;
    }
    return false;
}

/* "1 failed, 2 passed": numbers with words, separated by with; how many. */
static unsigned
take_list(struct text *x, const char *between, struct testcounts *c)
{
    struct text next = *x, word;
    unsigned n = 0;
    uint64_t number;

    for (;;) {
        if (!take_number(&next, &number) || !take(&next, " "))
            return n;
        word = take_letters(&next);
        if (!add_word(c, number, &word))
            return n;
        n++;
        *x = next;
        if (!take(&next, between))
            return n;
    }
}

/* --- one function for each family of lines -------------------------------- */

/* "in 0.12s", which no other summary has. */
static bool
take_seconds(struct text *x)
{
    uint64_t n;

    return take(x, " in ") && take_number(x, &n) && take(x, ".") &&
           take_number(x, &n) && take(x, "s");
}

/* === 3 failed, 2 passed, 1 skipped in 0.12s === */
static bool
read_pytest(struct test_results *t, struct text x)
{
    struct testcounts c = {0};

    while (take(&x, "="))
        ;
    take_blanks(&x);
    if (!take(&x, "no tests ran") && take_list(&x, ", ", &c) == 0)
        return false;
    if (take(&x, ", ")) { /* plugins add counts of their own */
        x.at = memmem(x.at, left(&x), " in ", 4);
        if (!x.at)
            return false;
    }
    if (!take_seconds(&x))
        return false;
    add(&t->counts, &c);
    return true;
}

/* Tests:       1 failed, 2 skipped, 3 passed, 6 total */
static bool
read_jest(struct test_results *t, struct text x)
{
    struct testcounts c = {0};

    if (!take(&x, "Tests:"))
        return false;
    take_blanks(&x);
    if (take_list(&x, ", ", &c) == 0 || left(&x) != 0 ||
        memcmp(x.end - 5, "total", 5) != 0)
        return false;
    add(&t->counts, &c);
    return true;
}

/*  Tests  1 failed | 3 passed (4) */
static bool
read_vitest(struct test_results *t, struct text x)
{
    struct testcounts c = {0};
    uint64_t total;

    take_blanks(&x);
    if (!take(&x, "Tests  "))
        return false;
    take_blanks(&x);
    if (!take(&x, "no tests") &&
        (take_list(&x, " | ", &c) == 0 || !take(&x, " (") ||
         !take_number(&x, &total) || !take(&x, ")")))
        return false;
    add(&t->counts, &c);
    return true;
}

/*   3 passing (12ms); mocha */
static bool
read_mocha(struct test_results *t, struct text x)
{
    struct testcounts c = {0};
    uint64_t n;

    if (!take(&x, " "))
        return false;
    take_blanks(&x);
    if (!take_number(&x, &n))
        return false;
    if (take(&x, " passing ("))
        c.passed = n;
    else if (take(&x, " failing") && left(&x) == 0)
        c.failed = n;
    else if (take(&x, " pending") && left(&x) == 0)
        c.skipped = n;
    else
        return false;
    add(&t->counts, &c);
    return true;
}

/* i pass 3; node --test, whose i is a special character */
static bool
read_node(struct test_results *t, struct text x)
{
    struct testcounts c = {0};
    struct text word;
    uint64_t n;

    if (!take(&x, "\xe2\x84\xb9 "))
        return false;
    word = take_letters(&x);
    if (!take(&x, " ") || !take_number(&x, &n) || left(&x) != 0)
        return false;
    if (is(&word, "pass"))
        c.passed = n;
    else if (is(&word, "fail") || is(&word, "cancelled"))
        c.failed = n;
    else if (is(&word, "skipped") || is(&word, "todo"))
        c.skipped = n;
    else
        return false;
    add(&t->counts, &c);
    return true;
}

/* test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; ... */
static bool
read_cargo(struct test_results *t, struct text x)
{
    struct testcounts c = {0};

    if (!take(&x, "test result: ") ||
        (!take(&x, "ok. ") && !take(&x, "FAILED. ")))
        return false;
    if (take_list(&x, "; ", &c) == 0)
        return false;
    add(&t->counts, &c);
    return true;
}

/* 95% tests passed, 1 tests failed out of 20 */
static bool
read_ctest(struct test_results *t, struct text x)
{
    struct testcounts c = {0};
    uint64_t percent, total;

    if (!take_number(&x, &percent) || !take(&x, "% tests passed, ") ||
        !take_number(&x, &c.failed) || !take(&x, " tests failed out of ") ||
        !take_number(&x, &total))
        return false;
    c.passed = total > c.failed ? total - c.failed : 0;
    add(&t->counts, &c);
    return true;
}

/* [  PASSED  ] 5 tests. */
static bool
read_gtest(struct test_results *t, struct text x)
{
    struct testcounts c = {0};
    uint64_t *to, n;

    if (take(&x, "[  PASSED  ] "))
        to = &c.passed;
    else if (take(&x, "[  FAILED  ] "))
        to = &c.failed;
    else if (take(&x, "[  SKIPPED ] "))
        to = &c.skipped;
    else
        return false;
    if (!take_number(&x, &n) || !take(&x, " test"))
        return false;
    *to = n;
    add(&t->counts, &c);
    return true;
}

/* n of failures=n; 0 if it is absent */
static uint64_t
number_behind(const struct text *x, const char *key)
{
    struct text at = *x;
    const char *found = memmem(x->at, left(x), key, strlen(key));
    uint64_t n = 0;

    if (!found)
        return 0;
    at.at = found + strlen(key);
    (void)take_number(&at, &n);
    return n;
}

/* Ran 5 tests in 0.001s, and after an empty line OK or FAILED (failures=1) */
static bool
read_unittest(struct test_results *t, struct text x)
{
    struct testcounts c = {0};
    uint64_t n, not_passed;

    if (t->unittest && (take(&x, "OK") || take(&x, "FAILED ("))) {
        n = t->unittest - 1;
        c.failed = number_behind(&x, "failures=") +
                   number_behind(&x, "errors=") +
                   number_behind(&x, "unexpected successes=");
        c.skipped = number_behind(&x, "skipped=") +
                    number_behind(&x, "expected failures=");
        not_passed = c.failed + c.skipped;
        c.passed = n > not_passed ? n - not_passed : 0;
        t->unittest = 0;
        add(&t->counts, &c);
        return true;
    }
    if (!take(&x, "Ran ") || !take_number(&x, &n) || !take(&x, " test") ||
        !has(&x, " in "))
        return false;
    t->unittest = n + 1;
    return true;
}

/* --- TAP ------------------------------------------------------------------ */

/* The counts of a document. It counts only with a plan and a test or a version:
 * many programs print "ok", and 1..9 may be a range. */
static struct testcounts
tap_counts(const struct test_results_tap *d)
{
    struct testcounts c = d->counts;

    c.seen = d->seen && (d->planned || d->bailed);
    if (!c.seen)
        return (struct testcounts){0};
    if (d->planned && d->plan > d->tests)
        c.failed += d->plan - d->tests;
    if (d->bailed && c.failed == 0)
        c.failed = 1;
    return c;
}

static void
tap_close(struct test_results *t)
{
    struct testcounts c = tap_counts(&t->tap);

    if (c.seen)
        add(&t->counts, &c);
    t->tap = (struct test_results_tap){0};
}

static bool
take_any_case(struct text *x, const char *word)
{
    size_t len = strlen(word);

    if (left(x) < len || strncasecmp(x->at, word, len) != 0)
        return false;
    x->at += len;
    return true;
}

/* ok 1 - name # SKIP reason */
static void
tap_test(struct test_results *t, bool ok, struct text x)
{
    struct test_results_tap *d = &t->tap;
    const char *hash;
    bool skip = false, todo = false;

    if (d->planned && (d->trailing || d->tests >= d->plan))
        tap_close(t);
    hash = memmem(x.at, left(&x), " #", 2);
    if (hash) {
        x.at = hash + 2;
        take_blanks(&x);
        skip = take_any_case(&x, "skip");
        todo = !skip && take_any_case(&x, "todo");
    }
    d->seen = true;
    d->tests++;
    if ((skip && ok) || (todo && !ok))
        d->counts.skipped++;
    else if (ok)
        d->counts.passed++;
    else
        d->counts.failed++;
}

static bool
tap_plan(struct test_results *t, struct text x)
{
    struct test_results_tap *d = &t->tap;
    uint64_t n;

    if (!take(&x, "1..") || !take_number(&x, &n))
        return false;
    take_blanks(&x);
    if (left(&x) > 0 && *x.at != '#')
        return false;
    if (d->planned)
        tap_close(t);
    d->planned = true;
    d->trailing = d->tests > 0;
    d->plan = n;
    return true;
}

static bool
read_tap(struct test_results *t, struct text x)
{
    bool ok = take(&x, "ok");

    if (ok || take(&x, "not ok")) {
        if (left(&x) > 0 && *x.at != ' ')
            return false;
        tap_test(t, ok, x);
        return true;
    }
    if (take(&x, "TAP version ")) {
        tap_close(t);
        t->tap.seen = true;
        return true;
    }
    if (take(&x, "Bail out!")) {
        t->tap.seen = t->tap.bailed = true;
        return true;
    }
    return tap_plan(t, x);
}

/* --- go ------------------------------------------------------------------- */

/*     --- FAIL: TestX/part (0.00s) */
static bool
read_go_test(struct test_results *t, struct text x)
{
    struct testcounts c = {0};

    take_blanks(&x);
    if (take(&x, "--- PASS: "))
        c.passed = 1;
    else if (take(&x, "--- FAIL: "))
        c.failed = 1;
    else if (take(&x, "--- SKIP: "))
        c.skipped = 1;
    else
        return false;
    t->go_tests++;
    t->go_failed += c.failed;
    add(&t->counts, &c);
    return true;
}

/* ok<tab>package, FAIL<tab>package: without -v a package that passed lists no
 * tests, and one that does not build has none. */
static bool
read_go_package(struct test_results *t, struct text x)
{
    struct testcounts c = {0};

    if (take(&x, "ok  \t"))
        c.passed = t->go_tests == 0 && !has(&x, "[no tests to run]");
    else if (take(&x, "FAIL\t"))
        c.failed = t->go_failed == 0;
    else
        return false;
    t->go_tests = t->go_failed = 0;
    add(&t->counts, &c);
    return true;
}

/* {"Action":"pass","Package":"p","Test":"TestX"}; packages are interleaved. */
static bool
read_go_json(struct test_results *t, struct text x)
{
    struct testcounts c = {0};
    bool test;

    if (!take(&x, "{") || has(&x, "\"Action\":\"output\"") ||
        !has(&x, "\"Package\":\""))
        return false;
    test = has(&x, "\"Test\":\"");
    c.passed = test && has(&x, "\"Action\":\"pass\"");
    c.skipped = test && has(&x, "\"Action\":\"skip\"");
    c.failed = has(&x, "\"Action\":\"fail\"") && (test || t->go_failed == 0);
    if (c.passed + c.skipped + c.failed == 0)
        return false;
    t->go_failed += c.failed;
    add(&t->counts, &c);
    return true;
}

/* --- all ------------------------------------------------------------------ */

void
test_results_line(struct test_results *t, const char *line, size_t len)
{
    static bool (*const readers[])(struct test_results *, struct text) = {
        read_go_package, read_tap,    read_go_test,  read_go_json, read_pytest,
        read_jest,       read_vitest, read_cargo,    read_ctest,   read_gtest,
        read_node,       read_mocha,  read_unittest,
    };
    struct text x = {line, line + len};

    if (len == 0 || len > LINE_MAX_BYTES)
        return; /* no summary is that long */
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (readers[i](t, x))
            return;
}

struct testcounts
test_results_now(const struct test_results *t)
{
    struct testcounts c = t->counts, tap = tap_counts(&t->tap);

    if (tap.seen)
        add(&c, &tap);
    return c;
}
