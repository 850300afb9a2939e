/*
 * conn_tcp - a connection that the loop thread reads and writes itself.
 *
 * What is sent is appended to one buffer, which a turn of the loop writes in
 * one go before it sleeps; what comes is handed on straight from the buffer it
 * was read into. Nothing blocks: a broker that does not read lets the one
 * buffer grow, up to a limit, and one that has gone or keeps silent is noticed
 * by pings and replaced by a fresh connection (bus_dial).
 */
#include "lib/bus/bus_private.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    IN_BYTES = 64 * 1024,
    READS_MOST = 16,         /* per turn: other things want their turn, too */
    WRITE_BYTES = 64 * 1024, /* so much does not wait for the turn's end */
    KEEP_BYTES = 1 << 20,    /* a burst does not keep its memory */
    PINGS_MOST = 2,
};

struct conn_tcp {
    struct conn w; /* first: what others have points here */
    struct connector *dial;
    struct loop_waker *waker; /* the dial's */
    struct loop_timer *timer;
    struct connected link; /* nc NULL: there is no connection */
    struct loop_fd *poll;
    int64_t last_sid;

    struct str out;
    size_t written; /* of out */
    bool stuck;     /* the socket took no more */
    bool broken;    /* the connection is over: the reader says so */
    struct str kept;

    char *in;
    size_t n_in, cap_in;
    unsigned pings; /* not answered */
    bool closing;   /* nobody is told anything any more */
};

/* --- writing ---------------------------------------------------------------
 */

static void
clear_out(struct conn_tcp *p)
{
    p->written = 0;
    if (p->out.cap > KEEP_BYTES)
        str_free(&p->out);
    else
        str_reset(&p->out);
}

/* What a peer that reads slowly has read is not kept for ever. */
static void
compact(struct conn_tcp *p)
{
    if (p->written < KEEP_BYTES || p->written < p->out.len / 2)
        return;
    p->out.len -= p->written;
    memmove(p->out.data, p->out.data + p->written, p->out.len);
    p->written = 0;
}

static void
set_stuck(struct conn_tcp *p, bool stuck)
{
    p->stuck = stuck;
    loop_fd_writable(p->poll, stuck);
}

static void
write_out(struct conn_tcp *p)
{
    while (p->written < p->out.len && !p->broken) {
        ssize_t n = send(p->link.fd, p->out.data + p->written,
                         p->out.len - p->written, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            p->written += (size_t)n;
        } else if (errno == EAGAIN) {
            compact(p);
            set_stuck(p, true);
            return;
        } else if (errno != EINTR) {
            /* Told from the loop, not from inside somebody's call. */
            p->broken = true;
            loop_waker_wake(p->waker);
        }
    }
    clear_out(p);
    set_stuck(p, false);
}

static void
plain_turn(struct conn *w)
{
    struct conn_tcp *p = (struct conn_tcp *)w;

    if (p->link.nc && p->out.len && !p->stuck)
        write_out(p);
}

static bool
plain_send(struct conn *w, const struct conn_out *o, enum conn_policy sort)
{
    struct conn_tcp *p = (struct conn_tcp *)w;

    if (!p->link.nc) {
        if (sort != CONN_SETTLE || p->kept.len >= CONN_KEPT_BYTES)
            return false;
        protocol_put(&p->kept, o);
        return true;
    }
    if (p->out.len - p->written + o->len > CONN_QUEUE_BYTES)
        return false;
    protocol_put(&p->out, o);
    if (p->out.len >= WRITE_BYTES && !p->stuck)
        write_out(p);
    return true;
}

/* --- subscriptions ---------------------------------------------------------
 */

static void
put_sub(struct conn_tcp *p, const struct conn_sub *s)
{
    str_addf(&p->out, "SUB %s %lld\r\n", s->subject, (long long)s->sid);
}

static int
plain_subscribe(struct conn *w, struct conn_sub *s, bool bounded, struct err *e)
{
    struct conn_tcp *p = (struct conn_tcp *)w;

    (void)bounded; /* what is not read waits with the broker, which is */
    (void)e;
    s->sid = ++p->last_sid;
    if (p->link.nc)
        put_sub(p, s);
    return 0;
}

static void
plain_unsubscribe(struct conn *w, struct conn_sub *s)
{
    struct conn_tcp *p = (struct conn_tcp *)w;

    if (p->link.nc)
        str_addf(&p->out, "UNSUB %lld\r\n", (long long)s->sid);
}

/* --- losing and finding ----------------------------------------------------
 */

static void on_fd(void *ctx);
static void on_tick(void *ctx);

static void
put_ping(struct conn_tcp *p)
{
    str_addz(&p->out, "PING\r\n");
    p->pings++;
}

static void
take_link(struct conn_tcp *p)
{
    conn_connected(&p->w, p->link.nc);
    p->poll = loop_fd_start(p->w.loop, p->link.fd, on_fd, p);
    p->pings = 1; /* the one that checked the connection */
    loop_timer_again(p->timer, CONN_PING_MS, CONN_PING_MS);
    for (const struct conn_sub *s = p->w.subs; s; s = s->next)
        put_sub(p, s);
    str_add(&p->out, p->kept.data, p->kept.len);
    str_free(&p->kept);
}

static void
drop_link(struct conn_tcp *p)
{
    atomic_store(&p->w.up, false);
    loop_fd_stop(p->poll);
    p->poll = NULL;
    connected_close(&p->link);
    clear_out(p);
    p->stuck = false;
    p->broken = false;
    p->n_in = 0;
}

static void
lost(struct conn_tcp *p, const char *why)
{
    uint64_t epoch = atomic_fetch_add(&p->w.epoch, 1) + 1;

    log_debug("bus.lost", "url=%s why=\"%s\"", p->w.url, LOG_TEXT(why));
    drop_link(p);
    (void)connector_start(p->dial); /* the timer tries again */
    p->w.on->down(p->w.ctx, epoch);
}

static void
on_waker(void *ctx)
{
    struct conn_tcp *p = ctx;
    struct connected link;
    const char *denied;
    bool made;

    if (p->broken)
        lost(p, "the broker has closed the connection");
    made = connector_take(p->dial, &link, &denied);
    if (denied)
        p->w.on->denied(p->w.ctx, denied);
    if (!made)
        return;
    p->link = link;
    take_link(p);
    p->w.on->up(p->w.ctx);
}

static void
on_tick(void *ctx)
{
    struct conn_tcp *p = ctx;

    if (!p->link.nc)
        (void)connector_start(p->dial);
    else if (p->pings >= PINGS_MOST)
        lost(p, "the broker does not answer");
    else
        put_ping(p);
}

/* --- reading ---------------------------------------------------------------
 */

/* A server may change what it allows while it runs. */
static void
take_info(struct conn_tcp *p, const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    json_int_t max = json_integer_value(json_object_get(json, "max_payload"));

    if (max > 0)
        atomic_store(&p->w.max_payload, (size_t)max);
    json_decref(json);
}

static void
take_error(struct conn_tcp *p, const char *text)
{
    if (p->closing)
        return;
    if (strcasestr(text, "permissions violation"))
        p->w.on->denied(p->w.ctx, text);
    else
        log_warn("bus.error", "text=\"%s\"", LOG_TEXT(text));
}

static void
take_msg(struct conn_tcp *p, const struct protocol_op *op)
{
    const struct conn_sub *s = conn_find(&p->w, op->sid);

    if (s && !p->closing)
        s->fn(s->ctx, &op->msg);
}

/* Takes all that is there; false if it cannot be understood. */
static bool
take_all(struct conn_tcp *p)
{
    size_t at = 0, used = 0;
    enum protocol_kind kind;
    struct protocol_op op;

    do {
        kind = protocol_read(p->in + at, p->n_in - at, &op, &used);
        switch (kind) {
        case PROTOCOL_MORE:
        case PROTOCOL_JUNK:
            used = 0;
            break;
        case PROTOCOL_MSG:
            take_msg(p, &op);
            break;
        case PROTOCOL_PING:
            str_addz(&p->out, "PONG\r\n");
            break;
        case PROTOCOL_PONG:
            p->pings -= p->pings > 0;
            break;
        case PROTOCOL_OK:
            break;
        case PROTOCOL_INFO:
            take_info(p, op.text);
            break;
        case PROTOCOL_ERR:
            take_error(p, op.text);
            break;
        }
        at += used;
    } while (used);
    p->n_in -= at;
    if (at && p->n_in)
        memmove(p->in, p->in + at, p->n_in);
    return kind != PROTOCOL_JUNK;
}

static void
fit_in(struct conn_tcp *p)
{
    size_t cap = p->cap_in;

    if (p->n_in == cap)
        cap = cap ? cap * 2 : IN_BYTES;
    else if (p->n_in == 0 && cap > KEEP_BYTES)
        cap = IN_BYTES;
    if (cap != p->cap_in)
        p->in = mem_resize(p->in, cap);
    p->cap_in = cap;
}

/* True if more may be there; NULL in *why unless the connection is over. */
static bool
read_some(struct conn_tcp *p, const char **why)
{
    size_t room;
    ssize_t n;

    fit_in(p);
    room = p->cap_in - p->n_in;
    n = recv(p->link.fd, p->in + p->n_in, room, MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            *why = strerror(errno);
        return false;
    }
    if (n == 0) {
        *why = "the broker has closed the connection";
        return false;
    }
    p->n_in += (size_t)n;
    if (!take_all(p))
        *why = "the broker sends what is no NATS";
    return !*why && (size_t)n == room;
}

static void
on_fd(void *ctx)
{
    struct conn_tcp *p = ctx;
    const char *why = NULL;

    if (p->stuck)
        write_out(p);
    for (int i = 0; i < READS_MOST && read_some(p, &why); i++)
        ;
    if (why)
        lost(p, why);
}

/* --- opening and closing ---------------------------------------------------
 */

/* Writes what waits and reads until the broker has answered to it. */
static void
flush(struct conn_tcp *p)
{
    int64_t give_up = loop_now_ms() + CONN_CLOSE_MS, left;
    const char *why = NULL;

    p->closing = true;
    put_ping(p);
    while (!why && p->pings && !p->broken &&
           (left = give_up - loop_now_ms()) > 0) {
        struct pollfd f = {.fd = p->link.fd, .events = POLLIN};

        write_out(p);
        if (p->stuck)
            f.events |= POLLOUT;
        if (poll(&f, 1, (int)left) > 0 && f.revents & ~POLLOUT)
            (void)read_some(p, &why);
    }
}

static void
plain_close(struct conn *w)
{
    struct conn_tcp *p = (struct conn_tcp *)w;
    bool ended;

    if (p->link.nc) {
        flush(p);
        drop_link(p);
    }
    ended = connector_close(p->dial);
    conn_leave(ended);
    loop_timer_stop(p->timer);
    loop_waker_close(p->waker);
    str_free(&p->out);
    str_free(&p->kept);
    mem_free(p->in);
    conn_release(w);
}

static const struct conn_ops plain_ops = {
    .send = plain_send,
    .subscribe = plain_subscribe,
    .unsubscribe = plain_unsubscribe,
    .turn = plain_turn,
    .close = plain_close,
};

int
conn_tcp_open(struct conn **out, struct loop *loop, const struct bus_conf *conf,
              const char *role, int64_t timeout_ms,
              const struct conn_events *on, void *ctx, struct err *e)
{
    struct conn_tcp *p = MEM_NEW(struct conn_tcp);
    bool tls = false;

    conn_init(&p->w, &plain_ops, loop, on, ctx);
    conn_join();
    p->link.fd = -1;
    p->waker = loop_waker_open(loop, on_waker, p);
    p->timer = loop_timer_start(loop, CONN_PING_MS, CONN_PING_MS, on_tick, p);
    if (connector_open(&p->dial, conf, role, p->waker, e) < 0 ||
        connector_connect(p->dial, timeout_ms, &p->link, &tls, e) < 0) {
        plain_close(&p->w);
        return tls ? 1 : -1;
    }
    p->w.url = connector_endpoint(p->dial)->url;
    take_link(p);
    *out = &p->w;
    return 0;
}
