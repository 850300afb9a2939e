/*
 * bulk - a message of the tasks that are handed in together.
 *
 * A task alone stands on tasks.in under its own id; several stand on tasks.bulk
 * under an id that the same tasks in the same order always have, so that the
 * broker knows the message if it is published again. A message spares the
 * broker, the router and the ledger most of what a task costs them before it
 * runs; it is kept small all the same, as it is settled as a whole.
 *
 * Thread: one at a time.
 */
#ifndef LIB_BULK_H
#define LIB_BULK_H

#include "lib/bus.h"
#include "lib/str.h"
#include "lib/task.h"

#include <stdbool.h>

/* Begins as {0}. */
struct bulk {
    struct str data;
    struct str ids; /* of its tasks, one after the other */
    size_t n;
    size_t first_at; /* where the first task begins in data */
    char id[sizeof "bulk:" + TASK_ID_SIZE];
};

/* Whether another task of len encoded bytes fits. An empty message takes any.
 */
bool bulk_fits(const struct bulk *b, size_t len);

/* All is copied. */
void bulk_add(struct bulk *b, const char *id, const void *task, size_t len);

/* What to publish; valid until *b changes. b must not be empty. */
struct bus_publication bulk_publication(struct bulk *b);

void bulk_reset(struct bulk *b); /* empty again */
void bulk_free(struct bulk *b);

#endif
