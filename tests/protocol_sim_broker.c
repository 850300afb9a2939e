/*
 * The broker: the claims with compare-and-set, the results with their message
 * ids, and a lane with deliveries, ack waits and acknowledgements.
 */
#include "tests/protocol_sim_world.h"

#include <string.h>

enum { DEDUP_MS = 10 * 60 * 1000 };

/* --- claims --------------------------------------------------------------- */

static void
answer(struct sim *sim, const struct sim_step *s, enum sim_step_kind kind,
       struct sim_step out)
{
    if (s->worker < 0 || sim_is_lost(sim, s->worker))
        return;
    out.kind = kind;
    out.worker = s->worker;
    out.epoch = s->epoch;
    out.task = s->task;
    out.attempt = s->attempt;
    out.ask = s->ask;
    out.said_ms = sim->now_ms;
    sim_schedule(sim, sim_latency_ms(sim), out);
}

bool
sim_compare_and_set(struct sim *sim, int task, uint64_t revision,
                    const struct sim_wire *wire, const char *by)
{
    static const struct claim none = {.nonce = "", .worker = ""};
    struct sim_kv *kv = &sim->kv[task];

    if (kv->revision != revision)
        return false;
    sim_claim_written(sim, task, kv->revision ? &kv->wire.claim : &none,
                      &wire->claim);
    kv->was = kv->wire;
    kv->was_revision = kv->revision;
    kv->wire = *wire;
    kv->stored_ms = sim_broker_ms(sim);
    kv->written_ms = sim->now_ms;
    kv->revision = ++sim->revision;
    sim_trace(sim, "claim %s:%u %s by %s revision %llu", sim->ids[task],
              kv->wire.claim.attempt, state_name(kv->wire.claim.state), by,
              (unsigned long long)kv->revision);
    return true;
}

static void
compare_and_set(struct sim *sim, const struct sim_step *s)
{
    bool right = sim_compare_and_set(sim, s->task, s->revision, s->wire,
                                     sim->workers[s->worker].name);

    answer(sim, s, AT_CAS_ANSWER,
           (struct sim_step){.answer = right ? ANSWER_OK : ANSWER_CONFLICT,
                             .revision = sim->kv[s->task].revision});
}

static void
read_entry(struct sim *sim, const struct sim_step *s)
{
    const struct sim_kv *kv = &sim->kv[s->task];
    struct sim_step out = {.revision = kv->revision, .value = kv->stored_ms};

    out.wire = mem_pool_alloc(sim->pool, sizeof *out.wire);
    *out.wire = kv->wire;
    answer(sim, s, AT_READ_ANSWER, out);
}

static void
look(struct sim *sim, const struct sim_step *s)
{
    answer(
        sim, s, AT_LOOK_ANSWER,
        (struct sim_step){.answer = ANSWER_OK, .value = sim->cancels[s->task]});
}

/* What the broker remembers of an id; mostly ten minutes. */
int64_t
sim_remember_until(struct sim *sim)
{
    return sim->now_ms + (sim_is_faulty(sim) && sim_chance(sim, 15)
                              ? sim_between(sim, 0, 2000)
                              : DEDUP_MS);
}

void
sim_notify_ledger(struct sim *sim, enum sim_step_kind kind, int task, int msg)
{
    sim_schedule(sim, sim_latency_ms(sim),
                 (struct sim_step){
                     .kind = kind, .worker = -1, .task = task, .msg = msg});
    if (sim_is_lost(sim, -1)) /* its ack */
        sim_schedule(sim, sim_between(sim, 0, ACK_WAIT_MS),
                     (struct sim_step){
                         .kind = kind, .worker = -1, .task = task, .msg = msg});
}

void
sim_store_result(struct sim *sim, const struct result *r, bool forged)
{
    if (sim->n_results == SIM_MESSAGES) {
        sim_violation(sim, "%s: too many results", r->task);
        return;
    }
    sim->results[sim->n_results] = (struct sim_result){
        .r = *r, .stored_ms = sim_broker_ms(sim), .forged = forged};
    sim_trace(sim, "result %s:%u %s%s%s", r->task, r->attempt,
              state_name(r->state), r->final ? " final" : "",
              forged ? " planted" : "");
    sim_notify_ledger(sim, AT_LEDGER_RESULT, 0, sim->n_results++);
}

/* Whether it has seen its id, which task_result_id makes. */
static bool
is_known(const struct sim *sim, const struct result *r)
{
    for (int i = 0; i < sim->n_results; i++) {
        const struct sim_result *m = &sim->results[i];

        if (sim->now_ms < m->known_until_ms && m->r.attempt == r->attempt &&
            strcmp(m->r.task, r->task) == 0 &&
            strcmp(m->r.nonce, r->nonce) == 0)
            return true;
    }
    return false;
}

void
sim_post_result(struct sim *sim, int task, const struct result *r)
{
    if (is_known(sim, r))
        return;
    sim->truth[task].stored_final |= r->final;
    sim_store_result(sim, r, false);
    sim->results[sim->n_results - 1].known_until_ms = sim_remember_until(sim);
}

static void
put_result(struct sim *sim, const struct sim_step *s)
{
    sim_post_result(sim, s->task, &s->wire->result);
    answer(sim, s, AT_RESULT_ANSWER, (struct sim_step){.answer = ANSWER_OK});
}

/* --- the lane ------------------------------------------------------------- */

static void
deliver_after(struct sim *sim, int msg, int64_t delay_ms)
{
    sim_schedule(sim, delay_ms,
                 (struct sim_step){.kind = AT_DELIVER,
                                   .worker = -1,
                                   .msg = msg,
                                   .value = sim->msgs[msg].generation});
}

void
sim_route(struct sim *sim, int task, uint32_t drive)
{
    struct sim_msg *m = &sim->msgs[sim->n_msgs];

    if (sim->n_msgs == SIM_MESSAGES) {
        sim_violation(sim, "%s: too many messages", sim->ids[task]);
        return;
    }
    *m = (struct sim_msg){
        .task = task, .stored_ms = sim_broker_ms(sim), .drive = drive};
    sim_trace(sim, "routed %s drive %u", sim->ids[task], drive);
    sim_notify_ledger(sim, AT_LEDGER_ROUTED, task, sim->n_msgs);
    deliver_after(sim, sim->n_msgs++, sim_latency_ms(sim));
}

static void
wait_for_ack(struct sim *sim, int msg)
{
    sim_schedule(sim, ACK_WAIT_MS,
                 (struct sim_step){.kind = AT_ACK_WAIT,
                                   .worker = -1,
                                   .msg = msg,
                                   .value = ++sim->msgs[msg].generation});
}

static void
deliver(struct sim *sim, int msg)
{
    struct sim_msg *m = &sim->msgs[msg];
    int worker = (int)(sim_random(sim) % SIM_WORKERS);

    if (m->acked)
        return;
    if (sim->workers[worker].down) { /* nobody asked: as soon as one does */
        deliver_after(sim, msg, 200);
        return;
    }
    m->out = true;
    m->delivered++;
    wait_for_ack(sim, msg);
    if (!sim_is_lost(sim, worker))
        sim_schedule(sim, sim_latency_ms(sim),
                     (struct sim_step){.kind = AT_ARRIVE,
                                       .worker = worker,
                                       .epoch = sim->workers[worker].epoch,
                                       .task = m->task,
                                       .msg = msg,
                                       .value = m->delivered});
}

static void
settle(struct sim *sim, const struct sim_step *s)
{
    struct sim_msg *m = &sim->msgs[s->msg];

    if (m->acked || !m->out)
        return;
    if (s->kind == AT_PROGRESS) {
        wait_for_ack(sim, s->msg);
    } else if (s->kind == AT_NAK) {
        m->out = false;
        m->generation++;
        deliver_after(sim, s->msg, s->value);
    } else {
        sim_trace(sim, "acked %s", sim->ids[m->task]);
        m->acked = true;
        if (!sim->truth[m->task].stored_final)
            sim_violation(sim, "%s: acknowledged before its result is stored",
                          sim->ids[m->task]);
        if (!state_is_terminal(sim->kv[m->task].wire.claim.state))
            sim_violation(sim,
                          "%s: acknowledged before its claim holds the "
                          "outcome",
                          sim->ids[m->task]);
    }
}

static void
lane(struct sim *sim, const struct sim_step *s)
{
    struct sim_msg *m = &sim->msgs[s->msg];

    if (s->kind != AT_DELIVER && s->kind != AT_ACK_WAIT)
        settle(sim, s);
    else if (m->generation == (unsigned)s->value)
        deliver(sim, s->msg);
}

void
sim_broker_step(struct sim *sim, const struct sim_step *s)
{
    bool down = sim_broker_is_down(sim);

    if (sim->now_ms < sim->broker_asleep_until_ms)
        sim_schedule(sim, sim->broker_asleep_until_ms - sim->now_ms, *s);
    else if (down && (s->kind == AT_DELIVER || s->kind == AT_ACK_WAIT))
        sim_schedule(sim, sim->broker_down_until_ms - sim->now_ms, *s);
    else if (down)
        return; /* lost on the way */
    else if (s->kind == AT_CAS)
        compare_and_set(sim, s);
    else if (s->kind == AT_READ)
        read_entry(sim, s);
    else if (s->kind == AT_LOOK)
        look(sim, s);
    else if (s->kind == AT_RESULT)
        put_result(sim, s);
    else
        lane(sim, s);
}
