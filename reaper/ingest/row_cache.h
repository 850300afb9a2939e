/*
 * row_cache - the rows that an open transaction has touched.
 *
 * A row is read once and written once per transaction, however many of its
 * events fall into it: under load a short task is a single insert of a finished
 * row, and a batch of thousands is one update. Nothing is in the database
 * before row_cache_write; what a row points to lives in the cache's pool or in
 * the messages, both of which stay until then.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_INGEST_ROW_CACHE_H
#define REAPER_INGEST_ROW_CACHE_H

#include "lib/base/hash.h"
#include "reaper/db/db.h"

#include <stdbool.h>
#include <sys/queue.h>

struct row_cache;

/* One attempt of a row. */
struct cached_attempt {
    struct cached_attempt *next;
    struct attempt_row attempt;
    bool changed; /* it is to be written */
};

struct cached_row {
    struct hash_link link;         /* by the task's id */
    STAILQ_ENTRY(cached_row) next; /* in order of first sight */
    struct task_state before;      /* as it stands in the database */
    struct task_state row;         /* as folded so far */
    unsigned changed_by;           /* bit k: by events of kind k */
    struct cached_attempt *attempts;
};

/* What follows from the rows that were written. */
struct row_cache_changes {
    bool report_due; /* a report is to be written */
    bool schedule;   /* a task is blocked, is to be cancelled, or finished */
    bool cancels;    /* one was requested, or its task has finished */
    char (*batches)[TASK_ID_SIZE]; /* of tasks that finished; the cache's */
    size_t n_batches;
};

struct row_cache *row_cache_new(struct db *db);
void row_cache_free(struct row_cache *c); /* NULL is fine */

/* A transaction begins: forgets the rows, the pool and the changes. */
void row_cache_begin(struct row_cache *c);

/* The pool of the rows; reset when they are written. */
struct mem_pool *row_cache_pool(struct row_cache *c);

/* The row of id; an empty one if there is none. */
int row_cache_row(struct row_cache *c, const char *id, struct cached_row **out,
                  struct err *e);
/* An attempt of it, recorded or not. */
int row_cache_attempt(struct row_cache *c, struct cached_row *row,
                      uint32_t attempt, uint64_t fence,
                      struct cached_attempt **out, struct err *e);

/* Writes what changed, with the counters and batches that follow, and forgets
 * the rows and the pool. */
int row_cache_write(struct row_cache *c, struct err *e);
/* It holds so much that it should be written now. */
bool row_cache_is_full(const struct row_cache *c);

/* A message of this transaction requests a cancel. */
void row_cache_note_cancel(struct row_cache *c);
/* Since row_cache_begin. */
const struct row_cache_changes *row_cache_changes(const struct row_cache *c);

#endif
