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

struct plain {
    struct wire w; /* first: what others have points here */
    struct dial *dial;
    struct loop_waker *waker; /* the dial's */
    struct loop_timer *timer;
    struct dialled link; /* nc NULL: there is no connection */
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
clear_out(struct plain *p)
{
    p->written = 0;
    if (p->out.cap > KEEP_BYTES)
        str_free(&p->out);
    else
        str_reset(&p->out);
}

/* What a peer that reads slowly has read is not kept for ever. */
static void
compact(struct plain *p)
{
    if (p->written < KEEP_BYTES || p->written < p->out.len / 2)
        return;
    p->out.len -= p->written;
    memmove(p->out.data, p->out.data + p->written, p->out.len);
    p->written = 0;
}

static void
set_stuck(struct plain *p, bool stuck)
{
    p->stuck = stuck;
    loop_fd_writable(p->poll, stuck);
}

static void
write_out(struct plain *p)
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
plain_turn(struct wire *w)
{
    struct plain *p = (struct plain *)w;

    if (p->link.nc && p->out.len && !p->stuck)
        write_out(p);
}

static bool
plain_send(struct wire *w, const struct wire_out *o, enum wire_sort sort)
{
    struct plain *p = (struct plain *)w;

    if (!p->link.nc) {
        if (sort != WIRE_SETTLE || p->kept.len >= WIRE_KEPT_BYTES)
            return false;
        proto_put(&p->kept, o);
        return true;
    }
    if (p->out.len - p->written + o->len > WIRE_QUEUE_BYTES)
        return false;
    proto_put(&p->out, o);
    if (p->out.len >= WRITE_BYTES && !p->stuck)
        write_out(p);
    return true;
}

/* --- subscriptions ---------------------------------------------------------
 */

static void
put_sub(struct plain *p, const struct wire_sub *s)
{
    str_addf(&p->out, "SUB %s %lld\r\n", s->subject, (long long)s->sid);
}

static int
plain_subscribe(struct wire *w, struct wire_sub *s, bool bounded, struct err *e)
{
    struct plain *p = (struct plain *)w;

    (void)bounded; /* what is not read waits with the broker, which is */
    (void)e;
    s->sid = ++p->last_sid;
    if (p->link.nc)
        put_sub(p, s);
    return 0;
}

static void
plain_unsubscribe(struct wire *w, struct wire_sub *s)
{
    struct plain *p = (struct plain *)w;

    if (p->link.nc)
        str_addf(&p->out, "UNSUB %lld\r\n", (long long)s->sid);
}

/* --- losing and finding ----------------------------------------------------
 */

static void on_fd(void *ctx);
static void on_tick(void *ctx);

static void
put_ping(struct plain *p)
{
    str_addz(&p->out, "PING\r\n");
    p->pings++;
}

static void
take_link(struct plain *p)
{
    wire_connected(&p->w, p->link.nc);
    p->poll = loop_fd_start(p->w.loop, p->link.fd, on_fd, p);
    p->pings = 1; /* the one that checked the connection */
    loop_timer_again(p->timer, WIRE_PING_MS, WIRE_PING_MS);
    for (const struct wire_sub *s = p->w.subs; s; s = s->next)
        put_sub(p, s);
    str_add(&p->out, p->kept.data, p->kept.len);
    str_free(&p->kept);
}

static void
drop_link(struct plain *p)
{
    atomic_store(&p->w.up, false);
    loop_fd_stop(p->poll);
    p->poll = NULL;
    dialled_close(&p->link);
    clear_out(p);
    p->stuck = false;
    p->broken = false;
    p->n_in = 0;
}

static void
lost(struct plain *p, const char *why)
{
    uint64_t epoch = atomic_fetch_add(&p->w.epoch, 1) + 1;

    log_debug("bus.lost", "url=%s why=\"%s\"", p->w.url, LOG_TEXT(why));
    drop_link(p);
    (void)dial_start(p->dial); /* the timer tries again */
    p->w.on->down(p->w.ctx, epoch);
}

static void
on_waker(void *ctx)
{
    struct plain *p = ctx;
    struct dialled link;
    const char *denied;
    bool made;

    if (p->broken)
        lost(p, "the broker has closed the connection");
    made = dial_take(p->dial, &link, &denied);
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
    struct plain *p = ctx;

    if (!p->link.nc)
        (void)dial_start(p->dial);
    else if (p->pings >= PINGS_MOST)
        lost(p, "the broker does not answer");
    else
        put_ping(p);
}

/* --- reading ---------------------------------------------------------------
 */

/* A server may change what it allows while it runs. */
static void
take_info(struct plain *p, const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    json_int_t max = json_integer_value(json_object_get(json, "max_payload"));

    if (max > 0)
        atomic_store(&p->w.max_payload, (size_t)max);
    json_decref(json);
}

static void
take_error(struct plain *p, const char *text)
{
    if (p->closing)
        return;
    if (strcasestr(text, "permissions violation"))
        p->w.on->denied(p->w.ctx, text);
    else
        log_warn("bus.error", "text=\"%s\"", LOG_TEXT(text));
}

static void
take_msg(struct plain *p, const struct proto_op *op)
{
    const struct wire_sub *s = wire_find(&p->w, op->sid);

    if (s && !p->closing)
        s->fn(s->ctx, &op->msg);
}

/* Takes all that is there; false if it cannot be understood. */
static bool
take_all(struct plain *p)
{
    size_t at = 0, used = 0;
    enum proto_kind kind;
    struct proto_op op;

    do {
        kind = proto_read(p->in + at, p->n_in - at, &op, &used);
        switch (kind) {
        case PROTO_MORE:
        case PROTO_JUNK:
            used = 0;
            break;
        case PROTO_MSG:
            take_msg(p, &op);
            break;
        case PROTO_PING:
            str_addz(&p->out, "PONG\r\n");
            break;
        case PROTO_PONG:
            p->pings -= p->pings > 0;
            break;
        case PROTO_OK:
            break;
        case PROTO_INFO:
            take_info(p, op.text);
            break;
        case PROTO_ERR:
            take_error(p, op.text);
            break;
        }
        at += used;
    } while (used);
    p->n_in -= at;
    if (at && p->n_in)
        memmove(p->in, p->in + at, p->n_in);
    return kind != PROTO_JUNK;
}

static void
fit_in(struct plain *p)
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
read_some(struct plain *p, const char **why)
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
    struct plain *p = ctx;
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
flush(struct plain *p)
{
    int64_t give_up = loop_now_ms() + WIRE_CLOSE_MS, left;
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
plain_close(struct wire *w)
{
    struct plain *p = (struct plain *)w;
    bool ended;

    if (p->link.nc) {
        flush(p);
        drop_link(p);
    }
    ended = dial_close(p->dial);
    wire_leave(ended);
    loop_timer_stop(p->timer);
    loop_waker_close(p->waker);
    str_free(&p->out);
    str_free(&p->kept);
    mem_free(p->in);
    wire_release(w);
}

static const struct wire_ops plain_ops = {
    .send = plain_send,
    .subscribe = plain_subscribe,
    .unsubscribe = plain_unsubscribe,
    .turn = plain_turn,
    .close = plain_close,
};

int
plain_open(struct wire **out, struct loop *loop, const struct bus_conf *conf,
           const char *role, int64_t timeout_ms, const struct wire_events *on,
           void *ctx, struct err *e)
{
    struct plain *p = MEM_NEW(struct plain);
    bool tls = false;

    wire_init(&p->w, &plain_ops, loop, on, ctx);
    wire_join();
    p->link.fd = -1;
    p->waker = loop_waker_open(loop, on_waker, p);
    p->timer = loop_timer_start(loop, WIRE_PING_MS, WIRE_PING_MS, on_tick, p);
    if (dial_open(&p->dial, conf, role, p->waker, e) < 0 ||
        dial_now(p->dial, timeout_ms, &p->link, &tls, e) < 0) {
        plain_close(&p->w);
        return tls ? 1 : -1;
    }
    p->w.url = dial_remote(p->dial)->url;
    take_link(p);
    *out = &p->w;
    return 0;
}
