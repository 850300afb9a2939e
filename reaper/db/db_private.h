/*
 * db_private - what the parts of reaper/db share.
 *
 *   db.c        the file, preparing and running statements, transactions
 *   schema.c    the migrations
 *   columns.h   the columns of each relation
 *   rows.c      one row at a time
 *   queries.c   questions across rows
 */
#ifndef REAPER_DB_DB_PRIVATE_H
#define REAPER_DB_DB_PRIVATE_H

#include "reaper/db/db.h"

#include <sqlite3.h>

struct db_statement {
    const char *sql; /* static */
    sqlite3_stmt *q;
};

struct db_delta {
    char scope[2 * TASK_ID_SIZE], name[24];
    int64_t delta;
};

struct db {
    sqlite3 *handle;
    int lock;
    struct db_statement *statements; /* prepared so far */
    size_t n_statements, cap_statements;
    struct db_delta *counts; /* of the open transaction */
    size_t n_counts, cap_counts;
    struct db_watched *watched; /* the caller's */
    size_t n_watched;
};

/* From nothing to the schema of today; the last is NULL. */
extern const char *const db_migrations[];

/* Sets e to what SQLite says; returns -1. */
int db_fail(struct db *db, const char *what, struct err *e);
/* The statement with that text, a literal, which is prepared when it is first
 * used. NULL if that fails: binding does nothing then, and db_step returns the
 * error. */
sqlite3_stmt *db_sql(struct db *db, const char *sql);
/* 1: a row, 0: done, -1: error. */
int db_step(struct db *db, sqlite3_stmt *q, struct err *e);
/* Resets the statement and unbinds its parameters. */
void db_done(sqlite3_stmt *q);
/* Runs a bound statement to its end and resets it. */
int db_run(struct db *db, sqlite3_stmt *q, struct err *e);
/* Runs a bound statement for the number in its first row; 0 if there is no
 * row. */
int db_number(struct db *db, sqlite3_stmt *q, int64_t *out, struct err *e);
/* Appends the first column of a bound statement's rows to out, which holds n
 * of at most most; returns how many it holds then, -1: error. */
int db_collect(struct db *db, sqlite3_stmt *q, int64_t *out, int n, int most,
               struct err *e);

void db_bind_int(sqlite3_stmt *q, int at, int64_t v);
void db_bind_text(sqlite3_stmt *q, int at, const char *v);
/* A column's text, cut to size; "" for NULL. */
void db_copy_text(sqlite3_stmt *q, int at, char *out, size_t size);

#endif
