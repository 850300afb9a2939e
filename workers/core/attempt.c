/*
 * Keeps the attempts in a list and in a hash table by task; each is part of the
 * pool its task was decoded into. An attempt that leaves first lets go of
 * everything that could report to it, then of its memory, then of its message,
 * which is settled with the last of its attempts.
 */
#include "workers/core/attempt.h"

#include "lib/base/failpoint.h"
#include "lib/model/codec.h"
#include "workers/core/capacity.h"
#include "workers/core/claim.h"
#include "workers/core/delivery.h"
#include "workers/core/result_publisher.h"

/* --- memory --------------------------------------------------------------- */

struct attempt *
attempt_find(const struct worker *w, const char *task)
{
    return hash_table_find(&w->tasks, task);
}

struct attempt *
attempt_new(struct delivery *d, struct mem_pool *pool,
            const struct routed_task *routed)
{
    struct worker *w = d->lane->worker;
    struct attempt *a = mem_pool_alloc(pool, sizeof *a);

    delivery_hold(d);
    a->w = w;
    a->lane = d->lane;
    a->delivery = d;
    a->pool = pool;
    a->why = "";
    a->routed = *routed;
    a->task = routed->task;
    a->began_ms = a->ended_ms = loop_now_ms();
    deadlines_init(&a->deadlines, w->deadlines);
    lease_begin(&a->lease);
    codec_init(CODEC_CLAIM, &a->claim);
    hash_table_add(&w->tasks, &a->link, a->task->id);
    a->next = w->attempts;
    if (a->next)
        a->next->prev = a;
    w->attempts = a;
    w->n_attempts++;
    capacity_set_windows(w, NULL);
    return a;
}

/* --- phases --------------------------------------------------------------- */

static bool
is_over(enum attempt_phase phase)
{
    return phase >= PHASE_OUTPUT;
}

void
attempt_set_phase(struct attempt *a, enum attempt_phase phase)
{
    struct worker *w = a->w;
    bool before = is_over(a->phase), after = is_over(phase);

    a->phase = phase;
    if (before == after)
        return;
    if (after)
        w->n_over++;
    else
        w->n_over--;
    capacity_set_windows(w, NULL);
}

void
attempt_enqueue(struct attempt *a)
{
    struct worker *w = a->w;

    if (w->ready_last)
        w->ready_last->ready_next = a;
    else
        w->ready = a;
    w->ready_last = a;
}

void
attempt_dequeue(struct attempt *a)
{
    struct worker *w = a->w;
    struct attempt *prev = NULL, *at = w->ready;

    while (at && at != a) {
        prev = at;
        at = at->ready_next;
    }
    if (!at)
        return;
    if (prev)
        prev->ready_next = a->ready_next;
    else
        w->ready = a->ready_next;
    if (w->ready_last == a)
        w->ready_last = prev;
    a->ready_next = NULL;
}

/* --- leaving -------------------------------------------------------------- */

static void
leave(struct attempt *a)
{
    struct worker *w = a->w;
    struct delivery *d = a->delivery;

    claim_forget(a);
    result_publisher_forget(a);
    if (a->phase == PHASE_READY)
        attempt_dequeue(a);
    if (a->run) {
        w->ex->free(a->run);
        w->running--;
    }
    hash_table_remove(&w->tasks, &a->link);
    if (a->prev)
        a->prev->next = a->next;
    else
        w->attempts = a->next;
    if (a->next)
        a->next->prev = a->prev;
    w->n_attempts--;
    if (is_over(a->phase))
        w->n_over--;
    capacity_set_windows(w, d->open == 1 ? a->lane : NULL);
    sink_close(a->sink);
    dod_evidence_close(a->evidence);
    str_free(&a->prior);
    delivery_pool_give(w, a->pool); /* and with it the attempt */
    delivery_release(d);
}

void
attempt_done(struct attempt *a)
{
    leave(a);
    FAILPOINT("worker.after_ack");
}

void
attempt_retry(struct attempt *a, int64_t delay_ms)
{
    delivery_retry(a->delivery, &a->routed, delay_ms);
    leave(a);
}

void
attempt_drop(struct attempt *a)
{
    a->delivery->left = true;
    leave(a);
}

void
attempt_drop_all(struct worker *w)
{
    w->ready = w->ready_last = NULL;
    while (w->attempts)
        attempt_drop(w->attempts);
}
