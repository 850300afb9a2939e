/*
 * Walks over the keys, one request after the other, and empties those whose
 * task is cancelled: a stream of the fleet lets nobody take a message out. The
 * bucket expires them. A walk begins at the first key that was not empty in the
 * last one, and is not repeated soon if it took long.
 */
#include "reaper/schedule/cancel_keys.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/subject.h"
#include "lib/model/task_state.h"

#include <string.h>

enum {
    WAIT_MS = 500, /* before a walk, for more tasks to end */
    PART = 20,     /* a walk follows another after that many times its time */
    ANSWER_MS = 5000,
};

struct cancel_keys {
    struct bus *bus;
    struct db *db;
    struct loop_timer *timer;
    bool waiting, walking, again;
    int64_t began_ms;
    uint64_t next_seq;
    uint64_t first_live; /* keys before it are empty */
    bool met_live;       /* in this walk */
};

static void
walk_in(struct cancel_keys *k, int64_t ms)
{
    k->again = false;
    k->waiting = true;
    loop_timer_again(k->timer, ms, 0);
}

static void
end_walk(struct cancel_keys *k)
{
    int64_t took_ms = loop_now_ms() - k->began_ms;

    k->walking = false;
    if (k->again)
        walk_in(k, WAIT_MS + PART * took_ms);
}

static void on_key(void *ctx, const struct bus_entry *entry,
                   const struct err *e);

static void
look_at_next(struct cancel_keys *k)
{
    bus_get_next(k->bus, "KV_control", SUBJECT_CANCEL_ALL, k->next_seq,
                 ANSWER_MS, on_key, k);
}

static void
on_emptied(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct cancel_keys *k = ctx;

    (void)stored;
    if (!e || e->code == ERR_CONFLICT) { /* a newer request: it comes, too */
        look_at_next(k);
        return;
    }
    log_warn("cancel.empty", "error=\"%s\"", LOG_TEXT(e->msg));
    end_walk(k);
}

static void
empty(struct cancel_keys *k, const struct bus_entry *entry)
{
    bus_publish(k->bus,
                &(struct bus_publication){.subject = entry->subject,
                                          .data = "",
                                          .expect = (int64_t)entry->revision},
                ANSWER_MS, on_emptied, k);
}

/* Whether nobody needs the key: the result of a cancelled task holds the
 * request. A ledger that is made anew reads the others, which are few. */
static bool
is_over(struct cancel_keys *k, const struct bus_entry *entry)
{
    char task[SUBJECT_TOKEN_MAX + 1];
    enum state state;
    struct err e;

    if (!subject_token_at(entry->subject, 3, task))
        return false;
    if (db_state(k->db, task, &state, &e) == 0)
        return state == STATE_CANCELLED;
    log_warn("cancel.state", "task=%s error=\"%s\"", task, LOG_TEXT(e.msg));
    return false;
}

static void
on_key(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct cancel_keys *k = ctx;

    if (e || !entry) {
        end_walk(k);
        return;
    }
    k->next_seq = entry->revision + 1;
    if (entry->len > 0 && is_over(k, entry)) {
        empty(k, entry);
        return;
    }
    if (entry->len > 0)
        k->met_live = true;
    if (!k->met_live)
        k->first_live = k->next_seq;
    look_at_next(k);
}

static void
on_timer(void *ctx)
{
    struct cancel_keys *k = ctx;

    k->waiting = false;
    k->walking = true;
    k->began_ms = loop_now_ms();
    k->next_seq = k->first_live;
    k->met_live = false;
    look_at_next(k);
}

void
cancel_keys_wake(struct cancel_keys *k)
{
    if (k->walking)
        k->again = true;
    else if (!k->waiting)
        walk_in(k, WAIT_MS);
}

struct cancel_keys *
cancel_keys_open(struct bus *b, struct loop *l, struct db *db)
{
    struct cancel_keys *k = MEM_NEW(struct cancel_keys);

    k->bus = b;
    k->db = db;
    k->first_live = 1;
    k->waiting = true;
    k->timer = loop_timer_start(l, WAIT_MS, 0, on_timer, k);
    return k;
}

void
cancel_keys_close(struct cancel_keys *k)
{
    if (!k)
        return;
    bus_forget(k->bus, k);
    loop_timer_stop(k->timer);
    mem_free(k);
}
