/*
 * Keeps the attempts in a list and in a hash table by task, and a few freed
 * ones for the next. An attempt that leaves first lets go of everything that
 * could report to it, then of its memory, then of its message, which is settled
 * with the last of its attempts.
 */
#include "workers/core/attempt.h"

#include "lib/base/failpoint.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "workers/core/capacity.h"
#include "workers/core/claim.h"
#include "workers/core/delivery.h"
#include "workers/core/result_publisher.h"

#include <string.h>

enum {
    BUCKETS = 256,
    SPARE_MOST = 64, /* kept for the next attempts */
};

struct attempt_table {
    struct attempt *buckets[BUCKETS];
    struct attempt *ready, *ready_last;
    struct attempt *spare;
    unsigned n_spare;
};

/* --- memory --------------------------------------------------------------- */

static struct attempt **
bucket(const struct worker *w, const char *task)
{
    uint32_t h = 2166136261u;

    for (; *task; task++)
        h = (h ^ (unsigned char)*task) * 16777619u;
    return &w->table->buckets[h % BUCKETS];
}

struct attempt *
attempt_find(const struct worker *w, const char *task)
{
    struct attempt *a = *bucket(w, task);

    while (a && strcmp(a->task->id, task) != 0)
        a = a->hash_next;
    return a;
}

/* Zeroed. */
static struct attempt *
take_memory(struct attempt_table *t)
{
    struct attempt *a = t->spare;

    if (!a)
        return MEM_NEW(struct attempt);
    t->spare = a->next;
    t->n_spare--;
    memset(a, 0, sizeof *a);
    return a;
}

static void
give_memory(struct attempt_table *t, struct attempt *a)
{
    if (t->n_spare == SPARE_MOST) {
        mem_free(a);
        return;
    }
    a->next = t->spare;
    t->spare = a;
    t->n_spare++;
}

static void
link_attempt(struct worker *w, struct attempt *a)
{
    struct attempt **at = bucket(w, a->task->id);

    a->hash_next = *at;
    *at = a;
    a->next = w->attempts;
    if (a->next)
        a->next->prev = a;
    w->attempts = a;
    w->n_attempts++;
}

static void
unlink_attempt(struct worker *w, struct attempt *a)
{
    struct attempt **at = bucket(w, a->task->id);

    while (*at != a)
        at = &(*at)->hash_next;
    *at = a->hash_next;
    if (a->prev)
        a->prev->next = a->next;
    else
        w->attempts = a->next;
    if (a->next)
        a->next->prev = a->prev;
    w->n_attempts--;
}

void
attempt_open(struct worker *w)
{
    w->table = MEM_NEW(struct attempt_table);
}

void
attempt_close(struct worker *w)
{
    struct attempt *a;

    while ((a = w->table->spare)) {
        w->table->spare = a->next;
        mem_free(a);
    }
    mem_free(w->table);
}

struct attempt *
attempt_new(struct delivery *d, struct mem_pool *pool,
            const struct routed_task *routed)
{
    struct worker *w = d->lane->worker;
    struct attempt *a = take_memory(w->table);

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
    link_attempt(w, a);
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
    struct attempt_table *t = a->w->table;

    if (t->ready_last)
        t->ready_last->ready_next = a;
    else
        t->ready = a;
    t->ready_last = a;
}

void
attempt_dequeue(struct attempt *a)
{
    struct attempt_table *t = a->w->table;
    struct attempt *prev = NULL, *at = t->ready;

    while (at && at != a) {
        prev = at;
        at = at->ready_next;
    }
    if (!at)
        return;
    if (prev)
        prev->ready_next = a->ready_next;
    else
        t->ready = a->ready_next;
    if (t->ready_last == a)
        t->ready_last = prev;
    a->ready_next = NULL;
}

struct attempt *
attempt_first_ready(const struct worker *w)
{
    return w->table->ready;
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
    unlink_attempt(w, a);
    if (is_over(a->phase))
        w->n_over--;
    capacity_set_windows(w, d->open == 1 ? a->lane : NULL);
    sink_close(a->sink);
    dod_evidence_close(a->evidence);
    str_free(&a->prior);
    delivery_pool_give(w, a->pool);
    give_memory(w->table, a);
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
    w->table->ready = w->table->ready_last = NULL;
    while (w->attempts)
        attempt_drop(w->attempts);
}
