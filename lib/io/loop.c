/*
 * Wraps libuv: each handle is the first member of a struct with the caller's
 * function and context, and that struct is freed in the handle's close
 * callback. Everything else of libuv stays in this file.
 */
#include "lib/io/loop.h"

#include "lib/base/mem.h"
#include "lib/os/os.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

/* When the loop last went to sleep, by both clocks, and when it had to wake. A
 * timer of its own says that: what libuv tells of the next one is 0 while there
 * are new descriptors. */
struct loop_gap {
    uv_prepare_t h;
    struct loop_timer *tick;
    int64_t least_ms;
    loop_gap_fn *fn;
    void *ctx;
    int64_t turn_ms, boot_ms;
    int64_t wake_ms; /* INT64_MAX: not known */
};

enum { GAP_PERIOD_MS = 5000 };

struct loop {
    uv_loop_t uv;
    struct loop_gap *gap; /* NULL: nobody asks */
    int rc;
    bool stopped;
    void (*on_term)(void *ctx, int nth);
    void *term_ctx;
    int terms; /* TERM and INT seen so far */
    struct loop_signal *term, *intr;
};

struct loop_timer {
    uv_timer_t h;
    loop_fn *fn;
    void *ctx;
};

struct loop_waker {
    uv_async_t h;
    loop_fn *fn;
    void *ctx;
};

struct loop_signal {
    uv_signal_t h;
    loop_fn *fn;
    void *ctx;
};

struct loop_fd {
    uv_poll_t h;
    loop_fn *fn;
    void *ctx;
    bool writable; /* is watched, too */
};

struct loop_poll {
    uv_poll_t h;
    void (*fn)(void *ctx, int events);
    void *ctx;
};

struct loop_hook {
    uv_prepare_t h;
    loop_fn *fn;
    void *ctx;
};

struct loop_watch {
    uv_fs_event_t h;
    loop_fn *fn;
    void *ctx;
};

struct loop_job {
    uv_work_t req;
    loop_fn *work, *done;
    void *ctx;
};

static unsigned signal_changes;

unsigned
loop_signal_changes(void)
{
    return signal_changes;
}

int
loop_open(struct loop **out, struct err *e)
{
    struct loop *l = MEM_NEW(struct loop);
    int rc;

    rc = uv_loop_init(&l->uv);
    if (rc) {
        mem_free(l);
        return err_set(e, ERR_UNAVAILABLE, "event loop: %s", uv_strerror(rc));
    }
    (void)signal(SIGPIPE, SIG_IGN);
    signal_changes++;
    *out = l;
    return 0;
}

int
loop_run(struct loop *l)
{
    l->stopped = false;
    while (!l->stopped && uv_run(&l->uv, UV_RUN_DEFAULT))
        ;
    return l->rc;
}

void
loop_stop(struct loop *l, int rc)
{
    l->rc = rc;
    l->stopped = true;
    uv_stop(&l->uv);
}

/* Frees the struct that h belongs to: each begins with its handle. */
static void
free_handle(uv_handle_t *h)
{
    mem_free(h);
}

/* The state of loop_until. */
struct loop_wait {
    uv_prepare_t h;
    const bool *done;
    bool late;
};

static void
mark_late(void *ctx)
{
    struct loop_wait *w = ctx;

    w->late = true;
}

/* Runs after the timers and before the loop sleeps: a timer that ends the wait
 * would otherwise be noticed only at the next event, if there is one. */
static void
before_sleep(uv_prepare_t *h)
{
    struct loop_wait *w = (struct loop_wait *)h;

    if (*w->done || w->late)
        uv_stop(h->loop);
}

bool
loop_until(struct loop *l, const bool *done, int64_t timeout_ms)
{
    struct loop_wait *w = MEM_NEW(struct loop_wait);
    struct loop_timer *timer = NULL;

    (void)uv_prepare_init(&l->uv, &w->h);
    (void)uv_prepare_start(&w->h, before_sleep);
    uv_unref((uv_handle_t *)&w->h);
    w->done = done;
    l->stopped = false;
    if (timeout_ms >= 0)
        timer = loop_timer_start(l, timeout_ms, 0, mark_late, w);
    while (!*done && !w->late && !l->stopped && uv_run(&l->uv, UV_RUN_ONCE))
        ;
    loop_timer_stop(timer);
    uv_close((uv_handle_t *)&w->h, free_handle);
    return *done;
}

static void
close_handle(uv_handle_t *h, void *unused)
{
    (void)unused;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void
loop_close(struct loop *l)
{
    if (!l)
        return;
    loop_signal_stop(l->term);
    loop_signal_stop(l->intr);
    (void)uv_run(&l->uv, UV_RUN_NOWAIT);
    /* A handle that is still open is a leak of its owner's; close it so that
     * the loop can end. */
    uv_walk(&l->uv, close_handle, NULL);
    while (uv_loop_close(&l->uv) == UV_EBUSY)
        (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    mem_free(l);
}

int64_t
loop_now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* --- gaps ----------------------------------------------------------------- */

/* now_ms is by the monotonic clock. */
static void
tell_gap(struct loop_gap *g, int64_t now_ms, int64_t slept_ms)
{
    int64_t stopped_ms = now_ms - g->turn_ms;
    bool late = now_ms >= g->wake_ms && now_ms - g->wake_ms >= g->least_ms;

    if (!late && slept_ms < g->least_ms)
        return;
    g->turn_ms = now_ms;
    g->boot_ms = os_boot_ms();
    g->wake_ms = INT64_MAX;
    g->fn(g->ctx, late ? stopped_ms : 0, slept_ms > 0 ? slept_ms : 0);
}

/* Before each function the loop calls: costs no system call. */
static void
notice(uv_loop_t *uv)
{
    struct loop_gap *g = ((struct loop *)uv)->gap;
    int64_t now_ms;

    if (!g)
        return;
    now_ms = (int64_t)uv_now(uv);
    if (now_ms >= g->wake_ms && now_ms - g->wake_ms >= g->least_ms)
        tell_gap(g, now_ms, 0);
}

void
loop_check_gap(struct loop *l)
{
    struct loop_gap *g = l->gap;
    int64_t now_ms = loop_now_ms();

    if (g)
        tell_gap(g, now_ms, os_boot_ms() - g->boot_ms - (now_ms - g->turn_ms));
}

static void
before_turn(uv_prepare_t *h)
{
    struct loop_gap *g = (struct loop_gap *)h;
    struct loop *l = (struct loop *)h->loop;

    loop_check_gap(l);
    g->turn_ms = loop_now_ms();
    g->boot_ms = os_boot_ms();
    /* What is late by now was told, or belongs to the start: uv_now is the time
     * when the iteration began. */
    g->wake_ms = (int64_t)(uv_now(h->loop) + uv_timer_get_due_in(&g->tick->h));
    if (g->wake_ms < g->turn_ms)
        g->wake_ms = g->turn_ms;
}

static void
on_tick(void *ctx)
{
    (void)ctx; /* that the loop wakes is all */
}

void
loop_gap_period(struct loop *l, int64_t period_ms)
{
    struct loop_gap *g = l->gap;

    if (!g || (int64_t)uv_timer_get_repeat(&g->tick->h) == period_ms)
        return;
    loop_timer_again(g->tick, period_ms, period_ms);
}

void
loop_on_gap(struct loop *l, int64_t least_ms, loop_gap_fn *fn, void *ctx)
{
    struct loop_gap *g = l->gap;

    if (g && !fn) {
        l->gap = NULL;
        loop_timer_stop(g->tick);
        uv_close((uv_handle_t *)&g->h, free_handle);
    }
    if (!fn)
        return;
    if (!g) {
        g = l->gap = MEM_NEW(struct loop_gap);
        (void)uv_prepare_init(&l->uv, &g->h);
        (void)uv_prepare_start(&g->h, before_turn);
        uv_unref((uv_handle_t *)&g->h);
        g->tick = loop_timer_start(l, GAP_PERIOD_MS, GAP_PERIOD_MS, on_tick, g);
        uv_unref((uv_handle_t *)&g->tick->h);
    }
    g->least_ms = least_ms;
    g->fn = fn;
    g->ctx = ctx;
    g->turn_ms = loop_now_ms();
    g->boot_ms = os_boot_ms();
    g->wake_ms = INT64_MAX;
}

static void
on_timer(uv_timer_t *h)
{
    struct loop_timer *t = h->data;

    notice(h->loop);
    if (uv_is_active((uv_handle_t *)h) && uv_timer_get_repeat(h) == 0)
        return; /* it was put off just now */
    t->fn(t->ctx);
}

void
loop_timer_again(struct loop_timer *t, int64_t delay_ms, int64_t repeat_ms)
{
    uv_update_time(t->h.loop);
    (void)uv_timer_start(&t->h, on_timer,
                         (uint64_t)(delay_ms > 0 ? delay_ms : 0),
                         (uint64_t)(repeat_ms > 0 ? repeat_ms : 0));
}

struct loop_timer *
loop_timer_start(struct loop *l, int64_t delay_ms, int64_t repeat_ms,
                 loop_fn *fn, void *ctx)
{
    struct loop_timer *t = MEM_NEW(struct loop_timer);

    (void)uv_timer_init(&l->uv, &t->h);
    t->h.data = t;
    t->fn = fn;
    t->ctx = ctx;
    loop_timer_again(t, delay_ms, repeat_ms);
    return t;
}

void
loop_timer_stop(struct loop_timer *t)
{
    if (t)
        uv_close((uv_handle_t *)&t->h, free_handle);
}

static void
on_wake(uv_async_t *h)
{
    struct loop_waker *w = h->data;

    notice(h->loop);
    w->fn(w->ctx);
}

struct loop_waker *
loop_waker_open(struct loop *l, loop_fn *fn, void *ctx)
{
    struct loop_waker *w = MEM_NEW(struct loop_waker);

    (void)uv_async_init(&l->uv, &w->h, on_wake);
    w->h.data = w;
    w->fn = fn;
    w->ctx = ctx;
    return w;
}

void
loop_waker_wake(struct loop_waker *w)
{
    (void)uv_async_send(&w->h);
}

void
loop_waker_close(struct loop_waker *w)
{
    if (w)
        uv_close((uv_handle_t *)&w->h, free_handle);
}

static void
on_signal(uv_signal_t *h, int signo)
{
    struct loop_signal *s = h->data;

    (void)signo;
    s->fn(s->ctx);
}

struct loop_signal *
loop_signal_start(struct loop *l, int signo, loop_fn *fn, void *ctx)
{
    struct loop_signal *s = MEM_NEW(struct loop_signal);

    (void)uv_signal_init(&l->uv, &s->h);
    s->h.data = s;
    s->fn = fn;
    s->ctx = ctx;
    (void)uv_signal_start(&s->h, on_signal, signo);
    signal_changes++;
    return s;
}

void
loop_signal_stop(struct loop_signal *s)
{
    if (!s)
        return;
    uv_close((uv_handle_t *)&s->h, free_handle);
    signal_changes++;
}

static void
on_fd(uv_poll_t *h, int status, int events)
{
    struct loop_fd *f = h->data;

    (void)events;
    notice(h->loop);
    /* The owner's read returns the error, perhaps after data that is still to
     * be read. libuv has stopped polling. */
    if (status < 0)
        loop_fd_resume(f);
    f->fn(f->ctx);
}

void
loop_fd_resume(struct loop_fd *f)
{
    (void)uv_poll_start(
        &f->h, UV_READABLE | UV_DISCONNECT | (f->writable ? UV_WRITABLE : 0),
        on_fd);
}

void
loop_fd_writable(struct loop_fd *f, bool wanted)
{
    if (f->writable == wanted)
        return;
    f->writable = wanted;
    loop_fd_resume(f);
}

void
loop_fd_pause(struct loop_fd *f)
{
    (void)uv_poll_stop(&f->h);
}

struct loop_fd *
loop_fd_start(struct loop *l, int fd, loop_fn *fn, void *ctx)
{
    struct loop_fd *f = MEM_NEW(struct loop_fd);

    (void)uv_poll_init(&l->uv, &f->h, fd);
    f->h.data = f;
    f->fn = fn;
    f->ctx = ctx;
    loop_fd_resume(f);
    return f;
}

void
loop_fd_stop(struct loop_fd *f)
{
    if (!f)
        return;
    (void)uv_poll_stop(&f->h);
    uv_close((uv_handle_t *)&f->h, free_handle);
}

void
loop_fd_close(struct loop_fd **watch, int *fd)
{
    loop_fd_stop(*watch);
    *watch = NULL;
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void
on_poll(uv_poll_t *h, int status, int events)
{
    struct loop_poll *p = h->data;
    int found = 0;

    notice(h->loop);
    if (status < 0)
        found |= LOOP_BROKEN;
    if (events & UV_READABLE)
        found |= LOOP_READABLE;
    if (events & UV_WRITABLE)
        found |= LOOP_WRITABLE;
    p->fn(p->ctx, found);
}

void
loop_poll_change(struct loop_poll *p, int events)
{
    int wanted = 0;

    if (events & LOOP_READABLE)
        wanted |= UV_READABLE;
    if (events & LOOP_WRITABLE)
        wanted |= UV_WRITABLE;
    (void)uv_poll_start(&p->h, wanted, on_poll);
}

struct loop_poll *
loop_poll_start(struct loop *l, int fd, int events,
                void (*fn)(void *ctx, int events), void *ctx)
{
    struct loop_poll *p = MEM_NEW(struct loop_poll);

    (void)uv_poll_init_socket(&l->uv, &p->h, fd);
    p->h.data = p;
    p->fn = fn;
    p->ctx = ctx;
    loop_poll_change(p, events);
    return p;
}

void
loop_poll_stop(struct loop_poll *p)
{
    if (!p)
        return;
    (void)uv_poll_stop(&p->h);
    uv_close((uv_handle_t *)&p->h, free_handle);
}

static void
on_hook(uv_prepare_t *h)
{
    struct loop_hook *k = h->data;

    k->fn(k->ctx);
}

struct loop_hook *
loop_hook_start(struct loop *l, loop_fn *fn, void *ctx)
{
    struct loop_hook *k = MEM_NEW(struct loop_hook);

    (void)uv_prepare_init(&l->uv, &k->h);
    k->h.data = k;
    k->fn = fn;
    k->ctx = ctx;
    (void)uv_prepare_start(&k->h, on_hook);
    uv_unref((uv_handle_t *)&k->h);
    return k;
}

void
loop_hook_stop(struct loop_hook *k)
{
    if (k)
        uv_close((uv_handle_t *)&k->h, free_handle);
}

static void
do_work(uv_work_t *req)
{
    struct loop_job *j = req->data;

    j->work(j->ctx);
}

static void
after_work(uv_work_t *req, int status)
{
    struct loop_job *j = req->data;

    (void)status; /* never cancelled */
    j->done(j->ctx);
    mem_free(j);
}

void
loop_work(struct loop *l, loop_fn *work, loop_fn *done, void *ctx)
{
    struct loop_job *j = MEM_NEW(struct loop_job);

    j->req.data = j;
    j->work = work;
    j->done = done;
    j->ctx = ctx;
    (void)uv_queue_work(&l->uv, &j->req, do_work, after_work);
}

static void
on_change(uv_fs_event_t *h, const char *name, int events, int status)
{
    struct loop_watch *w = h->data;

    (void)name;
    (void)events;
    (void)status; /* the caller's next scan finds the error */
    w->fn(w->ctx);
}

int
loop_watch_start(struct loop_watch **out, struct loop *l, const char *path,
                 loop_fn *fn, void *ctx, struct err *e)
{
    struct loop_watch *w = MEM_NEW(struct loop_watch);
    int rc;

    (void)uv_fs_event_init(&l->uv, &w->h);
    w->h.data = w;
    w->fn = fn;
    w->ctx = ctx;
    rc = uv_fs_event_start(&w->h, on_change, path, 0);
    if (rc) {
        uv_close((uv_handle_t *)&w->h, free_handle);
        return err_set(e, rc == UV_ENOENT ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
                       "watch %s: %s", path, uv_strerror(rc));
    }
    *out = w;
    return 0;
}

void
loop_watch_stop(struct loop_watch *w)
{
    if (w)
        uv_close((uv_handle_t *)&w->h, free_handle);
}

static void
on_term(void *ctx)
{
    struct loop *l = ctx;

    l->terms++;
    if (l->on_term)
        l->on_term(l->term_ctx, l->terms);
    else
        loop_stop(l, 0);
}

void
loop_on_term(struct loop *l, void (*fn)(void *ctx, int nth), void *ctx)
{
    l->on_term = fn;
    l->term_ctx = ctx;
    if (!l->term) {
        l->term = loop_signal_start(l, SIGTERM, on_term, l);
        l->intr = loop_signal_start(l, SIGINT, on_term, l);
    }
}
