/*
 * fold - the row of a task as a pure function of the events about it.
 *
 * The events come from several streams and may arrive in any order and more
 * than once. Each adds a fact to the row (how it was submitted, where it was
 * routed, how attempt 2 ended, that a cancel was requested). Conflicting facts
 * are ranked by what they say and never by when they arrived, and the state
 * follows from the facts: every interleaving ends with the same row. A terminal
 * state never changes.
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

/* The message that the submission was read from; the greater wins, because the
 * router may change a task (prefixes, gates) before it sends it on. */
enum task_from { TASK_FROM_NONE, TASK_FROM_ROUTED, TASK_FROM_ACCEPTED };

/* The row of a task. Strings and bytes are borrowed; text is never NULL. */
struct task_state {
    int64_t n; /* of the row, in the order first seen; 0: not stored yet */
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
    bool ungated; /* seen on tasks.in without a gate: it was released */

    /* The decision of the newest dispatch to a lane. */
    bool routed;
    uint32_t dispatch; /* 0, or the n-th time it was dispatched again */
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
    bool no_exit_code; /* of its own: exit_code means nothing */
    uint32_t failed_step;
    const char *reason, *worker;
    int64_t started_at_ms, finished_at_ms, retry_at_ms;
    uint32_t attempts; /* the highest number seen */
    uint32_t finals;   /* results that claimed to be final */

    /* What the reaper has done about it; of these fold only sets report_due. */
    bool released;       /* sent to tasks.in again */
    uint32_t dispatches; /* the highest dispatch it has sent to a lane */
    uint32_t resubmits;  /* how often it has sent it to the router again */
    bool report_due;     /* a report is to be written (again) */
    const char *report;  /* its path; "" before it was written */
};

/* One recorded attempt; the key is task, attempt and fence. */
struct attempt_row {
    bool known;   /* it was recorded before */
    bool changed; /* set by fold: record it */
    uint32_t attempt;
    uint64_t fence;
    bool final, again;
    int64_t at_ms;                         /* when the result was stored */
    const char *backend, *provider, *team; /* set by fold */
    const char *cost_usd;                  /* "": unknown */
    bool estimated;
    int64_t ended_at_ms;
    struct bytes result; /* encoded, with its output */
};

enum event_kind { EVENT_ACCEPTED, EVENT_ROUTED, EVENT_RESULT, EVENT_CANCEL };

/* One decoded message. Members that its kind does not need are not read. */
struct event {
    enum event_kind kind;
    uint64_t seq;  /* in its stream */
    int64_t at_ms; /* when the broker stored it */

    const struct task *task; /* ACCEPTED, ROUTED */
    struct bytes task_bytes; /* encoded */
    const char *command;     /* task_summary of it */

    const struct decision *decision; /* ROUTED */
    struct bytes decision_bytes;
    uint32_t dispatch;

    const struct result *result; /* RESULT */
    struct bytes result_bytes;
    bool stale; /* the claim has moved on to a later attempt */

    const struct control *control; /* CANCEL */
};

/* An empty row for id, which is borrowed. */
void fold_init(struct task_state *s, const char *id);

/*
 * Applies one event to the row; true if anything changed. a is the attempt of a
 * RESULT, as recorded (known is false if it is not), else NULL.
 */
bool fold(struct task_state *s, struct attempt_row *a, const struct event *ev);

/* Whether the outcome of the row has an exit code: that of a program. */
bool fold_has_exit_code(const struct task_state *s);

/* --- what follows from a change ------------------------------------------- */

/* scope: "" for all, or "backend.lane". Deltas may be negative: besides totals
 * (tasks, attempts, superseded; unseen: tasks without a submission yet) there
 * is a counter per state of the tasks that are in it. */
typedef void fold_count_fn(void *ctx, const char *scope, const char *name,
                           int64_t delta);

/* Calls fn with what the step from before to after adds to the counters. */
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
