#include "workers/core/worker_private.h"

#include "lib/base/feature.h"
#include "lib/base/log.h"
#include "lib/model/codec.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    OLD_MS = 47 * 3600 *
             1000,    /* KV_claims keeps 48 hours (lib/bus/jetstream_setup.c) */
    LEDGER_MS = 5000, /* for its answer */
    LEDGER_AGAIN_MS = 10000,
};

int64_t
lease_now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void write_claim(struct attempt *a);
static void read_claim(struct attempt *a);
static void plan(struct attempt *a, const struct claim *found,
                 const struct claim_sight *sight);

static void
again_later(struct attempt *a)
{
    a->again_ms = loop_now_ms() + AGAIN_MS;
    deadlines_at(a->w, a->again_ms);
}

/* What the executor noted is durable. */
static void
tell_noted(struct attempt *a)
{
    void (*noted)(void *ctx) = a->noted;

    a->note_sent = false;
    a->noted = NULL;
    attempt_tell(a);
    if (noted)
        noted(a->noted_ctx);
}

/* Ours is in the bucket, under a->revision. */
static void
written(struct attempt *a)
{
    if (a->note_due && a->phase == PHASE_RUN) {
        write_claim(a);
        return;
    }
    switch (a->phase) {
    case PHASE_CLAIM:
        a->claim.fence = a->revision;
        attempt_claimed(a);
        return;
    case PHASE_SETTLE:
        settle_stored(a);
        return;
    case PHASE_RUN:
        if (a->note_sent)
            tell_noted(a);
        return;
    case PHASE_READY:
    case PHASE_OUTPUT:
    case PHASE_PUBLISH:
        return;
    }
}

static void
on_written(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct attempt *a = ctx;

    bool settle_next = a->settle_next;

    a->writing = a->settle_next = false;
    if (stored) {
        spool_replay_confirmed(a->w);
        a->revision = stored->seq;
        a->confirmed_ms = a->sent_ms;
        a->unsure_ms = 0;
        if (settle_next)
            write_claim(a);
        else
            written(a);
        return;
    }
    log_debug("claim.write", "task=%s error=\"%s\"", a->task->id, e->msg);
    /* Refused, or perhaps stored by an earlier try: only reading tells. */
    if (e->code == ERR_CONFLICT || e->code == ERR_TIMEOUT)
        read_claim(a);
    else
        again_later(a);
}

static void
write_claim(struct attempt *a)
{
    struct worker *w = a->w;
    char subject[SUBJECT_SIZE];
    struct bus_publication p = {
        .subject = subject_claim(subject, w->ex->name, a->task->id),
        .expect = (int64_t)a->revision};

    if (a->note_due)
        a->note_sent = true;
    a->note_due = false;
    str_reset(&w->scratch);
    codec_encode(CODEC_CLAIM, &a->claim, &w->scratch);
    p.data = w->scratch.data;
    p.len = w->scratch.len;
    a->writing = true;
    a->sent_ms = lease_now_ms();
    if (a->unsure_ms == 0)
        a->unsure_ms = a->sent_ms;
    bus_publish(w->bus, &p, PUT_TIMEOUT_MS, on_written, a);
}

/* --- taking it ----------------------------------------------------------- */

static void
set_intent(struct attempt *a)
{
    char text[INTENT_SIZE] = "";

    a->w->ex->intent(a->task, a->claim.failed, text, sizeof text);
    a->claim.remote = mem_pool_strdup(a->pool, text);
}

/* Fills a->claim for the attempt that is planned, and writes it. What the one
 * before has noted stays noted. */
static void
take(struct attempt *a, const struct claim *found,
     const struct delivery_plan *plan)
{
    codec_init(CODEC_CLAIM, &a->claim);
    str_random(a->nonce, sizeof a->nonce);
    (void)snprintf(a->mark, sizeof a->mark, "SHUNT_RUN=%s", a->nonce);
    a->claim.task = a->task->id;
    a->claim.attempt = plan->attempt;
    a->claim.worker = a->w->name;
    a->claim.nonce = a->nonce;
    a->claim.state = STATE_RUNNING;
    a->claim.lease_ms = (uint32_t)a->w->conf->lease_ms;
    a->claim.started_at_ms = str_wall_ms();
    a->claim.lost = plan->lost;
    a->claim.failed = plan->failed;
    a->inherited = found && *found->remote;
    if (a->inherited)
        a->claim.remote = mem_pool_strdup(a->pool, found->remote);
    else if (a->w->ex->intent)
        set_intent(a);
    write_claim(a);
}

/* --- older than claims are kept ------------------------------------------ */

/*
 * A message that is stored for so long may be one that was dealt with, of a
 * consumer that was made anew: its claim may have expired. No claim then says
 * nothing, and the ledger is asked.
 */
static bool
is_old(const struct attempt *a)
{
    int64_t old_ms = a->w->conf->old_after_ms;
    int64_t now_ms = bus_broker_ms(a->w->bus), wall_ms = str_wall_ms();

    if (wall_ms > now_ms)
        now_ms = wall_ms; /* of the broker's clock only a bound is known */
    return now_ms - a->delivery->msg->stored_at_ms >=
           (old_ms ? old_ms : OLD_MS);
}

enum known { KNOWN_NOT, KNOWN_OPEN, KNOWN_OVER, KNOWN_UNSURE };

/* What an answer says of the task of that id. */
static enum known
read_answer(const struct bus_note *note, const char *id)
{
    json_t *o = json_loadb((const char *)note->data, note->len, 0, NULL);
    json_t *error = json_object_get(o, "error");
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *found = json_string_value(json_object_get(o, "id"));
    const char *state = json_string_value(json_object_get(o, "state"));
    enum known out = KNOWN_UNSURE;

    if (found && state && strcmp(found, id) == 0)
        out =
            state_is_terminal(state_from_name(state)) ? KNOWN_OVER : KNOWN_OPEN;
    else if ((found && state) || /* another one, of that name */
             (code && (strcmp(code, "not-found") == 0 ||
                       strcmp(code, "ambiguous") == 0)))
        out = KNOWN_NOT;
    json_decref(o);
    return out;
}

static void
on_known(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct attempt *a = ctx;
    enum known known = e ? KNOWN_UNSURE : read_answer(note, a->task->id);

    a->reading = false;
    if (known == KNOWN_UNSURE) {
        log_warn("task.old",
                 "task=%s error=\"%s\" note=\"older than claims "
                 "are kept; tried again\"",
                 a->task->id, e ? LOG_TEXT(e->msg) : "no answer of the ledger");
        attempt_retry(a, LEDGER_AGAIN_MS);
    } else if (known == KNOWN_OVER) {
        log_warn("task.over",
                 "task=%s seq=%" PRIu64 " note=\"the ledger has "
                 "its outcome; delivered again after days\"",
                 a->task->id, a->delivery->msg->seq);
        attempt_done(a);
    } else {
        a->known = true;
        plan(a, NULL, NULL);
    }
}

static void
ask_ledger(struct attempt *a)
{
    char subject[SUBJECT_SIZE], question[TASK_ID_SIZE + 32];
    int n =
        snprintf(question, sizeof question, "{\"task\": \"%s\"}", a->task->id);

    a->reading = true;
    bus_request(a->w->bus, subject_ask(subject, "find"), question, (size_t)n,
                LEDGER_MS, on_known, a);
}

/* --- deciding ------------------------------------------------------------ */

/* How long a task that was handed back is not worth another attempt. */
static int64_t
still_refused_ms(const struct attempt *a, const struct claim *found)
{
    const struct worker *w = a->w;

    if (!w->ex->wait_ms || !found || found->state != STATE_PREEMPTED)
        return 0;
    return w->ex->wait_ms(w->ex_ctx, a->task, a->lane->name, found->remote);
}

/* Decides by what stands in the bucket; found NULL: nothing. */
static void
plan(struct attempt *a, const struct claim *found,
     const struct claim_sight *sight)
{
    struct delivery_plan p;
    int64_t wait_ms;

    state_on_delivery(a->task, found, sight, str_wall_ms(), &p);
    switch (p.what) {
    case DELIVERY_START:
        if (!found && !a->known && is_old(a)) {
            ask_ledger(a);
            return;
        }
        wait_ms = still_refused_ms(a, found);
        if (wait_ms > 0) {
            log_debug("task.refused", "task=%s again_ms=%lld", a->task->id,
                      (long long)wait_ms);
            attempt_retry(a, wait_ms);
            return;
        }
        if (found)
            settle_keep_prior(a, found, a->revision);
        take(a, found, &p);
        return;
    case DELIVERY_EMIT:
        settle_emit(a, found);
        return;
    case DELIVERY_WAIT:
        attempt_retry(a, p.delay_ms);
        return;
    case DELIVERY_CLOSE:
        settle_close(a, found, &p);
        return;
    }
}

/* --- reading it ---------------------------------------------------------- */

/* There is no claim. */
static void
read_none(struct attempt *a, uint64_t revision)
{
    bool wrote = a->claim.attempt > 0;

    a->revision = revision;
    switch (a->phase) {
    case PHASE_CLAIM:
        if (wrote)
            again_later(a); /* with the same nonce: not a second attempt */
        else
            plan(a, NULL, NULL);
        return;
    case PHASE_SETTLE:
        again_later(a);
        return;
    case PHASE_READY:
    case PHASE_RUN:
    case PHASE_OUTPUT:
        attempt_lost(a);
        return;
    case PHASE_PUBLISH:
        return;
    }
}

/* The claim there carries our nonce. */
static void
read_ours(struct attempt *a, const struct claim *c, uint64_t revision)
{
    bool newer = revision > a->revision;

    if (!newer) {
        again_later(a);
        return;
    }
    a->revision = revision;
    if (c->state == a->claim.state && a->note_sent &&
        strcmp(c->remote, a->claim.remote) != 0) {
        again_later(a); /* a renewal that left before the note */
    } else if (c->state == a->claim.state) {
        /* A write we had no answer to: any since the last answer, so it
         * counts from the oldest. */
        a->confirmed_ms = a->unsure_ms;
        a->unsure_ms = 0;
        written(a);
    } else if (c->state == STATE_RUNNING) {
        again_later(a); /* a renewal: the outcome goes over it */
    } else {
        attempt_lost(a); /* closed over our head, in our name */
    }
}

static void
read_theirs(struct attempt *a, const struct claim *c,
            const struct bus_entry *entry)
{
    int64_t broker_ms = bus_broker_ms(a->w->bus);
    struct claim_sight sight = {
        .unchanged_ms = claim_watch_unchanged_ms(
            a->w->sights, a->task->id, entry->revision, loop_now_ms())};

    sight.age_ms =
        broker_ms ? broker_ms - entry->stored_at_ms : sight.unchanged_ms;
    a->revision = entry->revision;
    if (a->closing) {
        /* The worker we took for lost is alive after all: decide anew. */
        a->closing = false;
        attempt_set_phase(a, PHASE_CLAIM);
        codec_init(CODEC_CLAIM, &a->claim);
    }
    if (a->phase == PHASE_CLAIM)
        plan(a, c, &sight);
    else
        attempt_lost(a);
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct attempt *a = ctx;
    struct worker *w = a->w;
    struct claim c;
    struct err bad;

    a->reading = false;
    if (e) {
        log_debug("claim.read", "task=%s error=\"%s\"", a->task->id, e->msg);
        again_later(a);
        return;
    }
    if (!entry || entry->len == 0) {
        read_none(a, entry ? entry->revision : 0);
        return;
    }
    mem_pool_reset(w->scratch_pool);
    if (codec_decode(CODEC_CLAIM, entry->data, entry->len, w->scratch_pool, &c,
                     &bad) < 0) {
        log_error("claim.unreadable", "task=%s error=\"%s\"", a->task->id,
                  LOG_TEXT(bad.msg));
        attempt_retry(a, a->w->conf->lease_ms);
        return;
    }
    if (strcmp(c.nonce, a->nonce) == 0)
        read_ours(a, &c, entry->revision);
    else
        read_theirs(a, &c, entry);
}

static void
read_claim(struct attempt *a)
{
    char subject[SUBJECT_SIZE];

    a->reading = true;
    bus_get_last(a->w->bus, "KV_claims",
                 subject_claim(subject, a->w->ex->name, a->task->id),
                 PUT_TIMEOUT_MS, on_entry, a);
}

/* --- from outside -------------------------------------------------------- */

void
claim_begin(struct attempt *a)
{
    /* At the first delivery there is hardly ever one: write without reading,
     * and read only if the bucket refuses. */
    if (a->delivery->msg->delivered == 1)
        plan(a, NULL, NULL);
    else
        read_claim(a);
}

void
claim_renew(struct attempt *a)
{
    if (!a->writing && !a->reading)
        write_claim(a);
}

void
claim_note(struct attempt *a)
{
    a->note_due = true;
    if (!a->writing && !a->reading)
        write_claim(a);
}

/* Whether nobody can have taken the claim for lost, and closed it, so that the
 * outcome will get in, as far as one can know. */
static bool
is_fresh(const struct attempt *a)
{
    return lease_now_ms() - a->confirmed_ms < a->w->fence_ms;
}

void
claim_settle(struct attempt *a)
{
    attempt_set_phase(a, PHASE_SETTLE);
    if (a->writing) {
        a->settle_next = true; /* the revision to expect is not known yet */
    } else if (!a->reading) {
        write_claim(a);
        if (feature_on(FEATURE_EARLY) && a->own && is_fresh(a))
            result_publisher_publish_early(a);
    }
    /* else what is read is not the outcome, which is written then */
}

void
claim_again(struct attempt *a)
{
    if (a->writing || a->reading)
        return;
    if (a->phase == PHASE_CLAIM && a->claim.attempt == 0)
        read_claim(a);
    else
        write_claim(a);
}
