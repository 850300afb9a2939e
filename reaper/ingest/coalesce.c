/*
 * A message stands in one of several queues, first in, first out: ready, soon,
 * pair and held say how long it may wait; chosen messages are taken next. A
 * hash table finds what waits by the task's id, so that a result takes along
 * what is there of its tasks. Ids are compared by their hash alone: a collision
 * takes a message along too early, no more.
 */
#include "reaper/ingest/coalesce.h"

#include "lib/base/feature.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <sys/queue.h>

enum {
    BUCKETS = 32768,     /* of task ids; two ids in each at most, on average */
    ENDED = 16384,       /* tasks whose results are remembered for a while */
    WAITING_MOST = 1024, /* messages in QUEUE_SOON, and in QUEUE_PAIR */
};

enum which_queue {
    QUEUE_READY, /* results and cancels */
    QUEUE_SOON,
    QUEUE_PAIR,
    QUEUE_HELD,
    QUEUE_CHOSEN, /* the next to be taken, in this order */
    QUEUE_TAKEN,
    N_QUEUES,
};

/* A task that a message is about. */
struct task_key {
    LIST_ENTRY(task_key) link; /* in its bucket */
    struct item *item;
    uint64_t hash; /* of the id */
};

/* A message. */
struct item {
    TAILQ_ENTRY(item) link; /* in its queue */
    enum which_queue queue;
    struct entry entry;
    int64_t at_ms;
    size_t n_keys;
    struct task_key keys[];
};

struct queue {
    TAILQ_HEAD(, item) items;
    size_t n;
};

struct coalesce {
    bool off; /* nothing is held: all is taken in its order */
    struct queue queues[N_QUEUES];
    size_t held_bytes[2], n_held[2]; /* submissions, decisions */
    int64_t loaded_until_ms;
    LIST_HEAD(bucket, task_key) * buckets; /* NULL until a key is added */
    size_t n_keys;
    uint64_t *ended; /* hashes of ids, each at its place; NULL until one is */
};

struct coalesce *
coalesce_new(void)
{
    struct coalesce *c = MEM_NEW(struct coalesce);

    c->off = !feature_on(FEATURE_COALESCE);
    for (int i = 0; i < N_QUEUES; i++)
        TAILQ_INIT(&c->queues[i].items);
    return c;
}

/* --- task ids ------------------------------------------------------------- */

static struct bucket *
bucket_of(struct coalesce *c, uint64_t hash)
{
    return &c->buckets[(hash >> 32 ^ hash) % BUCKETS];
}

static void
add_keys(struct coalesce *c, struct item *item)
{
    if (item->n_keys && !c->buckets)
        c->buckets = mem_zero(BUCKETS, sizeof *c->buckets);
    for (size_t i = 0; i < item->n_keys; i++) {
        struct task_key *k = &item->keys[i];

        k->item = item;
        LIST_INSERT_HEAD(bucket_of(c, k->hash), k, link);
    }
    c->n_keys += item->n_keys;
}

static void
remove_keys(struct coalesce *c, struct item *item)
{
    for (size_t i = 0; i < item->n_keys; i++)
        LIST_REMOVE(&item->keys[i], link);
    c->n_keys -= item->n_keys;
    item->n_keys = 0;
}

/* Streams overtake each other: what comes of a task whose result was taken
 * must not wait for that. */
static void
remember_end(struct coalesce *c, uint64_t hash)
{
    if (!c->ended)
        c->ended = mem_zero(ENDED, sizeof *c->ended);
    c->ended[hash % ENDED] = hash;
}

static bool
has_ended(const struct coalesce *c, const struct item *item)
{
    for (size_t i = 0; c->ended && i < item->n_keys; i++)
        if (c->ended[item->keys[i].hash % ENDED] == item->keys[i].hash)
            return true;
    return false;
}

/* --- queues --------------------------------------------------------------- */

static struct item *
first(const struct coalesce *c, enum which_queue which)
{
    return TAILQ_FIRST(&c->queues[which].items);
}

static void
leave(struct coalesce *c, struct item *item)
{
    struct queue *queue = &c->queues[item->queue];
    int kind = item->entry.kind == EVENT_ROUTED;

    TAILQ_REMOVE(&queue->items, item, link);
    queue->n--;
    if (item->queue == QUEUE_HELD) {
        c->held_bytes[kind] -= item->entry.msg->len;
        c->n_held[kind]--;
    }
}

static void
enter(struct coalesce *c, struct item *item, enum which_queue which)
{
    struct queue *queue = &c->queues[which];
    int kind = item->entry.kind == EVENT_ROUTED;

    item->queue = which;
    TAILQ_INSERT_TAIL(&queue->items, item, link);
    queue->n++;
    if (which == QUEUE_HELD) {
        c->held_bytes[kind] += item->entry.msg->len;
        c->n_held[kind]++;
    }
}

static void
item_free(struct item *item)
{
    mem_free(item->entry.verdicts.list);
    mem_free(item);
}

void
coalesce_free(struct coalesce *c)
{
    struct item *item;

    if (!c)
        return;
    for (enum which_queue i = 0; i < N_QUEUES; i++)
        while ((item = first(c, i)) != NULL) {
            leave(c, item);
            bus_msg_retry(item->entry.msg, 0);
            item_free(item);
        }
    mem_free(c->buckets);
    mem_free(c->ended);
    mem_free(c);
}

void
coalesce_trim(struct coalesce *c)
{
    if (c->n_keys)
        return;
    mem_free(c->buckets);
    mem_free(c->ended);
    c->buckets = NULL;
    c->ended = NULL;
}

bool
coalesce_is_empty(const struct coalesce *c)
{
    for (int i = 0; i < N_QUEUES; i++)
        if (c->queues[i].n)
            return false;
    return true;
}

bool
coalesce_has_ready(const struct coalesce *c)
{
    return c->queues[QUEUE_READY].n > 0;
}

/* --- adding --------------------------------------------------------------- */

void
coalesce_loaded(struct coalesce *c, int64_t now_ms)
{
    c->loaded_until_ms = now_ms + COALESCE_LOAD_MS;
}

/* JSON does not show its ids without being parsed, which is ingest's work. */
static bool
is_json(const struct bus_msg *m)
{
    return m->len > 0 && m->data[0] == '{';
}

/* A new item with the keys of its tasks. *held is false if an id cannot be
 * read, or a task waits for something, which the schedule is to look at soon.
 */
static struct item *
item_new(const struct coalesce *c, const struct entry *entry, bool *held)
{
    enum codec_type type =
        entry->kind == EVENT_ACCEPTED ? CODEC_TASK : CODEC_ROUTED_TASK;
    struct codec_multi members;
    struct codec_glimpse seen;
    struct bytes data;
    struct item *item;
    struct err e;

    *held = false;
    if (c->off ||
        (entry->kind != EVENT_ACCEPTED && entry->kind != EVENT_ROUTED) ||
        is_json(entry->msg) || entry_open(entry, &members, &e) < 0) {
        item = mem_zero(1, sizeof *item);
        item->entry = *entry;
        return item;
    }
    item = mem_zero(1, sizeof *item + members.count * sizeof *item->keys);
    item->entry = *entry;
    *held = true;
    while (codec_multi_next(&members, &data)) {
        if (!codec_glimpse(type, data.data, data.len, &seen)) {
            *held = false;
            continue;
        }
        if (seen.waits)
            *held = false;
        item->keys[item->n_keys++].hash =
            hash_add(HASH_EMPTY, seen.task, seen.len);
    }
    codec_multi_close(&members);
    return item;
}

static enum which_queue
queue_of(const struct coalesce *c, const struct item *item, bool held,
         int64_t now_ms)
{
    int kind = item->entry.kind == EVENT_ROUTED;

    if (item->entry.kind == EVENT_RESULT || item->entry.kind == EVENT_CANCEL)
        return QUEUE_READY;
    if (!held || now_ms >= c->loaded_until_ms || has_ended(c, item))
        return QUEUE_SOON;
    /* Those held longest end first: they stay, and others are not held. */
    return c->n_held[kind] < COALESCE_HELD_MOST &&
                   c->held_bytes[kind] + item->entry.msg->len <=
                       COALESCE_HELD_BYTES
               ? QUEUE_HELD
               : QUEUE_PAIR;
}

void
coalesce_add(struct coalesce *c, const struct entry *entry, int64_t now_ms)
{
    bool held;
    struct item *item = item_new(c, entry, &held);

    item->at_ms = now_ms;
    add_keys(c, item);
    enter(c, item, queue_of(c, item, held, now_ms));
}

/* --- taking --------------------------------------------------------------- */

static int64_t
least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When the first item of a queue is to be taken. */
static int64_t
queue_due_ms(const struct coalesce *c, enum which_queue which)
{
    static const int64_t waits_ms[N_QUEUES] = {[QUEUE_SOON] = COALESCE_SOON_MS,
                                               [QUEUE_PAIR] = COALESCE_PAIR_MS,
                                               [QUEUE_HELD] = COALESCE_HOLD_MS};
    const struct item *item = first(c, which);

    if (!item)
        return INT64_MAX;
    if (which != QUEUE_HELD && c->queues[which].n > WAITING_MOST)
        return 0;
    return least(item->at_ms + waits_ms[which],
                 which == QUEUE_SOON ? INT64_MAX : c->loaded_until_ms);
}

int64_t
coalesce_due_ms(const struct coalesce *c)
{
    if (c->queues[QUEUE_CHOSEN].n)
        return 0;
    return least(
        queue_due_ms(c, QUEUE_SOON),
        least(queue_due_ms(c, QUEUE_PAIR), queue_due_ms(c, QUEUE_HELD)));
}

static void
choose(struct coalesce *c, struct item *item)
{
    leave(c, item);
    remove_keys(c, item);
    enter(c, item, QUEUE_CHOSEN);
}

/* Chooses what waits of the task with that hash. */
static void
choose_task(struct coalesce *c, uint64_t hash)
{
    struct task_key *k;

    while (c->n_keys) {
        LIST_FOREACH (k, bucket_of(c, hash), link)
            if (k->hash == hash)
                break;
        if (!k)
            return;
        choose(c, k->item); /* its keys are gone */
    }
}

/* Chooses a submission or decision that has waited long enough, with what
 * there is of the same tasks. */
static void
choose_due(struct coalesce *c, struct item *item)
{
    size_t n = item->n_keys;

    choose(c, item);
    for (size_t i = 0; i < n; i++)
        choose_task(c, item->keys[i].hash);
}

/* Chooses what waits of the tasks of a result or cancel, and then itself. */
static void
choose_ready(struct coalesce *c, struct item *item)
{
    const struct bus_msg *m = item->entry.msg;
    char task[SUBJECT_TOKEN_MAX + 1];
    struct codec_multi members;
    struct codec_glimpse seen;
    struct bytes data;
    struct err e;

    if (item->entry.kind == EVENT_CANCEL) {
        if (subject_token_at(m->subject, 3, task))
            choose_task(c, hash_text(task));
    } else if (entry_open(&item->entry, &members, &e) == 0) {
        while (codec_multi_next(&members, &data))
            if (codec_glimpse(CODEC_RESULT, data.data, data.len, &seen)) {
                uint64_t hash = hash_add(HASH_EMPTY, seen.task, seen.len);

                choose_task(c, hash);
                remember_end(c, hash);
            }
        codec_multi_close(&members);
    }
    choose(c, item);
}

static void
choose_next(struct coalesce *c, int64_t now_ms, bool all)
{
    if (first(c, QUEUE_READY)) {
        choose_ready(c, first(c, QUEUE_READY));
        return;
    }
    for (enum which_queue i = QUEUE_SOON; i <= QUEUE_HELD; i++)
        if (first(c, i) && (all || queue_due_ms(c, i) <= now_ms)) {
            choose_due(c, first(c, i));
            return;
        }
}

/* Without coalescing: a result takes along all that came before it. */
static void
choose_in_order(struct coalesce *c, int64_t now_ms, bool all)
{
    struct item *item = first(c, QUEUE_SOON);
    struct item *ready = first(c, QUEUE_READY);

    if (!item || !(all || ready || queue_due_ms(c, QUEUE_SOON) <= now_ms))
        item = ready;
    if (item)
        choose(c, item);
}

struct entry *
coalesce_take(struct coalesce *c, int64_t now_ms, bool all)
{
    struct item *item;

    if (!first(c, QUEUE_CHOSEN))
        (c->off ? choose_in_order : choose_next)(c, now_ms, all);
    item = first(c, QUEUE_CHOSEN);
    if (!item)
        return NULL;
    leave(c, item);
    enter(c, item, QUEUE_TAKEN);
    return &item->entry;
}

void
coalesce_done(struct coalesce *c)
{
    struct item *item;

    while ((item = first(c, QUEUE_TAKEN)) != NULL) {
        leave(c, item);
        if (item->entry.verdicts.again_ms)
            bus_msg_retry(item->entry.msg, item->entry.verdicts.again_ms);
        else
            bus_msg_done(item->entry.msg);
        item_free(item);
    }
}
