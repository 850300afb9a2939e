/*
 * Turns what is known of an attempt that is over into its result and into the
 * last form of its claim: why it ended, what its definition of done says, and
 * whether the task is tried again. Nothing is sent from here.
 */
#include "workers/core/verdict.h"

#include "lib/base/backoff.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "workers/core/worker_types.h"

#include <stdio.h>
#include <string.h>

enum {
    EXIT_TIMED_OUT = 124,   /* as of timeout(1) */
    START_AGAIN_MS = 1000,  /* before a task that could not start comes back */
    REFUSED_LOOK_MS = 5000, /* between looks whether it would be taken */
};

struct outcome *
verdict_outcome(struct attempt *a)
{
    if (!a->outcome)
        a->outcome = mem_pool_alloc(a->pool, sizeof *a->outcome);
    return a->outcome;
}

void
verdict_warn(struct attempt *a, const char *text)
{
    if (!a->warnings)
        a->warnings =
            mem_pool_alloc(a->pool, TASK_WARNINGS_MOST * sizeof *a->warnings);
    if (a->n_warnings < TASK_WARNINGS_MOST)
        a->warnings[a->n_warnings++] = mem_pool_strdup(
            a->pool,
            a->output ? output_masked(a->output, text, a->pool) : text);
}

/* --- judging -------------------------------------------------------------- */

static const char *
limit_text(uint64_t ms, char *out, size_t size)
{
    if (ms >= 1000 && ms < 60000 && ms % 1000 == 0)
        (void)snprintf(out, size, "%llus", (unsigned long long)(ms / 1000));
    else
        (void)str_duration(ms, out, size);
    return out;
}

/* Why a command that ended by itself did not satisfy its task; part: what of
 * its definition of done is not true. */
static const char *
failure(struct attempt *a, const char *part)
{
    const struct outcome *o = verdict_outcome(a);
    const char *code = mem_pool_printf(a->pool, "exit code %d", o->exit_code);

    /* The part tells the exit code, but not what was behind it. */
    if (*part && *o->reason && strcmp(o->reason, code) != 0)
        return mem_pool_printf(a->pool, "%s; not done: %s", o->reason, part);
    if (*part)
        return mem_pool_printf(a->pool, "not done: %s", part);
    if (*o->reason)
        return o->reason;
    if (o->signal)
        return mem_pool_printf(a->pool, "killed by signal %d (%s)", o->signal,
                               strsignal(o->signal));
    return code;
}

/* An attempt that could not be started has no evidence: it failed. */
static enum dod_verdict
verdict_on(struct attempt *a, const char **part)
{
    const struct outcome *o = verdict_outcome(a);
    const struct dod_evidence_end end = {
        .exit_code = o->exit_code,
        .signal = o->signal,
        .attempt = a->claim.attempt,
        .duration_ms = a->ended_ms - a->began_ms,
        .output_bytes = (int64_t)a->result.output_bytes};

    *part = "";
    if (!a->evidence && a->ran)
        a->evidence = dod_evidence_open(a->task->dod, a->pool, a->output);
    return a->evidence ? dod_evidence_judge(a->evidence, &end, a->pool, part)
                       : DOD_FAILED;
}

static void
judge_end(struct attempt *a, struct ending *end)
{
    const struct outcome *o = verdict_outcome(a);
    const char *part;

    if (o->timed_out) {
        end->state = STATE_TIMED_OUT;
        end->reason = o->reason;
        return;
    }
    switch (verdict_on(a, &part)) {
    case DOD_DONE:
        end->state = *o->unproven ? STATE_UNVERIFIED : STATE_SUCCEEDED;
        if (*o->unproven)
            end->reason =
                mem_pool_printf(a->pool, "not proven: %s", o->unproven);
        return;
    case DOD_FAILED:
        end->state = STATE_FAILED;
        end->reason = failure(a, part);
        return;
    case DOD_NO_OP:
        end->state = STATE_NO_OP;
        end->reason = mem_pool_printf(a->pool, "changed nothing: %s", part);
        return;
    case DOD_UNPROVEN:
        end->state = STATE_UNVERIFIED;
        end->reason = mem_pool_printf(a->pool, "not proven: %s", part);
        return;
    }
}

static const char *
why_handed_back(const struct attempt *a)
{
    if (a->w->draining)
        return "handed back: the worker stops";
    if (lease_is_fresh(&a->lease, a->w->fence_ms))
        return "handed back: no slot became free";
    return a->lease.grace_ms ? "handed back: the worker was suspended"
                             : "handed back: its claim was not renewed in time";
}

static void
judge(struct attempt *a, struct ending *end)
{
    uint64_t limit_ms = a->task->timeout_ms ? a->task->timeout_ms
                                            : (uint64_t)a->w->conf->timeout_ms;
    char text[32];

    *end = (struct ending){.state = STATE_FAILED, .reason = ""};
    switch (a->cause) {
    case CAUSE_NONE:
        judge_end(a, end);
        return;
    case CAUSE_TIMEOUT:
        end->state = STATE_TIMED_OUT;
        end->reason = mem_pool_printf(a->pool, "ran longer than %s",
                                      limit_text(limit_ms, text, sizeof text));
        return;
    case CAUSE_IDLE:
        end->state = STATE_TIMED_OUT;
        end->reason = mem_pool_printf(
            a->pool, "no output for %s",
            limit_text(a->task->idle_timeout_ms, text, sizeof text));
        return;
    case CAUSE_CANCEL:
    case CAUSE_START:
        end->state =
            a->cause == CAUSE_CANCEL ? STATE_CANCELLED : STATE_PREEMPTED;
        end->reason = a->why;
        return;
    case CAUSE_PREEMPT:
        end->state = STATE_PREEMPTED;
        end->reason = why_handed_back(a);
        return;
    case CAUSE_LOST:
        return; /* dropped before it comes here */
    }
}

/* What did not succeed may be due to it: connections break, times pass. */
static void
tell_suspension(struct attempt *a, struct ending *end)
{
    char text[32];

    if (a->suspended_ms == 0 || !*end->reason)
        return;
    end->reason = mem_pool_printf(
        a->pool, "%s; the machine or the fleet was suspended for %s meanwhile",
        end->reason,
        str_duration((uint64_t)a->suspended_ms, text, sizeof text));
}

/* The end of the output, as the claim keeps it. */
static struct bytes
tail_of(const struct result *r)
{
    size_t total = 0, skip;

    for (size_t i = 0; i < r->n_output; i++)
        total += r->output[i].data.len;
    if (total == 0)
        return (struct bytes){NULL, 0};
    skip = total > TASK_TAIL_BYTES ? total - TASK_TAIL_BYTES : 0;
    return (struct bytes){r->output[0].data.data + skip, total - skip};
}

/* What every result says, however the attempt went. */
static void
fill_identity(struct attempt *a)
{
    struct result *r = &a->result;

    r->task = a->task->id;
    r->attempt = a->claim.attempt;
    r->fence = a->claim.fence;
    r->nonce = a->claim.nonce;
    r->backend = a->w->ex->name;
    r->lane = a->lane->name;
    r->worker = a->claim.worker;
    r->batch = a->task->batch ? a->task->batch->id : "";
    r->team = a->task->team;
    r->started_at_ms = a->claim.started_at_ms;
    r->finished_at_ms = str_wall_ms();
}

static void
fill_outcome(struct attempt *a)
{
    const struct outcome *o = verdict_outcome(a);
    struct result *r = &a->result;

    r->exit_code = o->exit_code;
    r->no_exit_code = o->no_exit_code || (!a->ran && o->exit_code == 0);
    r->signal = o->signal;
    r->failed_step = o->failed_step;
    r->max_rss_bytes = o->max_rss_bytes;
    r->cpu_ms = o->cpu_ms;
    r->warnings = a->warnings;
    r->n_warnings = a->n_warnings;
    r->provider = o->provider;
    r->model = o->model;
    r->cost_usd = o->cost_usd;
    r->cost_estimated = o->cost_estimated;
    r->remote_id = o->remote_id;
    r->queue_ms = o->queue_ms;
    r->run_ms = o->run_ms;
    r->input_tokens = o->input_tokens;
    r->output_tokens = o->output_tokens;
}

/* The claim in its last form: the outcome, small enough for the bucket. */
static void
fill_claim(struct attempt *a, enum state state)
{
    struct result *slim = mem_pool_alloc(a->pool, sizeof *slim);

    *slim = a->result;
    slim->output = NULL;
    slim->n_output = 0;
    a->claim.state = state;
    a->claim.finished_at_ms = a->result.finished_at_ms;
    a->claim.retry_at_ms = a->result.retry_at_ms;
    a->claim.exit_code = a->result.exit_code;
    a->claim.reason = a->result.reason;
    a->claim.tail = tail_of(&a->result);
    a->claim.result = slim;
    /* Only a task that is handed back goes on elsewhere. */
    if (state != STATE_PREEMPTED)
        a->claim.remote = "";
}

void
verdict_fill(struct attempt *a)
{
    struct outcome *o = verdict_outcome(a);
    struct task asked = *a->task;
    struct ending end;
    struct end_plan plan;

    codec_init(CODEC_RESULT, &a->result);
    fill_identity(a);
    if (a->output)
        output_result(a->output, a->pool, &a->result);
    if (a->cause == CAUSE_NONE && o->refused) {
        a->cause = CAUSE_START;
        a->why = mem_pool_strdup(a->pool, o->reason);
    }
    if (o->untouched || (!a->ran && !a->inherited))
        a->claim.remote = "";
    judge(a, &end);
    tell_suspension(a, &end);
    if (end.state == STATE_TIMED_OUT) {
        o->exit_code = EXIT_TIMED_OUT;
        o->no_exit_code = false;
    }
    end.exit_code = o->exit_code;
    end.signal = o->signal;
    fill_outcome(a);
    if (!a->ran || o->untouched)
        asked.retry = RETRY_SAFE; /* nothing has happened yet */
    state_on_end(&asked, &a->claim, &end, backoff_random(), &plan);
    a->result.reason =
        a->output ? output_masked(a->output, end.reason, a->pool) : end.reason;
    a->result.cancel = a->cause == CAUSE_CANCEL ? a->cancel : NULL;
    a->result.final = plan.final;
    a->result.state = plan.final ? plan.state : end.state;
    a->delay_ms = plan.delay_ms;
    if (a->cause == CAUSE_START && a->delay_ms < START_AGAIN_MS)
        a->delay_ms = START_AGAIN_MS;
    if (a->cause == CAUSE_START && a->delay_ms < o->again_ms)
        a->delay_ms = o->again_ms;
    if (!plan.final)
        a->result.retry_at_ms = a->result.finished_at_ms + a->delay_ms;
    /* What is in the way may be gone sooner, and to look costs no attempt. */
    if (a->cause == CAUSE_START && a->w->ex->wait_ms &&
        a->delay_ms > REFUSED_LOOK_MS)
        a->delay_ms = REFUSED_LOOK_MS;
    a->claim.failed = plan.failed;
    fill_claim(a, plan.state);
}

/* --- without running ------------------------------------------------------ */

void
verdict_close(struct attempt *a, const struct claim *found,
              const struct delivery_plan *plan)
{
    a->claim = *found;
    a->claim.task = a->task->id;
    a->claim.worker = mem_pool_strdup(a->pool, found->worker);
    if (a->claim.fence == 0)
        a->claim.fence = a->revision; /* it was never renewed */
    a->claim.lost = plan->lost;
    /* A nonce of its own: what its holder may yet publish is not this. */
    str_random(a->nonce, sizeof a->nonce);
    a->claim.nonce = a->nonce;
    codec_init(CODEC_RESULT, &a->result);
    fill_identity(a);
    a->result.state = plan->state;
    a->result.final = true;
    a->result.no_exit_code = true;
    a->result.reason = plan->reason;
    fill_claim(a, plan->state);
}
