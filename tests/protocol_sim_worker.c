#include "lib/model/codec.h"
#include "tests/protocol_sim_world.h"

#include <stdio.h>
#include <string.h>

enum { AGAIN_MS = 500, CROWDED_MS = 250 };

static void write_claim(struct life *l, int worker, struct life_job *j);
static void read_claim(struct life *l, int worker, struct life_job *j);

static int64_t
mono_ms(const struct life *l, const struct life_worker *w)
{
    return l->now_ms + w->mono_offset_ms;
}

static int64_t
wall_ms(const struct life *l, const struct life_worker *w)
{
    return l->now_ms + w->wall_offset_ms;
}

/* --- what it sends -------------------------------------------------------- */

static struct life_step
mine(struct life *l, enum life_kind kind, int worker, const struct life_job *j)
{
    return (struct life_step){.kind = kind,
                              .worker = worker,
                              .epoch = l->workers[worker].epoch,
                              .task = j->task,
                              .msg = j->msg,
                              .job = j->n};
}

/* What the broker gets has no sender any more: a crash does not stop it. */
static void
send(struct life *l, int worker, struct life_step s)
{
    if (!life_is_lost(l, worker))
        life_at(l, life_way_ms(l), s);
}

static void
settle(struct life *l, int worker, int msg, enum life_kind kind,
       int64_t delay_ms)
{
    if (msg < 0)
        return;
    send(l, worker,
         (struct life_step){
             .kind = kind, .worker = -1, .msg = msg, .value = delay_ms});
}

/* Asks the broker for something; the answer, or none, comes in time. */
static uint64_t
ask(struct life *l, int worker, const struct life_job *j, enum life_kind kind,
    struct life_step s)
{
    enum life_kind answer = kind == AT_CAS    ? AT_CAS_ANSWER
                            : kind == AT_READ ? AT_READ_ANSWER
                                              : AT_RESULT_ANSWER;
    struct life_step none = mine(l, answer, worker, j);

    s.kind = kind;
    s.worker = worker;
    s.epoch = l->workers[worker].epoch;
    s.task = j->task;
    s.job = j->n;
    s.ask = none.ask = ++l->n_asks;
    none.answer = ANSWER_TIMEOUT;
    life_at(l, PUT_MS, none);
    send(l, worker, s);
    life_tempt(l, worker);
    return s.ask;
}

static struct sim_wire *
copy(struct life *l, const struct sim_wire *wire)
{
    struct sim_wire *out = mem_pool_alloc(l->pool, sizeof *out);

    *out = *wire;
    return out;
}

static void
put_result(struct life *l, int worker, struct life_job *j)
{
    j->putting = ask(l, worker, j, AT_RESULT,
                     (struct life_step){.wire = copy(l, &j->wire)});
}

/* --- the ends of a job ---------------------------------------------------- */

static void
job_done(struct life *l, int worker, struct life_job *j)
{
    settle(l, worker, j->msg, AT_ACK, 0);
    j->used = false;
}

static void
job_retry(struct life *l, int worker, struct life_job *j, int64_t delay_ms)
{
    settle(l, worker, j->msg, AT_NAK, delay_ms);
    j->used = false;
}

static void
job_lost(struct life *l, int worker, struct life_job *j)
{
    life_trace(l, "%s gives up %s:%u", l->workers[worker].name, l->ids[j->task],
               j->wire.claim.attempt);
    j->used = false;
}

static void
again_later(struct life *l, int worker, struct life_job *j)
{
    life_at(l, AGAIN_MS, mine(l, AT_AGAIN, worker, j));
}

/* --- running -------------------------------------------------------------- */

static void
fill_identity(struct life *l, int worker, struct life_job *j)
{
    struct result *r = &j->wire.result;

    codec_init(CODEC_RESULT, r);
    r->task = l->ids[j->task];
    r->attempt = j->wire.claim.attempt;
    r->fence = j->wire.claim.fence;
    r->nonce = j->wire.claim.nonce;
    r->backend = "local";
    r->lane = "default";
    r->worker = j->wire.claim.worker;
    r->started_at_ms = j->wire.claim.started_at_ms;
    r->finished_at_ms = wall_ms(l, &l->workers[worker]);
}

static void
fill_claim(struct life_job *j, enum state state)
{
    j->wire.claim.state = state;
    j->wire.claim.finished_at_ms = j->wire.result.finished_at_ms;
    j->wire.claim.retry_at_ms = j->wire.result.retry_at_ms;
    j->wire.claim.exit_code = j->wire.result.exit_code;
    j->wire.claim.reason = j->wire.result.reason;
    j->wire.has_result = true;
}

static void
start(struct life *l, int worker, struct life_job *j)
{
    j->phase = JOB_RUN;
    life_started(l, worker, j);
    life_at(l, life_run_ms(l), mine(l, AT_RUN_END, worker, j));
}

/* The claim is confirmed, but perhaps it took so long that nobody waits for
 * it any more. */
static void
claimed(struct life *l, int worker, struct life_job *j)
{
    struct sim_wire prior = {.result = j->prior};

    if (mono_ms(l, &l->workers[worker]) - j->confirmed_ms >= BEAT_MS &&
        l->conf->wrong != LIFE_STALE_START) {
        write_claim(l, worker, j);
        return;
    }
    if (j->has_prior)
        send(l, worker,
             (struct life_step){.kind = AT_RESULT,
                                .worker = -1,
                                .task = j->task,
                                .wire = copy(l, &prior)});
    j->has_prior = false;
    start(l, worker, j);
}

/* The claim cannot be another's yet: the result leaves with the outcome. */
static bool
is_fresh(const struct life *l, int worker, const struct life_job *j)
{
    return mono_ms(l, &l->workers[worker]) - j->confirmed_ms < FENCE_MS;
}

static void
run_end(struct life *l, int worker, struct life_job *j)
{
    struct ending end = life_random_end(l);
    double jitter = (double)(life_random(l) % 1000) / 1000;
    struct result *r = &j->wire.result;
    struct end_plan plan;

    state_on_end(&l->tasks[j->task], &j->wire.claim, &end, jitter, &plan);
    fill_identity(l, worker, j);
    r->exit_code = end.exit_code;
    r->reason = end.reason;
    r->final = plan.final;
    r->state = plan.final ? plan.state : end.state;
    j->delay_ms = plan.delay_ms;
    if (!plan.final)
        r->retry_at_ms = r->finished_at_ms + plan.delay_ms;
    j->wire.claim.failed = plan.failed;
    fill_claim(j, plan.state);
    life_trace(l, "%s ends %s:%u as %s, claim %s", l->workers[worker].name,
               l->ids[j->task], r->attempt, state_name(end.state),
               state_name(plan.state));
    j->phase = l->conf->wrong == LIFE_NO_OUTCOME ? JOB_PUBLISH : JOB_SETTLE;
    if (l->conf->wrong == LIFE_NO_OUTCOME) {
        put_result(l, worker, j);
    } else if (j->writing) {
        j->settle_next = true;
    } else if (!j->reading) {
        write_claim(l, worker, j);
        if (is_fresh(l, worker, j))
            put_result(l, worker, j);
    }
}

static void
publish(struct life *l, int worker, struct life_job *j)
{
    j->phase = JOB_PUBLISH;
    if (j->posted && j->wire.result.final)
        job_done(l, worker, j);
    else if (j->posted)
        job_retry(l, worker, j, j->delay_ms);
    else if (!j->putting)
        put_result(l, worker, j);
}

static void
settled(struct life *l, int worker, struct life_job *j)
{
    if (l->conf->wrong == LIFE_EARLY_ACK && j->wire.result.final)
        settle(l, worker, j->msg, AT_ACK, 0);
    publish(l, worker, j);
}

/* --- the claim ------------------------------------------------------------ */

static void
written(struct life *l, int worker, struct life_job *j)
{
    switch (j->phase) {
    case JOB_CLAIM:
        if (j->wire.claim.fence == 0)
            j->wire.claim.fence = j->revision;
        claimed(l, worker, j);
        return;
    case JOB_SETTLE:
        settled(l, worker, j);
        return;
    case JOB_RUN:
    case JOB_PUBLISH:
        return;
    }
}

static void
write_claim(struct life *l, int worker, struct life_job *j)
{
    j->sent_ms = mono_ms(l, &l->workers[worker]);
    if (!j->unsure_ms || l->conf->wrong == LIFE_LATE_DATE)
        j->unsure_ms = j->sent_ms;
    j->writing = ask(
        l, worker, j, AT_CAS,
        (struct life_step){.wire = copy(l, &j->wire), .revision = j->revision});
}

static void
on_written(struct life *l, int worker, struct life_job *j,
           const struct life_step *s)
{
    bool settle_next = j->settle_next;

    j->writing = 0;
    j->settle_next = false;
    if (s->answer != ANSWER_OK) {
        read_claim(l, worker, j);
        return;
    }
    j->revision = s->revision;
    j->confirmed_ms = j->sent_ms;
    j->unsure_ms = 0;
    if (settle_next)
        write_claim(l, worker, j);
    else
        written(l, worker, j);
}

static const char *
new_nonce(struct life *l)
{
    return mem_pool_printf(l->pool, "n%llu",
                           (unsigned long long)life_random(l));
}

static void
take(struct life *l, int worker, struct life_job *j,
     const struct delivery_plan *plan)
{
    struct claim *c = &j->wire.claim;

    codec_init(CODEC_CLAIM, c);
    j->wire.has_result = false;
    j->nonce =
        mem_pool_printf(l->pool, "n%llu", (unsigned long long)life_random(l));
    c->task = l->ids[j->task];
    c->attempt = plan->attempt;
    c->worker = l->workers[worker].name;
    c->nonce = j->nonce;
    c->state = STATE_RUNNING;
    c->lease_ms = LEASE_MS;
    c->started_at_ms = wall_ms(l, &l->workers[worker]);
    c->lost = plan->lost;
    c->failed = plan->failed;
    if (l->conf->wrong == LIFE_NO_CLAIM) {
        c->fence = j->revision;
        start(l, worker, j);
    } else {
        write_claim(l, worker, j);
    }
}

static void
keep_prior(struct life *l, int worker, struct life_job *j,
           const struct sim_wire *found, uint64_t revision)
{
    struct life_job was = {.task = j->task, .wire = *found};

    if (found->claim.state == STATE_RUNNING) {
        if (was.wire.claim.fence == 0)
            was.wire.claim.fence = revision;
        fill_identity(l, worker, &was);
        j->prior = was.wire.result;
        j->prior.state = STATE_LOST;
        j->prior.reason = "its worker fell silent";
    } else if (found->has_result) {
        j->prior = found->result;
        j->prior.emitted_again = true;
    } else {
        return;
    }
    j->prior.final = false;
    j->has_prior = true;
}

static void
close_claim(struct life *l, int worker, struct life_job *j,
            const struct sim_wire *found, const struct delivery_plan *plan)
{
    j->closing = true;
    j->wire = *found;
    if (j->wire.claim.fence == 0)
        j->wire.claim.fence = j->revision;
    j->wire.claim.lost = plan->lost;
    if (l->conf->wrong != LIFE_BORROWED)
        j->wire.claim.nonce = new_nonce(l);
    j->nonce = j->wire.claim.nonce;
    fill_identity(l, worker, j);
    j->wire.result.state = plan->state;
    j->wire.result.final = true;
    j->wire.result.reason = plan->reason;
    fill_claim(j, plan->state);
    j->phase = JOB_SETTLE;
    write_claim(l, worker, j);
}

static void
emit(struct life *l, int worker, struct life_job *j,
     const struct sim_wire *found)
{
    j->wire = *found;
    j->wire.result.emitted_again = true;
    j->wire.result.final = true;
    j->again = true;
    l->report->again++;
    publish(l, worker, j);
}

/* What the worker knows of the age of an entry. */
static struct claim_sight
look(struct life *l, int worker, const struct life_step *s)
{
    struct life_worker *w = &l->workers[worker];
    struct life_sight *seen = &w->sights[s->task];
    int64_t mono = mono_ms(l, w);

    if (seen->revision != s->revision) {
        seen->revision = s->revision;
        seen->since_ms = mono;
    }
    if (l->conf->wrong == LIFE_WALL_CLOCK)
        return (struct claim_sight){wall_ms(l, w) - s->value, INT64_MAX};
    if (l->conf->wrong == LIFE_NO_WATCH)
        seen->since_ms = 0;
    return (struct claim_sight){w->broker_ms + mono - w->broker_seen_ms -
                                    s->value,
                                mono - seen->since_ms};
}

/* s: what was read; NULL: nothing is there, as far as is known. */
static void
plan(struct life *l, int worker, struct life_job *j, const struct life_step *s)
{
    struct claim_sight sight = {0};
    struct delivery_plan p;

    if (s)
        sight = look(l, worker, s);
    state_on_delivery(&l->tasks[j->task], s ? &s->wire->claim : NULL, &sight,
                      wall_ms(l, &l->workers[worker]), &p);
    switch (p.what) {
    case DELIVERY_START:
        if (s)
            keep_prior(l, worker, j, s->wire, s->revision);
        if (s && l->conf->wrong == LIFE_SAME_ATTEMPT &&
            p.lost > s->wire->claim.lost)
            p.attempt--;
        take(l, worker, j, &p);
        return;
    case DELIVERY_EMIT:
        emit(l, worker, j, s->wire);
        return;
    case DELIVERY_WAIT:
        job_retry(l, worker, j, p.delay_ms);
        return;
    case DELIVERY_CLOSE:
        close_claim(l, worker, j, s->wire, &p);
        return;
    }
}

static void
read_claim(struct life *l, int worker, struct life_job *j)
{
    j->reading = ask(l, worker, j, AT_READ, (struct life_step){0});
}

static void
read_none(struct life *l, int worker, struct life_job *j)
{
    j->revision = 0;
    if (j->phase == JOB_CLAIM && j->wire.claim.attempt == 0)
        plan(l, worker, j, NULL);
    else if (j->phase == JOB_CLAIM || j->phase == JOB_SETTLE)
        again_later(l, worker, j);
    else if (j->phase == JOB_RUN)
        job_lost(l, worker, j);
}

static void
read_ours(struct life *l, int worker, struct life_job *j,
          const struct life_step *s)
{
    const struct claim *c = &s->wire->claim;
    bool newer =
        s->revision > j->revision || (j->msg < 0 && c->state != STATE_RUNNING);

    j->revision = s->revision;
    if (newer && c->state == j->wire.claim.state) {
        /* One of the writes we had no answer to, perhaps the oldest. */
        j->confirmed_ms = j->unsure_ms;
        j->unsure_ms = 0;
        written(l, worker, j);
    } else {
        again_later(l, worker, j);
    }
}

static void
read_theirs(struct life *l, int worker, struct life_job *j,
            const struct life_step *s)
{
    if (j->phase != JOB_CLAIM && !j->closing) {
        job_lost(l, worker, j);
        return;
    }
    /* Of two who closed it one was first, or its holder lives. */
    j->closing = false;
    j->phase = JOB_CLAIM;
    j->revision = s->revision;
    plan(l, worker, j, s);
}

static void
on_read(struct life *l, int worker, struct life_job *j,
        const struct life_step *s)
{
    struct life_worker *w = &l->workers[worker];

    j->reading = 0;
    if (s->answer == ANSWER_TIMEOUT) {
        again_later(l, worker, j);
        return;
    }
    if (w->broker_ms == 0 ||
        s->value > w->broker_ms + mono_ms(l, w) - w->broker_seen_ms) {
        w->broker_ms = s->value;
        w->broker_seen_ms = mono_ms(l, w);
    }
    if (s->revision == 0) {
        read_none(l, worker, j);
    } else if (strcmp(s->wire->claim.nonce, j->nonce) == 0) {
        read_ours(l, worker, j, s);
    } else {
        read_theirs(l, worker, j, s);
    }
}

/* --- time and arrivals ---------------------------------------------------- */

static bool
fence_off(struct life *l, int worker, struct life_job *j)
{
    if (l->conf->wrong == LIFE_NO_FENCING || j->phase != JOB_RUN ||
        mono_ms(l, &l->workers[worker]) - j->confirmed_ms < FENCE_MS)
        return false;
    job_lost(l, worker, j);
    return true;
}

static void
again(struct life *l, int worker, struct life_job *j)
{
    if (fence_off(l, worker, j) || j->writing || j->reading ||
        j->phase == JOB_PUBLISH)
        return;
    if (j->phase == JOB_CLAIM && j->wire.claim.attempt == 0)
        read_claim(l, worker, j);
    else
        write_claim(l, worker, j);
}

static void
beat(struct life *l, int worker)
{
    struct life_worker *w = &l->workers[worker];

    for (int i = 0; i < LIFE_SLOTS; i++) {
        struct life_job *j = &w->jobs[i];

        if (!j->used || fence_off(l, worker, j))
            continue;
        settle(l, worker, j->msg, AT_PROGRESS, 0);
        if (j->phase == JOB_RUN && !j->writing && !j->reading)
            write_claim(l, worker, j);
    }
    life_at(l, BEAT_MS + life_between(l, 0, 20),
            (struct life_step){
                .kind = AT_BEAT, .worker = worker, .epoch = w->epoch});
}

static void
arrive(struct life *l, int worker, const struct life_step *s)
{
    struct life_worker *w = &l->workers[worker];
    struct life_job *j = NULL;

    for (int i = 0; i < LIFE_SLOTS; i++) {
        if (w->jobs[i].used && w->jobs[i].task == s->task) {
            settle(l, worker, s->msg, AT_PROGRESS, 0);
            return;
        }
        if (!w->jobs[i].used)
            j = &w->jobs[i];
    }
    if (!j) {
        settle(l, worker, s->msg, AT_NAK, CROWDED_MS);
        return;
    }
    *j = (struct life_job){.used = true,
                           .n = ++l->n_jobs,
                           .task = s->task,
                           .msg = s->msg,
                           .nonce = "",
                           .confirmed_ms = mono_ms(l, w)};
    codec_init(CODEC_CLAIM, &j->wire.claim);
    if (s->value == 1)
        plan(l, worker, j, NULL);
    else
        read_claim(l, worker, j);
}

static void
on_put(struct life *l, int worker, struct life_job *j,
       const struct life_step *s)
{
    j->putting = 0;
    j->posted = s->answer != ANSWER_TIMEOUT;
    if (j->phase == JOB_PUBLISH)
        publish(l, worker, j);
}

static struct life_job *
job_of(struct life_worker *w, const struct life_step *s)
{
    for (int i = 0; i < LIFE_SLOTS; i++) {
        if (w->jobs[i].used && w->jobs[i].n == s->job)
            return &w->jobs[i];
        if (w->spool[i].used && w->spool[i].n == s->job)
            return &w->spool[i];
    }
    return NULL;
}

static void
job_step(struct life *l, struct life_job *j, const struct life_step *s)
{
    if (s->kind == AT_CAS_ANSWER && s->ask == j->writing)
        on_written(l, s->worker, j, s);
    else if (s->kind == AT_READ_ANSWER && s->ask == j->reading)
        on_read(l, s->worker, j, s);
    else if (s->kind == AT_RESULT_ANSWER && s->ask == j->putting)
        on_put(l, s->worker, j, s);
    else if (s->kind == AT_RUN_END && j->phase == JOB_RUN)
        run_end(l, s->worker, j);
    else if (s->kind == AT_AGAIN)
        again(l, s->worker, j);
}

void
life_worker_step(struct life *l, const struct life_step *s)
{
    struct life_job *j;

    if (s->kind == AT_ARRIVE)
        arrive(l, s->worker, s);
    else if (s->kind == AT_BEAT)
        beat(l, s->worker);
    else if ((j = job_of(&l->workers[s->worker], s)) != NULL)
        job_step(l, j, s);
}

void
life_worker_crash(struct life *l, int worker)
{
    struct life_worker *w = &l->workers[worker];

    w->down = true;
    w->epoch++;
    w->frozen_until_ms = 0;
    w->broker_ms = w->broker_seen_ms = 0;
    for (int i = 0; i < LIFE_SLOTS; i++) {
        struct life_job *j = &w->jobs[i];

        /* Later deliveries find what is not on disk in the claim, or run. */
        if (j->used && !j->closing && !j->again && !w->spool[i].used &&
            (j->phase == JOB_SETTLE || j->phase == JOB_PUBLISH) &&
            life_chance(l, 50))
            w->spool[i] = *j;
    }
    memset(w->jobs, 0, sizeof w->jobs);
    memset(w->sights, 0, sizeof w->sights);
}

void
life_worker_restart(struct life *l, int worker)
{
    struct life_worker *w = &l->workers[worker];

    w->down = false;
    life_trace(l, "%s is up", w->name);
    for (int i = 0; i < LIFE_SLOTS; i++) {
        struct life_job *j = &w->spool[i];

        if (!j->used)
            continue;
        j->n = ++l->n_jobs;
        j->msg = -1;
        j->writing = j->reading = j->putting = 0;
        j->settle_next = j->posted = false;
        j->phase = JOB_SETTLE;
        life_trace(l, "%s has the outcome of %s:%u on disk", w->name,
                   l->ids[j->task], j->wire.claim.attempt);
        l->report->spooled++;
        read_claim(l, worker, j);
    }
    life_at(l, life_between(l, 0, BEAT_MS),
            (struct life_step){
                .kind = AT_BEAT, .worker = worker, .epoch = w->epoch});
}
