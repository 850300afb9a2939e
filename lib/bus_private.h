/*
 * bus_private - what the parts of bus share, and nobody else sees.
 *
 *   bus_remote.c    addresses, credentials, certificates
 *   bus_wire.c      the connection: the library's threads, the two queues
 *   bus.c           dispatch on the loop thread, core NATS, the one timer
 *   bus_ask.c       everything that waits for one answer
 *   bus_confirm.c   what is stored waits until it is on the disk
 *   bus_consumer.c  durable pull consumers
 */
#ifndef LIB_BUS_PRIVATE_H
#define LIB_BUS_PRIVATE_H

#include "lib/bus.h"

#include <nats/nats.h>

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

/* --- bus_wire: the connection --------------------------------------------- */

struct wire;

enum wire_kind { WIRE_MSG, WIRE_UP, WIRE_DOWN, WIRE_DENIED };

/* Something that happened on a library thread. */
struct wire_item {
    enum wire_kind kind;
    int64_t sid;    /* WIRE_MSG: the subscription it came by */
    natsMsg *msg;   /* WIRE_MSG: owned by whoever took the item */
    uint64_t epoch; /* WIRE_DOWN: connections lost so far */
    char *text;     /* WIRE_DENIED: owned likewise */
};

/* wake is called on any thread when there is something to take. */
int wire_open(struct wire **out, const struct bus_conf *conf, const char *role,
              int64_t timeout_ms, void (*wake)(void *ctx), void *ctx,
              struct err *e);
void wire_close(struct wire *w); /* NULL is fine; wake is not called after */

bool wire_up(const struct wire *w);
uint64_t wire_epoch(const struct wire *w); /* connections lost so far */
size_t wire_max_payload(const struct wire *w);
const char *wire_url(const struct wire *w);

/* bounded: what is not taken in time is dropped, for news. */
int wire_subscribe(struct wire *w, const char *subject, bool bounded,
                   natsSubscription **out, int64_t *sid, struct err *e);
void wire_unsubscribe(natsSubscription *sub); /* NULL is fine */

/*
 * Hands m over to the writing thread; never blocks. news: dropped while there
 * is no connection. False, and m destroyed, if too much waits already.
 */
bool wire_send(struct wire *w, natsMsg *m, bool news);

/* Everything that happened since, in order; valid until the next call. */
size_t wire_take(struct wire *w, struct wire_item **items);

/* --- bus: dispatch -------------------------------------------------------- */

struct ask;
struct until;

struct bus {
    struct loop *loop;
    struct loop_waker *waker;
    struct wire *wire;
    bool up; /* as the events delivered so far say */
    bool draining;
    char inbox[BUS_INBOX_SIZE];
    natsSubscription *answers; /* inbox.* */
    int64_t answers_sid;

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
/* A message to send; never NULL. reply may be NULL. */
natsMsg *bus_message(const char *subject, const char *reply, const void *data,
                     size_t len);
/* The value of a header, "" if it is absent. */
const char *bus_header(natsMsg *m, const char *name);
/* The number that text is, wholly; false otherwise. */
bool bus_number(const char *text, uint64_t *out);

/* --- bus_ask -------------------------------------------------------------- */

/* Reads {"stream":"S","seq":N,"duplicate":true} or {"error":{...}}. */
int bus_read_stored(const void *data, size_t len, struct bus_stored *out,
                    struct err *e);
/* Milliseconds since 1970 of "2006-01-02T15:04:05.999Z"; 0 if it is none. */
int64_t bus_read_time(const char *text);
/* Index and serial of a reply subject "<inbox>.<index>-<serial>", in hex. */
bool bus_read_slot(const char *inbox, const char *subject, uint64_t *index,
                   uint64_t *serial);

void ask_take(struct bus *b, natsMsg *m);     /* an answer, or junk */
void ask_lost(struct bus *b, uint64_t epoch); /* the connection broke */
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

/* False if the subscription is none of a consumer; else m is dealt with. */
bool consumer_take(struct bus *b, int64_t sid, natsMsg *m);
void consumer_up(struct bus *b);
void consumer_top_up_all(struct bus *b);
int64_t consumer_tick(struct bus *b, int64_t now);

#endif
