#include "workers/secutools/secutools_private.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/job_ref.h"
#include "lib/model/money.h"

#include <stdio.h>
#include <string.h>

/* What the claim has room for. */
_Static_assert((int)PLATFORM_API_KEY_SIZE == (int)JOB_REF_KEY_SIZE &&
                   (int)PLATFORM_API_ID_MAX + 1 == (int)JOB_REF_ID_SIZE,
               "a note holds a key and a job's id");

enum {
    UNKNOWN_MS = 1000, /* between looks whether the day's costs are known */
    LOOK_MS = 30000,   /* whether a task that is too dear is so still */
    HELD_MS = 5000,    /* the same, while it depends on what is under way */
};

/* --- handing it over ------------------------------------------------------ */

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
    if (r->phase != PHASE_NOTE_ID)
        return;
    r->order.forget(r->order.ctx); /* it is never submitted again */
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

/* The worker gave it up in the same turn; it is about to become a stray. */
static void
keep_id(struct platform_run *r, const struct http_response *h)
{
    struct job_view v;
    struct err e;

    mem_pool_reset(r->s->pool);
    if (h && h->status >= 200 && h->status < 300 &&
        platform_api_read_job(r->s->contract, h->body, h->len, r->s->pool, &v,
                              &e) == 0)
        r->id = mem_strdup(v.id);
}

static void
take_job(struct platform_run *r, const struct http_response *h)
{
    struct job_view v;
    struct err e;

    mem_pool_reset(r->s->pool);
    if (platform_api_read_job(r->s->contract, h->body, h->len, r->s->pool, &v,
                              &e) < 0) {
        /* It has the job, but we cannot tell which: ask with the same key. */
        log_warn("platform.nonsense", "key=%s error=\"%s\"", r->key,
                 LOG_TEXT(e.msg));
        run_again(r, -1);
        return;
    }
    r->id = mem_strdup(v.id);
    r->tries = 0;
    if (r->stray) {
        r->phase = PHASE_CANCEL;
        timers_in(r, 0);
        return;
    }
    log_info("job.submitted", "task=%s job=%s", r->order.task->id,
             LOG_TEXT(r->id));
    FAILPOINT("secutools.after_post");
    r->phase = PHASE_NOTE_ID;
    note_id(r);
}

static void
on_submitted(void *ctx, const struct http_response *h, const struct err *e)
{
    struct platform_run *r = ctx;
    struct secutools *s = r->s;
    const char *why;

    run_answered(r);
    if (r->phase == PHASE_OVER) {
        keep_id(r, h);
        return;
    }
    if (run_is_dealt_with(r, h, e))
        return;
    /* A definite answer to this key: what came before was not taken either. */
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
        if (!r->stray)
            run_refuse_lane(r,
                            h->retry_after_ms > 0 ? h->retry_after_ms
                                                  : s->conf->budget_pause_ms,
                            why);
        else
            run_over(r);
        return;
    case 401:
    case 403:
        log_error("platform.denied",
                  "status=%d text=\"the platform does not "
                  "take SECUTOOLS_API_KEY; mend it, then shunt lane resume\"",
                  h->status);
        if (!r->stray)
            run_refuse_lane(r, 0, why);
        else
            run_over(r);
        return;
    default: /* trying again cannot help: no retries are spent on it */
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

    (void)snprintf(key, sizeof key, "%.64s: %s", s->conf->contract.key_header,
                   r->key);
    (void)snprintf(request, sizeof request, "%.64s: %s-%u",
                   s->conf->contract.request_header, t->id, r->order.attempt);
    if (!*s->conf->contract.request_header)
        headers[2] = NULL;
    str_reset(&s->scratch);
    platform_api_request(s->contract, t, r->order.lane, r->key, &s->scratch);
    run_send(r, "POST", CALL_SUBMIT, headers, "", &s->scratch,
             PLATFORM_API_JOB_MAX, on_submitted);
}

/* --- whether it may be handed over -----------------------------------------
 */

const char *
submit_held(const struct platform_run *r)
{
    const char *why = lane_pauser_held(r->s->lanes, r->order.lane);

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

/* Others on the lane may fit: it alone waits, for a larger limit or tomorrow.
 */
static void
too_dear(struct platform_run *r)
{
    const char *limit = r->s->conf->max_cost_per_day;
    char text[160];
    int64_t nano;

    (void)snprintf(text, sizeof text,
                   money_read(limit, &nano) && most_of(r->order.task) > nano
                       ? "it may cost more than a whole day's %.40s dollars"
                       : "it may cost more than is left of today's %.40s "
                         "dollars",
                   limit);
    run_refuse(r, budget_day_left_ms(), text);
}

static void
held_by_others(struct platform_run *r)
{
    char text[160];

    (void)snprintf(text, sizeof text,
                   "with what is under way it may cost more than is left of "
                   "today's %.40s dollars",
                   r->s->conf->max_cost_per_day);
    run_refuse(r, budget_day_left_ms(), text);
}

static void
used_up(struct platform_run *r)
{
    char text[160];

    (void)snprintf(text, sizeof text,
                   "the budget of %.40s dollars for today is used up",
                   r->s->conf->max_cost_per_day);
    run_refuse_lane(r, budget_day_left_ms(), text);
}

int64_t
submit_wait_ms(const struct secutools *s, const struct task *t)
{
    switch (budget_ask(s->budget, most_of(t))) {
    case BUDGET_FITS:
        return 0;
    case BUDGET_UNKNOWN:
        return UNKNOWN_MS;
    case BUDGET_OVER: /* the lane is to be paused: that wants an attempt */
        return 0;
    case BUDGET_HELD:
        return HELD_MS;
    case BUDGET_SHORT:
        return LOOK_MS;
    }
    return 0;
}

void
submit_reserve(struct platform_run *r)
{
    r->admitted = true;
    r->reserved_nano = most_of(r->order.task);
    budget_reserve(r->s->budget, r->reserved_nano);
}

bool
submit_may(struct platform_run *r)
{
    struct budget *b = r->s->budget;
    int64_t most = most_of(r->order.task);
    const char *why;

    /* An intent of an earlier attempt, which may have been carried out or not,
     * is no exception: a job that is there already has the same key and waits
     * for us as it is. */
    if (r->admitted)
        return true;
    why = submit_held(r);
    if (why) {
        run_refuse(r, 0, why);
        return false;
    }
    switch (budget_ask(b, most)) {
    case BUDGET_FITS:
        submit_reserve(r);
        return true;
    case BUDGET_UNKNOWN:
        timers_in(r, UNKNOWN_MS);
        return false;
    case BUDGET_OVER:
        used_up(r);
        return false;
    case BUDGET_SHORT:
        too_dear(r);
        return false;
    case BUDGET_HELD:
        held_by_others(r);
        return false;
    }
    return true;
}
