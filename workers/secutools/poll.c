#include "workers/secutools/secutools_private.h"

#include "lib/base/backoff.h"
#include "lib/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- following it --------------------------------------------------------- */

enum { HINT_MS = 1000 }; /* between looks at a job that hints ask for */

static void
on_result(void *ctx, const struct http_response *h, const struct err *e)
{
    struct platform_run *r = ctx;
    struct secutools *s = r->s;
    struct bytes out;
    struct err bad;

    run_answered(r);
    if (!e && (h->status == 409 || h->status == 425)) {
        breaker_answered(&s->gate);
        run_again(r, h->retry_after_ms); /* not yet */
        return;
    }
    if (run_is_dealt_with(r, h, e))
        return;
    mem_pool_reset(s->pool);
    if (h->status == 410) {
        run_fail(r, EXIT_FAILED, "the result has expired at the platform");
    } else if (h->status != 200) {
        run_fail(r, EXIT_FAILED, run_error_text(r, h));
    } else if (platform_api_read_result(s->contract, h->body, h->len, s->pool,
                                        &out, &bad) < 0) {
        log_warn("platform.nonsense", "key=%s error=\"%s\"", r->key,
                 LOG_TEXT(bad.msg));
        run_again(r, -1);
    } else {
        (void)sink_write(r->order.sink, STREAM_STDOUT, out.data, out.len);
        if (out.len && out.data[out.len - 1] != '\n')
            (void)sink_write(r->order.sink, STREAM_STDOUT, "\n", 1);
        run_over(r);
    }
}

void
poll_fetch(struct platform_run *r)
{
    run_send(r, "GET", CALL_RESULT, NULL, "", NULL, PLATFORM_API_RESULT_MAX,
             on_result);
}

/* What the job says of itself goes into the outcome. */
static void
keep(struct platform_run *r, const struct job_view *v)
{
    struct outcome *o = run_outcome(r);

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
poll_delay(struct platform_run *r, int64_t hint_ms)
{
    const struct secutools_conf *conf = r->s->conf;
    int64_t ms = conf->poll_first_ms;

    for (int i = 0; i < r->polls && ms < conf->poll_most_ms; i++)
        ms = ms * 3 / 2;
    if (ms > conf->poll_most_ms)
        ms = conf->poll_most_ms;
    if (r->polls < 1000)
        r->polls++;
    ms = backoff_jitter(ms, 0.8, 1.2, backoff_random());
    return ms > hint_ms ? ms : hint_ms;
}

static void
judge_job(struct platform_run *r, const struct job_view *v, int64_t hint_ms)
{
    if (v->status != JOB_QUEUED && v->status != JOB_RUNNING) {
        keep(r, v);
        budget_spend(r->s->budget, v->cost_usd);
    }
    r->tries = 0;
    switch (v->status) {
    case JOB_QUEUED:
    case JOB_RUNNING:
        timers_in(r, poll_delay(r, hint_ms));
        return;
    case JOB_SUCCEEDED:
        if (r->cancelled) {
            run_over(r);
            return;
        }
        r->phase = PHASE_FETCH;
        timers_in(r, 0);
        return;
    case JOB_FAILED:
        run_fail(r, EXIT_FAILED,
                 *v->error
                     ? mem_pool_printf(r->s->pool, "%s: %s", v->word, v->error)
                     : v->word);
        return;
    case JOB_CANCELLED:
        if (r->cancelled)
            run_over(r);
        else
            run_fail(r, EXIT_FAILED, "cancelled at the platform");
        return;
    }
}

/* The platform does not know the job: perhaps not yet. */
static void
missing(struct platform_run *r)
{
    int64_t now = loop_now_ms();

    if (!r->missing_since_ms)
        r->missing_since_ms = now;
    if (r->cancelled)
        run_over(r);
    else if (now - r->missing_since_ms >= r->s->conf->lost_after_ms)
        run_fail(r, EXIT_FAILED, "the platform does not know the job any more");
    else
        run_again(r, -1);
}

static void
on_job(void *ctx, const struct http_response *h, const struct err *e)
{
    struct platform_run *r = ctx;
    struct job_view v;
    struct err bad;

    run_answered(r);
    if (run_is_dealt_with(r, h, e))
        return;
    mem_pool_reset(r->s->pool);
    if (h->status == 404) {
        missing(r);
        return;
    }
    r->missing_since_ms = 0;
    if (h->status == 410) {
        run_fail(r, EXIT_FAILED, "the job has expired at the platform");
    } else if (h->status != 200) {
        /* A key that was changed, a gateway that is in the way: the job goes
         * on, so it is followed until its deadline. */
        log_warn("platform.refuses", "key=%s error=\"%s\"", r->key,
                 LOG_TEXT(run_error_text(r, h)));
        run_again(r, -1);
    } else if (platform_api_read_job(r->s->contract, h->body, h->len,
                                     r->s->pool, &v, &bad) < 0 ||
               strcmp(v.id, r->id) != 0) {
        log_warn("platform.nonsense", "key=%s job=%s", r->key, LOG_TEXT(r->id));
        run_again(r, -1);
    } else {
        judge_job(r, &v, h->retry_after_ms);
    }
}

void
poll_look(struct platform_run *r)
{
    char query[64] = "";

    r->looked_ms = loop_now_ms();
    if (r->s->conf->long_poll_ms && r->phase == PHASE_FOLLOW)
        (void)snprintf(query, sizeof query, "?%.32s=%" PRId64,
                       r->s->conf->contract.wait_parameter,
                       (r->s->conf->long_poll_ms + 999) / 1000);
    run_send(r, "GET", CALL_JOB, NULL, query, NULL, PLATFORM_API_JOB_MAX,
             on_job);
}

void
poll_job(struct platform_run *r)
{
    r->phase = PHASE_FOLLOW;
    r->polls = r->tries = 0;
    if (r->cancelled)
        r->phase = PHASE_CANCEL;
    timers_in(r, r->cancelled ? 0 : poll_delay(r, 0));
}

/* --- stopping it
 * -------------------------------------------------------------- */

static void
on_cancelled(void *ctx, const struct http_response *h, const struct err *e)
{
    struct platform_run *r = ctx;

    run_answered(r);
    if (run_is_dealt_with(r, h, e))
        return;
    r->told = true;
    if (r->stray) {
        run_over(r);
        return;
    }
    /* Taken, or over already (409), or unknown: look what became of it. */
    r->tries = 0;
    r->phase = PHASE_FOLLOW;
    r->polls = 0;
    timers_in(r, h->status == 409 || h->status == 404 ? 0 : poll_delay(r, 0));
}

void
poll_cancel(struct platform_run *r)
{
    run_send(r, "POST", CALL_CANCEL, NULL, "", NULL, PLATFORM_API_JOB_MAX,
             on_cancelled);
}

/* --- hints ---------------------------------------------------------------- */

/* Only what waits for its next look is looked at, and no more than once in
 * HINT_MS: whoever knows a key could else have us ask without end. */
void
poll_hint(void *ctx, const char *key)
{
    struct secutools *s = ctx;
    struct platform_run *r = hash_table_find(&s->by_key, key);
    int64_t at_ms;

    if (!r || r->phase != PHASE_FOLLOW || r->call || !r->place)
        return;
    at_ms = r->looked_ms + HINT_MS;
    if (at_ms < loop_now_ms())
        at_ms = loop_now_ms();
    if (at_ms < r->due_ms)
        timers_at(r, at_ms);
}
