#include "tests/protocol_sim_world.h"

#include <string.h>

enum { DEDUP_MS = 10 * 60 * 1000 };

/* --- claims --------------------------------------------------------------- */

static void
answer(struct life *l, const struct life_step *s, enum life_kind kind,
       struct life_step out)
{
    if (s->worker < 0 || life_is_lost(l, s->worker))
        return;
    out.kind = kind;
    out.worker = s->worker;
    out.epoch = s->epoch;
    out.task = s->task;
    out.job = s->job;
    out.ask = s->ask;
    life_at(l, life_way_ms(l), out);
}

static void
compare_and_set(struct life *l, const struct life_step *s)
{
    static const struct claim none = {.nonce = "", .worker = ""};
    struct life_kv *kv = &l->kv[s->task];
    bool right = kv->revision == s->revision;

    if (right) {
        life_written(l, s->task, kv->revision ? &kv->wire.claim : &none,
                     &s->wire->claim);
        kv->was = kv->wire;
        kv->was_revision = kv->revision;
        kv->wire = *s->wire;
        kv->stored_ms = life_broker_ms(l);
        kv->written_ms = l->now_ms;
        kv->revision = ++l->revision;
        life_trace(l, "claim %s:%u %s by %s revision %llu", l->ids[s->task],
                   kv->wire.claim.attempt, state_name(kv->wire.claim.state),
                   l->workers[s->worker].name,
                   (unsigned long long)kv->revision);
    }
    answer(l, s, AT_CAS_ANSWER,
           (struct life_step){.answer = right ? ANSWER_OK : ANSWER_CONFLICT,
                              .revision = kv->revision});
}

static void
read_entry(struct life *l, const struct life_step *s)
{
    const struct life_kv *kv = &l->kv[s->task];
    struct life_step out = {.revision = kv->revision, .value = kv->stored_ms};

    out.wire = mem_pool_alloc(l->pool, sizeof *out.wire);
    *out.wire = kv->wire;
    answer(l, s, AT_READ_ANSWER, out);
}

/* What the broker remembers of an id; mostly ten minutes. */
int64_t
life_remember_until(struct life *l)
{
    return l->now_ms + (life_is_faulty(l) && life_chance(l, 15)
                            ? life_between(l, 0, 2000)
                            : DEDUP_MS);
}

void
life_tell_ledger(struct life *l, enum life_kind kind, int task, int msg)
{
    life_at(l, life_way_ms(l),
            (struct life_step){
                .kind = kind, .worker = -1, .task = task, .msg = msg});
    if (life_is_lost(l, -1)) /* its ack */
        life_at(l, life_between(l, 0, ACK_WAIT_MS),
                (struct life_step){
                    .kind = kind, .worker = -1, .task = task, .msg = msg});
}

void
life_store_result(struct life *l, const struct result *r, bool forged)
{
    if (l->n_results == LIFE_MESSAGES) {
        life_violation(l, "%s: too many results", r->task);
        return;
    }
    l->results[l->n_results] = (struct life_result){
        .r = *r, .stored_ms = life_broker_ms(l), .forged = forged};
    life_trace(l, "result %s:%u %s%s%s", r->task, r->attempt,
               state_name(r->state), r->final ? " final" : "",
               forged ? " planted" : "");
    life_tell_ledger(l, AT_LEDGER_RESULT, 0, l->n_results++);
}

/* Whether it has seen its id, which task_result_id makes. */
static bool
is_known(const struct life *l, const struct result *r)
{
    for (int i = 0; i < l->n_results; i++) {
        const struct life_result *m = &l->results[i];

        if (l->now_ms < m->known_until_ms && m->r.attempt == r->attempt &&
            strcmp(m->r.task, r->task) == 0 &&
            strcmp(m->r.nonce, r->nonce) == 0)
            return true;
    }
    return false;
}

static void
put_result(struct life *l, const struct life_step *s)
{
    const struct result *r = &s->wire->result;

    if (!is_known(l, r)) {
        l->truth[s->task].stored_final |= r->final;
        life_store_result(l, r, false);
        l->results[l->n_results - 1].known_until_ms = life_remember_until(l);
    }
    answer(l, s, AT_RESULT_ANSWER, (struct life_step){.answer = ANSWER_OK});
}

/* --- the lane ------------------------------------------------------------- */

static void
deliver_after(struct life *l, int msg, int64_t delay_ms)
{
    life_at(l, delay_ms,
            (struct life_step){.kind = AT_DELIVER,
                               .worker = -1,
                               .msg = msg,
                               .value = l->msgs[msg].generation});
}

void
life_route(struct life *l, int task, uint32_t drive)
{
    struct life_msg *m = &l->msgs[l->n_msgs];

    if (l->n_msgs == LIFE_MESSAGES) {
        life_violation(l, "%s: too many messages", l->ids[task]);
        return;
    }
    *m = (struct life_msg){
        .task = task, .stored_ms = life_broker_ms(l), .drive = drive};
    life_trace(l, "routed %s drive %u", l->ids[task], drive);
    life_tell_ledger(l, AT_LEDGER_ROUTED, task, l->n_msgs);
    deliver_after(l, l->n_msgs++, life_way_ms(l));
}

static void
wait_for_ack(struct life *l, int msg)
{
    life_at(l, ACK_WAIT_MS,
            (struct life_step){.kind = AT_ACK_WAIT,
                               .worker = -1,
                               .msg = msg,
                               .value = ++l->msgs[msg].generation});
}

static void
deliver(struct life *l, int msg)
{
    struct life_msg *m = &l->msgs[msg];
    int worker = (int)(life_random(l) % LIFE_WORKERS);

    if (m->acked)
        return;
    if (l->workers[worker].down) { /* nobody asked: as soon as one does */
        deliver_after(l, msg, 200);
        return;
    }
    m->out = true;
    m->delivered++;
    wait_for_ack(l, msg);
    if (!life_is_lost(l, worker))
        life_at(l, life_way_ms(l),
                (struct life_step){.kind = AT_ARRIVE,
                                   .worker = worker,
                                   .epoch = l->workers[worker].epoch,
                                   .task = m->task,
                                   .msg = msg,
                                   .value = m->delivered});
}

static void
settle(struct life *l, const struct life_step *s)
{
    struct life_msg *m = &l->msgs[s->msg];

    if (m->acked || !m->out)
        return;
    if (s->kind == AT_PROGRESS) {
        wait_for_ack(l, s->msg);
    } else if (s->kind == AT_NAK) {
        m->out = false;
        m->generation++;
        deliver_after(l, s->msg, s->value);
    } else {
        life_trace(l, "acked %s", l->ids[m->task]);
        m->acked = true;
        if (!l->truth[m->task].stored_final)
            life_violation(l, "%s: acknowledged before its result is stored",
                           l->ids[m->task]);
        if (!state_is_terminal(l->kv[m->task].wire.claim.state))
            life_violation(l,
                           "%s: acknowledged before its claim holds the "
                           "outcome",
                           l->ids[m->task]);
    }
}

static void
lane(struct life *l, const struct life_step *s)
{
    struct life_msg *m = &l->msgs[s->msg];

    if (s->kind != AT_DELIVER && s->kind != AT_ACK_WAIT)
        settle(l, s);
    else if (m->generation == (unsigned)s->value)
        deliver(l, s->msg);
}

void
life_broker_step(struct life *l, const struct life_step *s)
{
    bool down = life_broker_is_down(l);

    if (down && (s->kind == AT_DELIVER || s->kind == AT_ACK_WAIT))
        life_at(l, l->broker_down_until_ms - l->now_ms, *s);
    else if (down)
        return; /* lost on the way */
    else if (s->kind == AT_CAS)
        compare_and_set(l, s);
    else if (s->kind == AT_READ)
        read_entry(l, s);
    else if (s->kind == AT_RESULT)
        put_result(l, s);
    else
        lane(l, s);
}
