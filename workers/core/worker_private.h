/*
 * worker_private - what the parts of the worker share.
 *
 * worker.c   lanes, drain
 * delivery.c   what arrives: messages of one task or many
 * job.c      slots, running, limits
 * due.c      renewals, and what comes with time
 * room.c     how many tasks to take
 * ahead.c    how many of them beyond the slots
 * news.c     heartbeats
 * claim.c    the claim of an attempt: take, renew, settle by compare-and-set
 * finish.c   what an end means
 * post.c     results on their way to the broker
 * resend.c   outcomes the broker has not confirmed: to disk, and from there
 *
 * A job is one task of a delivery and moves through the phases in order. Each
 * function named attempt_* or claim_* may free the job: callers do not touch it
 * afterwards.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_WORKER_PRIVATE_H
#define WORKERS_CORE_WORKER_PRIVATE_H

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/lane_pause.h"
#include "lib/bus/multi_msg.h"
#include "lib/model/subject.h"
#include "workers/core/claim_watch.h"
#include "workers/core/prefetch.h"
#include "workers/core/result_spool.h"
#include "workers/core/worker.h"

enum {
    POOL_BYTES = 2048,    /* of a job at first */
    BEAT_MOST_MS = 10000, /* between heartbeats: a third of the ack wait */
    PUT_TIMEOUT_MS = 5000,
    AGAIN_MS = 500,        /* before a write that failed is tried again */
    HELD_MS = 1000,        /* what comes from a paused lane comes again then */
    UNCONFIRMED_MS = 1000, /* an outcome for so long: it goes to disk */
    UNCONFIRMED_MOST_MS = 10000, /* while the broker confirms others */
    SPOOL_BURST = 32, /* outcomes to disk, then the broker is listened to */
    TELL_MS = 50,     /* a run is news once it has lasted so long */
    SLOW_LOOK_MS = 5, /* between looks for slots that are busy for long */
    ATTEMPT_BUCKETS = 256,
    SPARE_MOST = 64, /* attempts and pools kept for the next ones */
    NONCE_SIZE = 25,
    INTENT_SIZE = 256,
};

enum attempt_phase {
    PHASE_CLAIM,   /* the claim is being read or written */
    PHASE_READY,   /* claimed, waits for a slot */
    PHASE_RUN,     /* the executor has it */
    PHASE_OUTPUT,  /* ended, the last of its output is being stored */
    PHASE_SETTLE,  /* the claim is being set to its outcome */
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

struct lane {
    struct worker *worker;
    char name[SUBJECT_TOKEN_MAX + 1];
    struct bus_consumer *consumer;
    unsigned members; /* tasks in the last message */
    bool paused;      /* it takes nothing new; what it has goes on */
};

/* A message in hand, of one task or many. */
struct delivery {
    struct delivery *next, *prev;
    struct delivery *waiting_next; /* of those with tasks that have not begun */
    struct lane *lane;
    struct bus_msg *msg;
    struct codec_bulk tasks; /* those that have not begun */
    bool many;
    bool left;        /* not to be settled: the broker delivers it again */
    int64_t again_ms; /* after so long it is to come again; -1: it is not */
    int64_t wait_ms;  /* then those that have not begun are sent on */
    size_t open; /* attempts and pending, and one more until all have begun */
};

struct attempt {
    struct attempt *next,
        *prev; /* all attempts of the worker; next: spare ones */
    struct attempt *hash_next;  /* in its bucket, by task */
    struct attempt *ready_next; /* of those that wait for a slot */
    struct worker *w;
    struct lane *lane;
    struct delivery *delivery;
    struct mem_pool *pool;
    struct routed_task routed;
    const struct task *task;
    enum attempt_phase phase;
    enum cause cause;
    bool ran;           /* the executor has started it */
    bool writing;       /* a claim is on its way to the bucket */
    bool reading;       /* or from it */
    bool settle_next;   /* the outcome waits for the renewal on its way */
    bool closing;       /* the claim being written is another attempt's */
    bool inherited;     /* claim.remote is an earlier attempt's */
    bool note_due;      /* claim.remote is to be written */
    bool note_sent;     /* it is in what was written last */
    bool known;         /* the ledger was asked about it: it is not over */
    bool own;           /* the outcome is of an attempt of ours */
    bool spooled;       /* and there is a file of it */
    bool posted;        /* its result is stored, and left before it was */
    struct claim claim; /* as last written, or about to be */
    uint64_t revision;  /* of the claim in the bucket; 0: none */
    char nonce[NONCE_SIZE];
    char mark[16 + NONCE_SIZE];
    const char *why;      /* reason of a cancel or a failed start */
    int64_t sent_ms;      /* when the write on its way left, lease_now_ms */
    int64_t unsure_ms;    /* the oldest write without an answer; 0: none */
    int64_t confirmed_ms; /* when the last write that arrived left */
    /* When each is due; INT64_MAX: never. */
    int64_t deadline_ms, idle_ms, kill_ms, again_ms, spool_ms, tell_ms;
    int64_t wait_ms;            /* for a slot, at the longest */
    int64_t delay_ms;           /* of the next delivery, if not final */
    int64_t began_ms, ended_ms; /* of the task's own work, monotonic */
    void (*noted)(void *ctx);   /* of run_order.note; NULL: none waits */
    void *noted_ctx;
    void *run; /* the executor's */
    struct sink *sink;
    struct dod_evidence
        *facts; /* of its definition of done; NULL: none needed */
    enum run_status stage;
    struct outcome *outcome; /* see attempt_outcome */
    struct result result;
    struct result_msg
        *post; /* its result is on its way in that; NULL: it is not */
    struct attempt *post_next; /* another one in the same */
    struct str prior;          /* a result of an earlier attempt, to publish */
    char prior_id[RESULT_ID_SIZE];
};

struct worker {
    struct bus *bus;
    struct loop *loop;
    const struct worker_conf *conf;
    const struct state_dir *home;
    const struct executor *ex;
    void *ex_ctx;
    char name[SUBJECT_TOKEN_MAX + 1];
    char host[256];
    struct lane *lanes;
    size_t n_lanes;
    unsigned slots, running;
    struct prefetch ahead;
    unsigned n_slow;  /* slots busy for longer than what is claimed ahead of */
    int64_t slow_ms;  /* when they were counted */
    int64_t beat_ms;  /* between heartbeats, and renewals of claims */
    int64_t fence_ms; /* without a renewal: the attempt is killed */
    unsigned n_attempts;
    unsigned n_over;          /* of them, those whose run has ended */
    struct attempt *attempts; /* newest first */
    struct attempt *buckets[ATTEMPT_BUCKETS];
    struct attempt *ready, *ready_last;
    struct attempt *spare;
    struct mem_pool *pools[SPARE_MOST];
    unsigned n_spare, n_pools;
    struct outcome polled; /* what the executor said last */
    struct str scratch;
    struct mem_pool *scratch_pool;
    struct delivery *deliveries;
    struct delivery *waiting, *waiting_last; /* first come, first begun */
    size_t n_waiting;                        /* tasks in them */
    struct pending_publish *pending;
    struct loop_hook *begin;
    struct claim_watch *sights;
    struct result_publisher *outbox;
    struct spool_replay *resend;
    int64_t heard_ms;   /* when the broker last confirmed anything */
    unsigned n_spooled; /* outcomes, in this look at what is due */
    bool unsynced;      /* outcomes were written, their names are not safe */
    bool spool_failing; /* said so already */
    struct bus_sub *cancels, *drains, *rolls;
    struct lane_pauses *pauses;
    struct loop_timer *beat, *due, *news, *roll, *drain_timer;
    int64_t due_ms;     /* when due fires; INT64_MAX: never */
    int64_t beat_at_ms; /* the last heartbeat of the timer */
    int64_t started_at_ms, last_news_ms;
    int64_t ran_ms;        /* when a run last ended */
    int64_t short_runs_ms; /* when short_runs_told last changed */
    bool busy_told, short_runs_told, draining, handing_back, stopped;
};

/*
 * What leases are measured with: CLOCK_BOOTTIME, which counts what
 * CLOCK_MONOTONIC counts and the time of a suspend as well. So what is fresh
 * by this clock is fresh by both.
 */
int64_t lease_now_ms(void);

/* --- worker.c --- */

/* A message has gone: stops the worker if it drains and that was the last. */
void worker_check_drained(struct worker *w);

/* --- delivery.c --- */

/* A message of a lane, which is ctx. */
void delivery_on_message(void *ctx, struct bus_msg *m);
/* Begins tasks that wait, while there is room. */
void delivery_begin_waiting(void *worker);
/* Sends on all that have not begun, for others to take. */
void delivery_send_on_waiting(struct worker *w);
/* The same for those whose time has come; says when the next's will. */
int64_t delivery_send_on_overdue(struct worker *w, int64_t now_ms);
/* Publishes one task of many to its lane again, by itself. */
void delivery_send_on(struct delivery *p, const struct routed_task *routed);
/* One of its tasks is settled; with the last, so is the message. May free it.
 */
void delivery_release(struct delivery *p);
/* Drops all attempts and messages, settling nothing. */
void delivery_drop_all(struct worker *w);

/* --- news.c --- */

void heartbeat_send(struct worker *w);
/* Tells that the worker became busy or idle, or its runs short or long; each
 * once a second at most. */
void heartbeat_notify(struct worker *w);
/* Answers a roll call, soon. */
void heartbeat_answer_roll_call(struct worker *w);

/* --- job.c --- */

/* Moves it on. */
void attempt_set_phase(struct attempt *a, enum attempt_phase phase);
/* Hands back what is claimed and waits for a slot. */
void attempt_return_ready(struct worker *w);
/* How the attempt went, as far as it is known. Thousands wait that have none:
 * it is made when it is first asked for. */
struct outcome *attempt_outcome(struct attempt *a);
/* NULL if the task is not in hand. */
struct attempt *attempt_find(struct worker *w, const char *task);
/* Pools for messages, of a size that the C library would otherwise search a
 * place for each time. */
struct mem_pool *attempt_pool_take(struct worker *w);
void attempt_pool_give(struct worker *w, struct mem_pool *pool);
void attempt_free_spare(struct worker *w);
/* Takes over one task of p, and the pool that routed was decoded into. */
void attempt_begin(struct delivery *p, struct mem_pool *pool,
                   const struct routed_task *routed);
/* Ends it for that cause: politely first, the grace runs from then. */
void attempt_cancel(struct attempt *a, enum cause cause, bool hard);
/* Its claim has changed in what others go by: tells them, if they know that it
 * runs. */
void attempt_tell(struct attempt *a);
/* Its slot's turn: the claim is confirmed. */
void attempt_claimed(struct attempt *a);
/* The claim is somebody else's: kill it, say nothing. */
void attempt_lost(struct attempt *a);
/* Each frees the job. It is over; it is to be delivered again, of many at once;
 * nothing is said of it. */
void attempt_done(struct attempt *a);
void attempt_retry(struct attempt *a, int64_t delay_ms);
void attempt_drop(struct attempt *a);
/* Gives it up if no renewal was confirmed for too long: true if it did, and a
 * may be gone. */
bool lease_fence_off(struct attempt *a);

/* --- due.c --- */

/* Renews every claim that would be older than beat_ms when this is called
 * again, in pause_ms; gives up what could not be renewed. */
void lease_renew_all(struct worker *w, int64_t pause_ms);
/* Makes sure that due things are looked at no later than at_ms. */
void deadlines_at(struct worker *w, int64_t at_ms);

/* --- room.c --- */

/* How many more tasks may be taken. */
unsigned capacity_free(struct worker *w);
/* Counts anew how many may be claimed beyond the slots. */
void capacity_recount(struct worker *w);
/* After any of that has changed: each lane asks for what there is room for, by
 * what its messages hold; what comes beyond that, from several, is handed back
 * or waits. leaving: a delivery of that lane is about to be settled; or NULL.
 */
void capacity_set_windows(struct worker *w, const struct lane *leaving);

/* --- claim.c --- */

void claim_begin(struct attempt *a);
/* Writes the claim as it stands, to prolong the lease. */
void claim_renew(struct attempt *a);
/* Writes claim.remote, then calls noted. */
void claim_note(struct attempt *a);
/* Writes the outcome in a->claim, then calls settle_stored. The result leaves
 * along with it, if the outcome is an attempt's of ours. */
void claim_settle(struct attempt *a);
/* again_ms has come. */
void claim_again(struct attempt *a);

/* --- resend.c --- */

/* The outcome of the run that has ended is to be confirmed from now on: soon,
 * or it goes to disk. */
void spool_replay_expect(struct attempt *a);
/* Writes the outcome to disk, if it has one of its own that is not there. */
void spool_replay_write(struct attempt *a);
/* It has not been confirmed in time: writes it now, or says when. */
void spool_replay_overdue(struct attempt *a);
/* The broker has confirmed something. */
void spool_replay_confirmed(struct worker *w);
/* The result is stored: the file is no longer needed. */
void spool_replay_remove(struct attempt *a);
/* The claim has moved on: the file is set aside. */
void spool_replay_set_aside(struct attempt *a);
/* Makes the names of what was written durable, at once for many. */
void spool_replay_sync(struct worker *w);
/* Sends what lies on disk and belongs to no job in hand; at start, and each
 * time the broker is back. */
void spool_replay_start(struct worker *w);
void spool_replay_free(struct worker *w);

/* --- post.c --- */

void result_publisher_open(struct worker *w);
void result_publisher_close(struct worker *w);
/* Publishes a->result until it is stored, with others of this turn; calls
 * settle_published. All is encoded at once. */
void result_publisher_publish(struct attempt *a);
/* The same, once, while the outcome is on its way into the claim: the ledger
 * believes the result when that is there. Calls settle_published_early. */
void result_publisher_publish_early(struct attempt *a);
/* Nothing is to be heard of it any more; it stays on its way. */
void result_publisher_forget(struct attempt *a);
/* Publishes r, alone, until it is stored, without its output if that is too
 * much. */
void result_publisher_publish_one(struct worker *w, const char *subject,
                                  const struct result *r, bus_stored_fn *fn,
                                  void *ctx);

/* --- finish.c --- */

/* Fills a->result and a->claim with the outcome of the attempt that is over. */
void verdict_fill(struct attempt *a);
/* Where results of that task go; out has SUBJECT_SIZE. */
const char *result_publisher_subject(const struct attempt *a, char *out);
/* The attempt is over, with all its output stored: judges it. */
void settle_begin(struct attempt *a);
/* The claim holds the outcome. */
void settle_stored(struct attempt *a);
/* So does RESULTS, or (e) it never will. */
void settle_published(struct attempt *a, const struct err *e);
/* RESULTS has what left early, or it may not. */
void settle_published_early(struct attempt *a, bool stored);
/* Prepares the outcome of a task that is closed without running. */
void settle_close(struct attempt *a, const struct claim *found,
                  const struct delivery_plan *plan);
/* Publishes the stored outcome once more. */
void settle_emit(struct attempt *a, const struct claim *found);
/* Keeps the outcome of the attempt before ours, which may not be known yet. */
void settle_keep_prior(struct attempt *a, const struct claim *found,
                       uint64_t revision);
void settle_publish_prior(struct attempt *a);

#endif
