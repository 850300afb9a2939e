/*
 * mem - allocation that does not fail, and pools freed in one go.
 *
 * A process that cannot allocate aborts (the supervisor restarts it and the bus
 * redelivers). A size that comes from outside is checked against a named limit
 * before anything here is called.
 *
 * Thread: any, but one pool belongs to one thread at a time.
 */
#ifndef LIB_BASE_MEM_H
#define LIB_BASE_MEM_H

#include <stddef.h>

/* Limits the C library's heaps: call first in every main. */
void mem_setup(void);

/* Releases memory that only the start needed: call once before the loop runs.
 * Code that is used again is read from the page cache. */
void mem_trim(void);

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zero(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_resize(void *p, size_t size) __attribute__((returns_nonnull));
/* Makes room for another element in a growing array of n elements and capacity
 * *cap; returns the array, which may have moved. */
void *mem_grow(void *p, size_t n, size_t *cap, size_t size)
    __attribute__((returns_nonnull));
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
void mem_free(void *p); /* NULL is fine */

/* Zeroed memory for one of type T. */
#define MEM_NEW(T) ((T *)mem_zero(1, sizeof(T)))

/*
 * A pool allocates memory that lives until the pool is reset or freed. A
 * decoded message keeps all its strings and arrays in one.
 */
struct mem_pool;

struct mem_pool *mem_pool_new(void);
/* The first block has that many bytes; for pools of which thousands exist. */
struct mem_pool *mem_pool_sized(size_t bytes);
void mem_pool_reset(struct mem_pool *p); /* keeps up to 64 KiB */
void mem_pool_free(struct mem_pool *p);  /* NULL is fine */
/* The size of all its blocks. */
size_t mem_pool_bytes(const struct mem_pool *p);

/* Frees the piece p of the pool if it is large; a small one stays until the
 * pool is reset. p is invalid afterwards. */
void mem_pool_forget(struct mem_pool *pool, const void *p);

/* Zeroed, aligned for any type; size 0 gives a valid pointer. */
void *mem_pool_alloc(struct mem_pool *p, size_t size)
    __attribute__((returns_nonnull));
char *mem_pool_strdup(struct mem_pool *p, const char *s)
    __attribute__((returns_nonnull));
char *mem_pool_strndup(struct mem_pool *p, const char *s, size_t len)
    __attribute__((returns_nonnull));
char *mem_pool_printf(struct mem_pool *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));

#endif
