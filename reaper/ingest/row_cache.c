#include "reaper/ingest/row_cache.h"

#include "lib/base/feature.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"

#include <string.h>

enum {
    FULL_BYTES = 2 * 1024 * 1024, /* in the pool */
    FULL_BATCHES = 64,
};

struct cached_batch {
    struct cached_batch *next;
    struct batch_state batch;
};

struct row_cache {
    struct db *store;
    struct mem_pool *pool;
    struct cached_row *first, **last;
    struct hash_table by_id;
    struct cached_batch *batches;
    size_t n_batches;
    struct row_cache_news news;
    size_t cap_batches; /* of news.batches */
};

struct row_cache *
row_cache_new(struct db *store)
{
    struct row_cache *s = MEM_NEW(struct row_cache);

    s->store = store;
    s->pool = mem_pool_new();
    s->last = &s->first;
    return s;
}

void
row_cache_free(struct row_cache *s)
{
    if (!s)
        return;
    hash_table_free(&s->by_id);
    mem_pool_free(s->pool);
    mem_free(s->news.batches);
    mem_free(s);
}

struct mem_pool *
row_cache_pool(struct row_cache *s)
{
    return s->pool;
}

bool
row_cache_is_full(const struct row_cache *s)
{
    return !feature_on(FEATURE_ROW_CACHE) || s->n_batches >= FULL_BATCHES ||
           mem_pool_bytes(s->pool) > FULL_BYTES;
}

const struct row_cache_news *
row_cache_news(const struct row_cache *s)
{
    return &s->news;
}

static void
forget_rows(struct row_cache *s)
{
    hash_table_clear(&s->by_id);
    s->first = NULL;
    s->last = &s->first;
    s->batches = NULL;
    s->n_batches = 0;
    mem_pool_reset(s->pool);
}

void
row_cache_begin(struct row_cache *s)
{
    forget_rows(s);
    s->news.due = s->news.schedule = false;
    s->news.n_batches = 0;
}

/* --- rows ----------------------------------------------------------------- */

int
row_cache_row(struct row_cache *s, const char *id, struct cached_row **out,
              struct err *e)
{
    struct cached_row *r = hash_table_find(&s->by_id, id);
    int rc;

    if (r) {
        *out = r;
        return 0;
    }
    r = mem_pool_alloc(s->pool, sizeof *r);
    rc = db_task(s->store, id, s->pool, &r->row, e);
    if (rc < 0)
        return -1;
    if (rc == 0)
        fold_init(&r->row, mem_pool_strdup(s->pool, id));
    r->before = r->row;
    hash_table_add(&s->by_id, &r->link, r->row.id);
    *s->last = r;
    s->last = &r->next;
    *out = r;
    return 0;
}

int
row_cache_attempt(struct row_cache *s, struct cached_row *row, uint32_t attempt,
                  uint64_t fence, struct cached_attempt **out, struct err *e)
{
    struct cached_attempt *a = row->attempts;

    while (a && (a->attempt.attempt != attempt || a->attempt.fence != fence))
        a = a->next;
    if (!a) {
        struct attempt_row found = {0};

        /* Beyond the highest number seen there is nothing to look for. */
        if (attempt <= row->before.attempts &&
            db_attempt(s->store, row->before.n, attempt, fence, s->pool, &found,
                       e) < 0)
            return -1;
        a = mem_pool_alloc(s->pool, sizeof *a);
        a->attempt = found;
        a->attempt.attempt = attempt;
        a->attempt.fence = fence;
        a->next = row->attempts;
        row->attempts = a;
    }
    *out = a;
    return 0;
}

/* --- writing -------------------------------------------------------------- */

static void
tell_of_batch(struct row_cache *s, const char *id)
{
    struct row_cache_news *n = &s->news;

    for (size_t i = n->n_batches; i > 0; i--)
        if (strcmp(n->batches[i - 1], id) == 0)
            return;
    n->batches =
        mem_grow(n->batches, n->n_batches, &s->cap_batches, sizeof *n->batches);
    (void)str_copy(n->batches[n->n_batches++], TASK_ID_SIZE, id);
}

static int
find_batch(struct row_cache *s, const char *id, struct batch_state **out,
           struct err *e)
{
    struct cached_batch *b = s->batches;
    int rc;

    while (b && strcmp(b->batch.b.id, id) != 0)
        b = b->next;
    if (!b) {
        b = mem_pool_alloc(s->pool, sizeof *b);
        rc = db_batch(s->store, id, s->pool, &b->batch, e);
        if (rc < 0)
            return -1;
        if (rc == 0)
            fold_batch_init(&b->batch, id);
        b->next = s->batches;
        s->batches = b;
        s->n_batches++;
    }
    *out = &b->batch;
    return 0;
}

static int
add_to_batch(struct row_cache *s, const char *id, const struct cached_row *r,
             struct err *e)
{
    struct batch_state *batch;

    if (!subject_token_ok(id))
        return 0;
    if (find_batch(s, id, &batch, e) < 0)
        return -1;
    fold_batch(batch, &r->before, &r->row);
    if (batch->report_due)
        s->news.due = true;
    if (state_is_terminal(r->row.state))
        tell_of_batch(s, id);
    return 0;
}

/* What of the row is to be written: what the events that changed it touch, if
 * they touched no more than that. */
static enum db_part
part_of(const struct cached_row *r)
{
    enum { ROUTED = 1u << EVENT_ROUTED, RESULT = 1u << EVENT_RESULT };
    const struct task_state *before = &r->before, *after = &r->row;

    if (after->task_from != before->task_from ||
        strcmp(after->batch, before->batch) != 0)
        return DB_WHOLE;
    if (r->changed_by == ROUTED)
        return DB_ROUTING;
    if (r->changed_by == (ROUTED | RESULT))
        return DB_RUN;
    /* A result may say where it ran before that was decided. */
    if (r->changed_by == RESULT &&
        strcmp(after->backend, before->backend) == 0 &&
        strcmp(after->lane, before->lane) == 0)
        return DB_OUTCOME;
    return DB_WHOLE;
}

static int
write_row(struct row_cache *s, struct cached_row *r, struct err *e)
{
    const struct task_state *before = &r->before, *after = &r->row;

    if (db_put_task(s->store, &r->row, part_of(r), e) < 0)
        return -1;
    for (struct cached_attempt *a = r->attempts; a; a = a->next)
        if (a->changed &&
            db_put_attempt(s->store, after->n, &a->attempt, e) < 0)
            return -1;
    fold_counts(before, after, db_count, s->store);
    if (*before->batch && strcmp(before->batch, after->batch) != 0 &&
        add_to_batch(s, before->batch, r, e) < 0)
        return -1;
    if (*after->batch && add_to_batch(s, after->batch, r, e) < 0)
        return -1;
    if (after->report_due)
        s->news.due = true;
    if (after->state == STATE_BLOCKED || state_is_terminal(after->state) ||
        after->cancel_at_ms)
        s->news.schedule = true;
    return 0;
}

int
row_cache_write(struct row_cache *s, struct err *e)
{
    for (struct cached_row *r = s->first; r; r = r->next)
        if (r->changed_by && write_row(s, r, e) < 0)
            return -1;
    for (struct cached_batch *b = s->batches; b; b = b->next)
        if (db_put_batch(s->store, &b->batch, e) < 0)
            return -1;
    forget_rows(s);
    return 0;
}
