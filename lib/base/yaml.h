/*
 * yaml - parses YAML from outside to a bounded tree with lines and columns.
 *
 * One document, in UTF-8, with or without a BOM, with LF or CRLF. Refused, with
 * file, line and column: duplicate keys, keys that are not scalars,
 * anchors and aliases, tags, NULs, more than one document, more than
 * YAML_MAX_BYTES, YAML_MAX_NODES or YAML_MAX_DEPTH. A merge key (<<) is a key
 * like any other.
 *
 * Nothing is converted: `1.10`, `yes` and `~` stay text; the reader of a key
 * decides what they mean.
 *
 * Thread: any; a pool belongs to one thread at a time.
 */
#ifndef LIB_BASE_YAML_H
#define LIB_BASE_YAML_H

#include "lib/base/err.h"
#include "lib/base/mem.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    YAML_MAX_BYTES = 1024 * 1024,
    YAML_MAX_NODES = 200 * 1000,
    YAML_MAX_DEPTH = 32,
};

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

/* One value. first is the list of what a list or map holds, in the order of the
 * text; in a map each value has its key. */
struct yaml_node {
    enum yaml_kind kind;
    size_t line, column;         /* of its beginning, from 1 */
    const char *text;            /* of a scalar; else "" */
    bool quoted;                 /* a quoted scalar is always text */
    const struct yaml_node *key; /* a scalar; NULL outside of maps */
    struct yaml_node *first, *next;
    size_t n; /* number of values in it */
};

/*
 * Parses text; name (a path, "-") appears in errors: "name:line:column: what is
 * wrong; the remedy". The tree is in pool and does not refer to text. Text with
 * only blanks and comments gives a null scalar.
 */
int yaml_parse(const char *name, const char *text, size_t len,
               struct mem_pool *pool, const struct yaml_node **root,
               struct err *e);

/* As yaml_parse, for a part of a larger text that begins at that line. */
int yaml_parse_part(const char *name, const char *text, size_t len, size_t line,
                    struct mem_pool *pool, const struct yaml_node **root,
                    struct err *e);

/* The value of a key, NULL if it has none or map is no map (or NULL). */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* Whether it is "key:" without a value, ~ or null, which count as absent. */
bool yaml_is_null(const struct yaml_node *n);

/* The kind in words, for "expected text, found a list". */
const char *yaml_kind_words(const struct yaml_node *n);

/* "name:line:column: ..." with the place of n, ERR_INVALID; returns -1. */
int yaml_error(const char *name, const struct yaml_node *n, struct err *e,
               const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
