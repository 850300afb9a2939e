/*
 * db_private - what the parts of store share.
 *
 *   store.c        the file, its statements, transactions
 *   store_rows.c   tasks, attempts, batches: one row at a time
 *   store_query.c  questions across rows
 *   db_open.c   what reconciling asks: open rows, streams, sums
 */
#ifndef REAPER_DB_DB_PRIVATE_H
#define REAPER_DB_DB_PRIVATE_H

#include "reaper/db/db.h"

#include <sqlite3.h>

enum statement {
    Q_BEGIN,
    Q_COMMIT,
    Q_ROLLBACK,
    Q_TASK,
    Q_TASK_AT,
    Q_TASK_ADD,
    Q_TASK_PUT,
    Q_TASK_ROUTED,
    Q_TASK_ENDED,
    Q_TASK_RUN,
    Q_TASK_STATE,
    Q_ATTEMPT,
    Q_ATTEMPT_PUT,
    Q_ATTEMPTS,
    Q_COST_PUT,
    Q_COSTS,
    Q_BATCH,
    Q_BATCH_AT,
    Q_BATCH_PUT,
    Q_COUNT,
    Q_COUNTERS,
    Q_COUNTER,
    Q_POSITION,
    Q_POSITION_GET,
    Q_QUARANTINE,
    Q_LIST,
    Q_LIST_STATE,
    Q_LIST_BATCH,
    Q_LIST_BATCH_STATES,
    Q_MEMBERS,
    Q_MEMBERS_OPEN,
    Q_LAST,
    Q_BY_NAME,
    Q_BY_PREFIX,
    Q_BATCH_LAST,
    Q_BATCH_BY_NAME,
    Q_BATCH_BY_PREFIX,
    Q_BLOCKED,
    Q_CANCELLED,
    Q_DUE,
    Q_DUE_BATCH,
    Q_NAME_PUT,
    Q_NAME_OWNER,
    Q_NAME_FIRST,
    Q_BATCH_NAME_FIRST,
    Q_LANES,
    Q_ON_LANE,
    Q_UNROUTED,
    Q_DRIVES,
    Q_RESUBMITS,
    Q_STREAM,
    Q_STREAM_PUT,
    Q_POSITION_SET,
    Q_POSITIONS,
    Q_ROWS,
    Q_STATES,
    Q_REPORTED,
    Q_BATCH_REPORTED,
    Q_COUNT_OF,
};

struct db_delta {
    char scope[2 * TASK_ID_SIZE], name[24];
    int64_t delta;
};

struct db {
    sqlite3 *db;
    int lock;
    sqlite3_stmt *q[Q_COUNT_OF];
    struct db_delta *counts; /* of the open transaction */
    size_t n_counts, cap_counts;
    struct db_watched *watched; /* the caller's */
    size_t n_watched;
};

/* Says what SQLite says; returns -1. */
int db_fail(struct db *s, const char *what, struct err *e);
/* 1: a row, 0: done, -1: error. */
int db_step(struct db *s, enum statement which, struct err *e);
/* Runs to the end and resets. */
int db_run(struct db *s, enum statement which, struct err *e);
void db_done(struct db *s, enum statement which);

/* Collects the first column of a bound statement, appending to n; -1: error. */
int db_collect(struct db *s, enum statement which, int64_t *out, int n,
               int most, struct err *e);

void db_bind_int(struct db *s, enum statement which, int at, int64_t v);
void db_bind_text(struct db *s, enum statement which, int at, const char *v);
const char *db_text(sqlite3_stmt *q, int at, struct mem_pool *pool);

#endif
