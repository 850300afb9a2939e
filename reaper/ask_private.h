/*
 * ask_private - what the parts of ask share.
 *
 *   ask.c         questions about tasks and batches
 *   ask_status.c  the state of the whole
 *   ask_wait.c    what a task waits for
 *   ask_costs.c   what a day's work cost
 *   ask_decisions.c  past decisions, to judge them anew
 */
#ifndef REAPER_ASK_PRIVATE_H
#define REAPER_ASK_PRIVATE_H

#include "reaper/ask.h"

struct ask {
    struct ask_parts p;
    struct bus_sub *sub;
    struct mem_pool *pool;
};

/* Takes over value. */
void ask_set(json_t *o, const char *key, json_t *value);
/* {"error": ...} for a failed call. */
json_t *ask_failure(const struct err *e);
/* Bytes of o as text. */
size_t ask_size(const json_t *o);
/* Takes off what may be long and says neither what to run nor where. */
void ask_strip(struct task *t);
/* Bytes an answer may have. */
size_t ask_room(const struct ask *a);
/* What a worker says of the task, while no result of that attempt is here;
 * NULL if it does not run. */
const struct live_task *ask_live(const struct ask *a,
                                 const struct task_state *row);

/* Adds to a row's object why a held or blocked task waits. Reads tasks into
 * the pool, which is not reset. */
void ask_add_wait(const struct ask *a, const struct task_state *row, json_t *o);
/* Adds to a shown task what it waits for, if it does. As above. */
void ask_add_waits(const struct ask *a, const struct task_state *row,
                   json_t *o);

json_t *ask_status(struct ask *a);
json_t *ask_costs(struct ask *a, const json_t *request);
json_t *ask_decisions(struct ask *a, const json_t *request);

#endif
