/*
 * The loop thread gathers requests in `waiting`. When no run is under way it
 * swaps them into `served` and wakes the thread, which syncs the store once
 * and wakes the loop, which answers all of `served`.
 */
#include "fleet/fsync_server.h"

#include "fleet/jetstream_fsync.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>

enum {
    WAITING_MAX = 4096, /* further requests get no answer: they come again */
    REPLY_SIZE = 160,
};

struct pending_reply {
    char subject[REPLY_SIZE];
};

struct fsync_server {
    struct bus *bus;
    struct bus_sub *requests;
    struct loop_waker *waker;
    struct loop_timer *next;                /* starts the next run */
    struct pending_reply *waiting, *served; /* of the next run, of this one */
    size_t n_waiting, n_served;
    bool failed; /* for good */

    /* Guarded by mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool asked, done, stopping;
    struct err result;

    pthread_t thread;
    bool running;                  /* the thread exists */
    struct jetstream_fsync *store; /* the thread's */
};

static void *
sync_loop(void *ctx)
{
    struct fsync_server *s = ctx;
    struct err e;

    (void)pthread_mutex_lock(&s->mutex);
    for (;;) {
        while (!s->asked && !s->stopping)
            (void)pthread_cond_wait(&s->cond, &s->mutex);
        if (s->stopping)
            break;
        s->asked = false;
        (void)pthread_mutex_unlock(&s->mutex);
        e = (struct err){0};
        (void)jetstream_fsync_run(s->store, &e);
        (void)pthread_mutex_lock(&s->mutex);
        s->result = e;
        s->done = true;
        loop_waker_wake(s->waker);
    }
    (void)pthread_mutex_unlock(&s->mutex);
    return NULL;
}

/* Begins a run for the requests that wait, unless one is under way. */
static void
begin_run(struct fsync_server *s)
{
    struct pending_reply *swap = s->served;

    if (s->n_served || s->n_waiting == 0 || s->failed)
        return;
    s->served = s->waiting;
    s->n_served = s->n_waiting;
    s->waiting = swap;
    s->n_waiting = 0;
    (void)pthread_mutex_lock(&s->mutex);
    s->asked = true;
    (void)pthread_cond_signal(&s->cond);
    (void)pthread_mutex_unlock(&s->mutex);
}

static void
on_done(void *ctx)
{
    struct fsync_server *s = ctx;
    struct err result;
    bool done;

    (void)pthread_mutex_lock(&s->mutex);
    done = s->done;
    s->done = false;
    result = s->result;
    (void)pthread_mutex_unlock(&s->mutex);
    if (!done)
        return;
    if (result.code != ERR_NONE) {
        s->failed = true;
        log_error("store.sync",
                  "error=\"%s\" text=\"nothing is confirmed any more: "
                  "repair the disk, then shunt down and shunt up\"",
                  LOG_TEXT(result.msg));
    }
    for (size_t i = 0; i < s->n_served; i++)
        bus_publish_core(s->bus, s->served[i].subject, result.msg,
                         strlen(result.msg));
    s->n_served = 0;
    /* After the answers are sent: else the thread takes the processor first. */
    if (s->n_waiting)
        loop_timer_again(s->next, 0, 0);
}

static void
on_next(void *ctx)
{
    begin_run(ctx);
}

static void
on_request(void *ctx, const struct bus_note *note)
{
    struct fsync_server *s = ctx;

    if (s->n_waiting == WAITING_MAX || !bus_may_answer(note) ||
        !str_copy(s->waiting[s->n_waiting].subject, REPLY_SIZE, note->reply))
        return;
    s->n_waiting++;
    begin_run(s);
}

/* The thread blocks all signals: they are the main thread's. */
static int
start_thread(struct fsync_server *s, struct err *e)
{
    sigset_t all, old;
    int rc;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&s->thread, NULL, sync_loop, s);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc)
        return err_set(e, ERR_UNAVAILABLE, "start a thread: %s", strerror(rc));
    s->running = true;
    return 0;
}

int
fsync_server_open(struct fsync_server **out, struct bus *b, struct loop *l,
                  const char *store, struct err *e)
{
    struct fsync_server *s = MEM_NEW(struct fsync_server);

    s->bus = b;
    s->waiting = mem_zero(WAITING_MAX, sizeof *s->waiting);
    s->served = mem_zero(WAITING_MAX, sizeof *s->served);
    s->store = jetstream_fsync_new(store);
    (void)pthread_mutex_init(&s->mutex, NULL);
    (void)pthread_cond_init(&s->cond, NULL);
    s->waker = loop_waker_open(l, on_done, s);
    s->next = loop_timer_start(l, 0, 0, on_next, s);
    if (start_thread(s, e) < 0 ||
        bus_subscribe(b, SUBJECT_SYNC, on_request, s, &s->requests, e) < 0) {
        fsync_server_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void
fsync_server_close(struct fsync_server *s)
{
    if (!s)
        return;
    bus_unsubscribe(s->requests);
    if (s->running) {
        (void)pthread_mutex_lock(&s->mutex);
        s->stopping = true;
        (void)pthread_cond_signal(&s->cond);
        (void)pthread_mutex_unlock(&s->mutex);
        (void)pthread_join(s->thread, NULL);
    }
    loop_timer_stop(s->next);
    loop_waker_close(s->waker);
    jetstream_fsync_free(s->store);
    (void)pthread_mutex_destroy(&s->mutex);
    (void)pthread_cond_destroy(&s->cond);
    mem_free(s->waiting);
    mem_free(s->served);
    mem_free(s);
}
