/* What of a program's output a terminal gets, however it is cut. */
#include "lib/base/terminal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct row {
    const char *text, *shown; /* shown NULL: as it is */
} rows[] = {
    {"plain\ttext\n", NULL},
    {"50 %\r100 %\b\n", NULL},
    {"日本語 🎉 e\xcc\x81", NULL},
    {"\033[31mred\033[0m", NULL},
    {"\033[1;38;5;196;48:2::1:2:3mx\033[m", NULL},
    /* Colours that are still on are ended. */
    {"\033[31mred", "\033[31mred\033[0m"},
    {"\033[31mred\033[0;1mbold", "\033[31mred\033[0;1mbold\033[0m"},
    /* The clipboard, the screen, the title, the cursor, queries. */
    {"a\033]52;c;cm0=\007b", "ab"},
    {"a\033]0;title\033\\b", "ab"},
    {"a\033[2J\033[H\033[?1049h\033[6n\033[10Ab", "ab"},
    {"a\033Pq#0;2;0\033\\b\033_G1\033\\c\033^x\033\\d\033Xy\033\\e", "abcde"},
    {"a\033c\0337\0338\033=\033(0\033#8b", "ab"},
    {"a\033[>4;2m\033[?5mb", "ab"},
    {"a\007\v\f\016\017\177b", "ab"},
    /* The same in 8 bits, as UTF-8 and as it is. */
    {"a\xc2\x9b"
     "2Jb\xc2\x9d"
     "0;t\xc2\x9c"
     "c",
     "abc"},
    {"a\x9b"
     "2Jb\x9d"
     "0;t\x07"
     "c\x90x\x9c"
     "d\x84",
     "abcd"},
    {"a\xc2\x9b"
     "31mb",
     "a\033[31mb\033[0m"},
    /* Sequences without an end, and ends without a beginning. */
    {"a\033]0;title\nnext", "a\nnext"},
    {"a\033[31\nnext", "a\nnext"},
    {"a\033[3\033[2Jb", "ab"},
    {"a\033]0;x\033[31mb", "a\033[31mb\033[0m"},
    {"a\033", "a"},
    {"a\033[", "a"},
    {"a\033]52;c;", "a"},
    {"a\033\033[2Jb", "ab"},
    {"a\033\xe6\x97\xa5", "a\xe6\x97\xa5"},
    {"\\a\033\\b", "\\ab"},
    /* Direction of text; the joiners of a script stay. */
    {"a\u202eb\u2066c\u2069\u200fd\u061c", "abcd"},
    {"👩\u200d💻", NULL},
    /* What is no text. */
    {"a\xff\xfe\xe3\x81z", "a\ufffd\ufffd\ufffdz"},
    {"a\xe3\x81", "a\ufffd"},
};

static void
show(struct str *out, const char *text, size_t piece)
{
    struct terminal t = {0};
    size_t len = strlen(text);

    str_reset(out);
    for (size_t at = 0; at < len; at += piece)
        terminal_add(&t, text + at, len - at < piece ? len - at : piece, out);
    terminal_end(&t, out);
}

static void
only_text_and_colours_pass_however_they_are_cut(void **state)
{
    struct str out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];

        for (size_t piece = 1; piece <= strlen(r->text); piece++) {
            show(&out, r->text, piece);
            if (strcmp(str_text(&out), r->shown ? r->shown : r->text) != 0)
                fail_msg("row %zu, pieces of %zu: %s", i, piece,
                         str_text(&out));
        }
    }
    str_free(&out);
}

static void
what_has_no_end_hides_a_bounded_part(void **state)
{
    struct str text = {0}, out = {0};

    (void)state;
    str_addz(&text, "\033]52;c;");
    for (int i = 0; i < 2 * TERMINAL_STRING_MAX; i++)
        str_addc(&text, 'x');
    show(&out, str_text(&text), 1000);
    assert_in_range(out.len, TERMINAL_STRING_MAX - 10,
                    TERMINAL_STRING_MAX + 10);
    str_reset(&text);
    str_addz(&text, "a\033[");
    for (int i = 0; i < 2 * TERMINAL_SEQUENCE_MAX; i++)
        str_addc(&text, '1');
    str_addz(&text, "mb");
    show(&out, str_text(&text), 7);
    assert_string_equal(str_text(&out), "ab");
    str_free(&text);
    str_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_text_and_colours_pass_however_they_are_cut),
        cmocka_unit_test(what_has_no_end_hides_a_bounded_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
