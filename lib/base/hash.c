/*
 * A hash table with chains. The number of buckets is a power of two and doubles
 * as soon as there are more entries than buckets; it never shrinks. Splitting
 * a bucket keeps the order of its chain, so that of entries with the same key
 * the last added stays in front.
 */
#include "lib/base/hash.h"

#include "lib/base/mem.h"

#include <string.h>

enum { BUCKETS_LEAST = 16 };

uint64_t
hash_add(uint64_t h, const void *data, size_t len)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3U;
    return h;
}

uint64_t
hash_text(const char *text)
{
    return hash_add(HASH_EMPTY, text, strlen(text));
}

static size_t
index_of(const struct hash_table *t, const char *key)
{
    return hash_text(key) & (t->n_buckets - 1);
}

static void
grow(struct hash_table *t)
{
    size_t old = t->n_buckets, n = old ? 2 * old : BUCKETS_LEAST;
    struct hash_link **from = t->buckets, *l;

    t->buckets = mem_zero(n, sizeof(struct hash_link *));
    t->n_buckets = n;
    for (size_t i = 0; i < old; i++) {
        struct hash_link **low = &t->buckets[i], **high = &t->buckets[i + old];

        for (l = from[i]; l; l = l->next) {
            struct hash_link ***end = index_of(t, l->key) == i ? &low : &high;

            **end = l;
            *end = &l->next;
        }
        *low = *high = NULL;
    }
    mem_free(from);
}

void
hash_table_add(struct hash_table *t, struct hash_link *l, const char *key)
{
    struct hash_link **at;

    if (t->n == t->n_buckets)
        grow(t);
    at = &t->buckets[index_of(t, key)];
    l->key = key;
    l->next = *at;
    *at = l;
    t->n++;
}

void
hash_table_remove(struct hash_table *t, struct hash_link *l)
{
    struct hash_link **at;

    if (!l->key || !t->n)
        return;
    at = &t->buckets[index_of(t, l->key)];
    while (*at && *at != l)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = l->next;
    l->key = NULL;
    t->n--;
}

void *
hash_table_find(const struct hash_table *t, const char *key)
{
    struct hash_link *l = t->n ? t->buckets[index_of(t, key)] : NULL;

    while (l && strcmp(l->key, key) != 0)
        l = l->next;
    return l;
}

void *
hash_table_next(const struct hash_table *t, const void *after)
{
    const struct hash_link *l = after;
    size_t i = 0;

    if (l && l->next)
        return l->next;
    if (l)
        i = index_of(t, l->key) + 1;
    for (; i < t->n_buckets; i++)
        if (t->buckets[i])
            return t->buckets[i];
    return NULL;
}

void
hash_table_clear(struct hash_table *t)
{
    if (t->n)
        memset(t->buckets, 0, t->n_buckets * sizeof(struct hash_link *));
    t->n = 0;
}

void
hash_table_free(struct hash_table *t)
{
    mem_free(t->buckets);
    *t = (struct hash_table){0};
}
