/*
 * Walks through the text with a stack of open brackets and stops at the first
 * character that JSON does not have there. Limits of a parser (depth, size of
 * numbers, duplicate keys) are not looked at.
 */
#include "lib/base/json_fault.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MOST = 512, WORD_MOST = 30 };

enum expect {
    EXPECT_VALUE,
    EXPECT_KEY,
    EXPECT_COLON,
    EXPECT_NEXT, /* a comma or a closing bracket */
};

struct fault_walk {
    const char *text;
    size_t len, at;
    struct json_fault *out;
    enum expect expect;
    bool opened;  /* the last was { or [ */
    size_t comma; /* where the last comma is */
    char open[DEPTH_MOST];
    size_t open_at[DEPTH_MOST], depth;
};

static bool found(struct fault_walk *w, size_t at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Records the mistake; returns true. */
static bool
found(struct fault_walk *w, size_t at, const char *fmt, ...)
{
    va_list ap;

    w->out->at = at;
    va_start(ap, fmt);
    (void)vsnprintf(w->out->message, sizeof w->out->message, fmt, ap);
    va_end(ap);
    return true;
}

static bool
is_at(const struct fault_walk *w, const char *word)
{
    size_t n = strlen(word);

    return w->len - w->at >= n && memcmp(w->text + w->at, word, n) == 0;
}

/* Signs that look like those of JSON and are others. */
static bool
is_lookalike(struct fault_walk *w)
{
    static const struct {
        const char *sign, *message;
    } signs[] = {
        {"\u201c", "a typographic quote; write \""},
        {"\u201d", "a typographic quote; write \""},
        {"\u201e", "a typographic quote; write \""},
        {"\u2018", "a typographic quote; write \""},
        {"\u2019", "a typographic quote; write \""},
        {"\u300c", "text is written in \"...\" here"},
        {"\uff02", "a full-width quote; write \""},
        {"\uff1a", "a full-width colon; write :"},
        {"\uff0c", "a full-width comma; write ,"},
        {"\u3001", "a full-width comma; write ,"},
        {"\uff5b", "a full-width bracket; write {"},
        {"\uff5d", "a full-width bracket; write }"},
        {"\u3000", "a full-width blank; write an ordinary one"},
        {"\u00a0", "a blank that does not break; write an ordinary one"},
        {"\ufeff", "a byte order mark inside the text; remove it"},
    };

    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (is_at(w, signs[i].sign))
            return found(w, w->at, "%s", signs[i].message);
    return false;
}

/* What is wrong anywhere outside strings. */
static bool
is_foreign(struct fault_walk *w)
{
    if (is_at(w, "//") || is_at(w, "/*") || w->text[w->at] == '#')
        return found(w, w->at, "JSON has no comments; remove it");
    if (w->text[w->at] == '\'')
        return found(w, w->at, "text is written in \"...\" here, not in '...'");
    return is_lookalike(w);
}

static bool
skip_escape(struct fault_walk *w)
{
    size_t at = w->at++;
    char c = w->at < w->len ? w->text[w->at] : '\0';

    if (c == 'u') {
        for (size_t i = 1; i <= 4; i++)
            if (w->at + i >= w->len ||
                !isxdigit((unsigned char)w->text[w->at + i]))
                return found(w, at, "\\u needs four hexadecimal digits");
    } else if (!c || !strchr("\"\\/bfnrt", c)) {
        return isgraph((unsigned char)c)
                   ? found(w, at, "\\%c means nothing here; write \\\\%c", c, c)
                   : found(w, at, "a single \\; write \\\\");
    }
    w->at++;
    return false;
}

static bool
skip_string(struct fault_walk *w)
{
    size_t from = w->at++;

    while (w->at < w->len && w->text[w->at] != '"') {
        char c = w->text[w->at];

        if (c == '\n' || c == '\r')
            return found(w, from,
                         "these quotes are not closed in their line; close "
                         "them, and write a line's end as \\n");
        if (c == '\t')
            return found(w, w->at, "a tab inside quotes; write \\t");
        if ((unsigned char)c < ' ')
            return found(w, w->at, "a control character inside quotes");
        if (c == '\\') {
            if (skip_escape(w))
                return true;
        } else {
            w->at++;
        }
    }
    if (w->at == w->len)
        return found(w, from, "these quotes are not closed");
    w->at++;
    return false;
}

/* The length of the word or number that begins here. */
static size_t
word_length(const struct fault_walk *w)
{
    size_t n = 0;

    while (w->at + n < w->len &&
           !strchr(" \t\r\n,:{}[]\"'", w->text[w->at + n]))
        n++;
    return n;
}

static bool
is_number(const char *c, size_t n)
{
    size_t i = n && *c == '-', digits = i;

    while (i < n && isdigit((unsigned char)c[i]))
        i++;
    if (i == digits || (c[digits] == '0' && i > digits + 1))
        return false;
    if (i < n && c[i] == '.') {
        digits = ++i;
        while (i < n && isdigit((unsigned char)c[i]))
            i++;
        if (i == digits)
            return false;
    }
    if (i < n && (c[i] == 'e' || c[i] == 'E')) {
        i++;
        i += i < n && strchr("+-", c[i]);
        digits = i;
        while (i < n && isdigit((unsigned char)c[i]))
            i++;
        if (i == digits)
            return false;
    }
    return i == n;
}

/* A word that is no text in quotes: true, false, null or a number. */
static bool
skip_word(struct fault_walk *w)
{
    static const struct {
        const char *word, *remedy;
    } others[] = {
        {"True", "true"},   {"TRUE", "true"},      {"False", "false"},
        {"FALSE", "false"}, {"None", "null"},      {"nil", "null"},
        {"NULL", "null"},   {"undefined", "null"},
    };
    const char *c = w->text + w->at;
    size_t n = word_length(w);

    if ((n == 4 && memcmp(c, "true", 4) == 0) ||
        (n == 5 && memcmp(c, "false", 5) == 0) ||
        (n == 4 && memcmp(c, "null", 4) == 0) || is_number(c, n)) {
        w->at += n;
        return false;
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (n == strlen(others[i].word) && memcmp(c, others[i].word, n) == 0)
            return found(w, w->at, "%s is written %s here", others[i].word,
                         others[i].remedy);
    if ((n == 3 && memcmp(c, "NaN", 3) == 0) ||
        (n >= 8 && memcmp(c + n - 8, "Infinity", 8) == 0))
        return found(w, w->at, "%.*s is no number of JSON; write null",
                     (int)(n < WORD_MOST ? n : WORD_MOST), c);
    if (n && (isdigit((unsigned char)*c) || strchr("+-.", *c)))
        return found(w, w->at, "%.*s is no number of JSON; text needs \"...\"",
                     (int)(n < WORD_MOST ? n : WORD_MOST), c);
    if (n == 0 || !isalpha((unsigned char)*c))
        return found(w, w->at,
                     "a sign that JSON does not have here; text "
                     "needs \"...\"");
    for (size_t i = 0; i < n && i < WORD_MOST; i++)
        if (!isgraph((unsigned char)c[i]))
            n = i;
    return found(w, w->at, "text needs quotes: \"%.*s\"",
                 (int)(n < WORD_MOST ? n : WORD_MOST), c);
}

static bool
close_bracket(struct fault_walk *w)
{
    char c = w->text[w->at];

    if (w->depth == 0)
        return found(w, w->at, "%c without its beginning; remove it", c);
    if ((w->open[w->depth - 1] == '{') != (c == '}'))
        return found(w, w->at, "%c closes what began with %c; write %c first",
                     c, w->open[w->depth - 1],
                     w->open[w->depth - 1] == '{' ? '}' : ']');
    if (!w->opened &&
        (w->expect == EXPECT_KEY || (w->expect == EXPECT_VALUE && c == ']')))
        return found(w, w->comma, "a comma behind the last entry; remove it");
    if (!w->opened && w->expect != EXPECT_NEXT)
        return found(w, w->at, "a key without its value; write key: value");
    w->depth--;
    w->at++;
    w->opened = false;
    w->expect = EXPECT_NEXT;
    return false;
}

static bool
read_value(struct fault_walk *w)
{
    char c = w->text[w->at];

    if (w->depth == 0 && c != '{' && c != '[')
        return found(w, w->at, "JSON begins with {");
    w->opened = false;
    w->expect = EXPECT_NEXT;
    if (c == '"')
        return skip_string(w);
    if (c != '{' && c != '[')
        return c == ',' ? found(w, w->at,
                                "a comma without a value before it; "
                                "remove it")
                        : skip_word(w);
    if (w->depth == DEPTH_MOST)
        return found(w, w->at, "nested too deeply");
    w->open[w->depth] = c;
    w->open_at[w->depth++] = w->at++;
    w->opened = true;
    w->expect = c == '{' ? EXPECT_KEY : EXPECT_VALUE;
    return false;
}

static bool
read_key(struct fault_walk *w)
{
    size_t n = word_length(w);

    w->opened = false;
    w->expect = EXPECT_COLON;
    if (w->text[w->at] == '"')
        return skip_string(w);
    if (w->text[w->at] == ',')
        return found(w, w->at, "a comma too many; remove it");
    if (n && isalnum((unsigned char)w->text[w->at]))
        return found(w, w->at, "a key needs quotes");
    return found(w, w->at, "expected a key in quotes");
}

static bool
read_next(struct fault_walk *w)
{
    if (w->depth == 0)
        return found(w, w->at,
                     w->text[w->at] == '{'
                         ? "a second object begins here; write one "
                           "in a file"
                         : "text behind the end; remove it");
    if (w->text[w->at] == '=' || w->text[w->at] == ':')
        return found(w, w->at,
                     "not expected here; a key is text in quotes, "
                     "and : follows it");
    if (w->text[w->at] != ',')
        return found(w, w->at, "a comma is missing before this");
    w->comma = w->at++;
    w->expect = w->open[w->depth - 1] == '{' ? EXPECT_KEY : EXPECT_VALUE;
    return false;
}

static bool
read_colon(struct fault_walk *w)
{
    if (w->text[w->at] != ':')
        return found(w, w->at, "a : is missing between key and value");
    w->at++;
    w->expect = EXPECT_VALUE;
    return false;
}

static bool
read_one(struct fault_walk *w)
{
    char c = w->text[w->at];

    if (is_foreign(w))
        return true;
    if (c == '}' || c == ']')
        return close_bracket(w);
    switch (w->expect) {
    case EXPECT_VALUE:
        return read_value(w);
    case EXPECT_KEY:
        return read_key(w);
    case EXPECT_COLON:
        return read_colon(w);
    case EXPECT_NEXT:
        break;
    }
    return read_next(w);
}

bool
json_fault_find(const char *text, size_t len, struct json_fault *out)
{
    struct fault_walk w = {.text = text, .len = len, .out = out};

    for (;;) {
        while (w.at < len && strchr(" \t\r\n", text[w.at]) && text[w.at])
            w.at++;
        if (w.at == len)
            break;
        if (read_one(&w))
            return true;
    }
    if (w.depth)
        return found(&w, w.open_at[w.depth - 1],
                     "%c is not closed; the text ends before its %c",
                     w.open[w.depth - 1],
                     w.open[w.depth - 1] == '{' ? '}' : ']');
    return w.expect != EXPECT_NEXT && found(&w, 0, "empty");
}
