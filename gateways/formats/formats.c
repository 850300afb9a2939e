#include "gateways/formats/formats_private.h"

#include "lib/codec.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* End of the JSON string that begins with the quote at i. */
static size_t
string_end(const struct source *s, size_t i)
{
    for (i++; i < s->len && s->text[i] != '"'; i++)
        if (s->text[i] == '\\')
            i++;
    return i;
}

static bool
is_key(const struct source *s, size_t from, size_t to, const char *key)
{
    size_t len = strlen(key);

    if (to - from - 1 != len || memcmp(s->text + from + 1, key, len) != 0)
        return false;
    for (to++; to < s->len && isspace((unsigned char)s->text[to]); to++)
        continue;
    return to < s->len && s->text[to] == ':';
}

size_t
formats_key_line(const struct source *s, const char *key)
{
    size_t line = 1;
    int depth = 0;

    for (size_t i = 0; i < s->len; i++) {
        char c = s->text[i];

        if (c == '\n')
            line++;
        else if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        else if (c == '"') {
            size_t end = string_end(s, i);

            if (end >= s->len)
                return 0;
            if (depth == 1 && is_key(s, i, end, key))
                return line;
            i = end; /* a string holds no bare newline */
        }
    }
    return 0;
}

void
formats_warn(struct source *s, const char *key, const char *fmt, ...)
{
    struct import *out = s->out;
    char text[256];
    size_t line;
    va_list ap;

    /* Before the line is looked for: that reads the text once for each key,
     * and a file may have a hundred thousand. */
    if (out->n_warnings == FORMATS_WARNINGS_MAX)
        return;
    line = key ? formats_key_line(s, key) : 0;
    if (!out->warnings)
        out->warnings = mem_pool_alloc(s->pool, FORMATS_WARNINGS_MAX *
                                                    sizeof *out->warnings);
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    out->warnings[out->n_warnings++] =
        line ? mem_pool_printf(s->pool, "%s:%zu: %s", s->name, line, text)
             : mem_pool_printf(s->pool, "%s: %s", s->name, text);
}

int
formats_key_error(const struct source *s, const char *key, struct err *e,
                  const char *fmt, ...)
{
    char text[256], top[64];
    size_t line;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)snprintf(top, sizeof top, "%.*s", (int)strcspn(key, "[."), key);
    line = formats_key_line(s, top);
    if (line)
        return err_set(e, ERR_INVALID, "%s:%zu: %s: %s", s->name, line, key,
                       text);
    return err_set(e, ERR_INVALID, "%s: %s: %s", s->name, key, text);
}

struct task *
formats_new_task(struct source *s, const char *format)
{
    struct task *t = mem_pool_alloc(s->pool, sizeof *t);

    codec_init(CODEC_TASK, t);
    t->format = format;
    if (strcmp(s->name, "-") != 0)
        t->origin = mem_pool_strdup(s->pool, s->name);
    s->out->format = format;
    s->out->tasks = t;
    s->out->n_tasks = 1;
    return t;
}

/* Which importer an object belongs to, by the keys only that one has. */
static int
read_object(struct source *s, const json_t *json, struct err *e)
{
    if (!json_is_object(json))
        return err_set(e, ERR_INVALID, "%s: expected a JSON object", s->name);
    if (json_object_get(json, "steps") || json_object_get(json, "prompt"))
        return formats_read_task_json(s, json, e);
    if (json_object_get(json, "script") || json_object_get(json, "kind"))
        return formats_read_job_json(s, json, e);
    return err_set(e, ERR_INVALID,
                   "%s: neither a job.json (write \"script\") nor a task "
                   "(write \"steps\" or \"prompt\")",
                   s->name);
}

/* Where the first thing to read stands, behind a BOM and blanks. */
static size_t
first_byte(const char *text, size_t len)
{
    size_t i = 0;

    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        i = 3;
    while (i < len && isspace((unsigned char)text[i]))
        i++;
    return i;
}

int
formats_read(const char *name, const void *data, size_t len,
             struct mem_pool *pool, struct import *out, struct err *e)
{
    struct source s = {
        .name = name, .text = data, .len = len, .pool = pool, .out = out};
    size_t first;
    json_t *json;
    int rc;

    *out = (struct import){.format = ""};
    if (len > FORMATS_MAX_BYTES)
        return err_set(e, ERR_INVALID, "%s: %zu bytes; at most 1 MiB is read",
                       name, len);
    first = len ? first_byte(data, len) : 0;
    if (first == len)
        return err_set(e, ERR_INVALID, "%s: empty; write a job.json or a task",
                       name);
    if (s.text[first] != '{')
        return err_set(e, ERR_INVALID,
                       "%s: not a format shunt knows; it reads job.json and "
                       "tasks in JSON, which begin with {",
                       name);
    json = codec_parse_json(name, data, len, e);
    if (!json)
        return -1;
    rc = read_object(&s, json, e);
    json_decref(json);
    if (rc < 0)
        *out = (struct import){.format = ""};
    return rc;
}
