/*
 * hash - the FNV-1a hash, and a hash table with string keys.
 *
 * The table is intrusive: an entry belongs to the caller and begins with a
 * struct hash_link. Chains are kept short by doubling the buckets.
 *
 * Thread: any; a table belongs to one thread at a time.
 */
#ifndef LIB_BASE_HASH_H
#define LIB_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_EMPTY 0xcbf29ce484222325U /* the hash of no bytes */

/* Continues the hash h with data. */
uint64_t hash_add(uint64_t h, const void *data, size_t len);
uint64_t hash_text(const char *text);

/* The first member of every entry. Zeroed: in no table. */
struct hash_link {
    struct hash_link *next; /* in its bucket */
    const char *key;        /* NULL: in no table */
};

struct hash_table { /* zeroed: empty */
    struct hash_link **buckets;
    size_t n_buckets, n; /* buckets; entries */
};

/* key is borrowed until the entry leaves the table. Of several entries with
 * the same key the last added is found first. */
void hash_table_add(struct hash_table *t, struct hash_link *l, const char *key);
/* Removes the entry; does nothing if it is in no table. */
void hash_table_remove(struct hash_table *t, struct hash_link *l);
/* The entry with that key, NULL if there is none. */
void *hash_table_find(const struct hash_table *t, const char *key);

/* All entries in no particular order: the first if after is NULL, NULL at the
 * end. To remove entries on the way, fetch the next one first. */
void *hash_table_next(const struct hash_table *t, const void *after);

/* Forgets all entries without touching them, and keeps the buckets. */
void hash_table_clear(struct hash_table *t);
/* Frees the buckets, not the entries: t is empty again. */
void hash_table_free(struct hash_table *t);

#endif
