/*
 * Builds the tree from libyaml's events, refuses what yaml.h lists as each
 * event arrives, and puts libyaml's error messages into plain words.
 */
#include "lib/base/yaml.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* A text being read, and the present event. */
struct yaml_reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool have; /* event must be deleted */
    const char *name, *text;
    size_t len, line; /* line: of the first line of text */
    struct mem_pool *pool;
    size_t n_nodes;
};

/* --- errors --------------------------------------------------------------- */

static int
fail_at(const struct yaml_reader *r, yaml_mark_t mark, struct err *e,
        const char *text)
{
    return err_set(e, ERR_INVALID, "%s:%zu:%zu: %s", r->name,
                   mark.line + r->line, mark.column + 1, text);
}

static const char no_colon[] = "could not find expected ':'";

/* The parser's messages, and the mistakes that usually cause them. */
static const struct {
    const char *problem, *words;
} faults[] = {
    {no_colon,
     "this line is no key: value; a blank follows the colon, and text of "
     "several lines begins with | and is indented"},
    {"did not find expected key",
     "check the indentation; text with quotes in it needs quotes around it"},
    {"did not find expected '-' indicator",
     "check the indentation: the entries of a list begin in one column"},
    {"did not find expected ',' or ']'",
     "a list that begins with [ is not closed; close it with ]"},
    {"did not find expected ',' or '}'",
     "a map that begins with { is not closed; close it with }"},
    {"found unexpected end of stream", "quotes are not closed; close them"},
    {"found unexpected document indicator",
     "quotes are not closed before ---; close them"},
    {"found unknown escape character",
     "\\ means something else inside \"...\"; write \\\\, or '...'"},
    {"did not find expected hexdecimal number",
     "\\ means something else inside \"...\"; write \\\\, or '...'"},
    {"block sequence entries are not allowed in this context",
     "a list begins on a line of its own, below its key"},
    {"mapping keys are not allowed in this context",
     "text that begins with ? needs quotes"},
    {"did not find expected comment or line break",
     "only the end of the line may follow | or >"},
    {"did not find expected <document start>",
     "text behind the end; check the indentation"},
    {"did not find expected node content",
     "a value is missing here, or begins with a sign and needs quotes"},
    {"control characters are not allowed", "a control character; remove it"},
};

/* The line of the text that an offset is in. */
static const char *
line_of(const struct yaml_reader *r, size_t offset, size_t *len)
{
    size_t from = offset < r->len ? offset : r->len, end = from;

    while (from > 0 && r->text[from - 1] != '\n')
        from--;
    while (end < r->len && r->text[end] != '\n' && r->text[end] != '\r')
        end++;
    *len = end - from;
    return r->text + from;
}

/* Whether the line is key:value, which is no key without a blank. */
static bool
lacks_blank(const char *line, size_t len)
{
    size_t i = 0, from;

    while (i < len && strchr(" -", line[i]))
        i++;
    from = i;
    while (i < len &&
           (isalnum((unsigned char)line[i]) || strchr("_-", line[i])))
        i++;
    return i > from && i + 1 < len && line[i] == ':' && line[i + 1] != ' ' &&
           line[i + 1] != '/' && line[i + 1] != '\t';
}

/* "key: a: b", or a key below a value, or below a line without a blank. */
static const char *
colon_words(const struct yaml_reader *r, yaml_mark_t mark)
{
    size_t len, above_len;
    const char *line = line_of(r, mark.index, &len);
    const char *above =
        line > r->text ? line_of(r, (size_t)(line - r->text) - 1, &above_len)
                       : NULL;

    if (memmem(line, mark.column < len ? mark.column : len, ": ", 2))
        return "text with \": \" in it needs quotes: key: \"a: b\"";
    if (above && lacks_blank(above, above_len))
        return "the line above lacks a blank behind its colon; write key: "
               "value";
    return "this key belongs to no map; check its indentation and the line "
           "above";
}

/* A sign that no plain text begins with. */
static void
sign_words(const struct yaml_reader *r, yaml_mark_t mark, char *out,
           size_t size)
{
    char c = mark.index < r->len ? r->text[mark.index] : ' ';

    if (c == '\t')
        (void)snprintf(out, size, "a tab; indent with blanks");
    else
        (void)snprintf(out, size, "text that begins with %c needs quotes", c);
}

/* Whether the parser took text for an alias, an anchor, a tag or a directive.
 */
static bool
begins_with_sign(const yaml_parser_t *p)
{
    return p->context &&
           (strstr(p->context, "alias") || strstr(p->context, "anchor") ||
            strstr(p->context, "tag") || strstr(p->context, "directive"));
}

static void
parser_words(const struct yaml_reader *r, const char *problem, yaml_mark_t mark,
             char *out, size_t size)
{
    const char *words =
        "this cannot be read as YAML; check indentation and quotes";

    if (begins_with_sign(&r->parser) ||
        strcmp(problem, "found character that cannot start any token") == 0) {
        sign_words(r, mark, out, size);
        return;
    }
    if (strstr(problem, "tab character"))
        words = "a tab; indent with blanks";
    if (strcmp(problem, "mapping values are not allowed in this context") == 0)
        words = colon_words(r, mark);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        if (strcmp(problem, faults[i].problem) == 0)
            words = faults[i].words;
    (void)snprintf(out, size, "%s", words);
}

/* An invalid byte has no line and column, only an offset. */
static yaml_mark_t
mark_of_offset(const struct yaml_reader *r, size_t offset)
{
    yaml_mark_t mark = {0};

    for (size_t i = 0; i < offset && i < r->len; i++) {
        mark.column++;
        if (r->text[i] == '\n') {
            mark.line++;
            mark.column = 0;
        }
    }
    return mark;
}

static int
parser_error(const struct yaml_reader *r, struct err *e)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "";
    yaml_mark_t mark = p->problem_mark;
    char text[256];

    if (p->error == YAML_READER_ERROR)
        return fail_at(r, mark_of_offset(r, p->problem_offset), e,
                       strstr(problem, "control")
                           ? "a control character; remove it"
                           : "a byte that is not text; save it as UTF-8");
    /* Of a key without a colon the parser notices only the next line. */
    if (begins_with_sign(p) || strcmp(problem, no_colon) == 0)
        mark = p->context_mark;
    parser_words(r, problem, mark, text, sizeof text);
    return fail_at(r, mark, e, text);
}

int
yaml_error(const char *name, const struct yaml_node *n, struct err *e,
           const char *fmt, ...)
{
    char text[sizeof e->msg];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(e, ERR_INVALID, "%s:%zu:%zu: %s", name, n->line, n->column,
                   text);
}

/* --- events --------------------------------------------------------------- */

/* Refuses what the present event may not have anywhere. */
static const char *
refused(const yaml_event_t *ev)
{
    static const char anchors[] =
        "text that begins with & or * needs quotes (anchors and aliases are "
        "not accepted)";
    static const char tags[] =
        "text that begins with ! needs quotes (tags are not accepted)";

    if (ev->type == YAML_ALIAS_EVENT ||
        (ev->type == YAML_SCALAR_EVENT && ev->data.scalar.anchor) ||
        (ev->type == YAML_SEQUENCE_START_EVENT &&
         ev->data.sequence_start.anchor) ||
        (ev->type == YAML_MAPPING_START_EVENT && ev->data.mapping_start.anchor))
        return anchors;
    if ((ev->type == YAML_SCALAR_EVENT && ev->data.scalar.tag) ||
        (ev->type == YAML_SEQUENCE_START_EVENT &&
         ev->data.sequence_start.tag) ||
        (ev->type == YAML_MAPPING_START_EVENT && ev->data.mapping_start.tag))
        return tags;
    if (ev->type == YAML_SCALAR_EVENT &&
        memchr(ev->data.scalar.value, '\0', ev->data.scalar.length))
        return "text contains a NUL; remove it";
    return NULL;
}

static int
next_event(struct yaml_reader *r, struct err *e)
{
    const char *fault;

    if (r->have)
        yaml_event_delete(&r->event);
    r->have = yaml_parser_parse(&r->parser, &r->event);
    if (!r->have)
        return parser_error(r, e);
    fault = refused(&r->event);
    return fault ? fail_at(r, r->event.start_mark, e, fault) : 0;
}

/* --- the tree ------------------------------------------------------------- */

static struct yaml_node *
node_new(struct yaml_reader *r, enum yaml_kind kind)
{
    struct yaml_node *n = mem_pool_alloc(r->pool, sizeof *n);

    n->kind = kind;
    n->line = r->event.start_mark.line + r->line;
    n->column = r->event.start_mark.column + 1;
    n->text = "";
    return n;
}

static struct yaml_node *
scalar_new(struct yaml_reader *r)
{
    struct yaml_node *n = node_new(r, YAML_SCALAR);

    n->text =
        mem_pool_strndup(r->pool, (const char *)r->event.data.scalar.value,
                         r->event.data.scalar.length);
    n->quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return n;
}

/* By text, then by order of appearance. */
static int
compare_keys(const void *a, const void *b)
{
    const struct yaml_node *x = *(const struct yaml_node *const *)a;
    const struct yaml_node *y = *(const struct yaml_node *const *)b;
    int order = strcmp(x->text, y->text);

    if (order)
        return order;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->column < y->column ? -1 : 1;
}

/* Sorted, because a map may have a hundred thousand keys. */
static int
check_keys(const struct yaml_reader *r, const struct yaml_node *map,
           struct err *e)
{
    const struct yaml_node **keys, *twice = NULL;
    size_t n = 0;

    if (map->n < 2)
        return 0;
    keys = mem_alloc(map->n * sizeof *keys);
    for (const struct yaml_node *v = map->first; v; v = v->next)
        keys[n++] = v->key;
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 1; i < n && !twice; i++)
        if (strcmp(keys[i - 1]->text, keys[i]->text) == 0)
            twice = keys[i];
    mem_free(keys);
    return twice ? yaml_error(r->name, twice, e, "%.60s: given twice; keep one",
                              twice->text)
                 : 0;
}

static int read_node(struct yaml_reader *r, unsigned depth,
                     struct yaml_node **out, struct err *e);

/* Reads the present key, then its value. */
static int
read_pair(struct yaml_reader *r, unsigned depth, struct yaml_node **out,
          struct err *e)
{
    struct yaml_node *key;

    if (r->event.type == YAML_MAPPING_START_EVENT)
        return fail_at(r, r->event.start_mark, e,
                       "a key must be plain text, and a value that begins "
                       "with {{ needs quotes; write key: value");
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail_at(r, r->event.start_mark, e,
                       "a key must be plain text; write key: value");
    key = scalar_new(r);
    if (next_event(r, e) < 0 || read_node(r, depth, out, e) < 0)
        return -1;
    (*out)->key = key;
    return 0;
}

static int
read_children(struct yaml_reader *r, unsigned depth, struct yaml_node *parent,
              struct err *e)
{
    struct yaml_node **end = &parent->first;
    yaml_event_type_t last = parent->kind == YAML_MAP ? YAML_MAPPING_END_EVENT
                                                      : YAML_SEQUENCE_END_EVENT;

    for (;;) {
        int rc;

        if (next_event(r, e) < 0)
            return -1;
        if (r->event.type == last)
            break;
        rc = parent->kind == YAML_MAP ? read_pair(r, depth, end, e)
                                      : read_node(r, depth, end, e);
        if (rc < 0)
            return -1;
        end = &(*end)->next;
        parent->n++;
    }
    return parent->kind == YAML_MAP ? check_keys(r, parent, e) : 0;
}

/* Reads the value that begins with the present event. */
static int
read_node(struct yaml_reader *r, unsigned depth, struct yaml_node **out,
          struct err *e)
{
    if (++r->n_nodes > YAML_MAX_NODES)
        return fail_at(r, r->event.start_mark, e,
                       "more values than are read; split the file");
    if (r->event.type == YAML_SCALAR_EVENT) {
        *out = scalar_new(r);
        return 0;
    }
    if (depth == YAML_MAX_DEPTH)
        return fail_at(r, r->event.start_mark, e, "nested too deeply");
    *out = node_new(r, r->event.type == YAML_MAPPING_START_EVENT ? YAML_MAP
                                                                 : YAML_LIST);
    return read_children(r, depth + 1, *out, e);
}

static int
read_document(struct yaml_reader *r, struct yaml_node **out, struct err *e)
{
    do {
        if (next_event(r, e) < 0)
            return -1;
        if (r->event.type == YAML_STREAM_END_EVENT) {
            *out = node_new(r, YAML_SCALAR);
            return 0;
        }
    } while (r->event.type == YAML_STREAM_START_EVENT ||
             r->event.type == YAML_DOCUMENT_START_EVENT);
    if (read_node(r, 0, out, e) < 0)
        return -1;
    do {
        if (next_event(r, e) < 0)
            return -1;
        if (r->event.type == YAML_DOCUMENT_START_EVENT)
            return fail_at(r, r->event.start_mark, e,
                           "a second document begins here; write one in a "
                           "file");
    } while (r->event.type != YAML_STREAM_END_EVENT);
    return 0;
}

int
yaml_parse_part(const char *name, const char *text, size_t len, size_t line,
                struct mem_pool *pool, const struct yaml_node **root,
                struct err *e)
{
    struct yaml_reader r = {
        .name = name, .text = text, .len = len, .line = line, .pool = pool};
    struct yaml_node *tree = NULL;
    int rc;

    if (len > YAML_MAX_BYTES)
        return err_set(e, ERR_INVALID, "%s: %zu bytes; at most 1 MiB is read",
                       name, len);
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        r.text += 3;
        r.len -= 3;
    }
    if (!yaml_parser_initialize(&r.parser))
        return err_set(e, ERR_BUG, "%s: no YAML parser", name);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text,
                                 r.len);
    rc = read_document(&r, &tree, e);
    if (r.have)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    if (rc == 0)
        *root = tree;
    return rc;
}

int
yaml_parse(const char *name, const char *text, size_t len,
           struct mem_pool *pool, const struct yaml_node **root, struct err *e)
{
    return yaml_parse_part(name, text, len, 1, pool, root, e);
}

/* --- look-ups ------------------------------------------------------------- */

const struct yaml_node *
yaml_get(const struct yaml_node *map, const char *key)
{
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (const struct yaml_node *v = map->first; v; v = v->next)
        if (strcmp(v->key->text, key) == 0)
            return v;
    return NULL;
}

bool
yaml_is_null(const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && !n->quoted &&
           (!*n->text || strcmp(n->text, "~") == 0 ||
            strcmp(n->text, "null") == 0);
}

const char *
yaml_kind_words(const struct yaml_node *n)
{
    switch (n->kind) {
    case YAML_SCALAR:
        return yaml_is_null(n) ? "nothing" : "text";
    case YAML_LIST:
        return "a list";
    case YAML_MAP:
        return "a map";
    }
    return "?";
}
