/*
 * worker_types - a worker, its lanes and the attempts it has in hand, as the
 * files of this folder share them.
 *
 * The files form layers. Each calls only files below it; what happens further
 * down is reported upwards through the callbacks its header names. A function
 * that is said to end an attempt frees it: callers do not touch it afterwards.
 *
 *   worker            opens and closes; lanes, drain, events of the bus
 *   lifecycle         what follows on each event of an attempt
 *   run               slots: starts attempts through the executor, ends them
 *   settle            stores an attempt's end: its claim, then its result
 *   spool_replay      sends the outcomes that an earlier life left on disk
 *   unconfirmed       writes to disk what the broker does not confirm
 *   verdict           judges how an attempt went
 *   attempt           attempts in hand: memory, phases, the queue for a slot
 *   claim             the claim of an attempt: takes, renews and settles it
 *   result_publisher  results on their way to the broker
 *   delivery          messages of the lanes, of one task or many
 *   heartbeat         tells the fleet that the worker is alive, and busy
 *   claims_room       whether there is room for new claims
 *   capacity          how many more tasks may be taken
 *
 * Below them, knowing nothing of workers: lease, deadlines, prefetch,
 * ledger_query, output, dod_evidence, result_spool, state_dir.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_WORKER_TYPES_H
#define WORKERS_CORE_WORKER_TYPES_H

#include "lib/base/hash.h"
#include "lib/base/str.h"
#include "lib/bus/bus.h"
#include "lib/model/subject.h"
#include "lib/model/task.h"
#include "workers/core/deadlines.h"
#include "workers/core/executor.h"
#include "workers/core/lease.h"
#include "workers/core/prefetch.h"
#include "workers/core/worker_conf.h"

#include <sys/queue.h>

enum { NONCE_SIZE = 25 };

enum attempt_phase {
    PHASE_CLAIM,   /* the claim is being read or written */
    PHASE_READY,   /* claimed, waits for a slot */
    PHASE_RUN,     /* the executor has it */
    PHASE_OUTPUT,  /* ended, the last of its output is being stored */
    PHASE_SETTLE,  /* the claim is being set to its outcome */
    PHASE_CLOSE,   /* the claim of an attempt that was lost is being closed */
    PHASE_PUBLISH, /* the result is being stored */
};

/* Why we ended an attempt ourselves. */
enum cause {
    CAUSE_NONE,
    CAUSE_TIMEOUT,
    CAUSE_IDLE,
    CAUSE_CANCEL,
    CAUSE_PREEMPT, /* handed back */
    CAUSE_START,   /* the executor could not start it, now */
    CAUSE_LOST,    /* the claim is no longer ours: say nothing */
};

/* What of a claim is on its way: see the picture in claim.c. */
enum claim_io {
    CLAIM_IDLE,
    CLAIM_READING,
    CLAIM_ASKING, /* the ledger, about a task older than claims are kept */
    CLAIM_TAKING,
    CLAIM_CHECKING, /* whether the task, now claimed, was cancelled */
    CLAIM_RENEWING,
    CLAIM_NOTING, /* a renewal with a note that is not confirmed yet */
    CLAIM_SETTLING,
};

/* Of what the executor wants to have in the claim. */
enum claim_note {
    NOTE_NONE,
    NOTE_DUE,  /* to be written */
    NOTE_SENT, /* written, but not confirmed */
};

/* The outcome of a run that has ended here, until the broker has it. */
enum outcome_place {
    OUTCOME_NONE,     /* there is none, or it is another worker's */
    OUTCOME_MEMORY,   /* only here */
    OUTCOME_OUTDATED, /* an older form of it is in a file */
    OUTCOME_DISK,     /* it is in a file */
};

struct lane {
    struct worker *worker;
    char name[SUBJECT_TOKEN_MAX + 1];
    struct bus_consumer *consumer;
    unsigned members; /* tasks in the last message */
    bool paused;      /* it takes nothing new; what it has goes on */
};

/* One attempt at a task of a delivery. It moves through the phases in order. */
struct attempt {
    struct hash_link link;      /* in tasks */
    LIST_ENTRY(attempt) entry;  /* in attempts */
    TAILQ_ENTRY(attempt) queue; /* in ready, while in PHASE_READY */
    struct worker *w;
    struct lane *lane;
    struct delivery *delivery;
    struct mem_pool *pool;
    struct routed_task routed;
    const struct task *task;
    enum attempt_phase phase;
    enum cause cause;
    const char *why;        /* reason of a cancel or a failed start */
    struct control *cancel; /* the request; NULL: none */
    struct deadlines deadlines;
    int64_t began_ms, ended_ms; /* of the task's own work, monotonic */
    int64_t suspended_ms;       /* of it, when this worker did not run */

    /* Its claim. */
    enum claim_io io;
    enum claim_note note;
    bool inherited;     /* claim.remote is an earlier attempt's */
    bool unreadable;    /* what stands in the bucket is no claim */
    struct claim claim; /* as last written, or about to be */
    uint64_t revision;  /* of the claim in the bucket; 0: none */
    char nonce[NONCE_SIZE];
    struct lease lease;

    /* Its run. */
    bool ran; /* the executor has started it */
    char mark[16 + NONCE_SIZE];
    void *run; /* the executor's */
    enum run_status stage;
    void (*noted)(void *ctx); /* of run_order.note; NULL: none waits */
    void *noted_ctx;
    struct attempt_output *output;
    struct dod_evidence *evidence; /* NULL: none needed */

    /* Its end. */
    struct outcome *outcome; /* see verdict_outcome */
    const char **warnings;   /* at most TASK_WARNINGS_MOST; NULL: none */
    size_t n_warnings;
    struct result result;
    int64_t delay_ms; /* of the next delivery, if the result is not final */
    enum outcome_place place;
    bool stored_early;          /* its result left before the claim had it */
    struct result_msg *message; /* its result is on its way in it; or NULL */
    LIST_ENTRY(attempt) message_entry; /* among the results in it */
    struct str prior; /* a result of an earlier attempt, to publish */
    char prior_id[RESULT_ID_SIZE];
};

struct worker {
    struct bus *bus;
    struct loop *loop;
    const struct worker_conf *conf;
    const struct state_dir *state_dir;
    const struct executor *ex;
    void *ex_ctx;
    char name[SUBJECT_TOKEN_MAX + 1];
    struct lane *lanes;
    size_t n_lanes;
    struct lane_pauses *pauses;
    struct cancels *cancels;
    int64_t renew_ms;      /* between renewals of claims, and heartbeats */
    int64_t fence_ms;      /* without a renewal: the attempt is killed */
    int64_t gap_period_ms; /* an idle loop wakes so often to notice a stop */
    bool draining, handing_back, stopped;

    LIST_HEAD(attempts, attempt) attempts;  /* newest first */
    struct hash_table tasks;                /* the same, by task */
    TAILQ_HEAD(ready_queue, attempt) ready; /* they wait for a slot */
    unsigned slots, running;
    bool claims_full; /* nothing new is claimed */
    unsigned n_attempts;
    unsigned n_over;  /* of them, those whose run has ended */
    size_t n_waiting; /* tasks delivered that have not begun */
    struct prefetch prefetch;
    int64_t ran_ms;       /* when a run last ended */
    unsigned n_slow;      /* slots busy for longer than short runs are */
    int64_t n_slow_ms;    /* when they were counted */
    int64_t confirmed_ms; /* when the broker last confirmed anything */
    unsigned n_spooled;   /* outcomes written to disk since the last sync */
    bool spool_unsynced;  /* there are some, and their names are not safe */
    bool spool_failing;   /* logged already */

    struct str scratch; /* what is encoded, until it is sent */
    struct mem_pool *scratch_pool;

    /* Each of these belongs to the file of that name. */
    struct deadline_timer *deadlines;
    struct heartbeat_state *heartbeat;
    struct claims_room *claims_room;
    struct deliveries *deliveries;
    struct result_publisher *publisher;
    const struct claim_events *claim_events;
    struct claims_watch *watch;
    struct spool_replay *replay;

    /* Of worker.c. */
    struct bus_sub *drains, *rolls;
    struct loop_hook *begin;
    struct loop_timer *renewal, *drain_timer;
    int64_t heartbeat_ms; /* the last heartbeat with a renewal */
};

#endif
