/*
 * Acts for a run when its time has come, within the rate and the circuit
 * breaker, and handles the answers that any request may get. Ends a run with an
 * outcome, a refusal or a failure.
 */
#include "workers/secutools/secutools_private.h"

#include "lib/base/backoff.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    BACKOFF_MS = 500, /* the first delay before a request is repeated */
    BACKOFF_MOST_MS = 60000,
    SHORT_WAIT_MS = 5000, /* a longer one pauses the lane */
    DETACHED_TRIES = 8,   /* to cancel a job whose run the worker has freed */
};

/* --- ending --------------------------------------------------------------- */

void
run_free(struct platform_run *r)
{
    timers_cancel(r);
    hash_table_remove(&r->s->by_key, &r->by_key);
    http_cancel(r->call);
    timers_update(r->s);
    budget_release(r->s->budget, r->reserved_nano);
    mem_free(r->outcome);
    mem_free(r->id);
    mem_free(r);
}

void
run_free_detached(struct platform_run *r)
{
    LIST_REMOVE(r, detached);
    run_free(r);
}

struct outcome *
run_outcome(struct platform_run *r)
{
    if (!r->outcome)
        r->outcome = MEM_NEW(struct outcome);
    return r->outcome;
}

void
run_end(struct platform_run *r)
{
    if (r->is_detached) {
        run_free_detached(r);
        return;
    }
    timers_cancel(r);
    r->phase = PLATFORM_DONE;
    r->order.changed(r->order.ctx);
}

void
run_end_soon(struct platform_run *r)
{
    run_outcome(r)->no_exit_code = true;
    r->cancel_owed =
        !r->leave && !r->cancel_sent && (r->id || r->call || r->tries);
    /* A pending submission returns the id to cancel. */
    if (!r->cancel_owed || r->id) {
        http_cancel(r->call);
        r->call = NULL;
    }
    r->phase = PLATFORM_DONE;
    timers_at(r, AT_ONCE);
}

void
run_fail(struct platform_run *r, int exit_code, const char *reason)
{
    struct outcome *o = run_outcome(r);

    o->exit_code = exit_code;
    (void)str_copy(o->reason, sizeof o->reason, reason);
    run_end(r);
}

void
run_set_refused(struct platform_run *r, int64_t again_ms, const char *reason)
{
    struct outcome *o = run_outcome(r);

    o->refused = true;
    o->again_ms = again_ms;
    /* Not even a submission with this key may be pending: there is no job. */
    o->untouched = r->tries == 0 && !r->resumed;
    (void)str_copy(o->reason, sizeof o->reason, reason);
}

void
run_refuse(struct platform_run *r, int64_t again_ms, const char *reason)
{
    run_set_refused(r, again_ms, reason);
    run_end(r);
}

void
run_refuse_lane(struct platform_run *r, int64_t for_ms, const char *reason)
{
    if (r->is_detached) {
        run_end(r);
        return;
    }
    if (!r->order.paused(r->order.ctx))
        lane_pauser_pause(r->s->lanes, r->order.lane, for_ms, reason);
    run_refuse(r, 0, reason);
}

/* --- requests ------------------------------------------------------------- */

static bool
is_down(int status)
{
    return status == 408 || status == 425 || status == 500 || status == 502 ||
           status == 503 || status == 504;
}

void
run_retry(struct platform_run *r, int64_t retry_after_ms)
{
    if (r->is_detached &&
        (r->phase != PLATFORM_CANCEL || r->tries >= DETACHED_TRIES)) {
        log_warn("job.left",
                 "key=%s job=%s text=\"it continues at the platform, which "
                 "could not be reached to cancel it\"",
                 r->key, r->id ? LOG_TEXT(r->id) : "");
        run_free_detached(r);
        return;
    }
    timers_in(r, breaker_backoff(r->tries++, BACKOFF_MS, BACKOFF_MOST_MS,
                                 retry_after_ms, backoff_random()));
}

/* A request failed. Logged once, when the breaker opens. */
static void
on_failure(struct platform_run *r, const char *why)
{
    struct secutools *s = r->s;
    bool open = s->breaker.state != BREAKER_CLOSED;

    log_debug("platform.error", "key=%s error=\"%s\"", r->key, LOG_TEXT(why));
    breaker_failed(&s->breaker, loop_now_ms());
    if (!open && s->breaker.state != BREAKER_CLOSED)
        log_warn("platform.down", "failures=%" PRId64 " error=\"%s\"",
                 s->breaker.failures, LOG_TEXT(why));
}

static void
on_success(struct secutools *s)
{
    if (s->breaker.state != BREAKER_CLOSED)
        log_info("platform.up", "failures=%" PRId64, s->breaker.failures);
    breaker_answered(&s->breaker);
}

bool
run_handle_common(struct platform_run *r, const struct http_response *h,
                  const struct err *e)
{
    struct secutools *s = r->s;
    int64_t now = loop_now_ms();

    if (e) {
        on_failure(r, e->msg);
        run_retry(r, -1);
        return true;
    }
    if (is_down(h->status)) {
        mem_pool_reset(s->pool);
        on_failure(r, run_error_text(r, h));
        if (h->retry_after_ms > 0)
            breaker_pause(&s->breaker, now + h->retry_after_ms);
        run_retry(r, h->retry_after_ms);
        return true;
    }
    on_success(s);
    if (h->status == 429) {
        int64_t wait_ms =
            h->retry_after_ms >= 0 ? h->retry_after_ms : s->conf->poll_most_ms;

        breaker_pause(&s->breaker, now + wait_ms);
        if (r->phase != PLATFORM_SUBMIT || r->is_detached ||
            wait_ms <= SHORT_WAIT_MS)
            run_retry(r, wait_ms);
        else
            run_refuse_lane(r, wait_ms,
                            "the platform asks for a pause (HTTP 429)");
        return true;
    }
    return false;
}

void
run_answered(struct platform_run *r)
{
    r->call = NULL;
    timers_update(r->s);
}

const char *
run_error_text(struct platform_run *r, const struct http_response *h)
{
    return platform_api_read_error(h->status, h->body, h->len, r->s->pool);
}

void
run_send(struct platform_run *r, const char *method,
         enum platform_api_call call, const char *const *headers,
         const char *query, const struct str *body, size_t max_body,
         http_fn *fn)
{
    struct secutools *s = r->s;
    struct str url = {0};
    struct http_request q = {.method = method,
                             .headers = headers,
                             .secret = s->key,
                             .secret_header = s->conf->api.auth_header,
                             .timeout_ms = s->conf->request_timeout_ms +
                                           s->conf->long_poll_ms,
                             .max_body = max_body};

    platform_api_url(s->api, call, r->id, &url);
    str_addz(&url, query);
    q.url = str_text(&url);
    if (body) {
        q.body = body->data;
        q.len = body->len;
    }
    r->call = http_send(s->http, &q, fn, r);
    str_free(&url);
}

/* --- acting --------------------------------------------------------------- */

void
run_act(struct platform_run *r)
{
    int64_t wait_ms;

    if (r->phase == PLATFORM_DONE) {
        run_end(r);
        return;
    }
    if (r->phase == PLATFORM_SUBMIT && !submit_may(r))
        return;
    wait_ms = breaker_acquire(&r->s->breaker, loop_now_ms());
    if (wait_ms > 0) {
        timers_in(r, wait_ms);
        return;
    }
    switch (r->phase) {
    case PLATFORM_SUBMIT:
        submit_send(r);
        return;
    case PLATFORM_POLL:
        poll_send(r);
        return;
    case PLATFORM_FETCH:
        poll_fetch(r);
        return;
    case PLATFORM_CANCEL:
        poll_cancel(r);
        return;
    case PLATFORM_NOTE_ID:
    case PLATFORM_DONE:
        return;
    }
}
