#include "router/router.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "router/admission.h"
#include "router/multi_publisher.h"
#include "router/setup.h"
#include "router/worker_registry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    /* A message in hand is kept ours well within the ack wait of 30 s, so that
     * an outage of the stream we publish to does not count as deliveries. */
    PROGRESS_MS = 10000,
    ROLL_MS =
        500, /* from the roll call; who has not answered then is missing */
    HAND_BACK_MS = 100,
    PAYLOAD_MAX = 512 * 1024, /* of the original, in a dead letter */
    ID_SIZE = TASK_ID_SIZE + 32,
};

/* A message in hand, of one task or many. It is settled when all that follows
 * from each of them has been stored. */
struct inbound_msg {
    struct inbound_msg *prev, *next;
    struct bus_msg *msg;
    struct codec_bulk tasks; /* of a message of many, once it is looked at */
    bool many, looked_at;
    char id[TASK_ID_SIZE]; /* of one of many, see struct inbound */
    size_t open;           /* jobs, and one more until all are begun */
};

/* A task, or what should be one, whose consequences are on their way to the
 * broker. */
struct routing {
    struct routing *prev, *next;
    struct router *router;
    struct inbound_msg *of;
    struct bytes data;
    size_t number;        /* in a message of many, from 1; else 0 */
    unsigned waits;       /* publications not yet stored */
    bool routed;          /* the one waited for is the routed task */
    struct admission who; /* id, source and batch; no task */
};

struct router {
    struct bus *bus;
    struct loop *loop;
    const struct router_conf *conf;
    struct policy policy;
    struct router_rules rules;
    struct mem_pool *kept; /* the policy's strings */
    struct mem_pool *pool; /* of the message at hand */
    struct str buf;        /* what is about to be published */
    struct worker_registry *fleet;
    bool has_codespace, has_secutools; /* by configuration */
    struct bus_consumer *consumer;
    struct bus_sub *heartbeats;
    struct loop_timer *progress, *deadline;
    struct loop_timer *roll;    /* runs until the workers have been heard */
    struct inbound_msg parcels; /* head of the ring of those in hand */
    struct inbound_msg *at;     /* the first that has tasks left to begin */
    struct routing jobs;        /* head of the ring of jobs */
    size_t n_jobs;
    struct multi_publisher *bundles;
    bool beginning; /* jobs are being begun */
    bool worked;    /* since the last look at the time */
    bool trimmed;   /* since it worked */
    bool draining;
};

/* --- parcels and jobs ------------------------------------------------- */

static struct inbound_msg *
parcel_new(struct router *r, struct bus_msg *m)
{
    struct inbound_msg *d = MEM_NEW(struct inbound_msg);

    d->msg = m;
    d->many = strcmp(m->subject, SUBJECT_TASKS_BULK) == 0;
    d->open = 1;
    d->prev = r->parcels.prev;
    d->next = &r->parcels;
    d->prev->next = d;
    d->next->prev = d;
    return d;
}

static void
parcel_free(struct inbound_msg *d)
{
    d->prev->next = d->next;
    d->next->prev = d->prev;
    if (d->many && d->looked_at)
        codec_bulk_close(&d->tasks);
    mem_free(d);
}

/* Everything it stands for is stored: only now may the broker forget it. */
static void
parcel_release(struct router *r, struct inbound_msg *d)
{
    if (--d->open > 0)
        return;
    bus_msg_done(d->msg);
    FAILPOINT("router.after_ack");
    parcel_free(d);
    if (r->draining && r->parcels.next == &r->parcels)
        loop_stop(r->loop, 0);
}

static bool
in_hand(const struct router *r, uint64_t seq)
{
    for (const struct inbound_msg *d = r->parcels.next; d != &r->parcels;
         d = d->next)
        if (d->msg->seq == seq)
            return true;
    return false;
}

static struct routing *
job_new(struct router *r, struct inbound_msg *d)
{
    struct routing *j = MEM_NEW(struct routing);

    j->router = r;
    j->of = d;
    d->open++;
    j->prev = r->jobs.prev;
    j->next = &r->jobs;
    j->prev->next = j;
    j->next->prev = j;
    r->n_jobs++;
    return j;
}

static void
job_free(struct routing *j)
{
    j->prev->next = j->next;
    j->next->prev = j->prev;
    j->router->n_jobs--;
    mem_free(j);
}

static void begin_jobs(struct router *r);

static void
job_done(struct routing *j)
{
    struct router *r = j->router;
    struct inbound_msg *d = j->of;

    job_free(j);
    parcel_release(r, d);
    begin_jobs(r);
}

/* --- publishing ---------------------------------------------------------- */

static void on_stored(void *ctx, const struct bus_stored *stored,
                      const struct err *e);

/* Publishes r->buf until it is stored; the job waits for it. */
static void
publish(struct routing *j, const char *subject, const char *id)
{
    struct router *r = j->router;
    struct bus_publication p = {.subject = subject,
                                .id = id,
                                .data = str_text(&r->buf),
                                .len = r->buf.len,
                                .expect = BUS_ANY_REVISION};

    j->waits++;
    bus_publish_until(r->bus, &p, on_stored, j);
}

static void
publish_rejection(struct routing *j, const char *reason)
{
    char subject[SUBJECT_SIZE], id[ID_SIZE];
    struct result result;

    j->who.reason = reason;
    admission_rejection(&j->who, str_wall_ms(), &result);
    str_reset(&j->router->buf);
    codec_encode(CODEC_RESULT, &result, &j->router->buf);
    (void)snprintf(id, sizeof id, "%s:0", j->who.id);
    publish(j, subject_result(subject, "router", j->who.source), id);
}

static void
publish_dead_letter(struct routing *j, const char *reason)
{
    const struct bus_msg *m = j->of->msg;
    struct router *r = j->router;
    char subject[SUBJECT_SIZE], id[ID_SIZE];
    size_t room = bus_max_payload(r->bus) / 2;
    struct dead_letter letter;

    if (room > PAYLOAD_MAX)
        room = PAYLOAD_MAX;
    codec_init(CODEC_DEAD_LETTER, &letter);
    letter.process = "router";
    letter.subject = m->subject;
    letter.reason = reason;
    letter.stream_seq = m->seq;
    letter.payload.data = j->data.len ? j->data.data : NULL;
    letter.payload.len = j->data.len < room ? j->data.len : room;
    letter.payload_bytes = j->data.len;
    letter.at_ms = str_wall_ms();
    letter.task = j->who.id;
    str_reset(&r->buf);
    codec_encode(CODEC_DEAD_LETTER, &letter, &r->buf);
    if (j->number)
        (void)snprintf(id, sizeof id, "router:%" PRIu64 ".%zu", m->seq,
                       j->number);
    else
        (void)snprintf(id, sizeof id, "router:%" PRIu64, m->seq);
    publish(j, subject_dead(subject, "router"), id);
}

/* Refuses the task for good, and tells whoever waits for it. A message that
 * could not be understood is kept as a dead letter as well. */
static void
refuse(struct routing *j, enum admission_verdict verdict, const char *reason)
{
    log_warn(verdict == ADMIT_DEAD ? "router.dead_letter" : "router.rejected",
             "task=%s seq=%" PRIu64 " reason=\"%s\"", j->who.id,
             j->of->msg->seq, LOG_TEXT(reason));
    j->waits++; /* held until both are under way */
    if (verdict == ADMIT_DEAD)
        publish_dead_letter(j, reason);
    if (*j->who.id)
        publish_rejection(j, reason);
    if (--j->waits == 0)
        job_done(j);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct routing *j = ctx;

    (void)stored; /* a duplicate is as good: it is there */
    FAILPOINT("router.after_publish");
    j->waits--;
    if (e && j->routed) {
        /* Only what trying again cannot help comes here: too large. */
        j->routed = false;
        refuse(j, ADMIT_DEAD, e->msg);
        return;
    }
    if (e)
        log_error("router.unpublishable",
                  "task=%s seq=%" PRIu64 " error=\"%s\"", j->who.id,
                  j->of->msg->seq, LOG_TEXT(e->msg));
    if (j->waits == 0)
        job_done(j);
}

/*
 * Tasks that came in one message leave so as well, where their lane's workers
 * say that it matters little who of them has which. Those of one parcel alone:
 * if it comes again, they are the same messages as before.
 */
static bool
may_bundle(const struct routing *j, const struct decision *d)
{
    return j->of->many &&
           worker_registry_has_short_runs(j->router->fleet, d->backend, d->lane,
                                          loop_now_ms());
}

static void
route(struct routing *j, struct admission *verdict)
{
    struct router *r = j->router;
    const struct decision *d = &verdict->decision;
    struct routed_task routed = {.task = &verdict->task,
                                 .decision = &verdict->decision};
    char subject[SUBJECT_SIZE], id[ID_SIZE];

    if (log_enabled(LOG_DEBUG))
        log_debug("router.decided", "task=%s backend=%s lane=%s rule=%s",
                  verdict->id, d->backend, d->lane, d->rule);
    str_reset(&r->buf);
    codec_encode(CODEC_ROUTED_TASK, &routed, &r->buf);
    (void)snprintf(id, sizeof id, "%s:r", verdict->id);
    (void)subject_task(subject, d->backend, d->lane);
    j->routed = true;
    if (may_bundle(j, d)) {
        j->waits++;
        multi_publisher_add(r->bundles, subject, id, &r->buf, j);
    } else {
        publish(j, subject, id);
    }
}

/* --- intake -------------------------------------------------------------- */

static void
gather_facts(struct router *r, struct routing_facts *out)
{
    worker_registry_facts(r->fleet, loop_now_ms(), out);
    out->codespace_configured = r->has_codespace;
    out->secutools_configured = r->has_secutools;
}

static void
carry_out(struct routing *j, struct admission *verdict)
{
    memcpy(j->who.id, verdict->id, sizeof j->who.id);
    memcpy(j->who.source, verdict->source, sizeof j->who.source);
    memcpy(j->who.batch, verdict->batch, sizeof j->who.batch);
    switch (verdict->verdict) {
    case ADMIT_ROUTE:
        route(j, verdict);
        break;
    case ADMIT_LEAVE:
        log_debug("router.left", "task=%s", verdict->id);
        job_done(j);
        break;
    case ADMIT_REJECT:
    case ADMIT_DEAD:
        refuse(j, verdict->verdict, verdict->reason);
        break;
    }
}

/* Whether it goes elsewhere, or nowhere, for want of a worker that only was
 * not heard yet. */
static bool
is_premature(const struct router *r, const struct admission *verdict)
{
    return r->roll && verdict->decision.wanted && *verdict->decision.wanted;
}

/* false: not yet. */
static bool
begin_job(struct router *r, struct inbound_msg *d,
          const struct routing_facts *facts, struct bytes data, size_t number)
{
    struct inbound a = {.data = data.data,
                        .len = data.len,
                        .id = d->msg->id,
                        .seq = d->msg->seq,
                        .delivered = d->msg->delivered,
                        .stored_at_ms = d->msg->stored_at_ms};
    struct admission verdict;
    struct routing *j;

    if (number) {
        a.id = "";
        a.number = number;
        a.message = (struct bytes){d->msg->data, d->msg->len};
        a.message_id = d->id;
    }
    mem_pool_reset(r->pool);
    admit(&a, &r->rules, facts, str_wall_ms(), r->pool, &verdict);
    if (is_premature(r, &verdict))
        return false;
    j = job_new(r, d);
    j->data = data;
    j->number = number;
    carry_out(j, &verdict);
    return true;
}

/* The message of many as a whole is not understood: the tasks in it have no
 * names, so that there is nobody to tell. */
static void
refuse_whole(struct router *r, struct inbound_msg *d, const char *reason)
{
    struct routing *j = job_new(r, d);

    j->data = (struct bytes){d->msg->data, d->msg->len};
    refuse(j, ADMIT_DEAD, reason);
}

/* Takes a message of many apart; false: it is none. */
static bool
look_into(struct router *r, struct inbound_msg *d)
{
    struct err e = {0};

    if (admission_is_poison(d->msg->delivered))
        err_set(&e, ERR_INVALID, ADMISSION_POISON, d->msg->delivered);
    else if (codec_bulk_open(&d->tasks, CODEC_TASKS, d->msg->data, d->msg->len,
                             &e) == 0)
        d->looked_at = true;
    if (!d->looked_at)
        refuse_whole(r, d, e.msg);
    return d->looked_at;
}

enum begun { BEGUN_MORE, BEGUN_LAST, BEGUN_LATER };

/* Begins the next task of d, and says whether there are more. */
static enum begun
begin_next(struct router *r, struct inbound_msg *d,
           const struct routing_facts *facts)
{
    struct bytes data = {d->msg->data, d->msg->len};
    struct codec_bulk before;

    if (!d->many)
        return begin_job(r, d, facts, data, 0) ? BEGUN_LAST : BEGUN_LATER;
    if (!d->looked_at && !look_into(r, d))
        return BEGUN_LAST;
    before = d->tasks;
    if (codec_bulk_next(&d->tasks, &data) &&
        !begin_job(r, d, facts, data, d->tasks.number)) {
        d->tasks = before;
        return BEGUN_LATER;
    }
    return d->tasks.number < d->tasks.count ? BEGUN_MORE : BEGUN_LAST;
}

/* Begins tasks in their order while there is room. What was delivered and does
 * not fit waits as it came, so that a message of a thousand tasks takes no more
 * memory than it has bytes. */
static void
begin_jobs(struct router *r)
{
    struct routing_facts facts;

    if (r->beginning || r->at == &r->parcels)
        return;
    r->beginning = true;
    gather_facts(r, &facts);
    while (r->at != &r->parcels && r->n_jobs < (size_t)r->conf->window) {
        struct inbound_msg *d = r->at;

        enum begun begun = begin_next(r, d, &facts);

        if (begun == BEGUN_LATER)
            break;
        if (begun == BEGUN_MORE)
            continue;
        multi_publisher_flush(r->bundles);
        r->at = d->next;
        parcel_release(r, d);
    }
    /* With the window full, those that are stored next make room for others of
     * the same bundle, if there are any. */
    if (r->n_jobs < (size_t)r->conf->window ||
        r->n_jobs == multi_publisher_pending(r->bundles))
        multi_publisher_flush(r->bundles);
    r->beginning = false;
}

static void
on_message(void *ctx, struct bus_msg *m)
{
    struct router *r = ctx;
    struct inbound_msg *d;

    FAILPOINT("router.after_fetch");
    r->worked = true;
    if (m->delivered > 1 && in_hand(r, m->seq)) {
        /* Settling this one would settle the other, before it is stored. */
        bus_msg_drop(m);
        return;
    }
    d = parcel_new(r, m);
    if (r->at == &r->parcels)
        r->at = d;
    begin_jobs(r);
}

/* Whether a heartbeat speaks of the worker whose subject it came on: the
 * broker's permissions guard the subject, not the content. */
static bool
speaks_of_itself(const struct bus_note *note, const struct heartbeat *hb)
{
    char backend[SUBJECT_TOKEN_MAX + 1], worker[SUBJECT_TOKEN_MAX + 1];

    return subject_token_at(note->subject, 1, backend) &&
           subject_token_at(note->subject, 2, worker) &&
           strcmp(backend, hb->backend) == 0 && strcmp(worker, hb->worker) == 0;
}

static void
on_heartbeat(void *ctx, const struct bus_note *note)
{
    struct router *r = ctx;
    struct heartbeat hb;
    struct err e = {0};

    mem_pool_reset(r->pool);
    if (codec_decode(CODEC_HEARTBEAT, note->data, note->len, r->pool, &hb, &e) <
        0)
        log_debug("router.heartbeat", "subject=%s error=\"%s\"",
                  LOG_TEXT(note->subject), LOG_TEXT(e.msg));
    else if (speaks_of_itself(note, &hb))
        worker_registry_hear(r->fleet, &hb, loop_now_ms());
    if (r->roll)
        begin_jobs(r);
}

static void
on_roll_over(void *ctx)
{
    struct router *r = ctx;

    loop_timer_stop(r->roll);
    r->roll = NULL;
    begin_jobs(r);
}

static void
on_progress(void *ctx)
{
    struct router *r = ctx;

    for (struct inbound_msg *d = r->parcels.next; d != &r->parcels; d = d->next)
        bus_msg_progress(d->msg);
    /* What a backlog needed is given back when it is over. */
    if (r->worked) {
        r->trimmed = false;
    } else if (!r->trimmed) {
        r->trimmed = true;
        mem_trim();
    }
    r->worked = false;
}

static void
on_event(void *ctx, enum bus_event event, const char *text)
{
    struct router *r = ctx;

    switch (event) {
    case BUS_UP:
        log_info("router.bus_up", "url=%s", bus_url(r->bus));
        break;
    case BUS_DOWN:
        log_warn("router.bus_down", "url=%s text=\"%s\"", bus_url(r->bus),
                 LOG_TEXT(text));
        break;
    case BUS_DENIED:
        log_error("router.denied", "text=\"%s\"", LOG_TEXT(text));
        loop_stop(r->loop, 1);
        break;
    }
}

/* --- life ---------------------------------------------------------------- */

static bool
is_listed(char **list, const char *word)
{
    for (; list && *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

int
router_open(struct router **out, struct bus *b, struct loop *l,
            const struct router_conf *conf, struct err *e)
{
    struct router *r = MEM_NEW(struct router);

    r->bus = b;
    r->loop = l;
    r->conf = conf;
    r->parcels.prev = r->parcels.next = r->at = &r->parcels;
    r->jobs.prev = r->jobs.next = &r->jobs;
    r->bundles = multi_publisher_new(b, on_stored);
    r->kept = mem_pool_new();
    r->pool = mem_pool_new();
    r->fleet = worker_registry_new();
    r->has_codespace = is_listed(conf->backends, "codespace");
    r->has_secutools = is_listed(conf->backends, "secutools");
    r->rules = (struct router_rules){&r->policy, conf->lanes};
    if (setup_check(conf, e) < 0 ||
        setup_policy(conf, r->kept, &r->policy, e) < 0 ||
        bus_subscribe(b, SUBJECT_HEARTBEATS, on_heartbeat, r, &r->heartbeats,
                      e) < 0 ||
        bus_consume(b, "TASKS_IN", "router", on_message, r, &r->consumer, e) <
            0) {
        router_close(r);
        return -1;
    }
    bus_publish_core(b, SUBJECT_ROLL, "", 0);
    r->roll = loop_timer_start(l, ROLL_MS, 0, on_roll_over, r);
    r->progress = loop_timer_start(l, PROGRESS_MS, PROGRESS_MS, on_progress, r);
    bus_on_event(b, on_event, r);
    bus_consumer_window(r->consumer, (unsigned)conf->window);
    *out = r;
    return 0;
}

/* Between two messages: what was decided before is encoded already. */
void
router_reload(void *router)
{
    struct router *r = router;
    struct mem_pool *pool = mem_pool_new();
    struct policy policy;
    struct err e = {0};

    if (setup_policy(r->conf, pool, &policy, &e) < 0) {
        log_error("policy.refused", "error=\"%s\" in_force=%s", LOG_TEXT(e.msg),
                  LOG_TEXT(r->policy.version));
        mem_pool_free(pool);
        return;
    }
    log_info("policy.reloaded", "version=%s before=%s",
             LOG_TEXT(policy.version), LOG_TEXT(r->policy.version));
    mem_pool_free(r->kept);
    r->kept = pool;
    r->policy = policy;
}

static void
on_deadline(void *ctx)
{
    struct router *r = ctx;

    log_warn("router.drain", "text=\"not everything could be stored; it will "
                             "be delivered again\"");
    loop_stop(r->loop, 0);
}

void
router_drain(void *router, int nth)
{
    struct router *r = router;

    r->draining = true;
    bus_consumer_window(r->consumer, 0);
    if (nth > 1 || r->parcels.next == &r->parcels) {
        loop_stop(r->loop, 0);
        return;
    }
    r->deadline =
        loop_timer_start(r->loop, r->conf->drain_timeout_ms, 0, on_deadline, r);
}

void
router_close(struct router *r)
{
    if (!r)
        return;
    bus_on_event(r->bus, NULL, NULL);
    loop_timer_stop(r->progress);
    loop_timer_stop(r->roll);
    loop_timer_stop(r->deadline);
    while (r->jobs.next != &r->jobs) {
        bus_forget(r->bus, r->jobs.next);
        job_free(r->jobs.next);
    }
    multi_publisher_free(r->bundles);
    while (r->parcels.next != &r->parcels) {
        /* To another router now rather than after the ack wait; what was on
         * its way already is the same message to the broker. */
        bus_msg_retry(r->parcels.next->msg, HAND_BACK_MS);
        parcel_free(r->parcels.next);
    }
    bus_consumer_close(r->consumer);
    bus_unsubscribe(r->heartbeats);
    worker_registry_free(r->fleet);
    str_free(&r->buf);
    mem_pool_free(r->pool);
    mem_pool_free(r->kept);
    mem_free(r);
}
