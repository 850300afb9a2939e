/*
 * The table is a set of hashes of ids, with open addressing: a false hit costs
 * one read. It is emptied when a reading begins, so that keys that were
 * emptied or have expired leave it. While there are more keys than it can hold
 * it knows nothing, and they are read again from time to time.
 */
#include "lib/bus/cancels.h"

#include "lib/base/hash.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/control_watch.h"
#include "lib/model/codec.h"
#include "lib/model/control_msg.h"
#include "lib/model/subject.h"

#include <stdio.h>
#include <string.h>

enum {
    TIMEOUT_MS = 5000,
    SLOTS_LEAST = 64,
    FULL_MS = 60 * 1000, /* until a table that was full is read again */
};

/* --- the keys ------------------------------------------------------------- */

void
cancels_put(struct bus *b, const struct control *c, bus_stored_fn *fn,
            void *ctx)
{
    char subject[SUBJECT_SIZE];
    struct str data = {0};

    codec_encode(CODEC_CONTROL, c, &data);
    bus_publish(
        b,
        &(struct bus_publication){.subject = subject_cancel(subject, c->task),
                                  .data = str_text(&data),
                                  .len = data.len,
                                  .expect = BUS_ANY_REVISION},
        TIMEOUT_MS, fn, ctx);
    str_free(&data);
}

void
cancels_get(struct bus *b, const char *task, bus_entry_fn *fn, void *ctx)
{
    char subject[SUBJECT_SIZE];

    bus_get_last(b, "KV_control", subject_cancel(subject, task), TIMEOUT_MS, fn,
                 ctx);
}

bool
cancels_read(const struct bus_entry *entry, struct mem_pool *pool,
             struct control *out)
{
    char task[SUBJECT_TOKEN_MAX + 1];
    struct err bad;

    if (!entry || entry->len == 0 || !subject_token_at(entry->subject, 3, task))
        return false;
    if (control_msg_read(entry->data, entry->len, CONTROL_CANCEL, pool, out,
                         &bad) == 0) {
        if (strcmp(out->task, task) == 0)
            return true;
        (void)err_set(&bad, ERR_INVALID, "it is of another task");
    }
    log_warn("cancel.unreadable", "subject=%s error=\"%s\"",
             LOG_TEXT(entry->subject), LOG_TEXT(bad.msg));
    return false;
}

struct control *
cancels_copy(const struct control *c, struct mem_pool *pool)
{
    struct control *out = mem_pool_alloc(pool, sizeof *out);

    *out = (struct control){.task = mem_pool_strdup(pool, c->task),
                            .verb = mem_pool_strdup(pool, c->verb),
                            .reason = mem_pool_strdup(pool, c->reason),
                            .by = mem_pool_strdup(pool, c->by),
                            .at_ms = c->at_ms,
                            .worker = mem_pool_strdup(pool, c->worker),
                            .version = c->version};
    return out;
}

void
cancels_reason(const char *by, const char *reason,
               char out[CANCELS_REASON_SIZE])
{
    (void)snprintf(out, CANCELS_REASON_SIZE, "cancelled by %s%s%s",
                   STR_SHORT(*by ? by : "somebody", 60), *reason ? ": " : "",
                   STR_SHORT(reason, 160));
}

/* --- the set -------------------------------------------------------------- */

struct cancels {
    cancels_fn *requested;
    void *ctx;
    struct loop *loop;
    struct control_watch *watch;
    struct loop_timer *again; /* reads a table that was full; NULL: none was */
    struct mem_pool *pool;
    uint64_t *slots; /* 0: free */
    size_t n, n_slots;
    bool complete, full;
};

static uint64_t
hash_of(const char *task)
{
    uint64_t h = hash_text(task);

    return h ? h : 1;
}

/* The slot that has the hash, or a free one. */
static uint64_t *
slot_of(uint64_t *slots, size_t n_slots, uint64_t hash)
{
    size_t i = hash & (n_slots - 1);

    while (slots[i] && slots[i] != hash)
        i = (i + 1) & (n_slots - 1);
    return &slots[i];
}

static void
grow(struct cancels *c)
{
    size_t n_slots = c->n_slots ? 2 * c->n_slots : SLOTS_LEAST;
    uint64_t *slots = mem_zero(n_slots, sizeof *slots);

    for (size_t i = 0; i < c->n_slots; i++)
        if (c->slots[i])
            *slot_of(slots, n_slots, c->slots[i]) = c->slots[i];
    mem_free(c->slots);
    c->slots = slots;
    c->n_slots = n_slots;
}

static void
add(struct cancels *c, const char *task)
{
    uint64_t hash = hash_of(task), *slot;

    if (2 * (c->n + 1) > c->n_slots)
        grow(c);
    slot = slot_of(c->slots, c->n_slots, hash);
    c->n += !*slot;
    *slot = hash;
}

/* --- the table ------------------------------------------------------------ */

static void
on_begin(void *ctx)
{
    struct cancels *c = ctx;

    c->complete = c->full = false;
    mem_free(c->slots);
    c->slots = NULL;
    c->n = c->n_slots = 0;
}

static void
on_again(void *ctx)
{
    cancels_refresh(ctx);
}

static void
set_full(struct cancels *c)
{
    c->full = true;
    c->complete = false;
    if (c->again)
        loop_timer_again(c->again, FULL_MS, 0);
    else
        c->again = loop_timer_start(c->loop, FULL_MS, 0, on_again, c);
}

static bool
on_value(void *ctx, const struct bus_entry *entry)
{
    struct cancels *c = ctx;
    struct control control;

    mem_pool_reset(c->pool);
    if (!cancels_read(entry, c->pool, &control))
        return true;
    if (!c->full)
        add(c, control.task);
    if (c->n == CANCELS_MAX && !c->full)
        set_full(c);
    if (c->requested)
        c->requested(c->ctx, &control);
    return !c->full;
}

static void
on_read(void *ctx)
{
    struct cancels *c = ctx;

    c->complete = true;
}

int
cancels_open(struct cancels **out, struct bus *b, struct loop *l,
             cancels_fn *requested, void *ctx, struct err *e)
{
    static const struct control_watch_events events = {
        .begin = on_begin, .value = on_value, .read = on_read};
    struct cancels *c = MEM_NEW(struct cancels);

    c->loop = l;
    c->requested = requested;
    c->ctx = ctx;
    c->pool = mem_pool_new();
    if (control_watch_open(&c->watch, b, l, SUBJECT_CANCEL_ALL, &events, c, e) <
        0) {
        cancels_close(c);
        return -1;
    }
    *out = c;
    return 0;
}

void
cancels_close(struct cancels *c)
{
    if (!c)
        return;
    control_watch_close(c->watch);
    loop_timer_stop(c->again);
    mem_pool_free(c->pool);
    mem_free(c->slots);
    mem_free(c);
}

void
cancels_refresh(struct cancels *c)
{
    control_watch_refresh(c->watch);
}

bool
cancels_may_have(const struct cancels *c, const char *task)
{
    uint64_t hash = hash_of(task);

    return !c->complete ||
           (c->n && *slot_of(c->slots, c->n_slots, hash) == hash);
}
