/*
 * secutools_private - what the parts of the executor share.
 *
 *   secutools.c  the executor: start, poll, cancel, free
 *   due.c        when each run acts, the soonest first
 *   run.c        turns and ends of a run, what any answer may say
 *   submit.c     whether it may be handed over, and handing it over
 *   follow.c     looking at the job, fetching its result, stopping it; sooner
 *                if the platform gives a hint
 *
 * A run moves through the phases in order. Functions that end a run tell the
 * worker, which may free it inside: callers do not touch it afterwards.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_SECUTOOLS_SECUTOOLS_PRIVATE_H
#define WORKERS_SECUTOOLS_SECUTOOLS_PRIVATE_H

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/io/http_client.h"
#include "workers/secutools/budget.h"
#include "workers/secutools/lane_pauser.h"
#include "workers/secutools/secutools.h"
#include "workers/secutools/webhook.h"

enum {
    EXIT_FAILED = 1,
    EXIT_OUR_SIDE = 125,
    AT_ONCE = INT32_MIN, /* an end costs no request: before all others */
};

enum job_phase {
    PHASE_SUBMIT,
    PHASE_NOTE_ID,
    PHASE_FOLLOW,
    PHASE_FETCH,
    PHASE_CANCEL, /* the platform is asked to stop it */
    PHASE_OVER,
};

struct platform_run {
    struct hash_link by_key; /* for hints */
    struct secutools *s;
    struct run_order order;
    struct http_call *call; /* under way, or waiting for a connection */
    enum job_phase phase;
    bool cancelled; /* asked to end */
    bool leave;     /* and to leave the job alone */
    bool resumed;   /* an attempt before this may have handed it over */
    bool admitted;  /* it may be, and its share of the budget is reserved */
    bool told;      /* the platform knows that it is not wanted */
    bool owed;      /* or is yet to be told, after the worker has freed it */
    bool stray;     /* the worker has freed it: of order only s is left */
    int tries;      /* of the present request, failed in a row */
    int polls;
    int64_t due_ms;
    uint32_t place;           /* among those that are to act; 0: not there */
    int64_t missing_since_ms; /* the first of the 404s in a row; 0: none */
    int64_t reserved_nano;    /* of the budget */
    struct platform_run *stray_next, *stray_prev;
    int64_t looked_ms; /* the last look at the job */
    char key[PLATFORM_API_KEY_SIZE];
    char *id;                /* NULL: not known yet */
    struct outcome *outcome; /* NULL while there is nothing to say */
};

struct secutools {
    struct loop *loop;
    const struct secutools_conf *conf;
    struct platform_api *contract;
    struct http *http;
    struct breaker gate;
    struct budget *budget;
    struct lane_pauser *lanes;
    char *key;
    struct platform_run **due; /* the soonest first */
    size_t n_due, cap_due;
    struct loop_timer *timer;
    int64_t timer_ms;            /* when it fires; INT64_MAX: not */
    struct platform_run *strays; /* jobs to be cancelled without a run */
    struct webhook *hints;       /* NULL: none are heard */
    struct hash_table by_key;    /* runs, for hints */
    struct mem_pool *pool;       /* of one answer */
    struct str scratch;
};

/* --- due.c ---------------------------------------------------------------- */

/* It acts then; due_ms may be AT_ONCE. Replaces what was set before. */
void timers_at(struct platform_run *r, int64_t due_ms);
void timers_in(struct platform_run *r, int64_t delay_ms);
void timers_cancel(struct platform_run *r);
/* A connection has become free, or the soonest is another. */
void timers_turn(struct secutools *s);

/* --- run.c ---------------------------------------------------------------- */

/* Does what its phase asks for; its time has come. */
void run_act(struct platform_run *r);

/* What is reported of it, made when it is first asked for. */
struct outcome *run_outcome(struct platform_run *r);
/* It has ended, as its outcome says. */
void run_over(struct platform_run *r);
/* The same from within cancel, where the worker cannot be told. */
void run_over_soon(struct platform_run *r);
void run_fail(struct platform_run *r, int exit_code, const char *reason);
void run_set_refused(struct platform_run *r, int64_t again_ms,
                     const char *reason);
/* The platform will not have it now. */
void run_refuse(struct platform_run *r, int64_t again_ms, const char *reason);
/* Whatever waits on the lane waits for the same thing: says so there, and
 * hands the task back. The lane holds it, so that it may come again soon: a
 * resume is heard at once. for_ms 0: until a person resumes it. */
void run_refuse_lane(struct platform_run *r, int64_t for_ms,
                     const char *reason);
void run_free(struct platform_run *r);
void run_stray_free(struct platform_run *r);

/* Sends a request; body NULL: none. */
void run_send(struct platform_run *r, const char *method,
              enum platform_api_call call, const char *const *headers,
              const char *query, const struct str *body, size_t max_body,
              http_fn *fn);
/* First in every answer's callback: its connection is free for another. */
void run_answered(struct platform_run *r);
/* What every kind of answer may say. True if it has been dealt with: it was
 * none, or told to come later. */
bool run_is_dealt_with(struct platform_run *r, const struct http_response *h,
                       const struct err *e);
/* The same request again, after a while that grows; -1: nothing was said. */
void run_again(struct platform_run *r, int64_t retry_after_ms);
const char *run_error_text(struct platform_run *r,
                           const struct http_response *h);

/* --- submit.c ------------------------------------------------------------- */

/* Why nothing may be handed over on its lane, or NULL. */
const char *submit_held(const struct platform_run *r);
/* False: it waits, or was handed back. What this run has sent once is asked
 * for in any case. */
bool submit_may(struct platform_run *r);
/* For how long it would be in vain to take a task that is not handed over. */
int64_t submit_wait_ms(const struct secutools *s, const struct task *t);
/* Holds what it may cost back from the day's budget, until it is freed. */
void submit_reserve(struct platform_run *r);
void submit_send(struct platform_run *r);
/* What an earlier attempt has noted in the claim. */
void submit_read_note(struct platform_run *r, const char *note);

/* --- follow.c ------------------------------------------------------------- */

/* The job is known: looks at it from now on. */
void poll_job(struct platform_run *r);
void poll_look(struct platform_run *r);
void poll_fetch(struct platform_run *r);
void poll_cancel(struct platform_run *r);
/* A hint_fn, ctx a struct secutools. */
void poll_hint(void *ctx, const char *key);

#endif
