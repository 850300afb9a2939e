#include "workers/core/worker_private.h"

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
clock_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void write_claim(struct attempt *j);
static void read_claim(struct attempt *j);
static void plan(struct attempt *j, const struct claim *found,
                 const struct claim_sight *sight);

static void
again_later(struct attempt *j)
{
    j->again_ms = loop_now_ms() + AGAIN_MS;
    worker_due(j->w, j->again_ms);
}

/* What the executor noted is durable. */
static void
tell_noted(struct attempt *j)
{
    void (*noted)(void *ctx) = j->noted;

    j->note_sent = false;
    j->noted = NULL;
    job_tell(j);
    if (noted)
        noted(j->noted_ctx);
}

/* Ours is in the bucket, under j->revision. */
static void
written(struct attempt *j)
{
    if (j->note_due && j->phase == PHASE_RUN) {
        write_claim(j);
        return;
    }
    switch (j->phase) {
    case PHASE_CLAIM:
        j->claim.fence = j->revision;
        job_claimed(j);
        return;
    case PHASE_SETTLE:
        job_settled(j);
        return;
    case PHASE_RUN:
        if (j->note_sent)
            tell_noted(j);
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
    struct attempt *j = ctx;

    bool settle_next = j->settle_next;

    j->writing = j->settle_next = false;
    if (stored) {
        worker_heard(j->w);
        j->revision = stored->seq;
        j->confirmed_ms = j->sent_ms;
        j->unsure_ms = 0;
        if (settle_next)
            write_claim(j);
        else
            written(j);
        return;
    }
    log_debug("claim.write", "task=%s error=\"%s\"", j->task->id, e->msg);
    /* Refused, or perhaps stored by an earlier try: only reading tells. */
    if (e->code == ERR_CONFLICT || e->code == ERR_TIMEOUT)
        read_claim(j);
    else
        again_later(j);
}

static void
write_claim(struct attempt *j)
{
    struct worker *w = j->w;
    char subject[SUBJECT_SIZE];
    struct bus_publication p = {
        .subject = subject_claim(subject, w->ex->name, j->task->id),
        .expect = (int64_t)j->revision};

    if (j->note_due)
        j->note_sent = true;
    j->note_due = false;
    str_reset(&w->scratch);
    codec_encode(CODEC_CLAIM, &j->claim, &w->scratch);
    p.data = w->scratch.data;
    p.len = w->scratch.len;
    j->writing = true;
    j->sent_ms = clock_ms();
    if (j->unsure_ms == 0)
        j->unsure_ms = j->sent_ms;
    bus_publish(w->bus, &p, PUT_TIMEOUT_MS, on_written, j);
}

/* --- taking it ----------------------------------------------------------- */

static void
set_intent(struct attempt *j)
{
    char text[INTENT_SIZE] = "";

    j->w->ex->intent(j->task, j->claim.failed, text, sizeof text);
    j->claim.remote = mem_pool_strdup(j->pool, text);
}

/* Fills j->claim for the attempt that is planned, and writes it. What the one
 * before has noted stays noted. */
static void
take(struct attempt *j, const struct claim *found,
     const struct delivery_plan *plan)
{
    codec_init(CODEC_CLAIM, &j->claim);
    str_random(j->nonce, sizeof j->nonce);
    (void)snprintf(j->mark, sizeof j->mark, "SHUNT_RUN=%s", j->nonce);
    j->claim.task = j->task->id;
    j->claim.attempt = plan->attempt;
    j->claim.worker = j->w->name;
    j->claim.nonce = j->nonce;
    j->claim.state = STATE_RUNNING;
    j->claim.lease_ms = (uint32_t)j->w->conf->lease_ms;
    j->claim.started_at_ms = str_wall_ms();
    j->claim.lost = plan->lost;
    j->claim.failed = plan->failed;
    j->inherited = found && *found->remote;
    if (j->inherited)
        j->claim.remote = mem_pool_strdup(j->pool, found->remote);
    else if (j->w->ex->intent)
        set_intent(j);
    write_claim(j);
}

/* --- older than claims are kept ------------------------------------------ */

/*
 * A message that is stored for so long may be one that was dealt with, of a
 * consumer that was made anew: its claim may have expired. No claim then says
 * nothing, and the ledger is asked.
 */
static bool
is_old(const struct attempt *j)
{
    int64_t old_ms = j->w->conf->old_after_ms;
    int64_t now_ms = bus_broker_ms(j->w->bus), wall_ms = str_wall_ms();

    if (wall_ms > now_ms)
        now_ms = wall_ms; /* of the broker's clock only a bound is known */
    return now_ms - j->parcel->msg->stored_at_ms >= (old_ms ? old_ms : OLD_MS);
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
    struct attempt *j = ctx;
    enum known known = e ? KNOWN_UNSURE : read_answer(note, j->task->id);

    j->reading = false;
    if (known == KNOWN_UNSURE) {
        log_warn("task.old",
                 "task=%s error=\"%s\" note=\"older than claims "
                 "are kept; tried again\"",
                 j->task->id, e ? LOG_TEXT(e->msg) : "no answer of the ledger");
        job_retry(j, LEDGER_AGAIN_MS);
    } else if (known == KNOWN_OVER) {
        log_warn("task.over",
                 "task=%s seq=%" PRIu64 " note=\"the ledger has "
                 "its outcome; delivered again after days\"",
                 j->task->id, j->parcel->msg->seq);
        job_done(j);
    } else {
        j->known = true;
        plan(j, NULL, NULL);
    }
}

static void
ask_ledger(struct attempt *j)
{
    char subject[SUBJECT_SIZE], question[TASK_ID_SIZE + 32];
    int n =
        snprintf(question, sizeof question, "{\"task\": \"%s\"}", j->task->id);

    j->reading = true;
    bus_request(j->w->bus, subject_ask(subject, "find"), question, (size_t)n,
                LEDGER_MS, on_known, j);
}

/* --- deciding ------------------------------------------------------------ */

/* How long a task that was handed back is not worth another attempt. */
static int64_t
still_refused_ms(const struct attempt *j, const struct claim *found)
{
    const struct worker *w = j->w;

    if (!w->ex->wait_ms || !found || found->state != STATE_PREEMPTED)
        return 0;
    return w->ex->wait_ms(w->ex_ctx, j->task, j->lane->name, found->remote);
}

/* Decides by what stands in the bucket; found NULL: nothing. */
static void
plan(struct attempt *j, const struct claim *found,
     const struct claim_sight *sight)
{
    struct delivery_plan p;
    int64_t wait_ms;

    state_on_delivery(j->task, found, sight, str_wall_ms(), &p);
    switch (p.what) {
    case DELIVERY_START:
        if (!found && !j->known && is_old(j)) {
            ask_ledger(j);
            return;
        }
        wait_ms = still_refused_ms(j, found);
        if (wait_ms > 0) {
            log_debug("task.refused", "task=%s again_ms=%lld", j->task->id,
                      (long long)wait_ms);
            job_retry(j, wait_ms);
            return;
        }
        if (found)
            job_keep_prior(j, found, j->revision);
        take(j, found, &p);
        return;
    case DELIVERY_EMIT:
        job_emit(j, found);
        return;
    case DELIVERY_WAIT:
        job_retry(j, p.delay_ms);
        return;
    case DELIVERY_CLOSE:
        job_close(j, found, &p);
        return;
    }
}

/* --- reading it ---------------------------------------------------------- */

/* There is no claim. */
static void
read_none(struct attempt *j, uint64_t revision)
{
    bool wrote = j->claim.attempt > 0;

    j->revision = revision;
    switch (j->phase) {
    case PHASE_CLAIM:
        if (wrote)
            again_later(j); /* with the same nonce: not a second attempt */
        else
            plan(j, NULL, NULL);
        return;
    case PHASE_SETTLE:
        again_later(j);
        return;
    case PHASE_READY:
    case PHASE_RUN:
    case PHASE_OUTPUT:
        job_lost(j);
        return;
    case PHASE_PUBLISH:
        return;
    }
}

/* The claim there carries our nonce. */
static void
read_ours(struct attempt *j, const struct claim *c, uint64_t revision)
{
    bool newer = revision > j->revision;

    if (!newer) {
        again_later(j);
        return;
    }
    j->revision = revision;
    if (c->state == j->claim.state && j->note_sent &&
        strcmp(c->remote, j->claim.remote) != 0) {
        again_later(j); /* a renewal that left before the note */
    } else if (c->state == j->claim.state) {
        /* A write we had no answer to: any since the last answer, so it
         * counts from the oldest. */
        j->confirmed_ms = j->unsure_ms;
        j->unsure_ms = 0;
        written(j);
    } else if (c->state == STATE_RUNNING) {
        again_later(j); /* a renewal: the outcome goes over it */
    } else {
        job_lost(j); /* closed over our head, in our name */
    }
}

static void
read_theirs(struct attempt *j, const struct claim *c,
            const struct bus_entry *entry)
{
    int64_t broker_ms = bus_broker_ms(j->w->bus);
    struct claim_sight sight = {
        .unchanged_ms = claim_watch_unchanged_ms(
            j->w->sights, j->task->id, entry->revision, loop_now_ms())};

    sight.age_ms =
        broker_ms ? broker_ms - entry->stored_at_ms : sight.unchanged_ms;
    j->revision = entry->revision;
    if (j->closing) {
        /* The worker we took for lost is alive after all: decide anew. */
        j->closing = false;
        job_phase(j, PHASE_CLAIM);
        codec_init(CODEC_CLAIM, &j->claim);
    }
    if (j->phase == PHASE_CLAIM)
        plan(j, c, &sight);
    else
        job_lost(j);
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct attempt *j = ctx;
    struct worker *w = j->w;
    struct claim c;
    struct err bad;

    j->reading = false;
    if (e) {
        log_debug("claim.read", "task=%s error=\"%s\"", j->task->id, e->msg);
        again_later(j);
        return;
    }
    if (!entry || entry->len == 0) {
        read_none(j, entry ? entry->revision : 0);
        return;
    }
    mem_pool_reset(w->scratch_pool);
    if (codec_decode(CODEC_CLAIM, entry->data, entry->len, w->scratch_pool, &c,
                     &bad) < 0) {
        log_error("claim.unreadable", "task=%s error=\"%s\"", j->task->id,
                  LOG_TEXT(bad.msg));
        job_retry(j, j->w->conf->lease_ms);
        return;
    }
    if (strcmp(c.nonce, j->nonce) == 0)
        read_ours(j, &c, entry->revision);
    else
        read_theirs(j, &c, entry);
}

static void
read_claim(struct attempt *j)
{
    char subject[SUBJECT_SIZE];

    j->reading = true;
    bus_get_last(j->w->bus, "KV_claims",
                 subject_claim(subject, j->w->ex->name, j->task->id),
                 PUT_TIMEOUT_MS, on_entry, j);
}

/* --- from outside -------------------------------------------------------- */

void
claim_begin(struct attempt *j)
{
    /* At the first delivery there is hardly ever one: write without reading,
     * and read only if the bucket refuses. */
    if (j->parcel->msg->delivered == 1)
        plan(j, NULL, NULL);
    else
        read_claim(j);
}

void
claim_renew(struct attempt *j)
{
    if (!j->writing && !j->reading)
        write_claim(j);
}

void
claim_note(struct attempt *j)
{
    j->note_due = true;
    if (!j->writing && !j->reading)
        write_claim(j);
}

/* Whether nobody can have taken the claim for lost, and closed it, so that the
 * outcome will get in, as far as one can know. */
static bool
is_fresh(const struct attempt *j)
{
    return clock_ms() - j->confirmed_ms < j->w->fence_ms;
}

void
claim_settle(struct attempt *j)
{
    job_phase(j, PHASE_SETTLE);
    if (j->writing) {
        j->settle_next = true; /* the revision to expect is not known yet */
    } else if (!j->reading) {
        write_claim(j);
        if (j->own && is_fresh(j))
            result_publisher_publish_early(j);
    }
    /* else what is read is not the outcome, which is written then */
}

void
claim_again(struct attempt *j)
{
    if (j->writing || j->reading)
        return;
    if (j->phase == PHASE_CLAIM && j->claim.attempt == 0)
        read_claim(j);
    else
        write_claim(j);
}
