/*
 * Reads with one request after the other, each for the first key behind the
 * last one. A reading that is asked for while one is under way follows it.
 */
#include "lib/bus/control_watch.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/subject.h"

enum {
    READ_MS = 5000,
    AGAIN_MS = 1000, /* before a failed read is repeated */
};

struct control_watch {
    struct bus *bus;
    const struct control_watch_events *events;
    void *ctx;
    char subjects[SUBJECT_SIZE];
    struct bus_sub *live;
    struct loop_timer *again; /* starts a reading */
    uint64_t next_seq;        /* to read from */
    bool reading, stale;
};

static void read_next(struct control_watch *w);

static void
read_all(struct control_watch *w)
{
    w->stale = false;
    w->next_seq = 1;
    read_next(w);
}

void
control_watch_refresh(void *watch)
{
    struct control_watch *w = watch;

    if (w->events->begin)
        w->events->begin(w->ctx);
    if (w->reading)
        w->stale = true;
    else
        read_all(w);
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct control_watch *w = ctx;

    w->reading = false;
    if (e) {
        log_debug("control.read", "subjects=%s error=\"%s\"", w->subjects,
                  LOG_TEXT(e->msg));
        loop_timer_again(w->again, AGAIN_MS, 0);
    } else if (w->stale) {
        read_all(w);
    } else if (!entry) {
        w->events->read(w->ctx);
    } else if (w->events->value(w->ctx, entry)) {
        w->next_seq = entry->revision + 1;
        read_next(w);
    }
}

static void
read_next(struct control_watch *w)
{
    w->reading = true;
    bus_get_next(w->bus, "KV_control", w->subjects, w->next_seq, READ_MS,
                 on_entry, w);
}

static void
on_live(void *ctx, const struct bus_note *note)
{
    struct control_watch *w = ctx;

    (void)w->events->value(w->ctx, &(struct bus_entry){.subject = note->subject,
                                                       .data = note->data,
                                                       .len = note->len});
}

int
control_watch_open(struct control_watch **out, struct bus *b, struct loop *l,
                   const char *subjects,
                   const struct control_watch_events *events, void *ctx,
                   struct err *e)
{
    struct control_watch *w = MEM_NEW(struct control_watch);

    w->bus = b;
    w->events = events;
    w->ctx = ctx;
    (void)str_copy(w->subjects, sizeof w->subjects, subjects);
    if (bus_subscribe(b, subjects, on_live, w, &w->live, e) < 0) {
        control_watch_close(w);
        return -1;
    }
    w->again = loop_timer_start(l, 0, 0, control_watch_refresh, w);
    *out = w;
    return 0;
}

void
control_watch_close(struct control_watch *w)
{
    if (!w)
        return;
    bus_forget(w->bus, w);
    bus_unsubscribe(w->live);
    loop_timer_stop(w->again);
    mem_free(w);
}
