/*
 * The claim's requests as a state machine. What is on its way is the state:
 *
 *             delivered again                    refused, or no answer:
 *       ┌─────────────────────────► READING ◄──┐ only reading tells
 *       │                              │       │
 *      IDLE ◄───── what is there ──────┘       │
 *       │ ▲                                    │
 *       ├─│── take ────────► TAKING ───┬───────┤
 *       │ │    CHECKING ◄── cancelled? ┤       │
 *       ├─│── renew ───────► RENEWING ─┤       │
 *       ├─│── note ────────► NOTING ───┤       │
 *       ├─│── settle ──────► SETTLING ─┼───────┘
 *       │ └◄────── stored ─────────────┤
 *       └──── ask_ledger ──► ASKING ───┘ answer
 *
 * A request that could not be made leads back to IDLE and is made again at
 * DUE_CLAIM. A note or an outcome that comes while a request is on its way is
 * written after the answer: only then is the revision known that it must
 * expect.
 */
#include "workers/core/claim.h"

#include "lib/base/log.h"
#include "lib/bus/cancels.h"
#include "lib/model/codec.h"
#include "workers/core/delivery.h"
#include "workers/core/worker_types.h"

#include <stdio.h>
#include <string.h>

enum {
    AGAIN_MS = 500, /* before a request that failed is made again */
    INTENT_SIZE = 256,
};

static void on_written(void *ctx, const struct bus_stored *stored,
                       const struct err *e);
static void on_entry(void *ctx, const struct bus_entry *entry,
                     const struct err *e);
static void on_answer(void *ctx, const struct bus_note *note,
                      const struct err *e);
static void on_cancel(void *ctx, const struct bus_entry *entry,
                      const struct err *e);

/* --- the state ------------------------------------------------------------ */

/* Makes the request that the state is named after. */
static void
enter(struct attempt *a, enum claim_io to)
{
    struct worker *w = a->w;

    a->io = to;
    if (to == CLAIM_NOTING)
        a->note = NOTE_SENT;
    switch (to) {
    case CLAIM_IDLE:
        return;
    case CLAIM_READING:
        claims_get(w->bus, w->ex->name, a->task->id, on_entry, a);
        return;
    case CLAIM_ASKING:
        ledger_query_send(w->bus, a->task->id, on_answer, a);
        return;
    case CLAIM_CHECKING:
        cancels_get(w->bus, a->task->id, on_cancel, a);
        return;
    case CLAIM_TAKING:
    case CLAIM_RENEWING:
    case CLAIM_NOTING:
    case CLAIM_SETTLING:
        lease_sent(&a->lease);
        claims_put(w->bus, w->ex->name, &a->claim, a->revision, on_written, a);
        return;
    }
}

/* Writes the claim as it stands: what that means goes by the phase. */
static void
write_claim(struct attempt *a)
{
    if (a->phase == PHASE_CLAIM)
        enter(a, CLAIM_TAKING);
    else if (a->phase == PHASE_SETTLE || a->phase == PHASE_CLOSE)
        enter(a, CLAIM_SETTLING);
    else
        enter(a, a->note == NOTE_NONE ? CLAIM_RENEWING : CLAIM_NOTING);
}

static void
again_later(struct attempt *a)
{
    enter(a, CLAIM_IDLE);
    deadlines_set(&a->deadlines, DUE_CLAIM, loop_now_ms() + AGAIN_MS);
}

/* --- writing -------------------------------------------------------------- */

/* The claim as it stands is in the bucket, under a->revision. */
static void
written(struct attempt *a)
{
    switch (a->phase) {
    case PHASE_CLAIM:
        a->claim.fence = a->revision;
        if (a->cause == CAUSE_NONE &&
            cancels_may_have(a->w->cancels, a->task->id))
            enter(a, CLAIM_CHECKING);
        else
            a->w->claim_events->taken(a, NULL);
        return;
    case PHASE_RUN:
        if (a->note == NOTE_DUE) {
            enter(a, CLAIM_NOTING);
        } else if (a->note == NOTE_SENT) {
            a->note = NOTE_NONE;
            a->w->claim_events->noted(a);
        }
        return;
    case PHASE_SETTLE:
    case PHASE_CLOSE:
        a->w->claim_events->settled(a);
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
    enum claim_io was = a->io;

    enter(a, CLAIM_IDLE);
    if (stored) {
        a->w->confirmed_ms = loop_now_ms();
        a->revision = stored->seq;
        lease_confirmed(&a->lease);
        if (a->phase == PHASE_SETTLE && was != CLAIM_SETTLING)
            enter(a, CLAIM_SETTLING); /* it came during a renewal */
        else
            written(a);
        return;
    }
    log_debug("claim.write", "task=%s error=\"%s\"", a->task->id, e->msg);
    if (e->code == ERR_CONFLICT || e->code == ERR_TIMEOUT)
        enter(a, CLAIM_READING); /* an earlier try may have stored it */
    else
        again_later(a);
}

/* --- reading -------------------------------------------------------------- */

static void
read_none(struct attempt *a, const struct claims_entry *found)
{
    a->revision = found->revision;
    switch (a->phase) {
    case PHASE_CLAIM:
        if (a->claim.attempt > 0)
            again_later(a); /* with the same nonce: not a second attempt */
        else
            a->w->claim_events->found(a, found, NULL);
        return;
    case PHASE_SETTLE:
    case PHASE_CLOSE:
        again_later(a);
        return;
    case PHASE_READY:
    case PHASE_RUN:
    case PHASE_OUTPUT:
        a->w->claim_events->lost(a);
        return;
    case PHASE_PUBLISH:
        return;
    }
}

/* The claim there has our nonce. */
static void
read_ours(struct attempt *a, const struct claims_entry *found)
{
    const struct claim *c = found->claim;
    bool newer = found->revision > a->revision;

    if (newer)
        a->revision = found->revision;
    if (newer && c->state != a->claim.state && c->state != STATE_RUNNING) {
        a->w->claim_events->lost(a); /* closed by another worker, in our name */
    } else if (!newer || c->state != a->claim.state ||
               (a->note == NOTE_SENT &&
                strcmp(c->remote, a->claim.remote) != 0)) {
        /* Nothing of ours arrived, or a renewal that left before the outcome or
         * the note: they are written over it. */
        again_later(a);
    } else {
        lease_found(&a->lease);
        written(a);
    }
}

static void
read_theirs(struct attempt *a, const struct claims_entry *found)
{
    struct worker *w = a->w;
    struct claim_sight sight =
        claims_watch_see(w->watch, a->task->id, found, loop_now_ms());

    a->revision = found->revision;
    if (a->phase == PHASE_CLAIM || a->phase == PHASE_CLOSE)
        w->claim_events->found(a, found, &sight);
    else
        w->claim_events->lost(a);
}

/*
 * Something that is no claim was written over it, by nobody who knows the
 * protocol. As long as our lease is fresh the claim is ours: it is written
 * again.
 */
static void
read_unreadable(struct attempt *a, const struct bus_entry *entry,
                const struct claims_entry *found, const struct err *bad)
{
    struct worker *w = a->w;
    struct claim_sight sight =
        claims_watch_see(w->watch, a->task->id, found, loop_now_ms());

    delivery_dead_claim(a->delivery, entry, bad->msg);
    a->revision = found->revision;
    switch (a->phase) {
    case PHASE_CLAIM:
    case PHASE_CLOSE:
        w->claim_events->unreadable(a, &sight);
        return;
    case PHASE_READY:
    case PHASE_RUN:
    case PHASE_OUTPUT:
    case PHASE_SETTLE:
        if (lease_is_fresh(&a->lease, w->fence_ms))
            write_claim(a);
        else
            w->claim_events->lost(a);
        return;
    case PHASE_PUBLISH:
        return;
    }
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct attempt *a = ctx;
    struct worker *w = a->w;
    struct claims_entry found;
    struct err bad;

    enter(a, CLAIM_IDLE);
    if (e) {
        log_debug("claim.read", "task=%s error=\"%s\"", a->task->id, e->msg);
        again_later(a);
        return;
    }
    mem_pool_reset(w->scratch_pool);
    if (claims_read(w->bus, entry, a->task->id, w->scratch_pool, &found, &bad) <
        0)
        read_unreadable(a, entry, &found, &bad);
    else if (!found.claim)
        read_none(a, &found);
    else if (strcmp(found.claim->nonce, a->nonce) == 0)
        read_ours(a, &found);
    else
        read_theirs(a, &found);
}

/* --- taking --------------------------------------------------------------- */

void
claim_begin(struct attempt *a)
{
    if (a->delivery->msg->delivered == 1)
        a->w->claim_events->found(a, &(struct claims_entry){0}, NULL);
    else
        enter(a, CLAIM_READING);
}

static void
on_answer(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct attempt *a = ctx;
    enum ledger_answer answer = LEDGER_UNSURE;
    uint32_t attempts = 0;

    enter(a, CLAIM_IDLE);
    if (!e)
        answer = ledger_query_read(note, a->task->id, &attempts);
    a->w->claim_events->answered(a, answer, attempts, e);
}

void
claim_ask_ledger(struct attempt *a)
{
    enter(a, CLAIM_ASKING);
}

static void
set_intent(struct attempt *a)
{
    char text[INTENT_SIZE] = "";

    a->w->ex->intent(a->task, a->claim.failed, text, sizeof text);
    a->claim.remote = mem_pool_strdup(a->pool, text);
}

void
claim_take(struct attempt *a, const struct claim *found,
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

/* --- whether it is to be cancelled ---------------------------------------- */

static void
on_cancel(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct attempt *a = ctx;
    struct worker *w = a->w;
    struct control c;

    enter(a, CLAIM_IDLE);
    if (e) {
        log_debug("cancel.read", "task=%s error=\"%s\"", a->task->id, e->msg);
        again_later(a); /* with the claim, which must not run out */
        return;
    }
    mem_pool_reset(w->scratch_pool);
    w->claim_events->taken(a, cancels_read(entry, w->scratch_pool, &c) ? &c
                                                                       : NULL);
}

/* --- once it is ours ------------------------------------------------------ */

void
claim_renew(struct attempt *a)
{
    if (a->io == CLAIM_IDLE)
        write_claim(a);
}

void
claim_write_note(struct attempt *a)
{
    a->note = NOTE_DUE;
    claim_renew(a);
}

bool
claim_settle(struct attempt *a)
{
    if (a->io != CLAIM_IDLE)
        return false;
    write_claim(a);
    return true;
}

void
claim_retry(struct attempt *a)
{
    if (a->io != CLAIM_IDLE)
        return;
    if (a->phase == PHASE_CLAIM && a->claim.attempt == 0)
        enter(a, CLAIM_READING);
    else
        write_claim(a);
}

void
claim_forget(struct attempt *a)
{
    if (a->io != CLAIM_IDLE)
        bus_forget(a->w->bus, a);
    a->io = CLAIM_IDLE;
}
