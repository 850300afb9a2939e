#include "reaper/db/db_private.h"

#include <stdlib.h>
#include <string.h>

/* --- positions, quarantine, reports --------------------------------------- */

int
db_position(struct db *s, const char *consumer, uint64_t seq, struct err *e)
{
    db_bind_text(s, Q_POSITION, 1, consumer);
    db_bind_int(s, Q_POSITION, 2, (int64_t)seq);
    return db_run(s, Q_POSITION, e);
}

int
db_position_get(struct db *s, const char *consumer, uint64_t *out,
                struct err *e)
{
    int rc;

    *out = 0;
    db_bind_text(s, Q_POSITION_GET, 1, consumer);
    rc = db_step(s, Q_POSITION_GET, e);
    if (rc > 0)
        *out = (uint64_t)sqlite3_column_int64(s->q[Q_POSITION_GET], 0);
    db_done(s, Q_POSITION_GET);
    return rc < 0 ? -1 : 0;
}

/* Whether so many messages are kept that further ones go without payload. */
static int
quarantine_full(struct db *s, bool *out, struct err *e)
{
    int rc;

    db_bind_int(s, Q_COUNTER, 1, DB_QUARANTINE_KEPT);
    rc = db_step(s, Q_COUNTER, e);
    *out = rc > 0 &&
           sqlite3_column_int64(s->q[Q_COUNTER], 0) >= DB_QUARANTINE_KEPT;
    db_done(s, Q_COUNTER);
    return rc < 0 ? -1 : 0;
}

int
db_quarantine(struct db *s, const struct quarantine *q, const char *name,
              struct err *e)
{
    size_t len = q->len;
    bool full;

    if (quarantine_full(s, &full, e) < 0)
        return -1;
    if (full || !q->payload)
        len = 0;
    else if (len > DB_QUARANTINE_BYTES)
        len = DB_QUARANTINE_BYTES;
    db_bind_text(s, Q_QUARANTINE, 1, q->stream);
    db_bind_int(s, Q_QUARANTINE, 2, (int64_t)q->seq);
    db_bind_int(s, Q_QUARANTINE, 3, q->at_ms);
    db_bind_text(s, Q_QUARANTINE, 4, q->subject);
    db_bind_text(s, Q_QUARANTINE, 5, q->reason);
    db_bind_int(s, Q_QUARANTINE, 6, (int64_t)q->len);
    if (len)
        (void)sqlite3_bind_blob64(s->q[Q_QUARANTINE], 7, q->payload, len,
                                  SQLITE_STATIC);
    if (db_run(s, Q_QUARANTINE, e) < 0)
        return -1;
    if (sqlite3_changes(s->db) > 0)
        db_count(s, "", name, 1);
    return 0;
}

int
db_report_name(struct db *s, const char *name, const char *owner, bool *ours,
               struct err *e)
{
    int rc;

    db_bind_text(s, Q_NAME_PUT, 1, name);
    db_bind_text(s, Q_NAME_PUT, 2, owner);
    if (db_run(s, Q_NAME_PUT, e) < 0)
        return -1;
    db_bind_text(s, Q_NAME_OWNER, 1, name);
    rc = db_step(s, Q_NAME_OWNER, e);
    *ours = rc > 0 &&
            strcmp((const char *)sqlite3_column_text(s->q[Q_NAME_OWNER], 0),
                   owner) == 0;
    db_done(s, Q_NAME_OWNER);
    return rc < 0 ? -1 : 0;
}

/* A report's plain name belongs to the first of its name that was accepted,
 * whatever ended first: a replay names the same. */
static int
is_first(struct db *s, enum statement which, const char *name, const char *id,
         bool *out, struct err *e)
{
    int rc;

    db_bind_text(s, which, 1, name);
    rc = db_step(s, which, e);
    *out = rc > 0 &&
           strcmp((const char *)sqlite3_column_text(s->q[which], 0), id) == 0;
    db_done(s, which);
    return rc < 0 ? -1 : 0;
}

int
db_is_first(struct db *s, bool batch, const char *name, const char *id,
            bool *out, struct err *e)
{
    return is_first(s, batch ? Q_BATCH_NAME_FIRST : Q_NAME_FIRST, name, id, out,
                    e);
}

int
db_reported(struct db *s, bool batch, int64_t n, const char *path, bool changed,
            struct err *e)
{
    enum statement which = batch ? Q_BATCH_REPORTED : Q_REPORTED;

    db_bind_int(s, which, 1, n);
    db_bind_text(s, which, 2, path);
    db_bind_int(s, which, 3, changed);
    return db_run(s, which, e);
}

int
db_counters(struct db *s, db_counter_fn *fn, void *ctx, struct err *e)
{
    sqlite3_stmt *q = s->q[Q_COUNTERS];
    int rc;

    while ((rc = db_step(s, Q_COUNTERS, e)) > 0)
        fn(ctx, (const char *)sqlite3_column_text(q, 0),
           (const char *)sqlite3_column_text(q, 1), sqlite3_column_int64(q, 2));
    db_done(s, Q_COUNTERS);
    return rc;
}

/* --- lists ---------------------------------------------------------------- */

/* Appends the numbers of a statement whose parameters are bound. */
int
db_collect(struct db *s, enum statement which, int64_t *out, int n, int most,
           struct err *e)
{
    int rc;

    while (n < most && (rc = db_step(s, which, e)) != 0) {
        if (rc < 0) {
            db_done(s, which);
            return -1;
        }
        out[n++] = sqlite3_column_int64(s->q[which], 0);
    }
    db_done(s, which);
    return n;
}

static int
newest_first(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x < *y) - (*x > *y);
}

/* Each state has its own run in the index; the newest of all runs are among
 * the newest of each. */
static int
list_states(struct db *s, const struct db_query *q, int64_t before,
            int64_t *out, struct err *e)
{
    int64_t all[2 * DB_PAGE_MAX];
    int n = 0, limit = (int)q->limit;

    for (int state = 1; state < STATE_COUNT; state++) {
        if (!(q->states >> state & 1))
            continue;
        db_bind_int(s, Q_LIST_STATE, 1, before);
        db_bind_int(s, Q_LIST_STATE, 2, limit);
        db_bind_int(s, Q_LIST_STATE, 3, state);
        n = db_collect(s, Q_LIST_STATE, all, n, n + limit, e);
        if (n < 0)
            return -1;
        qsort(all, (size_t)n, sizeof *all, newest_first);
        if (n > limit)
            n = limit;
    }
    memcpy(out, all, (size_t)n * sizeof *out);
    return n;
}

int
db_list(struct db *s, const struct db_query *q, int64_t *out, struct err *e)
{
    int64_t before = q->before > 0 ? q->before : INT64_MAX;
    struct db_query own = *q;
    enum statement which = Q_LIST;

    if (own.limit > DB_PAGE_MAX)
        own.limit = DB_PAGE_MAX;
    if (!*own.batch && own.states)
        return list_states(s, &own, before, out, e);
    if (*own.batch)
        which = own.states ? Q_LIST_BATCH_STATES : Q_LIST_BATCH;
    db_bind_int(s, which, 1, before);
    db_bind_int(s, which, 2, own.limit);
    if (*own.batch)
        db_bind_text(s, which, 3, own.batch);
    if (which == Q_LIST_BATCH_STATES)
        db_bind_int(s, which, 4, own.states);
    return db_collect(s, which, out, 0, (int)own.limit, e);
}

struct batch_member {
    int64_t n, index;
};

static int
by_index(const void *a, const void *b)
{
    const struct batch_member *x = a, *y = b;

    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return (x->n > y->n) - (x->n < y->n);
}

/* Appends the first of one kind to all, which has room, and keeps the first of
 * all; -1: error. */
static int
add_members(struct db *s, enum statement which, const char *batch,
            int64_t states, unsigned limit, struct batch_member *all, size_t *n,
            struct err *e)
{
    sqlite3_stmt *q = s->q[which];
    int rc;

    db_bind_text(s, which, 1, batch);
    db_bind_int(s, which, 2, states);
    db_bind_int(s, which, 3, limit);
    while ((rc = db_step(s, which, e)) > 0)
        all[(*n)++] = (struct batch_member){sqlite3_column_int64(q, 0),
                                            sqlite3_column_int64(q, 1)};
    db_done(s, which);
    qsort(all, *n, sizeof *all, by_index);
    if (*n > limit)
        *n = limit;
    return rc;
}

int
db_members(struct db *s, const char *batch, uint32_t states, unsigned limit,
           struct mem_pool *pool, int64_t **out, struct err *e)
{
    struct batch_member *all = mem_alloc(2 * (size_t)limit * sizeof *all);
    uint32_t open = states & ((1u << STATE_SUCCEEDED) - 1);
    size_t n = 0;
    int rc = 0;

    if (open)
        rc = add_members(s, Q_MEMBERS_OPEN, batch, open, limit, all, &n, e);
    for (int state = STATE_SUCCEEDED; state < STATE_COUNT && rc >= 0; state++)
        if (states >> state & 1)
            rc = add_members(s, Q_MEMBERS, batch, state, limit, all, &n, e);
    *out = mem_pool_alloc(pool, n * sizeof **out);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = all[i].n;
    mem_free(all);
    return rc < 0 ? -1 : (int)n;
}

int
db_todo(struct db *s, enum db_todo what, int64_t after, unsigned limit,
        int64_t *out, struct err *e)
{
    static const enum statement which[DB_TODO_COUNT] = {
        [DB_BLOCKED] = Q_BLOCKED,
        [DB_CANCELLED] = Q_CANCELLED,
        [DB_DUE] = Q_DUE,
        [DB_DUE_BATCH] = Q_DUE_BATCH,
    };

    db_bind_int(s, which[what], 1, after);
    db_bind_int(s, which[what], 2, limit);
    return db_collect(s, which[what], out, 0, (int)limit, e);
}

/* --- selectors ------------------------------------------------------------ */

/* The first column of the first two rows. */
static int
ids(struct db *s, enum statement which, char out[2][TASK_ID_SIZE],
    struct err *e)
{
    int n = 0, rc = 0;

    while (n < 2 && (rc = db_step(s, which, e)) > 0) {
        const char *id = (const char *)sqlite3_column_text(s->q[which], 0);
        size_t len = id ? strlen(id) : 0;

        if (len >= TASK_ID_SIZE)
            len = TASK_ID_SIZE - 1;
        if (len)
            memcpy(out[n], id, len);
        out[n++][len] = '\0';
    }
    db_done(s, which);
    return rc < 0 ? -1 : n;
}

struct finders {
    enum statement exact, last, by_name, by_prefix;
    const char *what;
};

static int
find_prefix(struct db *s, const struct finders *f, const char *prefix,
            char found[2][TASK_ID_SIZE], struct err *e)
{
    char end[TASK_ID_SIZE + 1];
    size_t len = strlen(prefix);
    int n;

    if (len == 0 || len >= TASK_ID_SIZE)
        return 0;
    memcpy(end, prefix, len);
    end[len] = '\x7f'; /* behind every character an id may have */
    end[len + 1] = '\0';
    db_bind_text(s, f->by_prefix, 1, prefix);
    db_bind_text(s, f->by_prefix, 2, end);
    n = ids(s, f->by_prefix, found, e);
    if (n == 2)
        return err_set(e, ERR_CONFLICT,
                       "\"%s\" begins the ids of several %ss: %s, %s, ...; "
                       "type more of it",
                       prefix, f->what, found[0], found[1]);
    return n;
}

/* An exact name is meant, a prefix may be an accident: a full id, then `last`,
 * then names, then prefixes. */
static int
find(struct db *s, const struct finders *f, const char *selector,
     char id[TASK_ID_SIZE], struct err *e)
{
    char found[2][TASK_ID_SIZE];
    struct mem_pool *pool = mem_pool_new();
    struct task_state task;
    struct batch_state batch;
    int n;

    n = f->exact == Q_TASK ? db_task(s, selector, pool, &task, e)
                           : db_batch(s, selector, pool, &batch, e);
    mem_pool_free(pool);
    if (n > 0)
        (void)memcpy(found[0], selector, strlen(selector) + 1);
    if (n == 0 && strcmp(selector, "last") == 0) {
        n = ids(s, f->last, found, e);
    } else if (n == 0) {
        db_bind_text(s, f->by_name, 1, selector);
        n = ids(s, f->by_name, found, e);
        if (n == 0)
            n = find_prefix(s, f, selector, found, e);
    }
    if (n > 0)
        memcpy(id, found[0], TASK_ID_SIZE);
    return n;
}

int
db_find_task(struct db *s, const char *selector, char id[TASK_ID_SIZE],
             struct err *e)
{
    static const struct finders f = {Q_TASK, Q_LAST, Q_BY_NAME, Q_BY_PREFIX,
                                     "task"};

    return find(s, &f, selector, id, e);
}

int
db_find_batch(struct db *s, const char *selector, char id[TASK_ID_SIZE],
              struct err *e)
{
    static const struct finders f = {Q_BATCH, Q_BATCH_LAST, Q_BATCH_BY_NAME,
                                     Q_BATCH_BY_PREFIX, "batch"};

    return find(s, &f, selector, id, e);
}
