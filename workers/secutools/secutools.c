#include "workers/secutools/secutools.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/job_ref.h"
#include "lib/model/money.h"
#include "workers/secutools/secutools_private.h"

#include <stdio.h>
#include <string.h>

/* --- the executor
 * ---------------------------------------------------------------- */

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
                       "max_cost_usd: \"%.40s\" is no amount like 0.50",
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
        submit_reserve(r); /* whatever is left: it is under way */
        order->forget(order->ctx);
        poll_job(r);
        return 0;
    }
    why = submit_held(r);
    if (why) { /* in hand before the lane was paused */
        run_set_refused(r, 0, why);
        r->phase = PHASE_OVER;
        return 0;
    }
    /* The claim that has just been stored holds the key: the intent. */
    FAILPOINT("secutools.after_intent");
    r->phase = PHASE_SUBMIT;
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

    if (r->phase != PHASE_OVER)
        return RUN_BUSY;
    *out = *run_outcome(r);
    return RUN_DONE;
}

static void
secutools_cancel(void *run, bool hard, bool leave)
{
    struct platform_run *r = run;

    if (r->phase == PHASE_OVER)
        return;
    r->cancelled = true;
    r->leave = r->leave || leave;
    /* Never sent: whoever comes next need not take it for sent. */
    if (r->phase == PHASE_SUBMIT && !r->call && r->tries == 0 && !r->resumed)
        run_outcome(r)->untouched = true;
    if (r->leave || hard) {
        run_over_soon(r);
        return;
    }
    switch (r->phase) {
    case PHASE_FOLLOW:
    case PHASE_FETCH:
        http_cancel(r->call);
        r->call = NULL;
        r->phase = PHASE_CANCEL;
        r->tries = 0;
        timers_in(r, 0);
        return;
    case PHASE_SUBMIT:
        if (!r->call && r->tries == 0)
            run_over_soon(r);
        return; /* else it may have it: known once it answers */
    case PHASE_NOTE_ID:
    case PHASE_CANCEL:
    case PHASE_OVER:
        return;
    }
}

/* Nobody waits for it any more; the platform is yet to be told. */
static void
stray(struct platform_run *r)
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
        timers_in(r, 0);
}

static void
secutools_free(void *run)
{
    struct platform_run *r = run;

    if (!r)
        return;
    if (r->owed && (r->id || r->call))
        stray(r);
    else
        run_free(r);
}

const struct executor secutools_executor = {.name = "secutools",
                                            .intent = secutools_intent,
                                            .wait_ms = secutools_wait_ms,
                                            .start = secutools_start,
                                            .poll = secutools_poll,
                                            .cancel = secutools_cancel,
                                            .free = secutools_free};

/* --- open and close
 * ---------------------------------------------------------------- */

static int
hear_hints(struct secutools *s, struct err *e)
{
    const char *url = s->conf->contract.callback_url;

    if (!*s->conf->callback_listen && !*url)
        return 0;
    if (!*s->conf->callback_listen || strncmp(url, "http", 4) != 0)
        return err_set(e, ERR_INVALID,
                       "secutools.callback_listen and secutools.callback_url "
                       "go together: where to listen, and the http(s) address "
                       "by which the platform gets there");
    return webhook_open(&s->hints, s->loop, s->conf->callback_listen, poll_hint,
                        s, e);
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
    breaker_init(&s->gate, &conf->gate, loop_now_ms());
    if (budget_open(&s->budget, b, l, conf->max_cost_per_day,
                    secutools_executor.name, e) < 0 ||
        platform_api_open(&s->contract, &conf->contract, e) < 0 ||
        http_open(&s->http, l, &http, e) < 0 || hear_hints(s, e) < 0) {
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
        run_stray_free(s->strays);
    webhook_close(s->hints);
    hash_table_free(&s->by_key);
    http_close(s->http);
    lane_pauser_close(s->lanes);
    budget_close(s->budget);
    platform_api_close(s->contract);
    loop_timer_stop(s->timer);
    mem_pool_free(s->pool);
    mem_free(s->due);
    str_free(&s->scratch);
    explicit_bzero(s->key, strlen(s->key));
    mem_free(s->key);
    mem_free(s);
}
