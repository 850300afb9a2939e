/*
 * Walks over the keys, one request after the other, and purges those whose task
 * is cancelled. A walk that took long is not repeated soon.
 */
#include "reaper/schedule/cancel_keys.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/subject.h"
#include "lib/model/task_state.h"

#include <inttypes.h>
#include <stdio.h>
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
on_purged(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct cancel_keys *k = ctx;

    (void)note;
    if (!e) {
        look_at_next(k);
        return;
    }
    log_warn("cancel.purge", "error=\"%s\"", LOG_TEXT(e->msg));
    end_walk(k);
}

/* Not a newer request, which would be for nothing, but comes to be seen. */
static void
purge(struct cancel_keys *k, const struct bus_entry *entry)
{
    char body[SUBJECT_SIZE + 64];

    (void)snprintf(body, sizeof body, "{\"filter\":\"%s\",\"seq\":%" PRIu64 "}",
                   entry->subject, entry->revision + 1);
    bus_request(k->bus, "$JS.API.STREAM.PURGE.KV_control", body, strlen(body),
                ANSWER_MS, on_purged, k);
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
    if (is_over(k, entry))
        purge(k, entry);
    else
        look_at_next(k);
}

static void
on_timer(void *ctx)
{
    struct cancel_keys *k = ctx;

    k->waiting = false;
    k->walking = true;
    k->began_ms = loop_now_ms();
    k->next_seq = 1;
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
