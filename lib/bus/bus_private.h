/*
 * bus_private - what the parts of bus share, and nobody else sees.
 *
 *   bus_remote.c    addresses, credentials, certificates
 *   bus_wire.c      what both kinds of connection share; choosing one
 *   bus_dial.c      connecting, on a thread of its own when it is done again
 *   bus_proto.c     the text that travels: pure, no I/O
 *   bus_plain.c     a connection that the loop thread reads and writes itself
 *   bus_threads.c   a connection under TLS: the library's threads, two queues
 *   bus.c           dispatch on the loop thread, core NATS, the one timer
 *   bus_answer.c    what the broker's answers say
 *   bus_ask.c       everything that waits for one answer
 *   bus_confirm.c   what is stored waits until it is on the disk
 *   bus_consumer.c  durable pull consumers
 */
#ifndef LIB_BUS_BUS_PRIVATE_H
#define LIB_BUS_BUS_PRIVATE_H

#include "lib/bus/bus.h"

#include <nats/nats.h>
#include <signal.h>
#include <stdatomic.h>

enum {
    BUS_INBOX_SIZE = 96,   /* of "_INBOX.<role>.<random>" */
    BUS_REPLY_SIZE = 160,  /* of a reply subject below it */
    BUS_SUBJECT_MAX = 400, /* longest subject we publish on */
    BUS_HEADER_ROOM = 256, /* for our headers, beside the payload */
    BUS_ID_MAX = 128,      /* longest Nats-Msg-Id */
};

/* --- bus_remote: who is there --------------------------------------------- */

/* What must live as long as the connection. */
struct endpoint {
    char *url; /* of all servers, without credentials */
    char *seed, *public_key;
};

/* On -1 *out may be partly filled: endpoint_free it either way. */
int endpoint_options(natsOptions *opts, const struct bus_conf *conf,
                     struct endpoint *out, struct err *e);
void endpoint_free(struct endpoint *r); /* overwrites the secrets */

/* --- bus_proto: the text that travels --------------------------------------
 */

/* The headers we read; nothing else of a header block is kept. */
enum conn_header {
    CONN_STATUS, /* of the first line: "404" */
    CONN_DESCRIPTION,
    CONN_ID,      /* Nats-Msg-Id */
    CONN_SUBJECT, /* Nats-Subject */
    CONN_SEQUENCE,
    CONN_TIME_STAMP,
    CONN_PENDING, /* Nats-Pending-Messages */
    CONN_HEADERS,
};

/* A message that came; valid during the callback. Text is "", not NULL. */
struct conn_msg {
    const char *subject, *reply;
    const uint8_t *data;
    size_t len;
    const char *header[CONN_HEADERS];
};

/* The name of a header as it travels; NULL for what the first line holds. */
const char *protocol_header_name(unsigned header);

/* A message to send. */
struct conn_out {
    const char *subject;
    const char *reply; /* NULL: none */
    const char *id;    /* NULL: none */
    int64_t expect;    /* BUS_ANY_REVISION: any */
    const void *data;
    size_t len;
};

enum protocol_kind {
    PROTOCOL_MORE, /* not all of it is there */
    PROTOCOL_MSG,
    PROTOCOL_PING,
    PROTOCOL_PONG,
    PROTOCOL_OK,
    PROTOCOL_INFO,
    PROTOCOL_ERR,
    PROTOCOL_JUNK, /* nothing after this can be understood */
};

struct protocol_op {
    int64_t sid; /* of PROTOCOL_MSG, as msg is */
    struct conn_msg msg;
    const char *text; /* of PROTOCOL_INFO and PROTOCOL_ERR */
};

/*
 * Reads the operation that in begins with. *used is what it takes up; op
 * points into in, which is written to once all of it is there.
 */
enum protocol_kind protocol_read(char *in, size_t len, struct protocol_op *op,
                                 size_t *used);
/* Appends o as it travels; subject and id must be bus_text_ok. */
void protocol_put(struct str *out, const struct conn_out *o);

/* --- bus_wire: the connection ----------------------------------------------
 */

struct conn;
struct conn_ops;

/* What a connection tells; all of it on the loop thread. */
struct conn_events {
    void (*up)(void *ctx);
    void (*down)(void *ctx, uint64_t epoch); /* connections lost so far */
    void (*denied)(void *ctx, const char *text);
};

typedef void conn_msg_fn(void *ctx, const struct conn_msg *m);

struct conn_sub {
    struct conn_sub *next;
    struct conn *wire;
    int64_t sid;
    char *subject;
    conn_msg_fn *fn;
    void *ctx;
    natsSubscription *lib; /* of bus_threads */
};

/* What both kinds of connection have; the first member of either. */
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

enum conn_policy {
    CONN_NEWS,   /* dropped while there is no connection */
    CONN_ASK,    /* refused likewise: whoever asks is told */
    CONN_SETTLE, /* kept for the next connection, up to a limit */
};

struct conn_ops {
    bool (*send)(struct conn *w, const struct conn_out *o,
                 enum conn_policy sort);
    int (*subscribe)(struct conn *w, struct conn_sub *s, bool bounded,
                     struct err *e);
    void (*unsubscribe)(struct conn *w, struct conn_sub *s);
    void (*turn)(struct conn *w);
    void (*close)(struct conn *w);
};

int conn_open(struct conn **out, struct loop *loop, const struct bus_conf *conf,
              const char *role, int64_t timeout_ms,
              const struct conn_events *on, void *ctx, struct err *e);
void conn_close(struct conn *w); /* NULL is fine; calls nothing back */

bool conn_up(const struct conn *w);
uint64_t conn_epoch(const struct conn *w); /* connections lost so far */
size_t conn_max_payload(const struct conn *w);

/* bounded: what is not taken in time may be dropped, for news. */
int conn_subscribe(struct conn *w, const char *subject, bool bounded,
                   conn_msg_fn *fn, void *ctx, struct conn_sub **out,
                   struct err *e);
void conn_unsubscribe(struct conn_sub *s); /* NULL is fine */

/* Appends a message; never blocks. False if too much waits already, or if
 * there is no connection and sort says so. */
bool conn_send(struct conn *w, const struct conn_out *o, enum conn_policy sort);

/* Before the loop sleeps: writes what was appended in this turn. */
void conn_turn(struct conn *w);

/* --- bus_wire: for the two kinds -------------------------------------------
 */

enum {
    CONN_CONNECT_MS = 2000,      /* of one attempt */
    CONN_PING_MS = 5000,         /* two of them missed: the peer is gone */
    CONN_RECONNECT_MS = 250,     /* and as much jitter */
    CONN_KEPT_BYTES = 4 << 20,   /* for the next connection */
    CONN_QUEUE_BYTES = 64 << 20, /* waiting to be written */
    CONN_CLOSE_MS = 2000,
};

/* 1: the broker wants TLS, connect by threads; else as bus_open. */
int conn_tcp_open(struct conn **out, struct loop *loop,
                  const struct bus_conf *conf, const char *role,
                  int64_t timeout_ms, const struct conn_events *on, void *ctx,
                  struct err *e);
int conn_tls_open(struct conn **out, struct loop *loop,
                  const struct bus_conf *conf, const char *role,
                  int64_t timeout_ms, const struct conn_events *on, void *ctx,
                  struct err *e);

void conn_init(struct conn *w, const struct conn_ops *ops, struct loop *loop,
               const struct conn_events *on, void *ctx);
void conn_release(struct conn *w);
/* The one that messages with sid belong to; NULL: there is none any more. */
struct conn_sub *conn_find(const struct conn *w, int64_t sid);
void conn_connected(struct conn *w, natsConnection *nc);

/* The library lives as long as somebody uses it. */
void conn_join(void);
void conn_leave(bool wait); /* wait: for its threads, if it ends now */

/* Says what a connection that did not come about means. */
int conn_refused(const struct endpoint *r, natsStatus s, struct err *e);
/* Calls attempt until it returns 0, what it says is final or timeout_ms have
 * passed. */
int conn_insist(int (*attempt)(void *ctx, struct err *e), void *ctx,
                const struct endpoint *r, int64_t timeout_ms, struct err *e);

/*
 * Threads inherit what is blocked when they are created. A signal that landed
 * on one of theirs would interrupt its wait, which the library takes for the
 * end of the connection; the main thread is there to be interrupted. Blocked
 * only around each call, so that TERM ends a long wait for the broker.
 */
void conn_block_signals(sigset_t *old);
void conn_restore_signals(const sigset_t *old);
/* A thread with all signals blocked; nobody joins it. */
int conn_thread(void *(*fn)(void *ctx), void *ctx, struct err *e);

/* --- bus_dial: connecting --------------------------------------------------
 */

struct connector;

/* waker is woken, from another thread, when connector_take has something. */
int connector_open(struct connector **out, const struct bus_conf *conf,
                   const char *role, struct loop_waker *waker, struct err *e);
/* False if it still connects and ends by itself later. */
bool connector_close(struct connector *d); /* NULL is fine */
const struct endpoint *connector_endpoint(const struct connector *d);

/* What a connection is: the library's, and a copy of its socket for us alone.
 */
struct connected {
    natsConnection *nc;
    int fd, library_fd;
};

/* Tries for timeout_ms, blocking. *tls: the broker speaks nothing else. */
int connector_connect(struct connector *d, int64_t timeout_ms,
                      struct connected *out, bool *tls, struct err *e);
/* Tries on a thread until it succeeds. False if there is no thread to be had;
 * nothing if one is at it. */
bool connector_start(struct connector *d);
/* True if it has succeeded, once. *denied is set, to text that is valid until
 * the next call, once per connector_start if the broker refuses us. */
bool connector_take(struct connector *d, struct connected *out,
                    const char **denied);
void connected_close(struct connected *c);

/* --- bus: dispatch -------------------------------------------------------- */

struct bus_request;
struct retried_publish;

struct bus {
    struct loop *loop;
    struct loop_hook *turn;
    struct conn *wire;
    bool up;                  /* as the events delivered so far say */
    int64_t cork_ms, cork_at; /* see bus_cork; 0: nothing waits */
    bool refill;              /* a consumer may have room for more */
    char inbox[BUS_INBOX_SIZE];
    struct conn_sub *answers; /* inbox.* */

    void (*on_event)(void *ctx, enum bus_event event, const char *text);
    void *event_ctx;

    int64_t broker_ms;      /* the broker's clock, as last heard; 0: never */
    int64_t broker_seen_ms; /* and when, by loop_now_ms */

    struct loop_timer *timer;
    int64_t timer_at; /* when it fires; 0: it does not run */

    struct bus_request *asks;
    unsigned n_asks, free_ask; /* size of the table, first free + 1 */
    uint64_t ask_serial;
    struct retried_publish *untils;

    struct bus_sub *subs;
    struct bus_consumer *consumers;
    unsigned consumer_serial;
    struct fsync_barrier *confirm; /* NULL: the broker's word is enough */
};

/* Makes the timer fire at at_ms or before. */
void bus_due(struct bus *b, int64_t at_ms);
/* The broker stored something at that time of its clock. */
void bus_note_broker_time(struct bus *b, int64_t stored_at_ms);
/* No empty text, blanks or controls: nothing that breaks the protocol. */
bool bus_text_ok(const char *text, size_t max);
/* The number that text is, wholly; false otherwise. */
bool bus_number(const char *text, uint64_t *out);

/* --- bus_answer ----------------------------------------------------------- */

/* Reads {"stream":"S","seq":N,"duplicate":true} or {"error":{...}}. */
int bus_read_stored(const void *data, size_t len, struct bus_stored *out,
                    struct err *e);
/* Milliseconds since 1970 of "2006-01-02T15:04:05.999Z"; 0 if it is none. */
int64_t bus_read_time(const char *text);
/* Of a read of one message. 0: *out is filled, and borrows from m; 1: there is
 * none; -1: e says why not. */
int bus_read_entry(const struct conn_msg *m, struct bus_entry *out,
                   struct err *e);

/* --- bus_ask -------------------------------------------------------------- */

/* Index and serial of a reply subject "<inbox>.<index>-<serial>", in hex. */
bool bus_read_slot(const char *inbox, const char *subject, uint64_t *index,
                   uint64_t *serial);

void requests_on_reply(void *ctx,
                       const struct conn_msg *m); /* an answer, or junk */
void requests_connection_lost(struct bus *b,
                              uint64_t epoch); /* the connection broke */
void requests_on_up(struct bus *b);
/* Ends what is overdue; returns when to come again, INT64_MAX: never. */
int64_t requests_tick(struct bus *b, int64_t now);
void requests_free_all(struct bus *b);

/* Answers an ask that was held. Nothing if it has ended meanwhile. */
void requests_confirmed(struct bus *b, unsigned index, uint64_t serial);

/* --- bus_confirm ---------------------------------------------------------- */

struct fsync_barrier *barrier_new(void);
void barrier_free(struct fsync_barrier *c); /* NULL is fine */
/* That ask is answered once the disk has what the broker has by then. */
void barrier_hold(struct bus *b, unsigned index, uint64_t serial);
/* The end of a turn: asks the keeper for all that is held, unless a question
 * is under way. */
void barrier_flush(struct bus *b);
/* Asks again what was not answered; returns when to come again. */
int64_t barrier_tick(struct bus *b, int64_t now);

/* --- bus_consumer --------------------------------------------------------- */

/*
 * Reads $JS.ACK.<stream>.<durable>.<delivered>.<stream seq>.<consumer seq>.
 * <nanoseconds>.<pending>, or the newer form with two tokens, domain and
 * account, before the stream and perhaps one more at the end. name is
 * "<stream>.<durable>": nobody else may make us publish anywhere.
 */
bool bus_read_ack(const char *name, const char *reply, struct bus_msg *out);
/* How many messages a pull with this reply subject asked for; 0: it is none
 * of inbox and epoch. */
unsigned bus_read_pull(const char *inbox, uint64_t epoch, const char *reply);

void consumer_up(struct bus *b);
void consumer_top_up_all(struct bus *b);
int64_t consumer_tick(struct bus *b, int64_t now);

#endif
