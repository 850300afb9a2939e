/*
 * row_cache - the rows that an open transaction has touched.
 *
 * A row is read once and written once per transaction, however many of its
 * events fall into it: under load a short task is a single row that goes in
 * finished, and a batch of thousands is one update. Nothing is in the database
 * before sheet_write; what a row points to lives in the sheet's pool or in the
 * messages, which both stay until then.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_INGEST_ROW_CACHE_H
#define REAPER_INGEST_ROW_CACHE_H

#include "reaper/db/db.h"

#include <stdbool.h>

struct sheet;

/* One attempt of a row. */
struct sheet_attempt {
    struct sheet_attempt *next;
    struct attempt attempt;
    bool changed; /* it is to be written */
};

struct sheet_row {
    struct sheet_row *next;    /* in order of first sight */
    struct sheet_row *chained; /* of the same hash */
    struct task_state before;  /* as it stands in the database */
    struct task_state row;     /* as folded so far */
    unsigned changed_by;       /* bit k: by events of kind k */
    struct sheet_attempt *attempts;
};

/* What follows from the rows that were written. */
struct sheet_news {
    bool due;    /* a report is to be written */
    bool parked; /* a task is blocked, or to be cancelled, or over */
    char (*batches)[TASK_ID_SIZE]; /* of tasks that ended; the sheet's */
    size_t n_batches;
};

struct sheet *sheet_new(struct store *s);
void sheet_free(struct sheet *s); /* NULL is fine */

/* A transaction begins: all rows, the pool and the news are forgotten. */
void sheet_begin(struct sheet *s);

/* Of the rows; kept until they are written. */
struct mem_pool *sheet_pool(struct sheet *s);

/* The row of id, an empty one if there is none. */
int sheet_row(struct sheet *s, const char *id, struct sheet_row **out,
              struct err *e);
/* An attempt of it, known or not. */
int sheet_attempt(struct sheet *s, struct sheet_row *row, uint32_t attempt,
                  uint64_t fence, struct sheet_attempt **out, struct err *e);

/* Writes what changed, with the counters and batches that follow, and forgets
 * the rows and the pool. */
int sheet_write(struct sheet *s, struct err *e);
/* So much has come together that it should be written now. */
bool sheet_is_full(const struct sheet *s);

/* Since sheet_begin. */
const struct sheet_news *sheet_news(const struct sheet *s);

#endif
