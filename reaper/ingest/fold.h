/*
 * fold - what the ledger knows about a task, as a pure function of the events
 * it has seen.
 *
 * The events come from several streams and may arrive in any order and more
 * than once. Each adds a fact to the row (submitted so, routed there, attempt
 * 2 ended thus, a cancel was asked for), conflicting facts are ranked by what
 * they say and never by when they came, and the state follows from the facts:
 * every interleaving ends with the same row. A terminal state never changes.
 *
 * No clock, no I/O, no globals: times are those of the messages.
 *
 * Thread: any.
 */
#ifndef REAPER_INGEST_FOLD_H
#define REAPER_INGEST_FOLD_H

#include "lib/model/task.h"

#include <stdbool.h>
#include <stdint.h>

/* What a task waits for before it is routed. */
enum gate { GATE_NONE, GATE_BLOCKED, GATE_HELD };

/* Where our knowledge of the submission is from; the greater wins, because
 * the router hands on a task it may have changed (prefixes, gates). */
enum task_from { TASK_FROM_NONE, TASK_FROM_ROUTED, TASK_FROM_ACCEPTED };

/* The row of a task. Strings and bytes are borrowed; text is never NULL. */
struct task_state {
    int64_t n; /* of the row, in order of first sight; 0: not stored yet */
    const char *id;
    enum state state;

    /* The submission. */
    enum task_from task_from;
    struct bytes task; /* encoded */
    const char *name, *source, *command, *report_path;
    const char *batch, *batch_name;
    uint32_t batch_index, batch_size;
    int64_t submitted_at_ms, accepted_at_ms;
    uint64_t accepted_seq;
    int64_t in_at_ms; /* the newest message of it on tasks.in */
    uint64_t in_seq;
    enum gate gate;
    bool ungated; /* seen on tasks.in without a gate: it was let go */

    /* The decision of the newest drive. */
    bool routed;
    uint32_t drive;
    int64_t routed_at_ms;
    uint64_t routed_seq;
    struct bytes decision;    /* encoded */
    struct bytes routed_task; /* encoded; none if it is task, unchanged */
    const char *backend, *lane;

    /* The first request to cancel it. */
    int64_t cancel_at_ms; /* 0: none */
    const char *cancel_by, *cancel_reason;

    /* The outcome, or the latest attempt while there is none. */
    bool has_result, final, again;
    uint32_t result_attempt;
    uint64_t result_fence;
    int32_t exit_code;
    uint32_t failed_step;
    const char *reason, *worker;
    int64_t started_at_ms, finished_at_ms, retry_at_ms;
    uint32_t attempts; /* the highest number seen */
    uint32_t finals;   /* results that claimed to be final */

    /* What the ledger has done about it; fold only raises report_due. */
    bool released;      /* sent to tasks.in again */
    uint32_t drives;    /* the highest drive it has sent to a lane */
    uint32_t resubmits; /* times it has sent it to the router again */
    bool report_due;    /* a report is to be written (again) */
    const char *report; /* where it stands; "" before it was written */
};

/* One attempt as recorded; the key is task, attempt and fence. */
struct attempt_row {
    bool known;   /* it was recorded before */
    bool changed; /* set by fold: record it */
    uint32_t attempt;
    uint64_t fence;
    bool final, again;
    int64_t at_ms;                         /* when the result was stored */
    const char *backend, *provider, *team; /* set by fold */
    const char *cost_usd;                  /* "": it says nothing */
    bool estimated;
    int64_t ended_at_ms;
    struct bytes result; /* encoded, with its output */
};

enum event_kind { EVENT_ACCEPTED, EVENT_ROUTED, EVENT_RESULT, EVENT_CANCEL };

/* One message, decoded. What its kind does not need is not looked at. */
struct event {
    enum event_kind kind;
    uint64_t seq;  /* in its stream */
    int64_t at_ms; /* when the broker stored it */

    const struct task *task; /* ACCEPTED, ROUTED */
    struct bytes task_bytes; /* encoded */
    const char *command;     /* task_summary of it */

    const struct decision *decision; /* ROUTED */
    struct bytes decision_bytes;
    uint32_t drive;

    const struct result *result; /* RESULT */
    struct bytes result_bytes;
    bool stale; /* the claim has moved on to a later attempt */

    const struct control *control; /* CANCEL */
};

/* An empty row for id, which is borrowed. */
void fold_init(struct task_state *s, const char *id);

/*
 * Applies one event to the row; true if anything changed. a is the attempt a
 * RESULT is about, as recorded (known false, if it is not), else NULL.
 */
bool fold(struct task_state *s, struct attempt_row *a, const struct event *ev);

/* Whether a program ran to the end the row tells of: its exit code counts. */
bool fold_has_exit_code(const struct task_state *s);

/* --- what follows from a change ------------------------------------------- */

/* scope: "" for all, or "backend.lane". Deltas may be negative: besides totals
 * (tasks, attempts, superseded; unseen: of which no submission came yet) each
 * state counts the tasks that are in it. */
typedef void fold_count_fn(void *ctx, const char *scope, const char *name,
                           int64_t delta);

/* Tells what the step from before to after adds to the counters. */
void fold_counts(const struct task_state *before,
                 const struct task_state *after, fold_count_fn *fn, void *ctx);

/* A batch as the sum of its tasks. */
struct batch_state {
    int64_t n;      /* of the row; 0: not stored yet */
    struct batch b; /* done is derived */
    bool report_due;
    const char *report; /* "" before it was written */
};

void fold_batch_init(struct batch_state *b, const char *id);

/* Applies the same step to b, the batch that before or after belongs to. */
void fold_batch(struct batch_state *b, const struct task_state *before,
                const struct task_state *after);

#endif
