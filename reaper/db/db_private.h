/*
 * db_private - what the parts of reaper/db share.
 *
 *   db.c        the file, its statements, transactions
 *   schema.c    the migrations
 *   columns.h   the columns of each relation
 *   rows.c      one row at a time
 *   queries.c   questions across rows
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
    Q_POSITION,
    Q_POSITION_GET,
    Q_QUARANTINE,
    Q_QUARANTINED,
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
    Q_DISPATCHES,
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
    sqlite3 *handle;
    int lock;
    sqlite3_stmt *q[Q_COUNT_OF];
    struct db_delta *counts; /* of the open transaction */
    size_t n_counts, cap_counts;
    struct db_watched *watched; /* the caller's */
    size_t n_watched;
};

/* From nothing to the schema of today; the last is NULL. */
extern const char *const db_migrations[];

/* Sets e to what SQLite says; returns -1. */
int db_fail(struct db *db, const char *what, struct err *e);
/* 1: a row, 0: done, -1: error. */
int db_step(struct db *db, enum statement which, struct err *e);
/* Resets the statement and unbinds its parameters. */
void db_done(struct db *db, enum statement which);
/* Runs a bound statement to its end and resets it. */
int db_run(struct db *db, enum statement which, struct err *e);
/* Runs a bound statement for the number in its first row; 0 if there is no
 * row. */
int db_number(struct db *db, enum statement which, int64_t *out, struct err *e);
/* Appends the first column of a bound statement's rows to out, which holds n
 * of at most most; returns how many it holds then, -1: error. */
int db_collect(struct db *db, enum statement which, int64_t *out, int n,
               int most, struct err *e);

void db_bind_int(struct db *db, enum statement which, int at, int64_t v);
void db_bind_text(struct db *db, enum statement which, int at, const char *v);
/* A column's text, cut to size; "" for NULL. */
void db_copy_text(sqlite3_stmt *q, int at, char *out, size_t size);

#endif
