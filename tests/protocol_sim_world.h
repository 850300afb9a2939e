/*
 * protocol_sim_world - what the parts of the model share.
 *
 * life_model.c    time, submitter, router, faults, the promises
 * life_broker.c   claims, results and lanes, as JetStream keeps them
 * life_worker.c   a worker, step by step as workers/core/claim.c and settle.c
 * life_ledger.c   the ledger, around the real fold
 */
#ifndef TESTS_PROTOCOL_SIM_WORLD_H
#define TESTS_PROTOCOL_SIM_WORLD_H

#include "lib/base/mem.h"
#include "lib/model/task.h"
#include "reaper/ingest/fold.h"
#include "tests/protocol_sim_model.h"

enum {
    LIFE_TASKS = 10,
    LIFE_WORKERS = 3,
    LIFE_SLOTS = 3,
    LIFE_ATTEMPTS = 32,
    LIFE_MESSAGES = 512,
    LEASE_MS = 30000,
    BEAT_MS = 10000,
    FENCE_MS = 20000,
    PUT_MS = 5000,
    ACK_WAIT_MS = 30000,
};

/* A claim or a result as it travels: strings outlive the run. */
struct sim_wire {
    struct claim claim;
    struct result result;
    bool has_result;
};

enum life_kind {
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
};

enum protocol_sim_world_answer { ANSWER_OK, ANSWER_CONFLICT, ANSWER_TIMEOUT };

/* Something that will happen at a time, to a worker if it has one. */
struct life_step {
    int64_t at_ms;
    uint64_t order; /* random: what comes at one time comes in any order */
    enum life_kind kind;
    int worker;        /* -1: none */
    unsigned epoch;    /* of that worker: a crash forgets what was under way */
    int task, msg;     /* a fault's msg is whom it strikes */
    uint64_t job, ask; /* whose answer this is */
    uint64_t revision; /* expected, or found */
    int64_t value;     /* delay, time stored */
    enum protocol_sim_world_answer answer;
    struct sim_wire *wire;
};

enum sim_phase { JOB_CLAIM, JOB_RUN, JOB_SETTLE, JOB_PUBLISH };

struct life_job {
    bool used;
    uint64_t n;
    int task, msg; /* msg -1: no delivery of its own */
    enum sim_phase phase;
    bool closing, again, settle_next, has_prior;
    struct sim_wire wire; /* the claim as last written, or about to be */
    const char *nonce;    /* "" before it wrote one */
    uint64_t revision;
    int64_t sent_ms, confirmed_ms; /* monotonic */
    int64_t unsure_ms; /* the oldest write without an answer; 0: none */
    uint64_t writing, reading, putting; /* the question asked; 0: none */
    bool posted; /* the result is stored; the outcome perhaps not yet */
    int64_t delay_ms;
    struct result prior;
};

/* When a worker first saw a revision. */
struct life_sight {
    uint64_t revision;
    int64_t since_ms;
};

struct life_worker {
    const char *name;
    bool down;
    unsigned epoch;
    int64_t frozen_until_ms, thawed_at_ms;
    int64_t cut_until_ms; /* nothing comes through */
    int64_t mono_offset_ms, wall_offset_ms;
    int64_t broker_ms, broker_seen_ms; /* newest time seen, and when */
    struct life_job jobs[LIFE_SLOTS];
    struct life_job spool[LIFE_SLOTS]; /* outcomes of the life before */
    struct life_sight sights[LIFE_TASKS];
};

/* A routed task in its stream. */
struct life_msg {
    int task;
    bool acked, out; /* out: delivered, and its ack wait runs */
    unsigned delivered;
    unsigned generation; /* of the ack wait */
    int64_t stored_ms;
    uint32_t drive;
};

/* A result in its stream. */
struct life_result {
    struct result r;
    int64_t stored_ms;
    int64_t known_until_ms; /* the broker remembers its id */
    bool forged;
    unsigned delivered;
    bool taken;
};

/* The claim of a task in its bucket. */
struct life_kv {
    uint64_t revision, was_revision; /* 0: none; was: before the last write */
    int64_t stored_ms;               /* by the broker's clock */
    int64_t written_ms;              /* truly */
    struct sim_wire wire, was;
};

/* What truly happened to a task, for the promises. */
struct life_truth {
    bool submitted, accepted, stored_final;
    unsigned starts[LIFE_ATTEMPTS];
    bool settled[LIFE_ATTEMPTS];
    uint64_t fence;
    unsigned failed, lost;
};

struct life_row {
    struct task_state row;
    struct attempt_row attempts[2 * LIFE_ATTEMPTS];
    size_t n_attempts;
};

struct life {
    const struct life_conf *conf;
    struct life_report *report;
    uint64_t random;
    int64_t now_ms, faults_end_ms, broker_down_until_ms, broker_offset_ms;
    bool broker_stepped;
    unsigned trouble; /* of a hundred messages so many are lost or late */
    uint64_t n_jobs, n_asks, revision;
    struct mem_pool *pool;
    struct life_step *heap;
    size_t n_heap, cap_heap;
    struct task tasks[LIFE_TASKS];
    char ids[LIFE_TASKS][TASK_ID_SIZE];
    int n_tasks;
    struct life_truth truth[LIFE_TASKS];
    struct life_kv kv[LIFE_TASKS];
    struct life_row rows[LIFE_TASKS];
    struct life_worker workers[LIFE_WORKERS];
    struct life_msg msgs[LIFE_MESSAGES];
    int n_msgs;
    struct life_result results[LIFE_MESSAGES];
    int n_results;
    int64_t routed_until_ms[LIFE_TASKS]; /* ids the broker remembers */
    int64_t accepted_ms[LIFE_TASKS];
};

/* --- life_model.c --- */

uint64_t life_random(struct life *l);
bool life_chance(struct life *l, unsigned of_hundred);
int64_t life_between(struct life *l, int64_t least, int64_t most);
/* The way of one message: mostly short. */
int64_t life_way_ms(struct life *l);
/* On the way of that worker; -1: of anybody else. */
bool life_is_lost(struct life *l, int worker);
/* Now and then something happens to a worker at that very moment. */
void life_tempt(struct life *l, int worker);
/* How long a command runs, and how it ends. */
int64_t life_run_ms(struct life *l);
struct ending life_random_end(struct life *l);
void life_at(struct life *l, int64_t delay_ms, struct life_step s);
bool life_is_faulty(const struct life *l);    /* faults have not ended */
int64_t life_broker_ms(const struct life *l); /* as its clock shows it */
bool life_broker_is_down(const struct life *l);
void life_trace(const struct life *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void life_violation(struct life *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A worker begins to run what j claims. */
void life_started(struct life *l, int worker, const struct life_job *j);

/* A claim is about to be written over another. */
void life_written(struct life *l, int task, const struct claim *was,
                  const struct claim *is);

/* --- life_broker.c --- */

void life_broker_step(struct life *l, const struct life_step *s);
/* Until when the broker remembers an id it stores now. */
int64_t life_remember_until(struct life *l);
/* Stores it and sets its way to a worker and to the ledger going. */
void life_route(struct life *l, int task, uint32_t drive);
void life_store_result(struct life *l, const struct result *r, bool forged);
void life_tell_ledger(struct life *l, enum life_kind kind, int task, int msg);

/* --- life_worker.c --- */

void life_worker_step(struct life *l, const struct life_step *s);
void life_worker_crash(struct life *l, int worker);
void life_worker_restart(struct life *l, int worker);

/* --- life_ledger.c --- */

void life_ledger_open(struct life *l);
void life_ledger_step(struct life *l, const struct life_step *s);
/* Compares the rows with the claims, and with what a new ledger makes of the
 * same messages in another order. */
void life_ledger_check(struct life *l);

#endif
