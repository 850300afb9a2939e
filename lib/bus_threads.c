/*
 * bus_wire - the connection, the library's threads, and the queues between
 * them and the loop.
 *
 * The library locks its connection while it reconnects and while it writes to
 * a peer that does not read, up to seconds. So the loop thread never publishes
 * itself: one thread of ours does, and what happens on the library's threads
 * is queued here for the loop.
 *
 * Callbacks carry a number, not a pointer: the library may still be inside one
 * when the connection is closed, and the number is then no longer known.
 */
#include "lib/bus_private.h"

#include "lib/log.h"
#include "lib/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONNECT_MS = 2000,       /* of one attempt */
    PING_MS = 5000,          /* two of them missed: the peer is gone */
    RECONNECT_MS = 250,      /* and as much jitter */
    WRITE_MS = 5000,         /* a peer that reads nothing for so long */
    PENDING_BYTES = 4 << 20, /* kept by the library while reconnecting */
    QUEUE_BYTES = 64 << 20,  /* waiting to be written */
    NEWS_MAX = 65536,        /* core messages waiting for the loop */
    FLUSH_MS = 1,            /* see flush */
    CLOSE_MS = 2000,
    STACK_BYTES = 256 * 1024,
};

struct out {
    natsMsg *msg;
    bool news;
};

struct wire {
    struct wire *next; /* in wires */
    uintptr_t id;
    natsConnection *nc;
    struct wire_remote remote;
    void (*wake)(void *ctx);
    void *ctx;

    /* Below gate. */
    struct wire_item *in;
    size_t n_in, cap_in;
    bool overflowed; /* said so already */

    /* The loop's. */
    struct wire_item *taken;
    size_t cap_taken;

    /* Below mutex. */
    pthread_t writer;
    bool writing; /* the thread exists */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct out *out;
    size_t n_out, cap_out, out_bytes;
    bool stopping;

    atomic_bool up;
    atomic_uint_fast64_t epoch;
    atomic_size_t max_payload;
};

/* Guards the list of open connections and what they have received. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static struct wire *wires;
static uintptr_t last_id;

/* Below gate. */
static struct wire *
find(void *closure)
{
    struct wire *w = wires;

    while (w && w->id != (uintptr_t)closure)
        w = w->next;
    return w;
}

/* Below gate. */
static void
push(struct wire *w, struct wire_item item)
{
    if (w->n_in == w->cap_in) {
        w->cap_in = w->cap_in ? w->cap_in * 2 : 16;
        w->in = mem_resize(w->in, w->cap_in * sizeof *w->in);
    }
    w->in[w->n_in++] = item;
    if (w->n_in == 1)
        w->wake(w->ctx);
}

static void
on_msg(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    int64_t sid = natsSubscription_GetID(sub);
    struct wire *w;

    (void)nc;
    (void)pthread_mutex_lock(&gate);
    w = find(closure);
    if (w)
        push(w, (struct wire_item){.kind = WIRE_MSG, .sid = sid, .msg = msg});
    (void)pthread_mutex_unlock(&gate);
    if (!w)
        natsMsg_Destroy(msg);
}

static void
on_news(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    bool drop, first = false;
    struct wire *w;

    (void)pthread_mutex_lock(&gate);
    w = find(closure);
    drop = w && w->n_in >= NEWS_MAX;
    if (drop) {
        first = !w->overflowed;
        w->overflowed = true;
    }
    (void)pthread_mutex_unlock(&gate);
    if (!drop) {
        on_msg(nc, sub, msg, closure);
        return;
    }
    natsMsg_Destroy(msg);
    if (first)
        log_warn("bus.overrun", "news arrives faster than it is read: "
                                "some was dropped");
}

static void
on_connected(natsConnection *nc, void *closure)
{
    int64_t max = natsConnection_GetMaxPayload(nc);
    struct wire *w;

    (void)pthread_mutex_lock(&gate);
    w = find(closure);
    if (w) {
        atomic_store(&w->max_payload, max > 0 ? (size_t)max : 0);
        atomic_store(&w->up, true);
        push(w, (struct wire_item){.kind = WIRE_UP});
    }
    (void)pthread_mutex_unlock(&gate);
}

static void
on_disconnected(natsConnection *nc, void *closure)
{
    struct wire *w;

    (void)nc;
    (void)pthread_mutex_lock(&gate);
    w = find(closure);
    if (w) {
        atomic_store(&w->up, false);
        push(w,
             (struct wire_item){.kind = WIRE_DOWN,
                                .epoch = atomic_fetch_add(&w->epoch, 1) + 1});
    }
    (void)pthread_mutex_unlock(&gate);
}

static void
push_denied(void *closure, const char *text)
{
    struct wire *w;

    (void)pthread_mutex_lock(&gate);
    w = find(closure);
    if (w)
        push(w,
             (struct wire_item){.kind = WIRE_DENIED, .text = mem_strdup(text)});
    (void)pthread_mutex_unlock(&gate);
}

/* The library gives up by itself when its credentials are refused twice. */
static void
on_closed(natsConnection *nc, void *closure)
{
    const char *last = NULL;
    char text[256];

    (void)natsConnection_GetLastError(nc, &last);
    (void)snprintf(text, sizeof text, "the broker closed the connection: %s",
                   last && *last ? last : "no reason given");
    push_denied(closure, text);
}

static void
on_error(natsConnection *nc, natsSubscription *sub, natsStatus s, void *closure)
{
    const char *last = NULL;
    char text[256];

    (void)sub;
    (void)natsConnection_GetLastError(nc, &last);
    (void)snprintf(text, sizeof text, "%s", last ? last : "");
    if (s == NATS_NOT_PERMITTED || strcasestr(text, "permissions violation"))
        push_denied(closure, *text ? text : "a permission is missing");
    else if (s == NATS_SLOW_CONSUMER)
        log_warn("bus.slow", "the library dropped messages");
}

/* --- writing ------------------------------------------------------------- */

/*
 * Makes the library write what it has buffered. Its own thread would do so a
 * millisecond later, and its other mode costs a system call per message. A
 * flush sends a ping along and waits for the answer, which is when the next
 * batch gathers; a peer further away than a millisecond is not waited for.
 */
static void
flush(struct wire *w, int64_t timeout_ms)
{
    if (atomic_load(&w->up))
        (void)natsConnection_FlushTimeout(w->nc, timeout_ms);
}

static void *
write_out(void *ctx)
{
    struct wire *w = ctx;
    struct out *batch = NULL, *swap;
    size_t n, cap = 0, swap_cap;
    bool stopping;

    do {
        (void)pthread_mutex_lock(&w->mutex);
        while (w->n_out == 0 && !w->stopping)
            (void)pthread_cond_wait(&w->cond, &w->mutex);
        stopping = w->stopping;
        swap = w->out;
        swap_cap = w->cap_out;
        n = w->n_out;
        w->out = batch;
        w->cap_out = cap;
        w->n_out = 0;
        w->out_bytes = 0;
        (void)pthread_mutex_unlock(&w->mutex);
        batch = swap;
        cap = swap_cap;
        for (size_t i = 0; i < n; i++) {
            /* A refusal means that the library's buffer is full, or that the
             * connection broke: whoever needs an answer gets none. */
            if (!batch[i].news || atomic_load(&w->up))
                (void)natsConnection_PublishMsg(w->nc, batch[i].msg);
            natsMsg_Destroy(batch[i].msg);
        }
        flush(w, stopping ? CLOSE_MS : FLUSH_MS);
        if (cap > 4096) { /* a burst does not keep its memory */
            mem_free(batch);
            batch = NULL;
            cap = 0;
        }
    } while (!stopping || n > 0);
    mem_free(batch);
    return NULL;
}

bool
wire_send(struct wire *w, natsMsg *m, bool news)
{
    size_t size = (size_t)natsMsg_GetDataLength(m) + 256;
    bool fits;

    (void)pthread_mutex_lock(&w->mutex);
    fits = w->out_bytes + size <= QUEUE_BYTES;
    if (fits) {
        if (w->n_out == w->cap_out) {
            w->cap_out = w->cap_out ? w->cap_out * 2 : 16;
            w->out = mem_resize(w->out, w->cap_out * sizeof *w->out);
        }
        w->out[w->n_out++] = (struct out){.msg = m, .news = news};
        w->out_bytes += size;
        if (w->n_out == 1)
            (void)pthread_cond_signal(&w->cond);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    if (!fits)
        natsMsg_Destroy(m);
    return fits;
}

/*
 * Threads inherit what is blocked when they are created. A signal that landed
 * on one of theirs would interrupt its wait, which the library takes for the
 * end of the connection; the main thread is there to be interrupted. Blocked
 * only around each call, so that TERM ends a long wait for the broker.
 */
static void
block_signals(sigset_t *old)
{
    sigset_t all;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, old);
}

static void
restore_signals(const sigset_t *old)
{
    (void)pthread_sigmask(SIG_SETMASK, old, NULL);
}

static int
start_writer(struct wire *w, struct err *e)
{
    pthread_attr_t attr;
    sigset_t old;
    int rc;

    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    block_signals(&old);
    rc = pthread_create(&w->writer, &attr, write_out, w);
    restore_signals(&old);
    (void)pthread_attr_destroy(&attr);
    if (rc)
        return err_set(e, ERR_UNAVAILABLE, "start a thread: %s", strerror(rc));
    w->writing = true;
    return 0;
}

/* --- reading ------------------------------------------------------------- */

size_t
wire_take(struct wire *w, struct wire_item **items)
{
    struct wire_item *swap = w->taken;
    size_t swap_cap = w->cap_taken, n;

    if (swap_cap > 4096) { /* a burst does not keep its memory */
        mem_free(swap);
        swap = NULL;
        swap_cap = 0;
    }
    (void)pthread_mutex_lock(&gate);
    n = w->n_in;
    w->taken = w->in;
    w->cap_taken = w->cap_in;
    w->in = swap;
    w->cap_in = swap_cap;
    w->n_in = 0;
    w->overflowed = false;
    (void)pthread_mutex_unlock(&gate);
    *items = w->taken;
    return n;
}

bool
wire_up(const struct wire *w)
{
    return atomic_load(&w->up);
}

uint64_t
wire_epoch(const struct wire *w)
{
    return atomic_load(&w->epoch);
}

size_t
wire_max_payload(const struct wire *w)
{
    return atomic_load(&w->max_payload);
}

const char *
wire_url(const struct wire *w)
{
    return w->remote.url;
}

int
wire_subscribe(struct wire *w, const char *subject, bool bounded,
               natsSubscription **out, int64_t *sid, struct err *e)
{
    natsStatus s;
    sigset_t old;

    block_signals(&old);
    s = natsConnection_Subscribe(out, w->nc, subject,
                                 bounded ? on_news : on_msg, (void *)w->id);
    restore_signals(&old);
    if (s != NATS_OK)
        return err_set(
            e, s == NATS_INVALID_SUBJECT ? ERR_INVALID : ERR_UNAVAILABLE,
            "subscribe to %s: %s", subject, natsStatus_GetText(s));
    /* The callback takes everything at once; limits are the queue's. */
    (void)natsSubscription_SetPendingLimits(*out, -1, -1);
    *sid = natsSubscription_GetID(*out);
    return 0;
}

void
wire_unsubscribe(natsSubscription *sub)
{
    if (!sub)
        return;
    (void)natsSubscription_Unsubscribe(sub);
    natsSubscription_Destroy(sub);
}

/* --- opening ------------------------------------------------------------- */

static int
set_behaviour(struct wire *w, natsOptions *opts, const char *name,
              struct err *e)
{
    void *closure = (void *)w->id;

    if (natsOptions_SetName(opts, name) != NATS_OK ||
        natsOptions_SetTimeout(opts, CONNECT_MS) != NATS_OK ||
        natsOptions_SetPingInterval(opts, PING_MS) != NATS_OK ||
        natsOptions_SetMaxPingsOut(opts, 2) != NATS_OK ||
        natsOptions_SetMaxReconnect(opts, -1) != NATS_OK ||
        natsOptions_SetReconnectWait(opts, RECONNECT_MS) != NATS_OK ||
        natsOptions_SetReconnectJitter(opts, RECONNECT_MS, RECONNECT_MS) !=
            NATS_OK ||
        natsOptions_SetReconnectBufSize(opts, PENDING_BYTES) != NATS_OK ||
        natsOptions_SetWriteDeadline(opts, WRITE_MS) != NATS_OK ||
        natsOptions_UseGlobalMessageDelivery(opts, true) != NATS_OK ||
        natsOptions_SetErrorHandler(opts, on_error, closure) != NATS_OK ||
        natsOptions_SetClosedCB(opts, on_closed, closure) != NATS_OK ||
        natsOptions_SetDisconnectedCB(opts, on_disconnected, closure) !=
            NATS_OK ||
        natsOptions_SetReconnectedCB(opts, on_connected, closure) != NATS_OK)
        return err_set(e, ERR_BUG, "set up the connection: %s",
                       nats_GetLastError(NULL));
    return 0;
}

static int
connect_error(struct wire *w, natsStatus s, struct err *e)
{
    const char *text = nats_GetLastError(NULL);

    switch ((int)s) { /* the library adds values */
    case NATS_CONNECTION_AUTH_FAILED:
    case NATS_NOT_PERMITTED:
        return err_set(e, ERR_DENIED, "broker %s refused our credentials: %s",
                       w->remote.url, text);
    case NATS_SSL_ERROR:
    case NATS_SECURE_CONNECTION_WANTED:
    case NATS_SECURE_CONNECTION_REQUIRED:
        return err_set(e, ERR_DENIED, "broker %s: TLS: %s", w->remote.url,
                       text);
    case NATS_INVALID_ARG:
    case NATS_ADDRESS_MISSING:
        return err_set(e, ERR_INVALID, "broker %s: not an address: %s",
                       w->remote.url, text);
    default:
        return err_set(e, ERR_UNAVAILABLE, "no broker answers at %s: %s",
                       w->remote.url,
                       text && *text ? text : natsStatus_GetText(s));
    }
}

static int
try_connect(struct wire *w, natsOptions *opts, int64_t timeout_ms,
            struct err *e)
{
    int64_t give_up = loop_now_ms() + timeout_ms, wait_ms = 50;
    int refused = 0;
    sigset_t old;
    natsStatus s;

    for (;;) {
        block_signals(&old);
        s = natsConnection_Connect(&w->nc, opts);
        restore_signals(&old);
        if (s == NATS_OK)
            return 0;
        w->nc = NULL;
        connect_error(w, s, e);
        /* The library signs wrongly now and then before 3.8, so one refusal
         * of a key proves nothing (nats.c#705). */
        if (e->code == ERR_DENIED && (!w->remote.seed || ++refused >= 5))
            return -1;
        if (e->code == ERR_INVALID ||
            (e->code != ERR_DENIED && loop_now_ms() + wait_ms > give_up))
            return -1;
        nats_Sleep(wait_ms);
        wait_ms = wait_ms < 500 ? wait_ms * 2 : 1000;
    }
}

static int
connect_as(struct wire *w, const struct bus_conf *conf, const char *name,
           int64_t timeout_ms, struct err *e)
{
    natsOptions *opts = NULL;
    int rc = -1;

    if (natsOptions_Create(&opts) != NATS_OK)
        return err_set(e, ERR_UNAVAILABLE, "no memory");
    if (wire_options(opts, conf, &w->remote, e) == 0 &&
        set_behaviour(w, opts, name, e) == 0 &&
        try_connect(w, opts, timeout_ms, e) == 0)
        rc = 0;
    natsOptions_Destroy(opts);
    return rc;
}

/* Opens the library with its first user. */
static void
join(struct wire *w)
{
    sigset_t old;
    bool first;

    (void)pthread_mutex_lock(&gate);
    first = !wires;
    w->id = ++last_id;
    w->next = wires;
    wires = w;
    (void)pthread_mutex_unlock(&gate);
    if (first) {
        block_signals(&old);
        (void)nats_Open(-1);
        /* One thread delivers for all subscriptions: order holds across them,
         * and it costs one stack. */
        (void)nats_SetMessageDeliveryPoolSize(1);
        restore_signals(&old);
    }
}

/* From here on no callback finds us. */
static bool
leave(struct wire *w)
{
    struct wire **at = &wires;
    bool last;

    (void)pthread_mutex_lock(&gate);
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    last = !wires;
    (void)pthread_mutex_unlock(&gate);
    return last;
}

int
wire_open(struct wire **out, const struct bus_conf *conf, const char *role,
          int64_t timeout_ms, void (*wake)(void *ctx), void *ctx, struct err *e)
{
    struct wire *w = MEM_NEW(struct wire);
    int64_t max;

    w->wake = wake;
    w->ctx = ctx;
    (void)pthread_mutex_init(&w->mutex, NULL);
    (void)pthread_cond_init(&w->cond, NULL);
    join(w);
    if (connect_as(w, conf, role, timeout_ms, e) < 0)
        goto out;
    max = natsConnection_GetMaxPayload(w->nc);
    atomic_store(&w->max_payload, max > 0 ? (size_t)max : 0);
    atomic_store(&w->up, true);
    if (start_writer(w, e) < 0)
        goto out;
    *out = w;
    return 0;
out:
    wire_close(w);
    return -1;
}

static void
stop_writer(struct wire *w)
{
    (void)pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    (void)pthread_cond_signal(&w->cond);
    (void)pthread_mutex_unlock(&w->mutex);
    (void)pthread_join(w->writer, NULL);
}

static void
free_items(struct wire_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        natsMsg_Destroy(items[i].msg);
        mem_free(items[i].text);
    }
    mem_free(items);
}

void
wire_close(struct wire *w)
{
    bool last;

    if (!w)
        return;
    if (w->writing)
        stop_writer(w);
    last = leave(w);
    /* Nothing arrives from here on. The library's messages must be gone
     * before the library is: its last close takes their memory's owner. */
    free_items(w->in, w->n_in);
    natsConnection_Destroy(w->nc);
    if (last)
        (void)nats_CloseAndWait(CLOSE_MS);
    mem_free(w->taken);
    mem_free(w->out);
    wire_remote_free(&w->remote);
    (void)pthread_mutex_destroy(&w->mutex);
    (void)pthread_cond_destroy(&w->cond);
    mem_free(w);
}
