/*
 * cancel_keys - removes from KV_control the cancels that have been carried out,
 * so that the bucket, and the tables made of it, stay small.
 *
 * What remains is the claim, which holds the outcome, and the result, which
 * holds the request. Where a task came to another end first, or nobody has
 * submitted one, the key stays until the bucket expires it.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_SCHEDULE_CANCEL_KEYS_H
#define REAPER_SCHEDULE_CANCEL_KEYS_H

#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "reaper/db/db.h"

struct cancel_keys;

/* Looks at all keys soon: an earlier process may have left some. */
struct cancel_keys *cancel_keys_open(struct bus *b, struct loop *l,
                                     struct db *db);
void cancel_keys_close(struct cancel_keys *k); /* NULL is fine */

/* There may be a key that is not needed any more. */
void cancel_keys_wake(struct cancel_keys *k);

#endif
