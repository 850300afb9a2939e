/*
 * Reads typed values from the tree and words messages with their position.
 */
#include "gateways/formats/formats_private.h"

#include "lib/base/str.h"
#include "lib/model/codec.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SHORT_BYTES = 60 };

/* --- messages ------------------------------------------------------------- */

int
formats_fail(const struct import_text *s, const struct yaml_node *at,
             const char *fmt, ...)
{
    char text[sizeof s->e->msg];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return yaml_error(s->name, at, s->e, "%s", text);
}

void
formats_warn(struct import_text *s, const struct yaml_node *at, const char *fmt,
             ...)
{
    struct import *out = s->out;
    char text[512];
    va_list ap;

    if (out->n_warnings == FORMATS_WARNINGS_MAX)
        return;
    if (!out->warnings)
        out->warnings = mem_pool_alloc(s->pool, FORMATS_WARNINGS_MAX *
                                                    sizeof *out->warnings);
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    out->warnings[out->n_warnings++] = mem_pool_printf(
        s->pool, "%s:%zu:%zu: %s", s->name, at->line, at->column, text);
}

const char *
formats_short(const struct import_text *s, const char *text)
{
    size_t len = strlen(text);

    if (len <= SHORT_BYTES)
        return text;
    return mem_pool_strndup(s->pool, text,
                            str_utf8_cut(text, len, SHORT_BYTES));
}

const char *
formats_kind(const struct import_text *s, const struct yaml_node *n)
{
    if (n->kind == YAML_MAP && s->json)
        return "an object";
    if (n->kind == YAML_LIST && s->json)
        return "an array";
    if (n->kind != YAML_SCALAR || n->quoted || !s->json)
        return yaml_kind_words(n);
    if (yaml_is_null(n))
        return "null";
    return isalpha((unsigned char)*n->text) ? "true or false" : "a number";
}

const char *
formats_found(const struct import_text *s, const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && *n->text
               ? mem_pool_printf(s->pool, "'%s'", formats_short(s, n->text))
               : formats_kind(s, n);
}

int
formats_expected(const struct import_text *s, const struct yaml_node *at,
                 const char *key, const char *what)
{
    return formats_fail(s, at, "%s: expected %s, found %s", key, what,
                        formats_kind(s, at));
}

int
formats_refuse(const struct import_text *s, const struct yaml_node *map,
               const char *key, const char *text, const char *fault)
{
    return formats_fail(s, yaml_get(map, key), "%s: '%s' %s", key,
                        formats_short(s, text), fault);
}

/* --- typed values --------------------------------------------------------- */

const struct yaml_node *
formats_get(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *v = yaml_get(map, key);

    return v && !yaml_is_null(v) ? v : NULL;
}

/* Whether n is text; null in a list is not. */
static bool
is_text(const struct import_text *s, const struct yaml_node *v)
{
    return v->kind == YAML_SCALAR && (v->quoted || !s->json) &&
           !yaml_is_null(v);
}

/* Whether text is written in quotes that an editor made pretty. */
static bool
is_typographic(const char *text)
{
    return strncmp(text, "\u201c", 3) == 0 || strncmp(text, "\u2018", 3) == 0;
}

int
formats_text(const struct import_text *s, const struct yaml_node *map,
             const char *key, const char **out)
{
    const struct yaml_node *v = formats_get(map, key);

    *out = "";
    if (!v)
        return 0;
    if (!is_text(s, v))
        return formats_expected(s, v, key, "text");
    if (!v->quoted && is_typographic(v->text))
        return formats_fail(s, v,
                            "%s: typographic quotes are part of the text; "
                            "write \", or none",
                            key);
    *out = v->text;
    return 0;
}

bool
formats_is_blank(const char *text)
{
    return !text[strspn(text, " \t\r\n")];
}

int
formats_need(const struct import_text *s, const struct yaml_node *map,
             const char *key, const char *remedy, const char **out)
{
    const struct yaml_node *v = yaml_get(map, key);

    if (formats_text(s, map, key, out) < 0)
        return -1;
    if (!formats_is_blank(*out))
        return 0;
    return formats_fail(s, v ? v : map, "%s: missing; write %s", key, remedy);
}

int
formats_flag(const struct import_text *s, const struct yaml_node *map,
             const char *key, bool *out)
{
    static const char *const words[] = {"false", "true", "no",
                                        "yes",   "off",  "on"};
    const struct yaml_node *v = formats_get(map, key);

    if (!v)
        return 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (v->kind == YAML_SCALAR && !v->quoted &&
            strcasecmp(v->text, words[i]) == 0) {
            *out = i % 2;
            return 0;
        }
    }
    return formats_fail(s, v, "%s: expected true or false, found %s", key,
                        formats_found(s, v));
}

int
formats_ms(const struct import_text *s, const struct yaml_node *map,
           const char *key, uint64_t *out)
{
    const struct yaml_node *v = formats_get(map, key);

    if (!v)
        return 0;
    if (v->kind == YAML_SCALAR && str_to_ms(v->text, out))
        return 0;
    return formats_fail(s, v,
                        "%s: expected a duration such as 30s or 10m, found %s",
                        key, formats_found(s, v));
}

int
formats_texts(const struct import_text *s, const struct yaml_node *map,
              const char *key, const char ***out, size_t *n)
{
    const struct yaml_node *list = formats_get(map, key), *v;
    const char **texts;
    size_t i = 0;

    *n = 0;
    if (!list)
        return 0;
    v = list->kind == YAML_LIST ? list->first : list;
    texts = mem_pool_alloc(s->pool, (list->n + 1) * sizeof *texts);
    for (; v; v = list->kind == YAML_LIST ? v->next : NULL) {
        if (!is_text(s, v))
            return formats_fail(s, v, "%s: expected %s, found %s", key,
                                list->kind == YAML_LIST ? "text"
                                                        : "a list of texts",
                                formats_kind(s, v));
        if (formats_is_blank(v->text))
            return formats_fail(s, v, "%s: empty; remove it", key);
        texts[i++] = v->text;
    }
    *out = texts;
    *n = i;
    return 0;
}

/* --- tags ----------------------------------------------------------------- */

void
formats_tag(struct import_text *s, struct task *t, const char *key,
            const char *value)
{
    struct key_value *tags;

    if (!*key || t->n_tags >= FORMATS_TAGS_MAX)
        return;
    for (size_t i = 0; i < t->n_tags; i++)
        if (strcmp(t->tags[i].key, key) == 0)
            return;
    /* There may be tags of the task's own, in an array of just their number. */
    tags = mem_pool_alloc(s->pool, (t->n_tags + 1) * sizeof *tags);
    if (t->n_tags)
        memcpy(tags, t->tags, t->n_tags * sizeof *tags);
    tags[t->n_tags++] = (struct key_value){key, value};
    t->tags = tags;
}

/* --- tasks ---------------------------------------------------------------- */

struct task
formats_empty(const char *name)
{
    struct task t;

    codec_init(CODEC_TASK, &t);
    t.name = name;
    return t;
}

struct task *
formats_tasks(struct import_text *s, const char *format, size_t n)
{
    struct task *tasks = mem_pool_alloc(s->pool, n * sizeof *tasks);
    const char *origin =
        strcmp(s->name, "-") ? mem_pool_strdup(s->pool, s->name) : "";

    for (size_t i = 0; i < n; i++) {
        codec_init(CODEC_TASK, &tasks[i]);
        tasks[i].format = format;
        tasks[i].origin = origin;
    }
    s->out->format = format;
    s->out->tasks = tasks;
    s->out->n_tasks = n;
    return tasks;
}

const char *
formats_base_name(const struct import_text *s)
{
    static const char *const endings[] = {".delegated", ".md",   ".markdown",
                                          ".json",      ".yaml", ".yml"};
    const char *slash = strrchr(s->name, '/');
    const char *name = slash ? slash + 1 : s->name;
    size_t len = strlen(name);

    if (strcmp(name, "-") == 0)
        return "";
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t end = strlen(endings[i]);

        if (len > end && strncmp(name + len - end, endings[i], end) == 0)
            len -= end;
    }
    return mem_pool_strndup(s->pool, name,
                            str_utf8_cut(name, len, FORMATS_TAG_BYTES));
}

/* The value at a path such as steps[2].kind, or the last part that exists. */
static const struct yaml_node *
follow(const struct yaml_node *n, const char *path)
{
    const struct yaml_node *next;

    for (;;) {
        if (*path == '[') {
            size_t i = 0;

            for (path++; isdigit((unsigned char)*path) && i < 100000; path++)
                i = i * 10 + (size_t)(*path - '0');
            path += *path == ']';
            next = n->kind == YAML_LIST ? n->first : NULL;
            for (; next && i > 0; i--)
                next = next->next;
        } else {
            size_t len;

            path += *path == '.';
            len = strcspn(path, ".[: ");
            next = n->kind == YAML_MAP ? n->first : NULL;
            while (next && (strlen(next->key->text) != len ||
                            memcmp(next->key->text, path, len) != 0))
                next = next->next;
            path += len;
        }
        if (!next)
            return n;
        n = next;
    }
}

const struct yaml_node *
formats_key_at(const struct yaml_node *map, const char *path)
{
    const struct yaml_node *n = follow(map, path);

    return n->key ? n->key : n;
}

int
formats_place(const struct import_text *s, const struct yaml_node *map)
{
    return formats_fail(s, follow(map, s->e->msg), "%s", s->e->msg);
}

int
formats_check(const struct import_text *s, const struct yaml_node *map,
              const struct task *t)
{
    return task_check(t, s->e) < 0 ? formats_place(s, map) : 0;
}

void
formats_batch(struct import_text *s, const char *name)
{
    struct import *out = s->out;
    struct batch_ref *refs =
        mem_pool_alloc(s->pool, out->n_tasks * sizeof *refs);

    out->linked = true;
    for (size_t i = 0; i < out->n_tasks; i++) {
        refs[i] = (struct batch_ref){.id = "",
                                     .name = name,
                                     .index = (uint32_t)i + 1,
                                     .size = (uint32_t)out->n_tasks,
                                     .branch = ""};
        out->tasks[i].batch = &refs[i];
    }
}

void
formats_after(struct import_text *s, size_t i, size_t j)
{
    struct task *t = &s->out->tasks[i];
    const char **after;

    if (!(t->n_after & (t->n_after - 1))) { /* full: double it */
        after = mem_pool_alloc(s->pool, (2 * t->n_after + 1) * sizeof *after);
        if (t->n_after)
            memcpy(after, t->after, t->n_after * sizeof *after);
        t->after = after;
    }
    t->after[t->n_after++] = mem_pool_printf(s->pool, "%zu", j + 1);
}
