/*
 * db - the ledger's SQLite file. The only module that knows SQLite.
 *
 * One process has it open at a time (a lock file beside it). A transaction is
 * durable once db_commit returns 0: WAL with synchronous=FULL. After an
 * error inside a transaction roll it back or end the process; rows read
 * before stay valid.
 *
 * Rows that are read live in the pool given. Every error is ERR_UNAVAILABLE
 * (disk full, I/O, corruption) unless stated otherwise.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_DB_DB_H
#define REAPER_DB_DB_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/io/loop.h"
#include "reaper/ingest/fold.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;

enum { DB_PAGE_MAX = 200, DB_ATTEMPTS_MAX = 200 };

/*
 * Opens or creates the file and its folders. sync: a commit is on the disk when
 * it returns; else a power cut may lose the newest ones. ERR_CONFLICT: another
 * process has the file open; ERR_INVALID: written by a newer shunt, or not a
 * ledger.
 */
int db_open(struct db **out, const char *path, bool sync, struct err *e);
void db_close(struct db *db); /* NULL is fine */

int db_begin(struct db *db, struct err *e);
int db_commit(struct db *db, struct err *e);
void db_rollback(struct db *db);
/* The database failed: rolls back, logs e and stops the loop. A new process
 * continues with what is committed. */
void db_give_up(struct db *db, struct loop *l, const struct err *e);
/* For a quiet moment: moves what was committed from the write-ahead log into
 * the file, and releases memory. */
void db_idle(struct db *db);

/* --- rows ----------------------------------------------------------------- */

/* 1: found, 0: not found, -1: error. */
int db_task(struct db *db, const char *id, struct mem_pool *pool,
            struct task_state *out, struct err *e);
int db_task_at(struct db *db, int64_t n, struct mem_pool *pool,
               struct task_state *out, struct err *e);
/* The parts of a task's row that are updated apart from the rest. State and
 * report_due belong to each. */
enum db_part {
    DB_ROUTING = 1, /* the decision, and what fold_routed sets beside the
                       submission */
    DB_OUTCOME = 2, /* what fold_result sets beside backend, lane and batch */
    DB_RUN = DB_ROUTING | DB_OUTCOME,
    DB_WHOLE = 7,
};

/* Inserts the whole row if row->n is 0 (and sets it), else updates a part: that
 * is cheaper by the indexes that it leaves alone. */
int db_put_task(struct db *db, struct task_state *row, enum db_part part,
                struct err *e);
/* The state alone; STATE_UNSPECIFIED if there is no such task. */
int db_state(struct db *db, const char *id, enum state *out, struct err *e);

/* Sets out->known; 0, or -1: error. */
int db_attempt(struct db *db, int64_t n, uint32_t attempt, uint64_t fence,
               struct mem_pool *pool, struct attempt_row *out, struct err *e);
int db_put_attempt(struct db *db, int64_t n, const struct attempt_row *row,
                   struct err *e);
/* All attempts of a task in order, at most DB_ATTEMPTS_MAX. */
int db_attempts(struct db *db, int64_t n, struct mem_pool *pool,
                struct attempt_row **out, size_t *n_out, struct err *e);

/* The costs of attempts that ended on a day (days since 1970, UTC), summed by
 * backend, provider and team; at most DB_COSTS_MAX. */
struct db_cost {
    const char *backend, *provider, *team;
    int64_t nano; /* dollars / 10^9 */
    int64_t attempts, estimated;
};
enum { DB_COSTS_MAX = 1000, DB_DAY_MS = 24 * 60 * 60 * 1000 };
int db_costs(struct db *db, int64_t day, struct mem_pool *pool,
             struct db_cost **out, size_t *n_out, struct err *e);

/* 1: found, 0: not found, -1: error. */
int db_batch(struct db *db, const char *id, struct mem_pool *pool,
             struct batch_state *out, struct err *e);
int db_put_batch(struct db *db, const struct batch_state *row, struct err *e);

/* --- counters, positions, quarantine -------------------------------------- */

/* A fold_count_fn; ctx is the struct db. Written by db_commit. */
void db_count(void *ctx, const char *scope, const char *name, int64_t delta);
/* Records the highest sequence folded; a lower one changes nothing. exactly:
 * the sequence may decrease, if one is recorded. */
int db_position(struct db *db, const char *consumer, uint64_t seq, bool exactly,
                struct err *e);
int db_position_get(struct db *db, const char *consumer, uint64_t *out,
                    struct err *e);

/* A message that failed verification or does not decode. */
struct quarantine {
    const char *stream, *subject, *reason;
    uint64_t seq;
    int64_t at_ms;
    const void *payload;
    size_t len;
};

enum { DB_QUARANTINE_BYTES = 64 * 1024, DB_QUARANTINE_KEPT = 10000 };

/* Stores it, with at most DB_QUARANTINE_BYTES of the payload (none beyond
 * DB_QUARANTINE_KEPT messages), and counts it under name, once. */
int db_quarantine(struct db *db, const struct quarantine *q, const char *name,
                  struct err *e);

/* --- queries -------------------------------------------------------------- */

struct db_filter {
    uint32_t states;   /* bit s: tasks in state s; 0: any */
    const char *batch; /* "" for all */
    int64_t before;    /* rows before this n; 0: from the newest */
    unsigned limit;    /* at most DB_PAGE_MAX */
};

/* Row numbers, newest first, into out (of DB_PAGE_MAX); returns how many,
 * -1 on error. */
int db_list(struct db *db, const struct db_filter *q, int64_t *out,
            struct err *e);

/* Compares two row numbers, for qsort. */
int db_newest_first(const void *a, const void *b);

/* The first members of a batch in the states, by their index. As db_list, but
 * any limit is allowed and *out lives in pool. */
int db_members(struct db *db, const char *batch, uint32_t states,
               unsigned limit, struct mem_pool *pool, int64_t **out,
               struct err *e);

/*
 * Resolves a selector: a full id, `last`, a name (the newest task that has
 * it), or a unique prefix of an id. 1: id is set; 0: nothing matches; -1 with
 * ERR_CONFLICT: a prefix of several ids (e names two), or another error.
 */
int db_find_task(struct db *db, const char *selector, char id[TASK_ID_SIZE],
                 struct err *e);
int db_find_batch(struct db *db, const char *selector, char id[TASK_ID_SIZE],
                  struct err *e);

/* Rows after n with work to do, oldest first, into out. */
enum db_todo {
    DB_BLOCKED,          /* tasks that wait for tasks or a time */
    DB_CANCELLED,        /* tasks to be cancelled, but for those that are not
                          * known or not routed yet */
    DB_UNROUTED,         /* tasks that are accepted but not routed */
    DB_REPORT_DUE,       /* tasks whose report is to be written */
    DB_REPORT_DUE_BATCH, /* batches whose report is to be written: out holds
                            batch rows */
    DB_TODO_COUNT,
};
int db_todo(struct db *db, enum db_todo what, int64_t after, unsigned limit,
            int64_t *out, struct err *e);
int db_batch_at(struct db *db, int64_t n, struct mem_pool *pool,
                struct batch_state *out, struct err *e);

/* Whether id is the first task (or batch) accepted with that name. A report's
 * plain name belongs to it, whatever ended first: a replay names the same. */
int db_is_first(struct db *db, bool batch, const char *name, const char *id,
                bool *out, struct err *e);

/* --- reconciling ---------------------------------------------------------- */

/* The lane after the one given ("" "": the first) with unfinished routed
 * tasks. 1: *out is filled, 0: none, -1: error. */
struct db_lane {
    char backend[TASK_ID_SIZE], lane[TASK_ID_SIZE];
};
int db_next_lane(struct db *db, const struct db_lane *after,
                 struct db_lane *out, struct err *e);
/* A task's position on its lane: its message, which may hold several tasks,
 * and its row. */
struct db_place {
    uint64_t seq;
    int64_t n;
};
/* Rows of unfinished tasks on a lane after `after` (NULL: all) with messages up
 * to `to`, oldest first; returns how many. */
int db_on_lane(struct db *db, const struct db_lane *lane,
               const struct db_place *after, uint64_t to, unsigned limit,
               int64_t *out, struct err *e);
/* Recorded before a task is dispatched to its lane, or sent to the router,
 * again (resubmits): the number of that dispatch or resubmission. */
int db_set_number(struct db *db, int64_t n, bool resubmits, uint32_t number,
                  struct err *e);

/* Identifies a stream, to detect that it was recreated. */
struct db_stream {
    char created[40];   /* as the broker reports it; "" if never seen */
    int64_t lost_at_ms; /* messages stored before are lost; 0: none are */
    bool sweep;         /* not every unfinished task was checked since */
};
int db_stream(struct db *db, const char *name, struct db_stream *out,
              struct err *e);
int db_put_stream(struct db *db, const char *name, const struct db_stream *row,
                  struct err *e);
/* Whether nothing was ever folded into this database. */
int db_is_new(struct db *db, bool *out, struct err *e);

/* Compares the counters with the rows. deep also counts the rows of each
 * state, which reads an index of all of them. If *ok is false, what (of size
 * bytes) describes the difference. */
int db_check(struct db *db, bool deep, bool *ok, char *what, size_t size,
             struct err *e);

/* A row that is used outside a transaction after it was read. */
struct db_watched {
    char id[TASK_ID_SIZE]; /* of a task or batch */
    bool batch;
    bool changed; /* out: it was written since */
};
/* Watches these rows from now on, and no others; v stays the caller's. */
void db_watch(struct db *db, struct db_watched *v, size_t n);

/* Reserves a report's name for owner, a task or batch; *ours is false if it
 * belongs to another one. */
int db_report_name(struct db *db, const char *name, const char *owner,
                   bool *ours, struct err *e);
/* The report was written to path. It is no longer due unless the row changed
 * since it was read. */
int db_reported(struct db *db, bool batch, int64_t n, const char *path,
                bool changed, struct err *e);

typedef void db_counter_fn(void *ctx, const char *scope, const char *name,
                           int64_t value);
int db_counters(struct db *db, db_counter_fn *fn, void *ctx, struct err *e);

#endif
