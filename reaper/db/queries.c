/*
 * Answers questions across rows: lists, selectors, what has to be done, open
 * tasks of a lane, and the counters with their comparison to the rows.
 */
#include "reaper/db/db_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(STATE_SUBMITTED == 1 && STATE_BLOCKED == 4 &&
                   STATE_SUCCEEDED == 8,
               "the statements spell these numbers");

/* --- lists ---------------------------------------------------------------- */

int
db_collect(struct db *db, sqlite3_stmt *q, int64_t *out, int n, int most,
           struct err *e)
{
    int rc = 0;

    while (n < most && (rc = db_step(db, q, e)) > 0)
        out[n++] = sqlite3_column_int64(q, 0);
    db_done(q);
    return rc < 0 ? -1 : n;
}

int
db_newest_first(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x < *y) - (*x > *y);
}

/* The index holds a range per state; the newest rows of all are among the
 * newest of each. */
static int
list_states(struct db *db, const struct db_filter *filter, int64_t before,
            int64_t *out, struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, "SELECT n FROM tasks WHERE state = ?3 AND n < ?1 "
                   "ORDER BY n DESC LIMIT ?2");
    int64_t all[2 * DB_PAGE_MAX];
    int n = 0, limit = (int)filter->limit;

    for (int state = 1; state < STATE_COUNT; state++) {
        if (!(filter->states >> state & 1))
            continue;
        db_bind_int(q, 1, before);
        db_bind_int(q, 2, limit);
        db_bind_int(q, 3, state);
        n = db_collect(db, q, all, n, n + limit, e);
        if (n < 0)
            return -1;
        qsort(all, (size_t)n, sizeof *all, db_newest_first);
        if (n > limit)
            n = limit;
    }
    memcpy(out, all, (size_t)n * sizeof *out);
    return n;
}

int
db_list(struct db *db, const struct db_filter *filter, int64_t *out,
        struct err *e)
{
    int64_t before = filter->before > 0 ? filter->before : INT64_MAX;
    struct db_filter own = *filter;
    sqlite3_stmt *q;

    if (own.limit > DB_PAGE_MAX)
        own.limit = DB_PAGE_MAX;
    if (!*own.batch && own.states)
        return list_states(db, &own, before, out, e);
    if (*own.batch)
        q = own.states
                ? db_sql(db, "SELECT n FROM tasks WHERE batch = ?3 AND batch "
                             "<> '' AND n < ?1 "
                             "AND (?4 >> state) & 1 ORDER BY n DESC LIMIT ?2")
                : db_sql(db,
                         "SELECT n FROM tasks WHERE batch = ?3 AND batch <> '' "
                         "AND n < ?1 ORDER BY n DESC LIMIT ?2");
    else
        q = db_sql(db, "SELECT n FROM tasks WHERE n < ?1 AND state <> 1 "
                       "ORDER BY n DESC LIMIT ?2");
    db_bind_int(q, 1, before);
    db_bind_int(q, 2, own.limit);
    if (*own.batch)
        db_bind_text(q, 3, own.batch);
    if (*own.batch && own.states)
        db_bind_int(q, 4, own.states);
    return db_collect(db, q, out, 0, (int)own.limit, e);
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

/* Adds the first members a statement finds to all, which has room for them,
 * and keeps the first limit of all; -1: error. */
static int
add_members(struct db *db, sqlite3_stmt *q, const char *batch, int64_t states,
            unsigned limit, struct batch_member *all, size_t *n, struct err *e)
{
    int rc;

    db_bind_text(q, 1, batch);
    db_bind_int(q, 2, states);
    db_bind_int(q, 3, limit);
    while ((rc = db_step(db, q, e)) > 0)
        all[(*n)++] = (struct batch_member){sqlite3_column_int64(q, 0),
                                            sqlite3_column_int64(q, 1)};
    db_done(q);
    qsort(all, *n, sizeof *all, by_index);
    if (*n > limit)
        *n = limit;
    return rc;
}

int
db_members(struct db *db, const char *batch, uint32_t states, unsigned limit,
           struct mem_pool *pool, int64_t **out, struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, "SELECT n, batch_index FROM tasks "
                   "WHERE batch = ?1 AND batch <> '' AND state = ?2 "
                   "AND +state >= 8 ORDER BY batch_index, id LIMIT ?3");
    struct batch_member *all = mem_alloc(2 * (size_t)limit * sizeof *all);
    uint32_t open = states & ((1u << STATE_SUCCEEDED) - 1);
    size_t n = 0;
    int rc = 0;

    if (open)
        rc = add_members(db,
                         db_sql(db, "SELECT n, batch_index FROM tasks "
                                    "WHERE batch = ?1 AND batch <> '' "
                                    "AND (?2 >> state) & 1 AND state < 8 "
                                    "ORDER BY batch_index, id LIMIT ?3"),
                         batch, open, limit, all, &n, e);
    for (int state = STATE_SUCCEEDED; state < STATE_COUNT && rc >= 0; state++)
        if (states >> state & 1)
            rc = add_members(db, q, batch, state, limit, all, &n, e);
    *out = mem_pool_alloc(pool, n * sizeof **out);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = all[i].n;
    mem_free(all);
    return rc < 0 ? -1 : (int)n;
}

int
db_todo(struct db *db, enum db_todo what, int64_t after, unsigned limit,
        int64_t *out, struct err *e)
{
    static const char *const sql[DB_TODO_COUNT] = {
        [DB_BLOCKED] = "SELECT n FROM tasks WHERE state = 4 AND n > ?1 "
                       "ORDER BY n LIMIT ?2",
        [DB_CANCELLED] =
            "SELECT n FROM tasks WHERE cancel_at > 0 AND state < 8 "
            "AND state > 2 AND n > ?1 ORDER BY n LIMIT ?2",
        [DB_UNROUTED] = "SELECT n FROM tasks WHERE state = 2 AND n > ?1 "
                        "ORDER BY n LIMIT ?2",
        [DB_REPORT_DUE] = "SELECT n FROM tasks WHERE report_due = 1 AND n > ?1 "
                          "ORDER BY n LIMIT ?2",
        [DB_REPORT_DUE_BATCH] =
            "SELECT n FROM batches WHERE report_due = 1 AND n > ?1 "
            "ORDER BY n LIMIT ?2",
    };
    sqlite3_stmt *q = db_sql(db, sql[what]);

    db_bind_int(q, 1, after);
    db_bind_int(q, 2, limit);
    return db_collect(db, q, out, 0, (int)limit, e);
}

/* --- selectors ------------------------------------------------------------ */

/* The ids in the first two rows; returns how many there are. */
static int
ids(struct db *db, sqlite3_stmt *q, char out[2][TASK_ID_SIZE], struct err *e)
{
    int n = 0, rc = 0;

    while (n < 2 && (rc = db_step(db, q, e)) > 0)
        db_copy_text(q, 0, out[n++], TASK_ID_SIZE);
    db_done(q);
    return rc < 0 ? -1 : n;
}

struct finders {
    const char *what;
    bool batch;
    const char *last, *by_name, *by_prefix; /* statements */
};

static int
find_prefix(struct db *db, const struct finders *f, const char *prefix,
            char found[2][TASK_ID_SIZE], struct err *e)
{
    sqlite3_stmt *q = db_sql(db, f->by_prefix);
    char end[TASK_ID_SIZE + 1];
    size_t len = strlen(prefix);
    int n;

    if (len == 0 || len >= TASK_ID_SIZE)
        return 0;
    memcpy(end, prefix, len);
    end[len] = '\x7f'; /* behind every character an id may have */
    end[len + 1] = '\0';
    db_bind_text(q, 1, prefix);
    db_bind_text(q, 2, end);
    n = ids(db, q, found, e);
    if (n == 2)
        return err_set(e, ERR_CONFLICT,
                       "\"%s\" begins the ids of several %ss: %s, %s, ...; "
                       "type more of it",
                       prefix, f->what, found[0], found[1]);
    return n;
}

/* A name is deliberate, a prefix may match by accident: a full id comes first,
 * then `last`, then names, then prefixes. */
static int
find(struct db *db, const struct finders *f, const char *selector,
     char id[TASK_ID_SIZE], struct err *e)
{
    char found[2][TASK_ID_SIZE];
    struct mem_pool *pool = mem_pool_new();
    struct task_state task;
    struct batch_state batch;
    sqlite3_stmt *q;
    int n;

    n = f->batch ? db_batch(db, selector, pool, &batch, e)
                 : db_task(db, selector, pool, &task, e);
    mem_pool_free(pool);
    if (n > 0)
        (void)memcpy(found[0], selector, strlen(selector) + 1);
    if (n == 0 && strcmp(selector, "last") == 0) {
        n = ids(db, db_sql(db, f->last), found, e);
    } else if (n == 0) {
        q = db_sql(db, f->by_name);
        db_bind_text(q, 1, selector);
        n = ids(db, q, found, e);
        if (n == 0)
            n = find_prefix(db, f, selector, found, e);
    }
    if (n > 0)
        memcpy(id, found[0], TASK_ID_SIZE);
    return n;
}

int
db_find_task(struct db *db, const char *selector, char id[TASK_ID_SIZE],
             struct err *e)
{
    static const struct finders f = {
        .what = "task",
        .last = "SELECT id FROM tasks WHERE state <> 1 ORDER BY n DESC LIMIT 1",
        .by_name = "SELECT id FROM tasks WHERE name = ?1 AND name <> '' "
                   "ORDER BY accepted_at DESC, accepted_seq DESC LIMIT 1",
        .by_prefix = "SELECT id FROM tasks WHERE id >= ?1 AND id < ?2 LIMIT 2"};

    return find(db, &f, selector, id, e);
}

int
db_find_batch(struct db *db, const char *selector, char id[TASK_ID_SIZE],
              struct err *e)
{
    static const struct finders f = {
        .what = "batch",
        .batch = true,
        .last = "SELECT id FROM batches ORDER BY n DESC LIMIT 1",
        .by_name = "SELECT id FROM batches WHERE name = ?1 "
                   "ORDER BY n DESC LIMIT 1",
        .by_prefix =
            "SELECT id FROM batches WHERE id >= ?1 AND id < ?2 LIMIT 2"};

    return find(db, &f, selector, id, e);
}

/* --- unfinished tasks ----------------------------------------------------- */

int
db_next_lane(struct db *db, const struct db_lane *after, struct db_lane *out,
             struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, "SELECT backend, lane FROM tasks WHERE routed = 1 "
                   "AND state < 8 AND (backend, lane) > (?1, ?2) "
                   "ORDER BY backend, lane LIMIT 1");
    struct db_lane found = {0};
    int rc;

    db_bind_text(q, 1, after->backend);
    db_bind_text(q, 2, after->lane);
    rc = db_step(db, q, e);
    if (rc > 0) {
        db_copy_text(q, 0, found.backend, sizeof found.backend);
        db_copy_text(q, 1, found.lane, sizeof found.lane);
    }
    db_done(q);
    *out = found;
    return rc;
}

int
db_on_lane(struct db *db, const struct db_lane *lane,
           const struct db_place *after, uint64_t to, unsigned limit,
           int64_t *out, struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, "SELECT n FROM tasks WHERE routed = 1 AND state < 8 "
                   "AND backend = ?1 AND lane = ?2 "
                   "AND (routed_seq, n) > (?3, ?4) AND routed_seq <= ?5 "
                   "ORDER BY routed_seq, n LIMIT ?6");
    static const struct db_place start;

    if (!after)
        after = &start;
    db_bind_text(q, 1, lane->backend);
    db_bind_text(q, 2, lane->lane);
    db_bind_int(q, 3, (int64_t)after->seq);
    db_bind_int(q, 4, after->n);
    db_bind_int(q, 5, (int64_t)to);
    db_bind_int(q, 6, limit);
    return db_collect(db, q, out, 0, (int)limit, e);
}

int
db_set_number(struct db *db, int64_t n, bool resubmits, uint32_t number,
              struct err *e)
{
    sqlite3_stmt *q =
        resubmits ? db_sql(db, "UPDATE tasks SET resubmits = ?2 WHERE n = ?1")
                  : db_sql(db, "UPDATE tasks SET drives = ?2 WHERE n = ?1");

    db_bind_int(q, 1, n);
    db_bind_int(q, 2, number);
    return db_run(db, q, e);
}

/* --- counters ------------------------------------------------------------- */

int
db_counters(struct db *db, db_counter_fn *fn, void *ctx, struct err *e)
{
    sqlite3_stmt *q = db_sql(db, "SELECT scope, name, value FROM counters "
                                 "ORDER BY scope, name");
    int rc;

    while ((rc = db_step(db, q, e)) > 0)
        fn(ctx, (const char *)sqlite3_column_text(q, 0),
           (const char *)sqlite3_column_text(q, 1), sqlite3_column_int64(q, 2));
    db_done(q);
    return rc;
}

struct sums {
    int64_t states[STATE_COUNT];
    int64_t tasks, unseen;
};

static void
add_counter(void *ctx, const char *scope, const char *name, int64_t value)
{
    struct sums *sums = ctx;
    enum state state = state_from_name(name);

    if (*scope)
        return;
    if (state != STATE_UNSPECIFIED)
        sums->states[state] = value;
    else if (strcmp(name, "tasks") == 0)
        sums->tasks = value;
    else if (strcmp(name, "unseen") == 0)
        sums->unseen = value;
}

static int
count_states(struct db *db, struct sums *out, struct err *e)
{
    sqlite3_stmt *q =
        db_sql(db, "SELECT state, count(*) FROM tasks GROUP BY state");
    int rc;

    *out = (struct sums){0};
    while ((rc = db_step(db, q, e)) > 0) {
        int64_t state = sqlite3_column_int64(q, 0);

        if (state >= 0 && state < STATE_COUNT)
            out->states[state] = sqlite3_column_int64(q, 1);
    }
    db_done(q);
    return rc;
}

int
db_check(struct db *db, bool deep, bool *ok, char *what, size_t size,
         struct err *e)
{
    sqlite3_stmt *q = db_sql(db, "SELECT max(n) FROM tasks");
    struct sums sums = {0}, found;
    int64_t rows, terminal = 0, open = 0;

    *ok = true;
    if (db_counters(db, add_counter, &sums, e) < 0 ||
        db_number(db, q, &rows, e) < 0)
        return -1;
    for (int i = 1; i < STATE_COUNT; i++)
        *(state_is_terminal((enum state)i) ? &terminal : &open) +=
            sums.states[i];
    if (sums.tasks + sums.unseen != terminal + open ||
        terminal + open != rows) {
        *ok = false;
        (void)snprintf(what, size,
                       "accepted %" PRId64 " + unseen %" PRId64
                       " is not terminal %" PRId64 " + open %" PRId64
                       " of %" PRId64 " rows",
                       sums.tasks, sums.unseen, terminal, open, rows);
        return 0;
    }
    if (!deep)
        return 0;
    if (count_states(db, &found, e) < 0)
        return -1;
    for (int i = 1; i < STATE_COUNT && *ok; i++) {
        if (found.states[i] == sums.states[i])
            continue;
        *ok = false;
        (void)snprintf(what, size,
                       "%" PRId64 " tasks are %s, and %" PRId64 " were counted",
                       found.states[i], state_name((enum state)i),
                       sums.states[i]);
    }
    return 0;
}
