/*
 * spool_replay - outcomes that the broker has not confirmed: to disk, and from
 * there.
 *
 * A file belongs to the job that wrote it as long as that is in hand. The rest
 * are an earlier life's, and are sent one after the other: the claim is set to
 * the outcome by compare-and-set if it still is that attempt's, then the result
 * is published, then the file goes. If the claim has moved on nothing is said,
 * and the file is set aside.
 */
#include "workers/core/worker_private.h"

#include "lib/base/log.h"
#include "lib/model/codec.h"

#include <string.h>

enum { SPOOL_AGAIN_MS = 5000, RESEND_AGAIN_MS = 1000 };

struct spool_replay {
    struct worker *w;
    struct mem_pool *names_pool, *pool;
    const char **names; /* those still to send, the current one first */
    struct spooled_result rec;
    uint64_t revision;
    struct loop_timer *timer;
    bool asking; /* an answer of the bus is outstanding */
};

/* --- to disk ------------------------------------------------------------- */

void
spool_replay_expect(struct attempt *a)
{
    a->own = true;
    a->spool_ms = loop_now_ms();
    if (bus_is_up(a->w->bus))
        a->spool_ms += UNCONFIRMED_MS;
    deadlines_at(a->w, a->spool_ms);
}

static int
put(struct attempt *a, struct err *e)
{
    const struct claim claim = a->claim;
    const struct result result = a->result;
    int64_t delay_ms = a->delay_ms;
    char subject[SUBJECT_SIZE];
    struct spooled_result r = {.subject = result_publisher_subject(a, subject)};
    int rc;

    /* The claim is still being renewed: it becomes the outcome later. */
    if (a->phase == PHASE_OUTPUT)
        verdict_fill(a);
    r.claim = a->claim;
    r.result = a->result;
    rc = result_spool_put(state_dir_results(a->w->home), &r, e);
    if (a->phase == PHASE_OUTPUT) {
        a->claim = claim;
        a->result = result;
        a->delay_ms = delay_ms;
    }
    return rc;
}

static bool
has_outcome(const struct attempt *a)
{
    return a->own && (a->phase == PHASE_OUTPUT || a->phase == PHASE_SETTLE ||
                      a->phase == PHASE_PUBLISH);
}

static void
spool_failed(struct worker *w, const struct err *e)
{
    if (!w->spool_failing)
        log_error("outcome.not_spooled",
                  "error=\"%s\" note=\"kept in memory and tried again\"",
                  LOG_TEXT(e->msg));
    w->spool_failing = true;
}

void
spool_replay_write(struct attempt *a)
{
    struct worker *w = a->w;
    bool as_it_is = a->spooled && a->spool_ms == INT64_MAX;
    struct err e;

    a->spool_ms = INT64_MAX;
    if (as_it_is || !has_outcome(a))
        return;
    if (put(a, &e) < 0) {
        spool_failed(w, &e);
        a->spool_ms = loop_now_ms() + SPOOL_AGAIN_MS;
        deadlines_at(w, a->spool_ms);
        return;
    }
    log_info("outcome.spooled", "task=%s attempt=%u", a->task->id,
             a->claim.attempt);
    a->spooled = w->unsynced = true;
    w->spool_failing = false;
}

void
spool_replay_confirmed(struct worker *w)
{
    w->heard_ms = loop_now_ms();
}

/*
 * A broker that is slow, and not away, is not helped by a file with a sync for
 * each outcome it has yet to confirm: where it shares the disk it becomes
 * slower still, and meanwhile nobody reads what it says.
 */
void
spool_replay_overdue(struct attempt *a)
{
    struct worker *w = a->w;
    int64_t now = loop_now_ms();

    if (bus_is_up(w->bus) && now - w->heard_ms < UNCONFIRMED_MS &&
        now - a->ended_ms < UNCONFIRMED_MOST_MS)
        a->spool_ms = w->heard_ms + UNCONFIRMED_MS;
    else if (w->n_spooled++ < SPOOL_BURST)
        spool_replay_write(a); /* the others remain due */
}

void
spool_replay_sync(struct worker *w)
{
    struct err e;

    if (!w->unsynced)
        return;
    w->unsynced = false;
    if (result_spool_sync(state_dir_results(w->home), &e) < 0)
        spool_failed(w, &e);
}

void
spool_replay_remove(struct attempt *a)
{
    char name[RESULT_SPOOL_NAME_SIZE];

    a->spool_ms = INT64_MAX;
    if (a->spooled)
        result_spool_remove(
            state_dir_results(a->w->home),
            result_spool_name(name, a->task->id, a->claim.attempt));
    a->spooled = false;
}

static void
tell_superseded(const char *task, uint32_t attempt)
{
    log_warn("outcome.superseded",
             "task=%s attempt=%u note=\"the task has gone on without it\"",
             task, attempt);
}

void
spool_replay_set_aside(struct attempt *a)
{
    char name[RESULT_SPOOL_NAME_SIZE];

    if (!has_outcome(a))
        return;
    tell_superseded(a->task->id, a->claim.attempt);
    if (a->spooled)
        result_spool_set_aside(
            state_dir_results(a->w->home),
            result_spool_name(name, a->task->id, a->claim.attempt));
    a->spooled = false;
}

/* --- from there ---------------------------------------------------------- */

static void next(struct worker *w);
static void read_claim(struct worker *w);

static void
on_timer(void *ctx)
{
    struct worker *w = ctx;

    loop_timer_stop(w->resend->timer);
    w->resend->timer = NULL;
    read_claim(w);
}

static void
again_later(struct worker *w)
{
    w->resend->timer =
        loop_timer_start(w->loop, RESEND_AGAIN_MS, 0, on_timer, w);
}

/* The current file is dealt with. */
static void
go_on(struct worker *w)
{
    w->resend->names++;
    next(w);
}

static void
superseded(struct worker *w)
{
    struct spool_replay *r = w->resend;

    tell_superseded(r->rec.result.task, r->rec.result.attempt);
    result_spool_set_aside(state_dir_results(w->home), *r->names);
    go_on(w);
}

static void
on_published(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct spool_replay *r = ctx;
    struct worker *w = r->w;

    (void)stored;
    r->asking = false;
    if (e) {
        /* The claim has the outcome; whoever gets the task emits that. */
        log_error("result.refused", "task=%s error=\"%s\"", r->rec.result.task,
                  LOG_TEXT(e->msg));
        result_spool_set_aside(state_dir_results(w->home), *r->names);
    } else {
        log_info("outcome.sent", "task=%s attempt=%u state=%s",
                 r->rec.result.task, r->rec.result.attempt,
                 state_name(r->rec.result.state));
        result_spool_remove(state_dir_results(w->home), *r->names);
    }
    go_on(w);
}

static void
publish(struct worker *w)
{
    struct spool_replay *r = w->resend;

    r->asking = true;
    result_publisher_publish_one(w, r->rec.subject, &r->rec.result,
                                 on_published, r);
}

static void
on_written(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct spool_replay *r = ctx;
    struct worker *w = r->w;

    r->asking = false;
    if (stored) {
        publish(w);
    } else {
        /* Refused, not sent or without an answer: only reading tells. */
        log_debug("outcome.write", "task=%s error=\"%s\"", r->rec.result.task,
                  e->msg);
        again_later(w);
    }
}

static void
write_claim(struct worker *w, uint64_t revision)
{
    struct spool_replay *r = w->resend;
    char subject[SUBJECT_SIZE];
    struct bus_publication p = {
        .subject = subject_claim(subject, w->ex->name, r->rec.result.task),
        .expect = (int64_t)revision};

    str_reset(&w->scratch);
    codec_encode(CODEC_CLAIM, &r->rec.claim, &w->scratch);
    p.data = w->scratch.data;
    p.len = w->scratch.len;
    r->asking = true;
    bus_publish(w->bus, &p, PUT_TIMEOUT_MS, on_written, r);
}

static void
compare(struct worker *w, const struct claim *c, uint64_t revision)
{
    struct spool_replay *r = w->resend;

    if (strcmp(c->nonce, r->rec.claim.nonce) != 0 ||
        c->attempt != r->rec.claim.attempt)
        superseded(w);
    else if (c->state == STATE_RUNNING)
        write_claim(w, revision);
    else if (c->state == r->rec.claim.state)
        publish(w); /* it was written, and perhaps published too */
    else
        superseded(w); /* closed without us */
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct spool_replay *r = ctx;
    struct worker *w = r->w;
    struct claim c;
    struct err bad;

    r->asking = false;
    if (e) {
        log_debug("outcome.read", "task=%s error=\"%s\"", r->rec.result.task,
                  e->msg);
        again_later(w);
        return;
    }
    if (!entry || entry->len == 0) {
        /* Nobody has a claim: the broker's store was lost, perhaps. If one is
         * made meanwhile the write is refused. */
        write_claim(w, entry ? entry->revision : 0);
        return;
    }
    mem_pool_reset(w->scratch_pool);
    if (codec_decode(CODEC_CLAIM, entry->data, entry->len, w->scratch_pool, &c,
                     &bad) < 0)
        superseded(w);
    else
        compare(w, &c, entry->revision);
}

static void
read_claim(struct worker *w)
{
    struct spool_replay *r = w->resend;
    char subject[SUBJECT_SIZE];

    r->asking = true;
    bus_get_last(w->bus, "KV_claims",
                 subject_claim(subject, w->ex->name, r->rec.result.task),
                 PUT_TIMEOUT_MS, on_entry, r);
}

/* Loads the next file that is ours to send; false if it is not. */
static bool
load(struct worker *w, const char *name)
{
    const char *dir = state_dir_results(w->home);
    struct spool_replay *r = w->resend;
    struct attempt *a;
    struct err e;

    mem_pool_reset(r->pool);
    if (result_spool_load(dir, name, r->pool, &r->rec, &e) < 0) {
        if (e.code == ERR_INVALID) {
            log_error("outcome.unreadable", "error=\"%s\"", LOG_TEXT(e.msg));
            result_spool_set_aside(dir, name);
        }
        return false; /* or a job has just removed it */
    }
    a = attempt_find(w, r->rec.result.task);
    return !(a && a->spooled && a->claim.attempt == r->rec.result.attempt);
}

static void
next(struct worker *w)
{
    struct spool_replay *r = w->resend;

    while (*r->names && !load(w, *r->names))
        r->names++;
    if (*r->names)
        read_claim(w);
    else
        spool_replay_free(w);
}

void
spool_replay_start(struct worker *w)
{
    struct spool_replay *r = w->resend;

    if (r) {
        if (r->timer)
            loop_timer_again(r->timer, 0, 0);
        return; /* it is at it */
    }
    w->resend = r = MEM_NEW(struct spool_replay);
    r->w = w;
    r->names_pool = mem_pool_new();
    r->pool = mem_pool_new();
    r->names = result_spool_list(state_dir_results(w->home), r->names_pool);
    next(w);
}

void
spool_replay_free(struct worker *w)
{
    struct spool_replay *r = w->resend;

    if (!r)
        return;
    if (r->asking)
        bus_forget(w->bus, r);
    loop_timer_stop(r->timer);
    mem_pool_free(r->pool);
    mem_pool_free(r->names_pool);
    mem_free(r);
    w->resend = NULL;
}
