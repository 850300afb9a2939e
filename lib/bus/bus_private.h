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
struct wire_remote {
    char *url; /* of all servers, without credentials */
    char *seed, *public_key;
};

/* On -1 *out may be partly filled: wire_remote_free it either way. */
int wire_options(natsOptions *opts, const struct bus_conf *conf,
                 struct wire_remote *out, struct err *e);
void wire_remote_free(struct wire_remote *r); /* overwrites the secrets */

/* --- bus_proto: the text that travels --------------------------------------
 */

/* The headers we read; nothing else of a header block is kept. */
enum wire_header {
    WIRE_STATUS, /* of the first line: "404" */
    WIRE_DESCRIPTION,
    WIRE_ID,      /* Nats-Msg-Id */
    WIRE_SUBJECT, /* Nats-Subject */
    WIRE_SEQUENCE,
    WIRE_TIME_STAMP,
    WIRE_PENDING, /* Nats-Pending-Messages */
    WIRE_HEADERS,
};

/* A message that came; valid during the callback. Text is "", not NULL. */
struct wire_msg {
    const char *subject, *reply;
    const uint8_t *data;
    size_t len;
    const char *header[WIRE_HEADERS];
};

/* The name of a header as it travels; NULL for what the first line holds. */
const char *proto_header_name(unsigned header);

/* A message to send. */
struct wire_out {
    const char *subject;
    const char *reply; /* NULL: none */
    const char *id;    /* NULL: none */
    int64_t expect;    /* BUS_ANY_REVISION: any */
    const void *data;
    size_t len;
};

enum proto_kind {
    PROTO_MORE, /* not all of it is there */
    PROTO_MSG,
    PROTO_PING,
    PROTO_PONG,
    PROTO_OK,
    PROTO_INFO,
    PROTO_ERR,
    PROTO_JUNK, /* nothing after this can be understood */
};

struct proto_op {
    int64_t sid; /* of PROTO_MSG, as msg is */
    struct wire_msg msg;
    const char *text; /* of PROTO_INFO and PROTO_ERR */
};

/*
 * Reads the operation that in begins with. *used is what it takes up; op
 * points into in, which is written to once all of it is there.
 */
enum proto_kind proto_read(char *in, size_t len, struct proto_op *op,
                           size_t *used);
/* Appends o as it travels; subject and id must be bus_text_ok. */
void proto_put(struct str *out, const struct wire_out *o);

/* --- bus_wire: the connection ----------------------------------------------
 */

struct wire;
struct wire_ops;

/* What a connection tells; all of it on the loop thread. */
struct wire_events {
    void (*up)(void *ctx);
    void (*down)(void *ctx, uint64_t epoch); /* connections lost so far */
    void (*denied)(void *ctx, const char *text);
};

typedef void wire_msg_fn(void *ctx, const struct wire_msg *m);

struct wire_sub {
    struct wire_sub *next;
    struct wire *wire;
    int64_t sid;
    char *subject;
    wire_msg_fn *fn;
    void *ctx;
    natsSubscription *lib; /* of bus_threads */
};

/* What both kinds of connection have; the first member of either. */
struct wire {
    const struct wire_ops *ops;
    struct loop *loop;
    const struct wire_events *on;
    void *ctx;
    char *url;
    struct wire_sub *subs;
    atomic_bool up;
    atomic_uint_fast64_t epoch;
    atomic_size_t max_payload;
};

enum wire_sort {
    WIRE_NEWS,   /* dropped while there is no connection */
    WIRE_ASK,    /* refused likewise: whoever asks is told */
    WIRE_SETTLE, /* kept for the next connection, up to a limit */
};

struct wire_ops {
    bool (*send)(struct wire *w, const struct wire_out *o, enum wire_sort sort);
    int (*subscribe)(struct wire *w, struct wire_sub *s, bool bounded,
                     struct err *e);
    void (*unsubscribe)(struct wire *w, struct wire_sub *s);
    void (*turn)(struct wire *w);
    void (*close)(struct wire *w);
};

int wire_open(struct wire **out, struct loop *loop, const struct bus_conf *conf,
              const char *role, int64_t timeout_ms,
              const struct wire_events *on, void *ctx, struct err *e);
void wire_close(struct wire *w); /* NULL is fine; calls nothing back */

bool wire_up(const struct wire *w);
uint64_t wire_epoch(const struct wire *w); /* connections lost so far */
size_t wire_max_payload(const struct wire *w);

/* bounded: what is not taken in time may be dropped, for news. */
int wire_subscribe(struct wire *w, const char *subject, bool bounded,
                   wire_msg_fn *fn, void *ctx, struct wire_sub **out,
                   struct err *e);
void wire_unsubscribe(struct wire_sub *s); /* NULL is fine */

/* Appends a message; never blocks. False if too much waits already, or if
 * there is no connection and sort says so. */
bool wire_send(struct wire *w, const struct wire_out *o, enum wire_sort sort);

/* Before the loop sleeps: writes what was appended in this turn. */
void wire_turn(struct wire *w);

/* --- bus_wire: for the two kinds -------------------------------------------
 */

enum {
    WIRE_CONNECT_MS = 2000,      /* of one attempt */
    WIRE_PING_MS = 5000,         /* two of them missed: the peer is gone */
    WIRE_RECONNECT_MS = 250,     /* and as much jitter */
    WIRE_KEPT_BYTES = 4 << 20,   /* for the next connection */
    WIRE_QUEUE_BYTES = 64 << 20, /* waiting to be written */
    WIRE_CLOSE_MS = 2000,
};

/* 1: the broker wants TLS, connect by threads; else as bus_open. */
int plain_open(struct wire **out, struct loop *loop,
               const struct bus_conf *conf, const char *role,
               int64_t timeout_ms, const struct wire_events *on, void *ctx,
               struct err *e);
int threads_open(struct wire **out, struct loop *loop,
                 const struct bus_conf *conf, const char *role,
                 int64_t timeout_ms, const struct wire_events *on, void *ctx,
                 struct err *e);

void wire_init(struct wire *w, const struct wire_ops *ops, struct loop *loop,
               const struct wire_events *on, void *ctx);
void wire_release(struct wire *w);
/* The one that messages with sid belong to; NULL: there is none any more. */
struct wire_sub *wire_find(const struct wire *w, int64_t sid);
void wire_connected(struct wire *w, natsConnection *nc);

/* The library lives as long as somebody uses it. */
void wire_join(void);
void wire_leave(bool wait); /* wait: for its threads, if it ends now */

/* Says what a connection that did not come about means. */
int wire_refused(const struct wire_remote *r, natsStatus s, struct err *e);
/* Calls attempt until it returns 0, what it says is final or timeout_ms have
 * passed. */
int wire_insist(int (*attempt)(void *ctx, struct err *e), void *ctx,
                const struct wire_remote *r, int64_t timeout_ms, struct err *e);

/*
 * Threads inherit what is blocked when they are created. A signal that landed
 * on one of theirs would interrupt its wait, which the library takes for the
 * end of the connection; the main thread is there to be interrupted. Blocked
 * only around each call, so that TERM ends a long wait for the broker.
 */
void wire_block_signals(sigset_t *old);
void wire_restore_signals(const sigset_t *old);
/* A thread with all signals blocked; nobody joins it. */
int wire_thread(void *(*fn)(void *ctx), void *ctx, struct err *e);

/* --- bus_dial: connecting --------------------------------------------------
 */

struct dial;

/* waker is woken, from another thread, when dial_take has something. */
int dial_open(struct dial **out, const struct bus_conf *conf, const char *role,
              struct loop_waker *waker, struct err *e);
/* False if it still connects and ends by itself later. */
bool dial_close(struct dial *d); /* NULL is fine */
const struct wire_remote *dial_remote(const struct dial *d);

/* What a connection is: the library's, and a copy of its socket for us alone.
 */
struct dialled {
    natsConnection *nc;
    int fd, library_fd;
};

/* Tries for timeout_ms, blocking. *tls: the broker speaks nothing else. */
int dial_now(struct dial *d, int64_t timeout_ms, struct dialled *out, bool *tls,
             struct err *e);
/* Tries on a thread until it succeeds. False if there is no thread to be had;
 * nothing if one is at it. */
bool dial_start(struct dial *d);
/* True if it has succeeded, once. *denied is set, to text that is valid until
 * the next call, once per dial_start if the broker refuses us. */
bool dial_take(struct dial *d, struct dialled *out, const char **denied);
void dialled_close(struct dialled *c);

/* --- bus: dispatch -------------------------------------------------------- */

struct ask;
struct until;

struct bus {
    struct loop *loop;
    struct loop_hook *turn;
    struct wire *wire;
    bool up;                      /* as the events delivered so far say */
    int64_t gather_ms, gather_at; /* see bus_gather; 0: nothing waits */
    bool refill;                  /* a consumer may have room for more */
    char inbox[BUS_INBOX_SIZE];
    struct wire_sub *answers; /* inbox.* */

    void (*on_event)(void *ctx, enum bus_event event, const char *text);
    void *event_ctx;

    int64_t broker_ms;      /* the broker's clock, as last heard; 0: never */
    int64_t broker_seen_ms; /* and when, by loop_now_ms */

    struct loop_timer *timer;
    int64_t timer_at; /* when it fires; 0: it does not run */

    struct ask *asks;
    unsigned n_asks, free_ask; /* size of the table, first free + 1 */
    uint64_t ask_serial;
    struct until *untils;
    uint64_t random;

    struct bus_sub *subs;
    struct bus_consumer *consumers;
    unsigned consumer_serial;
    struct confirm *confirm; /* NULL: the broker's word is enough */
};

/* Makes the timer fire at at_ms or before. */
void bus_due(struct bus *b, int64_t at_ms);
/* The broker stored something at that time of its clock. */
void bus_heard(struct bus *b, int64_t stored_at_ms);
/* A number below n, for jitter. */
int64_t bus_jitter(struct bus *b, int64_t n);
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
int bus_read_entry(const struct wire_msg *m, struct bus_entry *out,
                   struct err *e);

/* --- bus_ask -------------------------------------------------------------- */

/* Index and serial of a reply subject "<inbox>.<index>-<serial>", in hex. */
bool bus_read_slot(const char *inbox, const char *subject, uint64_t *index,
                   uint64_t *serial);

void ask_take(void *ctx, const struct wire_msg *m); /* an answer, or junk */
void ask_lost(struct bus *b, uint64_t epoch);       /* the connection broke */
void ask_up(struct bus *b);
/* Ends what is overdue; returns when to come again, INT64_MAX: never. */
int64_t ask_tick(struct bus *b, int64_t now);
void ask_free_all(struct bus *b);

/* Answers an ask that was held. Nothing if it has ended meanwhile. */
void ask_confirmed(struct bus *b, unsigned index, uint64_t serial);

/* --- bus_confirm ---------------------------------------------------------- */

struct confirm *confirm_new(void);
void confirm_free(struct confirm *c); /* NULL is fine */
/* That ask is answered once the disk has what the broker has by then. */
void confirm_hold(struct bus *b, unsigned index, uint64_t serial);
/* The end of a turn: asks the keeper for all that is held, unless a question
 * is under way. */
void confirm_flush(struct bus *b);
/* Asks again what was not answered; returns when to come again. */
int64_t confirm_tick(struct bus *b, int64_t now);

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
