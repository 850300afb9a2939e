/*
 * Opens a worker on its lanes and wires its files together. What happens to an
 * attempt is lifecycle.c's; here is what concerns all of them: cancels and
 * pauses that are published, the broker's coming and going, the timer of
 * renewals and heartbeats, and the drain.
 */
#include "workers/core/worker.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/cancels.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/bus/lane_pause.h"
#include "lib/model/control_msg.h"
#include "workers/core/attempt.h"
#include "workers/core/capacity.h"
#include "workers/core/claims_room.h"
#include "workers/core/delivery.h"
#include "workers/core/heartbeat.h"
#include "workers/core/lifecycle.h"
#include "workers/core/run.h"
#include "workers/core/spool_replay.h"

#include <string.h>
#include <unistd.h>

enum {
    LAST_RESORT_MS = 10000, /* after the grace: stop without them */
    KILLED_MS = 5000,       /* the same after a second TERM */
    GAP_MS = 2000, /* so late, the loop was not only busy: it was suspended */
    GAP_PERIOD_MS = 5000,
    CROWD = 256, /* attempts; the claims of more are renewed in parts */
    CROWD_PARTS = 16,
};

/* --- events --------------------------------------------------------------- */

/* A task that is not in hand is looked up when it has been claimed. */
static void
on_cancel(void *ctx, const struct control *c)
{
    struct worker *w = ctx;
    struct attempt *a = hash_table_find(&w->tasks, c->task);

    if (a)
        run_cancel_requested(a, c);
}

static bool
read_control(struct worker *w, const struct bus_note *note, const char *verb,
             struct control *out)
{
    struct err e;

    mem_pool_reset(w->scratch_pool);
    if (control_msg_read(note->data, note->len, verb, w->scratch_pool, out,
                         &e) == 0)
        return true;
    log_warn("control.refused", "subject=%s error=\"%s\"",
             LOG_TEXT(note->subject), LOG_TEXT(e.msg));
    return false;
}

static void
on_drain(void *ctx, const struct bus_note *note)
{
    struct worker *w = ctx;
    struct control c;

    if (!read_control(w, note, CONTROL_DRAIN, &c))
        return;
    if (strcmp(c.worker, w->name) != 0) {
        log_warn("control.refused", "subject=%s error=\"it is for worker %s\"",
                 LOG_TEXT(note->subject), c.worker);
        return;
    }
    log_info("worker.drain", "by=\"%s\" reason=\"%s\"", LOG_TEXT(c.by),
             LOG_TEXT(c.reason));
    worker_drain(w, 1);
}

static void
on_roll_call(void *ctx, const struct bus_note *note)
{
    struct control c;

    if (read_control(ctx, note, CONTROL_ROLL, &c))
        heartbeat_answer_roll_call(ctx);
}

static void
on_pauses(void *ctx)
{
    struct worker *w = ctx;

    for (size_t i = 0; i < w->n_lanes; i++) {
        struct lane *lane = &w->lanes[i];
        const struct lane_pause *p =
            lane_pauses_find(w->pauses, w->ex->name, lane->name, str_wall_ms());

        if (lane->paused != (p != NULL))
            log_info("worker.lane", "lane=%s paused=%s reason=\"%s\"",
                     lane->name, p ? "yes" : "no",
                     p ? LOG_TEXT(p->reason) : "");
        lane->paused = p != NULL;
    }
    capacity_set_windows(w, NULL);
}

static void
on_bus(void *ctx, enum bus_event event, const char *text)
{
    struct worker *w = ctx;

    switch (event) {
    case BUS_UP:
        log_info("bus.up", "url=%s", bus_url(w->bus));
        lane_pauses_refresh(w->pauses);
        cancels_refresh(w->cancels);
        spool_replay_start(w);
        return;
    case BUS_DOWN:
        log_warn("bus.down", "url=%s", bus_url(w->bus));
        return;
    case BUS_DENIED:
        log_error("bus.denied", "error=\"%s\"", LOG_TEXT(text));
        return;
    case BUS_CLOSED:
        log_error("bus.closed", "error=\"%s\"", LOG_TEXT(text));
        loop_stop(w->loop, 1);
        return;
    }
}

/* Claims are renewed at once; the heartbeat goes with them. */
static void
on_gap(void *ctx, int64_t stopped_ms, int64_t slept_ms)
{
    struct worker *w = ctx;

    log_warn("worker.suspended", "worker=%s ms=%lld running=%u", w->name,
             (long long)(stopped_ms + slept_ms), w->running);
    lifecycle_resume(w, stopped_ms, slept_ms);
    w->heartbeat_ms = 0;
    loop_timer_again(w->renewal, 0, 0);
}

/* --- drain --------------------------------------------------------------- */

static void
stop(void *worker)
{
    struct worker *w = worker;

    if (w->stopped)
        return;
    w->stopped = true;
    heartbeat_send(w);
    log_info("worker.stopped", "worker=%s left=%u", w->name, w->n_attempts);
    loop_stop(w->loop, 0);
}

static void
stop_if_drained(struct worker *w)
{
    if (w->draining && !delivery_is_any(w))
        stop(w);
}

static void
hand_back(struct worker *w, bool hard)
{
    lifecycle_hand_back(w, hard);
    stop_if_drained(w);
}

static void
set_drain_timer(struct worker *w, int64_t delay_ms, loop_fn *fn)
{
    loop_timer_stop(w->drain_timer);
    w->drain_timer = loop_timer_start(w->loop, delay_ms, 0, fn, w);
}

static void
on_drain_timeout(void *ctx)
{
    struct worker *w = ctx;

    log_info("worker.hand_back", "worker=%s running=%u", w->name, w->running);
    set_drain_timer(w, w->conf->grace_ms + LAST_RESORT_MS, stop);
    hand_back(w, false);
}

void
worker_drain(void *worker, int nth)
{
    struct worker *w = worker;

    if (nth > 1) {
        w->draining = true;
        set_drain_timer(w, KILLED_MS, stop);
        hand_back(w, true);
        return;
    }
    if (w->draining)
        return;
    w->draining = true;
    log_info("worker.draining", "worker=%s running=%u", w->name, w->running);
    for (size_t i = 0; i < w->n_lanes; i++)
        bus_consumer_window(w->lanes[i].consumer, 0);
    delivery_send_on_waiting(w);
    run_return_ready(w);
    heartbeat_send(w);
    set_drain_timer(w, w->conf->drain_timeout_ms, on_drain_timeout);
    stop_if_drained(w);
}

/* --- open and close ------------------------------------------------------ */

static unsigned
count_slots(const struct worker_conf *conf)
{
    long n = conf->slots ? (long)conf->slots : sysconf(_SC_NPROCESSORS_ONLN);

    return n > 0 ? (unsigned)n : 1;
}

static int
open_lane(struct worker *w, const char *name, struct err *e)
{
    struct lane *lane = &w->lanes[w->n_lanes];
    char durable[SUBJECT_SIZE];

    if (!subject_token_ok(name))
        return err_set(e, ERR_INVALID, "lane \"%s\" is not a valid name", name);
    lane->worker = w;
    lane->members = 1;
    (void)str_copy(lane->name, sizeof lane->name, name);
    (void)subject_lane_durable(durable, w->ex->name, name);
    if (jetstream_verify(w->bus, "TASKS", durable, e) < 0 ||
        bus_consume(w->bus, "TASKS", durable, delivery_on_message, lane,
                    &lane->consumer, e) < 0)
        return err_wrap(e, "lane %s", name);
    w->n_lanes++;
    return 0;
}

static int
open_bus(struct worker *w, struct err *e)
{
    static const char *const streams[] = {"RESULTS", "KV_claims", "KV_control",
                                          "LOGS", "DEAD"};
    char subject[SUBJECT_SIZE];
    size_t n = 0;

    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        if (jetstream_verify(w->bus, streams[i], NULL, e) < 0)
            return -1;
    while (w->conf->lanes[n])
        n++;
    if (n == 0)
        return err_set(e, ERR_INVALID, "a worker needs a lane");
    w->lanes = mem_zero(n, sizeof *w->lanes);
    for (size_t i = 0; i < n; i++)
        if (open_lane(w, w->conf->lanes[i], e) < 0)
            return -1;
    (void)subject_drain(subject, w->ex->name, w->name);
    if (cancels_open(&w->cancels, w->bus, w->loop, on_cancel, w, e) < 0 ||
        bus_subscribe(w->bus, subject, on_drain, w, &w->drains, e) < 0 ||
        bus_subscribe(w->bus, SUBJECT_ROLL, on_roll_call, w, &w->rolls, e) < 0)
        return -1;
    return lane_pauses_open(&w->pauses, w->bus, w->loop, on_pauses, w, e);
}

/* Many claims are renewed in parts, each when it is its time: all at once they
 * would hold up whatever else the broker has to do. */
static void
on_renewal(void *ctx)
{
    struct worker *w = ctx;
    int64_t now = loop_now_ms();
    int64_t pause_ms =
        w->n_attempts > CROWD ? w->renew_ms / CROWD_PARTS : w->renew_ms;

    if (w->running == 0)
        loop_gap_period(w->loop, w->gap_period_ms);
    lifecycle_renew(w, pause_ms);
    if (now - w->heartbeat_ms >= w->renew_ms - pause_ms / 2) {
        w->heartbeat_ms = now;
        heartbeat_send(w);
    }
    loop_timer_again(w->renewal, pause_ms, 0);
}

static int64_t
least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int
worker_open(struct worker **out, struct bus *b, struct loop *l,
            const struct worker_conf *conf, const struct state_dir *dir,
            const struct executor *ex, void *ex_ctx, struct err *e)
{
    struct worker *w = MEM_NEW(struct worker);

    w->bus = b;
    w->loop = l;
    w->conf = conf;
    w->state_dir = dir;
    w->ex = ex;
    w->ex_ctx = ex_ctx;
    (void)str_copy(w->name, sizeof w->name, state_dir_name(dir));
    w->slots = count_slots(conf);
    w->renew_ms = lease_renew_ms(conf->lease_ms);
    w->fence_ms = lease_fence_ms(conf->lease_ms);
    w->scratch_pool = mem_pool_new();
    heartbeat_open(w);
    claims_room_open(w);
    lifecycle_open(w, stop_if_drained);
    w->begin = loop_hook_start(l, delivery_begin_waiting, w);
    if (open_bus(w, e) < 0) {
        worker_close(w);
        return -1;
    }
    bus_on_event(b, on_bus, w);
    w->renewal = loop_timer_start(l, w->renew_ms, 0, on_renewal, w);
    /* A stop that outdates a lease is longer than the two together. */
    w->gap_period_ms = least(GAP_PERIOD_MS, w->renew_ms / 2);
    loop_on_gap(l, least(GAP_MS, w->fence_ms / 4), on_gap, w);
    loop_gap_period(l, w->gap_period_ms);
    spool_replay_start(w);
    heartbeat_send(w); /* it takes tasks once on_pauses was called */
    log_info("worker.ready", "worker=%s backend=%s slots=%u lanes=%zu", w->name,
             ex->name, w->slots, w->n_lanes);
    *out = w;
    return 0;
}

void
worker_close(struct worker *w)
{
    if (!w)
        return;
    w->draining = w->stopped = true; /* nothing starts or stops any more */
    for (size_t i = 0; i < w->n_lanes; i++)
        bus_consumer_close(w->lanes[i].consumer);
    bus_unsubscribe(w->drains);
    bus_unsubscribe(w->rolls);
    lane_pauses_close(w->pauses);
    w->pauses = NULL;
    loop_hook_stop(w->begin);
    spool_replay_stop(w);
    lifecycle_close(w);
    cancels_close(w->cancels);
    heartbeat_close(w);
    claims_room_close(w);
    bus_forget(w->bus, w);
    loop_on_gap(w->loop, 0, NULL, NULL);
    loop_timer_stop(w->renewal);
    loop_timer_stop(w->drain_timer);
    str_free(&w->scratch);
    mem_pool_free(w->scratch_pool);
    mem_free(w->lanes);
    mem_free(w);
}
