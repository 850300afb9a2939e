#include "workers/core/worker_private.h"

#include "lib/model/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    NEWS_LEAST_MS = 1000, /* between heartbeats told by a change */
    BRISK_MS = 10000,     /* without a run: what it was like says nothing */
    ROLL_MOST_MS = 100, /* from a roll call to the answer, which so many give */
    RUNNING_MOST = 64,  /* tasks a heartbeat lists */
};

static uint64_t
memory_free_bytes(void)
{
    unsigned long long kb = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "re");

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu", &kb) == 1)
            break;
    if (f)
        (void)fclose(f);
    return (uint64_t)kb * 1024;
}

static size_t
list_running(const struct worker *w, struct running_task *out)
{
    size_t n = 0;

    for (const struct attempt *a = w->attempts; a && n < RUNNING_MOST;
         a = a->next)
        if (a->phase == PHASE_RUN)
            out[n++] = (struct running_task){a->task->id, a->claim.attempt,
                                             a->claim.started_at_ms,
                                             a->task->name, a->claim.remote};
    return n;
}

/* Whether the tasks that come now are likely to be as short as those before. */
static bool
has_short_runs(struct worker *w)
{
    int64_t now = loop_now_ms();

    return prefetch_runs_are_short(&w->ahead, now) &&
           now - w->ran_ms < BRISK_MS && !w->draining;
}

void
heartbeat_send(struct worker *w)
{
    struct running_task running[RUNNING_MOST];
    char subject[SUBJECT_SIZE];
    struct heartbeat h;
    double load[3];

    codec_init(CODEC_HEARTBEAT, &h);
    mem_pool_reset(w->scratch_pool);
    h.worker = w->name;
    h.backend = w->ex->name;
    h.n_lanes = w->n_lanes;
    h.lanes = mem_pool_alloc(w->scratch_pool, w->n_lanes * sizeof *h.lanes);
    for (size_t i = 0; i < w->n_lanes; i++)
        h.lanes[i] = w->lanes[i].name;
    h.slots = w->slots;
    h.running = running;
    h.n_running = list_running(w, running);
    h.running_count = w->running;
    h.memory_free_bytes = memory_free_bytes();
    h.sent_at_ms = str_wall_ms();
    h.draining = w->draining;
    h.stopped = w->stopped;
    h.started_at_ms = w->started_at_ms;
    h.version = SHUNT_VERSION;
    h.host = w->host;
    h.pid = (int32_t)getpid();
    h.load = load;
    h.n_load = getloadavg(load, 3) == 3 ? 3 : 0;
    h.brisk = has_short_runs(w);
    str_reset(&w->scratch);
    codec_encode(CODEC_HEARTBEAT, &h, &w->scratch);
    bus_publish_core(w->bus, subject_heartbeat(subject, w->ex->name, w->name),
                     w->scratch.data, w->scratch.len);
    w->last_news_ms = loop_now_ms();
    w->busy_told = w->running > 0;
    if (w->short_runs_told != h.brisk)
        w->short_runs_ms = w->last_news_ms;
    w->short_runs_told = h.brisk;
}

static bool
is_news(struct worker *w)
{
    return w->busy_told != (w->running > 0) ||
           w->short_runs_told != has_short_runs(w);
}

static void
on_news(void *ctx)
{
    struct worker *w = ctx;

    loop_timer_stop(w->news);
    w->news = NULL;
    if (is_news(w))
        heartbeat_send(w);
}

void
heartbeat_notify(struct worker *w)
{
    int64_t now = loop_now_ms(), wait_ms;

    if (!is_news(w))
        return;
    /* It may follow at once on becoming busy: much is to be had of it. */
    if (w->short_runs_told != has_short_runs(w) &&
        now - w->short_runs_ms >= NEWS_LEAST_MS) {
        heartbeat_send(w);
        return;
    }
    wait_ms = w->last_news_ms + NEWS_LEAST_MS - now;
    if (w->news)
        return;
    if (wait_ms > 0)
        w->news = loop_timer_start(w->loop, wait_ms, 0, on_news, w);
    else
        heartbeat_send(w);
}

static void
on_roll(void *ctx)
{
    struct worker *w = ctx;

    loop_timer_stop(w->roll);
    w->roll = NULL;
    heartbeat_send(w);
}

void
heartbeat_answer_roll_call(struct worker *w)
{
    if (!w->roll && !w->stopped)
        w->roll =
            loop_timer_start(w->loop, random() % ROLL_MOST_MS, 0, on_roll, w);
}
