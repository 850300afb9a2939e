#include "router/router.h"

#include "lib/codec.h"
#include "lib/crash.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/str.h"
#include "router/fleet.h"
#include "router/judge.h"
#include "router/setup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    /* A message in hand is kept ours well within the ack wait of 30 s, so that
     * an outage of the stream we publish to does not count as deliveries. */
    PROGRESS_MS = 10000,
    HAND_BACK_MS = 100,
    PAYLOAD_MAX = 512 * 1024, /* of the original, in a dead letter */
    ID_SIZE = TASK_ID_SIZE + 32,
};

/* A message whose consequences are on their way to the broker. */
struct job {
    struct job *prev, *next;
    struct router *router;
    struct bus_msg *msg;
    unsigned waits;       /* publications not yet stored */
    bool routed;          /* the one waited for is the routed task */
    struct judgement who; /* id, source and batch; no task */
};

struct router {
    struct bus *bus;
    struct loop *loop;
    const struct router_conf *conf;
    struct policy policy;
    struct rules_of_house rules;
    struct mem_pool *kept; /* the policy's strings */
    struct mem_pool *pool; /* of the message at hand */
    struct str buf;        /* what is about to be published */
    struct fleet *fleet;
    bool has_codespace, has_secutools; /* by configuration */
    struct bus_consumer *consumer;
    struct bus_sub *heartbeats;
    struct loop_timer *progress, *deadline;
    struct job jobs; /* head of the ring of jobs in hand */
    bool worked;     /* since the last look at the time */
    bool trimmed;    /* since it worked */
    bool draining;
};

/* --- jobs ---------------------------------------------------------------- */

static struct job *
job_new(struct router *r, struct bus_msg *m)
{
    struct job *j = MEM_NEW(struct job);

    j->router = r;
    j->msg = m;
    j->prev = r->jobs.prev;
    j->next = &r->jobs;
    j->prev->next = j;
    j->next->prev = j;
    return j;
}

static void
job_free(struct job *j)
{
    j->prev->next = j->next;
    j->next->prev = j->prev;
    mem_free(j);
}

/* Everything it stands for is stored: only now may the broker forget it. */
static void
job_done(struct job *j)
{
    struct router *r = j->router;

    bus_msg_done(j->msg);
    CRASH_POINT("router.after_ack");
    job_free(j);
    if (r->draining && r->jobs.next == &r->jobs)
        loop_stop(r->loop, 0);
}

static bool
in_hand(const struct router *r, uint64_t seq)
{
    for (const struct job *j = r->jobs.next; j != &r->jobs; j = j->next)
        if (j->msg->seq == seq)
            return true;
    return false;
}

/* --- publishing ---------------------------------------------------------- */

static void on_stored(void *ctx, const struct bus_stored *stored,
                      const struct err *e);

/* Publishes r->buf until it is stored; the job waits for it. */
static void
publish(struct job *j, const char *subject, const char *id)
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
publish_rejection(struct job *j, const char *reason)
{
    char subject[SUBJECT_SIZE], id[ID_SIZE];
    struct result result;

    j->who.reason = reason;
    judge_rejection(&j->who, str_wall_ms(), &result);
    str_reset(&j->router->buf);
    codec_encode(CODEC_RESULT, &result, &j->router->buf);
    (void)snprintf(id, sizeof id, "%s:0", j->who.id);
    publish(j, subject_result(subject, "router", j->who.source), id);
}

static void
publish_dead_letter(struct job *j, const char *reason)
{
    const struct bus_msg *m = j->msg;
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
    letter.payload.data = m->len ? m->data : NULL;
    letter.payload.len = m->len < room ? m->len : room;
    letter.payload_bytes = m->len;
    letter.at_ms = str_wall_ms();
    letter.task = j->who.id;
    str_reset(&r->buf);
    codec_encode(CODEC_DEAD_LETTER, &letter, &r->buf);
    (void)snprintf(id, sizeof id, "router:%" PRIu64, m->seq);
    publish(j, subject_dead(subject, "router"), id);
}

/* Refuses the task for good, and tells whoever waits for it. A message that
 * could not be understood is kept as a dead letter as well. */
static void
refuse(struct job *j, enum verdict verdict, const char *reason)
{
    log_warn(verdict == VERDICT_DEAD ? "router.dead_letter" : "router.rejected",
             "task=%s seq=%" PRIu64 " reason=\"%s\"", j->who.id, j->msg->seq,
             LOG_TEXT(reason));
    j->waits++; /* held until both are under way */
    if (verdict == VERDICT_DEAD)
        publish_dead_letter(j, reason);
    if (*j->who.id)
        publish_rejection(j, reason);
    if (--j->waits == 0)
        job_done(j);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct job *j = ctx;

    (void)stored; /* a duplicate is as good: it is there */
    CRASH_POINT("router.after_publish");
    j->waits--;
    if (e && j->routed) {
        /* Only what trying again cannot help comes here: too large. */
        j->routed = false;
        refuse(j, VERDICT_DEAD, e->msg);
        return;
    }
    if (e)
        log_error("router.unpublishable",
                  "task=%s seq=%" PRIu64 " error=\"%s\"", j->who.id,
                  j->msg->seq, LOG_TEXT(e->msg));
    if (j->waits == 0)
        job_done(j);
}

static void
route(struct job *j, struct judgement *verdict)
{
    struct router *r = j->router;
    struct routed_task routed = {.task = &verdict->task,
                                 .decision = &verdict->decision};
    char subject[SUBJECT_SIZE], id[ID_SIZE];

    if (log_enabled(LOG_DEBUG))
        log_debug("router.decided", "task=%s backend=%s lane=%s rule=%s",
                  verdict->id, verdict->decision.backend,
                  verdict->decision.lane, verdict->decision.rule);
    str_reset(&r->buf);
    codec_encode(CODEC_ROUTED_TASK, &routed, &r->buf);
    (void)snprintf(id, sizeof id, "%s:r", verdict->id);
    j->routed = true;
    publish(j,
            subject_task(subject, verdict->decision.backend,
                         verdict->decision.lane),
            id);
}

/* --- intake -------------------------------------------------------------- */

static void
gather_facts(struct router *r, struct facts *out)
{
    fleet_facts(r->fleet, loop_now_ms(), out);
    out->codespace_configured = r->has_codespace;
    out->secutools_configured = r->has_secutools;
}

static void
carry_out(struct router *r, struct bus_msg *m, struct judgement *verdict)
{
    struct job *j = job_new(r, m);

    memcpy(j->who.id, verdict->id, sizeof j->who.id);
    memcpy(j->who.source, verdict->source, sizeof j->who.source);
    memcpy(j->who.batch, verdict->batch, sizeof j->who.batch);
    switch (verdict->verdict) {
    case VERDICT_ROUTE:
        route(j, verdict);
        break;
    case VERDICT_LEAVE:
        log_debug("router.left", "task=%s", verdict->id);
        job_done(j);
        break;
    case VERDICT_REJECT:
    case VERDICT_DEAD:
        refuse(j, verdict->verdict, verdict->reason);
        break;
    }
}

static void
on_message(void *ctx, struct bus_msg *m)
{
    struct router *r = ctx;
    struct arrival a = {.data = m->data,
                        .len = m->len,
                        .id = m->id,
                        .seq = m->seq,
                        .delivered = m->delivered,
                        .stored_at_ms = m->stored_at_ms};
    struct judgement verdict;
    struct facts facts;

    CRASH_POINT("router.after_fetch");
    r->worked = true;
    if (m->delivered > 1 && in_hand(r, m->seq)) {
        /* Settling this one would settle the other, before it is stored. */
        bus_msg_drop(m);
        return;
    }
    mem_pool_reset(r->pool);
    gather_facts(r, &facts);
    judge(&a, &r->rules, &facts, str_wall_ms(), r->pool, &verdict);
    carry_out(r, m, &verdict);
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
        fleet_hear(r->fleet, &hb, loop_now_ms());
}

static void
on_progress(void *ctx)
{
    struct router *r = ctx;

    for (struct job *j = r->jobs.next; j != &r->jobs; j = j->next)
        bus_msg_progress(j->msg);
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
    r->jobs.prev = r->jobs.next = &r->jobs;
    r->kept = mem_pool_new();
    r->pool = mem_pool_new();
    r->fleet = fleet_new();
    r->has_codespace = is_listed(conf->backends, "codespace");
    r->has_secutools = is_listed(conf->backends, "secutools");
    r->rules = (struct rules_of_house){&r->policy, conf->lanes};
    if (setup_check(conf, e) < 0 ||
        setup_policy(conf, r->kept, &r->policy, e) < 0 ||
        bus_subscribe(b, SUBJECT_HEARTBEATS, on_heartbeat, r, &r->heartbeats,
                      e) < 0 ||
        bus_consume(b, "TASKS_IN", "router", on_message, r, &r->consumer, e) <
            0) {
        router_close(r);
        return -1;
    }
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
    if (nth > 1 || r->jobs.next == &r->jobs) {
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
    loop_timer_stop(r->deadline);
    while (r->jobs.next != &r->jobs) {
        struct job *j = r->jobs.next;

        bus_forget(r->bus, j);
        /* To another router now rather than after the ack wait; what was on
         * its way already is the same message to the broker. */
        bus_msg_retry(j->msg, HAND_BACK_MS);
        job_free(j);
    }
    bus_consumer_close(r->consumer);
    bus_unsubscribe(r->heartbeats);
    fleet_free(r->fleet);
    str_free(&r->buf);
    mem_pool_free(r->pool);
    mem_pool_free(r->kept);
    mem_free(r);
}
