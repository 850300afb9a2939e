/*
 * Finds the briefs in a Markdown document.
 *
 * Fences marked codex-brief are briefs. In a document without any, so are
 * fences marked yaml whose first key is executor, and indented blocks that
 * begin with that key. Text inside another fence or a quotation is not a brief.
 */
#include "gateways/formats/formats_private.h"

#include <string.h>

enum { BLOCKS_MAX = 100, INDENT = 4 };

/* One line, without its end. */
struct line {
    const char *text;
    size_t len, number;
    size_t indent; /* leading blanks */
};

enum fence_kind { FENCE_BRIEF, FENCE_YAML, FENCE_OTHER };

struct scan {
    const struct import_text *s;
    size_t at, number; /* of the next line */
    bool marked;       /* collect codex-brief fences, else the others */
    struct block *blocks;
    size_t n;
};

static bool
next_line(struct scan *x, struct line *l)
{
    const struct import_text *s = x->s;
    const char *end;

    if (x->at >= s->len)
        return false;
    l->text = s->text + x->at;
    end = memchr(l->text, '\n', s->len - x->at);
    l->len = end ? (size_t)(end - l->text) : s->len - x->at;
    x->at += l->len + 1;
    l->number = ++x->number;
    if (l->len > 0 && l->text[l->len - 1] == '\r')
        l->len--;
    for (l->indent = 0; l->indent < l->len && l->text[l->indent] == ' ';)
        l->indent++;
    return true;
}

static bool
is_blank_from(const struct line *l, size_t from)
{
    for (size_t i = from; i < l->len; i++)
        if (l->text[i] != ' ' && l->text[i] != '\t')
            return false;
    return true;
}

/* How often a line begins with the mark, after at most three blanks. */
static size_t
fence_length(const struct line *l, char mark)
{
    size_t i = l->indent;

    if (i >= INDENT)
        return 0;
    while (i < l->len && l->text[i] == mark)
        i++;
    return i - l->indent >= 3 ? i - l->indent : 0;
}

/* Whether that is the first word after a fence. */
static bool
is_marked(const struct line *l, size_t from, const char *word)
{
    size_t len = strlen(word);

    while (from < l->len && l->text[from] == ' ')
        from++;
    return l->len - from >= len && memcmp(l->text + from, word, len) == 0 &&
           (l->len - from == len || l->text[from + len] == ' ');
}

/* The kind of fence that a line opens; *length 0: none. */
static enum fence_kind
opens(const struct line *l, char *mark, size_t *length)
{
    size_t from;

    *mark = l->indent < l->len ? l->text[l->indent] : ' ';
    *length = *mark == '`' || *mark == '~' ? fence_length(l, *mark) : 0;
    from = l->indent + *length;
    /* ```code``` on a line of its own is not a fence. */
    if (*length && *mark == '`' && memchr(l->text + from, '`', l->len - from))
        *length = 0;
    if (*length && is_marked(l, from, "codex-brief"))
        return FENCE_BRIEF;
    if (*length && (is_marked(l, from, "yaml") || is_marked(l, from, "yml")))
        return FENCE_YAML;
    return FENCE_OTHER;
}

static bool
closes(const struct line *l, char mark, size_t length)
{
    size_t n = fence_length(l, mark);

    return n > 0 && n >= length && is_blank_from(l, l->indent + n);
}

size_t
blocks_first_key(const char *text, size_t len, const char *key)
{
    size_t n = strlen(key), i = 0, column;

    for (;;) {
        while (i < len && strchr(" \t\r\n", text[i]))
            i++;
        if (i < len && text[i] == '#')
            while (i < len && text[i] != '\n')
                i++;
        else if (len - i >= 4 && memcmp(text + i, "---", 3) == 0 &&
                 strchr(" \r\n", text[i + 3]))
            i += 3;
        else
            break;
    }
    if (len - i < n || memcmp(text + i, key, n) != 0)
        return 0;
    for (column = 1; column <= i && text[i - column] != '\n';)
        column++;
    for (i += n; i < len && text[i] == ' ';)
        i++;
    if (i == len || text[i] != ':' ||
        (i + 1 < len && !strchr(" \t\r\n", text[i + 1])))
        return 0;
    return column;
}

static int
add_block(struct scan *x, const char *text, size_t len, size_t line)
{
    struct yaml_node at = {.line = line, .column = 1};

    if (!x->blocks)
        x->blocks = mem_pool_alloc(x->s->pool, BLOCKS_MAX * sizeof *x->blocks);
    if (x->n == BLOCKS_MAX)
        return formats_fail(x->s, &at,
                            "more than %d briefs in one document; split it",
                            BLOCKS_MAX);
    x->blocks[x->n++] = (struct block){text, len, line};
    return 0;
}

/* The content of a fence; its opening line has been read. */
static int
read_fence(struct scan *x, const struct line *open, enum fence_kind kind,
           char mark, size_t length)
{
    size_t end = x->s->len, from = x->at < end ? x->at : end;
    const char *text = x->s->text + from;
    struct line l;
    bool closed = false, wanted;

    while (!closed && next_line(x, &l)) {
        closed = closes(&l, mark, length);
        if (closed)
            end = (size_t)(l.text - x->s->text);
    }
    wanted = x->marked ? kind == FENCE_BRIEF
                       : kind == FENCE_YAML &&
                             blocks_first_key(text, end - from, "executor") > 0;
    if (!wanted)
        return 0;
    if (!closed) {
        struct yaml_node at = {.line = open->number,
                               .column = open->indent + 1};

        return formats_fail(x->s, &at,
                            "a brief begins here and does not end; close it "
                            "with %.*s",
                            (int)(length < 8 ? length : 8),
                            mark == '`' ? "````````" : "~~~~~~~~");
    }
    return add_block(x, text, end - from, open->number + 1);
}

/* Whether an indented block that is a brief begins here. */
static bool
begins_indented(const struct line *l)
{
    return l->indent >= INDENT &&
           blocks_first_key(l->text, l->len, "executor") > 0;
}

/* The block of l and all following lines indented as far. */
static int
read_indented(struct scan *x, const struct line *first)
{
    size_t end = x->at;
    struct scan ahead = *x;
    struct line l;

    while (next_line(&ahead, &l)) {
        if (!is_blank_from(&l, 0) && l.indent < first->indent)
            break;
        if (!is_blank_from(&l, 0))
            end = ahead.at;
        x->at = ahead.at;
        x->number = ahead.number;
    }
    if (end > x->s->len)
        end = x->s->len;
    return add_block(x, first->text, end - (size_t)(first->text - x->s->text),
                     first->number);
}

static int
scan(struct scan *x)
{
    bool after_blank = true;
    struct line l;

    while (next_line(x, &l)) {
        enum fence_kind kind;
        size_t length;
        char mark;

        kind = opens(&l, &mark, &length);
        if (length > 0) {
            if (read_fence(x, &l, kind, mark, length) < 0)
                return -1;
        } else if (!x->marked && after_blank && begins_indented(&l)) {
            if (read_indented(x, &l) < 0)
                return -1;
        }
        after_blank = is_blank_from(&l, 0);
    }
    return 0;
}

int
blocks_find(const struct import_text *s, struct block **out, size_t *n)
{
    struct scan x = {.s = s, .marked = true};

    if (scan(&x) < 0)
        return -1;
    if (x.n == 0) {
        x = (struct scan){.s = s};
        if (scan(&x) < 0)
            return -1;
    }
    *out = x.blocks;
    *n = x.n;
    return 0;
}
