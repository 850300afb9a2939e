/*
 * query_private - what the parts of ask share.
 *
 *   ask.c         questions about tasks and batches
 *   query_status.c  the state of the whole
 *   ask_wait.c    what a task waits for
 *   query_costs.c   what a day's work cost
 *   query_decisions.c  past decisions, to judge them anew
 *   query_delegated.c  what an AI platform has in hand
 *   query_watchdog.c   what nobody sees to
 */
#ifndef REAPER_QUERY_QUERY_PRIVATE_H
#define REAPER_QUERY_QUERY_PRIVATE_H

#include "reaper/query/query.h"

struct ask {
    struct query_parts p;
    struct bus_sub *sub;
    struct mem_pool *pool;
};

/* Takes over value. */
void query_set(json_t *o, const char *key, json_t *value);
/* {"error": ...} for a failed call. */
json_t *query_failure(const struct err *e);
/* Bytes of o as text. */
size_t query_size(const json_t *o);
/* Takes off what may be long and says neither what to run nor where. */
void query_strip(struct task *t);
/* Bytes an answer may have. */
size_t query_room(const struct ask *a);
/* What a worker says of the task, while no result of that attempt is here;
 * NULL if it does not run. */
const struct presence_task *query_live(const struct ask *a,
                                       const struct task_state *row);

/* Adds to a row's object why a held or blocked task waits. Reads tasks into
 * the pool, which is not reset. */
void query_add_wait(const struct ask *a, const struct task_state *row,
                    json_t *o);
/* Adds to a shown task what it waits for, if it does; last: its last attempt,
 * or NULL. As above. */
void query_add_waits(const struct ask *a, const struct task_state *row,
                     const struct result *last, json_t *o);

/* A row of a list. Resets nothing. */
json_t *query_row(const struct ask *a, const struct task_state *row);

/* A number among counters; 0 if there is none. */
json_int_t query_count(const json_t *counters, const char *name);

/* The backend whose tasks an AI platform does; each provider is a lane. */
#define ASK_DELEGATED "secutools"

/*
 * What was delegated, summed up from the lanes of status: submitted (ever),
 * waiting, running, succeeded, failed, cancelled. providers, if given, gets
 * the sums of each. The caller owns the result.
 */
json_t *query_delegation(json_t *lanes, json_t *providers);

/*
 * Calls fn for each task that ran and fell silent, delegated ones aside: their
 * platform goes on without us. Returns how many; fn may be NULL. The row lives
 * during the call.
 */
unsigned query_each_stale(struct ask *a,
                          void (*fn)(void *ctx, const struct task_state *row,
                                     const struct presence_task *t),
                          void *ctx);

json_t *query_status(struct ask *a);
json_t *query_workers(struct ask *a);
json_t *query_delegated(struct ask *a);
json_t *query_watchdog(struct ask *a);
/* request NULL: of today. */
json_t *query_costs(struct ask *a, const json_t *request);
json_t *query_decisions(struct ask *a, const json_t *request);

#endif
