/*
 * mem - allocation that does not fail, and pools freed in one go.
 *
 * A process that cannot get a few bytes ends (the supervisor restarts it and
 * the bus delivers again). A size that comes from outside is checked against a
 * named limit before anything here is called.
 *
 * Thread: any, but one pool belongs to one thread at a time.
 */
#ifndef LIB_BASE_MEM_H
#define LIB_BASE_MEM_H

#include <stddef.h>

/* Limits the C library's heaps: call first in every main. */
void mem_setup(void);

/* Gives back what only starting needed: call once before the loop runs. Code
 * that is used again comes back from the page cache. */
void mem_trim(void);

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zero(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_resize(void *p, size_t size) __attribute__((returns_nonnull));
/* Makes room for one more in a growing array of n elements, for which *cap
 * have room; returns where it is now. */
void *mem_grow(void *p, size_t n, size_t *cap, size_t size)
    __attribute__((returns_nonnull));
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
void mem_free(void *p); /* NULL is fine */

/* Zeroed memory for one of type T. */
#define MEM_NEW(T) ((T *)mem_zero(1, sizeof(T)))

/*
 * A pool hands out memory that lives until the pool is reset or freed. Decoded
 * messages keep all their strings and arrays in one.
 */
struct mem_pool;

struct mem_pool *mem_pool_new(void);
/* With room for so many bytes at first, where thousands live long. */
struct mem_pool *mem_pool_sized(size_t bytes);
void mem_pool_reset(struct mem_pool *p); /* keeps up to 64 KiB */
void mem_pool_free(struct mem_pool *p);  /* NULL is fine */
/* What it has taken for what it holds. */
size_t mem_pool_bytes(const struct mem_pool *p);

/* Gives back what is large among what the pool has handed out, here at p; a
 * small one stays. p is gone. */
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
