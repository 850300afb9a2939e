/*
 * task_state - the life of a task as pure functions, without clock or I/O.
 *
 * The numbers are those of State in proto/shunt.proto. A worker calls
 * state_on_delivery to decide what to do with a delivered task and state_on_end
 * to decide what follows an attempt's end; the reaper calls state_next to learn
 * whether a transition is legal.
 */
#ifndef LIB_MODEL_TASK_STATE_H
#define LIB_MODEL_TASK_STATE_H

#include <stdbool.h>
#include <stdint.h>

enum state {
    STATE_UNSPECIFIED,
    STATE_SUBMITTED,
    STATE_ACCEPTED,
    STATE_HELD,
    STATE_BLOCKED,
    STATE_ROUTED,
    STATE_RUNNING,
    STATE_RETRY_WAIT,
    STATE_SUCCEEDED,
    STATE_FAILED,
    STATE_UNVERIFIED,
    STATE_NO_OP,
    STATE_TIMED_OUT,
    STATE_CANCELLED,
    STATE_REJECTED,
    STATE_DEAD,
    STATE_UNKNOWN,
    STATE_LOST,      /* of an attempt only */
    STATE_PREEMPTED, /* of an attempt only */
    STATE_COUNT
};

struct task;
struct claim;
struct result;

/* "succeeded", "retry_wait", ...; "?" for a number that is not a state. */
const char *state_name(enum state s);
/* STATE_UNSPECIFIED if name is not a state. */
enum state state_from_name(const char *name);
bool state_is_terminal(enum state s);
/* Whether the ledger may move a task from one state to the other. A transition
 * that is not in the table is illegal, and a terminal state never changes.
 * Staying in a state is always legal. */
bool state_next(enum state from, enum state to);

enum {
    /* A worker renews its claim every 10 s: if an observer has not seen the
     * claim change for longer, the worker is silent, whatever the clocks say.
     * With a lease below 30 s it renews every third of the lease, and observers
     * wait for two fifths of the lease. */
    STATE_SILENT_MS = 12 * 1000,
};

/*
 * What to do with a task that was delivered to a worker. An attempt whose
 * worker fell silent is resumed, and not counted as lost, if its claim notes
 * work that goes on elsewhere (claim.remote).
 */
enum delivery_action {
    DELIVERY_START, /* write *next over what was found, then run it */
    DELIVERY_EMIT,  /* it has finished: publish the claim's result again */
    DELIVERY_WAIT,  /* another worker has it: hand it back for delay_ms */
    DELIVERY_CLOSE, /* write *next, which is terminal, and publish it */
};

struct delivery_plan {
    enum delivery_action what;
    int64_t delay_ms;
    uint32_t attempt; /* of the claim to write, START and CLOSE */
    uint32_t lost, failed;
    enum state state;   /* RUNNING for START; DEAD or UNKNOWN for CLOSE */
    const char *reason; /* static text, for CLOSE */
};

/*
 * What an observer knows about the age of a claim. A lease has expired only if
 * both say so: the broker's clock may have been set; the observer's monotonic
 * clock cannot be, but starts when it first saw the revision.
 */
struct claim_sight {
    int64_t age_ms;       /* since it was written, by the broker's clock */
    int64_t unchanged_ms; /* since this process first saw this revision,
                             monotonic */
};

/*
 * found: the claim as stored, NULL if there is none, and then sight may be
 * NULL too; now_ms: the observer's wall clock, which may be wrong. Not called
 * for a task that the worker itself is running: it only reports progress to the
 * broker.
 */
void state_on_delivery(const struct task *t, const struct claim *found,
                       const struct claim_sight *sight, int64_t now_ms,
                       struct delivery_plan *out);

/* How an attempt ended, as the worker saw it. */
struct ending {
    enum state state; /* SUCCEEDED FAILED UNVERIFIED NO_OP TIMED_OUT CANCELLED
                         PREEMPTED */
    const char *reason;
    int32_t exit_code, signal; /* of the command; signal 0: it exited */
};

/*
 * Whether another attempt may end better. Permanent, whatever retries are
 * left:
 *
 *   cancelled       somebody cancelled it
 *   exit code 125   we refused to start it: no workdir, no such user
 *   exit code 126   the shell found the command, but cannot execute it
 *   exit code 127   the shell did not find it
 *
 * Transient: every other exit code, a time-out, and any signal (9 is often the
 * kernel, short of memory). The class of an end that is not a failure is
 * permanent: there is nothing to retry.
 */
enum retry_class { RETRY_CLASS_TRANSIENT, RETRY_CLASS_PERMANENT };
enum retry_class state_retry_class(const struct ending *end);

/* What follows that end. */
struct end_plan {
    enum state state; /* of the claim: terminal, RETRY_WAIT or PREEMPTED */
    bool final;
    int64_t delay_ms; /* until the next attempt; 0 for PREEMPTED */
    uint32_t failed;  /* attempts failed, this one included */
};

/*
 * A failure is retried if its class is transient and retries are left; a
 * permanent one is final. jitter: a random number in [0, 1). The backoff is
 * 5 s * 2^k, at most 15 min.
 */
void state_on_end(const struct task *t, const struct claim *c,
                  const struct ending *end, double jitter,
                  struct end_plan *out);

#endif
