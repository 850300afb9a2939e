/*
 * presence - what runs at this moment, from heartbeats and news of starts.
 *
 * In memory only and never part of the ledger: news may be lost, and a replay
 * of the streams must give the same database. It is laid over answers.
 *
 * Bounded: LIVE_WORKERS_MAX workers, LIVE_TASKS_MAX tasks. A worker counts as
 * alive for LIVE_MS after its last heartbeat. A task that neither it nor its
 * worker is heard of does not run, as far as anybody knows: it is silent, and
 * remembered as such for LIVE_SILENT_MS, unless it starts again or ends.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_QUERY_PRESENCE_H
#define REAPER_QUERY_PRESENCE_H

#include "lib/bus/bus.h"
#include "lib/model/task.h"

enum {
    LIVE_MS = 30000,
    LIVE_SILENT_MS = 24 * 3600 * 1000,
    LIVE_WORKERS_MAX = 4096,
    LIVE_TASKS_MAX = 65536,
};

struct live;

struct live_task {
    char id[TASK_ID_SIZE], worker[TASK_ID_SIZE], backend[TASK_ID_SIZE];
    uint32_t attempt;
    int64_t started_at_ms;
    int64_t seen_ms; /* monotonic */
    char *remote;    /* what its claim notes of work elsewhere; NULL: nothing */
    struct live_task *next;
};

/* Subscribes. On 0 the caller owns *out. */
int live_open(struct live **out, struct bus *b, struct err *e);
void live_close(struct live *l); /* NULL is fine */

/* What a worker says of the task; NULL if nobody runs it, or it is silent. */
const struct live_task *live_find(const struct live *l, const char *id);
/* The task is over. */
void live_over(struct live *l, const char *id);

void live_each_task(const struct live *l,
                    void (*fn)(void *ctx, const struct live_task *t),
                    void *ctx);
/* Those that fell silent: they ran, and nothing was heard since seen_ms. */
void live_each_silent(const struct live *l,
                      void (*fn)(void *ctx, const struct live_task *t),
                      void *ctx);
/* age_ms: since it was received. Only workers that are alive. */
void live_each_worker(const struct live *l,
                      void (*fn)(void *ctx, const struct heartbeat *h,
                                 int64_t age_ms),
                      void *ctx);

/* The same news by hand, for tests. */
void live_on_started(struct live *l, const struct claim *c, const char *backend,
                     int64_t now_ms);
void live_on_heartbeat(struct live *l, const struct heartbeat *h,
                       const void *data, size_t len, int64_t now_ms);

#endif
