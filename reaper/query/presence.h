/*
 * presence - which workers are alive and which tasks run at this moment, from
 * heartbeats and messages on started.*.
 *
 * In memory only and never part of the ledger: these messages may be lost, and
 * a replay of the streams must give the same database. It is laid over answers.
 *
 * Bounded: PRESENCE_WORKERS_MAX workers, PRESENCE_TASKS_MAX tasks. A worker
 * counts as alive for PRESENCE_MS after its last heartbeat. A task of which
 * neither it nor its worker was heard for so long is silent: it does not run,
 * as far as is known. Silent tasks are kept for PRESENCE_SILENT_MS, unless they
 * start again or end.
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
void presence_close(struct presence *p); /* NULL is fine */

/* What a worker reports of the task; NULL if it does not run or is silent. */
const struct presence_task *presence_find(const struct presence *p,
                                          const char *id);
/* The task finished. */
void presence_task_ended(struct presence *p, const char *id);

/* Tasks that run; silent: those that ran, and of which nothing was heard since
 * seen_ms. */
void presence_each_task(const struct presence *p, bool silent,
                        void (*fn)(void *ctx, const struct presence_task *t),
                        void *ctx);
/* Workers that are alive; age_ms: since the heartbeat was received. */
void presence_each_worker(const struct presence *p,
                          void (*fn)(void *ctx, const struct heartbeat *h,
                                     int64_t age_ms),
                          void *ctx);

/* What a person should know of workers, as alarms: worker_lost, one that fell
 * silent within a day and did not say that it stops; worker_twice, two of one
 * name. */
void presence_each_fault(const struct presence *p,
                         void (*fn)(void *ctx, const char *name,
                                    const char *text),
                         void *ctx);

/* Whether path, absolute, is in a folder whose files a gateway takes. */
bool presence_takes(const struct presence *p, const char *path);

/* Process one message; for tests. */
void presence_on_started(struct presence *p, const struct claim *c,
                         const char *backend, int64_t now_ms);
void presence_on_heartbeat(struct presence *p, const struct heartbeat *h,
                           const void *data, size_t len, int64_t now_ms);

#endif
