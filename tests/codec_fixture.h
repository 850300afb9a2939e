/*
 * codec_fixture - what the codec's tests share: messages of every type with
 * every field set, and bytes that were tampered with.
 */
#ifndef TESTS_CODEC_FIXTURE_H
#define TESTS_CODEC_FIXTURE_H

#include "lib/model/codec_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CODEC_TYPES = CODEC_TASKS + 1 };

union any_message {
    struct task task;
    struct routed_task routed_task;
    struct decision decision;
    struct claim claim;
    struct result result;
    struct log_chunk log_chunk;
    struct heartbeat heartbeat;
    struct batch batch;
    struct dead_letter dead_letter;
    struct control control;
    struct lane_state lane_state;
    struct tasks tasks;
};

/* A message of any type and another, and a pool for what they point to. */
struct codec_fixture {
    struct mem_pool *pool;
    union any_message msg, msg2;
};

static struct err e;

static inline int
setup(void **state)
{
    struct codec_fixture *f = MEM_NEW(struct codec_fixture);

    f->pool = mem_pool_new();
    memset(&e, 0, sizeof e);
    *state = f;
    return 0;
}

static inline int
teardown(void **state)
{
    struct codec_fixture *f = *state;

    mem_pool_free(f->pool);
    mem_free(f);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static inline void
assert_error(const char *part)
{
    assert_int_equal(e.code, ERR_INVALID);
    if (!strstr(e.msg, part))
        fail_msg("\"%s\" does not say \"%s\"", e.msg, part);
    memset(&e, 0, sizeof e);
}

/* n times the same piece. */
static inline char *
repeat(struct mem_pool *pool, const char *piece, size_t len, size_t n)
{
    char *data = mem_pool_alloc(pool, len * n);

    for (size_t i = 0; i < n; i++)
        memcpy(data + i * len, piece, len);
    return data;
}

/* Fills a message through its table, each value different from its neighbour;
 * required and token fields get tokens. */
static inline void fill(const struct codec_table *t, char *msg,
                        struct mem_pool *pool, int *seed);

static inline void
fill_value(const struct codec_row *row, void *field, struct mem_pool *pool,
           int *seed)
{
    int n = ++*seed;
    int64_t i64 = (int64_t)n * 1000003;
    double real = n + 0.5;
    struct bytes b;

    switch (row->kind) {
    case KIND_TEXT:
    case KIND_TOKEN:
        codec_store_ptr(field, mem_pool_printf(pool, "text-%d", n));
        break;
    case KIND_BOOL:
        *(bool *)field = true;
        break;
    case KIND_INT32:
    case KIND_UINT32:
        memcpy(field, &n, sizeof n);
        break;
    case KIND_INT64:
    case KIND_UINT64:
        memcpy(field, &i64, sizeof i64);
        break;
    case KIND_DOUBLE:
        memcpy(field, &real, sizeof real);
        break;
    case KIND_ENUM:
        n = 1 + n % ((int)row->words->count - 1);
        memcpy(field, &n, sizeof n);
        break;
    case KIND_BYTES:
        b.len = (size_t)n % 7 + 1;
        b.data = memset(mem_pool_alloc(pool, b.len), 0xf0 + n % 16, b.len);
        memcpy(field, &b, sizeof b);
        break;
    case KIND_MESSAGE:
        fill(row->sub, field, pool, seed);
        break;
    }
}

static inline void
fill(const struct codec_table *t, char *msg, struct mem_pool *pool, int *seed)
{
    codec_table_init(t, msg);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct codec_row *row = &t->rows[i];
        size_t n = 3, size = codec_element_size(row);
        char *items = msg + row->offset;

        if (row->many) {
            items = mem_pool_alloc(pool, n * size);
            codec_store_ptr(msg + row->offset, items);
            codec_store_count(msg + row->n_offset, n);
            for (size_t k = 0; k < n; k++)
                fill_value(row, items + k * size, pool, seed);
            continue;
        }
        if (row->kind == KIND_MESSAGE) {
            items = mem_pool_alloc(pool, row->sub->size);
            codec_store_ptr(msg + row->offset, items);
        }
        fill_value(row, items, pool, seed);
    }
}

static inline void
fill_type(enum codec_type type, void *msg, struct mem_pool *pool)
{
    int seed = (int)type * 100;

    fill(codec_table(type), msg, pool, &seed);
}

static inline void
assert_same(enum codec_type type, const void *a, const void *b)
{
    struct str one = {0}, two = {0};

    codec_encode(type, a, &one);
    codec_encode(type, b, &two);
    assert_int_equal(one.len, two.len);
    assert_memory_equal(one.data, two.data, one.len);
    str_free(&one);
    str_free(&two);
}

static inline uint32_t
next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*seed >> 33);
}

/* Changes, cuts, doubles or swaps some of the bytes. */
static inline void
mutate(struct str *s, uint64_t *seed)
{
    uint32_t times = 1 + next_random(seed) % 4;

    while (times-- > 0 && s->len > 0) {
        size_t at = next_random(seed) % s->len;
        size_t n = next_random(seed) % 16;

        if (n > s->len - at)
            n = s->len - at;
        switch (next_random(seed) % 5) {
        case 0:
            s->data[at] = (char)next_random(seed);
            break;
        case 1:
            s->data[at] ^= (char)(1 << next_random(seed) % 8);
            break;
        case 2:
            memmove(s->data + at, s->data + at + n, s->len - at - n);
            s->len -= n;
            break;
        case 3: {
            char piece[16];

            memcpy(piece, s->data + at, n);
            str_add(s, piece, n);
            break;
        }
        default: {
            /* The message twice: protobuf merges submessages. */
            size_t len = s->len < 4096 ? s->len : 0;
            char copy[4096];

            memcpy(copy, s->data, len);
            str_add(s, copy, len);
        }
        }
    }
}

#endif
