/*
 * The part of a connection that does not depend on who reads and writes its
 * socket: the list of subscriptions, and calls through struct conn_ops.
 */
#include "lib/bus/conn.h"

#include "lib/base/mem.h"

void
conn_init(struct conn *c, const struct conn_ops *ops, struct loop *loop,
          const struct conn_events *on, void *ctx)
{
    c->ops = ops;
    c->loop = loop;
    c->on = on;
    c->ctx = ctx;
}

static void
free_sub(struct conn_sub *s)
{
    mem_free(s->subject);
    mem_free(s);
}

void
conn_release(struct conn *c)
{
    while (c->subs) {
        struct conn_sub *s = c->subs;

        c->subs = s->next;
        free_sub(s);
    }
    mem_free(c);
}

void
conn_close(struct conn *c)
{
    if (c)
        c->ops->close(c);
}

void
conn_connected(struct conn *c, natsConnection *nc)
{
    int64_t max = natsConnection_GetMaxPayload(nc);

    atomic_store(&c->max_payload, max > 0 ? (size_t)max : 0);
    atomic_store(&c->up, true);
}

bool
conn_up(const struct conn *c)
{
    return atomic_load(&c->up);
}

uint64_t
conn_epoch(const struct conn *c)
{
    return atomic_load(&c->epoch);
}

size_t
conn_max_payload(const struct conn *c)
{
    return atomic_load(&c->max_payload);
}

struct conn_sub *
conn_find(const struct conn *c, int64_t sid)
{
    struct conn_sub *s = c->subs;

    while (s && s->sid != sid)
        s = s->next;
    return s;
}

int
conn_subscribe(struct conn *c, const char *subject, bool bounded,
               conn_msg_fn *fn, void *ctx, struct conn_sub **out, struct err *e)
{
    struct conn_sub *s = MEM_NEW(struct conn_sub), **at = &c->subs;

    s->conn = c;
    s->subject = mem_strdup(subject);
    s->fn = fn;
    s->ctx = ctx;
    if (c->ops->subscribe(c, s, bounded, e) < 0) {
        free_sub(s);
        return -1;
    }
    /* The oldest comes first: it receives all replies. */
    while (*at)
        at = &(*at)->next;
    *at = s;
    *out = s;
    return 0;
}

void
conn_unsubscribe(struct conn_sub *s)
{
    struct conn_sub **at;

    if (!s)
        return;
    for (at = &s->conn->subs; *at != s; at = &(*at)->next)
        ;
    *at = s->next;
    s->conn->ops->unsubscribe(s->conn, s);
    free_sub(s);
}

bool
conn_send(struct conn *c, const struct protocol_out *o, enum conn_policy policy)
{
    return c->ops->send(c, o, policy);
}

void
conn_flush(struct conn *c)
{
    c->ops->flush(c);
}
