/*
 * Walks a table to write a plain struct as JSON, or to read parsed JSON into
 * one.
 */
#include "lib/model/codec_private.h"

#include "lib/base/log.h"
#include "lib/base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- base64 --------------------------------------------------------------- */

static json_t *
base64_from(const struct bytes *b)
{
    struct str out = {0};
    json_t *json;

    str_add_base64(&out, b->data, b->len);
    json = json_string(str_text(&out));
    str_free(&out);
    return json;
}

/* False if text is not base64 with its padding. */
static bool
base64_to(const char *text, size_t len, struct mem_pool *pool,
          struct bytes *out)
{
    static const char digits[] = STR_BASE64;
    size_t pad = 0, at = 0;
    uint8_t *data;

    *out = (struct bytes){0};
    if (len == 0)
        return true;
    if (len % 4 != 0)
        return false;
    while (pad < 2 && text[len - 1 - pad] == '=')
        pad++;
    data = mem_pool_alloc(pool, len / 4 * 3);
    for (size_t i = 0; i < len; i += 4) {
        uint32_t v = 0;

        for (size_t k = 0; k < 4; k++) {
            const char *d = NULL;

            if (i + k < len - pad)
                d = strchr(digits, text[i + k]);
            if (i + k < len - pad && (!d || !*d))
                return false;
            v = v << 6 | (d ? (uint32_t)(d - digits) : 0);
        }
        data[at++] = (uint8_t)(v >> 16);
        data[at++] = (uint8_t)(v >> 8);
        data[at++] = (uint8_t)v;
    }
    out->data = data;
    out->len = at - pad;
    return true;
}

/* --- plain struct to JSON ------------------------------------------------- */

static json_t *message_to_json(const struct codec_table *t, const void *msg);

static json_t *
text_to_json(const char *s)
{
    json_t *json = json_string(s);
    struct str clean = {0};

    if (json)
        return json;
    /* Only a struct filled by our own code can have text that is not UTF-8. */
    str_add_utf8(&clean, s, strlen(s));
    json = json_string(str_text(&clean));
    str_free(&clean);
    return json;
}

/* Writes one value; of kind message, field points to the message itself. */
static json_t *
value_to_json(const struct codec_row *row, const void *field)
{
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    double real;

    switch (row->kind) {
    case KIND_TEXT:
    case KIND_TOKEN:
        return text_to_json(codec_load_text(field));
    case KIND_BOOL:
        return json_boolean(*(const bool *)field);
    case KIND_INT32:
        memcpy(&i32, field, sizeof i32);
        return json_integer(i32);
    case KIND_UINT32:
        memcpy(&u32, field, sizeof u32);
        return json_integer(u32);
    case KIND_INT64:
    case KIND_UINT64: /* at most INT64_MAX: codec_table_check */
        memcpy(&i64, field, sizeof i64);
        return json_integer(i64);
    case KIND_DOUBLE:
        memcpy(&real, field, sizeof real);
        return json_real(real);
    case KIND_ENUM:
        memcpy(&u32, field, sizeof u32);
        return json_string(u32 < row->words->count ? row->words->words[u32]
                                                   : "");
    case KIND_BYTES:
        return base64_from(field);
    case KIND_MESSAGE:
        return message_to_json(row->sub, field);
    }
    return NULL;
}

static json_t *
pairs_to_json(const struct key_value *kv, size_t n)
{
    json_t *object = json_object();

    for (size_t i = 0; i < n; i++)
        (void)json_object_set_new(object, kv[i].key ? kv[i].key : "",
                                  text_to_json(kv[i].value ? kv[i].value : ""));
    return object;
}

/* NULL if the list is empty. */
static json_t *
list_to_json(const struct codec_row *row, const char *msg)
{
    const char *items = codec_load_ptr(msg + row->offset);
    size_t n = codec_load_count(msg + row->n_offset);
    size_t size = codec_element_size(row);
    json_t *array;

    if (n == 0)
        return NULL;
    if (row->kind == KIND_MESSAGE && row->sub->pairs)
        return pairs_to_json((const struct key_value *)(const void *)items, n);
    array = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(array,
                                    value_to_json(row, items + i * size));
    return array;
}

/* Whether a field that is not a list has its default value, as in proto3. */
static bool
is_absent(const struct codec_row *row, const void *field)
{
    static const char zero[sizeof(struct bytes)];
    struct bytes b;

    switch (row->kind) {
    case KIND_TEXT:
    case KIND_TOKEN:
        return *codec_load_text(field) == '\0';
    case KIND_BOOL:
        return !*(const bool *)field;
    case KIND_INT32:
    case KIND_UINT32:
    case KIND_ENUM:
        return memcmp(field, zero, sizeof(int32_t)) == 0;
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_DOUBLE:
        return memcmp(field, zero, sizeof(int64_t)) == 0;
    case KIND_BYTES:
        memcpy(&b, field, sizeof b);
        return b.len == 0;
    case KIND_MESSAGE:
        return codec_load_ptr(field) == NULL;
    }
    return true;
}

static json_t *
message_to_json(const struct codec_table *t, const void *msg)
{
    json_t *object = json_object();

    for (size_t i = 0; i < t->n_rows; i++) {
        const struct codec_row *row = &t->rows[i];
        const char *field = (const char *)msg + row->offset;
        json_t *value = NULL;

        if (row->many)
            value = list_to_json(row, msg);
        else if (!is_absent(row, field))
            value = value_to_json(
                row, row->kind == KIND_MESSAGE ? codec_load_ptr(field) : field);
        if (value)
            (void)json_object_set_new(object, row->name, value);
    }
    return object;
}

json_t *
codec_to_json(enum codec_type type, const void *msg)
{
    return message_to_json(codec_table(type), msg);
}

json_t *
codec_schema(const char *name)
{
    return json_pack("{s:o}", "schema", json_sprintf("shunt.%s/1", name));
}

/* --- JSON to plain struct ------------------------------------------------- */

struct json_reader {
    struct mem_pool *pool;
    bool by_hand; /* durations and sizes may be text */
    codec_unknown_fn *unknown;
    void *ctx;
    struct err *e;
};

static int read_message(const struct json_reader *r,
                        const struct codec_path *at,
                        const struct codec_table *t, const json_t *json,
                        void *msg);

static const char *
type_name(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

static int
wrong_type(const struct json_reader *r, const struct codec_path *at,
           const json_t *json, const char *wanted)
{
    return codec_fail(at, r->e, "is %s; write %s", type_name(json), wanted);
}

static int
read_text(const struct json_reader *r, const struct codec_path *at,
          const json_t *json, void *field)
{
    const char *s = json_string_value(json);

    if (!s)
        return wrong_type(r, at, json, "a string");
    if (strlen(s) != json_string_length(json))
        return codec_fail(at, r->e, "a NUL character at byte %zu; remove it",
                          strlen(s));
    codec_store_ptr(field,
                    mem_pool_strndup(r->pool, s, json_string_length(json)));
    return 0;
}

/* Durations and sizes as people write them. A duration needs its unit: a bare
 * number would be seconds in text and milliseconds without the quotes. */
static int
read_quantity(const struct json_reader *r, const struct codec_path *at,
              const struct codec_row *row, const char *text, uint64_t *v)
{
    bool unit = *text && strspn(text, "0123456789.") < strlen(text);

    if (str_ends_with(row->name, "_bytes")) {
        if (str_to_bytes(text, v))
            return 0;
        return codec_fail(
            at, r->e, "\"%s\" is not a size; write 512, \"64K\" or \"1.5G\"",
            LOG_TEXT(text));
    }
    if (unit && str_to_ms(text, v))
        return 0;
    return codec_fail(
        at, r->e,
        "\"%s\" is not a duration; write 600000 (milliseconds) or "
        "\"10m\"",
        LOG_TEXT(text));
}

static int
read_integer(const struct json_reader *r, const struct codec_path *at,
             const struct codec_row *row, const json_t *json, int64_t least,
             int64_t most, int64_t *v)
{
    bool quantity =
        r->by_hand && row->kind == KIND_UINT64 &&
        (str_ends_with(row->name, "_ms") || str_ends_with(row->name, "_bytes"));

    if (quantity && json_is_string(json)) {
        uint64_t u;

        if (read_quantity(r, at, row, json_string_value(json), &u) < 0)
            return -1;
        *v = (int64_t)u; /* at most INT64_MAX, by the readers in str */
        return 0;
    }
    if (!json_is_integer(json))
        return wrong_type(r, at, json,
                          !quantity ? "an integer"
                          : str_ends_with(row->name, "_ms")
                              ? "milliseconds or a duration such as \"10m\""
                              : "bytes or a size such as \"64M\"");
    *v = json_integer_value(json);
    if (*v < least || *v > most)
        return codec_fail(at, r->e,
                          "%" PRId64 " is out of range; write %" PRId64
                          " to %" PRId64,
                          *v, least, most);
    return 0;
}

static int
read_number(const struct json_reader *r, const struct codec_path *at,
            const struct codec_row *row, const json_t *json, void *field)
{
    int64_t v = 0;

    if (row->kind == KIND_INT32) {
        int32_t i;

        if (read_integer(r, at, row, json, INT32_MIN, INT32_MAX, &v) < 0)
            return -1;
        i = (int32_t)v;
        memcpy(field, &i, sizeof i);
    } else if (row->kind == KIND_UINT32) {
        uint32_t u;

        if (read_integer(r, at, row, json, 0, UINT32_MAX, &v) < 0)
            return -1;
        u = (uint32_t)v;
        memcpy(field, &u, sizeof u);
    } else {
        int64_t least = row->kind == KIND_UINT64 ? 0 : INT64_MIN;

        if (read_integer(r, at, row, json, least, INT64_MAX, &v) < 0)
            return -1;
        memcpy(field, &v, sizeof v);
    }
    return 0;
}

static int
read_enum(const struct json_reader *r, const struct codec_path *at,
          const struct codec_row *row, const json_t *json, void *field)
{
    const struct codec_words *w = row->words;
    const char *s = json_string_value(json);
    struct str list = {0};

    for (uint32_t i = 0; s && i < w->count; i++) {
        if (strcmp(s, w->words[i]) == 0) {
            memcpy(field, &i, sizeof i);
            return 0;
        }
    }
    for (uint32_t i = 1; i < w->count; i++)
        str_addf(&list, "%s%s", i == 1 ? "" : ", ", w->words[i]);
    if (s)
        codec_fail(at, r->e, "\"%s\" is unknown; write one of %s", LOG_TEXT(s),
                   str_text(&list));
    else
        codec_fail(at, r->e, "is %s; write one of %s", type_name(json),
                   str_text(&list));
    str_free(&list);
    return -1;
}

static int
read_bytes(const struct json_reader *r, const struct codec_path *at,
           const json_t *json, void *field)
{
    struct bytes b;

    if (!json_is_string(json))
        return wrong_type(r, at, json, "base64 text");
    if (!base64_to(json_string_value(json), json_string_length(json), r->pool,
                   &b))
        return codec_fail(at, r->e, "not base64");
    memcpy(field, &b, sizeof b);
    return 0;
}

/* Reads one value; of kind message, field is the struct to fill. */
static int
read_value(const struct json_reader *r, const struct codec_path *at,
           const struct codec_row *row, const json_t *json, void *field)
{
    double real;

    switch (row->kind) {
    case KIND_TEXT:
    case KIND_TOKEN:
        return read_text(r, at, json, field);
    case KIND_BOOL:
        if (!json_is_boolean(json))
            return wrong_type(r, at, json, "true or false");
        *(bool *)field = json_is_true(json);
        return 0;
    case KIND_INT32:
    case KIND_UINT32:
    case KIND_INT64:
    case KIND_UINT64:
        return read_number(r, at, row, json, field);
    case KIND_DOUBLE:
        if (!json_is_number(json))
            return wrong_type(r, at, json, "a number");
        real = json_number_value(json);
        memcpy(field, &real, sizeof real);
        return 0;
    case KIND_ENUM:
        return read_enum(r, at, row, json, field);
    case KIND_BYTES:
        return read_bytes(r, at, json, field);
    case KIND_MESSAGE:
        return read_message(r, at, row->sub, json, field);
    }
    return 0;
}

static int
read_pairs(const struct json_reader *r, const struct codec_path *up,
           const struct codec_row *row, const json_t *json, char *msg)
{
    size_t n = 0;
    struct key_value *kv;
    const char *key;
    json_t *value;

    if (!json_is_object(json))
        return wrong_type(r, up, json, "an object such as {\"NAME\": \"x\"}");
    kv = mem_pool_alloc(r->pool, json_object_size(json) * sizeof *kv);
    /* Iterating changes nothing, but jansson's macro takes a mutable value. */
    json_object_foreach((json_t *)json, key, value)
    {
        struct codec_path at = {up, key, CODEC_NO_INDEX};

        kv[n].key = mem_pool_strdup(r->pool, key);
        if (read_text(r, &at, value, &kv[n].value) < 0)
            return -1;
        n++;
    }
    codec_store_ptr(msg + row->offset, kv);
    codec_store_count(msg + row->n_offset, n);
    return 0;
}

static int
read_list(const struct json_reader *r, struct codec_path *at,
          const struct codec_row *row, const json_t *json, char *msg)
{
    size_t n = json_array_size(json), size = codec_element_size(row);
    char *items;

    if (row->kind == KIND_MESSAGE && row->sub->pairs)
        return read_pairs(r, at, row, json, msg);
    if (!json_is_array(json))
        return wrong_type(r, at, json, "an array");
    if (n > row->count)
        return codec_fail(at, r->e, "%zu elements, at most %zu; split it up", n,
                          row->count);
    items = mem_pool_alloc(r->pool, n * size);
    for (size_t i = 0; i < n; i++) {
        at->index = i;
        if (read_value(r, at, row, json_array_get(json, i), items + i * size) <
            0)
            return -1;
    }
    codec_store_ptr(msg + row->offset, items);
    codec_store_count(msg + row->n_offset, n);
    return 0;
}

static int
read_field(const struct json_reader *r, const struct codec_path *up,
           const struct codec_row *row, const json_t *json, char *msg)
{
    struct codec_path at = {up, row->name, CODEC_NO_INDEX};
    void *field = msg + row->offset;

    if (row->many)
        return read_list(r, &at, row, json, msg);
    if (row->kind == KIND_MESSAGE) {
        field = mem_pool_alloc(r->pool, row->sub->size);
        codec_table_init(row->sub, field);
        codec_store_ptr(msg + row->offset, field);
    }
    return read_value(r, &at, row, json, field);
}

static const struct codec_row *
find_row(const struct codec_table *t, const char *name)
{
    for (size_t i = 0; i < t->n_rows; i++)
        if (strcmp(t->rows[i].name, name) == 0)
            return &t->rows[i];
    return NULL;
}

static void
report_unknown(const struct json_reader *r, const struct codec_path *up,
               const struct codec_table *t, const json_t *json)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)json, key, value)
    {
        struct codec_path at = {up, key, CODEC_NO_INDEX};
        struct str path = {0};

        if (find_row(t, key))
            continue;
        codec_path_text(&at, &path);
        r->unknown(r->ctx, str_text(&path));
        str_free(&path);
    }
}

static int
read_message(const struct json_reader *r, const struct codec_path *at,
             const struct codec_table *t, const json_t *json, void *msg)
{
    codec_table_init(t, msg);
    if (t->shorthand && json_is_string(json))
        return read_field(r, at, find_row(t, t->shorthand), json, msg);
    if (!json_is_object(json))
        return wrong_type(r, at, json,
                          t->shorthand ? "an object or a string" : "an object");
    for (size_t i = 0; i < t->n_rows; i++) {
        const json_t *value = json_object_get(json, t->rows[i].name);

        if (value && !json_is_null(value) &&
            read_field(r, at, &t->rows[i], value, msg) < 0)
            return -1;
    }
    if (r->unknown)
        report_unknown(r, at, t, json);
    return 0;
}

int
codec_table_from_json(const struct codec_table *t, bool by_hand,
                      const json_t *json, struct mem_pool *pool, void *msg,
                      codec_unknown_fn *unknown, void *ctx, struct err *e)
{
    struct json_reader r = {pool, by_hand, unknown, ctx, e};
    struct codec_path root = {NULL, NULL, CODEC_NO_INDEX};

    return read_message(&r, &root, t, json, msg);
}

int
codec_from_json(enum codec_type type, const json_t *json, struct mem_pool *pool,
                void *msg, codec_unknown_fn *unknown, void *ctx, struct err *e)
{
    const struct codec_table *t = codec_table(type);

    if (codec_table_from_json(t, type == CODEC_TASK, json, pool, msg, unknown,
                              ctx, e) == 0 &&
        codec_table_check(t, msg, e) == 0)
        return 0;
    memset(msg, 0, t->size);
    return -1;
}
