/*
 * requests - everything that waits for one answer: requests, durable
 * publications, reads of single messages.
 *
 * Each waits in a slot of one table. The reply subject names slot and serial
 * number, so an answer finds its slot without a search, and an answer that
 * comes late, twice or from a stranger finds a serial that is not its own.
 */
#include "lib/bus/bus_private.h"

#include "lib/base/backoff.h"
#include "lib/base/mem.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    UNTIL_TRY_MS = 5000,
    UNTIL_FIRST_MS = 100, /* backoff of bus_publish_until */
    UNTIL_MOST_MS = 10000,
    INFO_MAX = 64 * 1024, /* of a description; real ones have 1 KiB */
};

enum ask_kind { ASK_REPLY, ASK_STORED, ASK_ENTRY };

struct bus_request {
    uint64_t serial; /* 0: the slot is free */
    enum ask_kind kind;
    union {
        bus_reply_fn *reply;
        bus_stored_fn *stored;
        bus_entry_fn *entry;
    } fn;
    void *ctx;
    int64_t deadline, timeout_ms;
    uint64_t epoch; /* of the connection it was sent by */
    bool held;      /* answered, but perhaps not on the disk yet */
    struct bus_stored stored;
    struct conn_msg *entry; /* ASK_ENTRY, held: a copy of the answer */
    enum err_code fail;     /* ERR_NONE, or what to report at the deadline */
    const char *why;
    unsigned next_free; /* index + 1 */
    char subject[64];   /* shortened, for messages */
};

/* A publication that is tried until it is stored. */
struct retried_publish {
    struct retried_publish *next, *prev;
    struct bus *bus;
    struct bus_publication p; /* pointers lead into text */
    bus_stored_fn *fn;
    void *ctx;
    int64_t due; /* next try; INT64_MAX: one is under way */
    int64_t wait_ms;
    char text[];
};

/* --- slots ---------------------------------------------------------------- */

static void
grow(struct bus *b)
{
    unsigned n = b->n_asks ? b->n_asks * 2 : 16;

    b->asks = mem_resize(b->asks, n * sizeof *b->asks);
    for (unsigned i = n; i-- > b->n_asks;) {
        b->asks[i] = (struct bus_request){.next_free = b->free_ask};
        b->free_ask = i + 1;
    }
    b->n_asks = n;
}

/* A slot that waits for an answer to what is sent on subject. */
static struct bus_request *
ask_new(struct bus *b, enum ask_kind kind, const char *subject,
        int64_t timeout_ms, void *ctx)
{
    struct bus_request *a;

    if (!b->free_ask)
        grow(b);
    a = &b->asks[b->free_ask - 1];
    b->free_ask = a->next_free;
    a->serial = ++b->ask_serial;
    a->kind = kind;
    a->ctx = ctx;
    a->timeout_ms = timeout_ms;
    a->deadline = loop_now_ms() + timeout_ms;
    a->epoch = conn_epoch(b->wire);
    a->fail = ERR_NONE;
    a->held = false;
    a->entry = NULL;
    (void)str_copy(a->subject, sizeof a->subject, subject);
    return a;
}

static void
ask_free(struct bus *b, struct bus_request *a)
{
    mem_free(a->entry);
    a->entry = NULL;
    a->serial = 0;
    a->fn.reply = NULL;
    a->next_free = b->free_ask;
    b->free_ask = (unsigned)(a - b->asks) + 1;
}

static void
call_failed(const struct bus_request *a, const struct err *e)
{
    switch (a->kind) {
    case ASK_REPLY:
        if (a->fn.reply)
            a->fn.reply(a->ctx, NULL, e);
        break;
    case ASK_STORED:
        if (a->fn.stored)
            a->fn.stored(a->ctx, NULL, e);
        break;
    case ASK_ENTRY:
        if (a->fn.entry)
            a->fn.entry(a->ctx, NULL, e);
        break;
    }
}

/* Ends slot with an error; the table may move meanwhile. */
static void
ask_fail(struct bus *b, struct bus_request *slot, enum err_code code,
         const char *why)
{
    struct bus_request a = *slot;
    struct err e;

    ask_free(b, slot);
    err_set(&e, code, "%s: %s", a.subject, why);
    call_failed(&a, &e);
}

/* Failures known at once are told later all the same: a caller need not
 * expect its callback inside its own call. */
static void
ask_fail_soon(struct bus *b, struct bus_request *a, enum err_code code,
              const char *why)
{
    a->fail = code;
    a->why = why;
    a->deadline = loop_now_ms();
    bus_due(b, a->deadline);
}

/* Sends what a waits for; headers as in p, which may be NULL. */
static void
ask_send(struct bus *b, struct bus_request *a, const char *subject,
         const void *data, size_t len, const struct bus_publication *p)
{
    char reply[BUS_REPLY_SIZE];

    if (!bus_text_ok(subject, BUS_SUBJECT_MAX) ||
        (p && p->id && !bus_text_ok(p->id, BUS_ID_MAX))) {
        ask_fail_soon(b, a, ERR_INVALID, "not a subject or message id");
        return;
    }
    if (len > bus_max_payload(b)) {
        ask_fail_soon(b, a, ERR_INVALID, "larger than the broker allows");
        return;
    }
    if (!bus_is_up(b)) {
        ask_fail_soon(b, a, ERR_UNAVAILABLE, "not connected to the broker");
        return;
    }
    (void)snprintf(reply, sizeof reply, "%s.%x-%" PRIx64, b->inbox,
                   (unsigned)(a - b->asks), a->serial);
    if (conn_send(b->wire,
                  &(struct conn_out){.subject = subject,
                                     .reply = reply,
                                     .id = p ? p->id : NULL,
                                     .expect = p ? p->expect : BUS_ANY_REVISION,
                                     .data = data,
                                     .len = len},
                  CONN_ASK))
        bus_due(b, a->deadline);
    else
        ask_fail_soon(b, a, ERR_UNAVAILABLE, "the broker does not read");
}

/* --- answers -------------------------------------------------------------- */

/* Appends text at *at and moves on behind it. */
static const char *
append(char **at, const char *text)
{
    size_t size = strlen(text) + 1;

    memcpy(*at, text, size);
    *at += size;
    return *at - size;
}

/* In one piece, to be freed as such. */
static struct conn_msg *
copy_msg(const struct conn_msg *m)
{
    size_t size = sizeof *m + m->len + strlen(m->subject) + 1;
    struct conn_msg *copy;
    char *at;

    for (int i = 0; i < CONN_HEADERS; i++)
        size += strlen(m->header[i]) + 1;
    copy = mem_alloc(size);
    *copy = *m;
    at = (char *)(copy + 1);
    if (m->len)
        memcpy(at, m->data, m->len);
    copy->data = (const uint8_t *)at;
    at += m->len;
    copy->reply = "";
    copy->subject = append(&at, m->subject);
    for (int i = 0; i < CONN_HEADERS; i++)
        copy->header[i] = append(&at, m->header[i]);
    return copy;
}

static void
hold(struct bus *b, struct bus_request *slot)
{
    slot->held = true;
    barrier_hold(b, (unsigned)(slot - b->asks), slot->serial);
}

static void
answer_stored(struct bus *b, struct bus_request *slot, const struct conn_msg *m)
{
    struct bus_stored stored = {0};
    struct bus_request a = *slot;
    struct err e;

    if (bus_read_stored(m->data, m->len, &stored, &e) < 0) {
        ask_free(b, slot);
        err_wrap(&e, "%s", a.subject);
        call_failed(&a, &e);
    } else if (b->confirm) {
        slot->stored = stored;
        hold(b, slot);
    } else {
        ask_free(b, slot);
        if (a.fn.stored)
            a.fn.stored(a.ctx, &stored, NULL);
    }
}

static void
answer_entry(struct bus *b, const struct bus_request *a,
             const struct conn_msg *m)
{
    struct bus_entry entry = {0};
    struct err e;
    int rc;

    if (!a->fn.entry)
        return;
    rc = bus_read_entry(m, &entry, &e);
    if (rc < 0)
        err_wrap(&e, "%s", a->subject);
    else if (rc == 0)
        bus_note_broker_time(b, entry.stored_at_ms);
    a->fn.entry(a->ctx, rc == 0 ? &entry : NULL, rc < 0 ? &e : NULL);
}

void
requests_confirmed(struct bus *b, unsigned index, uint64_t serial)
{
    struct bus_request *slot, a;

    if (index >= b->n_asks || b->asks[index].serial != serial)
        return;
    slot = &b->asks[index];
    a = *slot;
    slot->entry = NULL; /* ours now */
    ask_free(b, slot);
    if (a.kind == ASK_ENTRY)
        answer_entry(b, &a, a.entry);
    else if (a.fn.stored)
        a.fn.stored(a.ctx, &a.stored, NULL);
    mem_free(a.entry);
}

static void
hear_text(struct bus *b, json_t *text)
{
    if (json_is_string(text))
        bus_note_broker_time(b, bus_read_time(json_string_value(text)));
}

/*
 * What the broker says of a stream tells its time: since 2.10 outright, before
 * that when it stored the last message. So a worker that has just started
 * knows how old a claim is without waiting for news.
 */
static void
hear_info(struct bus *b, const struct bus_request *a, const struct conn_msg *m)
{
    static const char info[] = "$JS.API.STREAM.INFO.";
    size_t len = m->len;
    json_t *json;

    if (strncmp(a->subject, info, sizeof info - 1) != 0 || len > INFO_MAX)
        return;
    json = json_loadb((const char *)m->data, len, 0, NULL);
    hear_text(b, json_object_get(json, "ts"));
    hear_text(b, json_object_get(json_object_get(json, "state"), "last_ts"));
    json_decref(json);
}

static void
answer_reply(struct bus *b, const struct bus_request *a,
             const struct conn_msg *m)
{
    struct bus_note note = {
        .subject = m->subject,
        .reply = m->reply,
        .data = m->data,
        .len = m->len,
    };

    hear_info(b, a, m);
    if (a->fn.reply)
        a->fn.reply(a->ctx, &note, NULL);
}

bool
bus_read_slot(const char *inbox, const char *subject, uint64_t *index,
              uint64_t *serial)
{
    size_t len = strlen(inbox);
    char *end;

    if (strncmp(subject, inbox, len) != 0 || subject[len] != '.')
        return false;
    *index = strtoull(subject + len + 1, &end, 16);
    if (*end != '-')
        return false;
    *serial = strtoull(end + 1, &end, 16);
    return *end == '\0' && *serial != 0;
}

/* The slot that waits for an answer on subject, or NULL. */
static struct bus_request *
find(struct bus *b, const char *subject)
{
    uint64_t index, serial;

    if (!bus_read_slot(b->inbox, subject, &index, &serial) ||
        index >= b->n_asks || b->asks[index].serial != serial)
        return NULL;
    return &b->asks[index];
}

void
requests_on_reply(void *ctx, const struct conn_msg *m)
{
    struct bus *b = ctx;
    struct bus_request *slot = find(b, m->subject), a;

    if (!slot || slot->held)
        return;
    if (m->len == 0 && strcmp(m->header[CONN_STATUS], "503") == 0) {
        ask_fail(b, slot, ERR_UNAVAILABLE, "nobody answers there");
        return;
    }
    a = *slot;
    switch (a.kind) {
    case ASK_REPLY:
        ask_free(b, slot);
        answer_reply(b, &a, m);
        break;
    case ASK_STORED:
        answer_stored(b, slot, m);
        break;
    case ASK_ENTRY:
        if (b->confirm) {
            slot->entry = copy_msg(m);
            hold(b, slot);
            return;
        }
        ask_free(b, slot);
        answer_entry(b, &a, m);
        break;
    }
}

void
requests_connection_lost(struct bus *b, uint64_t epoch)
{
    for (unsigned i = 0; i < b->n_asks; i++)
        if (b->asks[i].serial && b->asks[i].epoch < epoch &&
            b->asks[i].fail == ERR_NONE)
            ask_fail(b, &b->asks[i], ERR_TIMEOUT,
                     "the connection broke before the answer came");
}

/* --- what callers ask ----------------------------------------------------- */

void
bus_request(struct bus *b, const char *subject, const void *data, size_t len,
            int64_t timeout_ms, bus_reply_fn *fn, void *ctx)
{
    struct bus_request *a = ask_new(b, ASK_REPLY, subject, timeout_ms, ctx);

    a->fn.reply = fn;
    ask_send(b, a, subject, data, len, NULL);
}

struct call {
    struct str *answer;
    struct err *e;
    bool done;
    int rc;
};

static void
on_call_reply(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct call *c = ctx;

    c->done = true;
    if (note)
        str_add(c->answer, note->data, note->len);
    else
        c->rc = err_set(c->e, e->code, "%s", e->msg);
}

int
bus_call(struct bus *b, const char *subject, const void *data, size_t len,
         int64_t timeout_ms, struct str *answer, struct err *e)
{
    struct call c = {.answer = answer, .e = e};

    bus_request(b, subject, data, len, timeout_ms, on_call_reply, &c);
    if (!loop_until(b->loop, &c.done, -1)) {
        bus_forget(b, &c);
        return err_set(e, ERR_TIMEOUT, "%s: interrupted", subject);
    }
    return c.rc;
}

void
bus_publish(struct bus *b, const struct bus_publication *p, int64_t timeout_ms,
            bus_stored_fn *fn, void *ctx)
{
    struct bus_request *a = ask_new(b, ASK_STORED, p->subject, timeout_ms, ctx);

    a->fn.stored = fn;
    ask_send(b, a, p->subject, p->data, p->len, p);
}

void
bus_get_last(struct bus *b, const char *stream, const char *subject,
             int64_t timeout_ms, bus_entry_fn *fn, void *ctx)
{
    struct bus_request *a = ask_new(b, ASK_ENTRY, subject, timeout_ms, ctx);
    char api[BUS_SUBJECT_MAX + 1];

    a->fn.entry = fn;
    /* The subject rides in the request's subject, where permissions see it. */
    (void)snprintf(api, sizeof api, "$JS.API.DIRECT.GET.%s.%s", stream,
                   subject);
    ask_send(b, a, api, NULL, 0, NULL);
}

void
bus_get_next(struct bus *b, const char *stream, const char *subject,
             uint64_t seq, int64_t timeout_ms, bus_entry_fn *fn, void *ctx)
{
    struct bus_request *a = ask_new(b, ASK_ENTRY, subject, timeout_ms, ctx);
    char api[BUS_SUBJECT_MAX + 1], body[BUS_SUBJECT_MAX + 64];

    a->fn.entry = fn;
    if (!bus_text_ok(subject, BUS_SUBJECT_MAX) || strpbrk(subject, "\"\\")) {
        ask_fail_soon(b, a, ERR_INVALID, "not a subject");
        return;
    }
    (void)snprintf(api, sizeof api, "$JS.API.DIRECT.GET.%s", stream);
    (void)snprintf(body, sizeof body,
                   "{\"seq\":%" PRIu64 ",\"next_by_subj\":\"%s\"}",
                   seq ? seq : 1, subject);
    ask_send(b, a, api, body, strlen(body), NULL);
}

/* --- until it is stored --------------------------------------------------- */

static void
until_free(struct retried_publish *u)
{
    if (u->prev)
        u->prev->next = u->next;
    else
        u->bus->untils = u->next;
    if (u->next)
        u->next->prev = u->prev;
    mem_free(u);
}

static void
on_until(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct retried_publish *u = ctx;

    if (e && (e->code == ERR_UNAVAILABLE || e->code == ERR_TIMEOUT)) {
        u->wait_ms = backoff_next(u->wait_ms, UNTIL_FIRST_MS, UNTIL_MOST_MS);
        u->due = loop_now_ms() +
                 backoff_jitter(u->wait_ms, 0.5, 1.5, backoff_random());
        bus_due(u->bus, u->due);
        return;
    }
    if (u->fn)
        u->fn(u->ctx, stored, e);
    until_free(u);
}

static void
until_try(struct retried_publish *u)
{
    u->due = INT64_MAX;
    bus_publish(u->bus, &u->p, UNTIL_TRY_MS, on_until, u);
}

void
bus_publish_until(struct bus *b, const struct bus_publication *p,
                  bus_stored_fn *fn, void *ctx)
{
    size_t subject = strlen(p->subject) + 1, id = strlen(p->id) + 1;
    struct retried_publish *u = mem_alloc(sizeof *u + subject + id + p->len);

    *u = (struct retried_publish){
        .next = b->untils,
        .bus = b,
        .p = {.subject = u->text,
              .id = u->text + subject,
              .data = u->text + subject + id,
              .len = p->len,
              .expect = BUS_ANY_REVISION},
        .fn = fn,
        .ctx = ctx,
    };
    memcpy(u->text, p->subject, subject);
    memcpy(u->text + subject, p->id, id);
    if (p->len)
        memcpy(u->text + subject + id, p->data, p->len);
    if (u->next)
        u->next->prev = u;
    b->untils = u;
    until_try(u);
}

void
requests_on_up(struct bus *b)
{
    int64_t now = loop_now_ms();

    /* Soon, but not everybody in the same millisecond. */
    for (struct retried_publish *u = b->untils; u; u = u->next)
        if (u->due != INT64_MAX) {
            u->due =
                now + backoff_jitter(UNTIL_FIRST_MS, 0, 1, backoff_random());
            u->wait_ms = 0;
            bus_due(b, u->due);
        }
}

static int64_t
tick_untils(struct bus *b, int64_t now)
{
    int64_t next = INT64_MAX;

    for (struct retried_publish *u = b->untils; u; u = u->next) {
        if (u->due <= now)
            until_try(u);
        else if (u->due < next)
            next = u->due;
    }
    return next;
}

int64_t
requests_tick(struct bus *b, int64_t now)
{
    int64_t next;

    for (unsigned i = 0; i < b->n_asks; i++) {
        struct bus_request *a = &b->asks[i];
        char why[64];

        if (!a->serial || a->deadline > now)
            continue;
        (void)snprintf(why, sizeof why, "no answer in %" PRId64 " ms",
                       a->timeout_ms);
        if (a->fail == ERR_NONE)
            ask_fail(b, a, ERR_TIMEOUT, why);
        else
            ask_fail(b, a, a->fail, a->why);
    }
    next = tick_untils(b, now);
    for (unsigned i = 0; i < b->n_asks; i++)
        if (b->asks[i].serial && b->asks[i].deadline < next)
            next = b->asks[i].deadline;
    return next;
}

void
bus_forget(struct bus *b, const void *ctx)
{
    for (unsigned i = 0; i < b->n_asks; i++)
        if (b->asks[i].serial && b->asks[i].ctx == ctx)
            ask_free(b, &b->asks[i]);
    /* What was promised to be stored still is; only nobody is told. */
    for (struct retried_publish *u = b->untils; u; u = u->next)
        if (u->ctx == ctx)
            u->fn = NULL;
    if (b->event_ctx == ctx)
        b->on_event = NULL;
}

void
requests_free_all(struct bus *b)
{
    while (b->untils)
        until_free(b->untils);
    for (unsigned i = 0; i < b->n_asks; i++)
        mem_free(b->asks[i].entry);
    mem_free(b->asks);
}
