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
attempt_new(struct delivery *d, struct mem_pool *pool,
            const struct routed_task *routed)
{
    struct worker *w = d->lane->worker;
    struct attempt *a = mem_pool_alloc(pool, sizeof *a);

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
    LIST_INSERT_HEAD(&w->attempts, a, entry);
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

    if (a->phase == PHASE_READY)
        TAILQ_REMOVE(&w->ready, a, queue);
    if (phase == PHASE_READY)
        TAILQ_INSERT_TAIL(&w->ready, a, queue);
    a->phase = phase;
    if (before == after)
        return;
    w->n_over = after ? w->n_over + 1 : w->n_over - 1;
    capacity_set_windows(w, NULL);
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
        TAILQ_REMOVE(&w->ready, a, queue);
    if (a->run) {
        w->ex->free(a->run);
        w->running--;
    }
    hash_table_remove(&w->tasks, &a->link);
    LIST_REMOVE(a, entry);
    w->n_attempts--;
    if (is_over(a->phase))
        w->n_over--;
    capacity_set_windows(w, d->open == 1 ? a->lane : NULL);
    output_close(a->output);
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
