/*
 * secutools_private - shared by the files of the executor.
 *
 *   secutools.c  the executor: start, poll, cancel, free
 *   timers.c     when each run acts, the soonest first
 *   run.c        acting and ending of a run, what any answer may say
 *   submit.c     whether a job may be submitted, and submitting it
 *   poll.c       polling the job, fetching its result, cancelling it; earlier
 *                after a webhook call
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

#include <sys/queue.h>

enum {
    EXIT_FAILED = 1,
    EXIT_OUR_SIDE = 125,
    AT_ONCE = INT32_MIN, /* before all others: ending a run needs no request */
};

/* In this order, except that any may go to PLATFORM_CANCEL or PLATFORM_DONE. */
enum platform_phase {
    PLATFORM_SUBMIT,
    PLATFORM_NOTE_ID,
    PLATFORM_POLL,
    PLATFORM_FETCH,
    PLATFORM_CANCEL, /* the platform is asked to cancel it */
    PLATFORM_DONE,
};

struct platform_run {
    struct hash_link by_key; /* for webhook calls */
    struct secutools *s;
    struct run_order order;
    struct http_call *call; /* under way, or waiting for a connection */
    enum platform_phase phase;
    bool cancelled;   /* asked to end */
    bool leave;       /* and to leave the job running */
    bool resumed;     /* an earlier attempt may have submitted it */
    bool admitted;    /* it may be submitted; its budget is reserved */
    bool cancel_sent; /* the platform has received the cancel */
    bool cancel_owed; /* it must still be sent, after the worker's free */
    bool is_detached; /* the worker has freed it: order is invalid */
    int tries;        /* failures in a row of the current request */
    int polls;
    int64_t due_ms;
    uint32_t heap_at;         /* position in due, from 1; 0: not in it */
    int64_t missing_since_ms; /* of the first 404 in a row; 0: none */
    int64_t reserved_nano;    /* of the budget */
    LIST_ENTRY(platform_run) detached;
    int64_t polled_ms; /* when the job was last polled */
    char key[PLATFORM_API_KEY_SIZE];
    char *id;                /* NULL: not known yet */
    struct outcome *outcome; /* NULL: nothing recorded yet */
};

struct secutools {
    struct loop *loop;
    const struct secutools_conf *conf;
    struct platform_api *api;
    struct http *http;
    struct breaker breaker;
    struct budget *budget;
    struct lane_pauser *lanes;
    char *key;
    struct platform_run **due; /* a heap, the soonest first */
    size_t n_due, cap_due;
    struct loop_timer *timer;
    int64_t timer_ms; /* when it fires; INT64_MAX: not */
    /* Jobs to cancel after the worker's free. */
    LIST_HEAD(, platform_run) detached;
    struct webhook *webhook;  /* NULL: none */
    struct hash_table by_key; /* runs, for webhook calls */
    struct mem_pool *pool;    /* for one answer */
    struct str scratch;
};

/* --- timers.c ------------------------------------------------------------- */

/* Sets when the run acts, in place of an earlier time; may be AT_ONCE. */
void timers_at(struct platform_run *r, int64_t due_ms);
void timers_in(struct platform_run *r, int64_t delay_ms);
void timers_cancel(struct platform_run *r);
/* Call when a connection becomes free or the soonest time changes. */
void timers_update(struct secutools *s);

/* --- run.c ---------------------------------------------------------------- */

/* Does the next step of the run's phase. */
void run_act(struct platform_run *r);

/* The run's outcome, allocated on first use. */
struct outcome *run_outcome(struct platform_run *r);
/* Ends the run with its outcome. */
void run_end(struct platform_run *r);
/* The same from within cancel, where the worker must not be called. */
void run_end_soon(struct platform_run *r);
void run_fail(struct platform_run *r, int exit_code, const char *reason);
void run_set_refused(struct platform_run *r, int64_t again_ms,
                     const char *reason);
/* The platform refuses the job for now. */
void run_refuse(struct platform_run *r, int64_t again_ms, const char *reason);
/* The refusal concerns the whole lane: pauses it and hands the task back, which
 * may be delivered again soon, as the pause holds it; so a resume takes effect
 * at once. for_ms 0: until a person resumes the lane. */
void run_refuse_lane(struct platform_run *r, int64_t for_ms,
                     const char *reason);
void run_free(struct platform_run *r);
void run_free_detached(struct platform_run *r);

/* Sends a request; body NULL: none. */
void run_send(struct platform_run *r, const char *method,
              enum platform_api_call call, const char *const *headers,
              const char *query, const struct str *body, size_t max_body,
              http_fn *fn);
/* Call first for every answer: its connection is free for another request. */
void run_answered(struct platform_run *r);
/* Handles what any request may get: no answer, a failure of the platform, a
 * request to wait. True: nothing is left to do. */
bool run_handle_common(struct platform_run *r, const struct http_response *h,
                       const struct err *e);
/* Repeats the request after a growing delay. retry_after_ms -1: not stated. */
void run_retry(struct platform_run *r, int64_t retry_after_ms);
const char *run_error_text(struct platform_run *r,
                           const struct http_response *h);

/* --- submit.c ------------------------------------------------------------- */

/* Why nothing may be submitted on its lane now, or NULL. */
const char *submit_pause_reason(const struct platform_run *r);
/* Whether the run may submit; false: it waits or was handed back. Once it has
 * submitted it may repeat that in any case. */
bool submit_may(struct platform_run *r);
/* For how long there is no point in claiming a task that is not submitted. */
int64_t submit_wait_ms(const struct secutools *s, const struct task *t);
/* Reserves its maximum cost in the day's budget until it is freed. */
void submit_reserve(struct platform_run *r);
void submit_send(struct platform_run *r);
/* Reads the note of an earlier attempt in the claim. */
void submit_read_note(struct platform_run *r, const char *note);

/* --- poll.c --------------------------------------------------------------- */

/* The job's id is known: starts polling it. */
void poll_job(struct platform_run *r);
void poll_send(struct platform_run *r);
void poll_fetch(struct platform_run *r);
void poll_cancel(struct platform_run *r);
/* A webhook_fn, ctx a struct secutools: polls the job earlier. */
void poll_hint(void *ctx, const char *key);

#endif
