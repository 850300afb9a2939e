/*
 * A pull requests a number of messages for 10 s. Several pulls of one consumer
 * overlap, and the broker serves them in turn, so messages are counted against
 * their sum: outstanding. A pull that ends unserved says by how much. What is
 * lost silently (a broker that died) is corrected when the connection comes
 * back, or at the latest when every pull must have ended.
 */
#include "lib/bus/consumer.h"

#include "lib/base/backoff.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/bus_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    PULL_MS = 10000,
    PULL_OVER_MS = 11000,  /* by then a pull has ended, reported or not */
    STALL_FIRST_MS = 1000, /* backoff while the broker refuses */
    STALL_MOST_MS = 10000,
};

struct bus_consumer {
    LIST_ENTRY(bus_consumer) link;
    struct bus *bus;
    struct conn_sub *sub;
    bus_msg_fn *fn;
    void *ctx;
    bool closed;
    char name[96]; /* "<stream>.<durable>" */
    char pull_subject[128];
    char inbox[BUS_REPLY_SIZE];

    unsigned window, unsettled;
    size_t most_bytes, bytes; /* limit, 0: none; of unsettled messages */
    bool oversized;           /* the next message exceeds the bytes of a pull */
    int64_t hold_ms;      /* messages beyond the window come again after it */
    unsigned outstanding; /* requested and not yet received */
    uint64_t epoch;       /* pulls of an older one do not count */
    unsigned recent;      /* requested since the last check */
    int64_t check_at;     /* 0: nothing is outstanding */
    int64_t pulled_at;    /* the last pull */
    int64_t retry_at, stall_ms; /* 0: not stalled */
};

struct pending_ack {
    struct bus_msg m; /* first: callers have a pointer to it */
    struct bus_consumer *consumer;
    const char *reply;
    size_t size; /* of this allocation */
    char text[]; /* m and reply point into it */
};

/* --- pulling -------------------------------------------------------------- */

static void
pull(struct bus_consumer *c, unsigned n, int64_t now)
{
    char reply[BUS_REPLY_SIZE + 48], body[128], bytes[48] = "";

    if (c->oversized)
        n = 1;
    else if (c->most_bytes)
        (void)snprintf(bytes, sizeof bytes, ",\"max_bytes\":%zu",
                       c->most_bytes / 2);
    (void)snprintf(reply, sizeof reply, "%s.%" PRIu64 "-%u", c->inbox, c->epoch,
                   n);
    (void)snprintf(body, sizeof body, "{\"batch\":%u,\"expires\":%d000000%s}",
                   n, PULL_MS, bytes);
    if (!conn_send(c->bus->conn,
                   &(struct protocol_out){.subject = c->pull_subject,
                                          .reply = reply,
                                          .expect = BUS_ANY_REVISION,
                                          .data = body,
                                          .len = strlen(body)},
                   CONN_REQUEST))
        return; /* the queue is full; the check pulls again */
    c->oversized = false;
    c->outstanding += n;
    c->recent += n;
    c->pulled_at = now;
}

/*
 * Pulls as many messages as the window has room for: at least a quarter of the
 * window, so that pulls overlap without becoming many; if nothing is
 * outstanding any number, so that a slow handler does not block free places.
 */
static void
pull_more(struct bus_consumer *c)
{
    unsigned used = c->outstanding + c->unsettled;
    int64_t now;

    if (c->closed || used >= c->window || !bus_is_up(c->bus) ||
        (c->most_bytes && c->bytes > c->most_bytes / 2) ||
        (c->outstanding > 0 && (c->window - used) < c->window / 4))
        return;
    now = loop_now_ms();
    if (c->retry_at > now) {
        bus_due(c->bus, c->retry_at);
        return;
    }
    c->retry_at = 0;
    pull(c, c->window - used, now);
    if (!c->check_at) {
        c->check_at = now + PULL_OVER_MS;
        bus_due(c->bus, c->check_at);
    }
}

void
consumers_pull(struct bus *b)
{
    struct bus_consumer *c;

    LIST_FOREACH (c, &b->consumers, link)
        pull_more(c);
}

static void
one_settled(struct bus_consumer *c)
{
    c->unsettled--;
    c->bus->refill = true;
    if (c->closed && c->unsettled == 0)
        mem_free(c);
}

static void
reset_pulls(struct bus_consumer *c)
{
    c->outstanding = 0;
    c->recent = 0;
    c->check_at = 0;
    c->epoch++;
}

void
consumers_connected(struct bus *b)
{
    struct bus_consumer *c;

    LIST_FOREACH (c, &b->consumers, link) {
        reset_pulls(c);
        c->retry_at = 0;
        pull_more(c);
    }
}

static void
stall(struct bus_consumer *c, const char *status, const char *text)
{
    int64_t now = loop_now_ms();

    if (c->retry_at > now)
        return; /* several pulls end for the same reason */
    if (c->stall_ms == 0) {
        log_warn("bus.consumer_stalled", "consumer=%s status=%s text=\"%s\"",
                 c->name, LOG_TEXT(status), LOG_TEXT(text));
    }
    c->stall_ms = backoff_next(c->stall_ms, STALL_FIRST_MS, STALL_MOST_MS);
    c->retry_at =
        loop_now_ms() + backoff_jitter(c->stall_ms, 1, 1.25, backoff_random());
    bus_due(c->bus, c->retry_at);
}

/* Corrects outstanding by what can still arrive. */
static void
check(struct bus_consumer *c, int64_t now)
{
    if (c->outstanding > 0 && now - c->pulled_at >= PULL_OVER_MS) {
        /* No pull lives that long: the broker did not receive it. */
        reset_pulls(c);
        stall(c, "none", "the broker does not answer pulls");
        return;
    }
    if (c->outstanding > c->recent)
        c->outstanding = c->recent; /* older pulls have ended */
    c->recent = 0;
    c->check_at = c->outstanding ? now + PULL_OVER_MS : 0;
}

int64_t
consumers_tick(struct bus *b, int64_t now)
{
    int64_t next = INT64_MAX;
    struct bus_consumer *c;

    LIST_FOREACH (c, &b->consumers, link) {
        if (c->check_at && c->check_at <= now)
            check(c, now);
        pull_more(c);
        if (c->check_at && c->check_at < next)
            next = c->check_at;
        if (c->retry_at > now && c->retry_at < next)
            next = c->retry_at;
    }
    return next;
}

/* --- receiving ------------------------------------------------------------ */

static void
send_ack(struct bus *b, const char *reply, const char *word)
{
    (void)conn_send(b->conn,
                    &(struct protocol_out){.subject = reply,
                                           .expect = BUS_ANY_REVISION,
                                           .data = word,
                                           .len = strlen(word)},
                    CONN_ACK);
}

/* The reply that hands a message back for delay_ms. */
static const char *
nak(int64_t delay_ms, char *out, size_t size)
{
    const int64_t most = INT64_C(30) * 24 * 3600 * 1000;

    if (delay_ms <= 0)
        return "-NAK";
    (void)snprintf(out, size, "-NAK {\"delay\": %" PRId64 "}",
                   (delay_ms < most ? delay_ms : most) * 1000000);
    return out;
}

static void
unstall(struct bus_consumer *c)
{
    if (c->stall_ms == 0)
        return;
    c->stall_ms = 0;
    c->retry_at = 0;
    log_info("bus.consumer_resumed", "consumer=%s", c->name);
}

unsigned
consumer_read_pull(const char *inbox, uint64_t epoch, const char *reply)
{
    size_t len = strlen(inbox);
    unsigned long long named, n;
    char *end;

    if (strncmp(reply, inbox, len) != 0 || reply[len] != '.')
        return 0;
    named = strtoull(reply + len + 1, &end, 10);
    if (*end != '-' || named != epoch)
        return 0;
    n = strtoull(end + 1, &end, 10);
    return *end || n > INT32_MAX ? 0 : (unsigned)n;
}

/* Whether a pull ended because the next message exceeds its bytes. */
static bool
is_full(const struct protocol_msg *m)
{
    const char *text = m->header[HEADER_DESCRIPTION];

    return strcmp(m->header[HEADER_STATUS], "409") == 0 &&
           strncasecmp(text, "Message Size Exceeds", 20) == 0;
}

/* A pull has ended, or the broker sends an idle heartbeat. */
static void
on_status(struct bus_consumer *c, const struct protocol_msg *m)
{
    const char *status = m->header[HEADER_STATUS];
    const char *pending = m->header[HEADER_PENDING];
    unsigned asked = consumer_read_pull(c->inbox, c->epoch, m->subject);
    unsigned left = asked;
    uint64_t told;

    if (left == 0 || !*status || strcmp(status, "100") == 0)
        return;
    if (*pending && str_to_u64(pending, 0, UINT64_MAX, &told) && told < left)
        left = (unsigned)told;
    c->outstanding -= left < c->outstanding ? left : c->outstanding;
    if (is_full(m))
        c->oversized = left == asked;
    else if (strcmp(status, "408") != 0 && strcmp(status, "404") != 0)
        stall(c, status, m->header[HEADER_DESCRIPTION]);
    else if (loop_now_ms() - c->pulled_at < STALL_FIRST_MS)
        /* Ended as soon as it began: pulling again at once would spin. */
        c->retry_at = loop_now_ms() + STALL_FIRST_MS;
    else
        unstall(c);
}

bool
consumer_read_ack(const char *name, const char *reply, struct bus_msg *out)
{
    enum { PREFIX = 8, MOST = 12, COUNTS = 5 };
    const char *token[MOST + 1];
    uint64_t v[COUNTS];
    size_t n = 0, first, len = strlen(name);

    if (!reply || strncmp(reply, "$JS.ACK.", PREFIX) != 0)
        return false;
    for (const char *p = reply + PREFIX; p && n <= MOST; n++) {
        token[n] = p;
        p = strchr(p, '.');
        if (p)
            p++;
    }
    if (n != 7 && (n < 9 || n > MOST))
        return false;
    first = n == 7 ? 0 : 2;
    if (strncmp(token[first], name, len) != 0 || token[first][len] != '.')
        return false;
    for (size_t i = 0; i < COUNTS; i++) {
        const char *start = token[first + 2 + i];
        char text[24];
        size_t size = strcspn(start, ".");

        if (size >= sizeof text)
            return false;
        memcpy(text, start, size);
        text[size] = '\0';
        if (!str_to_u64(text, 0, UINT64_MAX, &v[i]))
            return false;
    }
    out->delivered = v[0];
    out->seq = v[1];
    out->stored_at_ms = (int64_t)(v[3] / 1000000);
    out->pending = v[4];
    return true;
}

static const char *
put(char **at, const void *data, size_t len)
{
    const char *start = *at;

    memcpy(*at, data, len);
    *at += len;
    return start;
}

/* A copy of msg, freed when it is settled; the numbers are those of meta. */
static struct pending_ack *
copy_delivery(struct bus_consumer *c, const struct protocol_msg *msg,
              const struct bus_msg *meta)
{
    const char *id = msg->header[HEADER_ID];
    size_t subject = strlen(msg->subject) + 1, ids = strlen(id) + 1,
           reply = strlen(msg->reply) + 1;
    size_t size =
        sizeof(struct pending_ack) + subject + ids + reply + msg->len + 1;
    struct pending_ack *d = mem_alloc(size);
    char *at = d->text;

    d->m = *meta;
    d->consumer = c;
    d->size = size;
    d->m.subject = put(&at, msg->subject, subject);
    d->m.id = put(&at, id, ids);
    d->reply = put(&at, msg->reply, reply);
    d->m.data = (const uint8_t *)put(&at, msg->data, msg->len);
    (void)put(&at, "", 1);
    d->m.len = msg->len;
    return d;
}

static void
on_delivery(struct bus_consumer *c, const struct protocol_msg *msg,
            const struct bus_msg *meta)
{
    struct pending_ack *d;
    char word[64];

    if (c->outstanding > 0)
        c->outstanding--;
    unstall(c);
    if (c->unsettled >= c->window) {
        send_ack(c->bus, msg->reply, nak(c->hold_ms, word, sizeof word));
        return;
    }
    d = copy_delivery(c, msg, meta);
    c->unsettled++;
    c->bytes += d->size;
    bus_note_broker_time(c->bus, meta->stored_at_ms);
    c->fn(c->ctx, &d->m);
}

static void
on_msg(void *ctx, const struct protocol_msg *m)
{
    struct bus_consumer *c = ctx;
    struct bus_msg meta = {0};

    c->bus->refill = true;
    if (consumer_read_ack(c->name, m->reply, &meta))
        on_delivery(c, m, &meta);
    else
        on_status(c, m); /* or junk, which is ignored */
}

/* --- for callers ---------------------------------------------------------- */

int
bus_consume(struct bus *b, const char *stream, const char *durable,
            bus_msg_fn *fn, void *ctx, struct bus_consumer **out, struct err *e)
{
    struct bus_consumer *c = MEM_NEW(struct bus_consumer);
    char subject[BUS_REPLY_SIZE + 8];
    int n;

    n = snprintf(c->name, sizeof c->name, "%s.%s", stream, durable);
    if (n < 0 || (size_t)n >= sizeof c->name ||
        !bus_text_ok(c->name, sizeof c->name)) {
        mem_free(c);
        return err_set(e, ERR_INVALID, "consumer %s of %s: not a name", durable,
                       stream);
    }
    (void)snprintf(c->pull_subject, sizeof c->pull_subject,
                   "$JS.API.CONSUMER.MSG.NEXT.%s", c->name);
    (void)snprintf(c->inbox, sizeof c->inbox, "%s.c%u", b->inbox,
                   ++b->consumer_serial);
    (void)snprintf(subject, sizeof subject, "%s.*", c->inbox);
    if (conn_subscribe(b->conn, subject, false, on_msg, c, &c->sub, e) < 0) {
        mem_free(c);
        return -1;
    }
    c->bus = b;
    c->fn = fn;
    c->ctx = ctx;
    LIST_INSERT_HEAD(&b->consumers, c, link);
    *out = c;
    return 0;
}

void
bus_consumer_window(struct bus_consumer *c, unsigned n)
{
    c->window = n;
    c->hold_ms = 0;
    c->bus->refill = true;
}

void
bus_consumer_bytes(struct bus_consumer *c, size_t most)
{
    c->most_bytes = most;
}

void
bus_consumer_hold(struct bus_consumer *c, int64_t delay_ms)
{
    c->window = 0;
    c->hold_ms = delay_ms;
}

unsigned
bus_consumer_unsettled(const struct bus_consumer *c)
{
    return c->unsettled;
}

void
bus_consumer_close(struct bus_consumer *c)
{
    if (!c)
        return;
    LIST_REMOVE(c, link);
    conn_unsubscribe(c->sub);
    c->closed = true;
    if (c->unsettled == 0)
        mem_free(c);
}

static void
settle(struct bus_msg *m, const char *word)
{
    struct pending_ack *d = (struct pending_ack *)m;
    struct bus_consumer *c = d->consumer;

    if (word)
        send_ack(c->bus, d->reply, word);
    c->bytes -= d->size;
    mem_free(d);
    one_settled(c);
}

void
bus_msg_done(struct bus_msg *m)
{
    settle(m, "+ACK");
}

void
bus_msg_retry(struct bus_msg *m, int64_t delay_ms)
{
    char word[64];

    settle(m, nak(delay_ms, word, sizeof word));
}

void
bus_msg_progress(struct bus_msg *m)
{
    struct pending_ack *d = (struct pending_ack *)m;

    send_ack(d->consumer->bus, d->reply, "+WPI");
}

struct bus_msg *
bus_msg_shed(struct bus_msg *m)
{
    struct pending_ack *old = (struct pending_ack *)m, *d;
    size_t texts = (size_t)((const char *)m->data - old->text);
    char *at;

    if (m->len == 0)
        return m;
    d = mem_alloc(sizeof *d + texts + 1);
    *d = *old;
    memcpy(d->text, old->text, texts);
    at = d->text;
    d->m.subject = at;
    d->m.id = at += m->id - m->subject;
    d->reply = at += old->reply - m->id;
    at = d->text + texts;
    *at = '\0';
    d->m.data = (const uint8_t *)at;
    d->m.len = 0;
    d->size -= old->m.len;
    d->consumer->bytes -= old->m.len;
    mem_free(old);
    return &d->m;
}

void
bus_msg_drop(struct bus_msg *m)
{
    settle(m, NULL);
}
