/*
 * cancels - which tasks are to be cancelled: the cancel.<task> keys of
 * KV_control.
 *
 * A cancel is a fact in the bucket. Whoever is about to start a task, and has
 * its claim, asks the table first: mostly it says at once that there is none,
 * else the key itself is read. A cancel that is stored after the claim finds
 * the claim; one that was stored before is seen here: a table subscribes before
 * it reads, and one broker sends the news of a key before the answer to any
 * claim that was stored later. In a cluster the news may come after it, and
 * then stops what has started.
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_CANCELS_H
#define LIB_BUS_CANCELS_H

#include "lib/bus/bus.h"
#include "lib/model/task.h"

/* Keys a table can hold, with 16 bytes each. */
enum { CANCELS_MAX = 64 * 1024, CANCELS_REASON_SIZE = 256 };

/* --- the keys ------------------------------------------------------------- */

/* Stores the request; fn as in bus_publish, or NULL. */
void cancels_put(struct bus *b, const struct control *c, bus_stored_fn *fn,
                 void *ctx);

/* The key of a task; fn as in bus_get_last. */
void cancels_get(struct bus *b, const char *task, bus_entry_fn *fn, void *ctx);
/* Reads what cancels_get or a watch has found; entry NULL: no key. False if it
 * is no cancel. Decodes into pool. */
bool cancels_read(const struct bus_entry *entry, struct mem_pool *pool,
                  struct control *out);

/* The same in pool. */
struct control *cancels_copy(const struct control *c, struct mem_pool *pool);

/* "cancelled by user@host: reason"; by and reason may be "". */
void cancels_reason(const char *by, const char *reason,
                    char out[CANCELS_REASON_SIZE]);

/* --- the table ------------------------------------------------------------ */

struct cancels;

/* A request for a task, found or just made; perhaps not the first time. */
typedef void cancels_fn(void *ctx, const struct control *c);

/* Subscribes and begins to read. requested may be NULL. On 0 the caller owns
 * *out; cancels_close before the bus ends. */
int cancels_open(struct cancels **out, struct bus *b, struct loop *l,
                 cancels_fn *requested, void *ctx, struct err *e);
void cancels_close(struct cancels *c); /* NULL is fine */

/* Call when the broker is back: reads what may have been missed. */
void cancels_refresh(struct cancels *c);

/* False: there is none for the task. True: read the key; there may be one, or
 * the keys have not all been read, or there are too many. */
bool cancels_may_have(const struct cancels *c, const char *task);

#endif
