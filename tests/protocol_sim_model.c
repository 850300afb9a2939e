/*
 * The frame of the simulation: random numbers and time, the heap of steps to
 * come, the checks of what was promised, and everybody who is not a worker, the
 * broker or the ledger: submitter, router, who plants results, reconciler,
 * faults.
 */
#include "lib/model/codec.h"
#include "tests/protocol_sim_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    MINUTE_MS = 60 * 1000,
    HOUR_MS = 60 * MINUTE_MS,
    REST_MS = 3 * MINUTE_MS, /* watched on after the last task has ended */
    START_MS = 10 * HOUR_MS, /* no clock is ever below zero */
    END_MS = START_MS + 6 * HOUR_MS,
};

/* --- chance and time ------------------------------------------------------ */

/* splitmix64 */
uint64_t
sim_random(struct sim *sim)
{
    uint64_t z = sim->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

bool
sim_chance(struct sim *sim, unsigned of_hundred)
{
    return sim_random(sim) % 100 < of_hundred;
}

int64_t
sim_between(struct sim *sim, int64_t least, int64_t most)
{
    return least + (int64_t)(sim_random(sim) % (uint64_t)(most - least + 1));
}

bool
sim_is_faulty(const struct sim *sim)
{
    return sim->now_ms < sim->faults_end_ms;
}

int64_t
sim_latency_ms(struct sim *sim)
{
    if (sim_is_faulty(sim) && sim_chance(sim, sim->trouble))
        return sim_between(sim, 1, sim_chance(sim, 30) ? 40000 : 8000);
    return sim_between(sim, 0, 20);
}

bool
sim_is_lost(struct sim *sim, int worker)
{
    if (worker >= 0 && sim->now_ms < sim->workers[worker].cut_until_ms)
        return true;
    return sim_is_faulty(sim) && sim_chance(sim, sim->trouble);
}

void
sim_maybe_fault(struct sim *sim, int worker)
{
    if (sim_is_faulty(sim) && sim_chance(sim, 2))
        sim_schedule(
            sim, sim_between(sim, 0, 40),
            (struct sim_step){.kind = AT_FAULT, .worker = -1, .msg = worker});
}

/* Mostly short, sometimes longer than any lease. */
int64_t
sim_run_ms(struct sim *sim)
{
    unsigned kind = (unsigned)(sim_random(sim) % 10);

    return sim_between(sim, 1, kind < 6 ? 3000 : kind < 9 ? 90000 : 300000);
}

struct ending
sim_random_end(struct sim *sim)
{
    static const struct ending ends[] = {
        {STATE_SUCCEEDED, "", 0, 0},
        {STATE_FAILED, "exit code 1", 1, 0},
        {STATE_FAILED, "exit code 127", 127, 0},
        {STATE_FAILED, "killed by signal 9", 137, 9},
        {STATE_TIMED_OUT, "ran longer than 1m", 124, 0},
        {STATE_UNVERIFIED, "", 0, 0},
        {STATE_NO_OP, "", 0, 0},
        {STATE_CANCELLED, "cancelled", 143, 15},
        {STATE_PREEMPTED, "handed back", 143, 15},
    };
    static const unsigned share[] = {45, 20, 3, 7, 7, 3, 3, 3, 9};
    unsigned n = (unsigned)(sim_random(sim) % 100), i = 0;

    while (n >= share[i])
        n -= share[i++];
    return ends[i];
}

int64_t
sim_broker_ms(const struct sim *sim)
{
    return sim->now_ms + sim->broker_offset_ms;
}

bool
sim_broker_is_down(const struct sim *sim)
{
    return sim->now_ms < sim->broker_down_until_ms ||
           sim->now_ms < sim->broker_asleep_until_ms;
}

void
sim_trace(const struct sim *sim, const char *fmt, ...)
{
    va_list ap;

    if (!sim->conf->trace)
        return;
    (void)fprintf(stderr, "%9.3f  ", (double)(sim->now_ms - START_MS) / 1000);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
}

void
sim_violation(struct sim *sim, const char *fmt, ...)
{
    char text[sizeof sim->report->first];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sim_trace(sim, "VIOLATION %s", text);
    if (sim->report->violations++ == 0)
        memcpy(sim->report->first, text, sizeof text);
}

/* --- the steps to come: a heap -------------------------------------------- */

static bool
before(const struct sim_step *a, const struct sim_step *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void
push(struct sim *sim, const struct sim_step *s)
{
    size_t i;

    if (sim->n_heap == sim->cap_heap) {
        sim->cap_heap = sim->cap_heap ? sim->cap_heap * 2 : 256;
        sim->heap = mem_resize(sim->heap, sim->cap_heap * sizeof *sim->heap);
    }
    for (i = sim->n_heap++; i > 0 && before(s, &sim->heap[(i - 1) / 2]);
         i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = *s;
}

static struct sim_step
pop(struct sim *sim)
{
    struct sim_step first = sim->heap[0], last = sim->heap[--sim->n_heap];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < sim->n_heap) {
        if (child + 1 < sim->n_heap &&
            before(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!before(&sim->heap[child], &last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    if (sim->n_heap > 0)
        sim->heap[i] = last;
    return first;
}

void
sim_schedule(struct sim *sim, int64_t delay_ms, struct sim_step s)
{
    s.at_ms = sim->now_ms + delay_ms;
    s.order = sim_random(sim);
    push(sim, &s);
}

/* --- what was promised ---------------------------------------------------- */

/* Whether a, of w, was suspended, and may still be asking whose the claim is.
 */
static bool
is_waking(const struct sim *sim, const struct sim_worker *w,
          const struct sim_attempt *a)
{
    return sim->now_ms <= w->thawed_at_ms ||
           (sim->now_ms <= w->thawed_at_ms + WAKE_MS + BEAT_MS &&
            a->confirmed_ms - w->mono_offset_ms <= w->thawed_at_ms);
}

/* Two attempts at once: nobody may have stood still, and be asking since whose
 * the claim is, nor the broker's clock have been set, which is why the fence
 * exists. */
static void
check_alone(struct sim *sim, int worker, const struct sim_attempt *a)
{
    for (int i = 0; i < SIM_WORKERS; i++) {
        const struct sim_worker *w = &sim->workers[i];

        if (i == worker || sim->broker_stepped)
            continue;
        for (int k = 0; k < SIM_SLOTS; k++)
            if (w->attempts[k].used && w->attempts[k].task == a->task &&
                w->attempts[k].phase == PHASE_RUN &&
                !is_waking(sim, w, &w->attempts[k]))
                sim_violation(sim, "%s: runs twice at once, on %s and %s",
                              sim->ids[a->task], w->name,
                              sim->workers[worker].name);
    }
}

void
sim_attempt_started(struct sim *sim, int worker, const struct sim_attempt *a)
{
    const struct claim *c = &a->wire.claim;
    struct sim_truth *t = &sim->truth[a->task];
    const char *id = sim->ids[a->task];

    sim->report->starts++;
    sim_trace(sim, "%s starts %s:%u fence %llu", sim->workers[worker].name, id,
              c->attempt, (unsigned long long)c->fence);
    if (c->attempt == 0 || c->attempt >= SIM_ATTEMPTS) {
        sim_violation(sim, "%s: attempt %u", id, c->attempt);
        return;
    }
    if (++t->starts[c->attempt] > 1)
        sim_violation(sim, "%s: attempt %u started twice", id, c->attempt);
    if (c->fence <= t->fence)
        sim_violation(sim, "%s: attempt %u has fence %llu after %llu", id,
                      c->attempt, (unsigned long long)c->fence,
                      (unsigned long long)t->fence);
    t->fence = c->fence;
    if (t->cancelled_ms && t->taken_ms[c->attempt] > t->cancelled_ms)
        sim_violation(sim, "%s: attempt %u starts after it was cancelled", id,
                      c->attempt);
    if (state_is_terminal(sim->rows[a->task].row.state))
        sim_violation(sim, "%s: attempt %u starts after the task has ended", id,
                      c->attempt);
    for (uint32_t n = 1; n < c->attempt; n++)
        if (sim->tasks[a->task].retry == RETRY_NEVER && t->starts[n] &&
            !t->settled[n])
            sim_violation(sim,
                          "%s: retry is never, attempt %u was lost, and "
                          "%u starts",
                          id, n, c->attempt);
    check_alone(sim, worker, a);
}

/* A worker that was there all the time stops what is cancelled. */
void
sim_attempt_ended(struct sim *sim, int worker, const struct sim_attempt *a)
{
    const struct sim_worker *w = &sim->workers[worker];
    int64_t ms = sim->truth[a->task].cancelled_ms;

    if (!a->cancelled && ms && w->cut_until_ms < ms && w->thawed_at_ms < ms &&
        !w->stale && sim->now_ms > ms + MINUTE_MS)
        sim_violation(sim, "%s: attempt %u ran on for %lld ms after its cancel",
                      sim->ids[a->task], a->wire.claim.attempt,
                      (long long)(sim->now_ms - ms));
}

/* The state of the task that a claim in that state stands for. */
static enum state
task_state_of(enum state claim)
{
    return claim == STATE_PREEMPTED ? STATE_ROUTED : claim;
}

void
sim_claim_written(struct sim *sim, int task, const struct claim *was,
                  const struct claim *is)
{
    struct sim_truth *t = &sim->truth[task];
    const char *id = sim->ids[task];
    int64_t silent_ms = sim->now_ms - sim->kv[task].written_ms;
    bool took_over =
        is->state == STATE_RUNNING && strcmp(was->nonce, is->nonce) != 0;

    if (!state_next(task_state_of(was->state), task_state_of(is->state)))
        sim_violation(sim, "%s: its claim went from %s to %s", id,
                      state_name(was->state), state_name(is->state));
    if (took_over && is->attempt < SIM_ATTEMPTS)
        t->taken_ms[is->attempt] = sim->now_ms;
    if (is->attempt != was->attempt + took_over)
        sim_violation(sim, "%s: attempt %u claimed after %u", id, is->attempt,
                      was->attempt);
    if (was->state == STATE_RUNNING && is->lost > was->lost) {
        if (silent_ms < (sim->broker_stepped ? STATE_SILENT_MS : LEASE_MS))
            sim_violation(sim, "%s: attempt %u taken for lost after %lld ms",
                          id, was->attempt, (long long)silent_ms);
        t->lost++;
        sim->report->lost++;
    } else if (was->state == STATE_RUNNING && is->state != STATE_RUNNING &&
               is->attempt < SIM_ATTEMPTS) {
        t->settled[is->attempt] = true;
        t->failed += is->failed > was->failed;
    }
    sim->report->closed +=
        is->state == STATE_DEAD || is->state == STATE_UNKNOWN;
    if (t->failed > 1 + sim->tasks[task].retries)
        sim_violation(sim, "%s: failed %u times with %u retries", id, t->failed,
                      sim->tasks[task].retries);
    if (t->lost > TASK_LOST_MAX || is->lost != t->lost)
        sim_violation(sim, "%s: lost %u times, its claim says %u", id, t->lost,
                      is->lost);
}

/* --- submitter, router, planter, reconciler ------------------------------- */

static void
submit(struct sim *sim, int task)
{
    struct sim_truth *t = &sim->truth[task];

    if (t->accepted)
        return;
    if (!sim_broker_is_down(sim) && !sim_is_lost(sim, -1)) {
        struct sim_step in = {.kind = AT_ROUTER, .worker = -1, .task = task};

        if (!t->submitted ||
            sim_chance(sim, 20)) { /* the broker has forgotten the id */
            if (!t->submitted)
                sim->accepted_ms[task] = sim_broker_ms(sim);
            t->submitted = true;
            sim_schedule(sim, sim_latency_ms(sim), in);
            sim_notify_ledger(sim, AT_LEDGER_ACCEPTED, task, 0);
        }
        t->accepted = !sim_is_lost(sim, -1); /* the PubAck */
    }
    if (!t->accepted)
        sim_schedule(
            sim, PUT_MS,
            (struct sim_step){.kind = AT_SUBMIT, .worker = -1, .task = task});
}

static void
router(struct sim *sim, const struct sim_step *s)
{
    if (sim_broker_is_down(sim) || sim_is_lost(sim, -1)) {
        sim_schedule(sim, ACK_WAIT_MS, *s);
        return;
    }
    if (sim->tasks[s->task].hold || sim_cancel_by_router(sim, s))
        return;
    if (sim->now_ms >= sim->routed_until_ms[s->task]) {
        sim->routed_until_ms[s->task] = sim_remember_until(sim);
        sim_route(sim, s->task, 0);
    }
    if (sim_is_lost(sim, -1)) /* its ack, or the router */
        sim_schedule(sim, sim_between(sim, 0, ACK_WAIT_MS), *s);
}

static void
forge(struct sim *sim, int task)
{
    struct result r;

    codec_init(CODEC_RESULT, &r);
    r.task = sim->ids[task];
    r.attempt = 1 + (uint32_t)(sim_random(sim) % 2);
    r.fence = sim_chance(sim, 50) ? UINT32_MAX : sim->kv[task].revision;
    r.nonce = sim_chance(sim, 50) ? "planted" : "";
    r.backend = "local";
    r.lane = "default";
    r.worker = "nobody";
    r.state = STATE_SUCCEEDED;
    r.final = true;
    sim_store_result(sim, &r, true);
}

/* Dispatches open tasks again whose message is acknowledged. */
static void
reconcile(struct sim *sim)
{
    for (int i = 0; i < sim->n_tasks; i++) {
        bool open = sim->truth[i].accepted &&
                    !state_is_terminal(sim->rows[i].row.state) &&
                    sim->rows[i].row.routed &&
                    (!sim->rows[i].row.cancel_at_ms ||
                     state_is_terminal(sim->kv[i].wire.claim.state));
        uint32_t drive = 0;

        for (int m = 0; m < sim->n_msgs && open; m++)
            if (sim->msgs[m].task == i) {
                open = sim->msgs[m].acked;
                drive = sim->msgs[m].drive + 1;
            }
        if (open && !sim_broker_is_down(sim))
            sim_route(sim, i, drive);
    }
    sim_schedule(sim, MINUTE_MS,
                 (struct sim_step){.kind = AT_RECONCILE, .worker = -1});
}

/* --- faults --------------------------------------------------------------- */

static void
crash(struct sim *sim, int worker)
{
    sim_trace(sim, "%s crashes", sim->workers[worker].name);
    sim->report->crashes++;
    sim_worker_crash(sim, worker);
    sim_schedule(
        sim, sim_between(sim, 100, 60000),
        (struct sim_step){.kind = AT_RESTART, .worker = -1, .msg = worker});
}

static int64_t
clock_step(struct sim *sim)
{
    return sim_between(sim, -5 * HOUR_MS, 5 * HOUR_MS);
}

static void
freeze(struct sim *sim, struct sim_worker *w, int64_t ms)
{
    if (sim->now_ms + ms < w->frozen_until_ms)
        return; /* it is, for longer */
    w->asleep = true;
    w->frozen_until_ms = w->thawed_at_ms = sim->now_ms + ms;
    sim_trace(sim, "%s freezes until %.3f", w->name,
              (double)(w->frozen_until_ms - START_MS) / 1000);
    sim->report->freezes++;
}

/* The lid is closed: workers and broker stop together, and wake in any order,
 * within some seconds. */
static void
suspend(struct sim *sim)
{
    int64_t ms = sim_between(sim, 1000, 10 * MINUTE_MS);

    sim->report->sleeps++;
    sim->broker_asleep_until_ms = sim->now_ms + ms + sim_between(sim, 0, 8000);
    sim_trace(sim, "the broker sleeps until %.3f",
              (double)(sim->broker_asleep_until_ms - START_MS) / 1000);
    for (int i = 0; i < SIM_WORKERS; i++)
        if (!sim->workers[i].down)
            freeze(sim, &sim->workers[i], ms + sim_between(sim, 0, 8000));
}

static void
cut(struct sim *sim, struct sim_worker *w)
{
    w->cut_until_ms = sim->now_ms + sim_between(sim, 1000, 5 * MINUTE_MS);
    sim_trace(sim, "%s is cut off until %.3f", w->name,
              (double)(w->cut_until_ms - START_MS) / 1000);
    sim->report->cuts++;
}

static void
fault(struct sim *sim, int worker)
{
    struct sim_worker *w = &sim->workers[worker];
    unsigned kind = (unsigned)(sim_random(sim) % 100);

    if (kind < 25 && !w->down) {
        crash(sim, worker);
    } else if (kind < 50 && !w->down && sim->now_ms >= w->frozen_until_ms) {
        freeze(sim, w, sim_between(sim, 1000, 3 * MINUTE_MS));
    } else if (kind < 75) {
        cut(sim, w);
    } else if (kind < 85) {
        w->wall_offset_ms = clock_step(sim);
        sim_trace(sim, "%s has its clock set by %lld ms", w->name,
                  (long long)w->wall_offset_ms);
    } else if (kind < 90) {
        suspend(sim);
    } else if (kind < 96) {
        sim->broker_down_until_ms = sim->now_ms + sim_between(sim, 1000, 60000);
        sim_trace(sim, "the broker is away until %.3f",
                  (double)(sim->broker_down_until_ms - START_MS) / 1000);
    } else if (sim->broker_stepped) {
        sim->broker_offset_ms = clock_step(sim);
        sim_trace(sim, "the broker has its clock set by %lld ms",
                  (long long)sim->broker_offset_ms);
    }
}

/* --- one run -------------------------------------------------------------- */

static void
worker_step(struct sim *sim, const struct sim_step *s)
{
    struct sim_worker *w = &sim->workers[s->worker];

    if (w->down || w->epoch != s->epoch)
        return;
    if (sim->now_ms < w->frozen_until_ms) { /* it finds everything at once */
        sim_schedule(sim, w->frozen_until_ms - sim->now_ms, *s);
        return;
    }
    if (w->asleep) {
        w->asleep = false;
        sim_worker_wake(sim, s->worker);
    }
    sim_worker_step(sim, s);
}

static void
take_step(struct sim *sim, const struct sim_step *s)
{
    switch (s->kind) {
    case AT_SUBMIT:
        submit(sim, s->task);
        return;
    case AT_ROUTER:
        router(sim, s);
        return;
    case AT_DELIVER:
    case AT_ACK_WAIT:
    case AT_ACK:
    case AT_NAK:
    case AT_PROGRESS:
    case AT_CAS:
    case AT_READ:
    case AT_RESULT:
    case AT_LOOK:
        sim_broker_step(sim, s);
        return;
    case AT_ARRIVE:
    case AT_CAS_ANSWER:
    case AT_READ_ANSWER:
    case AT_RESULT_ANSWER:
    case AT_RUN_END:
    case AT_BEAT:
    case AT_AGAIN:
    case AT_NOTICE:
    case AT_LOOK_ANSWER:
        worker_step(sim, s);
        return;
    case AT_FAULT:
        fault(sim, s->msg);
        return;
    case AT_RESTART:
        sim_worker_restart(sim, s->msg);
        return;
    case AT_FORGE:
        forge(sim, s->task);
        return;
    case AT_LEDGER_ACCEPTED:
    case AT_LEDGER_ROUTED:
    case AT_LEDGER_RESULT:
    case AT_LEDGER_CANCEL:
        sim_ledger_step(sim, s);
        return;
    case AT_CANCEL:
    case AT_LEDGER_PASS:
    case AT_LEDGER_CLOSE:
        sim_cancel_step(sim, s);
        return;
    case AT_RECONCILE:
        reconcile(sim);
        return;
    }
}

static bool
at_rest(const struct sim *sim)
{
    for (int i = 0; i < sim->n_tasks; i++)
        if (!sim->truth[i].accepted ||
            !state_is_terminal(sim->rows[i].row.state))
            return false;
    for (int i = 0; i < sim->n_msgs; i++)
        if (!sim->msgs[i].acked)
            return false;
    for (int i = 0; i < sim->n_results; i++)
        if (!sim->results[i].taken)
            return false;
    return !sim_is_faulty(sim);
}

static void
open_tasks(struct sim *sim)
{
    sim->n_tasks = (int)sim_between(sim, 1, SIM_TASKS);
    for (int i = 0; i < sim->n_tasks; i++) {
        struct task *t = &sim->tasks[i];
        int64_t submit_ms = sim_between(sim, 0, 2 * MINUTE_MS);

        codec_init(CODEC_TASK, t);
        (void)snprintf(sim->ids[i], sizeof sim->ids[i], "t%d", i);
        t->id = sim->ids[i];
        t->retry = sim_chance(sim, 30) ? RETRY_NEVER : RETRY_SAFE;
        t->retries = (uint32_t)(sim_random(sim) % 4);
        sim_schedule(
            sim, submit_ms,
            (struct sim_step){.kind = AT_SUBMIT, .worker = -1, .task = i});
        sim_cancel_plan(sim, i, submit_ms);
        if (sim_chance(sim, 15))
            sim_schedule(
                sim, sim_between(sim, 0, 5 * MINUTE_MS),
                (struct sim_step){.kind = AT_FORGE, .worker = -1, .task = i});
    }
}

static void
open_world(struct sim *sim)
{
    static const char *const names[SIM_WORKERS] = {"anna", "bert", "cleo"};
    int64_t faults_ms = sim_between(sim, MINUTE_MS, 8 * MINUTE_MS);
    unsigned n_faults;

    sim->faults_end_ms = sim->now_ms + faults_ms;
    sim->trouble = sim_chance(sim, 25) ? 30 : 8;
    sim->trouble = (unsigned)(sim_random(sim) % sim->trouble);
    sim->broker_stepped = sim_chance(sim, 25);
    for (int i = 0; i < SIM_WORKERS; i++) {
        sim->workers[i].name = names[i];
        sim->workers[i].mono_offset_ms = sim_between(sim, 0, HOUR_MS);
        sim->workers[i].wall_offset_ms =
            sim_chance(sim, 30) ? clock_step(sim) : 0;
        sim->workers[i].down = true;
        sim_worker_restart(sim, i);
    }
    n_faults = (unsigned)(sim_random(sim) % 16);
    for (unsigned i = 0; i < n_faults; i++) {
        struct sim_step s = {.kind = AT_FAULT, .worker = -1};

        s.msg = (int)(sim_random(sim) % SIM_WORKERS);
        sim_schedule(sim, sim_between(sim, 0, faults_ms), s);
    }
    sim_schedule(sim, MINUTE_MS,
                 (struct sim_step){.kind = AT_RECONCILE, .worker = -1});
    open_tasks(sim);
    sim_cancel_open(sim);
    sim_ledger_open(sim);
}

static void
run(struct sim *sim)
{
    int64_t rest_ms = 0; /* since when there is nothing left to do */

    while (sim->now_ms < END_MS &&
           !(rest_ms && sim->now_ms > rest_ms + REST_MS)) {
        struct sim_step s = pop(sim);

        sim->now_ms = s.at_ms;
        sim->report->steps++;
        take_step(sim, &s);
        if (!at_rest(sim))
            rest_ms = 0;
        else if (!rest_ms)
            rest_ms = sim->now_ms;
    }
}

void
sim_run(const struct sim_conf *conf, struct sim_report *out)
{
    struct sim *sim = MEM_NEW(struct sim);

    *out = (struct sim_report){0};
    sim->conf = conf;
    sim->report = out;
    sim->random = conf->seed;
    sim->now_ms = START_MS;
    sim->pool = mem_pool_new();
    open_world(sim);
    run(sim);
    sim_ledger_check(sim);
    out->tasks = (unsigned)sim->n_tasks;
    mem_pool_free(sim->pool);
    mem_free(sim->heap);
    mem_free(sim);
}
