#include "workers/secutools/secutools_private.h"

#include "lib/base/backoff.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BACKOFF_MS = 500, /* of tries at the same request, by the first */
    BACKOFF_MOST_MS = 60000,
    PARK_MOST_MS = 5000, /* a longer pause is the lane's, not a job's */
    STRAY_TRIES = 8,     /* at cancelling a job whose run is gone */
};

/* --- ends ----------------------------------------------------------------- */

void
run_free(struct platform_run *r)
{
    timers_cancel(r);
    hash_table_remove(&r->s->by_key, &r->by_key);
    http_cancel(r->call);
    timers_turn(r->s);
    budget_release(r->s->budget, r->reserved_nano);
    mem_free(r->outcome);
    mem_free(r->id);
    mem_free(r);
}

void
run_stray_free(struct platform_run *r)
{
    if (r->stray_prev)
        r->stray_prev->stray_next = r->stray_next;
    else
        r->s->strays = r->stray_next;
    if (r->stray_next)
        r->stray_next->stray_prev = r->stray_prev;
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
run_over(struct platform_run *r)
{
    if (r->stray) {
        run_stray_free(r);
        return;
    }
    timers_cancel(r);
    r->phase = PHASE_OVER;
    r->order.changed(r->order.ctx);
}

void
run_over_soon(struct platform_run *r)
{
    r->owed = !r->leave && !r->told && (r->id || r->call || r->tries);
    /* A submission under way brings the id to cancel. */
    if (!r->owed || r->id) {
        http_cancel(r->call);
        r->call = NULL;
    }
    r->phase = PHASE_OVER;
    timers_at(r, AT_ONCE);
}

void
run_fail(struct platform_run *r, int exit_code, const char *reason)
{
    struct outcome *o = run_outcome(r);

    o->exit_code = exit_code;
    (void)snprintf(o->reason, sizeof o->reason, "%.255s", reason);
    run_over(r);
}

void
run_set_refused(struct platform_run *r, int64_t again_ms, const char *reason)
{
    struct outcome *o = run_outcome(r);

    o->refused = true;
    o->again_ms = again_ms;
    /* With the same key, so that it would not have two jobs: it has none. */
    o->untouched = r->tries == 0 && !r->resumed;
    (void)snprintf(o->reason, sizeof o->reason, "%.255s", reason);
}

void
run_refuse(struct platform_run *r, int64_t again_ms, const char *reason)
{
    run_set_refused(r, again_ms, reason);
    run_over(r);
}

void
run_refuse_lane(struct platform_run *r, int64_t for_ms, const char *reason)
{
    if (!r->order.paused(r->order.ctx))
        lane_pauser_pause(r->s->lanes, r->order.lane, for_ms, reason);
    run_refuse(r, 0, reason);
}

/* --- asking --------------------------------------------------------------- */

static bool
is_down(int status)
{
    return status == 408 || status == 425 || status == 500 || status == 502 ||
           status == 503 || status == 504;
}

void
run_again(struct platform_run *r, int64_t retry_after_ms)
{
    if (r->stray && (r->phase != PHASE_CANCEL || r->tries >= STRAY_TRIES)) {
        log_warn("job.left",
                 "key=%s job=%s text=\"it goes on at the platform, "
                 "which could not be told to stop it\"",
                 r->key, r->id ? LOG_TEXT(r->id) : "");
        run_stray_free(r);
        return;
    }
    timers_in(r, breaker_backoff(r->tries++, BACKOFF_MS, BACKOFF_MOST_MS,
                                 retry_after_ms, backoff_random()));
}

/* A request came to nothing. Said once, when there have been enough in a row.
 */
static void
went_wrong(struct platform_run *r, const char *why)
{
    struct secutools *s = r->s;
    bool open = s->gate.state != BREAKER_CLOSED;

    log_debug("platform.error", "key=%s error=\"%s\"", r->key, LOG_TEXT(why));
    breaker_failed(&s->gate, loop_now_ms());
    if (!open && s->gate.state != BREAKER_CLOSED)
        log_warn("platform.down", "failures=%" PRId64 " error=\"%s\"",
                 s->gate.failures, LOG_TEXT(why));
}

static void
went_well(struct secutools *s)
{
    if (s->gate.state != BREAKER_CLOSED)
        log_info("platform.up", "failures=%" PRId64, s->gate.failures);
    breaker_answered(&s->gate);
}

bool
run_is_dealt_with(struct platform_run *r, const struct http_response *h,
                  const struct err *e)
{
    struct secutools *s = r->s;
    int64_t now = loop_now_ms();

    if (e) {
        went_wrong(r, e->msg);
        run_again(r, -1);
        return true;
    }
    if (is_down(h->status)) {
        mem_pool_reset(s->pool);
        went_wrong(r, run_error_text(r, h));
        if (h->retry_after_ms > 0)
            breaker_park(&s->gate, now + h->retry_after_ms);
        run_again(r, h->retry_after_ms);
        return true;
    }
    went_well(s);
    if (h->status == 429) {
        int64_t wait_ms =
            h->retry_after_ms >= 0 ? h->retry_after_ms : s->conf->poll_most_ms;

        breaker_park(&s->gate, now + wait_ms);
        if (r->phase != PHASE_SUBMIT || r->stray || wait_ms <= PARK_MOST_MS)
            run_again(r, wait_ms);
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
    timers_turn(r->s);
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
                             .secret_header = s->conf->contract.auth_header,
                             .timeout_ms = s->conf->request_timeout_ms +
                                           s->conf->long_poll_ms,
                             .max_body = max_body};

    platform_api_url(s->contract, call, r->id, &url);
    str_addz(&url, query);
    q.url = str_text(&url);
    if (body) {
        q.body = body->data;
        q.len = body->len;
    }
    r->call = http_send(s->http, &q, fn, r);
    str_free(&url);
}

/* --- turns
 * ---------------------------------------------------------------------- */

void
run_act(struct platform_run *r)
{
    int64_t wait_ms;

    if (r->phase == PHASE_OVER) {
        run_over(r);
        return;
    }
    if (r->phase == PHASE_SUBMIT && !submit_may(r))
        return;
    wait_ms = breaker_take(&r->s->gate, loop_now_ms());
    if (wait_ms > 0) {
        timers_in(r, wait_ms);
        return;
    }
    switch (r->phase) {
    case PHASE_SUBMIT:
        submit_send(r);
        return;
    case PHASE_FOLLOW:
        poll_look(r);
        return;
    case PHASE_FETCH:
        poll_fetch(r);
        return;
    case PHASE_CANCEL:
        poll_cancel(r);
        return;
    case PHASE_NOTE_ID:
    case PHASE_OVER:
        return;
    }
}
