/*
 * Output is appended to one buffer, which is written once per iteration of the
 * loop; received messages are passed on from the input buffer without a copy.
 * Nothing blocks: while the broker does not read, the output buffer grows up to
 * a limit. A broken or silent connection is detected by pings and replaced by a
 * new one (connector).
 */
#include "lib/bus/conn_tcp.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/connector.h"
#include "lib/bus/libnats.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    IN_BYTES = 64 * 1024,
    READS_MOST = 16,         /* per event: others need the loop, too */
    WRITE_BYTES = 64 * 1024, /* written at once, not at the end of the loop */
    KEEP_BYTES = 1 << 20,    /* a larger buffer is freed when it is empty */
    PINGS_MOST = 2,          /* unanswered */
};

struct conn_tcp {
    struct conn conn; /* first: callers cast it */
    struct connector *connector;
    struct loop_waker *waker; /* also the connector's */
    struct loop_timer *timer;
    struct connected link; /* nc NULL: not connected */
    struct loop_fd *poll;
    int64_t last_sid;

    struct str out;
    size_t written;  /* of out */
    bool stuck;      /* the socket buffer is full */
    bool broken;     /* writing failed: on_waker reports it */
    struct str kept; /* CONN_ACK messages for the next connection */

    char *in;
    size_t n_in, cap_in;
    unsigned pings; /* unanswered */
    bool closing;   /* no callback is called any more */
};

/* --- writing -------------------------------------------------------------- */

static void
clear_out(struct conn_tcp *t)
{
    t->written = 0;
    if (t->out.cap > KEEP_BYTES)
        str_free(&t->out);
    else
        str_reset(&t->out);
}

/* Frees what a slow reader has already read. */
static void
compact(struct conn_tcp *t)
{
    if (t->written < KEEP_BYTES || t->written < t->out.len / 2)
        return;
    t->out.len -= t->written;
    memmove(t->out.data, t->out.data + t->written, t->out.len);
    t->written = 0;
}

static void
set_stuck(struct conn_tcp *t, bool stuck)
{
    t->stuck = stuck;
    loop_fd_writable(t->poll, stuck);
}

static void
write_out(struct conn_tcp *t)
{
    while (t->written < t->out.len && !t->broken) {
        ssize_t n = send(t->link.fd, t->out.data + t->written,
                         t->out.len - t->written, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            t->written += (size_t)n;
        } else if (errno == EAGAIN) {
            compact(t);
            set_stuck(t, true);
            return;
        } else if (errno != EINTR) {
            /* Reported from the loop, not from inside the caller's call. */
            t->broken = true;
            loop_waker_wake(t->waker);
        }
    }
    clear_out(t);
    set_stuck(t, false);
}

static void
tcp_flush(struct conn *c)
{
    struct conn_tcp *t = (struct conn_tcp *)c;

    if (t->link.nc && t->out.len && !t->stuck)
        write_out(t);
}

static bool
tcp_send(struct conn *c, const struct protocol_out *o, enum conn_policy policy)
{
    struct conn_tcp *t = (struct conn_tcp *)c;

    if (!t->link.nc) {
        if (policy != CONN_ACK || t->kept.len >= CONN_KEPT_BYTES)
            return false;
        protocol_put(&t->kept, o);
        return true;
    }
    if (t->out.len - t->written + o->len > CONN_QUEUE_BYTES)
        return false;
    protocol_put(&t->out, o);
    if (t->out.len >= WRITE_BYTES && !t->stuck)
        write_out(t);
    return true;
}

/* --- subscriptions -------------------------------------------------------- */

static void
put_sub(struct conn_tcp *t, const struct conn_sub *s)
{
    str_addf(&t->out, "SUB %s %lld\r\n", s->subject, (long long)s->sid);
}

static int
tcp_subscribe(struct conn *c, struct conn_sub *s, bool bounded, struct err *e)
{
    struct conn_tcp *t = (struct conn_tcp *)c;

    (void)bounded; /* what we do not read waits at the broker */
    (void)e;
    s->sid = ++t->last_sid;
    if (t->link.nc)
        put_sub(t, s);
    return 0;
}

static void
tcp_unsubscribe(struct conn *c, struct conn_sub *s)
{
    struct conn_tcp *t = (struct conn_tcp *)c;

    if (t->link.nc)
        str_addf(&t->out, "UNSUB %lld\r\n", (long long)s->sid);
}

/* --- losing and replacing the connection ---------------------------------- */

static void on_fd(void *ctx);
static void on_tick(void *ctx);

static void
put_ping(struct conn_tcp *t)
{
    str_addz(&t->out, "PING\r\n");
    t->pings++;
}

static void
take_link(struct conn_tcp *t)
{
    conn_connected(&t->conn, t->link.nc);
    t->poll = loop_fd_start(t->conn.loop, t->link.fd, on_fd, t);
    t->pings = 1; /* the connector's, which checked the connection */
    loop_timer_again(t->timer, CONN_PING_MS, CONN_PING_MS);
    for (const struct conn_sub *s = t->conn.subs; s; s = s->next)
        put_sub(t, s);
    str_add(&t->out, t->kept.data, t->kept.len);
    str_free(&t->kept);
}

static void
drop_link(struct conn_tcp *t)
{
    atomic_store(&t->conn.up, false);
    loop_fd_stop(t->poll);
    t->poll = NULL;
    connected_close(&t->link);
    clear_out(t);
    t->stuck = false;
    t->broken = false;
    t->n_in = 0;
}

static void
lost(struct conn_tcp *t, const char *why)
{
    uint64_t epoch = atomic_fetch_add(&t->conn.epoch, 1) + 1;

    log_debug("bus.lost", "url=%s why=\"%s\"", t->conn.url, LOG_TEXT(why));
    drop_link(t);
    (void)connector_start(t->connector); /* on_tick repeats it */
    t->conn.on->down(t->conn.ctx, epoch);
}

static void
on_waker(void *ctx)
{
    struct conn_tcp *t = ctx;
    struct connected link;
    const char *denied;
    bool made;

    if (t->broken)
        lost(t, "the broker has closed the connection");
    made = connector_take(t->connector, &link, &denied);
    if (denied)
        t->conn.on->denied(t->conn.ctx, denied);
    if (!made)
        return;
    t->link = link;
    take_link(t);
    t->conn.on->up(t->conn.ctx);
}

static void
on_tick(void *ctx)
{
    struct conn_tcp *t = ctx;

    if (!t->link.nc)
        (void)connector_start(t->connector);
    else if (t->pings >= PINGS_MOST)
        lost(t, "the broker does not answer");
    else
        put_ping(t);
}

/* --- reading -------------------------------------------------------------- */

/* A server may change its limit at run time. */
static void
take_info(struct conn_tcp *t, const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    json_int_t max = json_integer_value(json_object_get(json, "max_payload"));

    if (max > 0)
        atomic_store(&t->conn.max_payload, (size_t)max);
    json_decref(json);
}

static void
take_error(struct conn_tcp *t, const char *text)
{
    if (t->closing)
        return;
    if (strcasestr(text, "permissions violation"))
        t->conn.on->denied(t->conn.ctx, text);
    else
        log_warn("bus.error", "text=\"%s\"", LOG_TEXT(text));
}

static void
take_msg(struct conn_tcp *t, const struct protocol_op *op)
{
    const struct conn_sub *s = conn_find(&t->conn, op->sid);

    if (s && !t->closing)
        s->fn(s->ctx, &op->msg);
}

/* Handles all complete operations; false if the input is invalid. */
static bool
take_all(struct conn_tcp *t)
{
    size_t at = 0, used = 0;
    enum protocol_kind kind;
    struct protocol_op op;

    do {
        kind = protocol_read(t->in + at, t->n_in - at, &op, &used);
        switch (kind) {
        case PROTOCOL_MORE:
        case PROTOCOL_JUNK:
            used = 0;
            break;
        case PROTOCOL_MSG:
            take_msg(t, &op);
            break;
        case PROTOCOL_PING:
            str_addz(&t->out, "PONG\r\n");
            break;
        case PROTOCOL_PONG:
            t->pings -= t->pings > 0;
            break;
        case PROTOCOL_OK:
            break;
        case PROTOCOL_INFO:
            take_info(t, op.text);
            break;
        case PROTOCOL_ERR:
            take_error(t, op.text);
            break;
        }
        at += used;
    } while (used);
    t->n_in -= at;
    if (at && t->n_in)
        memmove(t->in, t->in + at, t->n_in);
    return kind != PROTOCOL_JUNK;
}

/* Makes room in the input buffer, or shrinks it after a burst. */
static void
fit_in(struct conn_tcp *t)
{
    size_t cap = t->cap_in;

    if (t->n_in == cap)
        cap = cap ? cap * 2 : IN_BYTES;
    else if (t->n_in == 0 && cap > KEEP_BYTES)
        cap = IN_BYTES;
    if (cap != t->cap_in)
        t->in = mem_resize(t->in, cap);
    t->cap_in = cap;
}

/* True if more may be readable. *why is set if the connection has ended. */
static bool
read_some(struct conn_tcp *t, const char **why)
{
    size_t room;
    ssize_t n;

    fit_in(t);
    room = t->cap_in - t->n_in;
    n = recv(t->link.fd, t->in + t->n_in, room, MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            *why = strerror(errno);
        return false;
    }
    if (n == 0) {
        *why = "the broker has closed the connection";
        return false;
    }
    t->n_in += (size_t)n;
    if (!take_all(t))
        *why = "the broker does not speak the NATS protocol";
    return !*why && (size_t)n == room;
}

static void
on_fd(void *ctx)
{
    struct conn_tcp *t = ctx;
    const char *why = NULL;

    if (t->stuck)
        write_out(t);
    for (int i = 0; i < READS_MOST && read_some(t, &why); i++)
        ;
    if (why)
        lost(t, why);
}

/* --- opening and closing -------------------------------------------------- */

/* Writes the queue and reads until the broker has answered a ping. */
static void
flush(struct conn_tcp *t)
{
    int64_t give_up = loop_now_ms() + CONN_CLOSE_MS, left;
    const char *why = NULL;

    t->closing = true;
    put_ping(t);
    while (!why && t->pings && !t->broken &&
           (left = give_up - loop_now_ms()) > 0) {
        struct pollfd f = {.fd = t->link.fd, .events = POLLIN};

        write_out(t);
        if (t->stuck)
            f.events |= POLLOUT;
        if (poll(&f, 1, (int)left) > 0 && f.revents & ~POLLOUT)
            (void)read_some(t, &why);
    }
}

static void
tcp_close(struct conn *c)
{
    struct conn_tcp *t = (struct conn_tcp *)c;
    bool ended;

    if (t->link.nc) {
        flush(t);
        drop_link(t);
    }
    ended = connector_close(t->connector);
    libnats_leave(ended);
    loop_timer_stop(t->timer);
    loop_waker_close(t->waker);
    str_free(&t->out);
    str_free(&t->kept);
    mem_free(t->in);
    conn_release(c);
}

static const struct conn_ops tcp_ops = {
    .send = tcp_send,
    .subscribe = tcp_subscribe,
    .unsubscribe = tcp_unsubscribe,
    .flush = tcp_flush,
    .close = tcp_close,
};

int
conn_tcp_open(struct conn **out, struct loop *loop, const struct bus_conf *conf,
              const char *role, int64_t timeout_ms,
              const struct conn_events *on, void *ctx, struct err *e)
{
    struct conn_tcp *t = MEM_NEW(struct conn_tcp);
    bool tls = false;

    conn_init(&t->conn, &tcp_ops, loop, on, ctx);
    libnats_join();
    t->link.fd = -1;
    t->waker = loop_waker_open(loop, on_waker, t);
    t->timer = loop_timer_start(loop, CONN_PING_MS, CONN_PING_MS, on_tick, t);
    if (connector_open(&t->connector, conf, role, t->waker, e) < 0 ||
        connector_connect(t->connector, timeout_ms, &t->link, &tls, e) < 0) {
        tcp_close(&t->conn);
        return tls ? 1 : -1;
    }
    t->conn.url = connector_endpoint(t->connector)->url;
    take_link(t);
    *out = &t->conn;
    return 0;
}
