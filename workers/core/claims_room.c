/*
 * Asks for the state of KV_claims on a timer. Without an answer the last one
 * stands.
 */
#include "workers/core/claims_room.h"

#include "lib/base/log.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/bus/stream_info.h"
#include "workers/core/capacity.h"

#include <inttypes.h>

enum { ASK_MS = 10000 };

struct claims_room {
    struct worker *w;
    struct loop_timer *timer;
};

static void
set_full(struct worker *w, const struct stream_info_stream *s, bool full)
{
    if (full && !w->claims_full)
        log_error("claims.full",
                  "bytes=%" PRIu64 " room=%" PRId64
                  " text=\"no new tasks are taken until claims expire or "
                  "bus.max_bytes is raised; what runs goes on\"",
                  s->bytes, jetstream_claims_room(s->max_bytes));
    else if (!full && w->claims_full)
        log_info("claims.room", "bytes=%" PRIu64, s->bytes);
    if (full == w->claims_full)
        return;
    w->claims_full = full;
    capacity_set_windows(w, NULL);
}

static void
on_info(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct claims_room *r = ctx;
    struct stream_info_stream s;
    struct err bad;

    if (e || stream_info_read_stream(note, &s, &bad) < 0) {
        log_debug("claims.info", "error=\"%s\"",
                  LOG_TEXT(e ? e->msg : bad.msg));
        return;
    }
    set_full(r->w, &s,
             s.max_bytes > 0 &&
                 s.bytes >= (uint64_t)jetstream_claims_room(s.max_bytes));
}

static void
on_timer(void *ctx)
{
    struct claims_room *r = ctx;

    if (bus_is_up(r->w->bus))
        stream_info_ask(r->w->bus, "KV_claims", NULL, on_info, r);
}

void
claims_room_open(struct worker *w)
{
    struct claims_room *r = MEM_NEW(struct claims_room);

    r->w = w;
    r->timer = loop_timer_start(w->loop, 0, ASK_MS, on_timer, r);
    w->claims_room = r;
}

void
claims_room_close(struct worker *w)
{
    struct claims_room *r = w->claims_room;

    if (!r)
        return;
    bus_forget(w->bus, r);
    loop_timer_stop(r->timer);
    mem_free(r);
    w->claims_room = NULL;
}
