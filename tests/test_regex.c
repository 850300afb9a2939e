#include "lib/base/regex.h"

#include "lib/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <regex.h>

static const struct {
    const char *pattern, *line;
    bool found;
} rows[] = {
    {"TODO", "a TODO here", true},
    {"TODO", "a TOD0 here", false},
    {"TODO", "", false},
    {"^a", "ab", true},
    {"^a", "ba", false},
    {"a$", "ba", true},
    {"a$", "ab", false},
    {"^$", "", true},
    {"^$", "x", false},
    {"^ab|cd$", "xcd", true},
    {"^ab|cd$", "xcdx", false},
    {"^(ab|cd)$", "xcd", false},
    {"a|b|c", "xxc", true},
    {"a|", "x", true},
    {"x*", "", true},
    {"ab*c", "ac", true},
    {"ab+c", "ac", false},
    {"ab?c", "abc", true},
    {"ab?c", "abbc", false},
    {"(ab)+c", "ababc", true},
    {"^(a*)*$", "aaab", false},
    {"^(a*)*$", "aaaa", true},
    {"a{3}", "aa", false},
    {"a{3}", "aaa", true},
    {"^a{2,3}$", "aaaa", false},
    {"^a{2,3}$", "aaa", true},
    {"^a{2,}$", "aaaaaa", true},
    {"^a{0}b$", "b", true},
    {"^a{0}b$", "ab", false},
    {"[a-c]x", "bx", true},
    {"[a-c]x", "dx", false},
    {"[^a-c]x", "dx", true},
    {"[]a]", "]", true},
    {"[^]a]", "]", false},
    {"[a-]", "-", true},
    {"[\\]", "\\", true},
    {"[[:digit:]x]+$", "1x2", true},
    {"[[:space:]]", "ab", false},
    {"\\d+ failed", "12 failed", true},
    {"\\d+ failed", "x failed", false},
    {"\\S", " \t", false},
    {"\\.", "a", false},
    {"\\.", ".", true},
    {"\\\\", "\\", true},
    {"a.c", "abc", true},
    {"a.c", "ac", false},
    {"\xc3\xa9", "caf\xc3\xa9", true},
    {"}", "}", true},
};

static void
patterns_are_found_where_they_stand(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct regex *p = NULL;
        struct err e;

        if (regex_new(&p, rows[i].pattern, &e) < 0)
            fail_msg("%s: %s", rows[i].pattern, e.msg);
        if (regex_finds(p, rows[i].line, strlen(rows[i].line)) != rows[i].found)
            fail_msg("%s in %s", rows[i].pattern, rows[i].line);
        regex_free(p);
    }
}

static const struct {
    const char *pattern, *what;
} errors[] = {
    {"", "empty"},
    {"*a", "nothing to repeat"},
    {"a|+", "nothing to repeat"},
    {"(*a)", "nothing to repeat"},
    {"{2}", "nothing to repeat"},
    {"(a", "without its )"},
    {"a)", "without its ("},
    {"[a", "without its ]"},
    {"[", "without its ]"},
    {"[^", "without its ]"},
    {"[z-a]", "before its start"},
    {"[[:nope:]]", "unknown class"},
    {"[[.a.]]", "not known"},
    {"a\\", "nothing after"},
    {"(a)\\1", "unknown escape"},
    {"\\bx", "unknown escape"},
    {"a{", "repetition is written"},
    {"a{3,2}", "repetition is written"},
    {"a{,3}", "repetition is written"},
    {"a{256}", "255"},
    {"a{99999999999999999999}", "255"},
    {"(a{200}){200}", "too many repetitions"},
    {"((((a{255}){255}){255}){255}){255}", "too many repetitions"},
    {"(((((){255}){255}){255}){255}){255}", "too many repetitions"},
};

static void
an_invalid_pattern_is_refused_with_the_reason(void **state)
{
    char deep[REGEX_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct regex *p = NULL;
        struct err e = {0};

        assert_int_equal(regex_new(&p, errors[i].pattern, &e), -1);
        assert_null(p);
        if (!strstr(e.msg, errors[i].what))
            fail_msg("%s: %s", errors[i].pattern, e.msg);
    }
    for (int fill = 'a'; fill >= '('; fill -= 'a' - '(') {
        struct regex *p = NULL;
        struct err e = {0};

        memset(deep, fill, sizeof deep);
        deep[REGEX_MAX] = '\0';
        assert_int_equal(regex_new(&p, deep, &e), fill == 'a' ? 0 : -1);
        regex_free(p);
        deep[REGEX_MAX] = (char)fill;
        deep[REGEX_MAX + 1] = '\0';
        assert_int_equal(regex_new(&p, deep, &e), -1);
        assert_non_null(strstr(e.msg, "longer"));
    }
}

/* --- beside the C library's own ------------------------------------------- */

static unsigned
pick(unsigned *seed, unsigned n)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 16) % n;
}

static void
random_text(unsigned *seed, const char *const *pieces, unsigned n_pieces,
            unsigned most, char *out, size_t size)
{
    unsigned n = pick(seed, most + 1);

    out[0] = '\0';
    while (n-- > 0) {
        const char *piece = pieces[pick(seed, n_pieces)];
        size_t len = strlen(out);

        if (len + strlen(piece) < size)
            memcpy(out + len, piece, strlen(piece) + 1);
    }
}

/* Of what both can read, both find the same. */
static void
the_c_library_finds_the_same(void **state)
{
    static const char *const parts[] = {
        "a",     "b",     "c",    "ab", "[ab]", "[^a]",       ".", "(",
        ")",     "|",     "*",    "+",  "?",    "^",          "$", "{2}",
        "{1,2}", "(a|b)", "(ab)", "c*", "b?",   "[[:alpha:]]"};
    static const char *const letters[] = {"a", "b", "c", "1"};
    unsigned seed = 7, compared = 0;

    (void)state;
    for (int i = 0; i < 60000; i++) {
        char pattern[64], line[32];
        struct regex *p = NULL;
        regex_t re;
        struct err e;

        random_text(&seed, parts, sizeof parts / sizeof *parts, 7, pattern,
                    sizeof pattern);
        /* It counts a repeated anchor otherwise, as text or as nothing. */
        if (strstr(pattern, "^*") || strstr(pattern, "^+") ||
            strstr(pattern, "^?") || strstr(pattern, "^{") ||
            strstr(pattern, "$*") || strstr(pattern, "$+") ||
            strstr(pattern, "$?") || strstr(pattern, "${"))
            continue;
        if (regex_new(&p, pattern, &e) < 0)
            continue;
        if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0) {
            regex_free(p);
            continue;
        }
        for (int k = 0; k < 8; k++) {
            random_text(&seed, letters, 4, 8, line, sizeof line);
            compared++;
            if (regex_finds(p, line, strlen(line)) !=
                (regexec(&re, line, 0, NULL, 0) == 0))
                fail_msg("%s in %s", pattern, line);
        }
        regex_free(p);
        regfree(&re);
    }
    assert_true(compared > 50000);
}

/* The C library remembers 2^20 sets of places here, or backtracks. */
static void
hard_patterns_cost_no_more_than_others(void **state)
{
    enum { LEN = 200000 };
    static const char *const hard[] = {"(a|b)*a(a|b){20}c", "(a*)*c",
                                       "(a|aa)+c", "a{0,120}a{0,120}c"};
    char *line = mem_alloc(LEN);
    unsigned seed = 3;

    (void)state;
    for (size_t i = 0; i < LEN; i++)
        line[i] = pick(&seed, 2) ? 'a' : 'b';
    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++) {
        struct regex *p = NULL;
        struct err e;

        if (regex_new(&p, hard[i], &e) < 0)
            fail_msg("%s: %s", hard[i], e.msg);
        assert_false(regex_finds(p, line, LEN));
        regex_free(p);
    }
    mem_free(line);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_are_found_where_they_stand),
        cmocka_unit_test(an_invalid_pattern_is_refused_with_the_reason),
        cmocka_unit_test(the_c_library_finds_the_same),
        cmocka_unit_test(hard_patterns_cost_no_more_than_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
