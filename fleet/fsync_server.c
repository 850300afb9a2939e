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
    WAITING_MAX = 4096, /* requests; who gets no answer asks again */
    REPLY_SIZE = 160,
};

struct pending_reply {
    char subject[REPLY_SIZE];
};

struct fsync_server {
    struct bus *bus;
    struct bus_sub *requests;
    struct loop_waker *waker;
    struct loop_timer *next; /* begins the next run */
    struct pending_reply *waiting,
        *served; /* those of the next run, of this one */
    size_t n_waiting, n_served;
    bool failed; /* for good */

    /* Below mutex. */
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
    struct fsync_server *k = ctx;
    struct err e;

    (void)pthread_mutex_lock(&k->mutex);
    for (;;) {
        while (!k->asked && !k->stopping)
            (void)pthread_cond_wait(&k->cond, &k->mutex);
        if (k->stopping)
            break;
        k->asked = false;
        (void)pthread_mutex_unlock(&k->mutex);
        e = (struct err){0};
        (void)jetstream_fsync_run(k->store, &e);
        (void)pthread_mutex_lock(&k->mutex);
        k->result = e;
        k->done = true;
        loop_waker_wake(k->waker);
    }
    (void)pthread_mutex_unlock(&k->mutex);
    return NULL;
}

/* Begins a run for those that wait, unless one is under way. */
static void
begin(struct fsync_server *k)
{
    struct pending_reply *swap = k->served;

    if (k->n_served || k->n_waiting == 0 || k->failed)
        return;
    k->served = k->waiting;
    k->n_served = k->n_waiting;
    k->waiting = swap;
    k->n_waiting = 0;
    (void)pthread_mutex_lock(&k->mutex);
    k->asked = true;
    (void)pthread_cond_signal(&k->cond);
    (void)pthread_mutex_unlock(&k->mutex);
}

static void
on_done(void *ctx)
{
    struct fsync_server *k = ctx;
    struct err result;
    bool done;

    (void)pthread_mutex_lock(&k->mutex);
    done = k->done;
    k->done = false;
    result = k->result;
    (void)pthread_mutex_unlock(&k->mutex);
    if (!done)
        return;
    if (result.code != ERR_NONE) {
        k->failed = true;
        log_error("store.sync",
                  "error=\"%s\" text=\"nothing is confirmed "
                  "any more: mend the disk, then shunt down "
                  "and shunt up\"",
                  LOG_TEXT(result.msg));
    }
    for (size_t i = 0; i < k->n_served; i++)
        bus_publish_core(k->bus, k->served[i].subject, result.msg,
                         strlen(result.msg));
    k->n_served = 0;
    /* Once the answers are sent: the thread would take the processor first. */
    if (k->n_waiting)
        loop_timer_again(k->next, 0, 0);
}

static void
on_next(void *ctx)
{
    begin(ctx);
}

static void
on_request(void *ctx, const struct bus_note *note)
{
    struct fsync_server *k = ctx;

    if (k->n_waiting == WAITING_MAX ||
        !str_copy(k->waiting[k->n_waiting].subject, REPLY_SIZE, note->reply) ||
        !*note->reply)
        return;
    k->n_waiting++;
    begin(k);
}

/* Signals are the main thread's. */
static int
start_thread(struct fsync_server *k, struct err *e)
{
    sigset_t all, old;
    int rc;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&k->thread, NULL, sync_loop, k);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc)
        return err_set(e, ERR_UNAVAILABLE, "start a thread: %s", strerror(rc));
    k->running = true;
    return 0;
}

int
fsync_server_open(struct fsync_server **out, struct bus *b, struct loop *l,
                  const char *store, struct err *e)
{
    struct fsync_server *k = MEM_NEW(struct fsync_server);

    k->bus = b;
    k->waiting = mem_zero(WAITING_MAX, sizeof *k->waiting);
    k->served = mem_zero(WAITING_MAX, sizeof *k->served);
    k->store = jetstream_fsync_new(store);
    (void)pthread_mutex_init(&k->mutex, NULL);
    (void)pthread_cond_init(&k->cond, NULL);
    k->waker = loop_waker_open(l, on_done, k);
    k->next = loop_timer_start(l, 0, 0, on_next, k);
    if (start_thread(k, e) < 0 ||
        bus_subscribe(b, SUBJECT_SYNC, on_request, k, &k->requests, e) < 0) {
        fsync_server_close(k);
        return -1;
    }
    *out = k;
    return 0;
}

void
fsync_server_close(struct fsync_server *k)
{
    if (!k)
        return;
    bus_unsubscribe(k->requests);
    if (k->running) {
        (void)pthread_mutex_lock(&k->mutex);
        k->stopping = true;
        (void)pthread_cond_signal(&k->cond);
        (void)pthread_mutex_unlock(&k->mutex);
        (void)pthread_join(k->thread, NULL);
    }
    loop_timer_stop(k->next);
    loop_waker_close(k->waker);
    jetstream_fsync_free(k->store);
    (void)pthread_mutex_destroy(&k->mutex);
    (void)pthread_cond_destroy(&k->cond);
    mem_free(k->waiting);
    mem_free(k->served);
    mem_free(k);
}
