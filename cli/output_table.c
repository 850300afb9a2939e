/*
 * Tables. Widths are counted in columns of the terminal, not in bytes; a table
 * is kept until its end, since the widest cell of a column decides its width.
 * Where the terminal is too narrow, the widest columns shrink first, then
 * columns go, the one of the highest rank first: no line wraps. Other
 * lines are broken between words.
 */
#include "cli/output.h"

#include "lib/base/mem.h"
#include "lib/model/task_state.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

enum {
    GAP = 2,        /* between two columns */
    LABEL_MAX = 20, /* columns of a line's label and the gap after it */
    NARROW = 8,     /* no column shrinks below, unless none is left to go */
    RANK_GONE = 0,  /* of columns that stay */
};

struct table {
    const struct out_column *columns;
    size_t n, rows;
    char **cells;   /* rows * n */
    size_t *widths; /* n; 0: the column is left out */
};

/* --- characters ---------------------------------------------------------- */

static uint32_t
code_point(const char *text, size_t len)
{
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = (unsigned char)text[0] & masks[len];

    for (size_t i = 1; i < len; i++)
        c = c << 6 | ((unsigned char)text[i] & 0x3f);
    return c;
}

/* Columns of a character where the C library does not know it: the wide
 * blocks of East Asian scripts and of pictures. */
static size_t
guess_width(uint32_t c)
{
    static const uint32_t wide[][2] = {
        {0x1100, 0x115f},   {0x2e80, 0xa4cf},   {0xac00, 0xd7a3},
        {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
        {0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f900, 0x1f9ff},
        {0x20000, 0x3fffd},
    };

    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (c >= wide[i][0] && c <= wide[i][1])
            return 2;
    return c >= 0x300 && c <= 0x36f ? 0 : 1;
}

/* Bytes of the first character of text; its columns in *width. */
static size_t
character(const char *text, size_t *width)
{
    size_t n = str_utf8_len(text, strlen(text));
    uint32_t c;
    int columns;

    if (n == 0) {
        *width = 1;
        return 1;
    }
    c = code_point(text, n);
    columns = wcwidth((wchar_t)c);
    *width = columns >= 0 ? (size_t)columns : guess_width(c);
    return n;
}

/* Columns of text, valid UTF-8 without controls, on a terminal. */
static size_t
text_width(const char *text)
{
    size_t total = 0, width;

    while (*text) {
        text += character(text, &width);
        total += width;
    }
    return total;
}

/* Bytes of the longest beginning of text that fits in columns. */
static size_t
bytes_within(const char *text, size_t columns)
{
    size_t at = 0, total = 0, width, n;

    while (text[at]) {
        n = character(text + at, &width);
        if (total + width > columns)
            break;
        total += width;
        at += n;
    }
    return at;
}

void
out_cut(struct str *text, size_t columns)
{
    size_t len = bytes_within(str_text(text), columns);

    if (len >= text->len)
        return;
    len = columns ? bytes_within(text->data, columns - 1) : 0;
    text->len = len;
    text->data[len] = '\0';
    if (columns)
        str_addz(text, "…");
}

/* --- lines --------------------------------------------------------------- */

/* Bytes of the label that a line begins with: up to its last gap of two spaces
 * or more, if that comes soon. */
static size_t
label_length(const char *text)
{
    size_t found = 0;

    for (size_t i = 0; text[i] && i <= LABEL_MAX; i++)
        if (i >= 2 && text[i] != ' ' && text[i - 1] == ' ' &&
            text[i - 2] == ' ')
            found = i;
    return found;
}

/* Bytes of the part of text that goes on this line: it ends between two words,
 * if there is one after the first least bytes. */
static size_t
part_length(const char *text, size_t columns, size_t least)
{
    size_t n = bytes_within(text, columns), at = n, width;

    while (text[n] && at > least && text[at] != ' ')
        at--;
    if (text[n] && at > least)
        return at;
    return n ? n : character(text, &width);
}

void
out_wrap(const char *text, size_t columns, struct str *out)
{
    size_t least = label_length(text), indent = least, n;

    if (indent > columns / 2)
        indent = columns > 2 * GAP ? GAP : 0;
    for (bool first = true; *text; first = false) {
        if (!first)
            str_addf(out, "\n%*s", (int)indent, "");
        n = part_length(text, columns - (first ? 0 : indent),
                        first ? least : 0);
        str_add(out, text, n);
        text += n;
        text += strspn(text, " ");
    }
    str_addc(out, '\n');
}

/* --- cells --------------------------------------------------------------- */

static char *
make_cell(const json_t *row, const struct out_column *column)
{
    const json_t *v = json_object_get(row, column->key);
    struct str text = {0}, safe = {0};

    if (column->add)
        column->add(row, &text);
    else if (json_is_integer(v))
        str_addf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else
        str_addz(&text, json_is_string(v) ? json_string_value(v) : "-");
    str_add_printable(&safe, str_text(&text), text.len);
    str_free(&text);
    str_addz(&safe, ""); /* data is there, even of nothing */
    /* A cell stays one line, whatever a command looks like. */
    for (char *c = safe.data; *c; c++)
        if (*c == '\n' || *c == '\t')
            *c = ' ';
    return safe.data;
}

/* A row of NULL is the heading. */
static void
add_row(struct table *t, const json_t *row)
{
    for (size_t i = 0; i < t->n; i++)
        t->cells[t->rows * t->n + i] = row ? make_cell(row, &t->columns[i])
                                           : mem_strdup(t->columns[i].head);
    t->rows++;
}

/* --- widths -------------------------------------------------------------- */

static void
measure(struct table *t)
{
    size_t w;

    for (size_t i = 0; i < t->n; i++)
        for (size_t row = 0; row < t->rows; row++) {
            w = text_width(t->cells[row * t->n + i]);
            if (w > t->widths[i])
                t->widths[i] = w;
        }
}

static size_t
line_width(const struct table *t)
{
    size_t total = 0;

    for (size_t i = 0; i < t->n; i++)
        total += t->widths[i] ? t->widths[i] + GAP : 0;
    return total ? total - GAP : 0;
}

/* The widest column above least that may shrink, or, with all, any; n if there
 * is none. */
static size_t
widest(const struct table *t, size_t least, bool all)
{
    size_t found = t->n;

    for (size_t i = 0; i < t->n; i++)
        if ((all || t->columns[i].rank != RANK_GONE) && t->widths[i] > least &&
            (found == t->n || t->widths[i] >= t->widths[found]))
            found = i;
    return found;
}

/* The column that goes next; n if all that are left stay. */
static size_t
next_to_go(const struct table *t)
{
    size_t found = t->n;

    for (size_t i = 0; i < t->n; i++)
        if (t->columns[i].rank != RANK_GONE && t->widths[i] &&
            (found == t->n || t->columns[i].rank > t->columns[found].rank))
            found = i;
    return found;
}

static void
fit(struct table *t, size_t columns)
{
    size_t i;

    while (line_width(t) > columns) {
        if ((i = widest(t, NARROW, false)) < t->n)
            t->widths[i]--;
        else if ((i = next_to_go(t)) < t->n)
            t->widths[i] = 0;
        else if ((i = widest(t, 1, true)) < t->n)
            t->widths[i]--;
        else
            return; /* a terminal of a few columns */
    }
}

/* --- printing ------------------------------------------------------------ */

static void
print_cell(const struct table *t, size_t row, size_t i, bool last, bool colour)
{
    struct str cell = {0};
    size_t width = t->widths[i];
    char state[64];

    str_addz(&cell, t->cells[row * t->n + i]);
    out_cut(&cell, width);
    if (colour && row == 0)
        (void)printf("\033[1m%s\033[0m", str_text(&cell));
    else if (colour && t->columns[i].state)
        (void)fputs(out_state(str_text(&cell), true, state, sizeof state),
                    stdout);
    else
        (void)fputs(str_text(&cell), stdout);
    for (size_t w = text_width(str_text(&cell)); !last && w < width + GAP; w++)
        (void)fputc(' ', stdout);
    str_free(&cell);
}

static void
print_aligned(struct table *t, size_t columns)
{
    bool colour = out_colour(STDOUT_FILENO);
    size_t last = 0;

    measure(t);
    fit(t, columns);
    for (size_t i = 0; i < t->n; i++)
        if (t->widths[i])
            last = i;
    for (size_t row = 0; row < t->rows; row++) {
        for (size_t i = 0; i <= last; i++)
            if (t->widths[i])
                print_cell(t, row, i, i == last, colour);
        (void)fputc('\n', stdout);
    }
}

void
out_table(const json_t *rows, const struct out_column *columns, size_t n)
{
    size_t size = json_array_size(rows) + json_object_size(rows), i;
    struct table t = {columns, n, 0, mem_zero((size + 1) * n, sizeof *t.cells),
                      mem_zero(n, sizeof *t.widths)};
    unsigned width = out_columns(STDOUT_FILENO);
    const char *key;
    json_t *row;

    add_row(&t, NULL);
    json_array_foreach(rows, i, row)
    {
        add_row(&t, row);
    }
    json_object_foreach((json_t *)(uintptr_t)rows, key, row)
    {
        add_row(&t, row);
    }
    if (width)
        print_aligned(&t, width);
    for (i = 0; i < t.rows * n; i++) {
        if (!width && i >= n)
            (void)printf("%s%c", t.cells[i], (i + 1) % n ? '\t' : '\n');
        mem_free(t.cells[i]);
    }
    (void)fflush(stdout);
    mem_free(t.widths);
    mem_free(t.cells);
}
