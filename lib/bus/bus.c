/*
 * Opens the connection, and once per iteration of the loop pulls and writes
 * what the iteration has caused. One timer serves requests, consumers, the
 * fsync barrier and the cork: each says when it is next due. Core messages go
 * straight between subscriptions and the connection.
 */
#include "lib/bus/bus.h"

#include "lib/base/feature.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/bus_private.h"
#include "lib/bus/conn_tcp.h"
#include "lib/bus/conn_tls.h"
#include "lib/bus/consumer.h"
#include "lib/bus/fsync_barrier.h"
#include "lib/bus/requests.h"
#include "lib/model/subject.h"
#include "lib/os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bus_sub {
    struct conn_sub *sub;
    bus_note_fn *fn;
    void *ctx;
};

bool
bus_text_ok(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);

    if (len == 0 || len > max)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 127)
            return false;
    return true;
}

/* --- the timer ------------------------------------------------------------ */

static void
on_timer(void *ctx)
{
    struct bus *b = ctx;
    int64_t now = loop_now_ms(), requests, pulls;

    b->timer_at = 0;
    requests = requests_tick(b, now);
    pulls = consumers_tick(b, now);
    bus_due(b, requests < pulls ? requests : pulls);
    bus_due(b, barrier_tick(b, now));
}

void
bus_due(struct bus *b, int64_t at_ms)
{
    int64_t now;

    if (at_ms == INT64_MAX || (b->timer_at && b->timer_at <= at_ms))
        return;
    now = loop_now_ms();
    b->timer_at = at_ms;
    if (b->timer)
        loop_timer_again(b->timer, at_ms - now, 0);
    else
        b->timer = loop_timer_start(b->loop, at_ms - now, 0, on_timer, b);
}

/* --- the broker's clock --------------------------------------------------- */

int64_t
bus_broker_ms(const struct bus *b)
{
    if (b->broker_ms == 0)
        return 0;
    return b->broker_ms + (loop_now_ms() - b->broker_seen_ms);
}

void
bus_note_broker_time(struct bus *b, int64_t stored_at_ms)
{
    if (stored_at_ms <= bus_broker_ms(b))
        return; /* an older message, or the broker's clock was set back */
    b->broker_ms = stored_at_ms;
    b->broker_seen_ms = loop_now_ms();
}

/* --- dispatch ------------------------------------------------------------- */

static void
on_note(void *ctx, const struct protocol_msg *m)
{
    const struct bus_sub *s = ctx;
    struct bus_note note = {
        .subject = m->subject,
        .reply = m->reply,
        .data = m->data,
        .len = m->len,
    };

    s->fn(s->ctx, &note);
}

static void
tell(struct bus *b, enum bus_event event, const char *text)
{
    if (b->on_event)
        b->on_event(b->event_ctx, event, text);
    else if (event == BUS_DENIED || event == BUS_CLOSED)
        log_error("bus.denied", "text=\"%s\"", LOG_TEXT(text));
}

static void
on_down(void *ctx, uint64_t epoch)
{
    struct bus *b = ctx;

    b->up = false;
    requests_connection_lost(b, epoch);
    tell(b, BUS_DOWN, bus_url(b));
}

static void
on_up(void *ctx)
{
    struct bus *b = ctx;

    b->up = true;
    requests_connected(b);
    consumers_connected(b);
    tell(b, BUS_UP, bus_url(b));
}

static void
on_denied(void *ctx, const char *text)
{
    tell(ctx, BUS_DENIED, text);
}

static void
on_closed(void *ctx, const char *text)
{
    tell(ctx, BUS_CLOSED, text);
}

static const struct conn_events events = {
    .up = on_up,
    .closed = on_closed,
    .down = on_down,
    .denied = on_denied,
};

/* Whether output is held back now. */
static bool
is_corked(struct bus *b)
{
    int64_t now;

    if (!b->cork_ms)
        return false;
    now = loop_now_ms();
    if (!b->cork_at)
        b->cork_at = now + b->cork_ms;
    if (now >= b->cork_at)
        return false;
    bus_due(b, b->cork_at);
    return true;
}

void
bus_cork(struct bus *b, int64_t ms)
{
    b->cork_ms = ms;
}

/* Replaces what the iteration has settled with one pull per consumer, and
 * writes everything it has sent at once. */
static void
on_turn(void *ctx)
{
    struct bus *b = ctx;

    if (is_corked(b))
        return;
    b->cork_at = 0;
    if (b->refill)
        consumers_pull(b);
    b->refill = false;
    barrier_flush(b);
    conn_flush(b->conn);
}

/* --- opening and closing -------------------------------------------------- */

static bool
wants_tls(const struct bus_conf *conf)
{
    return (conf->url && strcasestr(conf->url, "tls://")) ||
           (conf->ca_file && *conf->ca_file) ||
           (conf->cert_file && *conf->cert_file);
}

/* Under TLS if the configuration or the broker demands it. */
static int
open_conn(struct bus *b, const struct bus_conf *conf, const char *name,
          int64_t timeout_ms, struct err *e)
{
    int rc = 1;

    if (feature_on(FEATURE_TCP) && !wants_tls(conf))
        rc = conn_tcp_open(&b->conn, b->loop, conf, name, timeout_ms, &events,
                           b, e);
    if (rc > 0)
        rc = conn_tls_open(&b->conn, b->loop, conf, name, timeout_ms, &events,
                           b, e);
    return rc;
}

static int
subscribe_replies(struct bus *b, const char *name, struct err *e)
{
    char subject[BUS_REPLY_SIZE], unique[23];

    str_random(unique, sizeof unique);
    (void)snprintf(b->inbox, sizeof b->inbox, "_INBOX.%s.%s", name, unique);
    (void)snprintf(subject, sizeof subject, "%s.*", b->inbox);
    return conn_subscribe(b->conn, subject, false, requests_on_reply, b,
                          &b->replies, e);
}

int
bus_open(struct bus **out, struct loop *loop, const struct bus_conf *conf,
         const char *role, int64_t timeout_ms, struct err *e)
{
    struct bus *b = MEM_NEW(struct bus);
    const char *inbox = conf->inbox && *conf->inbox ? conf->inbox : NULL;
    char name[SUBJECT_TOKEN_MAX + 1];

    if (inbox && !subject_token_ok(inbox)) {
        mem_free(b);
        return err_set(e, ERR_INVALID,
                       "bus.inbox: \"%s\" is no name of letters, digits, - and "
                       "_, of at most %d",
                       LOG_TEXT(inbox), SUBJECT_TOKEN_MAX);
    }
    subject_token_from(role, "client", name);
    b->loop = loop;
    b->up = true;
    if (conf->confirm)
        b->barrier = barrier_new(requests_synced);
    if (open_conn(b, conf, name, timeout_ms, e) < 0 ||
        subscribe_replies(b, inbox ? inbox : name, e) < 0) {
        bus_close(b);
        return -1;
    }
    b->turn = loop_hook_start(loop, on_turn, b);
    /* Connecting needs more memory than staying connected. */
    os_heap_trim();
    *out = b;
    return 0;
}

void
bus_close(struct bus *b)
{
    if (!b)
        return;
    loop_hook_stop(b->turn);
    conn_unsubscribe(b->replies);
    conn_close(b->conn);
    requests_free_all(b);
    barrier_free(b->barrier);
    loop_timer_stop(b->timer);
    mem_free(b);
}

void
bus_on_event(struct bus *b,
             void (*fn)(void *ctx, enum bus_event event, const char *text),
             void *ctx)
{
    b->on_event = fn;
    b->event_ctx = ctx;
}

bool
bus_is_up(const struct bus *b)
{
    return b->up && conn_up(b->conn);
}

const char *
bus_url(const struct bus *b)
{
    return b->conn->url;
}

size_t
bus_max_payload(const struct bus *b)
{
    size_t max = conn_max_payload(b->conn);

    /* The broker's limit includes our headers. */
    return max > PROTOCOL_HEADERS_MAX ? max - PROTOCOL_HEADERS_MAX : 0;
}

/* --- core NATS ------------------------------------------------------------ */

void
bus_publish_core(struct bus *b, const char *subject, const void *data,
                 size_t len)
{
    if (!bus_is_up(b) || len > bus_max_payload(b) ||
        !bus_text_ok(subject, BUS_SUBJECT_MAX))
        return;
    (void)conn_send(b->conn,
                    &(struct protocol_out){.subject = subject,
                                           .expect = BUS_ANY_REVISION,
                                           .data = data,
                                           .len = len},
                    CONN_CORE);
}

bool
bus_may_answer(const struct bus_note *note)
{
    if (!*note->reply || subject_is_inbox(note->reply))
        return *note->reply;
    log_warn("bus.reply_refused",
             "subject=%s reply=%s text=\"answers go only to inboxes\"",
             LOG_TEXT(note->subject), LOG_TEXT(note->reply));
    return false;
}

int
bus_subscribe(struct bus *b, const char *subject, bus_note_fn *fn, void *ctx,
              struct bus_sub **out, struct err *e)
{
    struct bus_sub *s;

    if (!bus_text_ok(subject, BUS_SUBJECT_MAX))
        return err_set(e, ERR_INVALID, "subscribe: not a subject");
    s = MEM_NEW(struct bus_sub);
    if (conn_subscribe(b->conn, subject, true, on_note, s, &s->sub, e) < 0) {
        mem_free(s);
        return -1;
    }
    s->fn = fn;
    s->ctx = ctx;
    *out = s;
    return 0;
}

void
bus_unsubscribe(struct bus_sub *s)
{
    if (!s)
        return;
    conn_unsubscribe(s->sub);
    mem_free(s);
}
