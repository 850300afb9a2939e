#include "lib/base/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *pattern, *path;
    bool match;
} matches[] = {
    {"src/a.c", "src/a.c", true},
    {"src/a.c", "src/b.c", false},
    {"src/*.c", "src/a.c", true},
    {"src/*.c", "src/.c", true},
    {"src/*.c", "src/x/a.c", false},
    {"src/**", "src/a", true},
    {"src/**", "src/x/y/a", true},
    {"src/**", "src", false},
    {"src/**", "srcs/a", false},
    {"**/a.c", "a.c", true},
    {"**/a.c", "x/y/a.c", true},
    {"**/a.c", "xa.c", false},
    {"a/**/b", "a/b", true},
    {"a/**/b", "a/x/y/b", true},
    {"a/**/b", "a/xb", false},
    {"a**b", "axxb", true},
    {"a**/b", "ax/y/b", false},
    {"a?c", "abc", true},
    {"x/a?c", "x/a/c", false},
    {"x/a?c",
     "x/a\xc3\xa9"
     "c",
     true},
    {"x/[a-c]z", "x/bz", true},
    {"x/[a-c]z", "x/dz", false},
    {"x/[!a-c]z", "x/dz", true},
    {"x/[^a-c]z", "x/bz", false},
    {"x/[!a]b", "x//b", false},
    {"x/[]a]", "x/]", true},
    {"x/[[:digit:]]", "x/7", true},
    {"x/[[:digit:]]", "x/a", false},
    {"x/[\\]]", "x/]", true},
    {"x/\\*", "x/*", true},
    {"x/\\*", "x/a", false},
    {"/src/a", "src/a", true},
    {"./src/a", "src/a", true},
    /* a folder's name means what is in it */
    {"src/api", "src/api", true},
    {"src/api", "src/api/x/y.c", true},
    {"src/api", "src/apis", false},
    {"src/api/", "src/api/x", true},
    {"src/api/", "src/api", false},
    {"README.md", "docs/README.md", false},
    /* a name with wildcards is meant everywhere */
    {"*.md", "README.md", true},
    {"*.md", "docs/README.md", true},
    {"/*.md", "docs/README.md", true},
    {"**", "any/thing", true},
};

static void
patterns_mean_what_wildmatch_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof matches / sizeof *matches; i++)
        if (glob_match(matches[i].pattern, matches[i].path) != matches[i].match)
            fail_msg("%s and %s", matches[i].pattern, matches[i].path);
}

static const struct {
    const char *a, *b;
    const char *example; /* NULL: nothing in common */
} pairs[] = {
    {"src/api/**", "src/components/**", NULL},
    {"src/api/**", "src/**", "src/api/x"},
    {"src/api/**", "src/api/v1/*.c", "src/api/v1/.c"},
    {"src/*.c", "src/*.h", NULL},
    {"src/a*", "src/*b", "src/ab"},
    {"src/*", "src/api/**", NULL},
    {"**/test_*", "tests/**", "tests/test_"},
    {"*.md", "docs/**", "docs/.md"},
    {"README.md", "docs/**", NULL},
    {"src/api", "src/api/v1.c", "src/api/v1.c"},
    {"src/api/", "src/api/v1/", "src/api/v1/"},
    {"x/[a-c]", "x/[c-e]", "x/c"},
    {"x/[a-c]", "x/[d-e]", NULL},
    {"x/[!a]", "x/a", NULL},
    {"a/**/z", "a/b/**", "a/b/z"},
    {"**", "x", "x"},
};

static void
what_two_patterns_share_is_found(void **state)
{
    char path[64];

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *a = pairs[i].a, *b = pairs[i].b;

        for (int turn = 0; turn < 2; turn++) {
            path[0] = '\0';
            if (glob_overlap(a, b, path, sizeof path) !=
                (pairs[i].example != NULL))
                fail_msg("%s and %s", a, b);
            if (pairs[i].example && strcmp(path, pairs[i].example) != 0)
                fail_msg("%s and %s share %s", a, b, path);
            if (pairs[i].example &&
                (!glob_match(a, path) || !glob_match(b, path)))
                fail_msg("%s is not in %s and %s", path, a, b);
            a = pairs[i].b;
            b = pairs[i].a;
        }
    }
}

/* Every text of up to n letters of "ab/". */
static bool
share_a_short_path(const char *a, const char *b, char *path, size_t at,
                   size_t n)
{
    path[at] = '\0';
    if (at > 0 && glob_match(a, path) && glob_match(b, path))
        return true;
    for (const char *c = "ab/"; *c && at < n; c++) {
        path[at] = *c;
        if (share_a_short_path(a, b, path, at + 1, n))
            return true;
    }
    return false;
}

static void
overlap_agrees_with_trying_every_path(void **state)
{
    static const char *const globs[] = {
        "a",    "a/b",    "a/*", "*/a",    "**/a", "a/**", "?",   "a?",
        "[ab]", "a/[!a]", "b/a", "a/**/b", "*b",   "a*b",  "b/?", "**/a/**"};
    enum { N = sizeof globs / sizeof *globs };
    char path[16], example[64];

    (void)state;
    for (size_t i = 0; i < N; i++) {
        for (size_t j = i; j < N; j++) {
            bool tried = share_a_short_path(globs[i], globs[j], path, 0, 7);

            if (glob_overlap(globs[i], globs[j], example, sizeof example) !=
                tried)
                fail_msg("%s and %s: %s", globs[i], globs[j],
                         tried ? path : example);
        }
    }
}

static void
mistakes_are_named(void **state)
{
    static const struct {
        const char *pattern, *error;
    } bad[] = {
        {"", "an empty pattern; write ** for everything"},
        {"/", "an empty pattern; write ** for everything"},
        {"a/[b", "a set without ], or of an unknown class; write \\[ for a "
                 "bracket"},
        {"a/[[:odd:]]", "a set without ], or of an unknown class; write \\[ "
                        "for a bracket"},
        {"../a", "leaves the work; remove \"..\""},
        {"a/../b", "leaves the work; remove \"..\""},
        {"a/..", "leaves the work; remove \"..\""},
    };
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(glob_check(bad[i].pattern, &e), -1);
        assert_string_equal(e.msg, bad[i].error);
    }
    assert_int_equal(glob_check("a/..b/**", &e), 0);
    assert_int_equal(glob_check("\\", &e), 0);
}

static void
the_longest_pattern_fits_and_one_byte_more_does_not(void **state)
{
    char text[GLOB_MAX + 2], path[GLOB_MAX + 64];
    struct err e;

    (void)state;
    memset(text, '?', sizeof text);
    text[GLOB_MAX] = '\0';
    assert_int_equal(glob_check(text, &e), 0);
    assert_true(glob_overlap(text, text, path, sizeof path));
    assert_int_equal(strlen(path), GLOB_MAX);
    text[GLOB_MAX] = '?';
    text[GLOB_MAX + 1] = '\0';
    assert_int_equal(glob_check(text, &e), -1);
    assert_string_equal(e.msg, "longer than 255 bytes; shorten it");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_mean_what_wildmatch_says),
        cmocka_unit_test(what_two_patterns_share_is_found),
        cmocka_unit_test(overlap_agrees_with_trying_every_path),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(the_longest_pattern_fits_and_one_byte_more_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
