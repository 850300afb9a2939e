/*
 * Publishes heartbeats: one with each renewal of the claims, one when the
 * number of running tasks changes, one for each roll call. A heartbeat is not
 * stored; whoever misses one waits for the next.
 *
 * A change is published at once, before the result of a task that has ended:
 * whoever knows of the end and asks the router next finds that it counts no
 * more. Only a worker with very many changes a second tells them later.
 */
#include "workers/core/heartbeat.h"

#include "lib/base/backoff.h"
#include "lib/base/mem.h"
#include "lib/base/version.h"
#include "lib/model/codec.h"
#include "lib/os/os.h"
#include "workers/core/worker_types.h"

#include <stdio.h>
#include <unistd.h>

enum {
    CHANGES_MOST = 100,  /* heartbeats that report a change, without a pause */
    CHANGE_EACH_MS = 20, /* after which one more is allowed */
    SHORT_RUNS_MS = 10000, /* without a run: past runs say nothing */
    ROLL_MOST_MS = 100,    /* from a roll call to the answer */
    RUNNING_MOST = 64,     /* tasks that a heartbeat lists */
};

struct heartbeat_state {
    char host[256];
    int64_t started_at_ms;
    struct loop_timer *timer; /* to the next one for a reason below */
    bool roll_call;           /* there was one, else something changed */
    uint32_t running;         /* what the last one said */
    bool short_runs;
    int64_t changes_ms; /* time for which changes have been allowed */
};

void
heartbeat_open(struct worker *w)
{
    struct heartbeat_state *s = MEM_NEW(struct heartbeat_state);

    if (gethostname(s->host, sizeof s->host - 1) < 0)
        s->host[0] = '\0';
    s->started_at_ms = str_wall_ms();
    w->heartbeat = s;
}

void
heartbeat_close(struct worker *w)
{
    loop_timer_stop(w->heartbeat->timer);
    mem_free(w->heartbeat);
}

static size_t
list_running(const struct worker *w, struct running_task *out)
{
    size_t n = 0;

    for (const struct attempt *a = LIST_FIRST(&w->attempts);
         a && n < RUNNING_MOST; a = LIST_NEXT(a, entry))
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

    return prefetch_runs_are_short(&w->prefetch, now) &&
           now - w->ran_ms < SHORT_RUNS_MS && !w->draining;
}

void
heartbeat_send(struct worker *w)
{
    struct heartbeat_state *s = w->heartbeat;
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
    h.memory_free_bytes = os_memory_free_bytes();
    h.sent_at_ms = str_wall_ms();
    h.draining = w->draining;
    h.stopped = w->stopped;
    h.started_at_ms = s->started_at_ms;
    h.version = shunt_version;
    h.host = s->host;
    h.pid = (int32_t)getpid();
    h.load = load;
    h.n_load = getloadavg(load, 3) == 3 ? 3 : 0;
    h.brisk = has_short_runs(w);
    str_reset(&w->scratch);
    codec_encode(CODEC_HEARTBEAT, &h, &w->scratch);
    bus_publish_core(w->bus, subject_heartbeat(subject, w->ex->name, w->name),
                     w->scratch.data, w->scratch.len);
    s->running = w->running;
    s->short_runs = h.brisk;
}

static bool
has_changed(struct worker *w)
{
    /* Between two runs of a queue the worker is not idle. */
    if (w->running == 0 && !TAILQ_EMPTY(&w->ready))
        return false;
    return w->heartbeat->running != w->running ||
           w->heartbeat->short_runs != has_short_runs(w);
}

static void
on_timer(void *ctx)
{
    struct worker *w = ctx;
    struct heartbeat_state *s = w->heartbeat;
    bool wanted = s->roll_call || has_changed(w);

    loop_timer_stop(s->timer);
    s->timer = NULL;
    s->roll_call = false;
    if (wanted)
        heartbeat_send(w);
}

void
heartbeat_notify(struct worker *w)
{
    struct heartbeat_state *s = w->heartbeat;
    int64_t now = loop_now_ms();
    int64_t oldest_ms = now - CHANGES_MOST * CHANGE_EACH_MS;

    if (!has_changed(w))
        return;
    if (s->changes_ms < oldest_ms)
        s->changes_ms = oldest_ms;
    if (s->changes_ms + CHANGE_EACH_MS <= now) {
        s->changes_ms += CHANGE_EACH_MS;
        heartbeat_send(w);
    } else if (!s->timer) {
        s->timer = loop_timer_start(w->loop, CHANGE_EACH_MS, 0, on_timer, w);
    }
}

void
heartbeat_answer_roll_call(struct worker *w)
{
    struct heartbeat_state *s = w->heartbeat;

    if (s->roll_call || w->stopped)
        return;
    s->roll_call = true;
    loop_timer_stop(s->timer);
    s->timer = loop_timer_start(
        w->loop, backoff_jitter(ROLL_MOST_MS, 0, 1, backoff_random()), 0,
        on_timer, w);
}
