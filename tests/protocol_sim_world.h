/*
 * protocol_sim_world - what the parts of the simulation share.
 *
 *   protocol_sim_model.c    time, submitter, router, faults, the promises
 *   protocol_sim_broker.c   claims, results and lanes, as JetStream keeps them
 *   protocol_sim_worker.c   a worker, step by step as workers/core does it
 *   protocol_sim_ledger.c   the ledger, around the real fold
 *   protocol_sim_cancel.c   requests to cancel, and who carries them out
 */
#ifndef TESTS_PROTOCOL_SIM_WORLD_H
#define TESTS_PROTOCOL_SIM_WORLD_H

#include "lib/base/mem.h"
#include "lib/model/task.h"
#include "reaper/ingest/fold.h"
#include "tests/protocol_sim_model.h"

enum {
    SIM_TASKS = 10,
    SIM_WORKERS = 3,
    SIM_SLOTS = 3,
    SIM_ATTEMPTS = 32,
    SIM_MESSAGES = 512,
    LEASE_MS = 30000,
    BEAT_MS = 10000,
    FENCE_MS = 20000,
    WAKE_MS = 20000, /* of a worker that was suspended, to renew first */
    PUT_MS = 5000,
    ACK_WAIT_MS = 30000,
};

/* A claim or a result on the wire; its strings live until the run ends. */
struct sim_wire {
    struct claim claim;
    struct result result;
    bool has_result;
};

enum sim_step_kind {
    AT_SUBMIT,
    AT_ROUTER,
    AT_DELIVER,
    AT_ARRIVE,
    AT_ACK_WAIT,
    AT_ACK,
    AT_NAK,
    AT_PROGRESS,
    AT_CAS,
    AT_CAS_ANSWER,
    AT_READ,
    AT_READ_ANSWER,
    AT_RESULT,
    AT_RESULT_ANSWER,
    AT_RUN_END,
    AT_BEAT,
    AT_AGAIN,
    AT_FAULT,
    AT_RESTART,
    AT_FORGE,
    AT_LEDGER_ACCEPTED,
    AT_LEDGER_ROUTED,
    AT_LEDGER_RESULT,
    AT_RECONCILE,
    AT_CANCEL, /* somebody asks for it */
    AT_NOTICE, /* a worker hears of it */
    AT_LOOK,   /* a worker reads the key */
    AT_LOOK_ANSWER,
    AT_LEDGER_CANCEL,
    AT_LEDGER_PASS,  /* over the cancels that are open */
    AT_LEDGER_CLOSE, /* its claim for a cancelled task reaches the broker */
};

enum sim_answer { ANSWER_OK, ANSWER_CONFLICT, ANSWER_TIMEOUT };

/* Something that will happen at a time, to a worker if it has one. */
struct sim_step {
    int64_t at_ms;
    uint64_t order; /* random: what comes at one time comes in any order */
    enum sim_step_kind kind;
    int worker;     /* -1: none */
    unsigned epoch; /* of that worker: a crash forgets what was under way */
    int task, msg;  /* of a fault, msg is the worker it strikes */
    uint64_t attempt, ask; /* whose answer this is */
    uint64_t revision;     /* expected, or found */
    int64_t value;         /* delay, time stored */
    int64_t said_ms;       /* when the broker gave this answer; 0: it did not */
    enum sim_answer answer;
    struct sim_wire *wire;
};

enum sim_phase { PHASE_CLAIM, PHASE_RUN, PHASE_SETTLE, PHASE_PUBLISH };

struct sim_attempt {
    bool used;
    uint64_t n;
    int task, msg; /* msg -1: no delivery of its own */
    enum sim_phase phase;
    bool closing, again, settle_next, has_prior;
    bool cancelled;       /* it is to end, or not to start */
    struct sim_wire wire; /* the claim as last written, or about to be */
    const char *nonce;    /* "" before it wrote one */
    uint64_t revision;
    int64_t sent_ms, confirmed_ms; /* monotonic */
    int64_t unsure_ms; /* the oldest write without an answer; 0: none */
    uint64_t writing, reading, putting,
        looking; /* the question asked; 0: none */
    bool posted; /* the result is stored; the outcome perhaps not yet */
    int64_t delay_ms;
    struct result prior;
};

/* When a worker first saw a revision. */
struct sim_watched {
    uint64_t revision;
    int64_t since_ms;
};

struct sim_worker {
    const char *name;
    bool down;
    unsigned epoch;
    int64_t frozen_until_ms, thawed_at_ms;
    bool asleep;          /* frozen, and has not noticed yet that it was */
    int64_t grace_ms;     /* it does not give up before; monotonic */
    int64_t cut_until_ms; /* nothing comes through */
    int64_t mono_offset_ms, wall_offset_ms;
    int64_t broker_ms, broker_seen_ms; /* newest time seen, and when */
    struct sim_attempt attempts[SIM_SLOTS];
    struct sim_attempt spool[SIM_SLOTS]; /* outcomes from before a crash */
    struct sim_watched watched[SIM_TASKS];
    /* Its table of cancels. */
    bool noted[SIM_TASKS];
    bool missed[SIM_TASKS]; /* stored while nothing came through */
    bool stale;             /* it is not up to date, which the worker knows */
};

/* A routed task in its stream. */
struct sim_msg {
    int task;
    bool acked, out; /* out: delivered, and its ack wait runs */
    unsigned delivered;
    unsigned generation; /* of the ack wait */
    int64_t stored_ms;
    uint32_t drive;
};

/* A result in its stream. */
struct sim_result {
    struct result r;
    int64_t stored_ms;
    int64_t known_until_ms; /* the broker remembers its id */
    bool forged;
    unsigned delivered;
    bool taken;
};

/* The claim of a task in its bucket. */
struct sim_kv {
    uint64_t revision, was_revision; /* 0: none; was_: before the last write */
    int64_t stored_ms;               /* by the broker's clock */
    int64_t written_ms;              /* by true time */
    struct sim_wire wire, was;
};

/* What truly happened to a task, for the promises. */
struct sim_truth {
    bool submitted, accepted, stored_final;
    unsigned starts[SIM_ATTEMPTS];
    bool settled[SIM_ATTEMPTS];
    uint64_t fence;
    unsigned failed, lost;
    int64_t cancelled_ms;           /* when the request was stored; 0: never */
    int64_t taken_ms[SIM_ATTEMPTS]; /* when the claim was */
};

struct sim_row {
    struct task_state row;
    struct attempt_row attempts[2 * SIM_ATTEMPTS];
    size_t n_attempts;
};

struct sim {
    const struct sim_conf *conf;
    struct sim_report *report;
    uint64_t random;
    int64_t now_ms, faults_end_ms, broker_down_until_ms, broker_offset_ms;
    int64_t
        broker_asleep_until_ms; /* suspended: nothing is lost, all is late */
    bool broker_stepped;
    unsigned trouble; /* percent of messages that are lost or late */
    uint64_t n_attempts, n_asks, revision;
    struct mem_pool *pool;
    struct sim_step *heap;
    size_t n_heap, cap_heap;
    struct task tasks[SIM_TASKS];
    char ids[SIM_TASKS][TASK_ID_SIZE];
    int n_tasks;
    struct sim_truth truth[SIM_TASKS];
    struct sim_kv kv[SIM_TASKS];
    struct sim_row rows[SIM_TASKS];
    struct sim_worker workers[SIM_WORKERS];
    struct sim_msg msgs[SIM_MESSAGES];
    int n_msgs;
    struct sim_result results[SIM_MESSAGES];
    int n_results;
    int64_t routed_until_ms[SIM_TASKS]; /* ids the broker remembers */
    int64_t accepted_ms[SIM_TASKS];
    bool cancels[SIM_TASKS]; /* the keys in the bucket */
};

/* --- protocol_sim_model.c --- */

uint64_t sim_random(struct sim *sim);
bool sim_chance(struct sim *sim, unsigned of_hundred);
int64_t sim_between(struct sim *sim, int64_t least, int64_t most);
/* How long one message takes: mostly short. */
int64_t sim_latency_ms(struct sim *sim);
/* Whether a message of that worker is lost; -1: of anybody else. */
bool sim_is_lost(struct sim *sim, int worker);
/* Now and then a fault strikes the worker at that very moment. */
void sim_maybe_fault(struct sim *sim, int worker);
/* How long a command runs, and how it ends. */
int64_t sim_run_ms(struct sim *sim);
struct ending sim_random_end(struct sim *sim);
void sim_schedule(struct sim *sim, int64_t delay_ms, struct sim_step s);
bool sim_is_faulty(const struct sim *sim);    /* faults have not ended */
int64_t sim_broker_ms(const struct sim *sim); /* as its clock shows it */
bool sim_broker_is_down(const struct sim *sim);
void sim_trace(const struct sim *sim, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void sim_violation(struct sim *sim, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A worker begins to run the attempt it has claimed. */
void sim_attempt_started(struct sim *sim, int worker,
                         const struct sim_attempt *a);

/* Whether the attempt keeps what was promised to who asked for a cancel. */
void sim_attempt_ended(struct sim *sim, int worker,
                       const struct sim_attempt *a);

/* Checks a claim that is about to be written over another. */
void sim_claim_written(struct sim *sim, int task, const struct claim *was,
                       const struct claim *is);

/* --- protocol_sim_broker.c --- */

void sim_broker_step(struct sim *sim, const struct sim_step *s);
/* Until when the broker remembers an id it stores now. */
int64_t sim_remember_until(struct sim *sim);
/* Stores the routed task and sends it to a worker and to the ledger. */
void sim_route(struct sim *sim, int task, uint32_t drive);
void sim_store_result(struct sim *sim, const struct result *r, bool forged);
/* The same, unless the broker remembers its id. */
void sim_post_result(struct sim *sim, int task, const struct result *r);
/* Writes the claim if it is at that revision. */
bool sim_compare_and_set(struct sim *sim, int task, uint64_t revision,
                         const struct sim_wire *wire, const char *by);
void sim_notify_ledger(struct sim *sim, enum sim_step_kind kind, int task,
                       int msg);

/* --- protocol_sim_worker.c --- */

void sim_worker_step(struct sim *sim, const struct sim_step *s);
void sim_worker_crash(struct sim *sim, int worker);
void sim_worker_restart(struct sim *sim, int worker);
/* It knows of a cancel now: a run of it is stopped. */
void sim_worker_note(struct sim *sim, int worker, int task);
/* It notices that it was suspended. */
void sim_worker_wake(struct sim *sim, int worker);

/* --- protocol_sim_ledger.c --- */

void sim_ledger_open(struct sim *sim);
void sim_ledger_step(struct sim *sim, const struct sim_step *s);
/* Compares the rows with the claims, and with what a new ledger makes of the
 * same messages in another order. */
void sim_ledger_check(struct sim *sim);

/* --- protocol_sim_cancel.c --- */

void sim_cancel_open(struct sim *sim);
/* Whether a task is to be cancelled, and when. */
void sim_cancel_plan(struct sim *sim, int task, int64_t submit_ms);
void sim_cancel_step(struct sim *sim, const struct sim_step *s);
/* The router ends a task instead of routing it. False: it is to be routed. */
bool sim_cancel_by_router(struct sim *sim, const struct sim_step *s);

#endif
