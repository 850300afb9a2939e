/*
 * delivery - what a lane brings, one task or many in a message.
 *
 * A message is settled as a whole, when each of its tasks is. One alone is
 * given back to the broker when it is not over. One of many is not, as the
 * others would come again with it: it is sent to its lane once more, by itself,
 * and counts as settled when that is stored. So is what nobody here had room
 * for in time.
 *
 * The tasks of a message begin in their order as there is room.
 */
#include "workers/core/worker_private.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/model/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    CROWDED_MS = 250, /* lanes together brought more than there is room */
    DEAD_LETTER_BYTES = 256 * 1024,
};

/* A publication that a delivery waits for: a task that is sent on, or the dead
 * letter of what is none. */
struct pending_publish {
    struct pending_publish *next, *prev;
    struct delivery *of;
};

/* --- deliveries --------------------------------------------------------------
 */

static struct delivery *
delivery_new(struct lane *lane, struct bus_msg *m,
             const struct codec_bulk *tasks)
{
    struct worker *w = lane->worker;
    struct delivery *p = MEM_NEW(struct delivery);

    p->lane = lane;
    p->msg = m;
    p->tasks = *tasks;
    p->many = !tasks->alone;
    p->open = 1;
    p->again_ms = -1;
    p->next = w->deliveries;
    if (p->next)
        p->next->prev = p;
    w->deliveries = p;
    return p;
}

static void
settle(struct delivery *p)
{
    if (p->left)
        bus_msg_drop(p->msg);
    else if (p->again_ms >= 0)
        bus_msg_retry(p->msg, p->again_ms);
    else
        bus_msg_done(p->msg);
}

void
delivery_release(struct delivery *p)
{
    struct worker *w = p->lane->worker;

    if (--p->open > 0)
        return;
    settle(p);
    if (p->prev)
        p->prev->next = p->next;
    else
        w->deliveries = p->next;
    if (p->next)
        p->next->prev = p->prev;
    mem_free(p);
    worker_check_drained(w);
}

static bool
in_hand(const struct worker *w, const struct lane *lane, uint64_t seq)
{
    for (const struct delivery *p = w->deliveries; p; p = p->next)
        if (p->lane == lane && p->msg->seq == seq)
            return true;
    return false;
}

/* --- what they wait for --------------------------------------------------- */

static void
pending_free(struct pending_publish *d)
{
    struct worker *w = d->of->lane->worker;

    if (d->prev)
        d->prev->next = d->next;
    else
        w->pending = d->next;
    if (d->next)
        d->next->prev = d->prev;
    mem_free(d);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct pending_publish *d = ctx;
    struct delivery *p = d->of;

    (void)stored;
    if (e) /* only what trying again does not help: later, perhaps elsewhere */
        p->again_ms = p->lane->worker->conf->lease_ms;
    pending_free(d);
    delivery_release(p);
}

/* Publishes msg until it is stored; p is not settled before. */
static void
publish(struct delivery *p, const char *subject, const char *id,
        enum codec_type type, const void *msg)
{
    struct worker *w = p->lane->worker;
    struct pending_publish *d = MEM_NEW(struct pending_publish);
    struct bus_publication what = {
        .subject = subject, .id = id, .expect = BUS_ANY_REVISION};

    str_reset(&w->scratch);
    codec_encode(type, msg, &w->scratch);
    what.data = w->scratch.data;
    what.len = w->scratch.len;
    d->of = p;
    d->next = w->pending;
    if (d->next)
        d->next->prev = d;
    w->pending = d;
    p->open++;
    bus_publish_until(w->bus, &what, on_stored, d);
}

void
delivery_send_on(struct delivery *p, const struct routed_task *routed)
{
    struct routed_task again = *routed;
    char subject[SUBJECT_SIZE], id[TASK_ID_SIZE + 16];

    again.drive++; /* for the ledger it is somewhere else now */
    log_debug("task.sent_on", "task=%s drive=%u", again.task->id, again.drive);
    (void)snprintf(id, sizeof id, "%s:r%u", again.task->id, again.drive);
    (void)subject_task(subject, p->lane->worker->ex->name, p->lane->name);
    publish(p, subject, id, CODEC_ROUTED_TASK, &again);
}

/* What is no task goes to dead.<backend>. number: in a message of many, from 1;
 * else 0. */
static void
bury(struct delivery *p, struct bytes data, size_t number, const char *reason)
{
    const char *backend = p->lane->worker->ex->name;
    const struct bus_msg *m = p->msg;
    char subject[SUBJECT_SIZE], id[SUBJECT_TOKEN_MAX + 48];
    struct dead_letter letter;

    log_error("task.unreadable",
              "subject=%s seq=%" PRIu64 " number=%zu error=\"%s\"", m->subject,
              m->seq, number, LOG_TEXT(reason));
    codec_init(CODEC_DEAD_LETTER, &letter);
    letter.process = backend;
    letter.subject = m->subject;
    letter.reason = reason;
    letter.stream_seq = m->seq;
    letter.payload.data = data.len ? data.data : NULL;
    letter.payload.len =
        data.len < DEAD_LETTER_BYTES ? data.len : DEAD_LETTER_BYTES;
    letter.payload_bytes = data.len;
    letter.at_ms = str_wall_ms();
    if (number)
        (void)snprintf(id, sizeof id, "%s:%" PRIu64 ".%zu", backend, m->seq,
                       number);
    else
        (void)snprintf(id, sizeof id, "%s:%" PRIu64, backend, m->seq);
    publish(p, subject_dead(subject, backend), id, CODEC_DEAD_LETTER, &letter);
}

/* --- tasks that have not begun -------------------------------------------- */

static void
append_waiting(struct worker *w, struct delivery *p)
{
    p->wait_ms = loop_now_ms() + PREFETCH_WAIT_MS;
    if (w->waiting_last)
        w->waiting_last->waiting_next = p;
    else
        w->waiting = p;
    w->waiting_last = p;
    w->n_waiting += p->tasks.count;
    if (p->many)
        deadlines_at(w, p->wait_ms);
}

/* Takes out the first of those that wait; all its tasks have begun. */
static void
shift_waiting(struct worker *w)
{
    struct delivery *p = w->waiting;

    w->waiting = p->waiting_next;
    if (!w->waiting)
        w->waiting_last = NULL;
    p->waiting_next = NULL;
    p->msg =
        bus_msg_shed(p->msg); /* all of it is in the pools of the attempts */
    delivery_release(p);
}

/*
 * Reads the next task of the first that waits, into a pool the caller gives
 * back. False: there was none that could be read.
 */
static bool
read_next(struct delivery *p, struct mem_pool *pool, struct routed_task *out)
{
    size_t number = p->many ? p->tasks.number + 1 : 0;
    struct bytes data;
    struct err e;

    p->lane->worker->n_waiting--;
    if (!codec_bulk_next(&p->tasks, &data))
        return false;
    if (codec_decode(CODEC_ROUTED_TASK, data.data, data.len, pool, out, &e) ==
        0)
        return true;
    bury(p, data, number, e.msg);
    return false;
}

static void
begin_next(struct worker *w)
{
    struct delivery *p = w->waiting;
    struct mem_pool *pool = attempt_pool_take(w);
    struct routed_task routed;
    const struct attempt *a;

    if (!read_next(p, pool, &routed)) {
        attempt_pool_give(w, pool);
    } else if ((a = attempt_find(w, routed.task->id)) != NULL) {
        /* A second copy: the first is enough. A second delivery: to settle
         * it would settle the first. */
        if (a->delivery != p && a->delivery->msg->seq == p->msg->seq) {
            bus_msg_progress(p->msg);
            p->left = true;
        }
        attempt_pool_give(w, pool);
    } else {
        p->wait_ms = loop_now_ms() + PREFETCH_WAIT_MS;
        p->open++;
        attempt_begin(p, pool, &routed);
    }
    if (p->tasks.number == p->tasks.count)
        shift_waiting(w);
}

void
delivery_begin_waiting(void *worker)
{
    struct worker *w = worker;

    while (w->waiting && capacity_free(w) > 0)
        begin_next(w);
}

/* Sends on what has not begun of the first that waits. */
static void
send_on_rest(struct worker *w)
{
    struct delivery *p = w->waiting;
    struct mem_pool *pool = attempt_pool_take(w);
    struct routed_task routed;

    while (p->tasks.number < p->tasks.count) {
        mem_pool_reset(pool);
        if (read_next(p, pool, &routed))
            delivery_send_on(p, &routed);
    }
    attempt_pool_give(w, pool);
    shift_waiting(w);
}

void
delivery_send_on_waiting(struct worker *w)
{
    while (w->waiting)
        send_on_rest(w);
}

int64_t
delivery_send_on_overdue(struct worker *w, int64_t now_ms)
{
    /* Nothing here was quick after all: others may have a slot. */
    while (w->waiting && w->waiting->wait_ms <= now_ms) {
        log_info("task.sent_on", "seq=%" PRIu64 " tasks=%zu",
                 w->waiting->msg->seq,
                 w->waiting->tasks.count - w->waiting->tasks.number);
        prefetch_returned(&w->ahead, now_ms);
        send_on_rest(w);
    }
    return w->waiting ? w->waiting->wait_ms : INT64_MAX;
}

/* --- arrival -------------------------------------------------------------- */

static void
refuse(struct lane *lane, struct bus_msg *m, const char *reason)
{
    const struct codec_bulk none = {.alone = true};
    struct delivery *p = delivery_new(lane, m, &none);

    bury(p, (struct bytes){m->data, m->len}, 0, reason);
    delivery_release(p);
}

void
delivery_on_message(void *ctx, struct bus_msg *m)
{
    struct lane *lane = ctx;
    struct worker *w = lane->worker;
    struct codec_bulk tasks;
    struct err e;

    FAILPOINT("worker.after_fetch");
    if (codec_bulk_open(&tasks, CODEC_ROUTED_TASKS, m->data, m->len, &e) < 0) {
        refuse(lane, m, e.msg);
        return;
    }
    lane->members = (unsigned)tasks.count;
    if (tasks.alone && capacity_free(w) <= w->n_waiting) {
        bus_msg_retry(m, CROWDED_MS);
    } else if (!tasks.alone && m->delivered > 1 && in_hand(w, lane, m->seq)) {
        bus_msg_progress(m);
        bus_msg_drop(m);
    } else {
        append_waiting(w, delivery_new(lane, m, &tasks));
        delivery_begin_waiting(w);
        capacity_set_windows(w, NULL);
    }
}

/* --- the end of the worker ------------------------------------------------ */

void
delivery_drop_all(struct worker *w)
{
    for (struct delivery *p = w->deliveries; p; p = p->next)
        p->left = true;
    while (w->pending) {
        struct delivery *p = w->pending->of;

        bus_forget(w->bus, w->pending);
        pending_free(w->pending);
        delivery_release(p);
    }
    while (w->attempts)
        attempt_drop(w->attempts);
    while (w->waiting)
        shift_waiting(w);
}
