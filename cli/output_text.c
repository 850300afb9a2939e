/*
 * Tables, colours and the progress line. Widths are counted in columns of the
 * terminal, not in bytes; a table is kept until its end, since the widest cell
 * of a column decides its width.
 */
#include "cli/output.h"

#include "lib/base/mem.h"
#include "lib/model/task_state.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

struct table {
    const struct out_column *columns;
    size_t n, rows;
    char **cells; /* rows * n */
};

bool
out_colour(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fd) && !(no && no[0]) && term && strcmp(term, "dumb") != 0;
}

unsigned
out_columns(int fd)
{
    struct winsize w;

    if (!isatty(fd))
        return 0;
    return ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
}

bool
out_bytes(int fd, const void *data, size_t len)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    const char *at = data;
    ssize_t n;

    while (len) {
        n = write(fd, at, len);
        if (n < 0 && errno == EAGAIN)
            (void)poll(&p, 1, -1);
        else if (n < 0 && errno != EINTR)
            return false;
        else if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
    return true;
}

/* Bytes of the first character of text; its columns in *width. */
static size_t
character(const char *text, size_t *width)
{
    mbstate_t state = {0};
    wchar_t wide;
    size_t n = mbrtowc(&wide, text, strlen(text), &state);
    int columns;

    if (n == 0 || n > 4) {
        *width = 1;
        return 1;
    }
    columns = wcwidth(wide);
    *width = columns < 0 ? 0 : (size_t)columns;
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

static const char *const state_colours[STATE_COUNT] = {
    [STATE_SUCCEEDED] = "32",  [STATE_FAILED] = "31",
    [STATE_TIMED_OUT] = "31",  [STATE_REJECTED] = "31",
    [STATE_DEAD] = "31",       [STATE_UNKNOWN] = "31",
    [STATE_LOST] = "31",       [STATE_RUNNING] = "36",
    [STATE_RETRY_WAIT] = "33", [STATE_HELD] = "33",
    [STATE_BLOCKED] = "33",    [STATE_UNVERIFIED] = "33",
    [STATE_NO_OP] = "33",      [STATE_CANCELLED] = "35",
    [STATE_PREEMPTED] = "35",
};

const char *
out_state(const char *state, bool colour, char *buf, size_t size)
{
    const char *code = colour ? state_colours[state_from_name(state)] : NULL;

    if (code)
        (void)snprintf(buf, size, "\033[%sm%s\033[0m", code, state);
    else
        (void)snprintf(buf, size, "%s", state);
    return buf;
}

/* Cuts text to columns in place. */
static void
cut(char *text, size_t columns)
{
    size_t total = 0, width, n;

    while (*text) {
        n = character(text, &width);
        if (total + width > columns) {
            *text = '\0';
            return;
        }
        total += width;
        text += n;
    }
}

static void
print_cell(const char *cell, size_t pad, bool last, bool heading, bool colour)
{
    char state[64];

    if (colour && heading)
        (void)printf("\033[1m%s\033[0m", cell);
    else if (colour && state_from_name(cell) != STATE_UNSPECIFIED)
        (void)fputs(out_state(cell, true, state, sizeof state), stdout);
    else
        (void)fputs(cell, stdout);
    for (size_t i = 0; !last && i < pad + 2; i++)
        (void)fputc(' ', stdout);
}

static void
print_aligned(struct table *t, unsigned columns)
{
    size_t *widths = mem_zero(t->n, sizeof *widths), i, row, used = 0, w;
    bool colour = out_colour(STDOUT_FILENO);
    char *cell;

    for (i = 0; i < t->n; i++) {
        for (row = 0; row < t->rows; row++) {
            w = text_width(t->cells[row * t->n + i]);
            if (w > widths[i])
                widths[i] = w;
        }
        if (i + 1 < t->n)
            used += widths[i] + 2;
    }
    for (row = 0; row < t->rows; row++) {
        for (i = 0; i < t->n; i++) {
            cell = t->cells[row * t->n + i];
            if (i + 1 == t->n && columns > used + 8)
                cut(cell, columns - used);
            print_cell(cell, widths[i] - text_width(cell), i + 1 == t->n, !row,
                       colour);
        }
        (void)fputc('\n', stdout);
    }
    mem_free(widths);
}

void
out_table(const json_t *rows, const struct out_column *columns, size_t n)
{
    size_t size = json_array_size(rows) + json_object_size(rows), i;
    struct table t = {columns, n, 0, mem_zero((size + 1) * n, sizeof *t.cells)};
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
    mem_free(t.cells);
}

const char *
out_ago(int64_t at_ms, int64_t now_ms, char *buf, size_t size)
{
    int64_t s = (now_ms - at_ms) / 1000;

    if (!at_ms)
        (void)snprintf(buf, size, "-");
    else if (s < 1)
        (void)snprintf(buf, size, "now");
    else if (s < 60)
        (void)snprintf(buf, size, "%llds ago", (long long)s);
    else if (s < 3600)
        (void)snprintf(buf, size, "%lldm ago", (long long)s / 60);
    else if (s < 48 * 3600)
        (void)snprintf(buf, size, "%lldh ago", (long long)s / 3600);
    else
        (void)snprintf(buf, size, "%lldd ago", (long long)s / 86400);
    return buf;
}

const char *
out_size(uint64_t bytes, char *buf, size_t size)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        (void)snprintf(buf, size, "%u B", (unsigned)bytes);
        return buf;
    }
    for (; value >= 1024 && unit < 3; unit++)
        value /= 1024;
    (void)snprintf(buf, size, "%.1f %s", value, units[unit]);
    return buf;
}

bool
out_can_progress(void)
{
    const char *term = getenv("TERM");

    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

void
out_progress(const char *text)
{
    unsigned columns = out_columns(STDERR_FILENO);
    struct str line = {0};

    if (!out_can_progress())
        return;
    str_addz(&line, text);
    if (line.len)
        cut(line.data, columns > 1 ? columns - 1 : 1);
    (void)fprintf(stderr, "\r\033[K%s", str_text(&line));
    (void)fflush(stderr);
    str_free(&line);
}
