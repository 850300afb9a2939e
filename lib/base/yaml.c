/*
 * Builds the tree from libyaml's events, refuses what yaml.h lists as each
 * event arrives, and puts libyaml's error messages into plain words.
 */
#include "lib/base/yaml.h"

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

/* The parser's messages, and the mistakes that usually cause them. */
static const struct {
    const char *problem, *remedy;
} remedies[] = {
    {"mapping values are not allowed in this context",
     "text with \": \" in it needs quotes: key: \"a: b\""},
    {"found character that cannot start any token",
     "indent with blanks, not tabs; text that begins with @ ` or % needs "
     "quotes"},
    {"could not find expected ':'", "write key: value"},
    {"did not find expected key",
     "check the indentation; text with quotes in it needs quotes around it"},
    {"did not find expected '-' indicator", "check the indentation"},
    {"did not find expected ',' or ']'", "close the list with ]"},
    {"did not find expected ',' or '}'", "close the map with }"},
    {"found unexpected end of stream", "close the quotes"},
};

static const char *
remedy_of(const char *problem)
{
    for (size_t i = 0; i < sizeof remedies / sizeof *remedies; i++)
        if (strcmp(problem, remedies[i].problem) == 0)
            return remedies[i].remedy;
    return NULL;
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
    const char *problem = p->problem ? p->problem : "no YAML";
    const char *remedy = remedy_of(problem);
    yaml_mark_t mark = p->problem_mark;
    char text[256];

    if (p->error == YAML_READER_ERROR) {
        mark = mark_of_offset(r, p->problem_offset);
        remedy = "write the file in UTF-8";
    }
    (void)snprintf(text, sizeof text, "%s%s%s", problem, remedy ? "; " : "",
                   remedy ? remedy : "");
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
        "anchors and aliases are not accepted; write the text out, or quote "
        "text that begins with & or *";
    static const char tags[] =
        "tags are not accepted; quote text that begins with !";

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
