/*
 * bus - NATS with JetStream: core messages, requests, durable messages,
 * compare-and-set, pull consumers.
 *
 * Speaks the JetStream wire protocol over core NATS (publish with a reply
 * inbox, $JS.API requests, acks to reply subjects); the library's JetStream
 * calls are not used, because they block, and its fetch returns more than was
 * requested before 3.9.
 *
 * Thread: every function is called on the loop thread, and every callback
 * arrives there, never from inside the call that requested it. What an
 * iteration of the loop sends is written at once before the loop sleeps, so a
 * program that blocks instead delays it. No call blocks while the broker is
 * away or stuck; reconnecting happens on a thread. Under TLS the library reads
 * and writes on its own threads, which only append to locked queues
 * (bus_subscribe, bus_consume and their counterparts may then block for a
 * connection attempt).
 *
 * Delivery is at least once: a handler may see the same message again.
 */
#ifndef LIB_BUS_BUS_H
#define LIB_BUS_BUS_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/io/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;          /* a connection */
struct bus_sub;      /* a core subscription */
struct bus_consumer; /* a bound durable pull consumer */

/* How to reach the broker; strings owned by the configuration. */
struct bus_conf {
    char *url;        /* nats://host:port[,...] or tls://; no credentials */
    char *token_file; /* "" or a file whose first line is the token */
    char *creds_file; /* "" or a .creds file (JWT and seed) */
    char *nkey_file;  /* "" or an NKey seed file */
    char *ca_file;    /* "" or the certificates to trust */
    char *cert_file;  /* "" or our certificate, with key_file */
    char *key_file;
    bool confirm; /* replies about stored messages wait until an fsync server
                   * on sync.store says that they are on the disk */
    char *inbox;  /* second token of the inbox, so that a broker's permissions
                   * can keep users apart; "" or NULL: the role */
};

/*
 * Connects as role ("router"), which names the connection and, unless conf
 * names another, its inbox prefix _INBOX.<role>.
 *
 * Blocks for at most timeout_ms, retrying while no server answers; 0 tries
 * once. Call it before loop_run. On 0 the caller owns *out until bus_close. On
 * -1 *out is untouched and e says ERR_UNAVAILABLE (no server answered),
 * ERR_DENIED (credentials) or ERR_INVALID (unreadable files); the message
 * names the address. Once open it reconnects for ever.
 */
int bus_open(struct bus **out, struct loop *loop, const struct bus_conf *conf,
             const char *role, int64_t timeout_ms, struct err *e);

/* Flushes for at most 2 s, waits as long for a connection attempt (under TLS 5
 * s more if the broker has stopped reading), and closes; pending callbacks are
 * not called. NULL is fine. Every message must have been settled or dropped
 * before. */
void bus_close(struct bus *b);

enum bus_event {
    BUS_UP,     /* connected again */
    BUS_DOWN,   /* connection lost, reconnecting */
    BUS_DENIED, /* a permission is missing, or the broker refuses our
                 * credentials; text says which: a person must act. It is
                 * tried again */
    BUS_CLOSED, /* the library has given up for good: end and start again */
};
void bus_on_event(struct bus *b,
                  void (*fn)(void *ctx, enum bus_event event, const char *text),
                  void *ctx);
bool bus_is_up(const struct bus *b);
const char *bus_url(const struct bus *b); /* for messages: no secrets */
/*
 * Delays output up to ms after the first message so that writes coalesce. 0,
 * the default, flushes at the end of each loop iteration. One write of many
 * messages costs the broker and all subscribers less than many writes. For
 * programs that send a little all the time while nobody waits for it.
 */
void bus_cork(struct bus *b, int64_t ms);
/*
 * A lower bound of the broker's wall clock now, milliseconds since 1970: the
 * newest time seen on any delivery, entry or description of a stream, plus the
 * time passed since. 0 if none was seen. Ages of stored messages are measured
 * with it, since our own wall clock may say anything.
 */
int64_t bus_broker_ms(const struct bus *b);
/* The largest payload of a message, as the server says. */
size_t bus_max_payload(const struct bus *b);

/*
 * Forgets all callbacks with this ctx: none of them is called any more. For
 * owners that are freed while requests are outstanding. Consumers and
 * subscriptions are not affected.
 */
void bus_forget(struct bus *b, const void *ctx);

/* --- core NATS: messages that may be lost --------------------------------- */

/* A core message; valid during the callback. */
struct bus_note {
    const char *subject;
    const char *reply; /* "" if no reply is expected */
    const uint8_t *data;
    size_t len;
};

/*
 * Whether the note wants an answer that it may have. An answer goes to an inbox
 * only (subject_is_inbox): with another reply subject whoever asks would have
 * us publish where he may not himself. Such a note is logged.
 */
bool bus_may_answer(const struct bus_note *note);

/* Dropped while there is no connection. */
void bus_publish_core(struct bus *b, const char *subject, const void *data,
                      size_t len);

typedef void bus_note_fn(void *ctx, const struct bus_note *note);

int bus_subscribe(struct bus *b, const char *subject, bus_note_fn *fn,
                  void *ctx, struct bus_sub **out, struct err *e);
void bus_unsubscribe(struct bus_sub *s); /* NULL is fine; no callback after */

/* --- requests ------------------------------------------------------------- */

/* Exactly one of note and e is given. ERR_UNAVAILABLE: nobody listens;
 * ERR_TIMEOUT. */
typedef void bus_reply_fn(void *ctx, const struct bus_note *note,
                          const struct err *e);

void bus_request(struct bus *b, const char *subject, const void *data,
                 size_t len, int64_t timeout_ms, bus_reply_fn *fn, void *ctx);

/* The same for programs that send one request at a time: runs the loop until
 * the reply is appended to *answer. */
int bus_call(struct bus *b, const char *subject, const void *data, size_t len,
             int64_t timeout_ms, struct str *answer, struct err *e);

/* --- durable messages ----------------------------------------------------- */

enum { BUS_ANY_REVISION = -1 };

/* Everything is copied by the call that takes it. */
struct bus_publication {
    const char *subject;
    const char *id; /* Nats-Msg-Id; NULL: none */
    const void *data;
    size_t len;
    int64_t expect; /* revision the subject must have, 0: no message yet */
};

struct bus_stored {
    uint64_t seq;   /* in its stream; of a KV subject: the revision */
    bool duplicate; /* the id was known: nothing was stored now */
};

/* Exactly one of stored and e is given. e: ERR_CONFLICT (expect did not hold),
 * ERR_UNAVAILABLE (no stream, no server), ERR_FULL, ERR_TIMEOUT (may be
 * stored), ERR_INVALID (too large). */
typedef void bus_stored_fn(void *ctx, const struct bus_stored *stored,
                           const struct err *e);

/* One attempt. */
void bus_publish(struct bus *b, const struct bus_publication *p,
                 int64_t timeout_ms, bus_stored_fn *fn, void *ctx);

/*
 * Retries with the same id until it is stored: ERR_UNAVAILABLE, ERR_FULL
 * and ERR_TIMEOUT are retried for ever (backoff 100 ms to 10 s with jitter) and
 * never passed to fn. Needs an id; expect must be BUS_ANY_REVISION.
 */
void bus_publish_until(struct bus *b, const struct bus_publication *p,
                       bus_stored_fn *fn, void *ctx);

/* --- reading single messages of a stream (KV values, log chunks) ---------- */

struct bus_entry {
    const char *subject;
    const uint8_t *data;
    size_t len;
    uint64_t revision;    /* stream sequence */
    int64_t stored_at_ms; /* by the broker's clock */
};

/* entry NULL and e NULL: no such message. */
typedef void bus_entry_fn(void *ctx, const struct bus_entry *entry,
                          const struct err *e);

/* The last message on subject. The stream needs allow_direct; without such a
 * stream the broker says ERR_UNAVAILABLE, or (2.9) nothing: ERR_TIMEOUT. */
void bus_get_last(struct bus *b, const char *stream, const char *subject,
                  int64_t timeout_ms, bus_entry_fn *fn, void *ctx);

/* The first message on subject whose sequence is at least seq. */
void bus_get_next(struct bus *b, const char *stream, const char *subject,
                  uint64_t seq, int64_t timeout_ms, bus_entry_fn *fn,
                  void *ctx);

/* --- consumers ------------------------------------------------------------ */

/* One delivery. Settle it exactly once, which frees it. */
struct bus_msg {
    const char *subject;
    const uint8_t *data;
    size_t len;
    const char *id;       /* Nats-Msg-Id, "" if none */
    uint64_t seq;         /* in the stream */
    uint64_t delivered;   /* number of deliveries, this one included */
    uint64_t pending;     /* messages behind it for this consumer */
    int64_t stored_at_ms; /* by the broker's clock */
};

typedef void bus_msg_fn(void *ctx, struct bus_msg *m);

/* Binds to a durable that exists; nothing is requested before
 * bus_consumer_window. */
int bus_consume(struct bus *b, const char *stream, const char *durable,
                bus_msg_fn *fn, void *ctx, struct bus_consumer **out,
                struct err *e);

/*
 * At most n messages are requested or unsettled. Pulls overlap: the next is
 * sent before the last is used up. With 0 nothing more is requested, and what
 * still arrives is handed back to the broker without a callback.
 */
void bus_consumer_window(struct bus_consumer *c, unsigned n);
/* For a large window: nothing is requested while messages of half that many
 * bytes are unsettled, and no pull brings more than that, except a single
 * larger message. 0, the default: no limit. */
void bus_consumer_bytes(struct bus_consumer *c, size_t most);
/* A window of 0 for longer: what still arrives is redelivered after delay_ms,
 * or it would go back and forth for as long as a pull lasts. */
void bus_consumer_hold(struct bus_consumer *c, int64_t delay_ms);
unsigned bus_consumer_unsettled(const struct bus_consumer *c);
/* Nothing is requested after this; unsettled messages stay valid. */
void bus_consumer_close(struct bus_consumer *c); /* NULL is fine */

void bus_msg_done(struct bus_msg *m);                    /* finished with it */
void bus_msg_retry(struct bus_msg *m, int64_t delay_ms); /* deliver it again */
void bus_msg_progress(struct bus_msg *m);                /* extends ack_wait */
/* Frees its data, which need not be kept until it is settled. Returns the
 * message, perhaps moved; m and what it pointed to are invalid. */
struct bus_msg *bus_msg_shed(struct bus_msg *m);
void bus_msg_drop(struct bus_msg *m); /* frees it without settling */

#endif
