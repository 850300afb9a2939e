/*
 * conn_tls - a connection under TLS: the library's threads, and the queues
 * between them and the loop. (Brought to another's loop, the library spins
 * while a record is incomplete.)
 *
 * The library locks its connection while it reconnects and while it writes to
 * a peer that does not read, up to seconds. So the loop thread never publishes
 * itself: one thread of ours does, and what happens on the library's threads
 * is queued here for the loop.
 *
 * Callbacks carry a number, not a pointer: the library may still be inside one
 * when the connection is closed, and the number is then no longer known.
 */
#include "lib/bus/bus_private.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WRITE_MS = 5000,  /* a peer that reads nothing for so long */
    NEWS_MAX = 65536, /* core messages waiting for the loop */
    FLUSH_MS = 1,     /* see flush */
};

struct out {
    natsMsg *msg;
    bool news;
};

enum kind { ITEM_MSG, ITEM_UP, ITEM_DOWN, ITEM_DENIED };

/* Something that happened on a library thread. */
struct tls_event {
    enum kind kind;
    int64_t sid;    /* ITEM_MSG: the subscription it came by */
    natsMsg *msg;   /* ITEM_MSG: owned by whoever took the item */
    uint64_t epoch; /* ITEM_DOWN: connections lost so far */
    char *text;     /* ITEM_DENIED: owned likewise */
};

struct conn_tls {
    struct conn w;         /* first: what others have points here */
    struct conn_tls *next; /* in all */
    uintptr_t id;
    natsConnection *nc;
    struct endpoint remote;
    struct loop_waker *waker;

    /* Below gate. */
    struct tls_event *in;
    size_t n_in, cap_in;
    bool overflowed; /* said so already */

    /* The loop's. */
    struct tls_event *taken;
    size_t cap_taken;

    /* Below mutex. */
    bool writing; /* the thread exists, and has not ended */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct out *out;
    size_t n_out, cap_out, out_bytes;
    bool stopping;
};

/* Guards the list of open connections and what they have received. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static struct conn_tls *all;
static uintptr_t last_id;

/* Below gate. */
static struct conn_tls *
find(void *closure)
{
    struct conn_tls *w = all;

    while (w && w->id != (uintptr_t)closure)
        w = w->next;
    return w;
}

/* Below gate. */
static void
push(struct conn_tls *w, struct tls_event item)
{
    w->in = mem_grow(w->in, w->n_in, &w->cap_in, sizeof *w->in);
    w->in[w->n_in++] = item;
    if (w->n_in == 1)
        loop_waker_wake(w->waker);
}

static void
on_msg(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    int64_t sid = natsSubscription_GetID(sub);
    struct conn_tls *w;

    (void)nc;
    (void)pthread_mutex_lock(&gate);
    w = find(closure);
    if (w)
        push(w, (struct tls_event){.kind = ITEM_MSG, .sid = sid, .msg = msg});
    (void)pthread_mutex_unlock(&gate);
    if (!w)
        natsMsg_Destroy(msg);
}

static void
on_news(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    bool drop, first = false;
    struct conn_tls *w;

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
    struct conn_tls *w;

    (void)pthread_mutex_lock(&gate);
    w = find(closure);
    if (w) {
        conn_connected(&w->w, nc);
        push(w, (struct tls_event){.kind = ITEM_UP});
    }
    (void)pthread_mutex_unlock(&gate);
}

static void
on_disconnected(natsConnection *nc, void *closure)
{
    struct conn_tls *w;

    (void)nc;
    (void)pthread_mutex_lock(&gate);
    w = find(closure);
    if (w) {
        atomic_store(&w->w.up, false);
        push(w,
             (struct tls_event){.kind = ITEM_DOWN,
                                .epoch = atomic_fetch_add(&w->w.epoch, 1) + 1});
    }
    (void)pthread_mutex_unlock(&gate);
}

static void
push_denied(void *closure, const char *text)
{
    struct conn_tls *w;

    (void)pthread_mutex_lock(&gate);
    w = find(closure);
    if (w)
        push(w,
             (struct tls_event){.kind = ITEM_DENIED, .text = mem_strdup(text)});
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
flush(struct conn_tls *w, int64_t timeout_ms)
{
    if (atomic_load(&w->w.up))
        (void)natsConnection_FlushTimeout(w->nc, timeout_ms);
}

static void *
write_out(void *ctx)
{
    struct conn_tls *w = ctx;
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
            if (!batch[i].news || atomic_load(&w->w.up))
                (void)natsConnection_PublishMsg(w->nc, batch[i].msg);
            natsMsg_Destroy(batch[i].msg);
        }
        flush(w, stopping ? CONN_CLOSE_MS : FLUSH_MS);
        if (cap > 4096) { /* a burst does not keep its memory */
            mem_free(batch);
            batch = NULL;
            cap = 0;
        }
    } while (!stopping || n > 0);
    mem_free(batch);
    (void)pthread_mutex_lock(&w->mutex);
    w->writing = false;
    (void)pthread_cond_broadcast(&w->cond);
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* Never NULL. */
static natsMsg *
message(const struct conn_out *o)
{
    natsMsg *m = NULL;
    char revision[24];

    if (natsMsg_Create(&m, o->subject, o->reply, o->data, (int)o->len) !=
        NATS_OK)
        abort(); /* as lib/base/mem: a few bytes do not fail */
    if (o->id)
        (void)natsMsgHeader_Set(m, "Nats-Msg-Id", o->id);
    if (o->expect != BUS_ANY_REVISION) {
        (void)snprintf(revision, sizeof revision, "%" PRId64, o->expect);
        (void)natsMsgHeader_Set(m, "Nats-Expected-Last-Subject-Sequence",
                                revision);
    }
    return m;
}

static bool
threads_send(struct conn *wire, const struct conn_out *o, enum conn_policy sort)
{
    struct conn_tls *w = (struct conn_tls *)wire;
    size_t size = o->len + 256;
    bool fits;

    (void)pthread_mutex_lock(&w->mutex);
    fits = w->out_bytes + size <= CONN_QUEUE_BYTES;
    if (fits) {
        w->out = mem_grow(w->out, w->n_out, &w->cap_out, sizeof *w->out);
        w->out[w->n_out++] =
            (struct out){.msg = message(o), .news = sort == CONN_NEWS};
        w->out_bytes += size;
        if (w->n_out == 1)
            (void)pthread_cond_signal(&w->cond);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return fits;
}

/* --- reading ------------------------------------------------------------- */

/* Everything that happened since, in order; valid until the next call. */
static size_t
take_items(struct conn_tls *w, struct tls_event **items)
{
    struct tls_event *swap = w->taken;
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

static void
take_msg(struct conn_tls *w, int64_t sid, natsMsg *m)
{
    const struct conn_sub *s = conn_find(&w->w, sid);
    const char *reply = natsMsg_GetReply(m), *data = natsMsg_GetData(m);
    struct conn_msg msg = {
        .subject = natsMsg_GetSubject(m),
        .reply = reply ? reply : "",
        .data = (const uint8_t *)(data ? data : ""),
        .len = (size_t)natsMsg_GetDataLength(m),
    };

    for (unsigned h = 0; h < CONN_HEADERS; h++) {
        const char *name = protocol_header_name(h), *value = NULL;

        if (!name)
            name = h == CONN_STATUS ? "Status" : "Description";
        if (natsMsgHeader_Get(m, name, &value) != NATS_OK || !value)
            value = "";
        msg.header[h] = value;
    }
    if (s)
        s->fn(s->ctx, &msg);
    natsMsg_Destroy(m);
}

static void
on_waker(void *ctx)
{
    struct conn_tls *w = ctx;
    struct tls_event *items;
    size_t n = take_items(w, &items);

    for (size_t i = 0; i < n; i++) {
        char *text = items[i].text;

        switch (items[i].kind) {
        case ITEM_MSG:
            take_msg(w, items[i].sid, items[i].msg);
            break;
        case ITEM_UP:
            w->w.on->up(w->w.ctx);
            break;
        case ITEM_DOWN:
            w->w.on->down(w->w.ctx, items[i].epoch);
            break;
        case ITEM_DENIED:
            w->w.on->denied(w->w.ctx, text);
            break;
        }
        mem_free(text);
    }
}

static int
threads_subscribe(struct conn *wire, struct conn_sub *sub, bool bounded,
                  struct err *e)
{
    struct conn_tls *w = (struct conn_tls *)wire;
    natsStatus s;
    sigset_t old;

    conn_block_signals(&old);
    s = natsConnection_Subscribe(&sub->lib, w->nc, sub->subject,
                                 bounded ? on_news : on_msg, (void *)w->id);
    conn_restore_signals(&old);
    if (s != NATS_OK)
        return err_set(
            e, s == NATS_INVALID_SUBJECT ? ERR_INVALID : ERR_UNAVAILABLE,
            "subscribe to %s: %s", sub->subject, natsStatus_GetText(s));
    /* The callback takes everything at once; limits are the queue's. */
    (void)natsSubscription_SetPendingLimits(sub->lib, -1, -1);
    sub->sid = natsSubscription_GetID(sub->lib);
    return 0;
}

static void
threads_unsubscribe(struct conn *w, struct conn_sub *s)
{
    (void)w;
    (void)natsSubscription_Unsubscribe(s->lib);
    natsSubscription_Destroy(s->lib);
}

/* The writing thread need not be told that a turn has ended. */
static void
threads_turn(struct conn *w)
{
    (void)w;
}

/* --- opening ------------------------------------------------------------- */

static int
set_behaviour(struct conn_tls *w, natsOptions *opts, const char *name,
              struct err *e)
{
    void *closure = (void *)w->id;

    if (natsOptions_SetName(opts, name) != NATS_OK ||
        natsOptions_SetTimeout(opts, CONN_CONNECT_MS) != NATS_OK ||
        natsOptions_SetPingInterval(opts, CONN_PING_MS) != NATS_OK ||
        natsOptions_SetMaxPingsOut(opts, 2) != NATS_OK ||
        natsOptions_SetMaxReconnect(opts, -1) != NATS_OK ||
        natsOptions_SetReconnectWait(opts, CONN_RECONNECT_MS) != NATS_OK ||
        natsOptions_SetReconnectJitter(opts, CONN_RECONNECT_MS,
                                       CONN_RECONNECT_MS) != NATS_OK ||
        natsOptions_SetReconnectBufSize(opts, CONN_KEPT_BYTES) != NATS_OK ||
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

struct opening {
    struct conn_tls *w;
    natsOptions *opts;
};

static int
attempt(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    sigset_t old;
    natsStatus s;

    conn_block_signals(&old);
    s = natsConnection_Connect(&o->w->nc, o->opts);
    conn_restore_signals(&old);
    if (s == NATS_OK)
        return 0;
    o->w->nc = NULL;
    return conn_refused(&o->w->remote, s, e);
}

static int
connect_as(struct conn_tls *w, const struct bus_conf *conf, const char *name,
           int64_t timeout_ms, struct err *e)
{
    struct opening o = {.w = w};
    int rc = -1;

    if (natsOptions_Create(&o.opts) != NATS_OK)
        return err_set(e, ERR_UNAVAILABLE, "no memory");
    if (endpoint_options(o.opts, conf, &w->remote, e) == 0 &&
        set_behaviour(w, o.opts, name, e) == 0 &&
        conn_insist(attempt, &o, &w->remote, timeout_ms, e) == 0)
        rc = 0;
    natsOptions_Destroy(o.opts);
    return rc;
}

static void
join(struct conn_tls *w)
{
    (void)pthread_mutex_lock(&gate);
    w->id = ++last_id;
    w->next = all;
    all = w;
    (void)pthread_mutex_unlock(&gate);
    conn_join();
}

/* From here on no callback finds us. */
static void
leave(struct conn_tls *w)
{
    struct conn_tls **at = &all;

    (void)pthread_mutex_lock(&gate);
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    (void)pthread_mutex_unlock(&gate);
}

static void
stop_writer(struct conn_tls *w)
{
    (void)pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    (void)pthread_cond_broadcast(&w->cond);
    while (w->writing)
        (void)pthread_cond_wait(&w->cond, &w->mutex);
    (void)pthread_mutex_unlock(&w->mutex);
}

static void
free_items(struct tls_event *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        natsMsg_Destroy(items[i].msg);
        mem_free(items[i].text);
    }
    mem_free(items);
}

static void
threads_close(struct conn *wire)
{
    struct conn_tls *w = (struct conn_tls *)wire;

    stop_writer(w);
    leave(w);
    for (struct conn_sub *s = wire->subs; s; s = s->next)
        natsSubscription_Destroy(s->lib);
    /* Nothing arrives from here on. The library's messages must be gone
     * before the library is: its last close takes their memory's owner. */
    free_items(w->in, w->n_in);
    natsConnection_Destroy(w->nc);
    conn_leave(true);
    loop_waker_close(w->waker);
    mem_free(w->taken);
    mem_free(w->out);
    endpoint_free(&w->remote);
    (void)pthread_mutex_destroy(&w->mutex);
    (void)pthread_cond_destroy(&w->cond);
    conn_release(wire);
}

static const struct conn_ops threads_ops = {
    .send = threads_send,
    .subscribe = threads_subscribe,
    .unsubscribe = threads_unsubscribe,
    .turn = threads_turn,
    .close = threads_close,
};

int
conn_tls_open(struct conn **out, struct loop *loop, const struct bus_conf *conf,
              const char *role, int64_t timeout_ms,
              const struct conn_events *on, void *ctx, struct err *e)
{
    struct conn_tls *w = MEM_NEW(struct conn_tls);

    conn_init(&w->w, &threads_ops, loop, on, ctx);
    w->waker = loop_waker_open(loop, on_waker, w);
    (void)pthread_mutex_init(&w->mutex, NULL);
    (void)pthread_cond_init(&w->cond, NULL);
    join(w);
    if (connect_as(w, conf, role, timeout_ms, e) < 0)
        goto out;
    conn_connected(&w->w, w->nc);
    w->w.url = w->remote.url;
    w->writing = true;
    if (conn_thread(write_out, w, e) < 0) {
        w->writing = false;
        goto out;
    }
    *out = &w->w;
    return 0;
out:
    threads_close(&w->w);
    return -1;
}
