/*
 * Wrappers around malloc that abort when it fails, and pools: lists of blocks
 * from which memory is taken in order. A large piece gets a block of its own,
 * so that mem_pool_forget can free it.
 */
#include "lib/base/mem.h"

#include "lib/os/os.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    BLOCK_SIZE = 4096,      /* of a pool's first block */
    BLOCK_MOST = 64 * 1024, /* of later blocks, and kept by a reset */
    GROW_FIRST = 16,        /* elements of a growing array */
    LARGE = 1024,           /* gets a block of its own if there is no room */
};

struct mem_block {
    struct mem_block *next;
    size_t used, size;
    bool alone; /* it holds a single piece */
    alignas(max_align_t) unsigned char data[];
};

struct mem_pool {
    struct mem_block *first; /* survives a reset */
    struct mem_block *last;  /* memory is taken from it */
    size_t bytes;            /* of all blocks */
};

static void
die(size_t size)
{
    (void)fprintf(stderr, "out of memory: %zu bytes requested\n", size);
    abort();
}

void
mem_setup(void)
{
    os_heap_setup();
}

void
mem_trim(void)
{
    os_heap_trim();
    os_code_trim();
}

void *
mem_alloc(size_t size)
{
    void *p = malloc(size ? size : 1);

    if (!p)
        die(size);
    return p;
}

void *
mem_zero(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);

    if (!p)
        die(n * size);
    return p;
}

void *
mem_resize(void *p, size_t size)
{
    p = realloc(p, size ? size : 1);
    if (!p)
        die(size);
    return p;
}

void *
mem_grow(void *p, size_t n, size_t *cap, size_t size)
{
    if (p && n < *cap)
        return p;
    *cap = *cap ? 2 * *cap : GROW_FIRST;
    return mem_resize(p, *cap * size);
}

char *
mem_strdup(const char *s)
{
    size_t size = strlen(s) + 1;

    return memcpy(mem_alloc(size), s, size);
}

void
mem_free(void *p)
{
    free(p);
}

static struct mem_block *
block_new(size_t size)
{
    struct mem_block *b = mem_alloc(sizeof *b + size);

    b->next = NULL;
    b->used = 0;
    b->size = size;
    b->alone = false;
    return b;
}

struct mem_pool *
mem_pool_sized(size_t bytes)
{
    struct mem_pool *p = mem_alloc(sizeof *p);

    p->first = p->last = block_new(bytes);
    p->bytes = bytes;
    return p;
}

struct mem_pool *
mem_pool_new(void)
{
    return mem_pool_sized(BLOCK_SIZE);
}

static void
free_blocks(struct mem_block *b)
{
    struct mem_block *next;

    for (; b; b = next) {
        next = b->next;
        mem_free(b);
    }
}

void
mem_pool_reset(struct mem_pool *p)
{
    size_t size = p->bytes;

    /* The same amount is probably needed again: allocate one block for it. */
    if (p->first->next && size <= BLOCK_MOST) {
        free_blocks(p->first);
        p->first = block_new(size);
    } else {
        free_blocks(p->first->next);
        size = p->first->size;
    }
    p->first->next = NULL;
    p->first->used = 0;
    p->last = p->first;
    p->bytes = size;
}

size_t
mem_pool_bytes(const struct mem_pool *p)
{
    return p->bytes;
}

void
mem_pool_free(struct mem_pool *p)
{
    if (!p)
        return;
    free_blocks(p->first);
    mem_free(p);
}

void
mem_pool_forget(struct mem_pool *pool, const void *p)
{
    struct mem_block **at = &pool->first->next, *b;

    while ((b = *at) && (!b->alone || b->data != p))
        at = &b->next;
    if (!b)
        return;
    *at = b->next;
    pool->bytes -= b->size;
    mem_free(b);
}

static struct mem_block *
add_block(struct mem_pool *p, size_t size)
{
    struct mem_block *b = block_new(size);

    b->next = p->last->next;
    p->last->next = b;
    p->bytes += size;
    return b;
}

void *
mem_pool_alloc(struct mem_pool *p, size_t size)
{
    const size_t align = alignof(max_align_t);
    struct mem_block *b = p->last;
    void *out;

    if (size > SIZE_MAX / 2)
        die(size);
    size = (size + align - 1) / align * align;
    if (b->size - b->used < size && size >= LARGE) {
        /* Inserted after the current block, which stays current. */
        b = add_block(p, size);
        b->alone = true;
    } else if (b->size - b->used < size) {
        b = add_block(p, p->bytes < BLOCK_MOST ? p->bytes : BLOCK_MOST);
        p->last = b;
    }
    out = b->data + b->used;
    b->used += size;
    return memset(out, 0, size);
}

char *
mem_pool_strndup(struct mem_pool *p, const char *s, size_t len)
{
    char *out = mem_pool_alloc(p, len + 1);

    memcpy(out, s, len);
    return out;
}

char *
mem_pool_strdup(struct mem_pool *p, const char *s)
{
    return mem_pool_strndup(p, s, strlen(s));
}

char *
mem_pool_printf(struct mem_pool *p, const char *fmt, ...)
{
    va_list ap;
    char *out;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return mem_pool_strdup(p, "");
    out = mem_pool_alloc(p, (size_t)n + 1);
    va_start(ap, fmt);
    (void)vsnprintf(out, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return out;
}
