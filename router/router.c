/*
 * Consumes TASKS_IN: each message is admitted task by task (admission.c), what
 * follows is published (dispatch.c), and the message is acknowledged once all
 * of it is stored. At most router.window tasks are in progress; messages beyond
 * that wait undecoded.
 */
#include "router/router.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/cancels.h"
#include "lib/bus/control_send.h"
#include "lib/model/codec.h"
#include "router/admission.h"
#include "router/dispatch.h"
#include "router/worker_registry.h"

#include <string.h>
#include <sys/queue.h>

enum {
    /* Well within the ack wait of 30 s, so that an outage of the stream we
     * publish to does not count as deliveries. */
    PROGRESS_MS = 10000,
    /* How long after the roll call a worker may answer. */
    ROLL_CALL_MS = 500,
    HAND_BACK_MS = 100,
    GAP_MS = 2000, /* so late, we were not only busy: we were suspended */
};

/* A message of one or several tasks. It is acknowledged when all that follows
 * from each of them has been stored. */
struct inbound_msg {
    TAILQ_ENTRY(inbound_msg) link;
    struct router *router;
    struct bus_msg *msg;
    struct codec_multi tasks; /* of a multi-task message, once opened */
    bool multi, opened;
    char id[TASK_ID_SIZE]; /* of a multi-task message, see struct inbound */
    size_t pending; /* tasks in progress; one more until all have begun */
};

struct router {
    struct bus *bus;
    struct loop *loop;
    const struct router_conf *conf;
    struct policy policy;
    struct router_rules rules;
    struct mem_pool *policy_pool;
    struct mem_pool *pool; /* for one message at a time */
    struct worker_registry *workers;
    struct cancels *cancels;
    bool has_codespace, has_secutools; /* by configuration */
    struct bus_consumer *consumer;
    struct bus_sub *heartbeats;
    struct loop_hook *begin;
    struct loop_timer *progress, *deadline;
    struct loop_timer *roll_call; /* runs while workers may still answer it */
    TAILQ_HEAD(, inbound_msg) messages; /* unacknowledged */
    struct inbound_msg *next_msg;  /* the first with tasks left; NULL: none */
    struct dispatcher *dispatcher; /* the tasks in progress */
    bool beginning;                /* begin_tasks is on the stack */
    bool worked;                   /* since the last on_progress */
    bool trimmed;                  /* since it worked */
    bool draining;
};

/* --- messages ------------------------------------------------------------ */

static struct inbound_msg *
msg_new(struct router *r, struct bus_msg *m)
{
    struct inbound_msg *d = MEM_NEW(struct inbound_msg);

    d->router = r;
    d->msg = m;
    d->multi = strcmp(m->subject, SUBJECT_TASKS_BULK) == 0;
    d->pending = 1;
    TAILQ_INSERT_TAIL(&r->messages, d, link);
    return d;
}

static void
msg_free(struct inbound_msg *d)
{
    TAILQ_REMOVE(&d->router->messages, d, link);
    if (d->multi && d->opened)
        codec_multi_close(&d->tasks);
    mem_free(d);
}

/* Acknowledges the message once everything that follows from it is stored. */
static void
msg_release(struct inbound_msg *d)
{
    struct router *r = d->router;

    if (--d->pending > 0)
        return;
    bus_msg_done(d->msg);
    FAILPOINT("router.after_ack");
    msg_free(d);
    if (r->draining && TAILQ_EMPTY(&r->messages))
        loop_stop(r->loop, 0);
}

static bool
is_known(const struct router *r, uint64_t seq)
{
    const struct inbound_msg *d;

    TAILQ_FOREACH (d, &r->messages, link)
        if (d->msg->seq == seq)
            return true;
    return false;
}

static void begin_tasks(void *router);

/* All messages about one task of m are stored. */
static void
on_dispatched(void *ctx)
{
    struct inbound_msg *d = ctx;
    struct router *r = d->router;

    msg_release(d);
    begin_tasks(r);
}

/* --- intake -------------------------------------------------------------- */

/* false: not yet. */
static bool
begin_task(struct router *r, struct inbound_msg *d,
           const struct routing_facts *facts, struct bytes data, size_t number)
{
    struct inbound in = {.data = data.data,
                         .len = data.len,
                         .id = d->msg->id,
                         .seq = d->msg->seq,
                         .delivered = d->msg->delivered,
                         .stored_at_ms = d->msg->stored_at_ms};
    struct admission a;

    if (number) {
        in.id = "";
        in.number = number;
        in.message = (struct bytes){d->msg->data, d->msg->len};
        in.message_id = d->id;
    }
    mem_pool_reset(r->pool);
    admit(&in, &r->rules, facts, str_wall_ms(), r->pool, &a);
    /* It would go elsewhere, or nowhere, for want of a worker that may merely
     * not have answered the roll call yet. */
    if (r->roll_call && a.decision.wanted && *a.decision.wanted)
        return false;
    d->pending++;
    dispatch(r->dispatcher, d->msg, data, number, &a, d);
    return true;
}

/* Opens a multi-task message; false: it is refused. */
static bool
open_message(struct router *r, struct inbound_msg *d)
{
    struct admission a = {.verdict = ADMIT_DEAD};
    struct err e = {0};

    if (admission_is_poison(d->msg->delivered))
        err_set(&e, ERR_INVALID, ADMISSION_POISON, d->msg->delivered);
    else if (codec_multi_open(&d->tasks, CODEC_TASKS, d->msg->data, d->msg->len,
                              &e) == 0)
        d->opened = true;
    if (d->opened)
        return true;
    /* The tasks in it have no names, so there is nobody to tell. */
    a.reason = e.msg;
    d->pending++;
    dispatch(r->dispatcher, d->msg, (struct bytes){d->msg->data, d->msg->len},
             0, &a, d);
    return false;
}

enum begun { BEGUN_MORE, BEGUN_LAST, BEGUN_LATER };

/* Begins the next task of d, and says whether there are more. */
static enum begun
begin_next(struct router *r, struct inbound_msg *d,
           const struct routing_facts *facts)
{
    struct bytes data = {d->msg->data, d->msg->len};
    struct codec_multi before;

    if (!d->multi)
        return begin_task(r, d, facts, data, 0) ? BEGUN_LAST : BEGUN_LATER;
    if (!d->opened && !open_message(r, d))
        return BEGUN_LAST;
    before = d->tasks;
    if (codec_multi_next(&d->tasks, &data) &&
        !begin_task(r, d, facts, data, d->tasks.number)) {
        d->tasks = before;
        return BEGUN_LATER;
    }
    return d->tasks.number < d->tasks.count ? BEGUN_MORE : BEGUN_LAST;
}

/* Begins tasks in order while the window allows. Further messages wait as they
 * arrived, so that one of a thousand tasks takes no more memory than it has
 * bytes. */
static void
begin_tasks(void *router)
{
    struct router *r = router;
    size_t window = (size_t)r->conf->window;
    struct routing_facts facts;

    if (r->beginning || !r->next_msg)
        return;
    r->beginning = true;
    worker_registry_facts(r->workers, loop_now_ms(), &facts);
    facts.codespace_configured = r->has_codespace;
    facts.secutools_configured = r->has_secutools;
    while (r->next_msg && dispatcher_count(r->dispatcher) < window) {
        struct inbound_msg *d = r->next_msg;
        enum begun begun = begin_next(r, d, &facts);

        if (begun == BEGUN_LATER)
            break;
        if (begun == BEGUN_MORE)
            continue;
        dispatcher_flush(r->dispatcher);
        r->next_msg = TAILQ_NEXT(d, link);
        msg_release(d);
    }
    /* With the window full, tasks that are stored next make room for others of
     * the message being collected, unless that is all there is. */
    if (dispatcher_count(r->dispatcher) < window ||
        dispatcher_count(r->dispatcher) == dispatcher_unsent(r->dispatcher))
        dispatcher_flush(r->dispatcher);
    r->beginning = false;
}

static void
on_message(void *ctx, struct bus_msg *m)
{
    struct router *r = ctx;
    struct inbound_msg *d;

    FAILPOINT("router.after_fetch");
    r->worked = true;
    if (m->delivered > 1 && is_known(r, m->seq)) {
        /* Acknowledging this delivery would acknowledge the message before
         * what follows from it is stored. */
        bus_msg_drop(m);
        return;
    }
    d = msg_new(r, m);
    if (!r->next_msg)
        r->next_msg = d; /* begun once all that has arrived is read: cancels */
}

static void
on_heartbeat(void *ctx, const struct bus_note *note)
{
    struct router *r = ctx;
    char backend[SUBJECT_TOKEN_MAX + 1];
    struct heartbeat hb;
    struct err e = {0};

    /* A gateway answers no roll call, and runs nothing. */
    if (subject_token_at(note->subject, 1, backend) &&
        strcmp(backend, HEARTBEAT_FOLDER) == 0)
        return;
    mem_pool_reset(r->pool);
    if (codec_decode(CODEC_HEARTBEAT, note->data, note->len, r->pool, &hb, &e) <
        0)
        log_debug("router.heartbeat", "subject=%s error=\"%s\"",
                  LOG_TEXT(note->subject), LOG_TEXT(e.msg));
    else if (subject_is_heartbeat_of(note->subject, hb.backend, hb.worker))
        worker_registry_update(r->workers, &hb, loop_now_ms());
    if (r->roll_call)
        begin_tasks(r);
}

static void
on_roll_call_over(void *ctx)
{
    struct router *r = ctx;

    loop_timer_stop(r->roll_call);
    r->roll_call = NULL;
    begin_tasks(r);
}

static void
on_progress(void *ctx)
{
    struct router *r = ctx;
    struct inbound_msg *d;

    TAILQ_FOREACH (d, &r->messages, link)
        bus_msg_progress(d->msg);
    /* Memory that a backlog needed is returned after it. */
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
        cancels_refresh(r->cancels);
        break;
    case BUS_DOWN:
        log_warn("router.bus_down", "url=%s text=\"%s\"", bus_url(r->bus),
                 LOG_TEXT(text));
        break;
    case BUS_DENIED:
        log_error("router.denied", "text=\"%s\"", LOG_TEXT(text));
        break;
    case BUS_CLOSED:
        log_error("router.closed", "text=\"%s\"", LOG_TEXT(text));
        loop_stop(r->loop, 1);
        break;
    }
}

/* --- configuration ------------------------------------------------------- */

int
router_conf_check(const struct router_conf *conf, struct err *e)
{
    for (char **p = conf->backends; p && *p; p++)
        if (!policy_is_backend(*p, strlen(*p)))
            return err_set(e, ERR_INVALID,
                           "router.backends: '%.60s' is not a backend; known "
                           "are local, codespace and secutools",
                           *p);
    for (char **p = conf->lanes; p && *p; p++)
        if (!policy_is_place(*p))
            return err_set(e, ERR_INVALID,
                           "bus.lanes: '%.60s' is not a lane; write "
                           "backend.lane, as in local.gpu",
                           *p);
    return 0;
}

int
router_conf_policy(const struct router_conf *conf, struct mem_pool *pool,
                   struct policy *out, struct err *e)
{
    if (policy_load(conf->policy, pool, out, e) == 0)
        return 0;
    return err_wrap(e, "router.policy");
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

/* Workers that were suspended with us are not gone. */
static void
on_gap(void *ctx, int64_t stopped_ms, int64_t slept_ms)
{
    struct router *r = ctx;

    log_warn("router.suspended", "ms=%lld", (long long)(stopped_ms + slept_ms));
    worker_registry_put_off(r->workers, stopped_ms);
}

int
router_open(struct router **out, struct bus *b, struct loop *l,
            const struct router_conf *conf, struct err *e)
{
    struct router *r = MEM_NEW(struct router);
    struct control roll;

    r->bus = b;
    r->loop = l;
    r->conf = conf;
    TAILQ_INIT(&r->messages);
    r->policy_pool = mem_pool_new();
    r->pool = mem_pool_new();
    r->workers = worker_registry_new();
    r->has_codespace = is_listed(conf->backends, "codespace");
    r->has_secutools = is_listed(conf->backends, "secutools");
    r->rules = (struct router_rules){&r->policy, conf->lanes};
    if (router_conf_check(conf, e) < 0 ||
        router_conf_policy(conf, r->policy_pool, &r->policy, e) < 0 ||
        cancels_open(&r->cancels, b, l, NULL, NULL, e) < 0 ||
        bus_subscribe(b, SUBJECT_HEARTBEATS, on_heartbeat, r, &r->heartbeats,
                      e) < 0 ||
        bus_consume(b, "TASKS_IN", "router", on_message, r, &r->consumer, e) <
            0) {
        router_close(r);
        return -1;
    }
    r->dispatcher = dispatcher_new(b, r->cancels, r->workers, on_dispatched);
    r->begin = loop_hook_start(l, begin_tasks, r);
    roll = control_msg_new(CONTROL_ROLL, "router");
    control_send(b, SUBJECT_ROLL, &roll);
    r->roll_call = loop_timer_start(l, ROLL_CALL_MS, 0, on_roll_call_over, r);
    r->progress = loop_timer_start(l, PROGRESS_MS, PROGRESS_MS, on_progress, r);
    loop_on_gap(l, GAP_MS, on_gap, r);
    bus_on_event(b, on_event, r);
    bus_consumer_window(r->consumer, (unsigned)conf->window);
    *out = r;
    return 0;
}

/* Runs between two messages: earlier decisions are encoded already. */
void
router_reload(void *router)
{
    struct router *r = router;
    struct mem_pool *pool = mem_pool_new();
    struct policy policy;
    struct err e = {0};

    if (router_conf_policy(r->conf, pool, &policy, &e) < 0) {
        log_error("policy.refused", "error=\"%s\" in_force=%s", LOG_TEXT(e.msg),
                  LOG_TEXT(r->policy.version));
        mem_pool_free(pool);
        return;
    }
    log_info("policy.reloaded", "version=%s before=%s",
             LOG_TEXT(policy.version), LOG_TEXT(r->policy.version));
    mem_pool_free(r->policy_pool);
    r->policy_pool = pool;
    r->policy = policy;
}

static void
on_deadline(void *ctx)
{
    struct router *r = ctx;

    log_warn("router.drain", "text=\"drain timed out: unsettled tasks will be "
                             "delivered again\"");
    loop_stop(r->loop, 0);
}

void
router_drain(void *router, int nth)
{
    struct router *r = router;

    r->draining = true;
    bus_consumer_window(r->consumer, 0);
    if (nth > 1 || TAILQ_EMPTY(&r->messages)) {
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
    loop_on_gap(r->loop, 0, NULL, NULL);
    loop_hook_stop(r->begin);
    loop_timer_stop(r->progress);
    loop_timer_stop(r->roll_call);
    loop_timer_stop(r->deadline);
    dispatcher_free(r->dispatcher);
    while (!TAILQ_EMPTY(&r->messages)) {
        /* Another router gets it now rather than after the ack wait; what is
         * being published already is the same message to the broker. */
        bus_msg_retry(TAILQ_FIRST(&r->messages)->msg, HAND_BACK_MS);
        msg_free(TAILQ_FIRST(&r->messages));
    }
    bus_consumer_close(r->consumer);
    bus_unsubscribe(r->heartbeats);
    worker_registry_free(r->workers);
    cancels_close(r->cancels);
    mem_pool_free(r->pool);
    mem_pool_free(r->policy_pool);
    mem_free(r);
}
