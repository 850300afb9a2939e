#include "workers/core/worker_private.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/model/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EXIT_TIMED_OUT = 124, /* as timeout(1) says it */
    EXIT_OUR_SIDE = 125,
    START_AGAIN_MS = 1000,  /* before a task that could not start comes back */
    REFUSED_LOOK_MS = 5000, /* between looks whether it would be taken */
};

/* --- publishing ---------------------------------------------------------- */

static const char *
source_of(const struct task *t)
{
    return *t->source ? t->source : "cli";
}

const char *
job_result_subject(const struct attempt *j, char *out)
{
    return subject_result(out, j->w->ex->name, source_of(j->task));
}

void
job_posted(struct attempt *j, const struct err *e)
{
    FAILPOINT("worker.after_result");
    job_unspool(j);
    if (e) {
        /* It will not be stored, ever: the claim has it, and whoever gets the
         * task next emits it from there. */
        log_error("result.refused", "task=%s error=\"%s\"", j->task->id,
                  LOG_TEXT(e->msg));
        job_retry(j, j->w->conf->lease_ms);
    } else if (j->result.final) {
        job_done(j);
    } else {
        job_retry(j, j->delay_ms);
    }
}

static void
publish_and_settle(struct attempt *j)
{
    job_phase(j, PHASE_PUBLISH);
    if (j->posted)
        job_posted(j, NULL);
    else if (!j->post) /* else it is under way */
        result_publisher_publish(j);
}

void
job_posted_early(struct attempt *j, bool stored)
{
    j->posted = stored;
    if (j->phase == PHASE_PUBLISH)
        publish_and_settle(j);
}

void
job_settled(struct attempt *j)
{
    FAILPOINT("worker.after_outcome");
    log_info("task.ended",
             "task=%s attempt=%u fence=%llu state=%s exit=%d ms=%lld final=%s",
             j->task->id, j->result.attempt,
             (unsigned long long)j->result.fence, state_name(j->result.state),
             j->result.exit_code, (long long)(j->ended_ms - j->began_ms),
             j->result.final ? "yes" : "no");
    publish_and_settle(j);
}

/* --- judging ------------------------------------------------------------- */

static const char *
limit_text(uint64_t ms, char *out, size_t size)
{
    if (ms >= 1000 && ms < 60000 && ms % 1000 == 0)
        (void)snprintf(out, size, "%llus", (unsigned long long)(ms / 1000));
    else
        (void)str_duration(ms, out, size);
    return out;
}

static uint64_t
limit_ms(const struct attempt *j)
{
    return j->task->timeout_ms ? j->task->timeout_ms
                               : (uint64_t)j->w->conf->timeout_ms;
}

/* Why a command that was left alone did not satisfy its task; part: what its
 * definition of done says is not true. */
static const char *
failure(struct attempt *j, const char *part)
{
    const struct outcome *o = job_outcome(j);

    if (*part)
        return mem_pool_printf(j->pool, "not done: %s", part);
    if (*o->reason)
        return o->reason;
    if (o->signal)
        return mem_pool_printf(j->pool, "killed by signal %d (%s)", o->signal,
                               strsignal(o->signal));
    return mem_pool_printf(j->pool, "exit code %d", o->exit_code);
}

/* An attempt that could not be started has no facts: it failed. */
static enum dod_verdict
verdict_on(struct attempt *j, const char **part)
{
    const struct outcome *o = job_outcome(j);
    const struct dod_evidence_end end = {
        .exit_code = o->exit_code,
        .signal = o->signal,
        .attempt = j->claim.attempt,
        .duration_ms = j->ended_ms - j->began_ms,
        .output_bytes = (int64_t)j->result.output_bytes};

    *part = "";
    if (!j->facts && j->ran)
        j->facts = dod_evidence_open(j->task->dod, j->pool, j->sink);
    return j->facts ? dod_evidence_judge(j->facts, &end, j->pool, part)
                    : DOD_FAILED;
}

static void
judge_end(struct attempt *j, struct ending *end)
{
    struct outcome *o = job_outcome(j);
    const char *part;

    if (o->timed_out) {
        end->state = STATE_TIMED_OUT;
        end->reason = o->reason;
        o->exit_code = EXIT_TIMED_OUT;
        return;
    }
    switch (verdict_on(j, &part)) {
    case DOD_DONE:
        end->state = STATE_SUCCEEDED;
        return;
    case DOD_FAILED:
        end->state = STATE_FAILED;
        end->reason = failure(j, part);
        return;
    case DOD_NO_OP:
        end->state = STATE_NO_OP;
        end->reason = mem_pool_printf(j->pool, "changed nothing: %s", part);
        return;
    case DOD_UNPROVEN:
        end->state = STATE_UNVERIFIED;
        end->reason = mem_pool_printf(j->pool, "not proven: %s", part);
        return;
    }
}

static void
admit(struct attempt *j, struct ending *end)
{
    struct outcome *o = job_outcome(j);
    char text[32];

    *end = (struct ending){.state = STATE_FAILED, .reason = ""};
    switch (j->cause) {
    case CAUSE_NONE:
        judge_end(j, end);
        return;
    case CAUSE_TIMEOUT:
        end->state = STATE_TIMED_OUT;
        end->reason =
            mem_pool_printf(j->pool, "ran longer than %s",
                            limit_text(limit_ms(j), text, sizeof text));
        o->exit_code = EXIT_TIMED_OUT;
        return;
    case CAUSE_IDLE:
        end->state = STATE_TIMED_OUT;
        end->reason = mem_pool_printf(
            j->pool, "no output for %s",
            limit_text(j->task->idle_timeout_ms, text, sizeof text));
        o->exit_code = EXIT_TIMED_OUT;
        return;
    case CAUSE_CANCEL:
        end->state = STATE_CANCELLED;
        end->reason = j->why;
        return;
    case CAUSE_PREEMPT:
        end->state = STATE_PREEMPTED;
        end->reason = j->w->draining ? "handed back: the worker stops"
                                     : "handed back: no slot became free";
        return;
    case CAUSE_START:
        end->state = STATE_PREEMPTED;
        end->reason = j->why;
        return;
    case CAUSE_LOST:
        return; /* dropped before it comes here */
    }
}

/* The end of the output, as the claim keeps it. */
static struct bytes
tail_of(struct attempt *j)
{
    const struct result *r = &j->result;
    size_t total = 0, skip, piece;
    uint8_t *out, *at;

    for (size_t i = 0; i < r->n_output; i++)
        total += r->output[i].data.len;
    if (total == 0)
        return (struct bytes){NULL, 0};
    skip = total > TASK_TAIL_BYTES ? total - TASK_TAIL_BYTES : 0;
    total -= skip;
    out = at = mem_pool_alloc(j->pool, total);
    for (size_t i = 0; i < r->n_output; i++) {
        piece = r->output[i].data.len;
        if (skip >= piece) {
            skip -= piece;
            continue;
        }
        memcpy(at, r->output[i].data.data + skip, piece - skip);
        at += piece - skip;
        skip = 0;
    }
    return (struct bytes){out, total};
}

/* What every result says, whatever became of the attempt. */
static void
fill_identity(struct attempt *j)
{
    struct result *r = &j->result;

    r->task = j->task->id;
    r->attempt = j->claim.attempt;
    r->fence = j->claim.fence;
    r->nonce = j->claim.nonce;
    r->backend = j->w->ex->name;
    r->lane = j->lane->name;
    r->worker = j->claim.worker;
    r->batch = j->task->batch ? j->task->batch->id : "";
    r->team = j->task->team;
    r->started_at_ms = j->claim.started_at_ms;
    r->finished_at_ms = str_wall_ms();
}

static void
fill_outcome(struct attempt *j)
{
    const struct outcome *o = job_outcome(j);
    struct result *r = &j->result;

    r->exit_code = o->exit_code;
    r->signal = o->signal;
    r->failed_step = o->failed_step;
    r->max_rss_bytes = o->max_rss_bytes;
    r->cpu_ms = o->cpu_ms;
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
fill_claim(struct attempt *j, enum state state)
{
    struct result *slim = mem_pool_alloc(j->pool, sizeof *slim);

    *slim = j->result;
    slim->output = NULL;
    slim->n_output = 0;
    j->claim.state = state;
    j->claim.finished_at_ms = j->result.finished_at_ms;
    j->claim.retry_at_ms = j->result.retry_at_ms;
    j->claim.exit_code = j->result.exit_code;
    j->claim.reason = j->result.reason;
    j->claim.tail = tail_of(j);
    j->claim.result = slim;
    /* Only what is handed back goes on elsewhere. */
    if (state != STATE_PREEMPTED)
        j->claim.remote = "";
}

static double
random_fraction(void)
{
    return (double)random() / ((double)RAND_MAX + 1.0);
}

void
job_weigh(struct attempt *j)
{
    const struct outcome *o = job_outcome(j);
    struct task asked = *j->task;
    struct ending end;
    struct end_plan plan;

    codec_init(CODEC_RESULT, &j->result);
    fill_identity(j);
    if (j->sink)
        sink_result(j->sink, j->pool, &j->result);
    if (j->cause == CAUSE_NONE && o->refused) {
        j->cause = CAUSE_START;
        j->why = mem_pool_strdup(j->pool, o->reason);
    }
    if (o->untouched || (!j->ran && !j->inherited))
        j->claim.remote = "";
    admit(j, &end);
    end.exit_code = o->exit_code;
    end.signal = o->signal;
    fill_outcome(j);
    if (!j->ran || o->untouched)
        asked.retry = RETRY_SAFE; /* nothing has happened yet */
    state_on_end(&asked, &j->claim, &end, random_fraction(), &plan);
    j->result.reason = end.reason;
    j->result.final = plan.final;
    j->result.state = plan.final ? plan.state : end.state;
    j->delay_ms = plan.delay_ms;
    if (j->cause == CAUSE_START && j->delay_ms < START_AGAIN_MS)
        j->delay_ms = START_AGAIN_MS;
    if (j->cause == CAUSE_START && j->delay_ms < o->again_ms)
        j->delay_ms = o->again_ms;
    if (!plan.final)
        j->result.retry_at_ms = j->result.finished_at_ms + j->delay_ms;
    /* What is in the way may be gone sooner; looking costs no attempt. */
    if (j->cause == CAUSE_START && j->w->ex->wait_ms &&
        j->delay_ms > REFUSED_LOOK_MS)
        j->delay_ms = REFUSED_LOOK_MS;
    j->claim.failed = plan.failed;
    fill_claim(j, plan.state);
}

void
job_judge(struct attempt *j)
{
    job_weigh(j);
    job_expect(j);
    claim_settle(j);
}

/* --- without running ----------------------------------------------------- */

/* A claim outlives the memory it was read into. */
static void
copy_claim(struct attempt *j, const struct claim *found)
{
    j->claim = *found;
    j->claim.task = j->task->id;
    j->claim.worker = mem_pool_strdup(j->pool, found->worker);
    j->claim.nonce = mem_pool_strdup(j->pool, found->nonce);
    j->claim.reason = "";
    j->claim.tail = (struct bytes){NULL, 0};
    j->claim.result = NULL;
}

void
job_close(struct attempt *j, const struct claim *found,
          const struct delivery_plan *plan)
{
    j->closing = true;
    copy_claim(j, found);
    if (j->claim.fence == 0)
        j->claim.fence = j->revision; /* it was never renewed */
    j->claim.lost = plan->lost;
    /* A name of its own: what the holder may yet publish is not this. */
    str_random(j->nonce, sizeof j->nonce);
    j->claim.nonce = j->nonce;
    codec_init(CODEC_RESULT, &j->result);
    fill_identity(j);
    j->result.state = plan->state;
    j->result.final = true;
    j->result.reason = plan->reason;
    fill_claim(j, plan->state);
    claim_settle(j);
}

/* A result made of what a claim alone says. */
static void
result_of(struct attempt *j, const struct claim *c, uint64_t revision,
          struct result *r)
{
    codec_init(CODEC_RESULT, r);
    r->task = j->task->id;
    r->attempt = c->attempt;
    r->fence = c->fence ? c->fence : revision;
    r->nonce = c->nonce;
    r->backend = j->w->ex->name;
    r->lane = j->lane->name;
    r->worker = c->worker;
    r->batch = j->task->batch ? j->task->batch->id : "";
    r->state = c->state;
    r->final = state_is_terminal(c->state);
    r->exit_code = c->exit_code;
    r->reason = c->reason;
    r->started_at_ms = c->started_at_ms;
    r->finished_at_ms = c->finished_at_ms;
    r->retry_at_ms = c->retry_at_ms;
}

/* The result a claim holds, as far as it holds one; part is room for the end
 * of the output. */
static void
result_again(struct attempt *j, const struct claim *c, uint64_t revision,
             struct output_part *part, struct result *r)
{
    if (c->result)
        *r = *c->result;
    else
        result_of(j, c, revision, r);
    r->emitted_again = true;
    if (c->tail.len == 0)
        return;
    *part = (struct output_part){STREAM_STDOUT, c->tail};
    r->output = part;
    r->n_output = 1;
    if (r->log_chunks == 0 && r->output_bytes > c->tail.len)
        r->dropped_bytes = r->output_bytes - c->tail.len;
}

void
job_emit(struct attempt *j, const struct claim *found)
{
    struct output_part part;

    log_info("task.emitted", "task=%s attempt=%u state=%s", j->task->id,
             found->attempt, state_name(found->state));
    result_again(j, found, j->revision, &part, &j->result);
    j->result.final = true;
    publish_and_settle(j); /* encodes at once: found need not live on */
}

void
job_keep_prior(struct attempt *j, const struct claim *found, uint64_t revision)
{
    struct output_part part;
    struct result r;

    str_reset(&j->prior);
    if (found->state == STATE_RUNNING) {
        result_of(j, found, revision, &r);
        r.state = STATE_LOST;
        r.finished_at_ms = str_wall_ms();
        r.reason = "its worker fell silent";
    } else if (found->result) {
        result_again(j, found, revision, &part, &r);
    } else {
        return;
    }
    r.final = false;
    (void)task_result_id(&r, j->prior_id);
    codec_encode(CODEC_RESULT, &r, &j->prior);
}

static void
on_prior(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    (void)ctx;
    (void)stored;
    (void)e; /* the attempt that matters is the one that runs now */
}

void
job_publish_prior(struct attempt *j)
{
    char subject[SUBJECT_SIZE];
    struct bus_publication p = {.subject = job_result_subject(j, subject),
                                .id = j->prior_id,
                                .data = j->prior.data,
                                .len = j->prior.len,
                                .expect = BUS_ANY_REVISION};

    if (j->prior.len == 0)
        return;
    bus_publish_until(j->w->bus, &p, on_prior, j->w);
    str_free(&j->prior);
}
