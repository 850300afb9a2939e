/*
 * db - the ledger's SQLite file. The only module that knows SQLite.
 *
 * One process has it open at a time (a lock file beside it). A transaction is
 * durable once store_commit returns 0: WAL with synchronous=FULL. After an
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

struct store;

enum { STORE_PAGE_MAX = 200, STORE_ATTEMPTS_MAX = 200 };

/*
 * Opens or creates the file and its folders. sync: what is committed is on the
 * disk; else a power cut may take the newest commits. ERR_CONFLICT: another
 * process has it; ERR_INVALID: written by a newer shunt, or no database of
 * ours.
 */
int store_open(struct store **out, const char *path, bool sync, struct err *e);
void store_close(struct store *s); /* NULL is fine */

int store_begin(struct store *s, struct err *e);
int store_commit(struct store *s, struct err *e);
void store_rollback(struct store *s);
/* Nothing happens at the moment: moves what was committed from the log into
 * the file, and gives back memory. */
void store_quiet(struct store *s);

/* --- rows ----------------------------------------------------------------- */

/* 1: found, 0: there is none, -1: error. */
int store_task(struct store *s, const char *id, struct mem_pool *pool,
               struct task_state *out, struct err *e);
int store_task_at(struct store *s, int64_t n, struct mem_pool *pool,
                  struct task_state *out, struct err *e);
/* What of a row is to be written; of a new one always all. */
enum store_part {
    STORE_WHOLE,
    STORE_ROUTING, /* state, decision and what fold_routed sets beside the
                      submission */
    STORE_OUTCOME, /* state, and what fold_result sets beside backend, lane and
                      batch */
    STORE_RUN,     /* both */
};

/* Inserts, if row->n is 0 (and sets it), or updates. An update of a part is
 * cheaper by the indexes that it leaves alone. */
int store_put_task(struct store *s, struct task_state *row,
                   enum store_part part, struct err *e);
/* The state alone; STATE_UNSPECIFIED if there is no such task. */
int store_state(struct store *s, const char *id, enum state *out,
                struct err *e);

/* out->known says whether it was recorded; -1: error. */
int store_attempt(struct store *s, int64_t n, uint32_t attempt, uint64_t fence,
                  struct mem_pool *pool, struct attempt *out, struct err *e);
int store_put_attempt(struct store *s, int64_t n, const struct attempt *a,
                      struct err *e);
/* All of a task in order, at most STORE_ATTEMPTS_MAX. */
int store_attempts(struct store *s, int64_t n, struct mem_pool *pool,
                   struct attempt **out, size_t *n_out, struct err *e);

/* What attempts cost that ended on a day (days since 1970, UTC), by
 * backend, provider and team; at most STORE_COSTS_MAX. */
struct store_cost {
    const char *backend, *provider, *team;
    int64_t nano; /* dollars / 10^9 */
    int64_t attempts, estimated;
};
enum { STORE_COSTS_MAX = 1000, STORE_DAY_MS = 24 * 60 * 60 * 1000 };
int store_costs(struct store *s, int64_t day, struct mem_pool *pool,
                struct store_cost **out, size_t *n_out, struct err *e);

/* 1: found, 0: there is none, -1: error. */
int store_batch(struct store *s, const char *id, struct mem_pool *pool,
                struct batch_state *out, struct err *e);
int store_put_batch(struct store *s, const struct batch_state *b,
                    struct err *e);

/* --- what goes with the rows of a transaction ----------------------------- */

/* A fold_count_fn; ctx is the store. Written by store_commit. */
void store_count(void *store, const char *scope, const char *name,
                 int64_t delta);
/* The highest sequence folded; lower ones change nothing. */
int store_position(struct store *s, const char *consumer, uint64_t seq,
                   struct err *e);
int store_position_get(struct store *s, const char *consumer, uint64_t *out,
                       struct err *e);

/* Something that is not believed or not understood. */
struct quarantine {
    const char *stream, *subject, *reason;
    uint64_t seq;
    int64_t at_ms;
    const void *payload;
    size_t len;
};

enum { STORE_QUARANTINE_BYTES = 64 * 1024, STORE_QUARANTINE_KEPT = 10000 };

/* Keeps it, with at most STORE_QUARANTINE_BYTES of the payload (none beyond
 * STORE_QUARANTINE_KEPT messages), and counts it under name, once. */
int store_quarantine(struct store *s, const struct quarantine *q,
                     const char *name, struct err *e);

/* --- questions ------------------------------------------------------------ */

struct store_query {
    uint32_t states;   /* bit s: tasks in state s; 0: any */
    const char *batch; /* "" for all */
    int64_t before;    /* rows before this n; 0: from the newest */
    unsigned limit;    /* at most STORE_PAGE_MAX */
};

/* Row numbers, newest first, into out (of STORE_PAGE_MAX); returns how many,
 * -1 on error. */
int store_list(struct store *s, const struct store_query *q, int64_t *out,
               struct err *e);

/* The first members of a batch in the states, by their index. As above, but
 * limit may be any and *out lives in pool. */
int store_members(struct store *s, const char *batch, uint32_t states,
                  unsigned limit, struct mem_pool *pool, int64_t **out,
                  struct err *e);

/*
 * What a selector means: a full id, `last`, a name (the newest of it), a
 * unique prefix of an id. 1: *id and *n are set; 0: nothing of that name; -1
 * with ERR_CONFLICT: a prefix of several (e names two), or another error.
 */
int store_find_task(struct store *s, const char *selector,
                    char id[TASK_ID_SIZE], struct err *e);
int store_find_batch(struct store *s, const char *selector,
                     char id[TASK_ID_SIZE], struct err *e);

/* Rows after n that somebody must see to, oldest first, into out. */
enum store_todo {
    STORE_BLOCKED,   /* tasks that wait for tasks or a time */
    STORE_CANCELLED, /* cancels of tasks that are not over */
    STORE_DUE,       /* tasks whose report is to be written */
    STORE_DUE_BATCH, /* the same of batches: out are batch rows */
    STORE_TODO_COUNT,
};
int store_todo(struct store *s, enum store_todo what, int64_t after,
               unsigned limit, int64_t *out, struct err *e);
int store_batch_at(struct store *s, int64_t n, struct mem_pool *pool,
                   struct batch_state *out, struct err *e);

/* Whether id is the task (or batch) that was accepted first of all with that
 * name. */
int store_is_first(struct store *s, bool batch, const char *name,
                   const char *id, bool *out, struct err *e);

/* --- reconciling ---------------------------------------------------------- */

/* The lane after the one given ("" "": the first) with tasks that are routed
 * and open. 1: *out is filled, 0: there is none, -1: error. */
struct store_lane {
    char backend[TASK_ID_SIZE], lane[TASK_ID_SIZE];
};
int store_next_lane(struct store *s, const struct store_lane *after,
                    struct store_lane *out, struct err *e);
/* Where a task stands on its lane: its message, which may be of many, and its
 * row. */
struct store_place {
    uint64_t seq;
    int64_t n;
};
/* Rows of open tasks on a lane behind after (NULL: all), whose message is not
 * behind to, oldest first; returns how many. */
int store_on_lane(struct store *s, const struct store_lane *lane,
                  const struct store_place *after, uint64_t to, unsigned limit,
                  int64_t *out, struct err *e);
/* Rows after n of tasks that are accepted and not routed. */
int store_unrouted(struct store *s, int64_t after, unsigned limit, int64_t *out,
                   struct err *e);
/* What the ledger is about to send: the drive or resubmission's number. */
int store_set_drives(struct store *s, int64_t n, uint32_t drives,
                     struct err *e);
int store_set_resubmits(struct store *s, int64_t n, uint32_t resubmits,
                        struct err *e);

/* What the ledger remembers of a stream, to notice when it was made anew. */
struct store_stream {
    char created[40];   /* as the broker says; "" if never seen */
    int64_t lost_at_ms; /* what was stored before is gone; 0: nothing is */
    bool sweep;         /* and not every open task was seen to since */
};
int store_stream(struct store *s, const char *name, struct store_stream *out,
                 struct err *e);
int store_put_stream(struct store *s, const char *name,
                     const struct store_stream *row, struct err *e);
/* As store_position, but may go back. */
int store_position_set(struct store *s, const char *consumer, uint64_t seq,
                       struct err *e);
/* Whether nothing was ever folded into this database. */
int store_is_new(struct store *s, bool *out, struct err *e);

/* Compares the counters with the rows. deep also counts the rows of each
 * state, which reads an index of all of them. *ok false: what (of size bytes)
 * says where they differ. */
int store_check(struct store *s, bool deep, bool *ok, char *what, size_t size,
                struct err *e);

/* A row that somebody has read and goes on using outside a transaction. */
struct store_watched {
    char id[TASK_ID_SIZE]; /* of a task or batch */
    bool batch;
    bool changed; /* out: it was written since */
};
/* From now on these are told of, and none that was before; they stay the
 * caller's. */
void store_watch(struct store *s, struct store_watched *v, size_t n);

/* Reserves a report's name for owner, a task or batch; false in *ours if it
 * belongs to another one. */
int store_report_name(struct store *s, const char *name, const char *owner,
                      bool *ours, struct err *e);
/* The report stands at path. It is not due any more, or again, if the row has
 * changed since it was read. */
int store_reported(struct store *s, bool batch, int64_t n, const char *path,
                   bool changed, struct err *e);

typedef void store_counter_fn(void *ctx, const char *scope, const char *name,
                              int64_t value);
int store_counters(struct store *s, store_counter_fn *fn, void *ctx,
                   struct err *e);

#endif
