/*
 * wait_reason - what a task that does not run waits for. Pure: time arrives in
 * the facts.
 *
 * Thread: any.
 */
#ifndef REAPER_QUERY_WAIT_REASON_H
#define REAPER_QUERY_WAIT_REASON_H

#include "lib/base/str.h"
#include "lib/model/task.h"

enum wait_for {
    WAIT_NOTHING,  /* it runs, or is over */
    WAIT_PERSON,   /* held */
    WAIT_TASKS,    /* for tasks it comes after, and perhaps a time */
    WAIT_TIME,     /* for a time alone */
    WAIT_ROUTER,   /* for a decision */
    WAIT_RETRY,    /* for the time of its next attempt */
    WAIT_LANE,     /* its lane is paused */
    WAIT_REFUSED,  /* the place would not take it now, and says why */
    WAIT_WORKER,   /* nobody serves its lane */
    WAIT_DRAINING, /* those who serve it take nothing new */
    WAIT_SLOT,     /* for its turn */
    WAIT_CANCEL,   /* to be cancelled */
};

enum { WAIT_REASON_AFTER_MAX = 3 /* tasks named */ };

/* What is known of the task; texts are never NULL. */
struct wait_facts {
    enum state state; /* RUNNING if a worker has it in hand */
    int64_t now_ms;
    bool cancelled; /* somebody asked for it */
    bool released;  /* what it waited for is over: sent to the router */
    const char *after[WAIT_REASON_AFTER_MAX]; /* open tasks it comes after */
    unsigned n_after;                         /* may be more than are named */
    int64_t not_before_ms, retry_at_ms;
    const char *backend, *lane;
    unsigned workers, draining; /* that serve its lane */
    unsigned ahead, ahead_max;  /* tasks before it; counted up to the second */
    bool paused;
    int64_t paused_until_ms; /* 0: until a person resumes the lane */
    const char *pause_reason;
    /* Its last attempt was handed back, and is to be offered again then. */
    int64_t refused_until_ms; /* 0: no */
    const char *refused_reason;
};

/* What it waits for; adds one phrase without a full stop to *out, nothing for
 * WAIT_NOTHING. */
enum wait_for wait_reason(const struct wait_facts *f, struct str *out);

/* For programs: "person", "tasks", ...; "" for WAIT_NOTHING. */
const char *wait_reason_name(enum wait_for w);

#endif
