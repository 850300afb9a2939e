/*
 * A table of the lane.> keys of KV_control, kept up to date by control_watch. A
 * timer fires when the next pause ends. lane_pauses_keep stores old pauses
 * again, before the bucket expires them.
 */
#include "lib/bus/lane_pause.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/control_watch.h"
#include "lib/model/codec.h"

#include <string.h>

enum { STORE_MS = 5000 };

struct lane_pauses {
    struct bus *bus;
    struct loop *loop;
    void (*changed)(void *ctx);
    void *ctx;
    struct control_watch *watch;
    struct loop_timer *ends; /* the next pause that ends by itself */
    struct loop_timer *keep; /* NULL: another process keeps them */
    int64_t keep_ms;         /* older pauses are stored again */
    struct mem_pool *pool;
    struct lane_pause *all;
    size_t n;
    bool known;
};

/* --- the table ------------------------------------------------------------ */

static struct lane_pause *
row_of(struct lane_pauses *p, const char *backend, const char *lane)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->all[i].backend, backend) == 0 &&
            strcmp(p->all[i].lane, lane) == 0)
            return &p->all[i];
    if (p->n == LANE_PAUSES_MAX)
        return NULL;
    p->all = mem_resize(p->all, (p->n + 1) * sizeof *p->all);
    p->all[p->n] = (struct lane_pause){0};
    (void)str_copy(p->all[p->n].backend, sizeof p->all->backend, backend);
    (void)str_copy(p->all[p->n].lane, sizeof p->all->lane, lane);
    return &p->all[p->n++];
}

static bool
holds(const struct lane_pause *row, int64_t now_ms)
{
    return row->paused && (row->until_ms == 0 || row->until_ms > now_ms);
}

static void on_end(void *ctx);

/* Sets the timer to the earliest end. */
static void
watch_ends(struct lane_pauses *p)
{
    int64_t now = str_wall_ms(), first = INT64_MAX;

    for (size_t i = 0; i < p->n; i++)
        if (holds(&p->all[i], now) && p->all[i].until_ms &&
            p->all[i].until_ms < first)
            first = p->all[i].until_ms;
    if (first == INT64_MAX) {
        loop_timer_stop(p->ends);
        p->ends = NULL;
    } else if (p->ends) {
        loop_timer_again(p->ends, first - now + 1, 0);
    } else {
        p->ends = loop_timer_start(p->loop, first - now + 1, 0, on_end, p);
    }
}

static void
notify(struct lane_pauses *p)
{
    watch_ends(p);
    if (p->known && p->changed)
        p->changed(p->ctx);
}

static void
on_end(void *ctx)
{
    notify(ctx);
}

/* Takes the value of a key. True if it changes the table. */
static bool
update(struct lane_pauses *p, const struct bus_entry *entry)
{
    const char *subject = entry->subject;
    uint64_t revision = entry->revision;
    char backend[SUBJECT_TOKEN_MAX + 1], lane[SUBJECT_TOKEN_MAX + 1];
    struct lane_state s = {.reason = "", .by = ""};
    struct lane_pause *row;
    struct err bad;

    mem_pool_reset(p->pool);
    if (!subject_token_at(subject, 3, backend) ||
        !subject_token_at(subject, 4, lane))
        return false;
    if (entry->len > 0 &&
        (codec_decode(CODEC_LANE_STATE, entry->data, entry->len, p->pool, &s,
                      &bad) < 0 ||
         strcmp(s.backend, backend) != 0 || strcmp(s.lane, lane) != 0 ||
         s.version > CONTROL_VERSION)) {
        log_warn("lane.unreadable", "subject=%s", LOG_TEXT(subject));
        return false;
    }
    row = row_of(p, backend, lane);
    if (!row || (revision && revision <= row->revision) ||
        (!revision && s.at_ms < row->at_ms))
        return false;
    if (revision) {
        row->revision = revision;
        row->stored_ms = entry->stored_at_ms;
    }
    row->paused = entry->len > 0 && s.paused;
    row->at_ms = s.at_ms;
    row->until_ms = s.until_at_ms;
    (void)str_copy(row->reason, sizeof row->reason, s.reason);
    (void)str_copy(row->by, sizeof row->by, s.by);
    return true;
}

/* --- writing -------------------------------------------------------------- */

static void
store(struct bus *b, const struct lane_pause *p, int64_t expect,
      bus_stored_fn *fn, void *ctx)
{
    struct lane_state s;
    struct str data = {0};
    char subject[SUBJECT_SIZE];
    struct bus_publication pub = {
        .subject = subject_lane_state(subject, p->backend, p->lane),
        .expect = expect};

    codec_init(CODEC_LANE_STATE, &s);
    s.backend = p->backend;
    s.lane = p->lane;
    s.paused = p->paused;
    s.reason = p->reason;
    s.by = p->by;
    s.at_ms = p->at_ms;
    s.until_at_ms = p->until_ms;
    s.version = CONTROL_VERSION;
    codec_encode(CODEC_LANE_STATE, &s, &data);
    pub.data = data.data;
    pub.len = data.len;
    bus_publish(b, &pub, STORE_MS, fn, ctx);
    str_free(&data);
}

void
lane_pauses_set(struct bus *b, const struct lane_pause *p, bus_stored_fn *fn,
                void *ctx)
{
    store(b, p, BUS_ANY_REVISION, fn, ctx);
}

static void
on_stored_again(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    (void)ctx;
    (void)stored;
    /* The key has changed, or the next round stores it. */
    if (e)
        log_debug("lane.keep", "error=\"%s\"", LOG_TEXT(e->msg));
}

/* Stores old pauses again; called when all keys have been read. */
static void
keep_old(struct lane_pauses *p)
{
    int64_t now = bus_broker_ms(p->bus);

    for (size_t i = 0; p->keep && i < p->n; i++) {
        const struct lane_pause *row = &p->all[i];

        if (row->revision && holds(row, str_wall_ms()) &&
            now - row->stored_ms >= p->keep_ms)
            store(p->bus, row, (int64_t)row->revision, on_stored_again, p);
    }
}

/* --- reading -------------------------------------------------------------- */

static bool
on_value(void *ctx, const struct bus_entry *entry)
{
    struct lane_pauses *p = ctx;

    /* While all are read, one call for all of them follows. */
    if (update(p, entry) && !entry->revision)
        notify(p);
    return true;
}

static void
on_read(void *ctx)
{
    struct lane_pauses *p = ctx;

    p->known = true;
    keep_old(p);
    notify(p);
}

int
lane_pauses_open(struct lane_pauses **out, struct bus *b, struct loop *l,
                 void (*changed)(void *ctx), void *ctx, struct err *e)
{
    static const struct control_watch_events events = {.value = on_value,
                                                       .read = on_read};
    struct lane_pauses *p = MEM_NEW(struct lane_pauses);

    p->bus = b;
    p->loop = l;
    p->changed = changed;
    p->ctx = ctx;
    p->pool = mem_pool_new();
    if (control_watch_open(&p->watch, b, l, SUBJECT_LANES_ALL, &events, p, e) <
        0) {
        lane_pauses_close(p);
        return -1;
    }
    *out = p;
    return 0;
}

void
lane_pauses_close(struct lane_pauses *p)
{
    if (!p)
        return;
    bus_forget(p->bus, p);
    control_watch_close(p->watch);
    loop_timer_stop(p->ends);
    loop_timer_stop(p->keep);
    mem_pool_free(p->pool);
    mem_free(p->all);
    mem_free(p);
}

bool
lane_pauses_known(const struct lane_pauses *p)
{
    return p->known;
}

void
lane_pauses_refresh(struct lane_pauses *p)
{
    control_watch_refresh(p->watch);
}

void
lane_pauses_keep(struct lane_pauses *p, int64_t older_ms, int64_t every_ms)
{
    p->keep_ms = older_ms;
    p->keep = loop_timer_start(p->loop, every_ms, every_ms,
                               control_watch_refresh, p->watch);
}

/* --- look-ups ------------------------------------------------------------- */

const struct lane_pause *
lane_pauses_find(const struct lane_pauses *p, const char *backend,
                 const char *lane, int64_t now_ms)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->all[i].backend, backend) == 0 &&
            strcmp(p->all[i].lane, lane) == 0)
            return holds(&p->all[i], now_ms) ? &p->all[i] : NULL;
    return NULL;
}

size_t
lane_pauses_count(const struct lane_pauses *p)
{
    return p->n;
}

const struct lane_pause *
lane_pauses_at(const struct lane_pauses *p, size_t i)
{
    return &p->all[i];
}
