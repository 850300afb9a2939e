/*
 * Builds a tree with positions from JSON.
 *
 * jansson gives no positions, but it keeps the order, and a text that it has
 * parsed is well formed: walking both side by side, this only has to step over
 * strings and words.
 */
#include "gateways/formats/formats_private.h"

#include <string.h>

struct json_walk {
    const struct import_text *s;
    const char *text;
    size_t len, at, line, column; /* column: from 1, counts characters */
};

static void
step(struct json_walk *w)
{
    if (w->text[w->at] == '\n') {
        w->line++;
        w->column = 1;
    } else if ((w->text[w->at] & 0xc0) != 0x80) {
        w->column++;
    }
    w->at++;
}

/* Skips blanks and the punctuation between values. */
static void
skip_to_value(struct json_walk *w)
{
    while (w->at < w->len && strchr(" \t\r\n,:", w->text[w->at]))
        step(w);
}

static void
skip_string(struct json_walk *w)
{
    for (step(w); w->at < w->len && w->text[w->at] != '"'; step(w))
        if (w->text[w->at] == '\\' && w->at + 1 < w->len)
            step(w);
    if (w->at < w->len)
        step(w);
}

static struct yaml_node *
node_new(struct json_walk *w, enum yaml_kind kind)
{
    struct yaml_node *n = mem_pool_alloc(w->s->pool, sizeof *n);

    skip_to_value(w);
    n->kind = kind;
    n->line = w->line;
    n->column = w->column;
    n->text = "";
    return n;
}

static struct yaml_node *
string_node(struct json_walk *w, const char *value)
{
    struct yaml_node *n = node_new(w, YAML_SCALAR);

    n->text = mem_pool_strdup(w->s->pool, value);
    n->quoted = true;
    skip_string(w);
    return n;
}

/* A number, true, false or null, as written. */
static struct yaml_node *
word_node(struct json_walk *w)
{
    struct yaml_node *n = node_new(w, YAML_SCALAR);
    size_t from = w->at;

    while (w->at < w->len && !strchr(" \t\r\n,:]}", w->text[w->at]))
        step(w);
    n->text = mem_pool_strndup(w->s->pool, w->text + from, w->at - from);
    return n;
}

static struct yaml_node *value_node(struct json_walk *w, const json_t *v);

/* Skips the bracket that ends a list or an object. */
static void
skip_end(struct json_walk *w)
{
    skip_to_value(w);
    if (w->at < w->len)
        step(w);
}

static struct yaml_node *
object_node(struct json_walk *w, const json_t *object)
{
    struct yaml_node *n = node_new(w, YAML_MAP), **end = &n->first;
    const char *key;
    json_t *v;

    step(w);
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        struct yaml_node *name = string_node(w, key);

        *end = value_node(w, v);
        (*end)->key = name;
        end = &(*end)->next;
        n->n++;
    }
    skip_end(w);
    return n;
}

static struct yaml_node *
list_node(struct json_walk *w, const json_t *list)
{
    struct yaml_node *n = node_new(w, YAML_LIST), **end = &n->first;

    step(w);
    for (; n->n < json_array_size(list); n->n++) {
        *end = value_node(w, json_array_get(list, n->n));
        end = &(*end)->next;
    }
    skip_end(w);
    return n;
}

static struct yaml_node *
value_node(struct json_walk *w, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return object_node(w, v);
    case JSON_ARRAY:
        return list_node(w, v);
    case JSON_STRING:
        return string_node(w, json_string_value(v));
    case JSON_INTEGER:
    case JSON_REAL:
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        break;
    }
    return word_node(w);
}

const struct yaml_node *
formats_json_tree(const struct import_text *s, const json_t *json)
{
    struct json_walk w = {
        .s = s, .text = s->text, .len = s->len, .line = 1, .column = 1};

    return value_node(&w, json);
}
