/*
 * Each request waits in a slot of one table. Its reply subject names the slot
 * and a serial number, so a reply finds its slot without a search, and a reply
 * that comes late, twice or from a stranger does not match the serial.
 */
#include "lib/bus/requests.h"

#include "lib/base/backoff.h"
#include "lib/base/mem.h"
#include "lib/bus/bus_private.h"
#include "lib/bus/fsync_barrier.h"
#include "lib/bus/replies.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETRY_TIMEOUT_MS = 5000,
    RETRY_FIRST_MS = 100, /* backoff of bus_publish_until */
    RETRY_MOST_MS = 10000,
    INFO_MAX = 64 * 1024, /* of a stream info; real ones have 1 KiB */
};

enum request_kind { REQUEST_REPLY, REQUEST_STORED, REQUEST_ENTRY };

struct bus_request {
    uint64_t serial; /* 0: the slot is free */
    enum request_kind kind;
    union {
        bus_reply_fn *reply;
        bus_stored_fn *stored;
        bus_entry_fn *entry;
    } fn;
    void *ctx;
    int64_t deadline, timeout_ms;
    uint64_t epoch; /* of the connection it was sent on */
    bool held;      /* replied to, but perhaps not on the disk yet */
    struct bus_stored stored;
    struct protocol_msg *entry; /* REQUEST_ENTRY, held: a copy of the reply */
    enum err_code fail; /* to report at the deadline; ERR_NONE: none yet */
    const char *why;
    unsigned next_free; /* index + 1 of the next free slot; 0: none */
    char subject[64];   /* shortened, for messages */
};

/* A publication that is retried until it is stored. */
struct retried_publish {
    LIST_ENTRY(retried_publish) link;
    struct bus *bus;
    struct bus_publication p; /* points into text */
    bus_stored_fn *fn;
    void *ctx;
    int64_t due; /* next attempt; INT64_MAX: one is under way */
    int64_t wait_ms;
    char text[];
};

/* --- slots ---------------------------------------------------------------- */

static void
grow(struct bus *b)
{
    unsigned n = b->n_requests ? b->n_requests * 2 : 16;

    b->requests = mem_resize(b->requests, n * sizeof *b->requests);
    for (unsigned i = n; i-- > b->n_requests;) {
        b->requests[i] = (struct bus_request){.next_free = b->free_request};
        b->free_request = i + 1;
    }
    b->n_requests = n;
}

/* Takes a slot for a request on subject. */
static struct bus_request *
request_new(struct bus *b, enum request_kind kind, const char *subject,
            int64_t timeout_ms, void *ctx)
{
    struct bus_request *r;

    if (!b->free_request)
        grow(b);
    r = &b->requests[b->free_request - 1];
    b->free_request = r->next_free;
    r->serial = ++b->request_serial;
    r->kind = kind;
    r->ctx = ctx;
    r->timeout_ms = timeout_ms;
    r->deadline = loop_now_ms() + timeout_ms;
    r->epoch = conn_epoch(b->conn);
    r->fail = ERR_NONE;
    r->held = false;
    r->entry = NULL;
    (void)str_copy(r->subject, sizeof r->subject, subject);
    return r;
}

static void
request_free(struct bus *b, struct bus_request *r)
{
    mem_free(r->entry);
    r->entry = NULL;
    r->serial = 0;
    r->fn.reply = NULL;
    r->next_free = b->free_request;
    b->free_request = (unsigned)(r - b->requests) + 1;
}

static void
call_failed(const struct bus_request *r, const struct err *e)
{
    switch (r->kind) {
    case REQUEST_REPLY:
        if (r->fn.reply)
            r->fn.reply(r->ctx, NULL, e);
        break;
    case REQUEST_STORED:
        if (r->fn.stored)
            r->fn.stored(r->ctx, NULL, e);
        break;
    case REQUEST_ENTRY:
        if (r->fn.entry)
            r->fn.entry(r->ctx, NULL, e);
        break;
    }
}

/* Ends a request with an error; its callback may move the table. */
static void
request_fail(struct bus *b, struct bus_request *slot, enum err_code code,
             const char *why)
{
    struct bus_request r = *slot;
    struct err e;

    request_free(b, slot);
    err_set(&e, code, "%s: %s", r.subject, why);
    call_failed(&r, &e);
}

/* Reports a failure that is known at once from the timer: no callback comes
 * from inside the caller's call. */
static void
request_fail_soon(struct bus *b, struct bus_request *r, enum err_code code,
                  const char *why)
{
    r->fail = code;
    r->why = why;
    r->deadline = loop_now_ms();
    bus_due(b, r->deadline);
}

/* Sends the request; headers as in p, which may be NULL. */
static void
request_send(struct bus *b, struct bus_request *r, const char *subject,
             const void *data, size_t len, const struct bus_publication *p)
{
    char reply[BUS_REPLY_SIZE];

    if (!bus_text_ok(subject, BUS_SUBJECT_MAX) ||
        (p && p->id && !bus_text_ok(p->id, BUS_ID_MAX))) {
        request_fail_soon(b, r, ERR_INVALID, "not a subject or message id");
        return;
    }
    if (len > bus_max_payload(b)) {
        request_fail_soon(b, r, ERR_INVALID, "larger than the broker allows");
        return;
    }
    if (!bus_is_up(b)) {
        request_fail_soon(b, r, ERR_UNAVAILABLE, "not connected to the broker");
        return;
    }
    (void)snprintf(reply, sizeof reply, "%s.%x-%" PRIx64, b->inbox,
                   (unsigned)(r - b->requests), r->serial);
    if (conn_send(
            b->conn,
            &(struct protocol_out){.subject = subject,
                                   .reply = reply,
                                   .id = p ? p->id : NULL,
                                   .expect = p ? p->expect : BUS_ANY_REVISION,
                                   .data = data,
                                   .len = len},
            CONN_REQUEST))
        bus_due(b, r->deadline);
    else
        request_fail_soon(b, r, ERR_UNAVAILABLE, "the broker does not read");
}

/* --- replies -------------------------------------------------------------- */

/* Appends text at *at and advances *at. */
static const char *
append(char **at, const char *text)
{
    size_t size = strlen(text) + 1;

    memcpy(*at, text, size);
    *at += size;
    return *at - size;
}

/* In one allocation. */
static struct protocol_msg *
copy_msg(const struct protocol_msg *m)
{
    size_t size = sizeof *m + m->len + strlen(m->subject) + 1;
    struct protocol_msg *copy;
    char *at;

    for (int i = 0; i < HEADERS_READ; i++)
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
    for (int i = 0; i < HEADERS_READ; i++)
        copy->header[i] = append(&at, m->header[i]);
    return copy;
}

static void
hold(struct bus *b, struct bus_request *slot)
{
    slot->held = true;
    barrier_hold(b, (unsigned)(slot - b->requests), slot->serial);
}

static void
answer_stored(struct bus *b, struct bus_request *slot,
              const struct protocol_msg *m)
{
    struct bus_stored stored = {0};
    struct bus_request r = *slot;
    struct err e;

    if (replies_read_stored(m->data, m->len, &stored, &e) < 0) {
        request_free(b, slot);
        err_wrap(&e, "%s", r.subject);
        call_failed(&r, &e);
    } else if (b->barrier) {
        slot->stored = stored;
        hold(b, slot);
    } else {
        request_free(b, slot);
        if (r.fn.stored)
            r.fn.stored(r.ctx, &stored, NULL);
    }
}

static void
answer_entry(struct bus *b, const struct bus_request *r,
             const struct protocol_msg *m)
{
    struct bus_entry entry = {0};
    struct err e;
    int rc;

    if (!r->fn.entry)
        return;
    rc = replies_read_entry(m, &entry, &e);
    if (rc < 0)
        err_wrap(&e, "%s", r->subject);
    else if (rc == 0)
        bus_note_broker_time(b, entry.stored_at_ms);
    r->fn.entry(r->ctx, rc == 0 ? &entry : NULL, rc < 0 ? &e : NULL);
}

void
requests_synced(struct bus *b, unsigned index, uint64_t serial)
{
    struct bus_request *slot, r;

    if (index >= b->n_requests || b->requests[index].serial != serial)
        return;
    slot = &b->requests[index];
    r = *slot;
    slot->entry = NULL; /* freed below, not with the slot */
    request_free(b, slot);
    if (r.kind == REQUEST_ENTRY)
        answer_entry(b, &r, r.entry);
    else if (r.fn.stored)
        r.fn.stored(r.ctx, &r.stored, NULL);
    mem_free(r.entry);
}

static void
note_time(struct bus *b, json_t *text)
{
    if (json_is_string(text))
        bus_note_broker_time(b, replies_read_time(json_string_value(text)));
}

/*
 * A stream info tells the broker's time: since 2.10 directly ("ts"), before
 * that as the time of the last stored message. So a worker that has just
 * started knows how old a claim is without waiting for a message.
 */
static void
note_info_time(struct bus *b, const struct bus_request *r,
               const struct protocol_msg *m)
{
    static const char info[] = "$JS.API.STREAM.INFO.";
    size_t len = m->len;
    json_t *json;

    if (strncmp(r->subject, info, sizeof info - 1) != 0 || len > INFO_MAX)
        return;
    json = json_loadb((const char *)m->data, len, 0, NULL);
    note_time(b, json_object_get(json, "ts"));
    note_time(b, json_object_get(json_object_get(json, "state"), "last_ts"));
    json_decref(json);
}

static void
answer_reply(struct bus *b, const struct bus_request *r,
             const struct protocol_msg *m)
{
    struct bus_note note = {
        .subject = m->subject,
        .reply = m->reply,
        .data = m->data,
        .len = m->len,
    };

    note_info_time(b, r, m);
    if (r->fn.reply)
        r->fn.reply(r->ctx, &note, NULL);
}

bool
requests_read_slot(const char *inbox, const char *subject, uint64_t *index,
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

/* The request that waits for a reply on subject, or NULL. */
static struct bus_request *
find(struct bus *b, const char *subject)
{
    uint64_t index, serial;

    if (!requests_read_slot(b->inbox, subject, &index, &serial) ||
        index >= b->n_requests || b->requests[index].serial != serial)
        return NULL;
    return &b->requests[index];
}

void
requests_on_reply(void *ctx, const struct protocol_msg *m)
{
    struct bus *b = ctx;
    struct bus_request *slot = find(b, m->subject), r;

    if (!slot || slot->held)
        return;
    if (m->len == 0 && strcmp(m->header[HEADER_STATUS], "503") == 0) {
        request_fail(b, slot, ERR_UNAVAILABLE, "nobody listens there");
        return;
    }
    r = *slot;
    switch (r.kind) {
    case REQUEST_REPLY:
        request_free(b, slot);
        answer_reply(b, &r, m);
        break;
    case REQUEST_STORED:
        answer_stored(b, slot, m);
        break;
    case REQUEST_ENTRY:
        if (b->barrier) {
            slot->entry = copy_msg(m);
            hold(b, slot);
            return;
        }
        request_free(b, slot);
        answer_entry(b, &r, m);
        break;
    }
}

void
requests_connection_lost(struct bus *b, uint64_t epoch)
{
    for (unsigned i = 0; i < b->n_requests; i++)
        if (b->requests[i].serial && b->requests[i].epoch < epoch &&
            b->requests[i].fail == ERR_NONE)
            request_fail(b, &b->requests[i], ERR_TIMEOUT,
                         "the connection broke before the reply came");
}

/* --- kinds of requests ---------------------------------------------------- */

void
bus_request(struct bus *b, const char *subject, const void *data, size_t len,
            int64_t timeout_ms, bus_reply_fn *fn, void *ctx)
{
    struct bus_request *r =
        request_new(b, REQUEST_REPLY, subject, timeout_ms, ctx);

    r->fn.reply = fn;
    request_send(b, r, subject, data, len, NULL);
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
    struct bus_request *r =
        request_new(b, REQUEST_STORED, p->subject, timeout_ms, ctx);

    r->fn.stored = fn;
    request_send(b, r, p->subject, p->data, p->len, p);
}

void
bus_get_last(struct bus *b, const char *stream, const char *subject,
             int64_t timeout_ms, bus_entry_fn *fn, void *ctx)
{
    struct bus_request *r =
        request_new(b, REQUEST_ENTRY, subject, timeout_ms, ctx);
    char api[BUS_SUBJECT_MAX + 1];

    r->fn.entry = fn;
    /* The request's subject contains it, so that permissions apply. */
    (void)snprintf(api, sizeof api, "$JS.API.DIRECT.GET.%s.%s", stream,
                   subject);
    request_send(b, r, api, NULL, 0, NULL);
}

void
bus_get_next(struct bus *b, const char *stream, const char *subject,
             uint64_t seq, int64_t timeout_ms, bus_entry_fn *fn, void *ctx)
{
    struct bus_request *r =
        request_new(b, REQUEST_ENTRY, subject, timeout_ms, ctx);
    char api[BUS_SUBJECT_MAX + 1], body[BUS_SUBJECT_MAX + 64];

    r->fn.entry = fn;
    if (!bus_text_ok(subject, BUS_SUBJECT_MAX) || strpbrk(subject, "\"\\")) {
        request_fail_soon(b, r, ERR_INVALID, "not a subject");
        return;
    }
    (void)snprintf(api, sizeof api, "$JS.API.DIRECT.GET.%s", stream);
    (void)snprintf(body, sizeof body,
                   "{\"seq\":%" PRIu64 ",\"next_by_subj\":\"%s\"}",
                   seq ? seq : 1, subject);
    request_send(b, r, api, body, strlen(body), NULL);
}

/* --- publishing until it is stored ---------------------------------------- */

static void
retried_free(struct retried_publish *r)
{
    LIST_REMOVE(r, link);
    mem_free(r);
}

static void
on_retried(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct retried_publish *r = ctx;

    if (e && (e->code == ERR_UNAVAILABLE || e->code == ERR_TIMEOUT ||
              e->code == ERR_FULL)) {
        r->wait_ms = backoff_next(r->wait_ms, RETRY_FIRST_MS, RETRY_MOST_MS);
        r->due = loop_now_ms() +
                 backoff_jitter(r->wait_ms, 0.5, 1.5, backoff_random());
        bus_due(r->bus, r->due);
        return;
    }
    if (r->fn)
        r->fn(r->ctx, stored, e);
    retried_free(r);
}

static void
retried_try(struct retried_publish *r)
{
    r->due = INT64_MAX;
    bus_publish(r->bus, &r->p, RETRY_TIMEOUT_MS, on_retried, r);
}

void
bus_publish_until(struct bus *b, const struct bus_publication *p,
                  bus_stored_fn *fn, void *ctx)
{
    size_t subject = strlen(p->subject) + 1, id = strlen(p->id) + 1;
    struct retried_publish *r = mem_alloc(sizeof *r + subject + id + p->len);

    *r = (struct retried_publish){
        .bus = b,
        .p = {.subject = r->text,
              .id = r->text + subject,
              .data = r->text + subject + id,
              .len = p->len,
              .expect = BUS_ANY_REVISION},
        .fn = fn,
        .ctx = ctx,
    };
    memcpy(r->text, p->subject, subject);
    memcpy(r->text + subject, p->id, id);
    if (p->len)
        memcpy(r->text + subject + id, p->data, p->len);
    LIST_INSERT_HEAD(&b->retried, r, link);
    retried_try(r);
}

void
requests_connected(struct bus *b)
{
    int64_t now = loop_now_ms();
    struct retried_publish *r;

    /* Soon, but spread: not all processes in the same millisecond. */
    LIST_FOREACH (r, &b->retried, link)
        if (r->due != INT64_MAX) {
            r->due =
                now + backoff_jitter(RETRY_FIRST_MS, 0, 1, backoff_random());
            r->wait_ms = 0;
            bus_due(b, r->due);
        }
}

static int64_t
retried_tick(struct bus *b, int64_t now)
{
    int64_t next = INT64_MAX;
    struct retried_publish *r;

    LIST_FOREACH (r, &b->retried, link) {
        if (r->due <= now)
            retried_try(r);
        else if (r->due < next)
            next = r->due;
    }
    return next;
}

int64_t
requests_tick(struct bus *b, int64_t now)
{
    int64_t next;

    for (unsigned i = 0; i < b->n_requests; i++) {
        struct bus_request *r = &b->requests[i];
        char why[64];

        if (!r->serial || r->deadline > now)
            continue;
        (void)snprintf(why, sizeof why, "no reply in %" PRId64 " ms",
                       r->timeout_ms);
        if (r->fail == ERR_NONE)
            request_fail(b, r, ERR_TIMEOUT, why);
        else
            request_fail(b, r, r->fail, r->why);
    }
    next = retried_tick(b, now);
    for (unsigned i = 0; i < b->n_requests; i++)
        if (b->requests[i].serial && b->requests[i].deadline < next)
            next = b->requests[i].deadline;
    return next;
}

void
bus_forget(struct bus *b, const void *ctx)
{
    struct retried_publish *r;

    for (unsigned i = 0; i < b->n_requests; i++)
        if (b->requests[i].serial && b->requests[i].ctx == ctx)
            request_free(b, &b->requests[i]);
    /* What was promised to be stored still is; only the callback is gone. */
    LIST_FOREACH (r, &b->retried, link)
        if (r->ctx == ctx)
            r->fn = NULL;
    if (b->event_ctx == ctx)
        b->on_event = NULL;
}

void
requests_free_all(struct bus *b)
{
    while (!LIST_EMPTY(&b->retried))
        retried_free(LIST_FIRST(&b->retried));
    for (unsigned i = 0; i < b->n_requests; i++)
        mem_free(b->requests[i].entry);
    mem_free(b->requests);
}
