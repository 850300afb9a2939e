/*
 * Submits a job under its idempotency key if lane and budget allow, then notes
 * its id in the claim. A refusal that concerns the whole lane pauses it.
 */
#include "workers/secutools/secutools_private.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/job_ref.h"
#include "lib/model/money.h"

#include <stdio.h>

/* Key and id must fit in the claim's note. */
_Static_assert((int)PLATFORM_API_KEY_SIZE == (int)JOB_REF_KEY_SIZE &&
                   (int)PLATFORM_API_ID_MAX + 1 == (int)JOB_REF_ID_SIZE,
               "a note holds a key and a job's id");

enum {
    UNKNOWN_MS = 1000, /* while the day's costs are not known */
    SHORT_MS = 30000,  /* while a task costs more than is left of the day */
    HELD_MS = 5000,    /* while that depends on running jobs */
};

/* --- submission ----------------------------------------------------------- */

void
submit_read_note(struct platform_run *r, const char *note)
{
    struct job_ref noted;

    if (!job_ref_read(note, &noted))
        return;
    (void)str_copy(r->key, sizeof r->key, noted.key);
    r->resumed = true;
    if (*noted.id)
        r->id = mem_strdup(noted.id);
}

static void
on_id_noted(void *ctx)
{
    struct platform_run *r = ctx;

    FAILPOINT("secutools.after_id");
    if (r->phase != PLATFORM_NOTE_ID)
        return;
    r->order.forget(r->order.ctx); /* the job is never submitted again */
    poll_job(r);
}

static void
note_id(struct platform_run *r)
{
    char note[JOB_REF_NOTE_SIZE];
    struct job_ref now = {0};

    (void)str_copy(now.key, sizeof now.key, r->key);
    (void)str_copy(now.id, sizeof now.id, r->id);
    job_ref_write(&now, note);
    r->order.note(r->order.ctx, note, on_id_noted, r);
}

/* The worker has ended the run in the same turn and is about to free it. */
static void
keep_id(struct platform_run *r, const struct http_response *h)
{
    struct job_view v;
    struct err e;

    mem_pool_reset(r->s->pool);
    if (h && h->status >= 200 && h->status < 300 &&
        platform_api_read_job(r->s->api, h->body, h->len, r->s->pool, &v, &e) ==
            0)
        r->id = mem_strdup(v.id);
}

static void
take_job(struct platform_run *r, const struct http_response *h)
{
    struct job_view v;
    struct err e;

    mem_pool_reset(r->s->pool);
    if (platform_api_read_job(r->s->api, h->body, h->len, r->s->pool, &v, &e) <
        0) {
        /* There is a job with an unknown id: submit again with the same key. */
        log_warn("platform.invalid", "key=%s error=\"%s\"", r->key,
                 LOG_TEXT(e.msg));
        run_retry(r, -1);
        return;
    }
    r->id = mem_strdup(v.id);
    r->tries = 0;
    if (r->is_detached) {
        r->phase = PLATFORM_CANCEL;
        timers_in(r, 0);
        return;
    }
    log_info("job.submitted", "task=%s job=%s", r->order.task->id,
             LOG_TEXT(r->id));
    FAILPOINT("secutools.after_post");
    r->phase = PLATFORM_NOTE_ID;
    note_id(r);
}

static void
on_submitted(void *ctx, const struct http_response *h, const struct err *e)
{
    struct platform_run *r = ctx;
    struct secutools *s = r->s;
    const char *why;

    run_answered(r);
    if (r->phase == PLATFORM_DONE) {
        keep_id(r, h);
        return;
    }
    if (run_handle_common(r, h, e))
        return;
    /* A definite answer for this key: earlier submissions created no job. */
    r->tries = 0;
    r->resumed = false;
    mem_pool_reset(s->pool);
    why = run_error_text(r, h);
    switch (h->status) {
    case 200:
    case 201:
    case 202:
        take_job(r, h);
        return;
    case 402:
        run_refuse_lane(r,
                        h->retry_after_ms > 0 ? h->retry_after_ms
                                              : s->conf->budget_pause_ms,
                        why);
        return;
    case 401:
    case 403:
        log_error("platform.denied",
                  "status=%d text=\"the platform rejects SECUTOOLS_API_KEY; "
                  "correct it, then shunt lane resume\"",
                  h->status);
        run_refuse_lane(r, 0, why);
        return;
    default: /* repeating cannot help: no retries are used */
        run_fail(r, EXIT_OUR_SIDE, why);
        return;
    }
}

void
submit_send(struct platform_run *r)
{
    struct secutools *s = r->s;
    char key[160], request[160];
    const char *headers[] = {"Content-Type: application/json", key, request,
                             NULL};
    const struct task *t = r->order.task;

    (void)snprintf(key, sizeof key, "%.64s: %s", s->conf->api.key_header,
                   r->key);
    (void)snprintf(request, sizeof request, "%.64s: %s-%u",
                   s->conf->api.request_header, t->id, r->order.attempt);
    if (!*s->conf->api.request_header)
        headers[2] = NULL;
    str_reset(&s->scratch);
    platform_api_request(s->api, t, r->order.lane, r->key, &s->scratch);
    run_send(r, "POST", CALL_SUBMIT, headers, "", &s->scratch,
             PLATFORM_API_JOB_MAX, on_submitted);
}

/* --- admission ------------------------------------------------------------ */

const char *
submit_pause_reason(const struct platform_run *r)
{
    const char *why = lane_pauser_reason(r->s->lanes, r->order.lane);

    return why ? why : r->order.paused(r->order.ctx);
}

/* The task's maximum cost, 0 if not stated; start has checked it. */
static int64_t
max_cost(const struct task *t)
{
    int64_t most = 0;

    if (t->delegation && *t->delegation->max_cost_usd)
        (void)money_read(t->delegation->max_cost_usd, &most);
    return most;
}

int64_t
submit_wait_ms(const struct secutools *s, const struct task *t)
{
    switch (budget_ask(s->budget, max_cost(t))) {
    case BUDGET_FITS:
        return 0;
    case BUDGET_UNKNOWN:
        return UNKNOWN_MS;
    case BUDGET_OVER: /* only an attempt can pause the lane */
        return 0;
    case BUDGET_HELD:
        return HELD_MS;
    case BUDGET_SHORT:
        return SHORT_MS;
    }
    return 0;
}

void
submit_reserve(struct platform_run *r)
{
    r->admitted = true;
    r->reserved_nano = max_cost(r->order.task);
    budget_reserve(r->s->budget, r->reserved_nano);
}

bool
submit_may(struct platform_run *r)
{
    const char *limit = r->s->conf->max_cost_per_day;
    int64_t most = max_cost(r->order.task), day;
    enum budget_verdict verdict = budget_ask(r->s->budget, most);
    const char *why, *begin = "it may cost more than is left of today's";
    const char *end = "";
    char text[160];

    /* An earlier attempt's intent is no exception, whether or not it was
     * submitted: a job that exists has the same key and waits for us. */
    if (r->admitted)
        return true;
    why = submit_pause_reason(r);
    if (why) {
        run_refuse(r, 0, why);
        return false;
    }
    switch (verdict) {
    case BUDGET_FITS:
        submit_reserve(r);
        return true;
    case BUDGET_UNKNOWN:
        timers_in(r, UNKNOWN_MS);
        return false;
    case BUDGET_OVER:
        begin = "the budget of";
        end = " for today is used up";
        break;
    case BUDGET_SHORT:
        if (money_read(limit, &day) && most > day)
            begin = "it may cost more than a whole day's";
        break;
    case BUDGET_HELD:
        begin = "with the running jobs it may cost more than is left of "
                "today's";
        break;
    }
    (void)snprintf(text, sizeof text, "%s %.40s dollars%s", begin, limit, end);
    /* Only this task waits, for a larger limit or the next day, unless nothing
     * is left: others on the lane may fit. */
    if (verdict == BUDGET_OVER)
        run_refuse_lane(r, budget_day_left_ms(), text);
    else
        run_refuse(r, budget_day_left_ms(), text);
    return false;
}
