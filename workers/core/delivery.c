/*
 * Takes apart what a lane delivers and keeps each message until all its tasks
 * are settled. Tasks wait in the order of their messages and begin through the
 * callback the owner gave; what is not a task goes to dead.<backend>. A message
 * also waits for what is published on its behalf: tasks sent on, dead letters.
 */
#include "workers/core/delivery.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "workers/core/capacity.h"
#include "workers/core/worker_types.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    CROWDED_MS = 250, /* lanes together delivered more than there is room for */
    DEAD_LETTER_BYTES = 256 * 1024,
    POOL_BYTES = 3072, /* of a pool at first: an attempt, and a small task */
    POOLS_MOST = 64,   /* kept for the next tasks */
};

struct deliveries {
    delivery_begin_fn *begin;
    void (*all_settled)(struct worker *w);
    LIST_HEAD(all_deliveries, delivery) all;
    STAILQ_HEAD(waiting_queue, delivery) waiting; /* first come, first begun */
    struct mem_pool *pools[POOLS_MOST];
    unsigned n_pools;
};

/* --- messages ------------------------------------------------------------- */

static struct delivery *
delivery_new(struct lane *lane, struct bus_msg *m,
             const struct codec_multi *tasks)
{
    struct deliveries *all = lane->worker->deliveries;
    struct delivery *d = MEM_NEW(struct delivery);

    d->lane = lane;
    d->msg = m;
    d->tasks = *tasks;
    d->many = !tasks->alone;
    d->open = 1;
    d->again_ms = -1;
    LIST_INSERT_HEAD(&all->all, d, entry);
    return d;
}

static void
settle(struct delivery *d)
{
    if (d->left)
        bus_msg_drop(d->msg);
    else if (d->again_ms >= 0)
        bus_msg_retry(d->msg, d->again_ms);
    else
        bus_msg_done(d->msg);
}

void
delivery_release(struct delivery *d)
{
    struct worker *w = d->lane->worker;

    if (--d->open > 0)
        return;
    settle(d);
    LIST_REMOVE(d, entry);
    mem_free(d);
    if (!delivery_is_any(w))
        w->deliveries->all_settled(w);
}

bool
delivery_is_any(const struct worker *w)
{
    return !LIST_EMPTY(&w->deliveries->all);
}

static bool
in_hand(const struct lane *lane, uint64_t seq)
{
    const struct delivery *d;

    for (d = LIST_FIRST(&lane->worker->deliveries->all); d;
         d = LIST_NEXT(d, entry))
        if (d->lane == lane && d->msg->seq == seq)
            return true;
    return false;
}

struct mem_pool *
delivery_pool_take(struct worker *w)
{
    struct deliveries *all = w->deliveries;

    return all->n_pools ? all->pools[--all->n_pools]
                        : mem_pool_sized(POOL_BYTES);
}

void
delivery_pool_give(struct worker *w, struct mem_pool *pool)
{
    struct deliveries *all = w->deliveries;

    if (all->n_pools == POOLS_MOST) {
        mem_pool_free(pool);
        return;
    }
    mem_pool_reset(pool);
    all->pools[all->n_pools++] = pool;
}

/* --- what is published for them ------------------------------------------- */

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct delivery *d = ctx;

    (void)stored;
    d->pending--;
    if (e) /* trying at once does not help: later, perhaps elsewhere */
        d->again_ms = d->lane->worker->conf->lease_ms;
    delivery_release(d);
}

/* Publishes msg until it is stored; d is not settled before. */
static void
publish(struct delivery *d, const char *subject, const char *id,
        enum codec_type type, const void *msg)
{
    struct worker *w = d->lane->worker;
    struct bus_publication what = {
        .subject = subject, .id = id, .expect = BUS_ANY_REVISION};

    str_reset(&w->scratch);
    codec_encode(type, msg, &w->scratch);
    what.data = w->scratch.data;
    what.len = w->scratch.len;
    d->open++;
    d->pending++;
    bus_publish_until(w->bus, &what, on_stored, d);
}

/* Publishes one task of many to its lane again, by itself. */
static void
send_on(struct delivery *d, const struct routed_task *routed)
{
    struct routed_task again = *routed;
    char subject[SUBJECT_SIZE], id[TASK_ID_SIZE + 16];

    again.drive++; /* the ledger knows another place of it from now on */
    log_debug("task.sent_on", "task=%s drive=%u", again.task->id, again.drive);
    (void)snprintf(id, sizeof id, "%s:r%u", again.task->id, again.drive);
    (void)subject_task(subject, d->lane->worker->ex->name, d->lane->name);
    publish(d, subject, id, CODEC_ROUTED_TASK, &again);
}

void
delivery_retry(struct delivery *d, const struct routed_task *routed,
               int64_t delay_ms)
{
    if (d->many)
        send_on(d, routed);
    else
        d->again_ms = delay_ms;
}

/* What was read instead of a task or a claim, of message seq of a stream. */
static void
publish_dead(struct delivery *d, const char *of, uint64_t seq,
             struct bytes data, const char *id, const char *reason)
{
    const char *backend = d->lane->worker->ex->name;
    char subject[SUBJECT_SIZE];
    struct dead_letter letter;

    codec_init(CODEC_DEAD_LETTER, &letter);
    letter.process = backend;
    letter.subject = of;
    letter.reason = reason;
    letter.stream_seq = seq;
    letter.payload.data = data.len ? data.data : NULL;
    letter.payload.len =
        data.len < DEAD_LETTER_BYTES ? data.len : DEAD_LETTER_BYTES;
    letter.payload_bytes = data.len;
    letter.at_ms = str_wall_ms();
    publish(d, subject_dead(subject, backend), id, CODEC_DEAD_LETTER, &letter);
}

/* Publishes what is not a task to dead.<backend>. number: in a message of many,
 * from 1; else 0. */
static void
dead_task(struct delivery *d, struct bytes data, size_t number,
          const char *reason)
{
    const char *backend = d->lane->worker->ex->name;
    const struct bus_msg *m = d->msg;
    char id[SUBJECT_TOKEN_MAX + 48];

    log_error("task.unreadable",
              "subject=%s seq=%" PRIu64 " number=%zu error=\"%s\"", m->subject,
              m->seq, number, LOG_TEXT(reason));
    if (number)
        (void)snprintf(id, sizeof id, "%s:%" PRIu64 ".%zu", backend, m->seq,
                       number);
    else
        (void)snprintf(id, sizeof id, "%s:%" PRIu64, backend, m->seq);
    publish_dead(d, m->subject, m->seq, data, id, reason);
}

void
delivery_dead_claim(struct delivery *d, const struct bus_entry *entry,
                    const char *reason)
{
    char id[SUBJECT_TOKEN_MAX + 48];

    log_error("claim.unreadable",
              "subject=%s revision=%" PRIu64 " error=\"%s\"",
              LOG_TEXT(entry->subject), entry->revision, LOG_TEXT(reason));
    (void)snprintf(id, sizeof id, "%s:claim:%" PRIu64,
                   d->lane->worker->ex->name, entry->revision);
    publish_dead(d, entry->subject, entry->revision,
                 (struct bytes){entry->data, entry->len}, id, reason);
}

/* --- tasks that wait ------------------------------------------------------ */

static void
append_waiting(struct worker *w, struct delivery *d)
{
    struct deliveries *all = w->deliveries;

    d->wait_ms = loop_now_ms() + PREFETCH_WAIT_MS;
    STAILQ_INSERT_TAIL(&all->waiting, d, queue);
    w->n_waiting += d->tasks.count;
    if (d->many)
        deadlines_wake(w->deadlines, d->wait_ms);
}

/* Removes the first of those that wait: all its tasks have begun. */
static void
shift_waiting(struct deliveries *all)
{
    struct delivery *d = STAILQ_FIRST(&all->waiting);

    STAILQ_REMOVE_HEAD(&all->waiting, queue);
    d->msg = bus_msg_shed(d->msg); /* its tasks are in pools of their own */
    delivery_release(d);
}

/* Decodes the next task of d into pool. False if it cannot be read. */
static bool
read_next(struct delivery *d, struct mem_pool *pool, struct routed_task *out)
{
    size_t number = d->many ? d->tasks.number + 1 : 0;
    struct bytes data;
    struct err e;

    d->lane->worker->n_waiting--;
    if (!codec_multi_next(&d->tasks, &data))
        return false;
    if (codec_decode(CODEC_ROUTED_TASK, data.data, data.len, pool, out, &e) ==
        0)
        return true;
    dead_task(d, data, number, e.msg);
    return false;
}

static void
begin_next(struct worker *w)
{
    struct delivery *d = STAILQ_FIRST(&w->deliveries->waiting);
    struct mem_pool *pool = delivery_pool_take(w);
    struct routed_task routed;

    d->open++;
    if (read_next(d, pool, &routed) && w->deliveries->begin(d, pool, &routed)) {
        d->wait_ms = loop_now_ms() + PREFETCH_WAIT_MS;
    } else {
        d->open--;
        delivery_pool_give(w, pool);
    }
    if (d->tasks.number == d->tasks.count)
        shift_waiting(w->deliveries);
}

void
delivery_begin_waiting(void *worker)
{
    struct worker *w = worker;

    while (!STAILQ_EMPTY(&w->deliveries->waiting) && capacity_free(w) > 0)
        begin_next(w);
}

/* Sends on what has not begun of the first that waits. */
static void
send_on_rest(struct worker *w)
{
    struct delivery *d = STAILQ_FIRST(&w->deliveries->waiting);
    struct mem_pool *pool = delivery_pool_take(w);
    struct routed_task routed;

    while (d->tasks.number < d->tasks.count) {
        mem_pool_reset(pool);
        if (read_next(d, pool, &routed))
            send_on(d, &routed);
    }
    delivery_pool_give(w, pool);
    shift_waiting(w->deliveries);
}

void
delivery_send_on_waiting(struct worker *w)
{
    while (!STAILQ_EMPTY(&w->deliveries->waiting))
        send_on_rest(w);
}

int64_t
delivery_send_on_due(struct worker *w, int64_t now_ms)
{
    const struct delivery *d;

    /* The tasks before them are not short after all: others may have a slot. */
    while ((d = STAILQ_FIRST(&w->deliveries->waiting)) &&
           d->wait_ms <= now_ms) {
        log_info("task.sent_on", "seq=%" PRIu64 " tasks=%zu", d->msg->seq,
                 d->tasks.count - d->tasks.number);
        prefetch_returned(&w->prefetch, now_ms);
        send_on_rest(w);
    }
    return d ? d->wait_ms : INT64_MAX;
}

/* --- arrival -------------------------------------------------------------- */

static void
refuse(struct lane *lane, struct bus_msg *m, const char *reason)
{
    const struct codec_multi none = {.alone = true};
    struct delivery *d = delivery_new(lane, m, &none);

    dead_task(d, (struct bytes){m->data, m->len}, 0, reason);
    delivery_release(d);
}

void
delivery_on_message(void *ctx, struct bus_msg *m)
{
    struct lane *lane = ctx;
    struct worker *w = lane->worker;
    struct codec_multi tasks;
    struct err e;

    FAILPOINT("worker.after_fetch");
    if (codec_multi_open(&tasks, CODEC_ROUTED_TASKS, m->data, m->len, &e) < 0) {
        refuse(lane, m, e.msg);
        return;
    }
    lane->members = (unsigned)tasks.count;
    if (tasks.alone && capacity_free(w) <= w->n_waiting) {
        bus_msg_retry(m, CROWDED_MS);
    } else if (!tasks.alone && m->delivered > 1 && in_hand(lane, m->seq)) {
        bus_msg_progress(m);
        bus_msg_drop(m);
    } else {
        append_waiting(w, delivery_new(lane, m, &tasks));
        delivery_begin_waiting(w);
        capacity_set_windows(w, NULL);
    }
}

/* --- opening and closing -------------------------------------------------- */

void
delivery_open(struct worker *w, delivery_begin_fn *begin,
              void (*all_settled)(struct worker *w))
{
    w->deliveries = MEM_NEW(struct deliveries);
    STAILQ_INIT(&w->deliveries->waiting);
    w->deliveries->begin = begin;
    w->deliveries->all_settled = all_settled;
}

void
delivery_close(struct worker *w)
{
    struct deliveries *all = w->deliveries;
    struct delivery *d;

    while ((d = LIST_FIRST(&all->all))) {
        if (d->pending)
            bus_forget(w->bus, d);
        d->left = true;
        d->open = 1;
        delivery_release(d);
    }
    while (all->n_pools)
        mem_pool_free(all->pools[--all->n_pools]);
    mem_free(all);
}
