/*
 * fsync_barrier - what the broker has stored waits until it is on the disk.
 *
 * The broker acknowledges what the kernel has. A keeper beside it (sync.store)
 * syncs on request and answers: one question serves everything stored before
 * it was asked, and what is stored meanwhile waits for the next.
 */
#include "lib/bus/bus_private.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/subject.h"

enum {
    ANSWER_MS = 10000, /* a disk may be slow */
    AGAIN_MS = 200,    /* after no answer */
};

/* An ask, by slot and serial: it may end before it is confirmed. */
struct held_request {
    unsigned index;
    uint64_t serial;
};

struct barrier_batch {
    struct held_request *asks;
    size_t n, cap;
};

struct fsync_barrier {
    struct barrier_batch waiting; /* for the next question */
    struct barrier_batch asked;   /* by the one under way */
    bool asking;
    bool warned;
    int64_t again_ms; /* 0: none is due */
};

struct fsync_barrier *
barrier_new(void)
{
    return MEM_NEW(struct fsync_barrier);
}

void
barrier_free(struct fsync_barrier *c)
{
    if (!c)
        return;
    mem_free(c->waiting.asks);
    mem_free(c->asked.asks);
    mem_free(c);
}

static void
add(struct barrier_batch *b, struct held_request h)
{
    b->asks = mem_grow(b->asks, b->n, &b->cap, sizeof *b->asks);
    b->asks[b->n++] = h;
}

void
barrier_hold(struct bus *b, unsigned index, uint64_t serial)
{
    if (b->confirm)
        add(&b->confirm->waiting, (struct held_request){index, serial});
}

static void
answered(struct bus *b)
{
    struct fsync_barrier *c = b->confirm;
    struct barrier_batch done = c->asked;

    c->warned = false;
    c->asked = (struct barrier_batch){0};
    for (size_t i = 0; i < done.n; i++)
        requests_confirmed(b, done.asks[i].index, done.asks[i].serial);
    mem_free(done.asks);
}

/* What was asked is asked again, with what came meanwhile. Those who cannot
 * wait so long have their own deadline. */
static void
unanswered(struct bus *b, const char *why)
{
    struct fsync_barrier *c = b->confirm;

    for (size_t i = 0; i < c->asked.n; i++)
        add(&c->waiting, c->asked.asks[i]);
    c->asked.n = 0;
    c->again_ms = loop_now_ms() + AGAIN_MS;
    bus_due(b, c->again_ms);
    if (!c->warned)
        log_warn("bus.unconfirmed", "error=\"%s\"", LOG_TEXT(why));
    c->warned = true;
}

static void
on_answer(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct bus *b = ctx;
    char why[128];

    b->confirm->asking = false;
    if (e) {
        unanswered(b, e->msg);
    } else if (note->len > 0) {
        (void)snprintf(why, sizeof why, "%.*s",
                       note->len < sizeof why ? (int)note->len
                                              : (int)sizeof why - 1,
                       (const char *)note->data);
        unanswered(b, why);
    } else {
        answered(b);
        barrier_flush(b);
    }
}

void
barrier_flush(struct bus *b)
{
    struct fsync_barrier *c = b->confirm;
    struct barrier_batch swap;

    if (!c || c->asking || c->again_ms || c->waiting.n == 0)
        return;
    swap = c->asked;
    c->asked = c->waiting;
    c->waiting = swap;
    c->asking = true;
    bus_request(b, SUBJECT_SYNC, "", 0, ANSWER_MS, on_answer, b);
}

int64_t
barrier_tick(struct bus *b, int64_t now)
{
    struct fsync_barrier *c = b->confirm;

    if (!c || c->again_ms == 0)
        return INT64_MAX;
    if (c->again_ms > now)
        return c->again_ms;
    c->again_ms = 0;
    barrier_flush(b);
    return INT64_MAX;
}
