/*
 * Derives what a task waits for from facts about it, as one phrase for people
 * and a name for programs.
 */
#include "reaper/query/wait_reason.h"

/* --- before it is routed -------------------------------------------------- */

static enum wait_for
why_blocked(const struct wait_facts *f, struct str *out)
{
    unsigned named =
        f->n_after < WAIT_REASON_AFTER_MAX ? f->n_after : WAIT_REASON_AFTER_MAX;
    bool early = f->not_before_ms > f->now_ms;
    char at[32];

    for (unsigned i = 0; i < named; i++)
        str_addf(out, "%s%s", i ? ", " : "waits for ", f->after[i]);
    if (f->n_after > named)
        str_addf(out, " and %u more", f->n_after - named);
    if (f->unknown)
        str_addf(out, "; %s has not been submitted", f->unknown);
    if (early)
        str_addf(out, "%s until %s", named ? ", and" : "waits",
                 str_time(f->not_before_ms, at, sizeof at));
    if (named)
        return WAIT_TASKS;
    if (early)
        return WAIT_TIME;
    /* The reaper releases it in a moment. */
    str_addz(out, "is on its way to the router");
    return WAIT_ROUTER;
}

/* --- on its lane ---------------------------------------------------------- */

static enum wait_for
why_paused(const struct wait_facts *f, struct str *out)
{
    char at[32];

    str_addf(out, "lane %s.%s is paused", f->backend, f->lane);
    if (f->paused_until_ms)
        str_addf(out, " until %s", str_time(f->paused_until_ms, at, sizeof at));
    if (*f->pause_reason)
        str_addf(out, ": %s", f->pause_reason);
    return WAIT_LANE;
}

static enum wait_for
why_on_lane(const struct wait_facts *f, struct str *out)
{
    char at[32];

    if (f->paused)
        return why_paused(f, out);
    if (f->workers == 0) {
        str_addf(out, "no worker serves lane %s.%s; it waits for one",
                 f->backend, f->lane);
        return WAIT_WORKER;
    }
    if (f->workers <= f->draining) {
        str_addf(out, "every worker of lane %s.%s is draining", f->backend,
                 f->lane);
        return WAIT_DRAINING;
    }
    if (f->refused_until_ms > f->now_ms) {
        str_addf(out, "waits until %s at the latest: %s",
                 str_time(f->refused_until_ms, at, sizeof at),
                 f->refused_reason);
        return WAIT_REFUSED;
    }
    if (f->ahead == 0)
        str_addf(out, "is next on lane %s.%s, for a free slot", f->backend,
                 f->lane);
    else
        str_addf(out, "is queued on lane %s.%s behind %s%u task%s", f->backend,
                 f->lane, f->ahead >= f->ahead_max ? "at least " : "", f->ahead,
                 f->ahead == 1 ? "" : "s");
    return WAIT_SLOT;
}

static enum wait_for
why_retry(const struct wait_facts *f, struct str *out)
{
    char left[32];

    if (f->retry_at_ms <= f->now_ms) {
        str_addz(out, "its next attempt is due; ");
        return why_on_lane(f, out);
    }
    str_addf(out, "its last attempt did not succeed; the next is due in %s",
             str_duration((uint64_t)(f->retry_at_ms - f->now_ms), left,
                          sizeof left));
    return WAIT_RETRY;
}

/* --- all ------------------------------------------------------------------ */

enum wait_for
wait_reason(const struct wait_facts *f, struct str *out)
{
    if (!state_is_terminal(f->state) && f->state != STATE_RUNNING &&
        f->cancelled) {
        str_addz(out, "is being cancelled");
        return WAIT_CANCEL;
    }
    switch (f->state) {
    case STATE_HELD:
        str_addz(out, "held by its submitter");
        return WAIT_PERSON;
    case STATE_BLOCKED:
        if (!f->released)
            return why_blocked(f, out);
        str_addz(out, "is on its way to the router");
        return WAIT_ROUTER;
    case STATE_SUBMITTED:
    case STATE_ACCEPTED:
        str_addz(out, "is not routed yet; the router has not answered");
        return WAIT_ROUTER;
    case STATE_ROUTED:
        return why_on_lane(f, out);
    case STATE_RETRY_WAIT:
        return why_retry(f, out);
    case STATE_UNSPECIFIED:
    case STATE_RUNNING:
    case STATE_SUCCEEDED:
    case STATE_FAILED:
    case STATE_UNVERIFIED:
    case STATE_NO_OP:
    case STATE_TIMED_OUT:
    case STATE_CANCELLED:
    case STATE_REJECTED:
    case STATE_DEAD:
    case STATE_UNKNOWN:
    case STATE_LOST:
    case STATE_PREEMPTED:
    case STATE_COUNT:
        break;
    }
    return WAIT_NOTHING;
}

const char *
wait_reason_name(enum wait_for w)
{
    static const char *const names[] = {
        "",       "person",   "tasks",       "time",
        "router", "retry",    "lane-paused", "refused",
        "worker", "draining", "slot",        "cancel"};

    _Static_assert(sizeof names / sizeof *names == WAIT_CANCEL + 1,
                   "a name for each");
    return w <= WAIT_CANCEL ? names[w] : "";
}
