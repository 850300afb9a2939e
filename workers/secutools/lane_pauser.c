#include "workers/secutools/lane_pauser.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/lane_pause.h"

#include <inttypes.h>
#include <string.h>

/* A pause on its way to the bucket. */
struct hold {
    struct hold *next;
    struct lane_pauser *lanes;
    struct lane_pause pause;
};

struct lane_pauser {
    struct bus *bus;
    struct hold *holds;
    char backend[SUBJECT_TOKEN_MAX + 1], name[SUBJECT_TOKEN_MAX + 1];
};

static void
release(struct hold *h)
{
    struct hold **at = &h->lanes->holds;

    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    mem_free(h);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct hold *h = ctx;

    (void)stored;
    /* The platform will say it again. */
    if (e)
        log_warn("lane.pause", "lane=%s error=\"%s\"", h->pause.lane,
                 LOG_TEXT(e->msg));
    release(h);
}

void
lane_pauser_pause(struct lane_pauser *l, const char *lane, int64_t for_ms,
                  const char *reason)
{
    struct hold *h;

    if (lane_pauser_held(l, lane))
        return; /* what was under way says the same */
    h = MEM_NEW(struct hold);
    h->lanes = l;
    h->next = l->holds;
    l->holds = h;
    h->pause.paused = true;
    h->pause.at_ms = str_wall_ms();
    h->pause.until_ms = for_ms ? h->pause.at_ms + for_ms : 0;
    (void)str_copy(h->pause.backend, sizeof h->pause.backend, l->backend);
    (void)str_copy(h->pause.lane, sizeof h->pause.lane, lane);
    (void)str_copy(h->pause.by, sizeof h->pause.by, l->name);
    (void)str_copy(h->pause.reason, sizeof h->pause.reason, reason);
    log_warn("lane.paused", "lane=%s for_ms=%" PRId64 " reason=\"%s\"", lane,
             for_ms, LOG_TEXT(reason));
    lane_pauses_set(l->bus, &h->pause, on_stored, h);
}

const char *
lane_pauser_held(const struct lane_pauser *l, const char *lane)
{
    for (const struct hold *h = l->holds; h; h = h->next)
        if (strcmp(h->pause.lane, lane) == 0)
            return h->pause.reason;
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
    while (l->holds) {
        bus_forget(l->bus, l->holds);
        release(l->holds);
    }
    mem_free(l);
}
