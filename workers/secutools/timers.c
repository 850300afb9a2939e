/*
 * A binary heap of runs by due_ms with one timer for the soonest. While
 * requests wait for a connection, further runs wait in the heap.
 */
#include "workers/secutools/secutools_private.h"

#include "lib/base/mem.h"

/* Each run knows its position in the heap, counted from 1. */
static void
put_at(struct secutools *s, struct platform_run *r, size_t at)
{
    s->due[at - 1] = r;
    r->heap_at = (uint32_t)at;
}

static void
sift_up(struct secutools *s, struct platform_run *r, size_t at)
{
    while (at > 1 && s->due[at / 2 - 1]->due_ms > r->due_ms) {
        put_at(s, s->due[at / 2 - 1], at);
        at /= 2;
    }
    put_at(s, r, at);
}

static void
sift_down(struct secutools *s, struct platform_run *r, size_t at)
{
    size_t child;

    while ((child = at * 2) <= s->n_due) {
        if (child < s->n_due &&
            s->due[child]->due_ms < s->due[child - 1]->due_ms)
            child++;
        if (s->due[child - 1]->due_ms >= r->due_ms)
            break;
        put_at(s, s->due[child - 1], at);
        at = child;
    }
    put_at(s, r, at);
}

void
timers_cancel(struct platform_run *r)
{
    struct secutools *s = r->s;
    size_t at = r->heap_at;
    struct platform_run *last;

    if (!at)
        return;
    r->heap_at = 0;
    last = s->due[--s->n_due];
    if (last == r)
        return;
    if (at > 1 && s->due[at / 2 - 1]->due_ms > last->due_ms)
        sift_up(s, last, at);
    else
        sift_down(s, last, at);
}

/* Requests that wait for a connection cost memory: as many of them as there are
 * connections keep these busy, further runs wait here. */
static bool
is_full(const struct secutools *s)
{
    return http_pending(s->http) >= 2 * (size_t)s->conf->max_connections;
}

static void on_timer(void *ctx);

void
timers_update(struct secutools *s)
{
    int64_t now = loop_now_ms(), at;

    if (!s->n_due || (s->due[0]->due_ms != AT_ONCE && is_full(s)))
        return; /* if full, the end of a call leads here again */
    at = s->due[0]->due_ms > now ? s->due[0]->due_ms : now;
    if (at >= s->timer_ms)
        return;
    s->timer_ms = at;
    if (s->timer)
        loop_timer_again(s->timer, at - now, 0);
    else
        s->timer = loop_timer_start(s->loop, at - now, 0, on_timer, s);
}

void
timers_at(struct platform_run *r, int64_t due_ms)
{
    struct secutools *s = r->s;

    timers_cancel(r);
    r->due_ms = due_ms;
    s->due = mem_grow(s->due, s->n_due, &s->cap_due, sizeof(*s->due));
    sift_up(s, r, ++s->n_due);
    timers_update(s);
}

void
timers_in(struct platform_run *r, int64_t delay_ms)
{
    timers_at(r, loop_now_ms() + delay_ms);
}

static void
on_timer(void *ctx)
{
    struct secutools *s = ctx;
    int64_t now = loop_now_ms();

    s->timer_ms = INT64_MAX;
    while (s->n_due && s->due[0]->due_ms <= now &&
           (s->due[0]->due_ms == AT_ONCE || !is_full(s))) {
        struct platform_run *r = s->due[0];

        timers_cancel(r);
        run_act(r);
    }
    timers_update(s);
}
