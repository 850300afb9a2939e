/*
 * Polls a job at growing intervals until it is finished, records what it says
 * in the outcome and writes its result to the output. A webhook call makes the
 * next poll earlier.
 */
#include "workers/secutools/secutools_private.h"

#include "lib/base/backoff.h"
#include "lib/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* --- polling -------------------------------------------------------------- */

enum { WEBHOOK_MS = 1000 }; /* between polls that webhook calls cause */

static void
on_result(void *ctx, const struct http_response *h, const struct err *e)
{
    struct platform_run *r = ctx;
    struct secutools *s = r->s;
    struct bytes out;
    struct err bad;

    run_answered(r);
    if (!e && (h->status == 409 || h->status == 425)) {
        breaker_answered(&s->breaker);
        run_retry(r, h->retry_after_ms); /* not yet */
        return;
    }
    if (run_handle_common(r, h, e))
        return;
    mem_pool_reset(s->pool);
    if (h->status == 410) {
        run_fail(r, EXIT_FAILED, "the result has expired at the platform");
    } else if (h->status != 200) {
        run_fail(r, EXIT_FAILED, run_error_text(r, h));
    } else if (platform_api_read_result(s->api, h->body, h->len, s->pool, &out,
                                        &bad) < 0) {
        log_warn("platform.invalid", "key=%s error=\"%s\"", r->key,
                 LOG_TEXT(bad.msg));
        run_retry(r, -1);
    } else {
        (void)output_write(r->order.output, STREAM_STDOUT, out.data, out.len);
        if (out.len && out.data[out.len - 1] != '\n')
            (void)output_write(r->order.output, STREAM_STDOUT, "\n", 1);
        run_end(r);
    }
}

void
poll_fetch(struct platform_run *r)
{
    run_send(r, "GET", CALL_RESULT, NULL, "", NULL, PLATFORM_API_RESULT_MAX,
             on_result);
}

/* Records the job's own figures in the outcome. */
static void
record_job(struct platform_run *r, const struct job_view *v)
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
on_status(struct platform_run *r, const struct job_view *v, int64_t hint_ms)
{
    if (v->status != JOB_QUEUED && v->status != JOB_RUNNING) {
        record_job(r, v);
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
            run_end(r);
            return;
        }
        r->phase = PLATFORM_FETCH;
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
            run_end(r);
        else
            run_fail(r, EXIT_FAILED, "cancelled at the platform");
        return;
    }
}

/* The platform does not know the job, perhaps not yet. */
static void
on_missing(struct platform_run *r)
{
    int64_t now = loop_now_ms();

    if (!r->missing_since_ms)
        r->missing_since_ms = now;
    if (r->cancelled)
        run_end(r);
    else if (now - r->missing_since_ms >= r->s->conf->lost_after_ms)
        run_fail(r, EXIT_FAILED, "the platform does not know the job any more");
    else
        run_retry(r, -1);
}

static void
on_job(void *ctx, const struct http_response *h, const struct err *e)
{
    struct platform_run *r = ctx;
    struct job_view v;
    struct err bad;

    run_answered(r);
    if (run_handle_common(r, h, e))
        return;
    mem_pool_reset(r->s->pool);
    if (h->status == 404) {
        on_missing(r);
        return;
    }
    r->missing_since_ms = 0;
    if (h->status == 410) {
        run_fail(r, EXIT_FAILED, "the job has expired at the platform");
    } else if (h->status != 200) {
        /* A changed key or a proxy may be the reason: the job continues, so it
         * is polled until its deadline. */
        log_warn("platform.refused", "key=%s error=\"%s\"", r->key,
                 LOG_TEXT(run_error_text(r, h)));
        run_retry(r, -1);
    } else if (platform_api_read_job(r->s->api, h->body, h->len, r->s->pool, &v,
                                     &bad) < 0 ||
               strcmp(v.id, r->id) != 0) {
        log_warn("platform.invalid", "key=%s job=%s", r->key, LOG_TEXT(r->id));
        run_retry(r, -1);
    } else {
        on_status(r, &v, h->retry_after_ms);
    }
}

void
poll_send(struct platform_run *r)
{
    char query[64] = "";

    r->polled_ms = loop_now_ms();
    if (r->s->conf->long_poll_ms && r->phase == PLATFORM_POLL)
        (void)snprintf(query, sizeof query, "?%.32s=%" PRId64,
                       r->s->conf->api.wait_parameter,
                       (r->s->conf->long_poll_ms + 999) / 1000);
    run_send(r, "GET", CALL_JOB, NULL, query, NULL, PLATFORM_API_JOB_MAX,
             on_job);
}

void
poll_job(struct platform_run *r)
{
    r->phase = PLATFORM_POLL;
    r->polls = r->tries = 0;
    if (r->cancelled)
        r->phase = PLATFORM_CANCEL;
    timers_in(r, r->cancelled ? 0 : poll_delay(r, 0));
}

/* --- cancelling ----------------------------------------------------------- */

static void
on_cancelled(void *ctx, const struct http_response *h, const struct err *e)
{
    struct platform_run *r = ctx;

    run_answered(r);
    if (run_handle_common(r, h, e))
        return;
    r->cancel_sent = true;
    if (r->is_detached) {
        run_end(r);
        return;
    }
    /* Accepted, or already finished (409), or unknown: poll its status. */
    r->tries = 0;
    r->phase = PLATFORM_POLL;
    r->polls = 0;
    timers_in(r, h->status == 409 || h->status == 404 ? 0 : poll_delay(r, 0));
}

void
poll_cancel(struct platform_run *r)
{
    run_send(r, "POST", CALL_CANCEL, NULL, "", NULL, PLATFORM_API_JOB_MAX,
             on_cancelled);
}

/* --- webhook -------------------------------------------------------------- */

/* Only jobs that wait for their next poll are polled, at most once in
 * WEBHOOK_MS: otherwise anybody who knows a key could make us poll without
 * end. */
void
poll_hint(void *ctx, const char *key)
{
    struct secutools *s = ctx;
    struct platform_run *r = hash_table_find(&s->by_key, key);
    int64_t at_ms;

    if (!r || r->phase != PLATFORM_POLL || r->call || !r->heap_at)
        return;
    at_ms = r->polled_ms + WEBHOOK_MS;
    if (at_ms < loop_now_ms())
        at_ms = loop_now_ms();
    if (at_ms < r->due_ms)
        timers_at(r, at_ms);
}
