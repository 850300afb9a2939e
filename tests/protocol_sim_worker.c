/*
 * A worker, step by step as workers/core does it: reads and writes claims, runs
 * attempts, renews and fences, settles and publishes. Each step is one message
 * or one timer.
 */
#include "lib/model/codec.h"
#include "tests/protocol_sim_world.h"

#include <stdio.h>
#include <string.h>

enum { AGAIN_MS = 500, CROWDED_MS = 250, GRACE_MS = 10000 };

static const struct ending cancelled = {STATE_CANCELLED, "cancelled", 143, 15};

static void start_or_not(struct sim *sim, int worker, struct sim_attempt *a);
static void write_claim(struct sim *sim, int worker, struct sim_attempt *a);
static void read_claim(struct sim *sim, int worker, struct sim_attempt *a);

static int64_t
mono_ms(const struct sim *sim, const struct sim_worker *w)
{
    return sim->now_ms + w->mono_offset_ms;
}

static int64_t
wall_ms(const struct sim *sim, const struct sim_worker *w)
{
    return sim->now_ms + w->wall_offset_ms;
}

/* --- sending -------------------------------------------------------------- */

static struct sim_step
mine(struct sim *sim, enum sim_step_kind kind, int worker,
     const struct sim_attempt *a)
{
    return (struct sim_step){.kind = kind,
                             .worker = worker,
                             .epoch = sim->workers[worker].epoch,
                             .task = a->task,
                             .msg = a->msg,
                             .attempt = a->n};
}

/* What is on its way to the broker is not stopped by a crash of its sender. */
static void
send(struct sim *sim, int worker, struct sim_step s)
{
    if (!sim_is_lost(sim, worker))
        sim_schedule(sim, sim_latency_ms(sim), s);
}

static void
settle(struct sim *sim, int worker, int msg, enum sim_step_kind kind,
       int64_t delay_ms)
{
    if (msg < 0)
        return;
    send(sim, worker,
         (struct sim_step){
             .kind = kind, .worker = -1, .msg = msg, .value = delay_ms});
}

/* Asks the broker for something; the answer, or none, comes in time. */
static uint64_t
ask(struct sim *sim, int worker, const struct sim_attempt *a,
    enum sim_step_kind kind, struct sim_step s)
{
    enum sim_step_kind answer = kind == AT_CAS    ? AT_CAS_ANSWER
                                : kind == AT_READ ? AT_READ_ANSWER
                                : kind == AT_LOOK ? AT_LOOK_ANSWER
                                                  : AT_RESULT_ANSWER;
    struct sim_step none = mine(sim, answer, worker, a);

    s.kind = kind;
    s.worker = worker;
    s.epoch = sim->workers[worker].epoch;
    s.task = a->task;
    s.attempt = a->n;
    s.ask = none.ask = ++sim->n_asks;
    none.answer = ANSWER_TIMEOUT;
    sim_schedule(sim, PUT_MS, none);
    send(sim, worker, s);
    sim_maybe_fault(sim, worker);
    return s.ask;
}

static struct sim_wire *
copy(struct sim *sim, const struct sim_wire *wire)
{
    struct sim_wire *out = mem_pool_alloc(sim->pool, sizeof *out);

    *out = *wire;
    return out;
}

static void
put_result(struct sim *sim, int worker, struct sim_attempt *a)
{
    a->putting = ask(sim, worker, a, AT_RESULT,
                     (struct sim_step){.wire = copy(sim, &a->wire)});
}

/* --- the end of an attempt ------------------------------------------------ */

static void
attempt_done(struct sim *sim, int worker, struct sim_attempt *a)
{
    settle(sim, worker, a->msg, AT_ACK, 0);
    a->used = false;
}

static void
attempt_retry(struct sim *sim, int worker, struct sim_attempt *a,
              int64_t delay_ms)
{
    settle(sim, worker, a->msg, AT_NAK, delay_ms);
    a->used = false;
}

static void
attempt_lost(struct sim *sim, int worker, struct sim_attempt *a)
{
    sim_trace(sim, "%s gives up %s:%u", sim->workers[worker].name,
              sim->ids[a->task], a->wire.claim.attempt);
    a->used = false;
}

static void
again_later(struct sim *sim, int worker, struct sim_attempt *a)
{
    sim_schedule(sim, AGAIN_MS, mine(sim, AT_AGAIN, worker, a));
}

/* --- running -------------------------------------------------------------- */

static void
fill_identity(struct sim *sim, int worker, struct sim_attempt *a)
{
    struct result *r = &a->wire.result;

    codec_init(CODEC_RESULT, r);
    r->task = sim->ids[a->task];
    r->attempt = a->wire.claim.attempt;
    r->fence = a->wire.claim.fence;
    r->nonce = a->wire.claim.nonce;
    r->backend = "local";
    r->lane = "default";
    r->worker = a->wire.claim.worker;
    r->started_at_ms = a->wire.claim.started_at_ms;
    r->finished_at_ms = wall_ms(sim, &sim->workers[worker]);
}

static void
fill_claim(struct sim_attempt *a, enum state state)
{
    a->wire.claim.state = state;
    a->wire.claim.finished_at_ms = a->wire.result.finished_at_ms;
    a->wire.claim.retry_at_ms = a->wire.result.retry_at_ms;
    a->wire.claim.exit_code = a->wire.result.exit_code;
    a->wire.claim.reason = a->wire.result.reason;
    a->wire.has_result = true;
}

static void
start(struct sim *sim, int worker, struct sim_attempt *a)
{
    a->phase = PHASE_RUN;
    sim_attempt_started(sim, worker, a);
    sim_schedule(sim, sim_run_ms(sim), mine(sim, AT_RUN_END, worker, a));
}

/* Whether the claim must be renewed before anything starts on it. */
static bool
is_old(const struct sim *sim, int worker, const struct sim_attempt *a)
{
    return mono_ms(sim, &sim->workers[worker]) - a->confirmed_ms >= BEAT_MS &&
           sim->conf->wrong != SIM_STALE_START;
}

/* The claim is confirmed, perhaps so late that it must be renewed first. */
static void
claimed(struct sim *sim, int worker, struct sim_attempt *a)
{
    struct sim_wire prior = {.result = a->prior};

    if (is_old(sim, worker, a)) {
        write_claim(sim, worker, a);
        return;
    }
    if (a->has_prior)
        send(sim, worker,
             (struct sim_step){.kind = AT_RESULT,
                               .worker = -1,
                               .task = a->task,
                               .wire = copy(sim, &prior)});
    a->has_prior = false;
    start_or_not(sim, worker, a);
}

/* The claim cannot be another's yet: the result is sent with the outcome. */
static bool
is_fresh(const struct sim *sim, int worker, const struct sim_attempt *a)
{
    return mono_ms(sim, &sim->workers[worker]) - a->confirmed_ms < FENCE_MS;
}

static void
end_attempt(struct sim *sim, int worker, struct sim_attempt *a,
            struct ending end)
{
    double jitter = (double)(sim_random(sim) % 1000) / 1000;
    struct result *r = &a->wire.result;
    struct end_plan plan;

    state_on_end(&sim->tasks[a->task], &a->wire.claim, &end, jitter, &plan);
    fill_identity(sim, worker, a);
    r->exit_code = end.exit_code;
    r->reason = end.reason;
    r->final = plan.final;
    r->state = plan.final ? plan.state : end.state;
    a->delay_ms = plan.delay_ms;
    if (!plan.final)
        r->retry_at_ms = r->finished_at_ms + plan.delay_ms;
    a->wire.claim.failed = plan.failed;
    fill_claim(a, plan.state);
    sim_trace(sim, "%s ends %s:%u as %s, claim %s", sim->workers[worker].name,
              sim->ids[a->task], r->attempt, state_name(end.state),
              state_name(plan.state));
    a->phase =
        sim->conf->wrong == SIM_NO_OUTCOME ? PHASE_PUBLISH : PHASE_SETTLE;
    if (sim->conf->wrong == SIM_NO_OUTCOME) {
        put_result(sim, worker, a);
    } else if (a->writing) {
        a->settle_next = true;
    } else if (!a->reading) {
        write_claim(sim, worker, a);
        if (is_fresh(sim, worker, a))
            put_result(sim, worker, a);
    }
}

static void
run_end(struct sim *sim, int worker, struct sim_attempt *a)
{
    struct ending end = sim_random_end(sim);

    sim_attempt_ended(sim, worker, a);
    sim->report->stopped += a->cancelled;
    end_attempt(sim, worker, a, a->cancelled ? cancelled : end);
}

/* It is claimed: nothing starts unless it is known that it may. */
static void
start_or_not(struct sim *sim, int worker, struct sim_attempt *a)
{
    const struct sim_worker *w = &sim->workers[worker];
    bool stale = w->stale && sim->conf->wrong != SIM_OLD_TABLE;

    if (sim->conf->wrong == SIM_NO_LOOK) {
        start(sim, worker, a);
    } else if (a->cancelled) {
        sim->report->unstarted++;
        end_attempt(sim, worker, a, cancelled);
    } else if (stale || w->noted[a->task]) {
        a->looking = ask(sim, worker, a, AT_LOOK, (struct sim_step){0});
    } else {
        start(sim, worker, a);
    }
}

static void
on_look(struct sim *sim, int worker, struct sim_attempt *a,
        const struct sim_step *s)
{
    a->looking = 0;
    if (s->answer == ANSWER_TIMEOUT) {
        again_later(sim, worker, a);
    } else if (s->value || a->cancelled) {
        sim->report->unstarted++;
        end_attempt(sim, worker, a, cancelled);
    } else if (is_old(sim, worker, a)) {
        write_claim(sim, worker, a);
    } else {
        start(sim, worker, a);
    }
}

static void
publish(struct sim *sim, int worker, struct sim_attempt *a)
{
    a->phase = PHASE_PUBLISH;
    if (a->posted && a->wire.result.final)
        attempt_done(sim, worker, a);
    else if (a->posted)
        attempt_retry(sim, worker, a, a->delay_ms);
    else if (!a->putting)
        put_result(sim, worker, a);
}

static void
settled(struct sim *sim, int worker, struct sim_attempt *a)
{
    if (sim->conf->wrong == SIM_EARLY_ACK && a->wire.result.final)
        settle(sim, worker, a->msg, AT_ACK, 0);
    publish(sim, worker, a);
}

/* --- the claim ------------------------------------------------------------ */

static void
written(struct sim *sim, int worker, struct sim_attempt *a)
{
    switch (a->phase) {
    case PHASE_CLAIM:
        if (a->wire.claim.fence == 0)
            a->wire.claim.fence = a->revision;
        claimed(sim, worker, a);
        return;
    case PHASE_SETTLE:
        settled(sim, worker, a);
        return;
    case PHASE_RUN:
    case PHASE_PUBLISH:
        return;
    }
}

static void
write_claim(struct sim *sim, int worker, struct sim_attempt *a)
{
    a->sent_ms = mono_ms(sim, &sim->workers[worker]);
    if (!a->unsure_ms || sim->conf->wrong == SIM_LATE_DATE)
        a->unsure_ms = a->sent_ms;
    a->writing = ask(sim, worker, a, AT_CAS,
                     (struct sim_step){.wire = copy(sim, &a->wire),
                                       .revision = a->revision});
}

static void
on_written(struct sim *sim, int worker, struct sim_attempt *a,
           const struct sim_step *s)
{
    bool settle_next = a->settle_next;

    a->writing = 0;
    a->settle_next = false;
    if (s->answer != ANSWER_OK) {
        read_claim(sim, worker, a);
        return;
    }
    a->revision = s->revision;
    sim->report->resumed += a->phase == PHASE_RUN && !is_fresh(sim, worker, a);
    a->confirmed_ms = a->sent_ms;
    a->unsure_ms = 0;
    if (settle_next)
        write_claim(sim, worker, a);
    else
        written(sim, worker, a);
}

static const char *
new_nonce(struct sim *sim)
{
    return mem_pool_printf(sim->pool, "n%llu",
                           (unsigned long long)sim_random(sim));
}

static void
take(struct sim *sim, int worker, struct sim_attempt *a,
     const struct delivery_plan *plan)
{
    struct claim *c = &a->wire.claim;

    codec_init(CODEC_CLAIM, c);
    a->wire.has_result = false;
    a->nonce = mem_pool_printf(sim->pool, "n%llu",
                               (unsigned long long)sim_random(sim));
    c->task = sim->ids[a->task];
    c->attempt = plan->attempt;
    c->worker = sim->workers[worker].name;
    c->nonce = a->nonce;
    c->state = STATE_RUNNING;
    c->lease_ms = LEASE_MS;
    c->started_at_ms = wall_ms(sim, &sim->workers[worker]);
    c->lost = plan->lost;
    c->failed = plan->failed;
    if (sim->conf->wrong == SIM_NO_CLAIM) {
        c->fence = a->revision;
        start(sim, worker, a);
    } else {
        write_claim(sim, worker, a);
    }
}

static void
keep_prior(struct sim *sim, int worker, struct sim_attempt *a,
           const struct sim_wire *found, uint64_t revision)
{
    struct sim_attempt was = {.task = a->task, .wire = *found};

    if (found->claim.state == STATE_RUNNING) {
        if (was.wire.claim.fence == 0)
            was.wire.claim.fence = revision;
        fill_identity(sim, worker, &was);
        a->prior = was.wire.result;
        a->prior.state = STATE_LOST;
        a->prior.reason = "its worker fell silent";
    } else if (found->has_result) {
        a->prior = found->result;
        a->prior.emitted_again = true;
    } else {
        return;
    }
    a->prior.final = false;
    a->has_prior = true;
}

static void
close_claim(struct sim *sim, int worker, struct sim_attempt *a,
            const struct sim_wire *found, const struct delivery_plan *plan)
{
    a->closing = true;
    a->wire = *found;
    if (a->wire.claim.fence == 0)
        a->wire.claim.fence = a->revision;
    a->wire.claim.lost = plan->lost;
    if (sim->conf->wrong != SIM_BORROWED)
        a->wire.claim.nonce = new_nonce(sim);
    a->nonce = a->wire.claim.nonce;
    fill_identity(sim, worker, a);
    a->wire.result.state = plan->state;
    a->wire.result.final = true;
    a->wire.result.reason = plan->reason;
    fill_claim(a, plan->state);
    a->phase = PHASE_SETTLE;
    write_claim(sim, worker, a);
}

static void
emit(struct sim *sim, int worker, struct sim_attempt *a,
     const struct sim_wire *found)
{
    a->wire = *found;
    a->wire.result.emitted_again = true;
    a->wire.result.final = true;
    a->again = true;
    sim->report->again++;
    publish(sim, worker, a);
}

/* What the worker knows of the age of an entry. */
static struct claim_sight
look(struct sim *sim, int worker, const struct sim_step *s)
{
    struct sim_worker *w = &sim->workers[worker];
    struct sim_watched *seen = &w->watched[s->task];
    int64_t mono = mono_ms(sim, w);

    if (seen->revision != s->revision) {
        seen->revision = s->revision;
        seen->since_ms = mono;
    }
    if (sim->conf->wrong == SIM_WALL_CLOCK)
        return (struct claim_sight){wall_ms(sim, w) - s->value, INT64_MAX};
    if (sim->conf->wrong == SIM_NO_WATCH)
        seen->since_ms = 0;
    return (struct claim_sight){w->broker_ms + mono - w->broker_seen_ms -
                                    s->value,
                                mono - seen->since_ms};
}

/* s: the claim that was read; NULL: there is none, as far as is known. */
static void
plan(struct sim *sim, int worker, struct sim_attempt *a,
     const struct sim_step *s)
{
    struct claim_sight sight = {0};
    struct delivery_plan p;

    if (s)
        sight = look(sim, worker, s);
    state_on_delivery(&sim->tasks[a->task], s ? &s->wire->claim : NULL, &sight,
                      wall_ms(sim, &sim->workers[worker]), &p);
    switch (p.what) {
    case DELIVERY_START:
        if (s)
            keep_prior(sim, worker, a, s->wire, s->revision);
        if (s && sim->conf->wrong == SIM_SAME_ATTEMPT &&
            p.lost > s->wire->claim.lost)
            p.attempt--;
        take(sim, worker, a, &p);
        return;
    case DELIVERY_EMIT:
        emit(sim, worker, a, s->wire);
        return;
    case DELIVERY_WAIT:
        attempt_retry(sim, worker, a, p.delay_ms);
        return;
    case DELIVERY_CLOSE:
        close_claim(sim, worker, a, s->wire, &p);
        return;
    }
}

static void
read_claim(struct sim *sim, int worker, struct sim_attempt *a)
{
    a->reading = ask(sim, worker, a, AT_READ, (struct sim_step){0});
}

static void
read_none(struct sim *sim, int worker, struct sim_attempt *a)
{
    a->revision = 0;
    if (a->phase == PHASE_CLAIM && a->wire.claim.attempt == 0)
        plan(sim, worker, a, NULL);
    else if (a->phase == PHASE_CLAIM || a->phase == PHASE_SETTLE)
        again_later(sim, worker, a);
    else if (a->phase == PHASE_RUN)
        attempt_lost(sim, worker, a);
}

static void
read_ours(struct sim *sim, int worker, struct sim_attempt *a,
          const struct sim_step *s)
{
    const struct claim *c = &s->wire->claim;
    bool newer =
        s->revision > a->revision || (a->msg < 0 && c->state != STATE_RUNNING);

    a->revision = s->revision;
    if (newer && c->state == a->wire.claim.state) {
        /* One of the writes we had no answer to, perhaps the oldest. */
        a->confirmed_ms = a->unsure_ms;
        a->unsure_ms = 0;
        written(sim, worker, a);
    } else {
        again_later(sim, worker, a);
    }
}

static void
read_theirs(struct sim *sim, int worker, struct sim_attempt *a,
            const struct sim_step *s)
{
    if (a->phase != PHASE_CLAIM && !a->closing) {
        attempt_lost(sim, worker, a);
        return;
    }
    /* Of two who closed it one was first, or its holder lives. */
    a->closing = false;
    a->phase = PHASE_CLAIM;
    a->revision = s->revision;
    plan(sim, worker, a, s);
}

static void
on_read(struct sim *sim, int worker, struct sim_attempt *a,
        const struct sim_step *s)
{
    struct sim_worker *w = &sim->workers[worker];

    a->reading = 0;
    if (s->answer == ANSWER_TIMEOUT) {
        again_later(sim, worker, a);
        return;
    }
    if (w->broker_ms == 0 ||
        s->value > w->broker_ms + mono_ms(sim, w) - w->broker_seen_ms) {
        w->broker_ms = s->value;
        w->broker_seen_ms = mono_ms(sim, w);
    }
    if (s->revision == 0) {
        read_none(sim, worker, a);
    } else if (strcmp(s->wire->claim.nonce, a->nonce) == 0) {
        read_ours(sim, worker, a, s);
    } else {
        read_theirs(sim, worker, a, s);
    }
}

/* --- timers and deliveries ------------------------------------------------ */

static bool
fence_off(struct sim *sim, int worker, struct sim_attempt *a)
{
    const struct sim_worker *w = &sim->workers[worker];

    if (sim->conf->wrong == SIM_NO_FENCING || a->phase != PHASE_RUN ||
        is_fresh(sim, worker, a) || mono_ms(sim, w) < w->grace_ms)
        return false;
    attempt_lost(sim, worker, a);
    return true;
}

static void
again(struct sim *sim, int worker, struct sim_attempt *a)
{
    if (fence_off(sim, worker, a) || a->writing || a->reading || a->looking ||
        a->phase == PHASE_PUBLISH)
        return;
    if (a->phase == PHASE_CLAIM && a->wire.claim.attempt == 0)
        read_claim(sim, worker, a);
    else
        write_claim(sim, worker, a);
}

void
sim_worker_note(struct sim *sim, int worker, int task)
{
    struct sim_worker *w = &sim->workers[worker];

    w->noted[task] = true;
    for (int i = 0; i < SIM_SLOTS; i++) {
        struct sim_attempt *a = &w->attempts[i];

        if (!a->used || a->task != task || a->phase > PHASE_RUN ||
            a->cancelled || sim->conf->wrong == SIM_NO_LOOK)
            continue;
        if (a->phase == PHASE_RUN && sim->conf->wrong == SIM_DEAF)
            continue;
        a->cancelled = true;
        if (a->phase == PHASE_RUN)
            sim_schedule(sim, sim_between(sim, 1, GRACE_MS),
                         mine(sim, AT_RUN_END, worker, a));
    }
}

/* An answer comes behind all that the broker has told the worker before. */
static void
hear(struct sim *sim, const struct sim_step *s)
{
    struct sim_worker *w = &sim->workers[s->worker];

    for (int i = 0; i < sim->n_tasks; i++)
        if (sim->truth[i].cancelled_ms && !w->noted[i] && !w->missed[i] &&
            sim->truth[i].cancelled_ms <= s->said_ms)
            sim_worker_note(sim, s->worker, i);
}

/* It is back, and has read the bucket. */
static void
refresh(struct sim *sim, int worker)
{
    struct sim_worker *w = &sim->workers[worker];

    w->stale = false;
    memset(w->missed, 0, sizeof w->missed);
    for (int i = 0; i < sim->n_tasks; i++)
        if (sim->cancels[i])
            sim_worker_note(sim, worker, i);
}

static void
beat(struct sim *sim, int worker)
{
    struct sim_worker *w = &sim->workers[worker];

    if (w->stale && sim->now_ms >= w->cut_until_ms &&
        !sim_broker_is_down(sim) && sim_chance(sim, 50))
        refresh(sim, worker);
    for (int i = 0; i < SIM_SLOTS; i++) {
        struct sim_attempt *a = &w->attempts[i];

        if (!a->used || fence_off(sim, worker, a))
            continue;
        settle(sim, worker, a->msg, AT_PROGRESS, 0);
        if (a->phase == PHASE_RUN && !a->writing && !a->reading)
            write_claim(sim, worker, a);
    }
    sim_schedule(sim, BEAT_MS + sim_between(sim, 0, 20),
                 (struct sim_step){
                     .kind = AT_BEAT, .worker = worker, .epoch = w->epoch});
}

static void
arrive(struct sim *sim, int worker, const struct sim_step *s)
{
    struct sim_worker *w = &sim->workers[worker];
    struct sim_attempt *a = NULL;

    for (int i = 0; i < SIM_SLOTS; i++) {
        if (w->attempts[i].used && w->attempts[i].task == s->task) {
            settle(sim, worker, s->msg, AT_PROGRESS, 0);
            return;
        }
        if (!w->attempts[i].used)
            a = &w->attempts[i];
    }
    if (!a) {
        settle(sim, worker, s->msg, AT_NAK, CROWDED_MS);
        return;
    }
    *a = (struct sim_attempt){.used = true,
                              .n = ++sim->n_attempts,
                              .task = s->task,
                              .msg = s->msg,
                              .nonce = "",
                              .confirmed_ms = mono_ms(sim, w)};
    codec_init(CODEC_CLAIM, &a->wire.claim);
    if (s->value == 1)
        plan(sim, worker, a, NULL);
    else
        read_claim(sim, worker, a);
}

static void
on_put(struct sim *sim, int worker, struct sim_attempt *a,
       const struct sim_step *s)
{
    a->putting = 0;
    a->posted = s->answer != ANSWER_TIMEOUT;
    if (a->phase == PHASE_PUBLISH)
        publish(sim, worker, a);
}

static struct sim_attempt *
attempt_of(struct sim_worker *w, const struct sim_step *s)
{
    for (int i = 0; i < SIM_SLOTS; i++) {
        if (w->attempts[i].used && w->attempts[i].n == s->attempt)
            return &w->attempts[i];
        if (w->spool[i].used && w->spool[i].n == s->attempt)
            return &w->spool[i];
    }
    return NULL;
}

static void
attempt_step(struct sim *sim, struct sim_attempt *a, const struct sim_step *s)
{
    if (s->kind == AT_CAS_ANSWER && s->ask == a->writing)
        on_written(sim, s->worker, a, s);
    else if (s->kind == AT_READ_ANSWER && s->ask == a->reading)
        on_read(sim, s->worker, a, s);
    else if (s->kind == AT_RESULT_ANSWER && s->ask == a->putting)
        on_put(sim, s->worker, a, s);
    else if (s->kind == AT_LOOK_ANSWER && s->ask == a->looking)
        on_look(sim, s->worker, a, s);
    else if (s->kind == AT_RUN_END && a->phase == PHASE_RUN)
        run_end(sim, s->worker, a);
    else if (s->kind == AT_AGAIN)
        again(sim, s->worker, a);
}

/* Every claim is renewed before it is judged, and what it has seen of others'
 * is seen anew: they were perhaps suspended with it. */
void
sim_worker_wake(struct sim *sim, int worker)
{
    struct sim_worker *w = &sim->workers[worker];

    w->grace_ms = sim->conf->wrong == SIM_LONG_GRACE
                      ? INT64_MAX
                      : mono_ms(sim, w) + WAKE_MS;
    memset(w->watched, 0, sizeof w->watched);
    for (int i = 0; i < SIM_SLOTS; i++) {
        struct sim_attempt *a = &w->attempts[i];

        if (a->used && a->phase == PHASE_RUN && !a->writing && !a->reading)
            write_claim(sim, worker, a);
    }
}

void
sim_worker_step(struct sim *sim, const struct sim_step *s)
{
    struct sim_attempt *a;

    if (s->said_ms)
        hear(sim, s);
    if (s->kind == AT_NOTICE)
        sim_worker_note(sim, s->worker, s->task);
    else if (s->kind == AT_ARRIVE)
        arrive(sim, s->worker, s);
    else if (s->kind == AT_BEAT)
        beat(sim, s->worker);
    else if ((a = attempt_of(&sim->workers[s->worker], s)) != NULL)
        attempt_step(sim, a, s);
}

void
sim_worker_crash(struct sim *sim, int worker)
{
    struct sim_worker *w = &sim->workers[worker];

    w->down = true;
    w->epoch++;
    w->frozen_until_ms = w->grace_ms = 0;
    w->asleep = false;
    w->broker_ms = w->broker_seen_ms = 0;
    for (int i = 0; i < SIM_SLOTS; i++) {
        struct sim_attempt *a = &w->attempts[i];

        /* Later deliveries find what is not on disk in the claim, or run. */
        if (a->used && !a->closing && !a->again && !w->spool[i].used &&
            (a->phase == PHASE_SETTLE || a->phase == PHASE_PUBLISH) &&
            sim_chance(sim, 50))
            w->spool[i] = *a;
    }
    memset(w->attempts, 0, sizeof w->attempts);
    memset(w->watched, 0, sizeof w->watched);
    memset(w->noted, 0, sizeof w->noted);
}

void
sim_worker_restart(struct sim *sim, int worker)
{
    struct sim_worker *w = &sim->workers[worker];

    w->down = false;
    w->stale = true; /* nothing has been read yet */
    sim_trace(sim, "%s is up", w->name);
    for (int i = 0; i < SIM_SLOTS; i++) {
        struct sim_attempt *a = &w->spool[i];

        if (!a->used)
            continue;
        a->n = ++sim->n_attempts;
        a->msg = -1;
        a->writing = a->reading = a->putting = a->looking = 0;
        a->settle_next = a->posted = false;
        a->phase = PHASE_SETTLE;
        sim_trace(sim, "%s has the outcome of %s:%u on disk", w->name,
                  sim->ids[a->task], a->wire.claim.attempt);
        sim->report->spooled++;
        read_claim(sim, worker, a);
    }
    sim_schedule(sim, sim_between(sim, 0, BEAT_MS),
                 (struct sim_step){
                     .kind = AT_BEAT, .worker = worker, .epoch = w->epoch});
}
