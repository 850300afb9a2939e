/*
 * query_private - what the files that answer questions share.
 *
 *   query.c        dispatch, errors, sizes
 *   tasks.c        tasks and batches
 *   wait_facts.c   what a task waits for, from the database and the workers
 *   status.c       counters, lanes, workers, alarms
 *   costs.c        what a day's attempts cost
 *   decisions.c    past decisions, for a replay with another policy
 *   delegated.c    tasks on an AI platform
 *   watchdog.c     tasks and lanes without a worker
 */
#ifndef REAPER_QUERY_QUERY_PRIVATE_H
#define REAPER_QUERY_QUERY_PRIVATE_H

#include "reaper/query/query.h"

struct query {
    struct query_parts p;
    struct bus_sub *sub;
    struct mem_pool *pool; /* of one answer */
};

/* --- answers: the caller owns them; {"error": ...} on failure ------------- */

/* request NULL: without parameters. */
typedef json_t *query_fn(struct query *q, const json_t *request);
query_fn query_list, query_show, query_find, query_submission, query_batch;
query_fn query_status, query_workers, query_delegated, query_watchdog;
query_fn query_costs, query_decisions;

/* --- JSON ----------------------------------------------------------------- */

/* {"error": ...} for a failed call. */
json_t *query_failure(const struct err *e);
/* Bytes of o as text. */
size_t query_size(const json_t *o);
/* Bytes an answer may have. */
size_t query_room(const struct query *q);
/* The bytes that are left beside o. */
size_t query_room_beside(const struct query *q, const json_t *o);
/* Takes over o: adds it to list if it fits into *room bytes, which shrink by
 * its size; else false. never_empty: the first element is added anyway. */
bool query_append(json_t *list, json_t *o, size_t *room, bool never_empty);
/* A number among counters; 0 if it is missing. */
json_int_t query_count(const json_t *counters, const char *name);

/* --- tasks ---------------------------------------------------------------- */

/* What a worker reports of the task while no result of that attempt is here;
 * NULL if it does not run. */
const struct presence_task *query_running(const struct query *q,
                                          const struct task_state *row);
/* Reads the row of a task that a worker reports; false if it does not run.
 * Resets the pool. */
bool query_running_row(const struct query *q, const struct presence_task *t,
                       struct task_state *out);
/* A row of a list. Does not reset the pool. */
json_t *query_row(const struct query *q, const struct task_state *row);
/* Removes what may be long and says neither what to run nor where. */
void query_strip(struct task *t);

/* Adds to a row's object why a held or blocked task waits. Reads tasks into
 * the pool, which is not reset. */
void query_add_wait(const struct query *q, const struct task_state *row,
                    json_t *o);
/* Adds to a shown task what it waits for, if it does; last: its last attempt,
 * or NULL. As above. */
void query_add_waits(const struct query *q, const struct task_state *row,
                     const struct result *last, json_t *o);

/*
 * Reads the row of a silent task; false if the task is not stale: finished,
 * started again, or delegated, as a platform continues without a worker. Resets
 * the pool.
 */
bool query_stale_row(const struct query *q, const struct presence_task *t,
                     struct task_state *out);

/* --- delegation ----------------------------------------------------------- */

/* The backend whose tasks run on an AI platform; each provider is a lane. */
#define QUERY_DELEGATED "secutools"

/*
 * Sums of the delegated tasks, from the lanes of status: submitted (ever),
 * waiting, running, succeeded, failed, cancelled. providers, if given, gets
 * the sums of each. The caller owns the result.
 */
json_t *query_delegation(json_t *lanes, json_t *providers);

#endif
