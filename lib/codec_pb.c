#include "lib/codec_private.h"

#include <stdalign.h>
#include <string.h>

/* --- plain struct to protobuf ----------------------------------------- */

static ProtobufCMessage *to_pb(const struct codec_table *t, const void *msg,
                               struct mem_pool *pool);

/* Text that passes check_text; most of it passes as it is. */
static const char *
repaired(const struct codec_row *row, const char *s, struct mem_pool *pool)
{
    size_t len = strlen(s);
    struct str clean = {0};
    char *out;

    if (len <= row->most && codec_clean_length(s, len) == len)
        return s;
    str_add_printable(&clean, s, len);
    out = mem_pool_strndup(pool, clean.data,
                           str_utf8_cut(clean.data, clean.len, row->most));
    str_free(&clean);
    return out;
}

static void
value_to_pb(const struct codec_row *row, const void *from, void *to,
            struct mem_pool *pool)
{
    switch (row->kind) {
    case KIND_TEXT:
    case KIND_TOKEN: {
        const char *s = codec_load_text(from);

        codec_store_ptr(to, row->repair ? repaired(row, s, pool) : s);
        break;
    }
    case KIND_BOOL: {
        protobuf_c_boolean v = *(const bool *)from;

        memcpy(to, &v, sizeof v);
        break;
    }
    case KIND_INT32:
    case KIND_UINT32:
    case KIND_ENUM:
        memcpy(to, from, sizeof(int32_t));
        break;
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_DOUBLE:
        memcpy(to, from, sizeof(int64_t));
        break;
    case KIND_BYTES: {
        struct bytes b;
        ProtobufCBinaryData v;

        memcpy(&b, from, sizeof b);
        v.len = b.len;
        v.data = codec_load_ptr(&b.data);
        memcpy(to, &v, sizeof v);
        break;
    }
    case KIND_MESSAGE:
        codec_store_ptr(to, from ? to_pb(row->sub, from, pool) : NULL);
        break;
    }
}

/* A list becomes an array of what protobuf-c keeps: pointers, or doubles. */
static void
list_to_pb(const struct codec_row *row, const char *msg, char *out,
           const ProtobufCFieldDescriptor *f, struct mem_pool *pool)
{
    const char *items = codec_load_ptr(msg + row->offset);
    size_t n = codec_load_count(msg + row->n_offset);
    size_t from = codec_element_size(row);
    size_t to = row->kind == KIND_DOUBLE ? sizeof(double) : sizeof(void *);
    char *copy = mem_pool_alloc(pool, n * to);

    for (size_t i = 0; i < n; i++)
        value_to_pb(row, items + i * from, copy + i * to, pool);
    codec_store_ptr(out + f->offset, copy);
    codec_store_count(out + f->quantifier_offset, n);
}

static ProtobufCMessage *
to_pb(const struct codec_table *t, const void *msg, struct mem_pool *pool)
{
    ProtobufCMessage *m = mem_pool_alloc(pool, t->message->sizeof_message);
    const char *in = msg;
    char *out = (char *)m;

    t->message->message_init(m);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct codec_row *row = &t->rows[i];
        const ProtobufCFieldDescriptor *f = &t->message->fields[i];

        if (row->many)
            list_to_pb(row, in, out, f, pool);
        else if (row->kind == KIND_MESSAGE)
            value_to_pb(row, codec_load_ptr(in + row->offset), out + f->offset,
                        pool);
        else
            value_to_pb(row, in + row->offset, out + f->offset, pool);
    }
    return m;
}

struct out_buffer {
    ProtobufCBuffer base; /* first: protobuf-c knows this part only */
    struct str *out;
};

static void
append(ProtobufCBuffer *base, size_t len, const uint8_t *data)
{
    str_add(((struct out_buffer *)base)->out, data, len);
}

void
codec_encode(enum codec_type type, const void *msg, struct str *out)
{
    struct mem_pool *pool = mem_pool_new();
    struct out_buffer buffer = {{append}, out};

    str_add(out, "", 0); /* an empty message has a buffer, too */
    (void)protobuf_c_message_pack_to_buffer(to_pb(codec_table(type), msg, pool),
                                            &buffer.base);
    mem_pool_free(pool);
}

size_t
codec_table_encoded(const struct codec_table *t, const void *msg)
{
    struct mem_pool *pool = mem_pool_new();
    size_t size = protobuf_c_message_get_packed_size(to_pb(t, msg, pool));

    mem_pool_free(pool);
    return size;
}

/* --- protobuf to plain struct ----------------------------------------- */

/* protobuf-c takes its memory from the pool, which bounds it; each piece
 * remembers its size, which is how a NUL inside text comes to light. */
struct supply {
    struct mem_pool *pool;
    size_t left;
    bool spent;
};

struct piece {
    alignas(max_align_t) size_t size;
};

static void *
supply_alloc(void *data, size_t size)
{
    struct supply *s = data;
    struct piece *p;

    if (size > s->left || s->left - size < sizeof *p) {
        s->spent = true;
        return NULL;
    }
    s->left -= size + sizeof *p;
    p = mem_pool_alloc(s->pool, size + sizeof *p);
    p->size = size;
    return p + 1;
}

static void
supply_free(void *data, void *p)
{
    (void)data; /* the pool is freed in one go */
    (void)p;
}

struct reading {
    struct mem_pool *pool;
    struct err *e;
};

static int from_pb(const struct reading *r, const struct codec_path *up,
                   const struct codec_table *t, const void *m, void *msg);

static int
text_from_pb(const struct reading *r, const struct codec_path *at,
             const ProtobufCFieldDescriptor *f, const void *from, void *to)
{
    const char *s = codec_load_ptr(from);

    if (!s || s == f->default_value) { /* not in the message */
        codec_store_ptr(to, "");
        return 0;
    }
    codec_store_ptr(to, s);
    if (((const struct piece *)(const void *)s)[-1].size != strlen(s) + 1)
        return codec_fail(at, r->e, "a NUL byte at %zu; remove it", strlen(s));
    return 0;
}

/* One value; of a message, to is the plain struct to fill. */
static int
value_from_pb(const struct reading *r, const struct codec_path *at,
              const struct codec_row *row, const ProtobufCFieldDescriptor *f,
              const void *from, void *to)
{
    switch (row->kind) {
    case KIND_TEXT:
    case KIND_TOKEN:
        return text_from_pb(r, at, f, from, to);
    case KIND_BOOL: {
        protobuf_c_boolean v;

        memcpy(&v, from, sizeof v);
        *(bool *)to = v != 0;
        return 0;
    }
    case KIND_INT32:
    case KIND_UINT32:
    case KIND_ENUM:
        memcpy(to, from, sizeof(int32_t));
        return 0;
    case KIND_INT64:
    case KIND_UINT64:
    case KIND_DOUBLE:
        memcpy(to, from, sizeof(int64_t));
        return 0;
    case KIND_BYTES: {
        ProtobufCBinaryData v;
        struct bytes b;

        memcpy(&v, from, sizeof v);
        b.len = v.len;
        b.data = v.data;
        memcpy(to, &b, sizeof b);
        return 0;
    }
    case KIND_MESSAGE:
        return from_pb(r, at, row->sub, codec_load_ptr(from), to);
    }
    return 0;
}

static int
list_from_pb(const struct reading *r, struct codec_path *at,
             const struct codec_row *row, const ProtobufCFieldDescriptor *f,
             const char *in, char *out)
{
    size_t n = codec_load_count(in + f->quantifier_offset);
    const char *items = codec_load_ptr(in + f->offset);
    size_t from = row->kind == KIND_DOUBLE ? sizeof(double) : sizeof(void *);
    size_t to = codec_element_size(row);
    char *copy;

    if (n == 0)
        return 0;
    copy = mem_pool_alloc(r->pool, n * to);
    codec_store_ptr(out + row->offset, copy);
    codec_store_count(out + row->n_offset, n);
    for (size_t i = 0; i < n; i++) {
        at->index = i;
        if (value_from_pb(r, at, row, f, items + i * from, copy + i * to) < 0)
            return -1;
    }
    return 0;
}

static int
one_from_pb(const struct reading *r, const struct codec_path *at,
            const struct codec_row *row, const ProtobufCFieldDescriptor *f,
            const char *in, char *out)
{
    void *sub;

    if (row->kind != KIND_MESSAGE)
        return value_from_pb(r, at, row, f, in + f->offset, out + row->offset);
    if (!codec_load_ptr(in + f->offset))
        return 0;
    sub = mem_pool_alloc(r->pool, row->sub->size);
    codec_store_ptr(out + row->offset, sub);
    return value_from_pb(r, at, row, f, in + f->offset, sub);
}

/* On -1 *msg has what was read before the error. */
static int
from_pb(const struct reading *r, const struct codec_path *up,
        const struct codec_table *t, const void *m, void *msg)
{
    codec_table_init(t, msg);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct codec_row *row = &t->rows[i];
        const ProtobufCFieldDescriptor *f = &t->message->fields[i];
        struct codec_path at = {up, row->name, CODEC_NO_INDEX};

        if ((row->many ? list_from_pb(r, &at, row, f, m, msg)
                       : one_from_pb(r, &at, row, f, m, msg)) < 0)
            return -1;
    }
    return 0;
}

int
codec_table_read(const struct codec_table *t, const void *data, size_t len,
                 struct mem_pool *pool, void *msg, struct err *e)
{
    struct supply s = {pool, CODEC_POOL_BYTES + 2 * len, false};
    ProtobufCAllocator allocator = {supply_alloc, supply_free, &s};
    struct codec_path root = {NULL, NULL, CODEC_NO_INDEX};
    struct reading r = {pool, e};
    ProtobufCMessage *m;

    codec_table_init(t, msg);
    if (len > t->most)
        return err_set(e, ERR_INVALID,
                       "%s: %zu bytes, at most %zu; put large text in a file",
                       t->name, len, t->most);
    m = protobuf_c_message_unpack(t->message, &allocator, len, data);
    if (!m && s.spent)
        return err_set(e, ERR_INVALID,
                       "%s: %zu bytes that would fill more than %d MiB; too "
                       "many list elements",
                       t->name, len, CODEC_POOL_BYTES >> 20);
    if (!m)
        return err_set(e, ERR_INVALID,
                       "%s: these %zu bytes are no such protobuf message",
                       t->name, len);
    return from_pb(&r, &root, t, m, msg);
}
