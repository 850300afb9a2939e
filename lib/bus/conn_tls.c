/*
 * The library's threads read and write the socket; two queues connect them to
 * the loop. (Driven by a foreign event loop, the library spins while a TLS
 * record is incomplete.) The library locks its connection, for up to seconds,
 * while it reconnects and while it writes to a peer that does not read. So a
 * thread of ours publishes, never the loop thread, and events on the library's
 * threads are queued for the loop.
 *
 * Callbacks carry a number instead of a pointer: the library may still be
 * inside one when the connection is closed, and then finds no connection with
 * that number.
 */
#include "lib/bus/conn_tls.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/libnats.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WRITE_MS = 5000,  /* until a peer that reads nothing is given up */
    CORE_MAX = 65536, /* core messages waiting for the loop */
    FLUSH_MS = 1,     /* see flush */
    KEEP_MOST = 4096, /* elements of a queue that is kept after a burst */
};

struct out {
    natsMsg *msg;
    bool core; /* dropped while there is no connection */
};

enum tls_event_kind {
    EVENT_MSG,
    EVENT_UP,
    EVENT_DOWN,
    EVENT_DENIED,
    EVENT_CLOSED
};

/* An event on a thread of the library. */
struct tls_event {
    enum tls_event_kind kind;
    int64_t sid;    /* EVENT_MSG: its subscription */
    natsMsg *msg;   /* EVENT_MSG: owned by whoever takes the event */
    uint64_t epoch; /* EVENT_DOWN: connections lost so far */
    char *text;     /* EVENT_DENIED, EVENT_CLOSED: owned in the same way */
};

struct conn_tls {
    struct conn conn;      /* first: callers cast it */
    struct conn_tls *next; /* in all */
    uintptr_t id;
    natsConnection *nc;
    struct endpoint endpoint;
    struct loop_waker *waker;

    /* Protected by gate. */
    struct tls_event *in;
    size_t n_in, cap_in;
    bool overflowed; /* logged already */

    /* Used by the loop thread only. */
    struct tls_event *taken;
    size_t cap_taken;

    /* Protected by mutex. */
    bool writing; /* the writing thread exists */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct out *out;
    size_t n_out, cap_out, out_bytes;
    bool stopping;
};

/* Protects the list of open connections and the events they have received. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static struct conn_tls *all;
static uintptr_t last_id;

/* Called with gate locked. */
static struct conn_tls *
find(void *closure)
{
    struct conn_tls *t = all;

    while (t && t->id != (uintptr_t)closure)
        t = t->next;
    return t;
}

/* Called with gate locked. */
static void
push(struct conn_tls *t, struct tls_event event)
{
    t->in = mem_grow(t->in, t->n_in, &t->cap_in, sizeof *t->in);
    t->in[t->n_in++] = event;
    if (t->n_in == 1)
        loop_waker_wake(t->waker);
}

static void
on_msg(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    int64_t sid = natsSubscription_GetID(sub);
    struct conn_tls *t;

    (void)nc;
    (void)pthread_mutex_lock(&gate);
    t = find(closure);
    if (t)
        push(t, (struct tls_event){.kind = EVENT_MSG, .sid = sid, .msg = msg});
    (void)pthread_mutex_unlock(&gate);
    if (!t)
        natsMsg_Destroy(msg);
}

static void
on_core_msg(natsConnection *nc, natsSubscription *sub, natsMsg *msg,
            void *closure)
{
    bool drop, first = false;
    struct conn_tls *t;

    (void)pthread_mutex_lock(&gate);
    t = find(closure);
    drop = t && t->n_in >= CORE_MAX;
    if (drop) {
        first = !t->overflowed;
        t->overflowed = true;
    }
    (void)pthread_mutex_unlock(&gate);
    if (!drop) {
        on_msg(nc, sub, msg, closure);
        return;
    }
    natsMsg_Destroy(msg);
    if (first)
        log_warn("bus.overrun", "messages arrive faster than they are read: "
                                "some were dropped");
}

static void
on_connected(natsConnection *nc, void *closure)
{
    struct conn_tls *t;

    (void)pthread_mutex_lock(&gate);
    t = find(closure);
    if (t) {
        conn_connected(&t->conn, nc);
        push(t, (struct tls_event){.kind = EVENT_UP});
    }
    (void)pthread_mutex_unlock(&gate);
}

static void
on_disconnected(natsConnection *nc, void *closure)
{
    struct conn_tls *t;

    (void)nc;
    (void)pthread_mutex_lock(&gate);
    t = find(closure);
    if (t) {
        atomic_store(&t->conn.up, false);
        push(t, (struct tls_event){
                    .kind = EVENT_DOWN,
                    .epoch = atomic_fetch_add(&t->conn.epoch, 1) + 1});
    }
    (void)pthread_mutex_unlock(&gate);
}

static void
push_text(void *closure, enum tls_event_kind kind, const char *text)
{
    struct conn_tls *t;

    (void)pthread_mutex_lock(&gate);
    t = find(closure);
    if (t)
        push(t, (struct tls_event){.kind = kind, .text = mem_strdup(text)});
    (void)pthread_mutex_unlock(&gate);
}

/* The library gives up when the broker has refused its credentials twice. */
static void
on_closed(natsConnection *nc, void *closure)
{
    const char *last = NULL;
    char text[256];

    (void)natsConnection_GetLastError(nc, &last);
    (void)snprintf(text, sizeof text, "the broker closed the connection: %s",
                   last && *last ? last : "no reason given");
    push_text(closure, EVENT_CLOSED, text);
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
        push_text(closure, EVENT_DENIED,
                  *text ? text : "a permission is missing");
    else if (s == NATS_SLOW_CONSUMER)
        log_warn("bus.slow", "the library dropped messages");
}

/* --- writing -------------------------------------------------------------- */

/*
 * Makes the library write its buffer. Its own thread would do so a millisecond
 * later, and its other mode costs a system call per message. A flush also
 * sends a ping and waits for the reply, during which the next batch collects;
 * a reply that takes longer than a millisecond is not awaited.
 */
static void
flush(struct conn_tls *t, int64_t timeout_ms)
{
    if (atomic_load(&t->conn.up))
        (void)natsConnection_FlushTimeout(t->nc, timeout_ms);
}

static void *
write_out(void *ctx)
{
    struct conn_tls *t = ctx;
    struct out *batch = NULL, *swap;
    size_t n, cap = 0, swap_cap;
    bool stopping;

    do {
        (void)pthread_mutex_lock(&t->mutex);
        while (t->n_out == 0 && !t->stopping)
            (void)pthread_cond_wait(&t->cond, &t->mutex);
        stopping = t->stopping;
        swap = t->out;
        swap_cap = t->cap_out;
        n = t->n_out;
        t->out = batch;
        t->cap_out = cap;
        t->n_out = 0;
        t->out_bytes = 0;
        (void)pthread_mutex_unlock(&t->mutex);
        batch = swap;
        cap = swap_cap;
        for (size_t i = 0; i < n; i++) {
            /* Failure means that the library's buffer is full or the
             * connection broke: a request then gets no reply. */
            if (!batch[i].core || atomic_load(&t->conn.up))
                (void)natsConnection_PublishMsg(t->nc, batch[i].msg);
            natsMsg_Destroy(batch[i].msg);
        }
        flush(t, stopping ? CONN_CLOSE_MS : FLUSH_MS);
        if (cap > KEEP_MOST) {
            mem_free(batch);
            batch = NULL;
            cap = 0;
        }
    } while (!stopping || n > 0);
    mem_free(batch);
    (void)pthread_mutex_lock(&t->mutex);
    t->writing = false;
    (void)pthread_cond_broadcast(&t->cond);
    (void)pthread_mutex_unlock(&t->mutex);
    return NULL;
}

/* Never NULL. */
static natsMsg *
message(const struct protocol_out *o)
{
    natsMsg *m = NULL;
    char revision[24];

    if (natsMsg_Create(&m, o->subject, o->reply, o->data, (int)o->len) !=
        NATS_OK)
        abort(); /* out of memory, as in lib/base/mem */
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
tls_send(struct conn *c, const struct protocol_out *o, enum conn_policy policy)
{
    struct conn_tls *t = (struct conn_tls *)c;
    size_t size = o->len + 256;
    bool fits;

    (void)pthread_mutex_lock(&t->mutex);
    fits = t->out_bytes + size <= CONN_QUEUE_BYTES;
    if (fits) {
        t->out = mem_grow(t->out, t->n_out, &t->cap_out, sizeof *t->out);
        t->out[t->n_out++] =
            (struct out){.msg = message(o), .core = policy == CONN_CORE};
        t->out_bytes += size;
        if (t->n_out == 1)
            (void)pthread_cond_signal(&t->cond);
    }
    (void)pthread_mutex_unlock(&t->mutex);
    return fits;
}

/* --- reading -------------------------------------------------------------- */

/* All queued events in order; valid until the next call. */
static size_t
take_events(struct conn_tls *t, struct tls_event **events)
{
    struct tls_event *swap = t->taken;
    size_t swap_cap = t->cap_taken, n;

    if (swap_cap > KEEP_MOST) {
        mem_free(swap);
        swap = NULL;
        swap_cap = 0;
    }
    (void)pthread_mutex_lock(&gate);
    n = t->n_in;
    t->taken = t->in;
    t->cap_taken = t->cap_in;
    t->in = swap;
    t->cap_in = swap_cap;
    t->n_in = 0;
    t->overflowed = false;
    (void)pthread_mutex_unlock(&gate);
    *events = t->taken;
    return n;
}

static void
take_msg(struct conn_tls *t, int64_t sid, natsMsg *m)
{
    const struct conn_sub *s = conn_find(&t->conn, sid);
    const char *reply = natsMsg_GetReply(m), *data = natsMsg_GetData(m);
    struct protocol_msg msg = {
        .subject = natsMsg_GetSubject(m),
        .reply = reply ? reply : "",
        .data = (const uint8_t *)(data ? data : ""),
        .len = (size_t)natsMsg_GetDataLength(m),
    };

    for (unsigned h = 0; h < HEADERS_READ; h++) {
        const char *name = protocol_header_name(h), *value = NULL;

        if (!name)
            name = h == HEADER_STATUS ? "Status" : "Description";
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
    struct conn_tls *t = ctx;
    struct tls_event *events;
    size_t n = take_events(t, &events);

    for (size_t i = 0; i < n; i++) {
        char *text = events[i].text;

        switch (events[i].kind) {
        case EVENT_MSG:
            take_msg(t, events[i].sid, events[i].msg);
            break;
        case EVENT_UP:
            t->conn.on->up(t->conn.ctx);
            break;
        case EVENT_DOWN:
            t->conn.on->down(t->conn.ctx, events[i].epoch);
            break;
        case EVENT_DENIED:
            t->conn.on->denied(t->conn.ctx, text);
            break;
        case EVENT_CLOSED:
            t->conn.on->closed(t->conn.ctx, text);
            break;
        }
        mem_free(text);
    }
}

static int
tls_subscribe(struct conn *c, struct conn_sub *sub, bool bounded, struct err *e)
{
    struct conn_tls *t = (struct conn_tls *)c;
    natsStatus s;
    sigset_t old;

    libnats_block_signals(&old);
    s = natsConnection_Subscribe(&sub->lib, t->nc, sub->subject,
                                 bounded ? on_core_msg : on_msg, (void *)t->id);
    libnats_restore_signals(&old);
    if (s != NATS_OK)
        return err_set(
            e, s == NATS_INVALID_SUBJECT ? ERR_INVALID : ERR_UNAVAILABLE,
            "subscribe to %s: %s", sub->subject, libnats_last_error());
    /* The callback returns at once; the limits are those of our queue. */
    (void)natsSubscription_SetPendingLimits(sub->lib, -1, -1);
    sub->sid = natsSubscription_GetID(sub->lib);
    return 0;
}

static void
tls_unsubscribe(struct conn *c, struct conn_sub *s)
{
    (void)c;
    (void)natsSubscription_Unsubscribe(s->lib);
    natsSubscription_Destroy(s->lib);
}

/* The writing thread writes by itself. */
static void
tls_flush(struct conn *c)
{
    (void)c;
}

/* --- opening -------------------------------------------------------------- */

static int
set_behaviour(struct conn_tls *t, natsOptions *opts, const char *name,
              struct err *e)
{
    void *closure = (void *)t->id;

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
                       libnats_last_error());
    return 0;
}

struct opening {
    struct conn_tls *t;
    natsOptions *opts;
};

static int
attempt(void *ctx, struct err *e)
{
    struct opening *o = ctx;
    sigset_t old;
    natsStatus s;

    libnats_block_signals(&old);
    s = natsConnection_Connect(&o->t->nc, o->opts);
    libnats_restore_signals(&old);
    if (s == NATS_OK)
        return 0;
    o->t->nc = NULL;
    return libnats_refused(&o->t->endpoint, s, e);
}

static int
connect_as(struct conn_tls *t, const struct bus_conf *conf, const char *name,
           int64_t timeout_ms, struct err *e)
{
    struct opening o = {.t = t};
    int rc = -1;

    if (natsOptions_Create(&o.opts) != NATS_OK)
        return err_set(e, ERR_UNAVAILABLE, "no memory");
    if (endpoint_options(o.opts, conf, &t->endpoint, e) == 0 &&
        set_behaviour(t, o.opts, name, e) == 0 &&
        libnats_retry(attempt, &o, &t->endpoint, timeout_ms, e) == 0)
        rc = 0;
    natsOptions_Destroy(o.opts);
    return rc;
}

static void
register_conn(struct conn_tls *t)
{
    (void)pthread_mutex_lock(&gate);
    t->id = ++last_id;
    t->next = all;
    all = t;
    (void)pthread_mutex_unlock(&gate);
    libnats_join();
}

/* From here on no callback finds the connection. */
static void
unregister_conn(struct conn_tls *t)
{
    struct conn_tls **at = &all;

    (void)pthread_mutex_lock(&gate);
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    (void)pthread_mutex_unlock(&gate);
}

static void
stop_writer(struct conn_tls *t)
{
    (void)pthread_mutex_lock(&t->mutex);
    t->stopping = true;
    (void)pthread_cond_broadcast(&t->cond);
    while (t->writing)
        (void)pthread_cond_wait(&t->cond, &t->mutex);
    (void)pthread_mutex_unlock(&t->mutex);
}

static void
free_events(struct tls_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        natsMsg_Destroy(events[i].msg);
        mem_free(events[i].text);
    }
    mem_free(events);
}

static void
tls_close(struct conn *c)
{
    struct conn_tls *t = (struct conn_tls *)c;

    stop_writer(t);
    unregister_conn(t);
    for (struct conn_sub *s = c->subs; s; s = s->next)
        natsSubscription_Destroy(s->lib);
    /* Nothing arrives from here on. The library's messages must be freed
     * before it is closed: the last close frees the owner of their memory. */
    free_events(t->in, t->n_in);
    natsConnection_Destroy(t->nc);
    libnats_leave(true);
    loop_waker_close(t->waker);
    mem_free(t->taken);
    mem_free(t->out);
    endpoint_free(&t->endpoint);
    (void)pthread_mutex_destroy(&t->mutex);
    (void)pthread_cond_destroy(&t->cond);
    conn_release(c);
}

static const struct conn_ops tls_ops = {
    .send = tls_send,
    .subscribe = tls_subscribe,
    .unsubscribe = tls_unsubscribe,
    .flush = tls_flush,
    .close = tls_close,
};

int
conn_tls_open(struct conn **out, struct loop *loop, const struct bus_conf *conf,
              const char *role, int64_t timeout_ms,
              const struct conn_events *on, void *ctx, struct err *e)
{
    struct conn_tls *t = MEM_NEW(struct conn_tls);

    conn_init(&t->conn, &tls_ops, loop, on, ctx);
    t->waker = loop_waker_open(loop, on_waker, t);
    (void)pthread_mutex_init(&t->mutex, NULL);
    (void)pthread_cond_init(&t->cond, NULL);
    register_conn(t);
    if (connect_as(t, conf, role, timeout_ms, e) < 0)
        goto out;
    conn_connected(&t->conn, t->nc);
    t->conn.url = t->endpoint.url;
    t->writing = true;
    if (libnats_thread(write_out, t, e) < 0) {
        t->writing = false;
        goto out;
    }
    *out = &t->conn;
    return 0;
out:
    tls_close(&t->conn);
    return -1;
}
