/*
 * Finds the briefs in a Markdown document.
 *
 * Fences marked codex-brief are briefs. In a document without any, so are
 * fences marked yaml whose first key is executor, and indented blocks that
 * begin with that key. Text inside another fence, a quotation, a comment or
 * <pre> is not a brief, and a warning says so. What is nearly marked as a brief
 * is an error: the document is neither without briefs nor a prompt.
 */
#include "gateways/formats/formats_private.h"

#include "lib/base/nearest.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { BLOCKS_MAX = 100, INDENT = 4, MARK_SIZE = 16 };

/* One line, without its end. */
struct line {
    const char *text;
    size_t len, number;
    size_t indent; /* leading blanks */
};

enum fence_kind { FENCE_BRIEF, FENCE_YAML, FENCE_OTHER };

struct scan {
    struct import_text *s;
    size_t at, number; /* of the next line */
    bool marked;       /* collect codex-brief fences, else the others */
    struct block *blocks;
    size_t n;
    /* An open comment or <pre>. */
    const char *closing;   /* what closes it; NULL: none is open */
    size_t opened, hidden; /* its line, and that of a brief in it; 0: none */
    bool ignored;          /* a brief in a comment was not read */
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
fail_line(const struct scan *x, const struct line *l, const char *message)
{
    struct yaml_node at = {.line = l->number, .column = l->indent + 1};

    return formats_fail(x->s, &at, "%s", message);
}

static void
warn_line(struct scan *x, size_t number, const char *message)
{
    struct yaml_node at = {.line = number, .column = 1};

    formats_warn(x->s, &at, "%s", message);
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

/* --- near misses ---------------------------------------------------------- */

/* Whether text from there on is codex-brief, or meant to be: in other letters,
 * with other or no signs between the words, with a slip or in braces. */
static bool
is_near_mark(const struct line *l, size_t from)
{
    char word[MARK_SIZE];
    size_t n = 0, least = SIZE_MAX;

    for (; from < l->len && n + 1 < sizeof word; from++) {
        char c = l->text[from];

        if (isalnum((unsigned char)c))
            word[n++] = (char)tolower((unsigned char)c);
        else if (!strchr(" \t-_.:{}[]#/", c) || n >= strlen("codexbrief"))
            break;
    }
    word[n] = '\0';
    return n >= strlen("codexbrie") && nearest_is(word, "codexbrief", &least) &&
           least <= 2;
}

/* Where a fence begins that no rule of Markdown, or only that of a list, lets
 * begin there: behind a list's mark, a tab or four blanks; l->len: nowhere. */
static size_t
any_fence(const struct line *l)
{
    size_t i = 0, from;

    for (;;) {
        while (i < l->len && (l->text[i] == ' ' || l->text[i] == '\t'))
            i++;
        from = i;
        while (i < l->len && isdigit((unsigned char)l->text[i]))
            i++;
        if (i + 1 >= l->len || !strchr(i > from ? ".)" : "-*+", l->text[i]) ||
            !strchr(" \t", l->text[i + 1]))
            break;
        i++;
    }
    i = from;
    while (i < l->len && (l->text[i] == '`' || l->text[i] == '~') &&
           l->text[i] == l->text[from])
        i++;
    return i - from >= 3 ? i : l->len;
}

/* Refuses a fence that is nearly a brief's; length 0: the line opens none. */
static int
check_mark(const struct scan *x, const struct line *l, size_t length)
{
    size_t from = length ? l->indent + length : any_fence(l);

    if (from >= l->len || !is_near_mark(l, from))
        return 0;
    if (!length && memchr(l->text + from, '`', l->len - from))
        return 0; /* code within a line */
    if (length)
        return fail_line(x, l,
                         "this fence is nearly that of a brief; did you mean "
                         "codex-brief? (or mark an example as text)");
    return fail_line(x, l,
                     "a brief's fence begins the line, after at most three "
                     "blanks; move it there, with the lines below it");
}

/* Whether the first line is a key that is nearly executor. */
static bool
is_near_executor(const char *text, size_t len)
{
    char word[MARK_SIZE];
    size_t i = 0, n = 0, least = SIZE_MAX;

    while (i < len && isspace((unsigned char)text[i]))
        i++;
    for (; i < len && n + 1 < sizeof word && isalpha((unsigned char)text[i]);)
        word[n++] = (char)tolower((unsigned char)text[i++]);
    word[n] = '\0';
    return i < len && text[i] == ':' && nearest_is(word, "executor", &least) &&
           least <= 2;
}

/* A fence that begins like a brief, and is none: its mark was forgotten, or its
 * first key is misspelt. */
static int
check_content(const struct scan *x, const struct line *open,
              enum fence_kind kind, size_t from, const char *text, size_t len)
{
    bool brief = blocks_first_key(text, len, "executor") > 0;

    if (kind == FENCE_BRIEF || !memmem(text, len, "\nsteps:", 7) ||
        (kind == FENCE_OTHER && !is_blank_from(open, from)))
        return 0;
    if (kind == FENCE_OTHER && blocks_first_key(text, len, "executor") == 1)
        return fail_line(x, open,
                         "this fence begins like a brief; mark it codex-brief, "
                         "or an example as text");
    if (!brief && is_near_executor(text, len))
        return fail_line(x, open,
                         "this fence begins like a brief; did you mean "
                         "executor: as its first key?");
    return 0;
}

/* --- comments and the like ------------------------------------------------ */

/* Behind the code that begins at a backtick in a line. */
static size_t
behind_code(const struct line *l, size_t at)
{
    size_t n = 0, m = 0;

    while (at + n < l->len && l->text[at + n] == '`')
        n++;
    for (size_t i = at + n; i < l->len; i++) {
        m = l->text[i] == '`' ? m + 1 : 0;
        if (m == n && (i + 1 == l->len || l->text[i + 1] != '`'))
            return i + 1;
    }
    return at + n;
}

static bool
is_at(const struct line *l, size_t at, const char *word)
{
    size_t n = strlen(word);

    return l->len - at >= n && strncasecmp(l->text + at, word, n) == 0;
}

/* Follows comments and <pre> through a line. */
static void
follow_html(struct scan *x, const struct line *l)
{
    static const struct {
        const char *open, *close;
    } html[] = {{"<!--", "-->"},
                {"<pre", "</pre>"},
                {"<script", "</script>"},
                {"<style", "</style>"}};
    enum { N = sizeof html / sizeof *html };

    for (size_t i = 0; i < l->len;) {
        size_t k = 0;

        if (x->closing && is_at(l, i, x->closing)) {
            i += strlen(x->closing);
            x->closing = NULL;
            continue;
        }
        if (x->closing || l->text[i] != '<') {
            i = !x->closing && l->text[i] == '`' ? behind_code(l, i) : i + 1;
            continue;
        }
        while (k < N && !is_at(l, i, html[k].open))
            k++;
        i++;
        /* <pre> and the like are blocks: they begin a line. */
        if (k == N || (k > 0 && i - 1 != l->indent))
            continue;
        i += strlen(html[k].open) - 1;
        x->closing = html[k].close;
        x->opened = l->number;
        x->hidden = 0;
    }
}

/* Whether a line that is not read would begin a brief. */
static bool
begins_brief(const struct scan *x, const struct line *l)
{
    size_t from = any_fence(l);

    if (!x->marked)
        return blocks_first_key(l->text, l->len, "executor") > 0;
    return from < l->len && is_near_mark(l, from);
}

/* A brief in a comment was disabled by its author: it is not read, and a
 * document that holds nothing else is no prompt. */
static void
look_inside(struct scan *x, const struct line *l)
{
    if (x->hidden || (x->ignored && !x->marked) || !begins_brief(x, l))
        return;
    x->hidden = l->number;
    x->ignored = true;
    warn_line(x, l->number,
              strcmp(x->closing, "-->") == 0
                  ? "a brief inside a comment (<!-- -->) is not read"
                  : "a brief inside HTML is not read");
}

static int
check_closed(const struct scan *x)
{
    struct yaml_node at = {.line = x->opened, .column = 1};

    if (!x->closing || !x->hidden)
        return 0;
    return formats_fail(x->s, &at,
                        "this does not end, and there is a brief in it (line "
                        "%zu); close it with %s",
                        x->hidden, x->closing);
}

/* A brief in a quotation is somebody else's. */
static void
look_at_quotation(struct scan *x, const struct line *l)
{
    struct line inner = *l;

    while (inner.len && strchr("> \t", *inner.text)) {
        inner.text++;
        inner.len--;
    }
    if (x->marked && l->indent < l->len && l->text[l->indent] == '>' &&
        begins_brief(x, &inner))
        warn_line(x, l->number, "a brief inside a quotation is not read");
}

/* --- blocks --------------------------------------------------------------- */

/* A brief's fence inside another one is an example. */
static void
look_into_fence(struct scan *x, const struct line *l, enum fence_kind kind)
{
    size_t from = any_fence(l);

    if (x->marked && kind != FENCE_BRIEF && from < l->len &&
        is_near_mark(l, from))
        warn_line(x, l->number, "a brief inside another fence is not read");
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
        else
            look_into_fence(x, &l, kind);
    }
    if (check_content(x, open, kind, open->indent + length, text, end - from) <
        0)
        return -1;
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

        if (x->closing) {
            look_inside(x, &l);
            follow_html(x, &l);
            continue;
        }
        kind = opens(&l, &mark, &length);
        if ((length == 0 || kind != FENCE_BRIEF) &&
            check_mark(x, &l, length) < 0)
            return -1;
        look_at_quotation(x, &l);
        if (length == 0)
            follow_html(x, &l);
        if (length > 0) {
            if (read_fence(x, &l, kind, mark, length) < 0)
                return -1;
        } else if (!x->marked && after_blank && begins_indented(&l)) {
            if (read_indented(x, &l) < 0)
                return -1;
        }
        after_blank = is_blank_from(&l, 0);
    }
    return check_closed(x);
}

int
blocks_find(struct import_text *s, struct block **out, size_t *n)
{
    struct scan x = {.s = s, .marked = true};
    bool ignored;

    if (scan(&x) < 0)
        return -1;
    ignored = x.ignored;
    if (x.n == 0) {
        x = (struct scan){.s = s, .ignored = ignored};
        if (scan(&x) < 0)
            return -1;
        ignored = x.ignored;
    }
    *out = x.blocks;
    *n = x.n;
    if (x.n == 0 && ignored) {
        struct yaml_node at = {.line = 1, .column = 1};

        return formats_fail(s, &at,
                            "nothing to run: its brief is inside a comment; "
                            "take it out, or remove it");
    }
    return 0;
}
