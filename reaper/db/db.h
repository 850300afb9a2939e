/*
 * db - the ledger's SQLite file. The only module that knows SQLite.
 *
 * One process has it open at a time (a lock file beside it). A transaction is
 * durable once db_commit returns 0: WAL with synchronous=FULL. After an
 * error inside a transaction roll it back or end the process; what was read
 * before stays valid.
 *
 * What is read lives in the pool given. Every error is ERR_UNAVAILABLE (disk
 * full, I/O, corruption) unless said otherwise.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_DB_DB_H
#define REAPER_DB_DB_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "reaper/ingest/fold.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;

enum { DB_PAGE_MAX = 200, DB_ATTEMPTS_MAX = 200 };

/*
 * Opens or creates the file and its folders. sync: what is committed is on the
 * disk; else a power cut may take the newest commits. ERR_CONFLICT: another
 * process has it; ERR_INVALID: written by a newer shunt, or no database of
 * ours.
 */
int db_open(struct db **out, const char *path, bool sync, struct err *e);
void db_close(struct db *s); /* NULL is fine */

int db_begin(struct db *s, struct err *e);
int db_commit(struct db *s, struct err *e);
void db_rollback(struct db *s);
/* Nothing happens at the moment: moves what was committed from the log into
 * the file, and gives back memory. */
void db_quiet(struct db *s);

/* --- rows ----------------------------------------------------------------- */

/* 1: found, 0: there is none, -1: error. */
int db_task(struct db *s, const char *id, struct mem_pool *pool,
            struct task_state *out, struct err *e);
int db_task_at(struct db *s, int64_t n, struct mem_pool *pool,
               struct task_state *out, struct err *e);
/* What of a row is to be written; of a new one always all. */
enum db_part {
    DB_WHOLE,
    DB_ROUTING, /* state, decision and what fold_routed sets beside the
                      submission */
    DB_OUTCOME, /* state, and what fold_result sets beside backend, lane and
                      batch */
    DB_RUN,     /* both */
};

/* Inserts, if row->n is 0 (and sets it), or updates. An update of a part is
 * cheaper by the indexes that it leaves alone. */
int db_put_task(struct db *s, struct task_state *row, enum db_part part,
                struct err *e);
/* The state alone; STATE_UNSPECIFIED if there is no such task. */
int db_state(struct db *s, const char *id, enum state *out, struct err *e);

/* out->known says whether it was recorded; -1: error. */
int db_attempt(struct db *s, int64_t n, uint32_t attempt, uint64_t fence,
               struct mem_pool *pool, struct attempt_row *out, struct err *e);
int db_put_attempt(struct db *s, int64_t n, const struct attempt_row *a,
                   struct err *e);
/* All of a task in order, at most DB_ATTEMPTS_MAX. */
int db_attempts(struct db *s, int64_t n, struct mem_pool *pool,
                struct attempt_row **out, size_t *n_out, struct err *e);

/* What attempts cost that ended on a day (days since 1970, UTC), by
 * backend, provider and team; at most DB_COSTS_MAX. */
struct db_cost {
    const char *backend, *provider, *team;
    int64_t nano; /* dollars / 10^9 */
    int64_t attempts, estimated;
};
enum { DB_COSTS_MAX = 1000, DB_DAY_MS = 24 * 60 * 60 * 1000 };
int db_costs(struct db *s, int64_t day, struct mem_pool *pool,
             struct db_cost **out, size_t *n_out, struct err *e);

/* 1: found, 0: there is none, -1: error. */
int db_batch(struct db *s, const char *id, struct mem_pool *pool,
             struct batch_state *out, struct err *e);
int db_put_batch(struct db *s, const struct batch_state *b, struct err *e);

/* --- what goes with the rows of a transaction ----------------------------- */

/* A fold_count_fn; ctx is the store. Written by db_commit. */
void db_count(void *store, const char *scope, const char *name, int64_t delta);
/* The highest sequence folded; lower ones change nothing. */
int db_position(struct db *s, const char *consumer, uint64_t seq,
                struct err *e);
int db_position_get(struct db *s, const char *consumer, uint64_t *out,
                    struct err *e);

/* Something that is not believed or not understood. */
struct quarantine {
    const char *stream, *subject, *reason;
    uint64_t seq;
    int64_t at_ms;
    const void *payload;
    size_t len;
};

enum { DB_QUARANTINE_BYTES = 64 * 1024, DB_QUARANTINE_KEPT = 10000 };

/* Keeps it, with at most DB_QUARANTINE_BYTES of the payload (none beyond
 * DB_QUARANTINE_KEPT messages), and counts it under name, once. */
int db_quarantine(struct db *s, const struct quarantine *q, const char *name,
                  struct err *e);

/* --- questions ------------------------------------------------------------ */

struct db_query {
    uint32_t states;   /* bit s: tasks in state s; 0: any */
    const char *batch; /* "" for all */
    int64_t before;    /* rows before this n; 0: from the newest */
    unsigned limit;    /* at most DB_PAGE_MAX */
};

/* Row numbers, newest first, into out (of DB_PAGE_MAX); returns how many,
 * -1 on error. */
int db_list(struct db *s, const struct db_query *q, int64_t *out,
            struct err *e);

/* The first members of a batch in the states, by their index. As above, but
 * limit may be any and *out lives in pool. */
int db_members(struct db *s, const char *batch, uint32_t states, unsigned limit,
               struct mem_pool *pool, int64_t **out, struct err *e);

/*
 * What a selector means: a full id, `last`, a name (the newest of it), a
 * unique prefix of an id. 1: *id and *n are set; 0: nothing of that name; -1
 * with ERR_CONFLICT: a prefix of several (e names two), or another error.
 */
int db_find_task(struct db *s, const char *selector, char id[TASK_ID_SIZE],
                 struct err *e);
int db_find_batch(struct db *s, const char *selector, char id[TASK_ID_SIZE],
                  struct err *e);

/* Rows after n that somebody must see to, oldest first, into out. */
enum db_todo {
    DB_BLOCKED,   /* tasks that wait for tasks or a time */
    DB_CANCELLED, /* cancels of tasks that are not over */
    DB_DUE,       /* tasks whose report is to be written */
    DB_DUE_BATCH, /* the same of batches: out are batch rows */
    DB_TODO_COUNT,
};
int db_todo(struct db *s, enum db_todo what, int64_t after, unsigned limit,
            int64_t *out, struct err *e);
int db_batch_at(struct db *s, int64_t n, struct mem_pool *pool,
                struct batch_state *out, struct err *e);

/* Whether id is the task (or batch) that was accepted first of all with that
 * name. */
int db_is_first(struct db *s, bool batch, const char *name, const char *id,
                bool *out, struct err *e);

/* --- reconciling ---------------------------------------------------------- */

/* The lane after the one given ("" "": the first) with tasks that are routed
 * and open. 1: *out is filled, 0: there is none, -1: error. */
struct db_lane {
    char backend[TASK_ID_SIZE], lane[TASK_ID_SIZE];
};
int db_next_lane(struct db *s, const struct db_lane *after, struct db_lane *out,
                 struct err *e);
/* Where a task stands on its lane: its message, which may be of many, and its
 * row. */
struct db_place {
    uint64_t seq;
    int64_t n;
};
/* Rows of open tasks on a lane behind after (NULL: all), whose message is not
 * behind to, oldest first; returns how many. */
int db_on_lane(struct db *s, const struct db_lane *lane,
               const struct db_place *after, uint64_t to, unsigned limit,
               int64_t *out, struct err *e);
/* Rows after n of tasks that are accepted and not routed. */
int db_unrouted(struct db *s, int64_t after, unsigned limit, int64_t *out,
                struct err *e);
/* What the ledger is about to send: the drive or resubmission's number. */
int db_set_drives(struct db *s, int64_t n, uint32_t drives, struct err *e);
int db_set_resubmits(struct db *s, int64_t n, uint32_t resubmits,
                     struct err *e);

/* What the ledger remembers of a stream, to notice when it was made anew. */
struct db_stream {
    char created[40];   /* as the broker says; "" if never seen */
    int64_t lost_at_ms; /* what was stored before is gone; 0: nothing is */
    bool sweep;         /* and not every open task was seen to since */
};
int db_stream(struct db *s, const char *name, struct db_stream *out,
              struct err *e);
int db_put_stream(struct db *s, const char *name, const struct db_stream *row,
                  struct err *e);
/* As db_position, but may go back. */
int db_position_set(struct db *s, const char *consumer, uint64_t seq,
                    struct err *e);
/* Whether nothing was ever folded into this database. */
int db_is_new(struct db *s, bool *out, struct err *e);

/* Compares the counters with the rows. deep also counts the rows of each
 * state, which reads an index of all of them. *ok false: what (of size bytes)
 * says where they differ. */
int db_check(struct db *s, bool deep, bool *ok, char *what, size_t size,
             struct err *e);

/* A row that somebody has read and goes on using outside a transaction. */
struct db_watched {
    char id[TASK_ID_SIZE]; /* of a task or batch */
    bool batch;
    bool changed; /* out: it was written since */
};
/* From now on these are told of, and none that was before; they stay the
 * caller's. */
void db_watch(struct db *s, struct db_watched *v, size_t n);

/* Reserves a report's name for owner, a task or batch; false in *ours if it
 * belongs to another one. */
int db_report_name(struct db *s, const char *name, const char *owner,
                   bool *ours, struct err *e);
/* The report stands at path. It is not due any more, or again, if the row has
 * changed since it was read. */
int db_reported(struct db *s, bool batch, int64_t n, const char *path,
                bool changed, struct err *e);

typedef void db_counter_fn(void *ctx, const char *scope, const char *name,
                           int64_t value);
int db_counters(struct db *s, db_counter_fn *fn, void *ctx, struct err *e);

#endif
