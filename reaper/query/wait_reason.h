/*
 * wait_reason - what a task that does not run waits for. Pure: the time is one
 * of the facts.
 *
 * Thread: any.
 */
#ifndef REAPER_QUERY_WAIT_REASON_H
#define REAPER_QUERY_WAIT_REASON_H

#include "lib/base/str.h"
#include "lib/model/task.h"

enum wait_for {
    WAIT_NOTHING,  /* it runs or has finished */
    WAIT_PERSON,   /* held */
    WAIT_TASKS,    /* for tasks it comes after, and possibly a time */
    WAIT_TIME,     /* for a time alone */
    WAIT_ROUTER,   /* for a decision */
    WAIT_RETRY,    /* for the time of its next attempt */
    WAIT_LANE,     /* its lane is paused */
    WAIT_REFUSED,  /* the backend refused it for now, with a reason */
    WAIT_WORKER,   /* no worker serves its lane */
    WAIT_DRAINING, /* its workers take no new tasks */
    WAIT_SLOT,     /* for a free slot */
    WAIT_CANCEL,   /* to be cancelled */
};

enum { WAIT_REASON_AFTER_MAX = 3 /* tasks named */ };

/* What is known of the task; texts are never NULL. */
struct wait_facts {
    enum state state; /* RUNNING if a worker runs it */
    int64_t now_ms;
    bool cancelled; /* a cancel was requested */
    bool released;  /* nothing blocks it any more: sent to the router */
    const char
        *after[WAIT_REASON_AFTER_MAX]; /* unfinished tasks it comes after */
    unsigned n_after;                  /* may be more than are named */
    const char *unknown; /* one of them that nobody has submitted; NULL: none */
    int64_t not_before_ms, retry_at_ms;
    const char *backend, *lane;
    unsigned workers, draining; /* that serve its lane */
    unsigned ahead, ahead_max;  /* tasks before it, counted up to ahead_max */
    bool paused;
    int64_t paused_until_ms; /* 0: until a person resumes the lane */
    const char *pause_reason;
    /* Its last attempt was preempted; it is offered again then. */
    int64_t refused_until_ms; /* 0: no */
    const char *refused_reason;
};

/* Adds one phrase without a full stop to *out; nothing for WAIT_NOTHING. */
enum wait_for wait_reason(const struct wait_facts *f, struct str *out);

/* For programs: "person", "tasks", ...; "" for WAIT_NOTHING. */
const char *wait_reason_name(enum wait_for w);

#endif
