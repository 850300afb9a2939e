/*
 * Keeps the rows of a transaction in a hash table by id, in the order in which
 * they were first seen, together with their attempts and batches; writes them,
 * and the counters and batches that follow from them, in one go.
 */
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
    struct db *db;
    struct mem_pool *pool;
    STAILQ_HEAD(, cached_row) rows;
    struct hash_table by_id;
    struct cached_batch *batches;
    size_t n_batches;
    struct row_cache_changes changes;
    size_t cap_batches; /* of changes.batches */
};

struct row_cache *
row_cache_new(struct db *db)
{
    struct row_cache *c = MEM_NEW(struct row_cache);

    c->db = db;
    c->pool = mem_pool_new();
    STAILQ_INIT(&c->rows);
    return c;
}

void
row_cache_free(struct row_cache *c)
{
    if (!c)
        return;
    hash_table_free(&c->by_id);
    mem_pool_free(c->pool);
    mem_free(c->changes.batches);
    mem_free(c);
}

struct mem_pool *
row_cache_pool(struct row_cache *c)
{
    return c->pool;
}

bool
row_cache_is_full(const struct row_cache *c)
{
    return !feature_on(FEATURE_ROW_CACHE) || c->n_batches >= FULL_BATCHES ||
           mem_pool_bytes(c->pool) > FULL_BYTES;
}

const struct row_cache_changes *
row_cache_changes(const struct row_cache *c)
{
    return &c->changes;
}

void
row_cache_note_cancel(struct row_cache *c)
{
    c->changes.cancels = true;
}

static void
forget_rows(struct row_cache *c)
{
    hash_table_clear(&c->by_id);
    STAILQ_INIT(&c->rows);
    c->batches = NULL;
    c->n_batches = 0;
    mem_pool_reset(c->pool);
}

void
row_cache_begin(struct row_cache *c)
{
    forget_rows(c);
    c->changes.report_due = c->changes.schedule = c->changes.cancels = false;
    c->changes.n_batches = 0;
}

/* --- rows ----------------------------------------------------------------- */

int
row_cache_row(struct row_cache *c, const char *id, struct cached_row **out,
              struct err *e)
{
    struct cached_row *r = hash_table_find(&c->by_id, id);
    int rc;

    if (r) {
        *out = r;
        return 0;
    }
    r = mem_pool_alloc(c->pool, sizeof *r);
    rc = db_task(c->db, id, c->pool, &r->row, e);
    if (rc < 0)
        return -1;
    if (rc == 0)
        fold_init(&r->row, mem_pool_strdup(c->pool, id));
    r->before = r->row;
    hash_table_add(&c->by_id, &r->link, r->row.id);
    STAILQ_INSERT_TAIL(&c->rows, r, next);
    *out = r;
    return 0;
}

int
row_cache_attempt(struct row_cache *c, struct cached_row *row, uint32_t attempt,
                  uint64_t fence, struct cached_attempt **out, struct err *e)
{
    struct cached_attempt *a = row->attempts;

    while (a && (a->attempt.attempt != attempt || a->attempt.fence != fence))
        a = a->next;
    if (!a) {
        struct attempt_row found = {0};

        /* No attempt beyond the highest number seen is recorded. */
        if (attempt <= row->before.attempts &&
            db_attempt(c->db, row->before.n, attempt, fence, c->pool, &found,
                       e) < 0)
            return -1;
        a = mem_pool_alloc(c->pool, sizeof *a);
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
note_batch(struct row_cache *c, const char *id)
{
    struct row_cache_changes *n = &c->changes;

    for (size_t i = n->n_batches; i > 0; i--)
        if (strcmp(n->batches[i - 1], id) == 0)
            return;
    n->batches =
        mem_grow(n->batches, n->n_batches, &c->cap_batches, sizeof *n->batches);
    (void)str_copy(n->batches[n->n_batches++], TASK_ID_SIZE, id);
}

static int
find_batch(struct row_cache *c, const char *id, struct batch_state **out,
           struct err *e)
{
    struct cached_batch *b = c->batches;
    int rc;

    while (b && strcmp(b->batch.b.id, id) != 0)
        b = b->next;
    if (!b) {
        b = mem_pool_alloc(c->pool, sizeof *b);
        rc = db_batch(c->db, id, c->pool, &b->batch, e);
        if (rc < 0)
            return -1;
        if (rc == 0)
            fold_batch_init(&b->batch, id);
        b->next = c->batches;
        c->batches = b;
        c->n_batches++;
    }
    *out = &b->batch;
    return 0;
}

static int
add_to_batch(struct row_cache *c, const char *id, const struct cached_row *r,
             struct err *e)
{
    struct batch_state *batch;

    if (!subject_token_ok(id))
        return 0;
    if (find_batch(c, id, &batch, e) < 0)
        return -1;
    fold_batch(batch, &r->before, &r->row);
    if (batch->report_due)
        c->changes.report_due = true;
    if (state_is_terminal(r->row.state))
        note_batch(c, id);
    return 0;
}

/* The part of the row that its events changed. */
static enum db_part
part_of(const struct cached_row *r)
{
    enum { ROUTED = 1u << EVENT_ROUTED, RESULT = 1u << EVENT_RESULT };
    const struct task_state *before = &r->before, *after = &r->row;

    if (after->task_from != before->task_from ||
        after->cancel_at_ms != before->cancel_at_ms ||
        strcmp(after->batch, before->batch) != 0)
        return DB_WHOLE;
    if (r->changed_by == ROUTED)
        return DB_ROUTING;
    if (r->changed_by == (ROUTED | RESULT))
        return DB_RUN;
    /* A result sets backend and lane if it arrives before the decision. */
    if (r->changed_by == RESULT &&
        strcmp(after->backend, before->backend) == 0 &&
        strcmp(after->lane, before->lane) == 0)
        return DB_OUTCOME;
    return DB_WHOLE;
}

static int
write_row(struct row_cache *c, struct cached_row *r, struct err *e)
{
    const struct task_state *before = &r->before, *after = &r->row;

    if (db_put_task(c->db, &r->row, part_of(r), e) < 0)
        return -1;
    for (struct cached_attempt *a = r->attempts; a; a = a->next)
        if (a->changed && db_put_attempt(c->db, after->n, &a->attempt, e) < 0)
            return -1;
    fold_counts(before, after, db_count, c->db);
    if (*before->batch && strcmp(before->batch, after->batch) != 0 &&
        add_to_batch(c, before->batch, r, e) < 0)
        return -1;
    if (*after->batch && add_to_batch(c, after->batch, r, e) < 0)
        return -1;
    if (after->report_due)
        c->changes.report_due = true;
    if (after->state == STATE_BLOCKED || state_is_terminal(after->state) ||
        after->cancel_at_ms)
        c->changes.schedule = true;
    if (after->cancel_at_ms && state_is_terminal(after->state))
        c->changes.cancels = true;
    return 0;
}

int
row_cache_write(struct row_cache *c, struct err *e)
{
    struct cached_row *r;

    STAILQ_FOREACH (r, &c->rows, next)
        if (r->changed_by && write_row(c, r, e) < 0)
            return -1;
    for (struct cached_batch *b = c->batches; b; b = b->next)
        if (db_put_batch(c->db, &b->batch, e) < 0)
            return -1;
    forget_rows(c);
    return 0;
}
