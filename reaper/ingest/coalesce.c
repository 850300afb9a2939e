#include "reaper/ingest/coalesce.h"

#include "lib/base/feature.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <string.h>

enum {
    BUCKETS = 32768,     /* of names; some two names in each at the most */
    ENDED = 16384,       /* tasks whose results are remembered for a while */
    WAITING_MOST = 1024, /* messages that wait without being held */
};

enum coalesce_line {
    LINE_READY, /* results and cancels */
    LINE_SOON,
    LINE_PAIR,
    LINE_HELD,
    LINE_CHOSEN, /* the next to be taken, in this order */
    LINE_TAKEN,
    N_LINES,
};

/* A task that a message is about. */
struct name {
    struct name *next; /* in its bucket */
    struct coalesced *item;
    uint64_t hash; /* of the id: who shares it is taken along, no more */
};

struct coalesced {
    struct coalesced *prev, *next; /* in its line */
    enum coalesce_line line;
    struct entry entry;
    int64_t at_ms;
    size_t n_names;
    struct name names[];
};

struct ends {
    struct coalesced *first, *last;
    size_t n;
};

struct coalesce {
    bool off; /* nothing is held: all is taken in its order */
    struct ends lines[N_LINES];
    size_t held_bytes[2], n_held[2]; /* submissions, decisions */
    int64_t loaded_until_ms;
    struct name **buckets; /* NULL until a name is added */
    size_t n_names;
    uint64_t *ended; /* hashes of ids, each at its place; NULL until one is */
};

struct coalesce *
coalesce_new(void)
{
    struct coalesce *q = MEM_NEW(struct coalesce);

    q->off = !feature_on(FEATURE_COALESCE);
    return q;
}

/* --- names ---------------------------------------------------------------- */

static struct name **
bucket(struct coalesce *q, uint64_t hash)
{
    return &q->buckets[(hash >> 32 ^ hash) % BUCKETS];
}

static void
add_names(struct coalesce *q, struct coalesced *item)
{
    if (item->n_names && !q->buckets)
        q->buckets = mem_zero(BUCKETS, sizeof *q->buckets);
    for (size_t i = 0; i < item->n_names; i++) {
        struct name *n = &item->names[i], **at = bucket(q, n->hash);

        n->item = item;
        n->next = *at;
        *at = n;
    }
    q->n_names += item->n_names;
}

static void
remove_names(struct coalesce *q, struct coalesced *item)
{
    for (size_t i = 0; i < item->n_names; i++) {
        struct name *n = &item->names[i], **at = bucket(q, n->hash);

        while (*at != n)
            at = &(*at)->next;
        *at = n->next;
    }
    q->n_names -= item->n_names;
    item->n_names = 0;
}

/* Streams overtake each other: what comes of a task whose result was taken is
 * not to wait for that. */
static void
note_end(struct coalesce *q, uint64_t hash)
{
    if (!q->ended)
        q->ended = mem_zero(ENDED, sizeof *q->ended);
    q->ended[hash % ENDED] = hash;
}

static bool
has_ended(const struct coalesce *q, const struct coalesced *item)
{
    for (size_t i = 0; q->ended && i < item->n_names; i++)
        if (q->ended[item->names[i].hash % ENDED] == item->names[i].hash)
            return true;
    return false;
}

/* --- lines ---------------------------------------------------------------- */

static void
leave(struct coalesce *q, struct coalesced *item)
{
    struct ends *line = &q->lines[item->line];
    int kind = item->entry.kind == EVENT_ROUTED;

    *(item->prev ? &item->prev->next : &line->first) = item->next;
    *(item->next ? &item->next->prev : &line->last) = item->prev;
    line->n--;
    if (item->line == LINE_HELD) {
        q->held_bytes[kind] -= item->entry.msg->len;
        q->n_held[kind]--;
    }
}

static void
enter(struct coalesce *q, struct coalesced *item, enum coalesce_line which)
{
    struct ends *line = &q->lines[which];
    int kind = item->entry.kind == EVENT_ROUTED;

    item->line = which;
    item->prev = line->last;
    item->next = NULL;
    *(item->prev ? &item->prev->next : &line->first) = item;
    line->last = item;
    line->n++;
    if (which == LINE_HELD) {
        q->held_bytes[kind] += item->entry.msg->len;
        q->n_held[kind]++;
    }
}

static void
item_free(struct coalesced *item)
{
    mem_free(item->entry.verdicts.list);
    mem_free(item);
}

void
coalesce_free(struct coalesce *q)
{
    struct coalesced *item;

    if (!q)
        return;
    for (int i = 0; i < N_LINES; i++)
        while ((item = q->lines[i].first) != NULL) {
            leave(q, item);
            bus_msg_retry(item->entry.msg, 0);
            item_free(item);
        }
    mem_free(q->buckets);
    mem_free(q->ended);
    mem_free(q);
}

void
coalesce_trim(struct coalesce *q)
{
    if (q->n_names)
        return;
    mem_free(q->buckets);
    mem_free(q->ended);
    q->buckets = NULL;
    q->ended = NULL;
}

bool
coalesce_is_empty(const struct coalesce *q)
{
    for (int i = 0; i < N_LINES; i++)
        if (q->lines[i].n)
            return false;
    return true;
}

bool
coalesce_has_ready(const struct coalesce *q)
{
    return q->lines[LINE_READY].n > 0;
}

/* --- what comes ----------------------------------------------------------- */

static bool
is_loaded(const struct coalesce *q, int64_t now_ms)
{
    return now_ms < q->loaded_until_ms;
}

void
coalesce_loaded(struct coalesce *q, int64_t now_ms)
{
    q->loaded_until_ms = now_ms + COALESCE_LOAD_MS;
}

/* What an entry of that kind may consist of, one or many. */
static enum codec_type
type_of(const struct entry *entry, bool member)
{
    switch (entry->kind) {
    case EVENT_ACCEPTED:
        return member ? CODEC_TASK : CODEC_TASKS;
    case EVENT_ROUTED:
        return member ? CODEC_ROUTED_TASK : CODEC_ROUTED_TASKS;
    case EVENT_RESULT:
    case EVENT_CANCEL:
        break;
    }
    return member ? CODEC_RESULT : CODEC_RESULTS;
}

/* Opens what entry holds as a message of many; one task alone is its only
 * member. */
static bool
open_members(const struct entry *entry, struct codec_bulk *out)
{
    const struct bus_msg *m = entry->msg;
    struct err e;

    if (entry->kind != EVENT_ACCEPTED ||
        strcmp(m->subject, SUBJECT_TASKS_BULK) == 0)
        return codec_bulk_open(out, type_of(entry, false), m->data, m->len,
                               &e) == 0;
    *out = (struct codec_bulk){.type = CODEC_TASKS,
                               .alone = true,
                               .count = 1,
                               .at = m->data,
                               .end = m->data + m->len};
    return true;
}

/* Its ids are not seen without reading all of it, which is the book's work. */
static bool
is_json(const struct bus_msg *m)
{
    return m->len > 0 && m->data[0] == '{';
}

/* A new item for entry, with the names of its tasks; *held is false if one
 * cannot be seen, or has to wait for something, which is looked at soon. */
static struct coalesced *
item_new(const struct coalesce *q, const struct entry *entry, bool *held)
{
    struct codec_bulk members;
    struct codec_glimpse seen;
    struct bytes data;
    struct coalesced *item;

    *held = false;
    if (q->off ||
        (entry->kind != EVENT_ACCEPTED && entry->kind != EVENT_ROUTED) ||
        is_json(entry->msg) || !open_members(entry, &members)) {
        item = mem_zero(1, sizeof *item);
        item->entry = *entry;
        return item;
    }
    item = mem_zero(1, sizeof *item + members.count * sizeof *item->names);
    item->entry = *entry;
    *held = true;
    while (codec_bulk_next(&members, &data)) {
        if (!codec_glimpse(type_of(entry, true), data.data, data.len, &seen)) {
            *held = false;
            continue;
        }
        if (seen.waits)
            *held = false;
        item->names[item->n_names++].hash =
            hash_add(HASH_EMPTY, seen.task, seen.len);
    }
    codec_bulk_close(&members);
    return item;
}

static enum coalesce_line
line_of(const struct coalesce *q, const struct coalesced *item, bool held,
        int64_t now_ms)
{
    int kind = item->entry.kind == EVENT_ROUTED;

    if (item->entry.kind == EVENT_RESULT || item->entry.kind == EVENT_CANCEL)
        return LINE_READY;
    if (!held || !is_loaded(q, now_ms) || has_ended(q, item))
        return LINE_SOON;
    /* Those held longest are over first: they stay, and others pass. */
    return q->n_held[kind] < COALESCE_HELD_MOST &&
                   q->held_bytes[kind] + item->entry.msg->len <=
                       COALESCE_HELD_BYTES
               ? LINE_HELD
               : LINE_PAIR;
}

void
coalesce_add(struct coalesce *q, const struct entry *entry, int64_t now_ms)
{
    bool held;
    struct coalesced *item = item_new(q, entry, &held);

    item->at_ms = now_ms;
    add_names(q, item);
    enter(q, item, line_of(q, item, held, now_ms));
}

/* --- what goes ------------------------------------------------------------ */

static int64_t
least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* When the first of a line is to be taken. */
static int64_t
line_due_ms(const struct coalesce *q, enum coalesce_line line)
{
    static const int64_t waits_ms[N_LINES] = {[LINE_SOON] = COALESCE_SOON_MS,
                                              [LINE_PAIR] = COALESCE_PAIR_MS,
                                              [LINE_HELD] = COALESCE_HOLD_MS};
    const struct coalesced *item = q->lines[line].first;
    int64_t due_ms;

    if (!item)
        return INT64_MAX;
    due_ms = item->at_ms + waits_ms[line];
    if (line == LINE_SOON)
        return q->lines[line].n > WAITING_MOST ? 0 : due_ms;
    if (line == LINE_PAIR && q->lines[line].n > WAITING_MOST)
        return 0;
    return least(due_ms, q->loaded_until_ms);
}

int64_t
coalesce_due_ms(const struct coalesce *q)
{
    if (q->lines[LINE_CHOSEN].n)
        return 0;
    return least(line_due_ms(q, LINE_SOON),
                 least(line_due_ms(q, LINE_PAIR), line_due_ms(q, LINE_HELD)));
}

static void
choose(struct coalesce *q, struct coalesced *item)
{
    leave(q, item);
    remove_names(q, item);
    enter(q, item, LINE_CHOSEN);
}

/* Chooses what waits of the task of that hash. */
static void
choose_named(struct coalesce *q, uint64_t hash)
{
    struct name *n;

    while (q->n_names) {
        n = *bucket(q, hash);
        while (n && n->hash != hash)
            n = n->next;
        if (!n)
            return;
        choose(q, n->item); /* its names are gone */
    }
}

/* Submissions or decisions that have waited for long enough, with what there
 * is of the same tasks. */
static void
choose_due(struct coalesce *q, struct coalesced *item)
{
    size_t n = item->n_names;

    choose(q, item);
    for (size_t i = 0; i < n; i++)
        choose_named(q, item->names[i].hash);
}

/* What waits of the tasks that a result or a cancel is about, then itself. */
static void
choose_ready(struct coalesce *q, struct coalesced *item)
{
    const struct bus_msg *m = item->entry.msg;
    char task[SUBJECT_TOKEN_MAX + 1];
    struct codec_bulk members;
    struct codec_glimpse seen;
    struct bytes data;

    if (item->entry.kind == EVENT_CANCEL) {
        if (subject_token_at(m->subject, 3, task))
            choose_named(q, hash_text(task));
    } else if (open_members(&item->entry, &members)) {
        while (codec_bulk_next(&members, &data))
            if (codec_glimpse(CODEC_RESULT, data.data, data.len, &seen)) {
                uint64_t hash = hash_add(HASH_EMPTY, seen.task, seen.len);

                choose_named(q, hash);
                note_end(q, hash);
            }
        codec_bulk_close(&members);
    }
    choose(q, item);
}

static void
choose_next(struct coalesce *q, int64_t now_ms, bool all)
{
    if (q->lines[LINE_READY].first) {
        choose_ready(q, q->lines[LINE_READY].first);
        return;
    }
    for (enum coalesce_line l = LINE_SOON; l <= LINE_HELD; l++)
        if (q->lines[l].first && (all || line_due_ms(q, l) <= now_ms)) {
            choose_due(q, q->lines[l].first);
            return;
        }
}

/* Without coalescing: a result takes along all that came before it. */
static void
choose_in_order(struct coalesce *q, int64_t now_ms, bool all)
{
    struct coalesced *item = q->lines[LINE_SOON].first;
    struct coalesced *ready = q->lines[LINE_READY].first;

    if (!item || !(all || ready || line_due_ms(q, LINE_SOON) <= now_ms))
        item = ready;
    if (item)
        choose(q, item);
}

const struct entry *
coalesce_take(struct coalesce *q, int64_t now_ms, bool all)
{
    struct coalesced *item;

    if (!q->lines[LINE_CHOSEN].first)
        (q->off ? choose_in_order : choose_next)(q, now_ms, all);
    item = q->lines[LINE_CHOSEN].first;
    if (!item)
        return NULL;
    leave(q, item);
    enter(q, item, LINE_TAKEN);
    return &item->entry;
}

void
coalesce_done(struct coalesce *q)
{
    struct coalesced *item;

    while ((item = q->lines[LINE_TAKEN].first) != NULL) {
        leave(q, item);
        if (item->entry.verdicts.again_ms)
            bus_msg_retry(item->entry.msg, item->entry.verdicts.again_ms);
        else
            bus_msg_done(item->entry.msg);
        item_free(item);
    }
}
