/*
 * presence - what runs at this moment, from heartbeats and news of starts.
 *
 * In memory only and never part of the ledger: news may be lost, and a replay
 * of the streams must give the same database. It is laid over answers.
 *
 * Bounded: PRESENCE_WORKERS_MAX workers, PRESENCE_TASKS_MAX tasks. A worker
 * counts as alive for PRESENCE_MS after its last heartbeat. A task that neither
 * it nor its worker is heard of does not run, as far as anybody knows: it is
 * silent, and remembered as such for PRESENCE_SILENT_MS, unless it starts again
 * or ends.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_QUERY_PRESENCE_H
#define REAPER_QUERY_PRESENCE_H

#include "lib/base/hash.h"
#include "lib/bus/bus.h"
#include "lib/model/task.h"

enum {
    PRESENCE_MS = 30000,
    PRESENCE_SILENT_MS = 24 * 3600 * 1000,
    PRESENCE_WORKERS_MAX = 4096,
    PRESENCE_TASKS_MAX = 65536,
};

struct presence;

struct presence_task {
    struct hash_link link; /* by id */
    char id[TASK_ID_SIZE], worker[TASK_ID_SIZE], backend[TASK_ID_SIZE];
    uint32_t attempt;
    int64_t started_at_ms;
    int64_t seen_ms; /* monotonic */
    char *remote;    /* what its claim notes of work elsewhere; NULL: nothing */
};

/* Subscribes. On 0 the caller owns *out. */
int presence_open(struct presence **out, struct bus *b, struct err *e);
void presence_close(struct presence *l); /* NULL is fine */

/* What a worker says of the task; NULL if nobody runs it, or it is silent. */
const struct presence_task *presence_find(const struct presence *l,
                                          const char *id);
/* The task is over. */
void presence_task_ended(struct presence *l, const char *id);

void presence_each_task(const struct presence *l,
                        void (*fn)(void *ctx, const struct presence_task *t),
                        void *ctx);
/* Those that fell silent: they ran, and nothing was heard since seen_ms. */
void presence_each_silent(const struct presence *l,
                          void (*fn)(void *ctx, const struct presence_task *t),
                          void *ctx);
/* age_ms: since it was received. Only workers that are alive. */
void presence_each_worker(const struct presence *l,
                          void (*fn)(void *ctx, const struct heartbeat *h,
                                     int64_t age_ms),
                          void *ctx);

/* The same news by hand, for tests. */
void presence_on_started(struct presence *l, const struct claim *c,
                         const char *backend, int64_t now_ms);
void presence_on_heartbeat(struct presence *l, const struct heartbeat *h,
                           const void *data, size_t len, int64_t now_ms);

#endif
