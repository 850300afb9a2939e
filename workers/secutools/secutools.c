#include "workers/secutools/secutools.h"

#include "lib/crash.h"
#include "lib/http.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/money.h"
#include "lib/str.h"
#include "workers/secutools/budget.h"
#include "workers/secutools/lanes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BACKOFF_MS = 500, /* of tries at the same request, by the first */
    BACKOFF_MOST_MS = 60000,
    PARK_MOST_MS = 5000, /* a longer pause is the lane's, not a job's */
    UNKNOWN_MS = 1000,   /* between looks whether the day's costs are known */
    SHORT_MS = 600000,   /* before a task that is too dear is offered again */
    STRAY_TRIES = 8,     /* at cancelling a job whose run is gone */
    NOTE_SIZE = CONTRACT_KEY_SIZE + CONTRACT_ID_MAX + 8,
    EXIT_FAILED = 1,
    EXIT_OUR_SIDE = 125,
};

enum phase {
    PHASE_SUBMIT,
    PHASE_NOTE_ID,
    PHASE_FOLLOW,
    PHASE_FETCH,
    PHASE_CANCEL, /* the platform is asked to stop it */
    PHASE_OVER,
};

struct run {
    struct secutools *s;
    struct run_order order;
    struct http_call *call; /* under way, or waiting for a connection */
    enum phase phase;
    bool cancelled; /* asked to end */
    bool leave;     /* and to leave the job alone */
    bool resumed;   /* an attempt before this may have handed it over */
    bool told;      /* the platform knows that it is not wanted */
    bool owed;      /* or is yet to be told, after the worker has freed it */
    bool stray;     /* the worker has freed it: of order only s is left */
    int tries;      /* of the present request, failed in a row */
    int polls;
    int64_t due_ms;
    uint32_t place;           /* among those that are to act; 0: not there */
    int64_t missing_since_ms; /* the first of the 404s in a row; 0: none */
    int64_t reserved_nano;    /* of the budget */
    struct run *stray_next, *stray_prev;
    char key[CONTRACT_KEY_SIZE];
    char *id;                /* NULL: not known yet */
    struct outcome *outcome; /* NULL while there is nothing to say */
};

struct secutools {
    struct loop *loop;
    const struct secutools_conf *conf;
    struct contract *contract;
    struct http *http;
    struct gate gate;
    struct budget *budget;
    struct lanes *lanes;
    char *key;
    struct run **due; /* the soonest first */
    size_t n_due, cap_due;
    struct loop_timer *timer;
    int64_t timer_ms;      /* when it fires; INT64_MAX: not */
    struct run *strays;    /* jobs to be cancelled without a run */
    struct mem_pool *pool; /* of one answer */
    struct str scratch;
};

static void act(struct run *r);

static double
fraction(void)
{
    return (double)random() / ((double)RAND_MAX + 1.0);
}

/* --- when each acts ------------------------------------------------------- */

/* A heap by due_ms; each knows its place, counted from 1. */
static void
put_at(struct secutools *s, struct run *r, size_t at)
{
    s->due[at - 1] = r;
    r->place = (uint32_t)at;
}

static void
sift_up(struct secutools *s, struct run *r, size_t at)
{
    while (at > 1 && s->due[at / 2 - 1]->due_ms > r->due_ms) {
        put_at(s, s->due[at / 2 - 1], at);
        at /= 2;
    }
    put_at(s, r, at);
}

static void
sift_down(struct secutools *s, struct run *r, size_t at)
{
    size_t child;

    while ((child = at * 2) <= s->n_due) {
        if (child < s->n_due &&
            s->due[child]->due_ms < s->due[child - 1]->due_ms)
            child++;
        if (s->due[child - 1]->due_ms >= r->due_ms)
            break;
        put_at(s, s->due[child - 1], at);
        at = child;
    }
    put_at(s, r, at);
}

static void
unqueue(struct run *r)
{
    struct secutools *s = r->s;
    size_t at = r->place;
    struct run *last;

    if (!at)
        return;
    r->place = 0;
    last = s->due[--s->n_due];
    if (last == r)
        return;
    if (at > 1 && s->due[at / 2 - 1]->due_ms > last->due_ms)
        sift_up(s, last, at);
    else
        sift_down(s, last, at);
}

/* Requests that wait for a connection cost memory: as many as there are
 * connections keep these busy, the others wait here. */
static bool
is_full(const struct secutools *s)
{
    return http_pending(s->http) >= 2 * (size_t)s->conf->max_connections;
}

/* An end costs no request: it stands before all others. */
enum { AT_ONCE = INT32_MIN };

static void on_timer(void *ctx);

static void
set_timer(struct secutools *s)
{
    int64_t now = loop_now_ms(), at;

    if (!s->n_due || (s->due[0]->due_ms != AT_ONCE && is_full(s)))
        return; /* or else the end of a call comes back here */
    at = s->due[0]->due_ms > now ? s->due[0]->due_ms : now;
    if (at >= s->timer_ms)
        return;
    s->timer_ms = at;
    if (s->timer)
        loop_timer_again(s->timer, at - now, 0);
    else
        s->timer = loop_timer_start(s->loop, at - now, 0, on_timer, s);
}

static void
act_at(struct run *r, int64_t due_ms)
{
    struct secutools *s = r->s;

    unqueue(r);
    r->due_ms = due_ms;
    if (s->n_due == s->cap_due) {
        s->cap_due = s->cap_due ? s->cap_due * 2 : 64;
        s->due = mem_resize(s->due, s->cap_due * sizeof(*s->due));
    }
    sift_up(s, r, ++s->n_due);
    set_timer(s);
}

static void
act_in(struct run *r, int64_t delay_ms)
{
    act_at(r, loop_now_ms() + delay_ms);
}

static void
on_timer(void *ctx)
{
    struct secutools *s = ctx;
    int64_t now = loop_now_ms();

    s->timer_ms = INT64_MAX;
    while (s->n_due && s->due[0]->due_ms <= now &&
           (s->due[0]->due_ms == AT_ONCE || !is_full(s))) {
        struct run *r = s->due[0];

        unqueue(r);
        act(r);
    }
    set_timer(s);
}

/* --- ends ----------------------------------------------------------------- */

static void
run_free(struct run *r)
{
    unqueue(r);
    http_cancel(r->call);
    set_timer(r->s);
    budget_release(r->s->budget, r->reserved_nano);
    mem_free(r->outcome);
    mem_free(r->id);
    mem_free(r);
}

static void
stray_free(struct run *r)
{
    if (r->stray_prev)
        r->stray_prev->stray_next = r->stray_next;
    else
        r->s->strays = r->stray_next;
    if (r->stray_next)
        r->stray_next->stray_prev = r->stray_prev;
    run_free(r);
}

static struct outcome *
outcome(struct run *r)
{
    if (!r->outcome)
        r->outcome = MEM_NEW(struct outcome);
    return r->outcome;
}

static void
over(struct run *r)
{
    if (r->stray) {
        stray_free(r);
        return;
    }
    unqueue(r);
    r->phase = PHASE_OVER;
    r->order.changed(r->order.ctx);
}

/* The same from within cancel, where the worker cannot be told. */
static void
over_soon(struct run *r)
{
    r->owed = !r->leave && !r->told && (r->id || r->call || r->tries);
    /* A submission under way brings the id to cancel. */
    if (!r->owed || r->id) {
        http_cancel(r->call);
        r->call = NULL;
    }
    r->phase = PHASE_OVER;
    act_at(r, AT_ONCE);
}

static void
fail(struct run *r, int exit_code, const char *reason)
{
    struct outcome *o = outcome(r);

    o->exit_code = exit_code;
    (void)snprintf(o->reason, sizeof o->reason, "%.255s", reason);
    over(r);
}

static void
set_refused(struct run *r, int64_t again_ms, const char *reason)
{
    struct outcome *o = outcome(r);

    o->refused = true;
    o->again_ms = again_ms;
    /* With the same key, so that it would not have two jobs: it has none. */
    o->untouched = r->tries == 0 && !r->resumed;
    (void)snprintf(o->reason, sizeof o->reason, "%.255s", reason);
}

/* The platform will not have it now. */
static void
refuse(struct run *r, int64_t again_ms, const char *reason)
{
    set_refused(r, again_ms, reason);
    over(r);
}

/* Whatever waits on the lane waits for the same thing: says so there, and
 * hands the task back. The lane holds it, so that it may come again soon: a
 * resume is heard at once. for_ms 0: until a person resumes it. */
static void
pause_and_refuse(struct run *r, int64_t for_ms, const char *reason)
{
    if (!r->order.paused(r->order.ctx))
        lanes_pause(r->s->lanes, r->order.lane, for_ms, reason);
    refuse(r, 0, reason);
}

/* --- asking --------------------------------------------------------------- */

static bool
is_down(int status)
{
    return status == 408 || status == 425 || status == 500 || status == 502 ||
           status == 503 || status == 504;
}

/* The same request again, after a while that grows. */
static void
try_again(struct run *r, int64_t retry_after_ms)
{
    if (r->stray && (r->phase != PHASE_CANCEL || r->tries >= STRAY_TRIES)) {
        log_warn("job.left",
                 "key=%s job=%s text=\"it goes on at the platform, "
                 "which could not be told to stop it\"",
                 r->key, r->id ? LOG_TEXT(r->id) : "");
        stray_free(r);
        return;
    }
    act_in(r, gate_backoff(r->tries++, BACKOFF_MS, BACKOFF_MOST_MS,
                           retry_after_ms, fraction()));
}

/* What every kind of answer may say. True if it has been dealt with: it was
 * none, or told to come later. */
static bool
is_dealt_with(struct run *r, const struct http_response *h, const struct err *e)
{
    struct secutools *s = r->s;
    int64_t now = loop_now_ms();

    if (e) {
        log_debug("platform.error", "key=%s error=\"%s\"", r->key,
                  LOG_TEXT(e->msg));
        gate_failed(&s->gate, now);
        try_again(r, -1);
        return true;
    }
    if (is_down(h->status)) {
        gate_failed(&s->gate, now);
        if (h->retry_after_ms > 0)
            gate_park(&s->gate, now + h->retry_after_ms);
        try_again(r, h->retry_after_ms);
        return true;
    }
    gate_answered(&s->gate);
    if (h->status == 429) {
        int64_t wait_ms =
            h->retry_after_ms >= 0 ? h->retry_after_ms : s->conf->poll_most_ms;

        gate_park(&s->gate, now + wait_ms);
        if (r->phase != PHASE_SUBMIT || r->stray || wait_ms <= PARK_MOST_MS)
            try_again(r, wait_ms);
        else
            pause_and_refuse(r, wait_ms,
                             "the platform asks for a pause (HTTP 429)");
        return true;
    }
    return false;
}

/* Its connection is free for another. */
static void
answered(struct run *r)
{
    r->call = NULL;
    set_timer(r->s);
}

static const char *
error_text(struct run *r, const struct http_response *h)
{
    return contract_read_error(h->status, h->body, h->len, r->s->pool);
}

static void
send_request(struct run *r, const char *method, enum contract_call call,
             const char *const *headers, const char *query,
             const struct str *body, size_t max_body, http_fn *fn)
{
    struct secutools *s = r->s;
    struct str url = {0};
    struct http_request q = {.method = method,
                             .headers = headers,
                             .secret = s->key,
                             .secret_header = s->conf->contract.auth_header,
                             .timeout_ms = s->conf->request_timeout_ms +
                                           s->conf->long_poll_ms,
                             .max_body = max_body};

    contract_url(s->contract, call, r->id, &url);
    str_addz(&url, query);
    q.url = str_text(&url);
    if (body) {
        q.body = body->data;
        q.len = body->len;
    }
    r->call = http_send(s->http, &q, fn, r);
    str_free(&url);
}

/* --- handing it over ------------------------------------------------------ */

static void follow(struct run *r);

/* "key <key>" before the platform is asked (secutools_intent), after it: */
static void
make_note(const struct run *r, char out[NOTE_SIZE])
{
    (void)snprintf(out, NOTE_SIZE, "key %s id %s", r->key, r->id);
}

static void
read_note(struct run *r, const char *note)
{
    char key[CONTRACT_KEY_SIZE], id[CONTRACT_ID_MAX + 1] = "";

    if (sscanf(note, "key %63s id %200s", key, id) < 1)
        return;
    (void)str_copy(r->key, sizeof r->key, key);
    r->resumed = true;
    if (*id)
        r->id = mem_strdup(id);
}

static void
on_id_noted(void *ctx)
{
    struct run *r = ctx;

    CRASH_POINT("secutools.after_id");
    if (r->phase != PHASE_NOTE_ID)
        return;
    follow(r);
}

/* The worker gave it up in the same turn; it is about to become a stray. */
static void
keep_id(struct run *r, const struct http_response *h)
{
    struct job_view v;
    struct err e;

    mem_pool_reset(r->s->pool);
    if (h && h->status >= 200 && h->status < 300 &&
        contract_read_job(r->s->contract, h->body, h->len, r->s->pool, &v,
                          &e) == 0)
        r->id = mem_strdup(v.id);
}

static void
take_job(struct run *r, const struct http_response *h)
{
    struct job_view v;
    char note[NOTE_SIZE];
    struct err e;

    mem_pool_reset(r->s->pool);
    if (contract_read_job(r->s->contract, h->body, h->len, r->s->pool, &v, &e) <
        0) {
        /* It has the job, but we cannot tell which: ask with the same key. */
        log_warn("platform.nonsense", "key=%s error=\"%s\"", r->key,
                 LOG_TEXT(e.msg));
        try_again(r, -1);
        return;
    }
    r->id = mem_strdup(v.id);
    r->tries = 0;
    if (r->stray) {
        r->phase = PHASE_CANCEL;
        act_in(r, 0);
        return;
    }
    log_info("job.submitted", "task=%s job=%s", r->order.task->id,
             LOG_TEXT(r->id));
    CRASH_POINT("secutools.after_post");
    r->phase = PHASE_NOTE_ID;
    make_note(r, note);
    r->order.note(r->order.ctx, note, on_id_noted, r);
}

static void
on_submitted(void *ctx, const struct http_response *h, const struct err *e)
{
    struct run *r = ctx;
    struct secutools *s = r->s;
    const char *why;

    answered(r);
    if (r->phase == PHASE_OVER) {
        keep_id(r, h);
        return;
    }
    if (is_dealt_with(r, h, e))
        return;
    /* A definite answer to this key: what came before was not taken either. */
    r->tries = 0;
    r->resumed = false;
    mem_pool_reset(s->pool);
    why = error_text(r, h);
    switch (h->status) {
    case 200:
    case 201:
    case 202:
        take_job(r, h);
        return;
    case 402:
        if (!r->stray)
            pause_and_refuse(r,
                             h->retry_after_ms > 0 ? h->retry_after_ms
                                                   : s->conf->budget_pause_ms,
                             why);
        else
            over(r);
        return;
    case 401:
    case 403:
        log_error("platform.denied",
                  "status=%d text=\"the platform does not "
                  "take SECUTOOLS_API_KEY; mend it, then shunt lane resume\"",
                  h->status);
        if (!r->stray)
            pause_and_refuse(r, 0, why);
        else
            over(r);
        return;
    default: /* trying again cannot help: no retries are spent on it */
        fail(r, EXIT_OUR_SIDE, why);
        return;
    }
}

static void
submit(struct run *r)
{
    struct secutools *s = r->s;
    char key[160], request[160];
    const char *headers[] = {"Content-Type: application/json", key, request,
                             NULL};
    const struct task *t = r->order.task;

    (void)snprintf(key, sizeof key, "%.64s: %s", s->conf->contract.key_header,
                   r->key);
    (void)snprintf(request, sizeof request, "%.64s: %s-%u",
                   s->conf->contract.request_header, t->id, r->order.attempt);
    if (!*s->conf->contract.request_header)
        headers[2] = NULL;
    str_reset(&s->scratch);
    contract_request(s->contract, t, r->order.lane, &s->scratch);
    send_request(r, "POST", CALL_SUBMIT, headers, "", &s->scratch,
                 CONTRACT_JOB_MAX, on_submitted);
}

/* --- whether it may be handed over -----------------------------------------
 */

static const char *
why_held(const struct run *r)
{
    const char *why = lanes_held(r->s->lanes, r->order.lane);

    return why ? why : r->order.paused(r->order.ctx);
}

/* What the task may cost at most, 0 if it does not say; start checked it. */
static int64_t
most_of(const struct task *t)
{
    int64_t most = 0;

    if (t->delegation && *t->delegation->max_cost_usd)
        (void)money_read(t->delegation->max_cost_usd, &most);
    return most;
}

static void
too_dear(struct run *r)
{
    int64_t left_ms = budget_day_left_ms();
    char text[160];

    (void)snprintf(text, sizeof text,
                   "it may cost more than is left of today's %.40s dollars",
                   r->s->conf->max_cost_per_day);
    refuse(r, left_ms < SHORT_MS ? left_ms : SHORT_MS, text);
}

static void
used_up(struct run *r)
{
    char text[160];

    (void)snprintf(text, sizeof text,
                   "the budget of %.40s dollars for today is used up",
                   r->s->conf->max_cost_per_day);
    pause_and_refuse(r, budget_day_left_ms(), text);
}

/* False: it waits, or was handed back. What may have been handed over before
 * is asked for in any case. */
static bool
may_submit(struct run *r)
{
    struct budget *b = r->s->budget;
    int64_t most = most_of(r->order.task);
    const char *why;

    if (r->tries > 0 || r->resumed || r->reserved_nano)
        return true;
    why = why_held(r);
    if (why) {
        refuse(r, 0, why);
        return false;
    }
    switch (budget_ask(b, most)) {
    case BUDGET_FITS:
        budget_reserve(b, most);
        r->reserved_nano = most;
        return true;
    case BUDGET_UNKNOWN:
        act_in(r, UNKNOWN_MS);
        return false;
    case BUDGET_OVER:
        used_up(r);
        return false;
    case BUDGET_SHORT:
        too_dear(r);
        return false;
    }
    return true;
}

/* --- following it --------------------------------------------------------- */

static void
on_result(void *ctx, const struct http_response *h, const struct err *e)
{
    struct run *r = ctx;
    struct secutools *s = r->s;
    struct bytes out;
    struct err bad;

    answered(r);
    if (!e && (h->status == 409 || h->status == 425)) {
        gate_answered(&s->gate);
        try_again(r, h->retry_after_ms); /* not yet */
        return;
    }
    if (is_dealt_with(r, h, e))
        return;
    mem_pool_reset(s->pool);
    if (h->status == 410) {
        fail(r, EXIT_FAILED, "the result has expired at the platform");
    } else if (h->status != 200) {
        fail(r, EXIT_FAILED, error_text(r, h));
    } else if (contract_read_result(s->contract, h->body, h->len, s->pool, &out,
                                    &bad) < 0) {
        log_warn("platform.nonsense", "key=%s error=\"%s\"", r->key,
                 LOG_TEXT(bad.msg));
        try_again(r, -1);
    } else {
        (void)sink_write(r->order.sink, STREAM_STDOUT, out.data, out.len);
        if (out.len && out.data[out.len - 1] != '\n')
            (void)sink_write(r->order.sink, STREAM_STDOUT, "\n", 1);
        over(r);
    }
}

static void
fetch(struct run *r)
{
    send_request(r, "GET", CALL_RESULT, NULL, "", NULL, CONTRACT_RESULT_MAX,
                 on_result);
}

/* What the job says of itself goes into the outcome. */
static void
keep(struct run *r, const struct job_view *v)
{
    struct outcome *o = outcome(r);

    (void)str_copy(o->provider, sizeof o->provider,
                   *v->provider ? v->provider : r->order.lane);
    (void)str_copy(o->model, sizeof o->model, v->model);
    (void)str_copy(o->cost_usd, sizeof o->cost_usd, v->cost_usd);
    (void)str_copy(o->remote_id, sizeof o->remote_id, r->id);
    o->cost_estimated = v->cost_estimated;
    o->queue_ms = v->queue_ms > 0 ? (uint64_t)v->queue_ms : 0;
    o->run_ms = v->run_ms > 0 ? (uint64_t)v->run_ms : 0;
    o->input_tokens = v->input_tokens > 0 ? (uint64_t)v->input_tokens : 0;
    o->output_tokens = v->output_tokens > 0 ? (uint64_t)v->output_tokens : 0;
}

static int64_t
poll_delay(struct run *r, int64_t hint_ms)
{
    const struct secutools_conf *conf = r->s->conf;
    int64_t ms = conf->poll_first_ms;

    for (int i = 0; i < r->polls && ms < conf->poll_most_ms; i++)
        ms = ms * 3 / 2;
    if (ms > conf->poll_most_ms)
        ms = conf->poll_most_ms;
    if (r->polls < 1000)
        r->polls++;
    ms = (int64_t)((double)ms * (0.8 + 0.4 * fraction()));
    return ms > hint_ms ? ms : hint_ms;
}

static void
judge_job(struct run *r, const struct job_view *v, int64_t hint_ms)
{
    if (v->status != JOB_QUEUED && v->status != JOB_RUNNING) {
        keep(r, v);
        budget_spend(r->s->budget, v->cost_usd);
    }
    r->tries = 0;
    switch (v->status) {
    case JOB_QUEUED:
    case JOB_RUNNING:
        act_in(r, poll_delay(r, hint_ms));
        return;
    case JOB_SUCCEEDED:
        if (r->cancelled) {
            over(r);
            return;
        }
        r->phase = PHASE_FETCH;
        act_in(r, 0);
        return;
    case JOB_FAILED:
        fail(r, EXIT_FAILED,
             *v->error
                 ? mem_pool_printf(r->s->pool, "%s: %s", v->word, v->error)
                 : v->word);
        return;
    case JOB_CANCELLED:
        if (r->cancelled)
            over(r);
        else
            fail(r, EXIT_FAILED, "cancelled at the platform");
        return;
    }
}

/* The platform does not know the job: perhaps not yet. */
static void
missing(struct run *r)
{
    int64_t now = loop_now_ms();

    if (!r->missing_since_ms)
        r->missing_since_ms = now;
    if (r->cancelled)
        over(r);
    else if (now - r->missing_since_ms >= r->s->conf->lost_after_ms)
        fail(r, EXIT_FAILED, "the platform does not know the job any more");
    else
        try_again(r, -1);
}

static void
on_job(void *ctx, const struct http_response *h, const struct err *e)
{
    struct run *r = ctx;
    struct job_view v;
    struct err bad;

    answered(r);
    if (is_dealt_with(r, h, e))
        return;
    mem_pool_reset(r->s->pool);
    if (h->status == 404) {
        missing(r);
        return;
    }
    r->missing_since_ms = 0;
    if (h->status == 410) {
        fail(r, EXIT_FAILED, "the job has expired at the platform");
    } else if (h->status != 200) {
        /* A key that was changed, a gateway that is in the way: the job goes
         * on, so it is followed until its deadline. */
        log_warn("platform.refuses", "key=%s error=\"%s\"", r->key,
                 LOG_TEXT(error_text(r, h)));
        try_again(r, -1);
    } else if (contract_read_job(r->s->contract, h->body, h->len, r->s->pool,
                                 &v, &bad) < 0 ||
               strcmp(v.id, r->id) != 0) {
        log_warn("platform.nonsense", "key=%s job=%s", r->key, LOG_TEXT(r->id));
        try_again(r, -1);
    } else {
        judge_job(r, &v, h->retry_after_ms);
    }
}

static void
look(struct run *r)
{
    char query[64] = "";

    if (r->s->conf->long_poll_ms && r->phase == PHASE_FOLLOW)
        (void)snprintf(query, sizeof query, "?%.32s=%" PRId64,
                       r->s->conf->contract.wait_parameter,
                       (r->s->conf->long_poll_ms + 999) / 1000);
    send_request(r, "GET", CALL_JOB, NULL, query, NULL, CONTRACT_JOB_MAX,
                 on_job);
}

static void
follow(struct run *r)
{
    r->phase = PHASE_FOLLOW;
    r->polls = r->tries = 0;
    if (r->cancelled)
        r->phase = PHASE_CANCEL;
    act_in(r, r->cancelled ? 0 : poll_delay(r, 0));
}

/* --- stopping it
 * -------------------------------------------------------------- */

static void
on_cancelled(void *ctx, const struct http_response *h, const struct err *e)
{
    struct run *r = ctx;

    answered(r);
    if (is_dealt_with(r, h, e))
        return;
    r->told = true;
    if (r->stray) {
        over(r);
        return;
    }
    /* Taken, or over already (409), or unknown: look what became of it. */
    r->tries = 0;
    r->phase = PHASE_FOLLOW;
    r->polls = 0;
    act_in(r, h->status == 409 || h->status == 404 ? 0 : poll_delay(r, 0));
}

static void
ask_cancel(struct run *r)
{
    send_request(r, "POST", CALL_CANCEL, NULL, "", NULL, CONTRACT_JOB_MAX,
                 on_cancelled);
}

/* --- turns
 * ---------------------------------------------------------------------- */

static void
act(struct run *r)
{
    int64_t wait_ms;

    if (r->phase == PHASE_OVER) {
        over(r);
        return;
    }
    if (r->phase == PHASE_SUBMIT && !may_submit(r))
        return;
    wait_ms = gate_take(&r->s->gate, loop_now_ms());
    if (wait_ms > 0) {
        act_in(r, wait_ms);
        return;
    }
    switch (r->phase) {
    case PHASE_SUBMIT:
        submit(r);
        return;
    case PHASE_FOLLOW:
        look(r);
        return;
    case PHASE_FETCH:
        fetch(r);
        return;
    case PHASE_CANCEL:
        ask_cancel(r);
        return;
    case PHASE_NOTE_ID:
    case PHASE_OVER:
        return;
    }
}

/* --- the executor
 * ---------------------------------------------------------------- */

static int
secutools_start(void *ctx, const struct run_order *order, struct run **out,
                struct err *e)
{
    struct secutools *s = ctx;
    const struct task *t = order->task;
    const char *why;
    int64_t most;
    struct run *r;

    if (!*t->prompt)
        return err_set(e, ERR_INVALID,
                       "an AI platform takes a prompt, not steps; route it to "
                       "another backend");
    if (t->delegation && *t->delegation->max_cost_usd &&
        !money_read(t->delegation->max_cost_usd, &most))
        return err_set(e, ERR_INVALID,
                       "max_cost_usd: \"%.40s\" is no amount like 0.50",
                       t->delegation->max_cost_usd);
    r = MEM_NEW(struct run);
    r->s = s;
    r->order = *order;
    contract_key(t->id, order->failed, r->key);
    if (*order->remote)
        read_note(r, order->remote);
    *out = r;
    if (r->id) {
        log_info("job.resumed", "task=%s job=%s", t->id, LOG_TEXT(r->id));
        follow(r);
        return 0;
    }
    why = r->resumed ? NULL : why_held(r);
    if (why) { /* in hand before the lane was paused: no claim is written */
        set_refused(r, 0, why);
        r->phase = PHASE_OVER;
        return 0;
    }
    /* The claim that has just been stored holds the key: the intent. */
    CRASH_POINT("secutools.after_intent");
    r->phase = PHASE_SUBMIT;
    act_in(r, 0);
    return 0;
}

static void
secutools_intent(const struct task *t, uint32_t failed, char *out, size_t size)
{
    char key[CONTRACT_KEY_SIZE];

    contract_key(t->id, failed, key);
    (void)snprintf(out, size, "key %s", key);
}

static enum run_status
secutools_poll(struct run *r, struct outcome *out)
{
    if (r->phase != PHASE_OVER)
        return RUN_BUSY;
    *out = *outcome(r);
    return RUN_DONE;
}

static void
secutools_cancel(struct run *r, bool hard, bool leave)
{
    if (r->phase == PHASE_OVER)
        return;
    r->cancelled = true;
    r->leave = r->leave || leave;
    /* Never sent: whoever comes next need not take it for sent. */
    if (r->phase == PHASE_SUBMIT && !r->call && r->tries == 0 && !r->resumed)
        outcome(r)->untouched = true;
    if (r->leave || hard) {
        over_soon(r);
        return;
    }
    switch (r->phase) {
    case PHASE_FOLLOW:
    case PHASE_FETCH:
        http_cancel(r->call);
        r->call = NULL;
        r->phase = PHASE_CANCEL;
        r->tries = 0;
        act_in(r, 0);
        return;
    case PHASE_SUBMIT:
        if (!r->call && r->tries == 0)
            over_soon(r);
        return; /* else it may have it: known once it answers */
    case PHASE_NOTE_ID:
    case PHASE_CANCEL:
    case PHASE_OVER:
        return;
    }
}

/* Nobody waits for it any more; the platform is yet to be told. */
static void
stray(struct run *r)
{
    struct secutools *s = r->s;

    r->stray = true;
    r->stray_next = s->strays;
    if (s->strays)
        s->strays->stray_prev = r;
    s->strays = r;
    r->phase = r->id ? PHASE_CANCEL : PHASE_SUBMIT;
    r->tries = 0;
    if (r->id)
        act_in(r, 0);
}

static void
secutools_free(struct run *r)
{
    if (!r)
        return;
    if (r->owed && (r->id || r->call))
        stray(r);
    else
        run_free(r);
}

const struct executor secutools_executor = {.name = "secutools",
                                            .intent = secutools_intent,
                                            .start = secutools_start,
                                            .poll = secutools_poll,
                                            .cancel = secutools_cancel,
                                            .free = secutools_free};

/* --- open and close
 * ---------------------------------------------------------------- */

int
secutools_open(struct secutools **out, struct bus *b, struct loop *l,
               const struct secutools_conf *conf, const char *key,
               const char *name, struct err *e)
{
    struct secutools *s = MEM_NEW(struct secutools);
    const struct http_conf http = {.max_connections = conf->max_connections,
                                   .connect_timeout_ms =
                                       conf->connect_timeout_ms,
                                   .ca_file = conf->ca_file};

    s->loop = l;
    s->conf = conf;
    s->key = mem_strdup(key);
    s->timer_ms = INT64_MAX;
    s->pool = mem_pool_new();
    s->lanes = lanes_open(b, secutools_executor.name, name);
    gate_init(&s->gate, &conf->gate, loop_now_ms());
    if (budget_open(&s->budget, b, l, conf->max_cost_per_day,
                    secutools_executor.name, e) < 0 ||
        contract_open(&s->contract, &conf->contract, e) < 0 ||
        http_open(&s->http, l, &http, e) < 0) {
        secutools_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void
secutools_close(struct secutools *s)
{
    if (!s)
        return;
    while (s->strays)
        stray_free(s->strays);
    http_close(s->http);
    lanes_close(s->lanes);
    budget_close(s->budget);
    contract_close(s->contract);
    loop_timer_stop(s->timer);
    mem_pool_free(s->pool);
    mem_free(s->due);
    str_free(&s->scratch);
    explicit_bzero(s->key, strlen(s->key));
    mem_free(s->key);
    mem_free(s);
}
