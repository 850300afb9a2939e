/*
 * Implements the executor: starts or resumes a run from the claim's note,
 * reports its outcome, and keeps runs that the worker has freed until the
 * platform has received their cancel.
 */
#include "workers/secutools/secutools.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/job_ref.h"
#include "lib/model/money.h"
#include "lib/os/os.h"
#include "workers/secutools/secutools_private.h"

#include <string.h>

/* --- executor ------------------------------------------------------------- */

static int
secutools_start(void *ctx, const struct run_order *order, void **out,
                struct err *e)
{
    struct secutools *s = ctx;
    const struct task *t = order->task;
    const char *why;
    int64_t most;
    struct platform_run *r;

    if (!*t->prompt)
        return err_set(e, ERR_INVALID,
                       "an AI platform takes a prompt, not steps; route it to "
                       "another backend");
    if (t->delegation && *t->delegation->max_cost_usd &&
        !money_read(t->delegation->max_cost_usd, &most))
        return err_set(e, ERR_INVALID,
                       "max_cost_usd: \"%.40s\" is not an amount like 0.50",
                       t->delegation->max_cost_usd);
    r = MEM_NEW(struct platform_run);
    r->s = s;
    r->order = *order;
    platform_api_key(t->id, order->failed, r->key);
    if (*order->remote)
        submit_read_note(r, order->remote);
    hash_table_add(&s->by_key, &r->by_key, r->key);
    *out = r;
    if (r->id) {
        log_info("job.resumed", "task=%s job=%s", t->id, LOG_TEXT(r->id));
        submit_reserve(r); /* even if too little is left: the job exists */
        order->forget(order->ctx);
        poll_job(r);
        return 0;
    }
    why = submit_pause_reason(r);
    if (why) { /* claimed before the lane was paused */
        run_set_refused(r, 0, why);
        r->phase = PLATFORM_DONE;
        return 0;
    }
    /* The claim that was just stored contains the key: the intent. */
    FAILPOINT("secutools.after_intent");
    r->phase = PLATFORM_SUBMIT;
    timers_in(r, 0);
    return 0;
}

static void
secutools_intent(const struct task *t, uint32_t failed, char *out, size_t size)
{
    char note[JOB_REF_NOTE_SIZE];
    struct job_ref r = {0};

    platform_api_key(t->id, failed, r.key);
    job_ref_write(&r, note);
    (void)str_copy(out, size, note);
}

static int64_t
secutools_wait_ms(void *ctx, const struct task *t, const char *lane,
                  const char *remote)
{
    struct job_ref r;

    (void)lane;
    return job_ref_read(remote, &r) && *r.id ? 0 : submit_wait_ms(ctx, t);
}

static enum run_status
secutools_poll(void *run, struct outcome *out)
{
    struct platform_run *r = run;

    if (r->phase != PLATFORM_DONE)
        return RUN_BUSY;
    *out = *run_outcome(r);
    return RUN_DONE;
}

static void
secutools_cancel(void *run, bool hard, bool leave)
{
    struct platform_run *r = run;

    if (r->phase == PLATFORM_DONE)
        return;
    r->cancelled = true;
    r->leave = r->leave || leave;
    /* Never submitted: the next attempt need not assume it was. */
    if (r->phase == PLATFORM_SUBMIT && !r->call && r->tries == 0 && !r->resumed)
        run_outcome(r)->untouched = true;
    if (r->leave || hard) {
        run_end_soon(r);
        return;
    }
    switch (r->phase) {
    case PLATFORM_POLL:
    case PLATFORM_FETCH:
        http_cancel(r->call);
        r->call = NULL;
        r->phase = PLATFORM_CANCEL;
        r->tries = 0;
        timers_in(r, 0);
        return;
    case PLATFORM_SUBMIT:
        if (!r->call && r->tries == 0)
            run_end_soon(r);
        return; /* else its answer says whether there is a job */
    case PLATFORM_NOTE_ID:
    case PLATFORM_CANCEL:
    case PLATFORM_DONE:
        return;
    }
}

/* The worker has freed the run; its cancel must still be sent. */
static void
detach(struct platform_run *r)
{
    r->is_detached = true;
    LIST_INSERT_HEAD(&r->s->detached, r, detached);
    r->phase = r->id ? PLATFORM_CANCEL : PLATFORM_SUBMIT;
    r->tries = 0;
    if (r->id)
        timers_in(r, 0);
}

static void
secutools_free(void *run)
{
    struct platform_run *r = run;

    if (!r)
        return;
    if (r->cancel_owed && (r->id || r->call))
        detach(r);
    else
        run_free(r);
}

/* The platform was not asked meanwhile: it did not deny the job for so long. */
static void
secutools_put_off(void *run, int64_t ms)
{
    struct platform_run *r = run;

    if (r->missing_since_ms)
        r->missing_since_ms += ms;
}

const struct executor secutools_executor = {.name = "secutools",
                                            .intent = secutools_intent,
                                            .wait_ms = secutools_wait_ms,
                                            .start = secutools_start,
                                            .poll = secutools_poll,
                                            .cancel = secutools_cancel,
                                            .put_off = secutools_put_off,
                                            .free = secutools_free};

/* --- life ----------------------------------------------------------------- */

static int
open_webhook(struct secutools *s, struct err *e)
{
    const char *url = s->conf->api.callback_url;

    if (!*s->conf->callback_listen && !*url)
        return 0;
    if (!*s->conf->callback_listen || strncmp(url, "http", 4) != 0)
        return err_set(e, ERR_INVALID,
                       "secutools.callback_listen and secutools.callback_url "
                       "require each other: where to listen, and the http(s) "
                       "address by which the platform reaches it");
    return webhook_open(&s->webhook, s->loop, s->conf->callback_listen,
                        poll_hint, s, e);
}

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
    s->lanes = lane_pauser_open(b, secutools_executor.name, name);
    breaker_init(&s->breaker, &conf->breaker, loop_now_ms());
    if (budget_open(&s->budget, b, l, conf->max_cost_per_day,
                    secutools_executor.name, e) < 0 ||
        platform_api_open(&s->api, &conf->api, e) < 0 ||
        http_open(&s->http, l, &http, e) < 0 || open_webhook(s, e) < 0) {
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
    while (!LIST_EMPTY(&s->detached))
        run_free_detached(LIST_FIRST(&s->detached));
    webhook_close(s->webhook);
    hash_table_free(&s->by_key);
    http_close(s->http);
    lane_pauser_close(s->lanes);
    budget_close(s->budget);
    platform_api_close(s->api);
    loop_timer_stop(s->timer);
    mem_pool_free(s->pool);
    mem_free(s->due);
    str_free(&s->scratch);
    os_wipe(s->key, strlen(s->key));
    mem_free(s->key);
    mem_free(s);
}
