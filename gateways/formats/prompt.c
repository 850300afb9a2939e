/*
 * Refuses text that is no prompt: what another system reads, a template that
 * nobody filled in, a form without answers, a list of tasks.
 *
 * A file of that kind in a queue is a mistake, and an AI that gets it as a
 * prompt costs money and does something nobody asked for.
 */
#include "gateways/formats/formats_private.h"

#include "lib/base/str.h"

#include <ctype.h>
#include <string.h>

/* --- other systems -------------------------------------------------------- */

static const struct {
    const char *key, *what;
} foreign[] = {
    {"on", "a workflow of GitHub"},
    {"jobs", "a workflow of GitHub or another CI system"},
    {"stages", "a pipeline of a CI system"},
    {"pipeline", "a pipeline of a CI system"},
    {"tracker", "a workflow of another system"},
    {"workflow", "a workflow of another system"},
    {"steps", "a workflow of another system (a brief begins with executor:)"},
    {"safe-outputs", "a workflow of GitHub"},
    {"services", "a compose file"},
    {"apiVersion", "a Kubernetes manifest"},
    {"globs", "a rule for an editor's agent"},
    {"alwaysApply", "a rule for an editor's agent"},
    {"applyTo", "instructions for an editor's agent"},
    {"argument-hint", "a command of Claude Code"},
    {"allowed-tools", "a command or skill of Claude Code"},
    {"tools", "an agent of Claude Code"},
};

int
formats_foreign(const struct import_text *s, const struct yaml_node *map)
{
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        const struct yaml_node *v = yaml_get(map, foreign[i].key);

        if (v)
            return formats_fail(s, v->key,
                                "%s: this is %s, not a task; put it where that "
                                "system looks for it",
                                foreign[i].key, foreign[i].what);
    }
    return 0;
}

/* Whether the text begins with "key:", as YAML does. */
static bool
begins_with_key(const char *text, size_t len)
{
    size_t i = 0, from;

    while (i < len && isspace((unsigned char)text[i]))
        i++;
    from = i;
    while (i < len && (isalnum((unsigned char)text[i]) || text[i] == '-' ||
                       text[i] == '_'))
        i++;
    return i > from && i + 1 < len && text[i] == ':' &&
           isspace((unsigned char)text[i + 1]);
}

int
formats_foreign_text(const struct import_text *s)
{
    const struct yaml_node *root;
    struct err e;

    if (!begins_with_key(s->text, s->len) ||
        yaml_parse(s->name, s->text, s->len, s->pool, &root, &e) < 0)
        return 0; /* prose */
    return formats_foreign(s, root);
}

/* --- templates, forms, lists ---------------------------------------------- */

struct prompt {
    const struct import_text *s;
    const struct yaml_node *at; /* of the text; NULL: it is in s->text */
    const char *text, *end;
    size_t lines;             /* with text, besides headings */
    size_t unanswered, items; /* of these */
    bool in_item;             /* the last line was one, or belonged to one */
    char fence;               /* the mark of an open fence; or NUL */
    size_t fence_len;
};

/* A mistake at a place in the text. */
static int
fail_at(const struct prompt *p, const char *where, const char *message)
{
    struct yaml_node at = {.line = 1, .column = 1};

    if (p->at)
        return formats_fail(p->s, p->at, "%s", message);
    for (const char *c = p->s->text; c < where; c++) {
        at.column += (*c & 0xc0) != 0x80;
        if (*c == '\n')
            at = (struct yaml_node){.line = at.line + 1, .column = 1};
    }
    return formats_fail(p->s, &at, "%s", message);
}

/* Opens or closes a fence; whether the line is inside one, or its mark. */
static bool
fenced(struct prompt *p, const char *line, const char *end)
{
    const char *c = line;
    size_t n;

    while (c < end && (*c == ' ' || *c == '\t'))
        c++;
    if (c == end || (*c != '`' && *c != '~'))
        return p->fence;
    for (n = 0; c + n < end && c[n] == *c;)
        n++;
    if (!p->fence && n >= 3 && !memchr(c + n, '`', (size_t)(end - c) - n)) {
        p->fence = *c;
        p->fence_len = n;
        return true;
    }
    if (p->fence == *c && n >= p->fence_len)
        p->fence = '\0';
    return p->fence || n >= 3;
}

/* Behind the code that begins at a backtick; where it began, if it is none. */
static const char *
behind_code(const char *at, const char *end)
{
    size_t n = 0, m = 0;

    while (at + n < end && at[n] == '`')
        n++;
    for (const char *c = at + n; c < end; c++) {
        m = *c == '`' ? m + 1 : 0;
        if (m == n && (c + 1 == end || c[1] != '`'))
            return c + 1;
    }
    return at + n;
}

/* The first {{placeholder}} of a line outside code; NULL: none. */
static const char *
placeholder(const char *line, const char *end)
{
    for (const char *c = line; c + 4 < end;) {
        const char *close;

        if (*c == '`') {
            c = behind_code(c, end);
            continue;
        }
        if (c[0] == '{' && c[1] == '{') {
            close = memmem(c, (size_t)(end - c), "}}", 2);
            if (close && close > c + 2)
                return c;
        }
        c++;
    }
    return NULL;
}

/* Whether it is an item of a task list: "- [ ] text", "1. [x] text". */
static bool
is_item(const char *c, const char *end)
{
    const char *mark = c;

    while (c < end && isdigit((unsigned char)*c))
        c++;
    if (c == end || !strchr(c > mark ? ".)" : "-*+", *c))
        return false;
    for (c++; c < end && (*c == ' ' || *c == '\t');)
        c++;
    return end - c >= 3 && c[0] == '[' && strchr(" xX", c[1]) && c[2] == ']';
}

static void
count(struct prompt *p, const char *line, const char *end)
{
    static const char none[] = "_No response_";
    const char *c = line;

    while (c < end && isspace((unsigned char)*c))
        c++;
    while (end > c && isspace((unsigned char)end[-1]))
        end--;
    if (c == end || *c == '#')
        return;
    p->lines++;
    p->in_item = is_item(c, end) || (p->in_item && c > line);
    p->items += p->in_item;
    p->unanswered += (size_t)(end - c) == sizeof none - 1 &&
                     memcmp(c, none, sizeof none - 1) == 0;
}

static int
not_filled(const struct prompt *p, const char *open, const char *end)
{
    const char *close = memmem(open, (size_t)(end - open), "}}", 2);
    const char *name =
        mem_pool_strndup(p->s->pool, open, (size_t)(close + 2 - open));

    return fail_at(p, open,
                   mem_pool_printf(p->s->pool,
                                   "%s is not filled in; write what it stands "
                                   "for, or put it in `...`",
                                   formats_short(p->s, name)));
}

int
formats_prompt(const struct import_text *s, const struct yaml_node *at,
               const char *text, size_t len)
{
    struct prompt p = {.s = s, .at = at, .text = text, .end = text + len};

    for (const char *line = text, *end; line < p.end; line = end + 1) {
        const char *open;

        end = memchr(line, '\n', (size_t)(p.end - line));
        end = end ? end : p.end;
        count(&p, line, end);
        open = fenced(&p, line, end) ? NULL : placeholder(line, end);
        if (open)
            return not_filled(&p, open, end);
    }
    if (p.lines && p.unanswered == p.lines)
        return fail_at(&p, text,
                       "a form without answers (_No response_); fill it in");
    if (p.lines && p.items == p.lines)
        return fail_at(&p, text,
                       "a list of tasks, not a prompt; write a file for each, "
                       "or say above the list what is to be done with it");
    return 0;
}
