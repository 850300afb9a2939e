/*
 * Keeps an array of times per attempt and one timer per worker. Setting a time
 * moves the timer forward if need be; it is never moved back, as a call that
 * finds nothing due only sets it anew.
 */
#include "workers/core/deadlines.h"

#include "lib/base/mem.h"

struct deadline_timer {
    struct loop *loop;
    deadlines_fn *fn;
    void *ctx;
    struct loop_timer *timer;
    int64_t at_ms; /* when it fires; INT64_MAX: never */
};

struct deadline_timer *
deadlines_open(struct loop *l, deadlines_fn *fn, void *ctx)
{
    struct deadline_timer *t = MEM_NEW(struct deadline_timer);

    *t = (struct deadline_timer){l, fn, ctx, NULL, INT64_MAX};
    return t;
}

void
deadlines_close(struct deadline_timer *t)
{
    if (!t)
        return;
    loop_timer_stop(t->timer);
    mem_free(t);
}

static void
on_timer(void *ctx)
{
    struct deadline_timer *t = ctx;

    t->at_ms = INT64_MAX;
    deadlines_wake(t, t->fn(t->ctx, loop_now_ms()));
}

void
deadlines_wake(struct deadline_timer *t, int64_t at_ms)
{
    if (at_ms >= t->at_ms)
        return;
    t->at_ms = at_ms;
    if (t->timer)
        loop_timer_again(t->timer, at_ms - loop_now_ms(), 0);
    else
        t->timer =
            loop_timer_start(t->loop, at_ms - loop_now_ms(), 0, on_timer, t);
}

void
deadlines_init(struct deadlines *d, struct deadline_timer *t)
{
    d->timer = t;
    for (int i = 0; i < DUE_COUNT; i++)
        d->at_ms[i] = INT64_MAX;
}

void
deadlines_set(struct deadlines *d, enum deadline what, int64_t at_ms)
{
    d->at_ms[what] = at_ms;
    deadlines_wake(d->timer, at_ms);
}

void
deadlines_put_off(struct deadlines *d, enum deadline what, int64_t ms)
{
    if (deadlines_is_set(d, what))
        deadlines_set(d, what, d->at_ms[what] + ms);
}

void
deadlines_clear(struct deadlines *d, enum deadline what)
{
    d->at_ms[what] = INT64_MAX;
}

bool
deadlines_is_set(const struct deadlines *d, enum deadline what)
{
    return d->at_ms[what] != INT64_MAX;
}

bool
deadlines_take(struct deadlines *d, enum deadline what, int64_t now_ms)
{
    if (d->at_ms[what] > now_ms)
        return false;
    deadlines_clear(d, what);
    return true;
}

int64_t
deadlines_next(const struct deadlines *d)
{
    int64_t out = INT64_MAX;

    for (int i = 0; i < DUE_COUNT; i++)
        if (d->at_ms[i] < out)
            out = d->at_ms[i];
    return out;
}
