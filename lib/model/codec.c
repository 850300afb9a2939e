/*
 * What the two forms of a message have in common: empty messages, the checks of
 * each field against its row, errors that name the field, limits on JSON text
 * before it is parsed, tasks.in, and messages that hold several.
 */
#include "lib/model/codec_private.h"

#include "lib/base/json_fault.h"
#include "lib/base/log.h"
#include "lib/model/subject.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- fields by offset ----------------------------------------------------- */

void *
codec_load_ptr(const void *field)
{
    void *p;

    memcpy(&p, field, sizeof p);
    return p;
}

void
codec_store_ptr(void *field, const void *p)
{
    memcpy(field, &p, sizeof p);
}

size_t
codec_load_count(const void *field)
{
    size_t n;

    memcpy(&n, field, sizeof n);
    return n;
}

void
codec_store_count(void *field, size_t n)
{
    memcpy(field, &n, sizeof n);
}

/* Code that fills a struct may leave text NULL. */
const char *
codec_load_text(const void *field)
{
    const char *s = codec_load_ptr(field);

    return s ? s : "";
}

/* --- errors --------------------------------------------------------------- */

void
codec_path_text(const struct codec_path *at, struct str *out)
{
    if (at->up)
        codec_path_text(at->up, out);
    if (at->name)
        str_addf(out, "%s%s", out->len ? "." : "",
                 *at->name ? LOG_TEXT(at->name) : "\"\"");
    if (at->index != CODEC_NO_INDEX)
        str_addf(out, "[%zu]", at->index);
}

int
codec_fail(const struct codec_path *at, struct err *e, const char *fmt, ...)
{
    struct str path = {0};
    char text[sizeof e->msg];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    codec_path_text(at, &path);
    err_set(e, ERR_INVALID, "%s%s%s", str_text(&path), path.len ? ": " : "",
            text);
    str_free(&path);
    return -1;
}

/* --- empty messages ------------------------------------------------------- */

void
codec_table_init(const struct codec_table *t, void *msg)
{
    memset(msg, 0, t->size);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct codec_row *row = &t->rows[i];

        if ((row->kind == KIND_TEXT || row->kind == KIND_TOKEN) && !row->many)
            codec_store_ptr((char *)msg + row->offset, "");
    }
}

void
codec_init(enum codec_type type, void *msg)
{
    codec_table_init(codec_table(type), msg);
}

/* --- checks --------------------------------------------------------------- */

struct codec_check {
    size_t elements; /* of all lists so far */
    size_t bytes;    /* a lower bound of the encoded size */
    struct err *e;
};

/* The most a field takes besides its text: tag, and length or number. */
enum { FIELD_COST = 16 };

/* Length of the leading part that is valid text. */
size_t
codec_clean_length(const char *s, size_t len)
{
    size_t at = 0, n;

    while (at < len) {
        unsigned char c = (unsigned char)s[at];

        if (c < 0x80) {
            if (c < 32 && c != '\n' && c != '\t' && c != '\r')
                break;
            at++;
            continue;
        }
        n = str_utf8_len(s + at, len - at);
        if (n == 0)
            break;
        at += n;
    }
    return at;
}

static int
check_text(struct codec_check *c, const struct codec_path *at,
           const struct codec_row *row, const char *s)
{
    size_t len = strlen(s), clean;

    c->bytes += len;
    if (len == 0)
        return row->required && !row->many ? codec_fail(at, c->e, "missing")
                                           : 0;
    if (row->kind == KIND_TOKEN) {
        if (subject_token_ok(s))
            return 0;
        return codec_fail(at, c->e,
                          "\"%s\" cannot be a name on the bus; use letters, "
                          "digits, _ and -, at most %d",
                          LOG_TEXT(s), SUBJECT_TOKEN_MAX);
    }
    if (len > row->most)
        return codec_fail(at, c->e, "longer than %zu bytes; %s", row->most,
                          row->most >= 65536 ? "put it in a file"
                                             : "shorten it");
    clean = codec_clean_length(s, len);
    if (clean == len)
        return 0;
    if ((unsigned char)s[clean] >= 0x80)
        return codec_fail(at, c->e,
                          "not UTF-8 at byte %zu; convert it to UTF-8", clean);
    return codec_fail(at, c->e,
                      "control character 0x%02x at byte %zu; only newline, tab "
                      "and carriage return may stand in text",
                      (unsigned char)s[clean], clean);
}

static int
check_enum(struct codec_check *c, const struct codec_path *at,
           const struct codec_row *row, const void *field)
{
    uint32_t v;

    memcpy(&v, field, sizeof v);
    if (v < row->words->count)
        return 0;
    return codec_fail(at, c->e,
                      "%" PRId32 " has no meaning here; its sender is newer "
                      "than this program",
                      (int32_t)v);
}

/* JSON and SQLite cannot hold a larger number. */
static int
check_u64(struct codec_check *c, const struct codec_path *at, const void *field)
{
    uint64_t v;

    memcpy(&v, field, sizeof v);
    if (v <= INT64_MAX)
        return 0;
    return codec_fail(at, c->e, "%" PRIu64 " is larger than %" PRId64, v,
                      INT64_MAX);
}

static int
check_double(struct codec_check *c, const struct codec_path *at,
             const void *field)
{
    double v;

    memcpy(&v, field, sizeof v);
    return isfinite(v) ? 0 : codec_fail(at, c->e, "not a finite number");
}

static int
check_bytes(struct codec_check *c, const struct codec_path *at,
            const struct codec_row *row, const void *field)
{
    struct bytes b;

    memcpy(&b, field, sizeof b);
    c->bytes += b.len;
    if (b.len <= row->most)
        return 0;
    return codec_fail(at, c->e, "longer than %zu bytes; shorten it", row->most);
}

static int check_message(struct codec_check *c, const struct codec_path *at,
                         const struct codec_table *t, const void *msg);

/* Checks one value; of kind message, field points to the message itself. */
static int
check_value(struct codec_check *c, const struct codec_path *at,
            const struct codec_row *row, const void *field)
{
    c->bytes += FIELD_COST;
    switch (row->kind) {
    case KIND_TEXT:
    case KIND_TOKEN:
        return check_text(c, at, row, codec_load_text(field));
    case KIND_ENUM:
        return check_enum(c, at, row, field);
    case KIND_UINT64:
        return check_u64(c, at, field);
    case KIND_DOUBLE:
        return check_double(c, at, field);
    case KIND_BYTES:
        return check_bytes(c, at, row, field);
    case KIND_MESSAGE:
        return check_message(c, at, row->sub, field);
    case KIND_BOOL:
    case KIND_INT32:
    case KIND_UINT32:
    case KIND_INT64:
        return 0;
    }
    return 0;
}

/* Size of one element of a list, in plain memory. */
size_t
codec_element_size(const struct codec_row *row)
{
    if (row->kind == KIND_MESSAGE)
        return row->sub->size;
    return row->kind == KIND_DOUBLE ? sizeof(double) : sizeof(char *);
}

static int
check_list(struct codec_check *c, struct codec_path *at,
           const struct codec_row *row, const char *msg)
{
    const char *items = codec_load_ptr(msg + row->offset);
    size_t n = codec_load_count(msg + row->n_offset);
    size_t size = codec_element_size(row);

    c->elements += n;
    if (n > row->count)
        return codec_fail(at, c->e, "%zu elements, at most %zu; split it up", n,
                          row->count);
    if (c->elements > CODEC_MAX_ELEMENTS)
        return codec_fail(at, c->e,
                          "more than %d list elements in all; split it up",
                          CODEC_MAX_ELEMENTS);
    for (size_t i = 0; i < n; i++) {
        at->index = i;
        if (check_value(c, at, row, items + i * size) < 0)
            return -1;
    }
    return 0;
}

static int
check_message(struct codec_check *c, const struct codec_path *up,
              const struct codec_table *t, const void *msg)
{
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct codec_row *row = &t->rows[i];
        struct codec_path at = {up, row->name, CODEC_NO_INDEX};
        const char *field = (const char *)msg + row->offset;
        int rc = 0;

        if (row->many)
            rc = check_list(c, &at, row, msg);
        else if (row->kind != KIND_MESSAGE)
            rc = check_value(c, &at, row, field);
        else if (codec_load_ptr(field))
            rc = check_value(c, &at, row, codec_load_ptr(field));
        else if (row->required)
            rc = codec_fail(&at, c->e, "missing");
        if (rc < 0)
            return -1;
    }
    return 0;
}

int
codec_table_check(const struct codec_table *t, const void *msg, struct err *e)
{
    struct codec_path root = {NULL, NULL, CODEC_NO_INDEX};
    struct codec_check c = {.e = e};

    return check_message(&c, &root, t, msg);
}

int
codec_check(enum codec_type type, const void *msg, struct err *e)
{
    const struct codec_table *t = codec_table(type);
    struct codec_path root = {NULL, NULL, CODEC_NO_INDEX};
    struct codec_check c = {.e = e};
    size_t size;

    if (check_message(&c, &root, t, msg) < 0)
        return -1;
    if (c.bytes <= t->most)
        return 0;
    size = codec_table_encoded(t, msg);
    if (size <= t->most)
        return 0;
    return err_set(e, ERR_INVALID,
                   "%s: %zu bytes in all, at most %zu; put large text in a "
                   "file",
                   t->name, size, t->most);
}

int
codec_decode(enum codec_type type, const void *data, size_t len,
             struct mem_pool *pool, void *msg, struct err *e)
{
    const struct codec_table *t = codec_table(type);

    if (codec_table_read(t, data, len, pool, msg, e) == 0 &&
        codec_table_check(t, msg, e) == 0)
        return 0;
    memset(msg, 0, t->size);
    return -1;
}

/* --- JSON text ------------------------------------------------------------ */

/* A position in a text. */
struct codec_place {
    size_t line, column; /* from 1; column counts characters */
};

static int
text_fail(const char *what, struct codec_place p, struct err *e,
          const char *why)
{
    return err_set(e, ERR_INVALID, "%s:%zu:%zu: %s", what, p.line, p.column,
                   why);
}

/*
 * Bounds the cost of parsing before anything is parsed: jansson would nest 2048
 * deep, and an array of a million empty arrays takes 100 MB.
 */
static int
scan_json(const char *what, const char *text, size_t len, struct err *e)
{
    struct codec_place p = {1, 0};
    size_t depth = 0, values = 0;
    bool quoted = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if ((c & 0xc0) != 0x80)
            p.column++;
        if (c == '\0')
            return text_fail(what, p, e, "a NUL byte; save the text as UTF-8");
        if (c == '\n')
            p = (struct codec_place){p.line + 1, 0};
        if (quoted) {
            if (c == '\\')
                i++, p.column++; /* the next character is escaped */
            quoted = c != '"';
            continue;
        }
        quoted = c == '"';
        if (c == '[' || c == '{') {
            values++;
            if (++depth > CODEC_MAX_JSON_DEPTH)
                return text_fail(what, p, e,
                                 "nested deeper than 64 levels; flatten it");
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if (c == ',') {
            values++;
        }
        if (values > CODEC_MAX_JSON_VALUES)
            return text_fail(what, p, e,
                             "more than 200000 values; split it up");
    }
    return 0;
}

/* Where a duplicate key begins, from where it ends. */
static int
twice_fail(const char *what, const char *text, const json_error_t *error,
           struct err *e)
{
    struct codec_place p = {(size_t)error->line, (size_t)error->column};
    size_t end = (size_t)error->position, from = end - 1;
    struct str key = {0};

    /* A quote after an odd number of backslashes is part of the key. */
    for (bool escaped = true; from > 0 && escaped;) {
        size_t slashes = 0;

        from--;
        while (slashes < from && text[from - slashes - 1] == '\\')
            slashes++;
        escaped = text[from] != '"' || slashes % 2;
    }
    for (size_t i = from + 1; i < end; i++)
        p.column -= (text[i] & 0xc0) != 0x80;
    str_add_printable(&key, text + from + 1,
                      str_utf8_cut(text + from + 1, end - from - 2, 60));
    str_addz(&key, ": given twice; keep one");
    (void)text_fail(what, p, e, str_text(&key));
    str_free(&key);
    return -1;
}

/* What is wrong in a text that jansson refused, in words of its author. */
static int
syntax_fail(const char *what, const char *text, size_t len,
            const json_error_t *error, struct err *e)
{
    struct codec_place p = {1, 1};
    struct json_fault fault;

    if (json_fault_find(text, len, &fault)) {
        for (size_t i = 0; i < fault.at; i++) {
            p.column += (text[i] & 0xc0) != 0x80;
            if (text[i] == '\n')
                p = (struct codec_place){p.line + 1, 1};
        }
        return text_fail(what, p, e, fault.message);
    }
    p = (struct codec_place){(size_t)error->line, (size_t)error->column};
    if (json_error_code(error) == json_error_numeric_overflow)
        return text_fail(what, p, e, "a number that is too large");
    if (json_error_code(error) == json_error_null_character)
        return text_fail(what, p, e, "\\u0000 inside text; remove it");
    if (json_error_code(error) == json_error_invalid_utf8)
        return text_fail(what, p, e,
                         "a byte that is not text; save it as UTF-8");
    return text_fail(what, p, e, "this is no JSON");
}

json_t *
codec_parse_json(const char *what, const void *data, size_t len, struct err *e)
{
    const char *text = data;
    json_error_t error;
    json_t *json;

    if (len > CODEC_MAX_JSON_BYTES) {
        err_set(e, ERR_INVALID,
                "%s: %zu bytes of JSON, at most %d; split it up", what, len,
                CODEC_MAX_JSON_BYTES);
        return NULL;
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if (scan_json(what, text, len, e) < 0)
        return NULL;
    json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (json)
        return json;
    if (json_error_code(&error) == json_error_duplicate_key) {
        (void)twice_fail(what, text, &error, e);
        return NULL;
    }
    (void)syntax_fail(what, text, len, &error, e);
    return NULL;
}
