/*
 * Tables and functions of the task's life: which transitions are legal, what a
 * found claim means for a delivery, and what the end of an attempt means.
 */
#include "lib/model/task_state.h"

#include "lib/model/retry_delay.h"
#include "lib/model/task.h"

#include <stddef.h>
#include <string.h>

enum {
    WAIT_LEAST_MS = 1000, /* a shorter one would be a busy loop */
    EXIT_OUR_SIDE = 125,
    EXIT_NOT_EXECUTABLE = 126,
    EXIT_NOT_FOUND = 127,
};

#define BIT(s) (1u << (unsigned)(s))

/* States that never change. */
#define TERMINAL                                                               \
    (BIT(STATE_SUCCEEDED) | BIT(STATE_FAILED) | BIT(STATE_UNVERIFIED) |        \
     BIT(STATE_NO_OP) | BIT(STATE_TIMED_OUT) | BIT(STATE_CANCELLED) |          \
     BIT(STATE_REJECTED) | BIT(STATE_DEAD) | BIT(STATE_UNKNOWN))

/* States of a task that has been routed and is not terminal. */
#define UNDER_WAY                                                              \
    (BIT(STATE_ROUTED) | BIT(STATE_RUNNING) | BIT(STATE_RETRY_WAIT))

/*
 * Which states may follow. The ledger reads several streams, and a later one
 * may overtake an earlier one (a result arrives before its routed task), so a
 * state may be skipped. None is returned to, except routed, after an attempt
 * that was lost or handed back.
 */
static const struct {
    const char *name;
    uint32_t next;
} table[STATE_COUNT] = {
    [STATE_UNSPECIFIED] = {"unspecified",
                           BIT(STATE_SUBMITTED) | BIT(STATE_ACCEPTED) |
                               BIT(STATE_HELD) | BIT(STATE_BLOCKED) |
                               UNDER_WAY | TERMINAL},
    [STATE_SUBMITTED] = {"submitted", BIT(STATE_ACCEPTED) | BIT(STATE_HELD) |
                                          BIT(STATE_BLOCKED) | UNDER_WAY |
                                          TERMINAL},
    [STATE_ACCEPTED] = {"accepted", BIT(STATE_HELD) | BIT(STATE_BLOCKED) |
                                        UNDER_WAY | TERMINAL},
    [STATE_HELD] = {"held", BIT(STATE_ACCEPTED) | BIT(STATE_BLOCKED) |
                                BIT(STATE_ROUTED) | BIT(STATE_CANCELLED) |
                                BIT(STATE_REJECTED)},
    [STATE_BLOCKED] = {"blocked", BIT(STATE_ACCEPTED) | BIT(STATE_HELD) |
                                      BIT(STATE_ROUTED) | BIT(STATE_CANCELLED) |
                                      BIT(STATE_REJECTED)},
    [STATE_ROUTED] = {"routed",
                      BIT(STATE_RUNNING) | BIT(STATE_RETRY_WAIT) | TERMINAL},
    [STATE_RUNNING] = {"running", BIT(STATE_ROUTED) | BIT(STATE_RETRY_WAIT) |
                                      (TERMINAL & ~BIT(STATE_REJECTED))},
    [STATE_RETRY_WAIT] = {"retry_wait", BIT(STATE_ROUTED) | BIT(STATE_RUNNING) |
                                            (TERMINAL & ~BIT(STATE_REJECTED))},
    [STATE_SUCCEEDED] = {"succeeded", 0},
    [STATE_FAILED] = {"failed", 0},
    [STATE_UNVERIFIED] = {"unverified", 0},
    [STATE_NO_OP] = {"no_op", 0},
    [STATE_TIMED_OUT] = {"timed_out", 0},
    [STATE_CANCELLED] = {"cancelled", 0},
    [STATE_REJECTED] = {"rejected", 0},
    [STATE_DEAD] = {"dead", 0},
    [STATE_UNKNOWN] = {"unknown", 0},
    [STATE_LOST] = {"lost", 0},
    [STATE_PREEMPTED] = {"preempted", 0},
};

/* Numbers come from the wire: the enum may have any value. */
static bool
in_table(enum state s)
{
    return (unsigned)s < STATE_COUNT;
}

const char *
state_name(enum state s)
{
    return in_table(s) ? table[s].name : "?";
}

enum state
state_from_name(const char *name)
{
    for (unsigned i = STATE_UNSPECIFIED + 1; i < STATE_COUNT; i++)
        if (strcmp(table[i].name, name) == 0)
            return (enum state)i;
    return STATE_UNSPECIFIED;
}

bool
state_is_terminal(enum state s)
{
    return in_table(s) && (BIT(s) & TERMINAL);
}

bool
state_next(enum state from, enum state to)
{
    if (!in_table(from) || !in_table(to))
        return false;
    return from == to || (table[from].next & BIT(to));
}

static int64_t
most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t
least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void
plan_start(const struct claim *found, struct delivery_plan *out)
{
    out->what = DELIVERY_START;
    out->state = STATE_RUNNING;
    out->attempt = found->attempt + 1;
    out->lost = found->lost;
    out->failed = found->failed;
}

static void
plan_wait(int64_t delay_ms, struct delivery_plan *out)
{
    out->what = DELIVERY_WAIT;
    out->delay_ms = delay_ms < WAIT_LEAST_MS ? WAIT_LEAST_MS : delay_ms;
}

/* Plans for an attempt whose worker fell silent. */
static void
plan_after_loss(const struct task *t, const struct claim *found,
                struct delivery_plan *out)
{
    plan_start(found, out);
    /* Its work goes on elsewhere and is resumed: nothing was lost, and nothing
     * will run twice. */
    if (found->remote && *found->remote)
        return;
    out->lost = found->lost + 1;
    if (t->retry == RETRY_NEVER) {
        out->state = STATE_UNKNOWN;
        out->reason = "its worker was lost, and retry is never";
    } else if (out->lost >= TASK_LOST_MAX) {
        out->state = STATE_DEAD;
        out->reason = "lost its worker too many times";
    } else {
        return;
    }
    out->what = DELIVERY_CLOSE;
    out->attempt = found->attempt;
}

/* Milliseconds until a running claim counts as abandoned; <= 0: it does. */
static int64_t
lease_left_ms(const struct claim *found, const struct claim_sight *sight)
{
    return most((int64_t)found->lease_ms - most(sight->age_ms, 0),
                least(STATE_SILENT_MS, (int64_t)found->lease_ms * 2 / 5) -
                    most(sight->unchanged_ms, 0));
}

/* Milliseconds until a retry is due. A wall clock that was set back must not
 * delay it longer than the backoff can have been. */
static int64_t
retry_left_ms(const struct claim *found, const struct claim_sight *sight,
              int64_t now_ms)
{
    if (found->retry_at_ms <= now_ms)
        return 0;
    return least(found->retry_at_ms - now_ms,
                 retry_delay_ms(found->failed, 1) - most(sight->age_ms, 0));
}

void
state_on_delivery(const struct task *t, const struct claim *found,
                  const struct claim_sight *sight, int64_t now_ms,
                  struct delivery_plan *out)
{
    static const struct claim none;
    int64_t left_ms;

    *out = (struct delivery_plan){.reason = ""};
    if (!found) {
        plan_start(&none, out);
        return;
    }
    switch (found->state) {
    case STATE_RUNNING:
        left_ms = lease_left_ms(found, sight);
        if (left_ms > 0)
            plan_wait(left_ms, out);
        else
            plan_after_loss(t, found, out);
        return;
    case STATE_RETRY_WAIT:
        left_ms = retry_left_ms(found, sight, now_ms);
        if (left_ms > 0)
            plan_wait(left_ms, out);
        else
            plan_start(found, out);
        return;
    case STATE_LOST:
        plan_after_loss(t, found, out);
        return;
    /* Handed back: the attempt number grows, so that none is started twice. */
    case STATE_PREEMPTED:
    /* A claim never has these states; whoever wrote it did not run the task. */
    case STATE_UNSPECIFIED:
    case STATE_SUBMITTED:
    case STATE_ACCEPTED:
    case STATE_HELD:
    case STATE_BLOCKED:
    case STATE_ROUTED:
    case STATE_COUNT:
        plan_start(found, out);
        return;
    case STATE_SUCCEEDED:
    case STATE_FAILED:
    case STATE_UNVERIFIED:
    case STATE_NO_OP:
    case STATE_TIMED_OUT:
    case STATE_CANCELLED:
    case STATE_REJECTED:
    case STATE_DEAD:
    case STATE_UNKNOWN:
        out->what = DELIVERY_EMIT;
        out->attempt = found->attempt;
        out->lost = found->lost;
        out->failed = found->failed;
        out->state = found->state;
        return;
    }
    plan_start(found, out);
}

#define ANY_CODE INT32_MIN

/* The first row that matches decides the class; the last always matches. */
static const struct {
    uint32_t states;
    int32_t exit_code; /* of a command that exited */
    enum retry_class class;
} classes[] = {
    {~(BIT(STATE_FAILED) | BIT(STATE_TIMED_OUT)), ANY_CODE,
     RETRY_CLASS_PERMANENT},
    {BIT(STATE_FAILED), EXIT_OUR_SIDE, RETRY_CLASS_PERMANENT},
    {BIT(STATE_FAILED), EXIT_NOT_EXECUTABLE, RETRY_CLASS_PERMANENT},
    {BIT(STATE_FAILED), EXIT_NOT_FOUND, RETRY_CLASS_PERMANENT},
    {UINT32_MAX, ANY_CODE, RETRY_CLASS_TRANSIENT},
};

enum retry_class
state_retry_class(const struct ending *end)
{
    uint32_t state = BIT(in_table(end->state) ? end->state : STATE_UNSPECIFIED);
    size_t i = 0;

    while (i < sizeof classes / sizeof *classes - 1 &&
           (!(classes[i].states & state) ||
            (classes[i].exit_code != ANY_CODE &&
             (end->signal || classes[i].exit_code != end->exit_code))))
        i++;
    return classes[i].class;
}

void
state_on_end(const struct task *t, const struct claim *c,
             const struct ending *end, double jitter, struct end_plan *out)
{
    *out = (struct end_plan){
        .state = end->state, .final = true, .failed = c->failed};
    if (end->state == STATE_FAILED || end->state == STATE_TIMED_OUT) {
        out->failed++;
        if (out->failed <= t->retries &&
            state_retry_class(end) == RETRY_CLASS_TRANSIENT) {
            out->state = STATE_RETRY_WAIT;
            out->final = false;
            out->delay_ms = retry_delay_ms(out->failed, jitter);
        }
    } else if (end->state == STATE_PREEMPTED) {
        out->final = t->retry == RETRY_NEVER && !(c->remote && *c->remote);
        if (out->final)
            out->state = STATE_UNKNOWN;
    }
}
