#include "lib/bus/bus_private.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/subject.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bus_sub {
    struct bus_sub *next;
    struct bus *bus;
    struct conn_sub *sub;
    bus_note_fn *fn;
    void *ctx;
};

/* --- shared by the parts -------------------------------------------------- */

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

bool
bus_number(const char *text, uint64_t *out)
{
    return str_to_u64(text, 0, UINT64_MAX, out);
}

/* --- the timer ------------------------------------------------------------ */

static void
on_timer(void *ctx)
{
    struct bus *b = ctx;
    int64_t now = loop_now_ms(), asks, pulls;

    b->timer_at = 0;
    asks = requests_tick(b, now);
    pulls = consumer_tick(b, now);
    bus_due(b, asks < pulls ? asks : pulls);
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
        return; /* an older message, or the clock was set back */
    b->broker_ms = stored_at_ms;
    b->broker_seen_ms = loop_now_ms();
}

/* --- dispatch ------------------------------------------------------------- */

static void
on_note(void *ctx, const struct conn_msg *m)
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
    else if (event == BUS_DENIED)
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
    requests_on_up(b);
    consumer_up(b);
    tell(b, BUS_UP, bus_url(b));
}

static void
on_denied(void *ctx, const char *text)
{
    tell(ctx, BUS_DENIED, text);
}

static const struct conn_events events = {
    .up = on_up,
    .down = on_down,
    .denied = on_denied,
};

/* Whether what is to be sent waits for more. */
static bool
gathers(struct bus *b)
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

/* What a turn has settled is asked for again in one go, and all that it has
 * sent is written in one. */
static void
on_turn(void *ctx)
{
    struct bus *b = ctx;

    if (gathers(b))
        return;
    b->cork_at = 0;
    if (b->refill)
        consumer_top_up_all(b);
    b->refill = false;
    barrier_flush(b);
    conn_turn(b->wire);
}

/* --- opening and closing -------------------------------------------------- */

static int
subscribe_answers(struct bus *b, const char *name, struct err *e)
{
    char subject[BUS_REPLY_SIZE], unique[23];

    str_random(unique, sizeof unique);
    (void)snprintf(b->inbox, sizeof b->inbox, "_INBOX.%s.%s", name, unique);
    (void)snprintf(subject, sizeof subject, "%s.*", b->inbox);
    return conn_subscribe(b->wire, subject, false, requests_on_reply, b,
                          &b->answers, e);
}

int
bus_open(struct bus **out, struct loop *loop, const struct bus_conf *conf,
         const char *role, int64_t timeout_ms, struct err *e)
{
    struct bus *b = MEM_NEW(struct bus);
    char name[SUBJECT_TOKEN_MAX + 1];

    subject_token_from(role, "client", name);
    b->loop = loop;
    b->up = true;
    if (conf->confirm)
        b->confirm = barrier_new();
    if (conn_open(&b->wire, loop, conf, name, timeout_ms, &events, b, e) < 0 ||
        subscribe_answers(b, name, e) < 0) {
        bus_close(b);
        return -1;
    }
    b->turn = loop_hook_start(loop, on_turn, b);
    /* Connecting needs more than staying connected. */
    (void)malloc_trim(0);
    *out = b;
    return 0;
}

void
bus_close(struct bus *b)
{
    if (!b)
        return;
    loop_hook_stop(b->turn);
    conn_unsubscribe(b->answers);
    conn_close(b->wire);
    requests_free_all(b);
    barrier_free(b->confirm);
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
    return b->up && conn_up(b->wire);
}

const char *
bus_url(const struct bus *b)
{
    return b->wire->url;
}

size_t
bus_max_payload(const struct bus *b)
{
    size_t max = conn_max_payload(b->wire);

    /* The broker counts our headers too. */
    return max > BUS_HEADER_ROOM ? max - BUS_HEADER_ROOM : 0;
}

/* --- core NATS ------------------------------------------------------------ */

void
bus_publish_core(struct bus *b, const char *subject, const void *data,
                 size_t len)
{
    if (!bus_is_up(b) || len > bus_max_payload(b) ||
        !bus_text_ok(subject, BUS_SUBJECT_MAX))
        return;
    (void)conn_send(b->wire,
                    &(struct conn_out){.subject = subject,
                                       .expect = BUS_ANY_REVISION,
                                       .data = data,
                                       .len = len},
                    CONN_NEWS);
}

int
bus_subscribe(struct bus *b, const char *subject, bus_note_fn *fn, void *ctx,
              struct bus_sub **out, struct err *e)
{
    struct bus_sub *s;

    if (!bus_text_ok(subject, BUS_SUBJECT_MAX))
        return err_set(e, ERR_INVALID, "subscribe: not a subject");
    s = MEM_NEW(struct bus_sub);
    if (conn_subscribe(b->wire, subject, true, on_note, s, &s->sub, e) < 0) {
        mem_free(s);
        return -1;
    }
    s->bus = b;
    s->fn = fn;
    s->ctx = ctx;
    s->next = b->subs;
    b->subs = s;
    *out = s;
    return 0;
}

void
bus_unsubscribe(struct bus_sub *s)
{
    struct bus_sub **at;

    if (!s)
        return;
    for (at = &s->bus->subs; *at != s; at = &(*at)->next)
        ;
    *at = s->next;
    conn_unsubscribe(s->sub);
    mem_free(s);
}
