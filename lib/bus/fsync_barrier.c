/*
 * The broker acknowledges what the kernel has. An fsync server beside it
 * (subject sync.store) syncs on request and replies. One sync request covers
 * everything stored before it was sent; what is stored meanwhile waits for the
 * next. A request that fails is repeated with all that came since.
 */
#include "lib/bus/fsync_barrier.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/bus_private.h"
#include "lib/model/subject.h"

enum {
    REPLY_MS = 10000, /* a disk may be slow */
    AGAIN_MS = 200,   /* before a failed sync is repeated */
};

/* A request, by slot and serial: it may end before the sync does. */
struct held_request {
    unsigned index;
    uint64_t serial;
};

struct barrier_batch {
    struct held_request *requests;
    size_t n, cap;
};

struct fsync_barrier {
    barrier_fn *synced;
    struct barrier_batch waiting; /* for the next sync request */
    struct barrier_batch syncing; /* covered by the one under way */
    bool busy;                    /* one is under way */
    bool warned;                  /* about the present series of failures */
    int64_t again_ms; /* when a failed sync is repeated; 0: none failed */
};

struct fsync_barrier *
barrier_new(barrier_fn *synced)
{
    struct fsync_barrier *f = MEM_NEW(struct fsync_barrier);

    f->synced = synced;
    return f;
}

void
barrier_free(struct fsync_barrier *f)
{
    if (!f)
        return;
    mem_free(f->waiting.requests);
    mem_free(f->syncing.requests);
    mem_free(f);
}

static void
add(struct barrier_batch *b, struct held_request h)
{
    b->requests = mem_grow(b->requests, b->n, &b->cap, sizeof *b->requests);
    b->requests[b->n++] = h;
}

void
barrier_hold(struct bus *b, unsigned index, uint64_t serial)
{
    if (b->barrier)
        add(&b->barrier->waiting, (struct held_request){index, serial});
}

static void
succeeded(struct bus *b)
{
    struct fsync_barrier *f = b->barrier;
    struct barrier_batch done = f->syncing;

    f->warned = false;
    f->syncing = (struct barrier_batch){0};
    for (size_t i = 0; i < done.n; i++)
        f->synced(b, done.requests[i].index, done.requests[i].serial);
    mem_free(done.requests);
}

/* The requests wait for the next sync; each still has its own deadline. */
static void
failed(struct bus *b, const char *why)
{
    struct fsync_barrier *f = b->barrier;

    for (size_t i = 0; i < f->syncing.n; i++)
        add(&f->waiting, f->syncing.requests[i]);
    f->syncing.n = 0;
    f->again_ms = loop_now_ms() + AGAIN_MS;
    bus_due(b, f->again_ms);
    if (!f->warned)
        log_warn("bus.unconfirmed", "error=\"%s\"", LOG_TEXT(why));
    f->warned = true;
}

static void
on_reply(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct bus *b = ctx;
    char why[128];

    b->barrier->busy = false;
    if (e) {
        failed(b, e->msg);
    } else if (note->len > 0) {
        (void)snprintf(why, sizeof why, "%.*s",
                       note->len < sizeof why ? (int)note->len
                                              : (int)sizeof why - 1,
                       (const char *)note->data);
        failed(b, why);
    } else {
        succeeded(b);
        barrier_flush(b);
    }
}

void
barrier_flush(struct bus *b)
{
    struct fsync_barrier *f = b->barrier;
    struct barrier_batch swap;

    if (!f || f->busy || f->again_ms || f->waiting.n == 0)
        return;
    swap = f->syncing;
    f->syncing = f->waiting;
    f->waiting = swap;
    f->busy = true;
    bus_request(b, SUBJECT_SYNC, "", 0, REPLY_MS, on_reply, b);
}

int64_t
barrier_tick(struct bus *b, int64_t now)
{
    struct fsync_barrier *f = b->barrier;

    if (!f || f->again_ms == 0)
        return INT64_MAX;
    if (f->again_ms > now)
        return f->again_ms;
    f->again_ms = 0;
    barrier_flush(b);
    return INT64_MAX;
}
