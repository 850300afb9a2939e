/*
 * Publishes what follows from an admission and counts the publications that are
 * not yet stored, per task. A task that may be cancelled is looked up first.
 * Tasks that arrived in one message leave in one as well (multi_publisher) if
 * all workers of their lane report short runs.
 */
#include "router/dispatch.h"

#include "lib/base/failpoint.h"
#include "lib/base/feature.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/cancels.h"
#include "lib/bus/claims.h"
#include "lib/io/loop.h"
#include "lib/model/codec.h"
#include "router/multi_publisher.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

enum {
    PAYLOAD_MAX = 512 * 1024, /* of the original, in a dead letter */
    ID_SIZE = TASK_ID_SIZE + 32,
};

/* A task, or what should be one, whose messages are being published. */
struct dispatched {
    LIST_ENTRY(dispatched) link;
    struct dispatcher *of;
    void *ctx;
    const struct bus_msg *msg;
    struct bytes data;
    size_t number;         /* in a message of several tasks, from 1; else 0 */
    unsigned pending;      /* publications not yet stored */
    bool routed;           /* the pending one is the routed task */
    struct unsure *unsure; /* it may be cancelled; NULL: no longer, or never */
    struct admission who;  /* id, source and batch; no task */
};

/* A task that is routed only if its cancel is not found. */
struct unsure {
    char backend[SUBJECT_TOKEN_MAX + 1], lane[SUBJECT_TOKEN_MAX + 1];
    struct str routed;       /* the task, encoded */
    struct str result;       /* once it is cancelled */
    char id[RESULT_ID_SIZE]; /* of that message */
};

struct dispatcher {
    struct bus *bus;
    struct cancels *cancels;
    struct mem_pool *pool; /* of the cancel that is looked at */
    struct worker_registry *workers;
    dispatched_fn *fn;
    struct multi_publisher *multi;
    struct str buf; /* the message about to be published */
    LIST_HEAD(, dispatched) tasks;
    size_t n;
};

/* --- tasks in progress --------------------------------------------------- */

static void
unsure_free(struct dispatched *t)
{
    if (!t->unsure)
        return;
    str_free(&t->unsure->routed);
    str_free(&t->unsure->result);
    mem_free(t->unsure);
    t->unsure = NULL;
}

static void
dispatched_free(struct dispatched *t)
{
    unsure_free(t);
    LIST_REMOVE(t, link);
    t->of->n--;
    mem_free(t);
}

static void
release(struct dispatched *t)
{
    dispatched_fn *fn = t->of->fn;
    void *ctx = t->ctx;

    if (--t->pending > 0)
        return;
    dispatched_free(t);
    fn(ctx);
}

/* --- publishing ---------------------------------------------------------- */

static void on_stored(void *ctx, const struct bus_stored *stored,
                      const struct err *e);

/* Publishes the buffer until it is stored; the task waits for it. */
static void
publish(struct dispatched *t, const char *subject, const char *id)
{
    struct dispatcher *d = t->of;
    struct bus_publication p = {.subject = subject,
                                .id = id,
                                .data = str_text(&d->buf),
                                .len = d->buf.len,
                                .expect = BUS_ANY_REVISION};

    t->pending++;
    bus_publish_until(d->bus, &p, on_stored, t);
}

static void
publish_rejection(struct dispatched *t, const char *reason)
{
    char subject[SUBJECT_SIZE], id[ID_SIZE];
    struct result result;

    t->who.reason = reason;
    admission_result(&t->who, STATE_REJECTED, str_wall_ms(), &result);
    str_reset(&t->of->buf);
    codec_encode(CODEC_RESULT, &result, &t->of->buf);
    (void)snprintf(id, sizeof id, "%s:0", t->who.id);
    publish(t, subject_result(subject, "router", t->who.source), id);
}

static void
publish_dead_letter(struct dispatched *t, const char *reason)
{
    struct dispatcher *d = t->of;
    char subject[SUBJECT_SIZE], id[ID_SIZE];
    size_t room = bus_max_payload(d->bus) / 2;
    struct dead_letter letter;

    if (room > PAYLOAD_MAX)
        room = PAYLOAD_MAX;
    codec_init(CODEC_DEAD_LETTER, &letter);
    letter.process = "router";
    letter.subject = t->msg->subject;
    letter.reason = reason;
    letter.stream_seq = t->msg->seq;
    letter.payload.data = t->data.len ? t->data.data : NULL;
    letter.payload.len = t->data.len < room ? t->data.len : room;
    letter.payload_bytes = t->data.len;
    letter.at_ms = str_wall_ms();
    letter.task = t->who.id;
    str_reset(&d->buf);
    codec_encode(CODEC_DEAD_LETTER, &letter, &d->buf);
    if (t->number)
        (void)snprintf(id, sizeof id, "router:%" PRIu64 ".%zu", t->msg->seq,
                       t->number);
    else
        (void)snprintf(id, sizeof id, "router:%" PRIu64, t->msg->seq);
    publish(t, subject_dead(subject, "router"), id);
}

/* Refuses the task for good and tells whoever waits for it. A message that
 * could not be understood is kept as a dead letter as well. */
static void
refuse(struct dispatched *t, enum admission_verdict verdict, const char *reason)
{
    log_warn(verdict == ADMIT_DEAD ? "router.dead_letter" : "router.rejected",
             "task=%s seq=%" PRIu64 " reason=\"%s\"", t->who.id, t->msg->seq,
             LOG_TEXT(reason));
    if (verdict == ADMIT_DEAD)
        publish_dead_letter(t, reason);
    if (*t->who.id)
        publish_rejection(t, reason);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct dispatched *t = ctx;

    (void)stored; /* a duplicate is as good: the message is there */
    FAILPOINT("router.after_publish");
    if (e && t->routed) {
        /* Only an error that repeating cannot help arrives here: too large. */
        t->routed = false;
        refuse(t, ADMIT_DEAD, e->msg);
    } else if (e) {
        log_error("router.unpublishable",
                  "task=%s seq=%" PRIu64 " error=\"%s\"", t->who.id,
                  t->msg->seq, LOG_TEXT(e->msg));
    }
    release(t);
}

/*
 * Tasks that arrived in one message leave in one as well, if their lane's
 * workers report that it matters little which of them has which task. Only
 * tasks of one message are combined: if that is delivered again, the same
 * messages result.
 */
static bool
may_combine(const struct dispatched *t, const struct decision *decision)
{
    return feature_on(FEATURE_MULTI) && t->number &&
           worker_registry_has_short_runs(t->of->workers, decision->backend,
                                          decision->lane, loop_now_ms());
}

/* --- cancelled before it is routed ---------------------------------------- */

/* It is not cancelled, or that is not for us to say: whoever runs it looks for
 * the cancel, too. */
static void
route_unsure(struct dispatched *t)
{
    struct unsure *u = t->unsure;
    char subject[SUBJECT_SIZE], id[ID_SIZE];

    str_reset(&t->of->buf);
    str_add(&t->of->buf, str_text(&u->routed), u->routed.len);
    (void)snprintf(id, sizeof id, "%s:r", t->who.id);
    (void)subject_task(subject, u->backend, u->lane);
    t->routed = true;
    publish(t, subject, id);
    unsure_free(t);
}

static void
on_claimed(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct dispatched *t = ctx;
    char subject[SUBJECT_SIZE];

    if (!stored) {
        /* It was routed before, or the broker did not answer. */
        log_debug("router.cancel", "task=%s error=\"%s\"", t->who.id,
                  LOG_TEXT(e->msg));
        route_unsure(t);
    } else {
        log_info("router.cancelled", "task=%s", t->who.id);
        str_reset(&t->of->buf);
        str_add(&t->of->buf, str_text(&t->unsure->result),
                t->unsure->result.len);
        publish(t, subject_result(subject, "router", t->who.source),
                t->unsure->id);
        unsure_free(t);
    }
    release(t);
}

/* Takes the claim, so that a copy of the task that was routed before, or is
 * later, is not run. */
static void
cancel(struct dispatched *t, struct control *c)
{
    static const struct claims_entry none;
    struct unsure *u = t->unsure;
    char why[CANCELS_REASON_SIZE], nonce[24];
    struct admission who = t->who;
    struct result result;
    struct claim claim;

    cancels_reason(c->by, c->reason, why);
    who.reason = why;
    admission_result(&who, STATE_CANCELLED, str_wall_ms(), &result);
    str_random(nonce, sizeof nonce);
    result.nonce = nonce;
    result.cancel = c;
    codec_encode(CODEC_RESULT, &result, &u->result);
    (void)task_result_id(&result, u->id);
    claims_close(&none, &result, &claim);
    claims_put(t->of->bus, u->backend, &claim, 0, on_claimed, t);
}

static void
on_cancel(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct dispatched *t = ctx;
    struct control c;

    mem_pool_reset(t->of->pool);
    if (!e && cancels_read(entry, t->of->pool, &c)) {
        cancel(t, &c);
        return;
    }
    route_unsure(t);
    release(t);
}

/* The routed task is in the buffer. */
static void
look_for_cancel(struct dispatched *t, const struct decision *decision)
{
    struct unsure *u = MEM_NEW(struct unsure);

    (void)str_copy(u->backend, sizeof u->backend, decision->backend);
    (void)str_copy(u->lane, sizeof u->lane, decision->lane);
    str_add(&u->routed, str_text(&t->of->buf), t->of->buf.len);
    t->unsure = u;
    t->pending++;
    cancels_get(t->of->bus, t->who.id, on_cancel, t);
}

/* --- routing -------------------------------------------------------------- */

static void
route(struct dispatched *t, struct admission *a)
{
    struct dispatcher *d = t->of;
    struct decision *decision = &a->decision;
    struct routed_task routed = {.task = &a->task, .decision = decision};
    char subject[SUBJECT_SIZE], id[ID_SIZE];

    if (log_enabled(LOG_DEBUG))
        log_debug("router.decided", "task=%s backend=%s lane=%s rule=%s", a->id,
                  decision->backend, decision->lane, decision->rule);
    str_reset(&d->buf);
    codec_encode(CODEC_ROUTED_TASK, &routed, &d->buf);
    if (cancels_may_have(d->cancels, a->id)) {
        look_for_cancel(t, decision);
        return;
    }
    (void)snprintf(id, sizeof id, "%s:r", a->id);
    (void)subject_task(subject, decision->backend, decision->lane);
    t->routed = true;
    if (may_combine(t, decision)) {
        t->pending++;
        multi_publisher_add(d->multi, subject, id, &d->buf, t);
    } else {
        publish(t, subject, id);
    }
}

void
dispatch(struct dispatcher *d, const struct bus_msg *msg, struct bytes data,
         size_t number, struct admission *a, void *ctx)
{
    struct dispatched *t = MEM_NEW(struct dispatched);

    t->of = d;
    t->ctx = ctx;
    t->msg = msg;
    t->data = data;
    t->number = number;
    memcpy(t->who.id, a->id, sizeof t->who.id);
    memcpy(t->who.source, a->source, sizeof t->who.source);
    memcpy(t->who.batch, a->batch, sizeof t->who.batch);
    LIST_INSERT_HEAD(&d->tasks, t, link);
    d->n++;
    t->pending = 1; /* until all of it has been handed to the bus */
    switch (a->verdict) {
    case ADMIT_ROUTE:
        route(t, a);
        break;
    case ADMIT_LEAVE:
        log_debug("router.left", "task=%s", a->id);
        break;
    case ADMIT_REJECT:
    case ADMIT_DEAD:
        refuse(t, a->verdict, a->reason);
        break;
    }
    release(t);
}

/* --- life ---------------------------------------------------------------- */

struct dispatcher *
dispatcher_new(struct bus *b, struct cancels *cancels,
               struct worker_registry *workers, dispatched_fn *fn)
{
    struct dispatcher *d = MEM_NEW(struct dispatcher);

    d->bus = b;
    d->cancels = cancels;
    d->pool = mem_pool_new();
    d->workers = workers;
    d->fn = fn;
    d->multi = multi_publisher_new(b, on_stored);
    return d;
}

void
dispatcher_free(struct dispatcher *d)
{
    if (!d)
        return;
    while (!LIST_EMPTY(&d->tasks)) {
        bus_forget(d->bus, LIST_FIRST(&d->tasks));
        dispatched_free(LIST_FIRST(&d->tasks));
    }
    multi_publisher_free(d->multi);
    mem_pool_free(d->pool);
    str_free(&d->buf);
    mem_free(d);
}

void
dispatcher_flush(struct dispatcher *d)
{
    multi_publisher_flush(d->multi);
}

size_t
dispatcher_count(const struct dispatcher *d)
{
    return d->n;
}

size_t
dispatcher_unsent(const struct dispatcher *d)
{
    return multi_publisher_pending(d->multi);
}
