/*
 * circles - finds tasks that wait for each other: none of them would ever
 * start.
 *
 * One is filled in each pass with the blocked tasks that come after blocked
 * ones, at most CIRCLES_TASKS_MAX.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_SCHEDULE_CIRCLES_H
#define REAPER_SCHEDULE_CIRCLES_H

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/model/task.h"

enum { CIRCLES_TASKS_MAX = 20000 };

struct circles { /* zeroed: empty */
    struct hash_table tasks;
    struct mem_pool *pool; /* NULL: empty */
    uint64_t sum, looked;  /* of the ids in it, now and when it was searched */
};

/* Adds a task and those of its conditions that are blocked tasks. */
void circles_add(struct circles *c, const char *id, const char *const *after,
                 size_t n);

/* Calls found for each task of a circle, with the circle as "a -> b -> a", then
 * forgets all tasks. Does nothing if they are those of the last search. */
void circles_search(struct circles *c,
                    void (*found)(void *ctx, const char *id, const char *text),
                    void *ctx);

void circles_free(struct circles *c);

#endif
