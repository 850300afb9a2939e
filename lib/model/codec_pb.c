/*
 * Walks a table to write a plain struct as protobuf, or to read protobuf into
 * one. Field numbers and types come from protobuf-c's descriptors; protobuf-c's
 * own structs are not used, as they would be a second copy of every message.
 */
#include "lib/model/codec_private.h"

#include "lib/base/mem.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* --- plain struct to protobuf --------------------------------------------- */

enum { VARINT_MOST = 10 };

static size_t
write_varint(uint64_t v, char out[VARINT_MOST])
{
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        out[n++] = (char)(uint8_t)(v | 0x80);
    out[n++] = (char)(uint8_t)v;
    return n;
}

static void
put_varint(struct str *out, uint64_t v)
{
    char bytes[VARINT_MOST];

    str_add(out, bytes, write_varint(v, bytes));
}

static void
put_tag(struct str *out, const ProtobufCFieldDescriptor *f, unsigned wire)
{
    put_varint(out, (uint64_t)f->id << 3 | wire);
}

static void
put_bytes(struct str *out, const ProtobufCFieldDescriptor *f, const void *data,
          size_t len)
{
    put_tag(out, f, WIRE_BYTES);
    put_varint(out, len);
    str_add(out, data, len);
}

/* Inserts the length of what was added since at in front of it. */
static void
put_length(struct str *out, size_t at)
{
    char bytes[VARINT_MOST];
    size_t len = out->len - at, head = write_varint(len, bytes);

    str_add(out, bytes, head); /* makes room */
    memmove(out->data + at + head, out->data + at, len);
    memcpy(out->data + at, bytes, head);
}

/* Writes text, repaired if readers would refuse it. */
static void
put_text(struct str *out, const struct codec_row *row,
         const ProtobufCFieldDescriptor *f, const char *s)
{
    size_t len = strlen(s);
    struct str clean = {0};

    if (!row->repair ||
        (len <= row->most && codec_clean_length(s, len) == len)) {
        put_bytes(out, f, s, len);
        return;
    }
    str_add_printable(&clean, s, len);
    put_bytes(out, f, clean.data,
              str_utf8_cut(clean.data, clean.len, row->most));
    str_free(&clean);
}

static void
put_double(struct str *out, double v)
{
    unsigned char bytes[8];
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(bits >> (8 * i));
    str_add(out, bytes, sizeof bytes);
}

static void put_message(struct str *out, const struct codec_table *t,
                        const void *msg);

static void
put_part(struct str *out, const struct codec_table *t,
         const ProtobufCFieldDescriptor *f, const void *msg)
{
    size_t at;

    put_tag(out, f, WIRE_BYTES);
    at = out->len;
    put_message(out, t, msg);
    put_length(out, at);
}

static uint64_t
number_at(const struct codec_row *row, const void *field)
{
    uint64_t v64;
    uint32_t v32;
    int32_t signed32;

    switch (row->kind) {
    case KIND_BOOL:
        return *(const bool *)field;
    case KIND_UINT32:
        memcpy(&v32, field, sizeof v32);
        return v32;
    case KIND_INT32:
    case KIND_ENUM: /* a negative number takes ten bytes */
        memcpy(&signed32, field, sizeof signed32);
        return (uint64_t)(int64_t)signed32;
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_DOUBLE:
    case KIND_TEXT:
    case KIND_TOKEN:
    case KIND_BYTES:
    case KIND_MESSAGE:
        break;
    }
    memcpy(&v64, field, sizeof v64);
    return v64;
}

/* A field that is absent, zero or empty is omitted. */
static void
put_one(struct str *out, const struct codec_row *row,
        const ProtobufCFieldDescriptor *f, const char *field)
{
    switch (row->kind) {
    case KIND_TEXT:
    case KIND_TOKEN:
        if (*codec_load_text(field))
            put_text(out, row, f, codec_load_text(field));
        break;
    case KIND_BYTES: {
        struct bytes b;

        memcpy(&b, field, sizeof b);
        if (b.len)
            put_bytes(out, f, b.data, b.len);
        break;
    }
    case KIND_MESSAGE:
        if (codec_load_ptr(field))
            put_part(out, row->sub, f, codec_load_ptr(field));
        break;
    case KIND_DOUBLE: {
        double v;

        memcpy(&v, field, sizeof v);
        if (v < 0 || v > 0 || v != v) {
            put_tag(out, f, WIRE_64);
            put_double(out, v);
        }
        break;
    }
    case KIND_BOOL:
    case KIND_INT32:
    case KIND_UINT32:
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_ENUM:
        if (number_at(row, field)) {
            put_tag(out, f, WIRE_VARINT);
            put_varint(out, number_at(row, field));
        }
        break;
    }
}

static void
put_list(struct str *out, const struct codec_row *row,
         const ProtobufCFieldDescriptor *f, const char *msg)
{
    const char *items = codec_load_ptr(msg + row->offset);
    size_t n = codec_load_count(msg + row->n_offset);
    size_t size = codec_element_size(row);

    if (row->kind == KIND_DOUBLE && n) {
        put_tag(out, f, WIRE_BYTES);
        put_varint(out, n * sizeof(double));
    }
    for (size_t i = 0; i < n; i++) {
        const char *item = items + i * size;

        if (row->kind == KIND_DOUBLE) {
            double v;

            memcpy(&v, item, sizeof v);
            put_double(out, v);
        } else if (row->kind == KIND_MESSAGE) {
            put_part(out, row->sub, f, item);
        } else {
            put_text(out, row, f, codec_load_text(item));
        }
    }
}

static void
put_message(struct str *out, const struct codec_table *t, const void *msg)
{
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct codec_row *row = &t->rows[i];
        const ProtobufCFieldDescriptor *f = &t->message->fields[i];

        if (row->many)
            put_list(out, row, f, msg);
        else
            put_one(out, row, f, (const char *)msg + row->offset);
    }
}

void
codec_encode(enum codec_type type, const void *msg, struct str *out)
{
    str_add(out, "", 0); /* an empty message has a buffer as well */
    put_message(out, codec_table(type), msg);
}

size_t
codec_table_encoded(const struct codec_table *t, const void *msg)
{
    struct str out = {0};
    size_t size;

    put_message(&out, t, msg);
    size = out.len;
    str_free(&out);
    return size;
}

/* --- protobuf to plain struct --------------------------------------------- */

struct pb_reading {
    struct mem_pool *pool;
    size_t left; /* bytes that may still be allocated from it */
    bool spent;  /* left was not enough */
    bool bad;    /* invalid protobuf, or another message */
    struct err *e;
};

struct span {
    const uint8_t *at, *end;
};

/* One encoded field. */
struct field {
    uint32_t id;
    unsigned wire;
    uint64_t number;  /* WIRE_VARINT, WIRE_32, WIRE_64 */
    struct span data; /* WIRE_BYTES */
};

static bool
take_varint(struct span *in, uint64_t *out)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t c;

        if (in->at == in->end)
            return false;
        c = *in->at++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool
take_fixed(struct span *in, size_t n, uint64_t *out)
{
    *out = 0;
    if ((size_t)(in->end - in->at) < n)
        return false;
    for (size_t i = 0; i < n; i++)
        *out |= (uint64_t)in->at[i] << (8 * i);
    in->at += n;
    return true;
}

static bool
take_field(struct span *in, struct field *out)
{
    uint64_t tag, len;

    if (!take_varint(in, &tag) || tag > UINT32_MAX || tag < 8)
        return false;
    out->id = (uint32_t)(tag >> 3);
    out->wire = (unsigned)(tag & 7);
    switch (out->wire) {
    case WIRE_VARINT:
        return take_varint(in, &out->number);
    case WIRE_64:
        return take_fixed(in, 8, &out->number);
    case WIRE_32:
        return take_fixed(in, 4, &out->number);
    case WIRE_BYTES:
        if (!take_varint(in, &len) || len > (size_t)(in->end - in->at))
            return false;
        out->data = (struct span){in->at, in->at + len};
        in->at += len;
        return true;
    default:
        return false; /* groups are deprecated */
    }
}

static size_t
length(struct span s)
{
    return (size_t)(s.end - s.at);
}

/* NULL: the message would take too much memory. */
static void *
take(struct pb_reading *r, size_t size)
{
    enum { COST = 16 }; /* of the smallest allocation */

    if (size > r->left || r->left - size < COST) {
        r->spent = true;
        return NULL;
    }
    r->left -= size + COST;
    return mem_pool_alloc(r->pool, size);
}

/* Marks the message as invalid; returns -1. */
static int
bad(struct pb_reading *r)
{
    r->bad = true;
    return -1;
}

static int
text_from_wire(struct pb_reading *r, const struct codec_path *at,
               struct span data, void *to)
{
    size_t len = length(data);
    const uint8_t *nul = len ? memchr(data.at, '\0', len) : NULL;
    char *copy;

    if (nul)
        return codec_fail(at, r->e, "a NUL byte at %zu; remove it",
                          (size_t)(nul - data.at));
    if (!len)
        return 0; /* it is "" already */
    copy = take(r, len + 1);
    if (!copy)
        return -1;
    memcpy(copy, data.at, len);
    codec_store_ptr(to, copy);
    return 0;
}

static int
bytes_from_wire(struct pb_reading *r, struct span data, void *to)
{
    struct bytes b = {.len = length(data)};
    uint8_t *copy = NULL;

    if (b.len) {
        copy = take(r, b.len);
        if (!copy)
            return -1;
        memcpy(copy, data.at, b.len);
    }
    b.data = copy;
    memcpy(to, &b, sizeof b);
    return 0;
}

static int from_wire(struct pb_reading *r, const struct codec_path *up,
                     const struct codec_table *t, struct span in, void *msg);

static unsigned
wire_of(const struct codec_row *row)
{
    switch (row->kind) {
    case KIND_TEXT:
    case KIND_TOKEN:
    case KIND_BYTES:
    case KIND_MESSAGE:
        return WIRE_BYTES;
    case KIND_DOUBLE:
        return WIRE_64;
    case KIND_BOOL:
    case KIND_INT32:
    case KIND_UINT32:
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_ENUM:
        break;
    }
    return WIRE_VARINT;
}

/* Reads one value; of kind message, to is the struct to fill. */
static int
value_from_wire(struct pb_reading *r, const struct codec_path *at,
                const struct codec_row *row, const struct field *f, void *to)
{
    uint32_t v32 = (uint32_t)f->number;

    if (f->wire != wire_of(row))
        return bad(r);
    switch (row->kind) {
    case KIND_TEXT:
    case KIND_TOKEN:
        codec_store_ptr(to, "");
        return text_from_wire(r, at, f->data, to);
    case KIND_BYTES:
        return bytes_from_wire(r, f->data, to);
    case KIND_MESSAGE:
        return from_wire(r, at, row->sub, f->data, to);
    case KIND_BOOL:
        *(bool *)to = f->number != 0;
        return 0;
    case KIND_INT32:
    case KIND_UINT32:
    case KIND_ENUM:
        memcpy(to, &v32, sizeof v32);
        return 0;
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_DOUBLE:
        memcpy(to, &f->number, sizeof f->number);
        return 0;
    }
    return 0;
}

/* Reads packed numbers. */
static bool
is_packed(const struct codec_row *row, const struct field *f)
{
    return row->kind == KIND_DOUBLE && f->wire == WIRE_BYTES;
}

static size_t
elements(const struct codec_row *row, const struct field *f)
{
    return is_packed(row, f) ? length(f->data) / sizeof(double) : 1;
}

/*
 * Makes room for all elements of a list in this part of the message; first is
 * the first of them, rest what follows it.
 */
static int
make_room(struct pb_reading *r, const struct codec_row *row,
          const struct field *first, struct span rest, char *msg)
{
    size_t had = codec_load_count(msg + row->n_offset);
    size_t n = had + elements(row, first), size = codec_element_size(row);
    struct field f;
    char *items;

    while (rest.at < rest.end && take_field(&rest, &f))
        if (f.id == first->id)
            n += elements(row, &f);
    items = take(r, n * size);
    if (!items)
        return -1;
    if (had)
        memcpy(items, codec_load_ptr(msg + row->offset), had * size);
    codec_store_ptr(msg + row->offset, items);
    return 0;
}

static int
list_from_wire(struct pb_reading *r, struct codec_path *at,
               const struct codec_row *row, const struct field *f, char *msg)
{
    size_t n = codec_load_count(msg + row->n_offset);
    size_t size = codec_element_size(row);
    char *items = codec_load_ptr(msg + row->offset);
    struct field one = {.wire = WIRE_64};
    struct span in = f->data;

    at->index = n;
    if (!is_packed(row, f)) {
        codec_store_count(msg + row->n_offset, n + 1);
        if (row->kind == KIND_MESSAGE)
            codec_table_init(row->sub, items + n * size);
        return value_from_wire(r, at, row, f, items + n * size);
    }
    if (length(in) % sizeof(double))
        return bad(r);
    for (; take_fixed(&in, sizeof(double), &one.number); n++)
        (void)value_from_wire(r, at, row, &one, items + n * size);
    codec_store_count(msg + row->n_offset, n);
    return 0;
}

/* A message field that occurs several times is merged. */
static int
one_from_wire(struct pb_reading *r, const struct codec_path *at,
              const struct codec_row *row, const struct field *f, char *msg)
{
    void *sub;

    if (row->kind != KIND_MESSAGE)
        return value_from_wire(r, at, row, f, msg + row->offset);
    sub = codec_load_ptr(msg + row->offset);
    if (!sub) {
        sub = take(r, row->sub->size);
        if (!sub)
            return -1;
        codec_table_init(row->sub, sub);
        codec_store_ptr(msg + row->offset, sub);
    }
    return value_from_wire(r, at, row, f, sub);
}

/* The row of a field, n_rows if there is none. Fields mostly come in order, so
 * the search begins at the next row. */
static size_t
find_row(const struct codec_table *t, size_t next, uint32_t id)
{
    size_t i = next;

    while (i < t->n_rows && t->message->fields[i].id < id)
        i++;
    if (i < t->n_rows && t->message->fields[i].id == id)
        return i;
    for (i = 0; i < next && t->message->fields[i].id != id; i++)
        ;
    return i < next ? i : t->n_rows;
}

/* Adds the fields of one part to *msg. On -1 *msg has those read so far. */
static int
from_wire(struct pb_reading *r, const struct codec_path *up,
          const struct codec_table *t, struct span in, void *msg)
{
    uint64_t seen = 0; /* lists that have been allocated */
    size_t next = 0;
    struct field f;

    while (in.at < in.end) {
        struct codec_path at = {up, NULL, CODEC_NO_INDEX};
        const struct codec_row *row;
        size_t i;
        int rc;

        if (!take_field(&in, &f))
            return bad(r);
        i = find_row(t, next, f.id);
        if (i == t->n_rows)
            continue; /* unknown: a newer sender */
        next = i;
        row = &t->rows[i];
        at.name = row->name;
        if (!row->many) {
            rc = one_from_wire(r, &at, row, &f, msg);
        } else {
            rc = seen >> i & 1 ? 0 : make_room(r, row, &f, in, msg);
            seen |= UINT64_C(1) << i;
            if (rc == 0)
                rc = list_from_wire(r, &at, row, &f, msg);
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

int
codec_table_read(const struct codec_table *t, const void *data, size_t len,
                 struct mem_pool *pool, void *msg, struct err *e)
{
    struct pb_reading r = {
        .pool = pool, .left = CODEC_POOL_BYTES + 2 * len, .e = e};
    struct codec_path root = {NULL, NULL, CODEC_NO_INDEX};
    struct span in = {data, data};

    codec_table_init(t, msg);
    if (len > t->most)
        return err_set(e, ERR_INVALID,
                       "%s: %zu bytes, at most %zu; put large text in a file",
                       t->name, len, t->most);
    if (len)
        in.end = in.at + len;
    if (from_wire(&r, &root, t, in, msg) == 0)
        return 0;
    if (r.spent)
        return err_set(e, ERR_INVALID,
                       "%s: %zu bytes that would fill more than %d MiB; too "
                       "many list elements",
                       t->name, len, CODEC_POOL_BYTES >> 20);
    if (r.bad)
        return err_set(e, ERR_INVALID,
                       "%s: these %zu bytes are not a valid protobuf message",
                       t->name, len);
    return -1;
}

/* --- several tasks, routed tasks or results in one message ---------------- */

int
codec_table_element(const struct codec_table *t, const uint8_t **at,
                    const uint8_t *end, struct bytes *out)
{
    struct span in = {*at, end};
    struct field f;

    do {
        if (in.at == in.end)
            return 0;
        if (!take_field(&in, &f))
            return -1;
    } while (f.id != t->message->fields[0].id); /* unknown: a newer sender */
    *at = in.at;
    if (f.wire != WIRE_BYTES)
        return -1;
    *out = (struct bytes){f.data.at, length(f.data)};
    return 1;
}

bool
codec_table_leads(const struct codec_table *t, const void *data, size_t len)
{
    struct span in = {data, data};
    struct field f;

    if (len)
        in.end = in.at + len;
    return len && take_field(&in, &f) && f.id == t->message->fields[0].id;
}

void
codec_table_add(const struct codec_table *t, struct str *out, const void *data,
                size_t len)
{
    put_bytes(out, &t->message->fields[0], data, len);
}

/* --- reading the id without decoding -------------------------------------- */

/* Numbers of fields in shunt.proto. */
enum {
    FIRST = 1, /* task of RoutedTask and Result, id of Task */
    TASK_AFTER = 25,
    TASK_NOT_BEFORE = 26,
    TASK_HOLD = 27,
};

bool
codec_glimpse(enum codec_type type, const void *data, size_t len,
              struct codec_glimpse *out)
{
    struct span in = {data, data};
    struct field f;

    *out = (struct codec_glimpse){0};
    if (len)
        in.end = in.at + len;
    if (in.at == in.end || !take_field(&in, &f) || f.id != FIRST ||
        f.wire != WIRE_BYTES || f.data.at == f.data.end)
        return false;
    if (type == CODEC_ROUTED_TASK) /* it does not wait any more */
        return codec_glimpse(CODEC_RESULT, f.data.at, length(f.data), out);
    out->task = (const char *)f.data.at;
    out->len = length(f.data);
    while (type == CODEC_TASK && in.at < in.end) {
        if (!take_field(&in, &f))
            return false;
        if (f.id == TASK_AFTER || f.id == TASK_NOT_BEFORE || f.id == TASK_HOLD)
            out->waits = true;
    }
    return true;
}
