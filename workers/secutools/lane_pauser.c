/*
 * Writes pauses to the control bucket and keeps each until it is stored.
 */
#include "workers/secutools/lane_pauser.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/lane_pause.h"

#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>

/* A pause that is being stored in the bucket. */
struct pending_pause {
    LIST_ENTRY(pending_pause) link;
    struct lane_pause pause;
};

struct lane_pauser {
    struct bus *bus;
    LIST_HEAD(, pending_pause) pending;
    char backend[SUBJECT_TOKEN_MAX + 1], name[SUBJECT_TOKEN_MAX + 1];
};

static void
release(struct pending_pause *p)
{
    LIST_REMOVE(p, link);
    mem_free(p);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct pending_pause *p = ctx;

    (void)stored;
    /* The platform's next answer pauses the lane again. */
    if (e)
        log_warn("lane.pause", "lane=%s error=\"%s\"", p->pause.lane,
                 LOG_TEXT(e->msg));
    release(p);
}

void
lane_pauser_pause(struct lane_pauser *l, const char *lane, int64_t for_ms,
                  const char *reason)
{
    struct pending_pause *p;

    if (lane_pauser_reason(l, lane))
        return; /* an earlier request had the same answer */
    p = MEM_NEW(struct pending_pause);
    LIST_INSERT_HEAD(&l->pending, p, link);
    p->pause.paused = true;
    p->pause.at_ms = str_wall_ms();
    p->pause.until_ms = for_ms ? p->pause.at_ms + for_ms : 0;
    (void)str_copy(p->pause.backend, sizeof p->pause.backend, l->backend);
    (void)str_copy(p->pause.lane, sizeof p->pause.lane, lane);
    (void)str_copy(p->pause.by, sizeof p->pause.by, l->name);
    (void)str_copy(p->pause.reason, sizeof p->pause.reason, reason);
    log_warn("lane.paused", "lane=%s for_ms=%" PRId64 " reason=\"%s\"", lane,
             for_ms, LOG_TEXT(reason));
    lane_pauses_set(l->bus, &p->pause, on_stored, p);
}

const char *
lane_pauser_reason(const struct lane_pauser *l, const char *lane)
{
    const struct pending_pause *p;

    LIST_FOREACH (p, &l->pending, link)
        if (strcmp(p->pause.lane, lane) == 0)
            return p->pause.reason;
    return NULL;
}

struct lane_pauser *
lane_pauser_open(struct bus *b, const char *backend, const char *name)
{
    struct lane_pauser *l = MEM_NEW(struct lane_pauser);

    l->bus = b;
    (void)str_copy(l->backend, sizeof l->backend, backend);
    (void)str_copy(l->name, sizeof l->name, name);
    return l;
}

void
lane_pauser_close(struct lane_pauser *l)
{
    if (!l)
        return;
    while (!LIST_EMPTY(&l->pending)) {
        bus_forget(l->bus, LIST_FIRST(&l->pending));
        release(LIST_FIRST(&l->pending));
    }
    mem_free(l);
}
