/*
 * conn - a connection to the broker: what conn_tcp and conn_tls share.
 *
 * Thread: the loop thread; up, epoch and max_payload may be read and set by
 * any.
 */
#ifndef LIB_BUS_CONN_H
#define LIB_BUS_CONN_H

#include "lib/bus/bus.h"
#include "lib/bus/protocol.h"

#include <nats/nats.h>
#include <stdatomic.h>

struct conn;
struct conn_ops;

/* Events of a connection, called on the loop thread. */
struct conn_events {
    void (*up)(void *ctx);
    void (*down)(void *ctx, uint64_t epoch); /* connections lost so far */
    void (*denied)(void *ctx, const char *text);
    void (*closed)(void *ctx, const char *text); /* for good */
};

typedef void conn_msg_fn(void *ctx, const struct protocol_msg *m);

struct conn_sub {
    struct conn_sub *next;
    struct conn *conn;
    int64_t sid;
    char *subject;
    conn_msg_fn *fn;
    void *ctx;
    natsSubscription *lib; /* of conn_tls */
};

/* The first member of struct conn_tcp and struct conn_tls. */
struct conn {
    const struct conn_ops *ops;
    struct loop *loop;
    const struct conn_events *on;
    void *ctx;
    char *url;
    struct conn_sub *subs;
    atomic_bool up;
    atomic_uint_fast64_t epoch;
    atomic_size_t max_payload;
};

/* What happens to a message while there is no connection. */
enum conn_policy {
    CONN_CORE,    /* core message: dropped */
    CONN_REQUEST, /* refused: the caller is told */
    CONN_ACK,     /* kept for the next connection, up to CONN_KEPT_BYTES */
};

struct conn_ops {
    bool (*send)(struct conn *c, const struct protocol_out *o,
                 enum conn_policy policy);
    int (*subscribe)(struct conn *c, struct conn_sub *s, bool bounded,
                     struct err *e);
    void (*unsubscribe)(struct conn *c, struct conn_sub *s);
    void (*flush)(struct conn *c);
    void (*close)(struct conn *c);
};

enum {
    CONN_KEPT_BYTES = 4 << 20,   /* kept for the next connection */
    CONN_QUEUE_BYTES = 64 << 20, /* waiting to be written */
};

/* --- for users ------------------------------------------------------------ */

void conn_close(struct conn *c); /* NULL is fine; calls nothing back */

bool conn_up(const struct conn *c);
uint64_t conn_epoch(const struct conn *c); /* connections lost so far */
size_t conn_max_payload(const struct conn *c);

/* bounded: messages may be dropped if they arrive faster than they are read,
 * for core messages. */
int conn_subscribe(struct conn *c, const char *subject, bool bounded,
                   conn_msg_fn *fn, void *ctx, struct conn_sub **out,
                   struct err *e);
void conn_unsubscribe(struct conn_sub *s); /* NULL is fine */

/* Queues a message; never blocks. False if the queue is full, or if there is
 * no connection and policy says so. */
bool conn_send(struct conn *c, const struct protocol_out *o,
               enum conn_policy policy);

/* Writes what is queued: called before the loop sleeps. */
void conn_flush(struct conn *c);

/* --- for conn_tcp and conn_tls -------------------------------------------- */

void conn_init(struct conn *c, const struct conn_ops *ops, struct loop *loop,
               const struct conn_events *on, void *ctx);
void conn_release(struct conn *c);
/* The subscription with sid; NULL if there is none any more. */
struct conn_sub *conn_find(const struct conn *c, int64_t sid);
void conn_connected(struct conn *c, natsConnection *nc);

#endif
