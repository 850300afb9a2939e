/* The vocabulary every module shares: text, pools, errors, log lines. */
#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void
an_ending_is_matched_wholly(void **state)
{
    (void)state;
    assert_true(str_ends_with("a.task", ".task"));
    assert_true(str_ends_with(".task", ".task"));
    assert_false(str_ends_with("task", ".task"));
    assert_false(str_ends_with("a.tasks", ".task"));
    assert_true(str_ends_with("a", ""));
}

static void
a_string_grows_and_stays_terminated(void **state)
{
    struct str s = {0};

    (void)state;
    assert_string_equal(str_text(&s), "");
    for (int i = 0; i < 10000; i++)
        str_addc(&s, (char)('a' + i % 26));
    assert_int_equal(s.len, 10000);
    assert_int_equal(strlen(s.data), 10000);
    str_add(&s, "a\0b", 3);
    assert_int_equal(s.len, 10003);
    assert_memory_equal(s.data + 10000, "a\0b", 4);
    str_reset(&s);
    assert_string_equal(str_text(&s), "");
    str_addf(&s, "%s-%d", "x", 7);
    str_addz(&s, "!");
    assert_string_equal(s.data, "x-7!");
    str_free(&s);
    assert_string_equal(str_text(&s), "");
}

static void
a_copy_is_cut_between_characters(void **state)
{
    char out[8];

    (void)state;
    assert_true(str_copy(out, 4, "abc"));
    assert_string_equal(out, "abc");
    assert_false(str_copy(out, 3, "abc"));
    assert_string_equal(out, "ab");
    assert_true(str_copy(out, 4, "\xe3\x81\x82"));
    assert_false(str_copy(out, 3, "\xe3\x81\x82"));
    assert_string_equal(out, "");
    assert_false(str_copy(out, 4, "a\xe3\x81\x82"));
    assert_string_equal(out, "a");
    assert_false(str_copy(out, 1, "a"));
    assert_string_equal(out, "");
    out[0] = 'z';
    assert_false(str_copy(out, 0, "a"));
    assert_int_equal(out[0], 'z');
    /* Bytes that are no UTF-8 are cut where the limit is. */
    assert_false(str_copy(out, 4, "\x80\x80\x80\x80\x80"));
    assert_int_equal(strlen(out), 3);
}

static void
valid_utf8_is_told_from_invalid(void **state)
{
    static const struct {
        const char *text;
        size_t left, len;
    } rows[] = {
        {"a", 1, 1},
        {"", 0, 0},
        {"", 1, 1}, /* NUL is a character */
        {"\xc2\x80", 2, 2},
        {"\xc2\x80", 1, 0},
        {"\xc1\xbf", 2, 0}, /* overlong */
        {"\xe0\x9f\xbf", 3, 0},
        {"\xe0\xa0\x80", 3, 3},
        {"\xed\x9f\xbf", 3, 3},
        {"\xed\xa0\x80", 3, 0}, /* a surrogate */
        {"\xf0\x8f\xbf\xbf", 4, 0},
        {"\xf0\x90\x80\x80", 4, 4},
        {"\xf4\x8f\xbf\xbf", 4, 4},
        {"\xf4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 4, 0},
        {"\x80", 1, 0},
        {"\xe3\x81", 2, 0},
        {"\xe3\x81g", 3, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(str_utf8_len(rows[i].text, rows[i].left), rows[i].len);
}

static void
bytes_from_outside_become_utf8(void **state)
{
    struct str s = {0};

    (void)state;
    str_add_utf8(&s, "a\xff\0b\n\x1b\xe3\x81\x82\xe3", 10);
    assert_string_equal(s.data, "a\xef\xbf\xbd\xe2\x90\x80"
                                "b\n\x1b\xe3\x81\x82\xef\xbf\xbd");
    str_reset(&s);
    str_add_utf8(&s, "", 0);
    assert_string_equal(str_text(&s), "");
    str_free(&s);
    str_add_utf8(&s, "", 0); /* memory that was used before */
    assert_string_equal(str_text(&s), "");
    str_free(&s);
}

static void
printable_text_has_no_terminal_controls(void **state)
{
    struct str s = {0};

    (void)state;
    str_add_printable(&s, "\x1b[31m\t\r\n\x7f\0\xc2\x9b\xc2\xa0", 14);
    assert_string_equal(s.data, "\\x1b[31m\t\\x0d\n\\x7f\\x00\\x9b\xc2\xa0");
    str_free(&s);
}

static void
printable_text_has_no_marks_that_deceive(void **state)
{
    static const char text[] = "a\u202eb\u2067\u200e \u200b\u2060\ufeff "
                               "x\u200dy 👩\u200d💻";
    struct str s = {0};

    (void)state;
    str_add_printable(&s, text, sizeof text - 1);
    assert_string_equal(s.data, "a\\u202eb\\u2067\\u200e \\u200b\\u2060\\ufeff "
                                "x\\u200dy 👩\u200d💻");
    str_free(&s);
}

static void
the_start_of_a_character_is_known(void **state)
{
    (void)state;
    assert_int_equal(str_utf8_open("", 0), 0);
    assert_int_equal(str_utf8_open("abc", 3), 0);
    assert_int_equal(str_utf8_open("a\xe3", 2), 1);
    assert_int_equal(str_utf8_open("a\xe3\x81", 3), 2);
    assert_int_equal(str_utf8_open("a\xe3\x81\x82", 4), 0);
    assert_int_equal(str_utf8_open("\xf0\x9f\x8e", 3), 3);
    assert_int_equal(str_utf8_open("\xf0", 1), 1);
    assert_int_equal(str_utf8_open("\xe0", 1), 1);
    /* These are none. */
    assert_int_equal(str_utf8_open("\x81", 1), 0);
    assert_int_equal(str_utf8_open("\xff", 1), 0);
    assert_int_equal(str_utf8_open("\xc0", 1), 0);
    assert_int_equal(str_utf8_open("\xe0\x80", 2), 0);
    assert_int_equal(str_utf8_open("\xed\xa0", 2), 0);
    assert_int_equal(str_utf8_open("\x81\x81\x81\x81", 4), 0);
}

static void
a_shortened_text_ends_with_a_character(void **state)
{
    (void)state;
    assert_string_equal(STR_SHORT("日本", 5), "日");
    assert_string_equal(STR_SHORT("日本", 6), "日本");
    assert_string_equal(STR_SHORT("abc", 0), "");
}

static void
quoting_survives_a_shell(void **state)
{
    static const char *const rows[][2] = {
        {"make", "make"},
        {"", "''"},
        {"a b", "'a b'"},
        {"it's", "'it'\\''s'"},
        {"$HOME", "'$HOME'"},
        {"-j4", "-j4"},
        {"a\nb", "'a\nb'"},
        {"~", "'~'"},
        {"x=1/y:z", "x=1/y:z"},
        {"a*", "'a*'"},
        {"\xe3\x81\x82", "'\xe3\x81\x82'"},
        {"!x", "'!x'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str s = {0};

        str_add_quoted(&s, rows[i][0]);
        assert_string_equal(s.data, rows[i][1]);
        str_free(&s);
    }
}

static void
durations_are_read_exactly(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"0", 0},           {"5", 5000},
        {"1.5", 1500},      {"250ms", 250},
        {"10s", 10000},     {"5m", 300000},
        {"2h", 7200000},    {"1d", 86400000},
        {"1h30m", 5400000}, {"0h5m", 300000},
        {"1.5h", 5400000},  {"10min", 600000},
        {"1hour", 3600000}, {"0.25s", 250},
        {"3sec", 3000},     {"1000000000000s", 1000000000000000},
        {"007s", 7000},
    };
    static const char *const bad[] = {
        "",
        "s",
        "-5s",
        "5x",
        "5 m",
        " 5m",
        "5m ",
        "1h30",
        "0h5",
        "1.",
        "1.s",
        ".5s",
        "1..5",
        "1e3",
        "0x10s",
        "nan",
        "inf",
        "1.2.3",
        "5M",
        "5mss",
        "+5",
        "1000000000001s",
        "99999999999999999999d",
        "18446744073709551615m",
        "99999999999999999999999999999999999999999",
    };
    uint64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ms = UINT64_MAX;
        assert_true(str_to_ms(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ms = 77;
        if (str_to_ms(bad[i], &ms))
            fail_msg("\"%s\" was taken for a duration", bad[i]);
        assert_int_equal(ms, 77);
    }
}

static void
sizes_are_read_exactly(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"64K", 65536},
        {"64k", 65536},
        {"1.5G", 1610612736},
        {"9GiB", 9663676416},
        {"8GB", 8589934592},
        {"1Ti", 1099511627776},
        {"9007199254740993", 9007199254740993}, /* beyond a double */
        {"9223372036854775807", INT64_MAX},
    };
    static const char *const bad[] = {
        "",         "K",
        "-1",       "1.5",
        "1.5B",     "1 K",
        "1KK",      "1KiBs",
        "1iB",      "1P",
        "1e3",      "0x10",
        "1.K",      ".5K",
        "unknown",  "9223372036854775808",
        "8388608T", "18446744073709551616",
    };
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        bytes = UINT64_MAX;
        assert_true(str_to_bytes(good[i].text, &bytes));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bytes = 77;
        if (str_to_bytes(bad[i], &bytes))
            fail_msg("\"%s\" was taken for a size", bad[i]);
        assert_int_equal(bytes, 77);
    }
}

static void
whole_numbers_respect_their_bounds(void **state)
{
    uint64_t v = 77;

    (void)state;
    assert_true(str_to_u64("18446744073709551615", 0, UINT64_MAX, &v));
    assert_true(v == UINT64_MAX);
    v = 77;
    assert_false(str_to_u64("18446744073709551616", 0, UINT64_MAX, &v));
    assert_true(str_to_u64("10", 10, 10, &v));
    assert_int_equal(v, 10);
    assert_false(str_to_u64("9", 10, 20, &v));
    assert_false(str_to_u64("21", 10, 20, &v));
    assert_false(str_to_u64("", 0, 20, &v));
    assert_false(str_to_u64("-1", 0, 20, &v));
    assert_false(str_to_u64("+1", 0, 20, &v));
    assert_false(str_to_u64(" 1", 0, 20, &v));
    assert_false(str_to_u64("1 ", 0, 20, &v));
    assert_int_equal(v, 10);
}

static void
durations_are_written_for_people(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } rows[] = {
        {0, "0ms"},
        {999, "999ms"},
        {1000, "1.0s"},
        {4250, "4.2s"},
        {59999, "59.9s"},
        {60000, "1m00s"},
        {185000, "3m05s"},
        {3599999, "59m59s"},
        {3600000, "1h00m"},
        {3720000, "1h02m"},
        {86400000, "1d00h"},
        {90000000, "1d01h"},
        {UINT64_MAX, "213503982334d14h"},
    };
    char out[32];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(str_duration(rows[i].ms, out, sizeof out),
                            rows[i].text);
}

static void
times_are_written_as_rfc_3339_or_not_at_all(void **state)
{
    char out[25];

    (void)state;
    assert_string_equal(str_time(1771252200007, out, sizeof out),
                        "2026-02-16T14:30:00.007Z");
    assert_string_equal(str_time(253402300799999, out, sizeof out),
                        "9999-12-31T23:59:59.999Z");
    assert_string_equal(str_time(0, out, sizeof out), "");
    assert_string_equal(str_time(-1, out, sizeof out), "");
    assert_string_equal(str_time(253402300800000, out, sizeof out), "");
    assert_string_equal(str_time(INT64_MAX, out, sizeof out), "");
    assert_string_equal(str_time(1771252200007, out, 24), "");
    assert_string_equal(str_time(1771252200007, out, 5), "");
}

static void
random_text_uses_its_alphabet_and_does_not_repeat(void **state)
{
    const char *alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
    char seen[256][17];

    (void)state;
    for (size_t i = 0; i < 256; i++) {
        str_random(seen[i], sizeof seen[i]);
        assert_int_equal(strlen(seen[i]), 16);
        assert_int_equal(strspn(seen[i], alphabet), 16);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(seen[i], seen[k]);
    }
}

static void
a_pool_hands_out_zeroed_aligned_memory(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 4095, 4096, 4097, 100000};
    struct mem_pool *p = mem_pool_new();
    unsigned char *got[90];

    (void)state;
    for (size_t i = 0; i < 90; i++) {
        size_t size = sizes[i % 9];

        got[i] = mem_pool_alloc(p, size);
        assert_int_equal((uintptr_t)got[i] % alignof(max_align_t), 0);
        for (size_t k = 0; k < size; k++)
            assert_int_equal(got[i][k], 0);
        memset(got[i], (int)i + 1, size);
    }
    for (size_t i = 0; i < 90; i++)
        for (size_t k = 0; k < sizes[i % 9]; k++)
            assert_int_equal(got[i][k], i + 1);
    mem_pool_free(p);
    mem_pool_free(NULL);
}

static void
a_pool_that_was_reset_starts_afresh(void **state)
{
    struct mem_pool *p = mem_pool_new();
    char *first = mem_pool_strdup(p, "first");
    char *again;

    (void)state;
    (void)mem_pool_alloc(p, 1000000);
    mem_pool_reset(p);
    again = mem_pool_alloc(p, 6);
    assert_ptr_equal(first, again); /* the first block is kept */
    assert_int_equal(again[0], 0);  /* and clean */
    mem_pool_reset(p);
    mem_pool_reset(p);
    mem_pool_free(p);
}

static void
pool_text_is_copied_whole(void **state)
{
    struct mem_pool *p = mem_pool_new();
    char big[10000];

    (void)state;
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_string_equal(mem_pool_strdup(p, ""), "");
    assert_string_equal(mem_pool_strdup(p, big), big);
    assert_string_equal(mem_pool_strndup(p, "abcdef", 3), "abc");
    assert_string_equal(mem_pool_printf(p, "%d-%s", 7, "x"), "7-x");
    assert_string_equal(mem_pool_printf(p, "%s", big), big);
    mem_pool_free(p);
}

static void
allocations_are_zeroed_and_take_zero(void **state)
{
    char *p = mem_zero(10, 10), *q;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    p = mem_resize(p, 1000);
    mem_free(p);
    q = mem_alloc(0);
    mem_free(q);
    q = mem_strdup("x");
    assert_string_equal(q, "x");
    mem_free(q);
    mem_free(NULL);
}

static void
an_error_carries_its_code_and_its_context(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(err_set(&e, ERR_DENIED, "open %s", "x"), -1);
    assert_int_equal(e.code, ERR_DENIED);
    assert_string_equal(e.msg, "open x");
    assert_int_equal(err_wrap(&e, "load %d", 3), -1);
    assert_int_equal(e.code, ERR_DENIED);
    assert_string_equal(e.msg, "load 3: open x");
    err_set(&e, ERR_BUG, "again: %s", e.msg); /* its own text as argument */
    assert_string_equal(e.msg, "again: load 3: open x");
    assert_string_equal(err_code_name(ERR_NOT_FOUND), "not-found");
}

static void
an_error_too_long_is_cut_and_terminated(void **state)
{
    struct err e = {0};
    char big[2000];

    (void)state;
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    err_set(&e, ERR_INVALID, "%s", big);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    err_wrap(&e, "%s", big);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
}

static void
text_from_outside_is_escaped_in_logs(void **state)
{
    char big[1000];
    struct log_text buf;

    (void)state;
    assert_string_equal(LOG_TEXT("plain text"), "plain text");
    assert_string_equal(LOG_TEXT("a\"b\\c\n\x1b\xe3"),
                        "a\\\"b\\\\c\\x0a\\x1b\\xe3");
    memset(big, '\n', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(strlen(log_text(&buf, big)), 203); /* 50 and "..." */
    assert_string_equal(buf.s + 200, "...");
    memset(big, 'x', 199);
    big[199] = '\n'; /* the last that fits is escaped across the cut */
    assert_int_equal(strlen(log_text(&buf, big)), 206);
    memset(big, 'x', 200);
    big[200] = '\0'; /* fits to the byte */
    assert_string_equal(log_text(&buf, big), big);
}

/* Runs log_line with stderr going to a file, and reads it back. */
static size_t
logged(char *out, size_t size, enum log_level level, const char *text)
{
    FILE *f = tmpfile();
    int saved = dup(STDERR_FILENO);
    ssize_t n;

    assert_non_null(f);
    assert_true(dup2(fileno(f), STDERR_FILENO) >= 0);
    log_line(level, "test.event", "%s", text);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    n = pread(fileno(f), out, size - 1, 0);
    assert_true(n >= 0);
    out[n] = '\0';
    (void)fclose(f);
    return (size_t)n;
}

static void
a_log_line_is_one_line_whatever_its_length(void **state)
{
    char big[5000], out[6000];

    (void)state;
    log_open("tester");
    assert_true(logged(out, sizeof out, LOG_WARN, "key=1 \n") > 0);
    assert_non_null(strstr(out, "Z warn  tester test.event key=1\n"));
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_true(logged(out, sizeof out, LOG_ERROR, big) <= 2048);
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void
a_log_line_below_the_level_is_not_written(void **state)
{
    char out[100];

    (void)state;
    log_level_set(LOG_WARN);
    assert_int_equal(logged(out, sizeof out, LOG_INFO, "x"), 0);
    assert_true(logged(out, sizeof out, LOG_WARN, "x") > 0);
    log_level_set(LOG_INFO);
    assert_false(log_enabled(LOG_DEBUG));
    assert_true(log_enabled(LOG_INFO));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ending_is_matched_wholly),
        cmocka_unit_test(a_string_grows_and_stays_terminated),
        cmocka_unit_test(a_copy_is_cut_between_characters),
        cmocka_unit_test(valid_utf8_is_told_from_invalid),
        cmocka_unit_test(bytes_from_outside_become_utf8),
        cmocka_unit_test(printable_text_has_no_terminal_controls),
        cmocka_unit_test(printable_text_has_no_marks_that_deceive),
        cmocka_unit_test(the_start_of_a_character_is_known),
        cmocka_unit_test(a_shortened_text_ends_with_a_character),
        cmocka_unit_test(quoting_survives_a_shell),
        cmocka_unit_test(durations_are_read_exactly),
        cmocka_unit_test(sizes_are_read_exactly),
        cmocka_unit_test(whole_numbers_respect_their_bounds),
        cmocka_unit_test(durations_are_written_for_people),
        cmocka_unit_test(times_are_written_as_rfc_3339_or_not_at_all),
        cmocka_unit_test(random_text_uses_its_alphabet_and_does_not_repeat),
        cmocka_unit_test(a_pool_hands_out_zeroed_aligned_memory),
        cmocka_unit_test(a_pool_that_was_reset_starts_afresh),
        cmocka_unit_test(pool_text_is_copied_whole),
        cmocka_unit_test(allocations_are_zeroed_and_take_zero),
        cmocka_unit_test(an_error_carries_its_code_and_its_context),
        cmocka_unit_test(an_error_too_long_is_cut_and_terminated),
        cmocka_unit_test(text_from_outside_is_escaped_in_logs),
        cmocka_unit_test(a_log_line_is_one_line_whatever_its_length),
        cmocka_unit_test(a_log_line_below_the_level_is_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
