/*
 * Requests to cancel: who makes them, the news of them, and the two who end a
 * task in nobody's hands: the router before it is routed, the ledger before it
 * is claimed or between two attempts.
 */
#include "lib/bus/claims.h"
#include "lib/model/codec.h"
#include "tests/protocol_sim_world.h"

#include <string.h>

enum {
    PASS_MS = 5000,
    MARGIN_MS = 5000, /* as in lib/bus/claims.c */
    MINUTE_MS = 60 * 1000,
};

/* --- the request ---------------------------------------------------------- */

/* The key is stored: those who are connected hear of it, the others find out
 * that they were away. */
static void
store(struct sim *sim, int task)
{
    struct sim_truth *t = &sim->truth[task];

    sim_trace(sim, "cancel of %s", sim->ids[task]);
    if (!t->cancelled_ms) {
        t->cancelled_ms = sim->now_ms;
        sim->report->cancelled++;
    }
    sim->cancels[task] = true;
    for (int i = 0; i < SIM_WORKERS; i++) {
        struct sim_worker *w = &sim->workers[i];

        if (w->down)
            continue;
        if (sim->now_ms < w->cut_until_ms) {
            w->missed[task] = w->stale = true;
            continue;
        }
        sim_schedule(sim, sim_latency_ms(sim),
                     (struct sim_step){.kind = AT_NOTICE,
                                       .worker = i,
                                       .epoch = w->epoch,
                                       .task = task});
    }
    sim_notify_ledger(sim, AT_LEDGER_CANCEL, task, 0);
}

static void
ask_for_cancel(struct sim *sim, const struct sim_step *s)
{
    bool stored = !sim_broker_is_down(sim) && !sim_is_lost(sim, -1);

    if (stored)
        store(sim, s->task);
    if (!stored || sim_is_lost(sim, -1)) /* the PubAck */
        sim_schedule(sim, PUT_MS, *s);
}

/* --- in the name of router and ledger ------------------------------------- */

static struct sim_wire *
closing(struct sim *sim, int task, const char *backend)
{
    struct sim_wire *w = mem_pool_alloc(sim->pool, sizeof *w);
    const struct sim_kv *kv = &sim->kv[task];
    const struct claims_entry found = {.claim = kv->revision ? &kv->wire.claim
                                                             : NULL,
                                       .revision = kv->revision};
    struct result *r = &w->result;

    codec_init(CODEC_RESULT, r);
    r->task = sim->ids[task];
    r->nonce = mem_pool_printf(sim->pool, "n%llu",
                               (unsigned long long)sim_random(sim));
    r->backend = backend;
    r->state = STATE_CANCELLED;
    r->final = true;
    r->reason = "cancelled";
    r->finished_at_ms = sim_broker_ms(sim);
    claims_close(&found, r, &w->claim);
    w->has_result = true;
    return w;
}

bool
sim_cancel_by_router(struct sim *sim, const struct sim_step *s)
{
    const struct sim_wire *w;

    if (!sim->cancels[s->task])
        return false;
    if (sim->conf->wrong == SIM_BLIND_ROUTER) {
        if (sim->kv[s->task].revision == 0 &&
            sim->now_ms >= sim->routed_until_ms[s->task])
            sim_violation(sim, "%s: routed after it was cancelled",
                          sim->ids[s->task]);
        return false;
    }
    w = closing(sim, s->task, "router");
    if (!sim_compare_and_set(sim, s->task, 0, w, "the router"))
        return false;
    sim->report->unrouted++;
    if (sim_is_lost(sim, -1)) /* and the router with it: it comes again */
        sim_schedule(sim, ACK_WAIT_MS, *s);
    else
        sim_post_result(sim, s->task, &w->result);
    return true;
}

/* --- the ledger ----------------------------------------------------------- */

static bool
is_unserved(const struct sim *sim, const struct sim_kv *kv)
{
    enum state s = kv->wire.claim.state;

    return s == STATE_RETRY_WAIT || s == STATE_PREEMPTED || s == STATE_LOST ||
           (s == STATE_RUNNING &&
            sim_broker_ms(sim) - kv->stored_ms > LEASE_MS + MARGIN_MS);
}

/* As reaper/schedule/cancel.c: its claim is on its way while others write. */
static void
look_at(struct sim *sim, int task)
{
    const struct task_state *row = &sim->rows[task].row;
    const struct sim_kv *kv = &sim->kv[task];
    bool on_lane = row->state == STATE_ROUTED || row->state == STATE_RUNNING ||
                   row->state == STATE_RETRY_WAIT;

    if (row->state == STATE_HELD) {
        struct sim_wire *w = closing(sim, task, "ledger");

        w->result.nonce = "";
        w->result.finished_at_ms = row->cancel_at_ms; /* the same each time */
        sim_post_result(sim, task, &w->result);
    } else if (on_lane && (kv->revision == 0 || is_unserved(sim, kv))) {
        sim_schedule(sim, sim_latency_ms(sim),
                     (struct sim_step){.kind = AT_LEDGER_CLOSE,
                                       .worker = -1,
                                       .task = task,
                                       .revision = kv->revision,
                                       .wire = closing(sim, task, "ledger")});
    } else if (on_lane && state_is_terminal(kv->wire.claim.state) &&
               kv->wire.has_result &&
               strcmp(kv->wire.result.backend, "ledger") == 0) {
        sim_post_result(sim, task, &kv->wire.result); /* it was not stored */
    } else if (on_lane && !state_is_terminal(kv->wire.claim.state)) {
        store(sim, task); /* its worker is told again */
    }
}

static void
pass(struct sim *sim)
{
    for (int i = 0; i < sim->n_tasks && !sim_broker_is_down(sim); i++) {
        const struct task_state *row = &sim->rows[i].row;

        if (!row->cancel_at_ms || sim_is_lost(sim, -1))
            continue;
        if (state_is_terminal(row->state))
            sim->cancels[i] = false; /* purged */
        else
            look_at(sim, i);
    }
    sim_schedule(sim, PASS_MS,
                 (struct sim_step){.kind = AT_LEDGER_PASS, .worker = -1});
}

static void
ledger_close(struct sim *sim, const struct sim_step *s)
{
    if (sim_broker_is_down(sim) || sim_is_lost(sim, -1) ||
        !sim_compare_and_set(sim, s->task, s->revision, s->wire, "the ledger"))
        return; /* somebody was first; looked at again */
    if (!sim_is_lost(sim, -1))
        sim_post_result(sim, s->task, &s->wire->result);
}

/* --- steps ---------------------------------------------------------------- */

void
sim_cancel_step(struct sim *sim, const struct sim_step *s)
{
    if (s->kind == AT_CANCEL)
        ask_for_cancel(sim, s);
    else if (s->kind == AT_LEDGER_PASS)
        pass(sim);
    else
        ledger_close(sim, s);
}

/* At any time, perhaps before it is submitted, often soon after that. Held
 * tasks all are: nobody releases them. */
void
sim_cancel_plan(struct sim *sim, int task, int64_t submit_ms)
{
    int64_t at_ms = sim_chance(sim, 60) ? submit_ms + sim_between(sim, 0, 200)
                                        : sim_between(sim, 0, 4 * MINUTE_MS);

    sim->tasks[task].hold = sim_chance(sim, 8);
    if (sim->tasks[task].hold || sim_chance(sim, 30))
        sim_schedule(
            sim, at_ms,
            (struct sim_step){.kind = AT_CANCEL, .worker = -1, .task = task});
}

void
sim_cancel_open(struct sim *sim)
{
    sim_schedule(sim, PASS_MS,
                 (struct sim_step){.kind = AT_LEDGER_PASS, .worker = -1});
}
