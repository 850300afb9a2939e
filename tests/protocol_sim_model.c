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
life_random(struct life *l)
{
    uint64_t z = l->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

bool
life_chance(struct life *l, unsigned of_hundred)
{
    return life_random(l) % 100 < of_hundred;
}

int64_t
life_between(struct life *l, int64_t least, int64_t most)
{
    return least + (int64_t)(life_random(l) % (uint64_t)(most - least + 1));
}

bool
life_is_faulty(const struct life *l)
{
    return l->now_ms < l->faults_end_ms;
}

int64_t
life_way_ms(struct life *l)
{
    if (life_is_faulty(l) && life_chance(l, l->trouble))
        return life_between(l, 1, life_chance(l, 30) ? 40000 : 8000);
    return life_between(l, 0, 20);
}

bool
life_is_lost(struct life *l, int worker)
{
    if (worker >= 0 && l->now_ms < l->workers[worker].cut_until_ms)
        return true;
    return life_is_faulty(l) && life_chance(l, l->trouble);
}

void
life_tempt(struct life *l, int worker)
{
    if (life_is_faulty(l) && life_chance(l, 2))
        life_at(
            l, life_between(l, 0, 40),
            (struct life_step){.kind = AT_FAULT, .worker = -1, .msg = worker});
}

/* Mostly short, sometimes longer than any lease. */
int64_t
life_run_ms(struct life *l)
{
    unsigned kind = (unsigned)(life_random(l) % 10);

    return life_between(l, 1, kind < 6 ? 3000 : kind < 9 ? 90000 : 300000);
}

struct ending
life_random_end(struct life *l)
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
    unsigned n = (unsigned)(life_random(l) % 100), i = 0;

    while (n >= share[i])
        n -= share[i++];
    return ends[i];
}

int64_t
life_broker_ms(const struct life *l)
{
    return l->now_ms + l->broker_offset_ms;
}

bool
life_broker_is_down(const struct life *l)
{
    return l->now_ms < l->broker_down_until_ms;
}

void
life_trace(const struct life *l, const char *fmt, ...)
{
    va_list ap;

    if (!l->conf->trace)
        return;
    (void)fprintf(stderr, "%9.3f  ", (double)(l->now_ms - START_MS) / 1000);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
}

void
life_violation(struct life *l, const char *fmt, ...)
{
    char text[sizeof l->report->first];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    life_trace(l, "VIOLATION %s", text);
    if (l->report->violations++ == 0)
        memcpy(l->report->first, text, sizeof text);
}

/* --- the steps to come: a heap -------------------------------------------- */

static bool
before(const struct life_step *a, const struct life_step *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void
push(struct life *l, const struct life_step *s)
{
    size_t i;

    if (l->n_heap == l->cap_heap) {
        l->cap_heap = l->cap_heap ? l->cap_heap * 2 : 256;
        l->heap = mem_resize(l->heap, l->cap_heap * sizeof *l->heap);
    }
    for (i = l->n_heap++; i > 0 && before(s, &l->heap[(i - 1) / 2]);
         i = (i - 1) / 2)
        l->heap[i] = l->heap[(i - 1) / 2];
    l->heap[i] = *s;
}

static struct life_step
pop(struct life *l)
{
    struct life_step first = l->heap[0], last = l->heap[--l->n_heap];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < l->n_heap) {
        if (child + 1 < l->n_heap &&
            before(&l->heap[child + 1], &l->heap[child]))
            child++;
        if (!before(&l->heap[child], &last))
            break;
        l->heap[i] = l->heap[child];
        i = child;
    }
    if (l->n_heap > 0)
        l->heap[i] = last;
    return first;
}

void
life_at(struct life *l, int64_t delay_ms, struct life_step s)
{
    s.at_ms = l->now_ms + delay_ms;
    s.order = life_random(l);
    push(l, &s);
}

/* --- what was promised ---------------------------------------------------- */

/* Two attempts at once: nobody may have stood still, nor the broker's clock
 * have been set, which is why the fence exists. */
static void
check_alone(struct life *l, int worker, const struct life_job *j)
{
    for (int i = 0; i < LIFE_WORKERS; i++) {
        const struct life_worker *w = &l->workers[i];

        if (i == worker || l->broker_stepped || l->now_ms <= w->thawed_at_ms)
            continue;
        for (int k = 0; k < LIFE_SLOTS; k++)
            if (w->jobs[k].used && w->jobs[k].task == j->task &&
                w->jobs[k].phase == JOB_RUN)
                life_violation(l, "%s: runs twice at once, on %s and %s",
                               l->ids[j->task], w->name,
                               l->workers[worker].name);
    }
}

void
life_started(struct life *l, int worker, const struct life_job *j)
{
    const struct claim *c = &j->wire.claim;
    struct life_truth *t = &l->truth[j->task];
    const char *id = l->ids[j->task];

    l->report->starts++;
    life_trace(l, "%s starts %s:%u fence %llu", l->workers[worker].name, id,
               c->attempt, (unsigned long long)c->fence);
    if (c->attempt == 0 || c->attempt >= LIFE_ATTEMPTS) {
        life_violation(l, "%s: attempt %u", id, c->attempt);
        return;
    }
    if (++t->starts[c->attempt] > 1)
        life_violation(l, "%s: attempt %u started twice", id, c->attempt);
    if (c->fence <= t->fence)
        life_violation(l, "%s: attempt %u has fence %llu after %llu", id,
                       c->attempt, (unsigned long long)c->fence,
                       (unsigned long long)t->fence);
    t->fence = c->fence;
    for (uint32_t a = 1; a < c->attempt; a++)
        if (l->tasks[j->task].retry == RETRY_NEVER && t->starts[a] &&
            !t->settled[a])
            life_violation(l,
                           "%s: retry is never, attempt %u was lost, and "
                           "%u starts",
                           id, a, c->attempt);
    check_alone(l, worker, j);
}

/* The life of a task as its claims tell it. */
static enum state
task_state_of(enum state claim)
{
    return claim == STATE_PREEMPTED ? STATE_ROUTED : claim;
}

void
life_written(struct life *l, int task, const struct claim *was,
             const struct claim *is)
{
    struct life_truth *t = &l->truth[task];
    const char *id = l->ids[task];
    int64_t silent_ms = l->now_ms - l->kv[task].written_ms;
    bool took_over =
        is->state == STATE_RUNNING && strcmp(was->nonce, is->nonce) != 0;

    if (!state_next(task_state_of(was->state), task_state_of(is->state)))
        life_violation(l, "%s: its claim went from %s to %s", id,
                       state_name(was->state), state_name(is->state));
    if (is->attempt != was->attempt + took_over)
        life_violation(l, "%s: attempt %u claimed after %u", id, is->attempt,
                       was->attempt);
    if (was->state == STATE_RUNNING && is->lost > was->lost) {
        if (silent_ms < (l->broker_stepped ? STATE_SILENT_MS : LEASE_MS))
            life_violation(l, "%s: attempt %u taken for lost after %lld ms", id,
                           was->attempt, (long long)silent_ms);
        t->lost++;
        l->report->lost++;
    } else if (was->state == STATE_RUNNING && is->state != STATE_RUNNING &&
               is->attempt < LIFE_ATTEMPTS) {
        t->settled[is->attempt] = true;
        t->failed += is->failed > was->failed;
    }
    l->report->closed += is->state == STATE_DEAD || is->state == STATE_UNKNOWN;
    if (t->failed > 1 + l->tasks[task].retries)
        life_violation(l, "%s: failed %u times with %u retries", id, t->failed,
                       l->tasks[task].retries);
    if (t->lost > TASK_LOST_MAX || is->lost != t->lost)
        life_violation(l, "%s: lost %u times, its claim says %u", id, t->lost,
                       is->lost);
}

/* --- submitter, router, planter, reconciler ------------------------------- */

static void
submit(struct life *l, int task)
{
    struct life_truth *t = &l->truth[task];

    if (t->accepted)
        return;
    if (!life_broker_is_down(l) && !life_is_lost(l, -1)) {
        struct life_step in = {.kind = AT_ROUTER, .worker = -1, .task = task};

        if (!t->submitted || life_chance(l, 20)) { /* the id is forgotten */
            if (!t->submitted)
                l->accepted_ms[task] = life_broker_ms(l);
            t->submitted = true;
            life_at(l, life_way_ms(l), in);
            life_tell_ledger(l, AT_LEDGER_ACCEPTED, task, 0);
        }
        t->accepted = !life_is_lost(l, -1); /* the PubAck */
    }
    if (!t->accepted)
        life_at(
            l, PUT_MS,
            (struct life_step){.kind = AT_SUBMIT, .worker = -1, .task = task});
}

static void
router(struct life *l, const struct life_step *s)
{
    if (life_broker_is_down(l) || life_is_lost(l, -1)) {
        life_at(l, ACK_WAIT_MS, *s);
        return;
    }
    if (l->now_ms >= l->routed_until_ms[s->task]) {
        l->routed_until_ms[s->task] = life_remember_until(l);
        life_route(l, s->task, 0);
    }
    if (life_is_lost(l, -1)) /* its ack, or the router */
        life_at(l, life_between(l, 0, ACK_WAIT_MS), *s);
}

static void
forge(struct life *l, int task)
{
    struct result r;

    codec_init(CODEC_RESULT, &r);
    r.task = l->ids[task];
    r.attempt = 1 + (uint32_t)(life_random(l) % 2);
    r.fence = life_chance(l, 50) ? UINT32_MAX : l->kv[task].revision;
    r.nonce = life_chance(l, 50) ? "planted" : "";
    r.backend = "local";
    r.lane = "default";
    r.worker = "nobody";
    r.state = STATE_SUCCEEDED;
    r.final = true;
    life_store_result(l, &r, true);
}

/* Drives again what is open, of which nothing is on its way. */
static void
reconcile(struct life *l)
{
    for (int i = 0; i < l->n_tasks; i++) {
        bool open = l->truth[i].accepted &&
                    !state_is_terminal(l->rows[i].row.state) &&
                    l->rows[i].row.routed;
        uint32_t drive = 0;

        for (int m = 0; m < l->n_msgs && open; m++)
            if (l->msgs[m].task == i) {
                open = l->msgs[m].acked;
                drive = l->msgs[m].drive + 1;
            }
        if (open && !life_broker_is_down(l))
            life_route(l, i, drive);
    }
    life_at(l, MINUTE_MS,
            (struct life_step){.kind = AT_RECONCILE, .worker = -1});
}

/* --- faults --------------------------------------------------------------- */

static void
crash(struct life *l, int worker)
{
    life_trace(l, "%s crashes", l->workers[worker].name);
    l->report->crashes++;
    life_worker_crash(l, worker);
    life_at(
        l, life_between(l, 100, 60000),
        (struct life_step){.kind = AT_RESTART, .worker = -1, .msg = worker});
}

static int64_t
clock_step(struct life *l)
{
    return life_between(l, -5 * HOUR_MS, 5 * HOUR_MS);
}

static void
freeze(struct life *l, struct life_worker *w)
{
    w->frozen_until_ms = w->thawed_at_ms =
        l->now_ms + life_between(l, 1000, 3 * MINUTE_MS);
    life_trace(l, "%s freezes until %.3f", w->name,
               (double)(w->frozen_until_ms - START_MS) / 1000);
    l->report->freezes++;
}

static void
cut(struct life *l, struct life_worker *w)
{
    w->cut_until_ms = l->now_ms + life_between(l, 1000, 5 * MINUTE_MS);
    life_trace(l, "%s is cut off until %.3f", w->name,
               (double)(w->cut_until_ms - START_MS) / 1000);
    l->report->cuts++;
}

static void
fault(struct life *l, int worker)
{
    struct life_worker *w = &l->workers[worker];
    unsigned kind = (unsigned)(life_random(l) % 100);

    if (kind < 25 && !w->down) {
        crash(l, worker);
    } else if (kind < 50 && !w->down && l->now_ms >= w->frozen_until_ms) {
        freeze(l, w);
    } else if (kind < 75) {
        cut(l, w);
    } else if (kind < 85) {
        w->wall_offset_ms = clock_step(l);
        life_trace(l, "%s has its clock set by %lld ms", w->name,
                   (long long)w->wall_offset_ms);
    } else if (kind < 95) {
        l->broker_down_until_ms = l->now_ms + life_between(l, 1000, 60000);
        life_trace(l, "the broker is away until %.3f",
                   (double)(l->broker_down_until_ms - START_MS) / 1000);
    } else if (l->broker_stepped) {
        l->broker_offset_ms = clock_step(l);
        life_trace(l, "the broker has its clock set by %lld ms",
                   (long long)l->broker_offset_ms);
    }
}

/* --- one run -------------------------------------------------------------- */

static void
worker_step(struct life *l, const struct life_step *s)
{
    const struct life_worker *w = &l->workers[s->worker];

    if (w->down || w->epoch != s->epoch)
        return;
    if (l->now_ms < w->frozen_until_ms) /* it finds everything at once */
        life_at(l, w->frozen_until_ms - l->now_ms, *s);
    else
        life_worker_step(l, s);
}

static void
take_step(struct life *l, const struct life_step *s)
{
    switch (s->kind) {
    case AT_SUBMIT:
        submit(l, s->task);
        return;
    case AT_ROUTER:
        router(l, s);
        return;
    case AT_DELIVER:
    case AT_ACK_WAIT:
    case AT_ACK:
    case AT_NAK:
    case AT_PROGRESS:
    case AT_CAS:
    case AT_READ:
    case AT_RESULT:
        life_broker_step(l, s);
        return;
    case AT_ARRIVE:
    case AT_CAS_ANSWER:
    case AT_READ_ANSWER:
    case AT_RESULT_ANSWER:
    case AT_RUN_END:
    case AT_BEAT:
    case AT_AGAIN:
        worker_step(l, s);
        return;
    case AT_FAULT:
        fault(l, s->msg);
        return;
    case AT_RESTART:
        life_worker_restart(l, s->msg);
        return;
    case AT_FORGE:
        forge(l, s->task);
        return;
    case AT_LEDGER_ACCEPTED:
    case AT_LEDGER_ROUTED:
    case AT_LEDGER_RESULT:
        life_ledger_step(l, s);
        return;
    case AT_RECONCILE:
        reconcile(l);
        return;
    }
}

static bool
at_rest(const struct life *l)
{
    for (int i = 0; i < l->n_tasks; i++)
        if (!l->truth[i].accepted || !state_is_terminal(l->rows[i].row.state))
            return false;
    for (int i = 0; i < l->n_msgs; i++)
        if (!l->msgs[i].acked)
            return false;
    for (int i = 0; i < l->n_results; i++)
        if (!l->results[i].taken)
            return false;
    return !life_is_faulty(l);
}

static void
open_tasks(struct life *l)
{
    l->n_tasks = (int)life_between(l, 1, LIFE_TASKS);
    for (int i = 0; i < l->n_tasks; i++) {
        struct task *t = &l->tasks[i];

        codec_init(CODEC_TASK, t);
        (void)snprintf(l->ids[i], sizeof l->ids[i], "t%d", i);
        t->id = l->ids[i];
        t->retry = life_chance(l, 30) ? RETRY_NEVER : RETRY_SAFE;
        t->retries = (uint32_t)(life_random(l) % 4);
        life_at(l, life_between(l, 0, 2 * MINUTE_MS),
                (struct life_step){.kind = AT_SUBMIT, .worker = -1, .task = i});
        if (life_chance(l, 15))
            life_at(
                l, life_between(l, 0, 5 * MINUTE_MS),
                (struct life_step){.kind = AT_FORGE, .worker = -1, .task = i});
    }
}

static void
open_world(struct life *l)
{
    static const char *const names[LIFE_WORKERS] = {"anna", "bert", "cleo"};
    int64_t faults_ms = life_between(l, MINUTE_MS, 8 * MINUTE_MS);
    unsigned n_faults;

    l->faults_end_ms = l->now_ms + faults_ms;
    l->trouble = life_chance(l, 25) ? 30 : 8;
    l->trouble = (unsigned)(life_random(l) % l->trouble);
    l->broker_stepped = life_chance(l, 25);
    for (int i = 0; i < LIFE_WORKERS; i++) {
        l->workers[i].name = names[i];
        l->workers[i].mono_offset_ms = life_between(l, 0, HOUR_MS);
        l->workers[i].wall_offset_ms = life_chance(l, 30) ? clock_step(l) : 0;
        l->workers[i].down = true;
        life_worker_restart(l, i);
    }
    n_faults = (unsigned)(life_random(l) % 16);
    for (unsigned i = 0; i < n_faults; i++) {
        struct life_step s = {.kind = AT_FAULT, .worker = -1};

        s.msg = (int)(life_random(l) % LIFE_WORKERS);
        life_at(l, life_between(l, 0, faults_ms), s);
    }
    life_at(l, MINUTE_MS,
            (struct life_step){.kind = AT_RECONCILE, .worker = -1});
    open_tasks(l);
    life_ledger_open(l);
}

static void
run(struct life *l)
{
    int64_t rest_ms = 0; /* since when there is nothing left to do */

    while (l->now_ms < END_MS && !(rest_ms && l->now_ms > rest_ms + REST_MS)) {
        struct life_step s = pop(l);

        l->now_ms = s.at_ms;
        l->report->steps++;
        take_step(l, &s);
        if (!at_rest(l))
            rest_ms = 0;
        else if (!rest_ms)
            rest_ms = l->now_ms;
    }
}

void
life_run(const struct life_conf *conf, struct life_report *out)
{
    struct life *l = MEM_NEW(struct life);

    *out = (struct life_report){0};
    l->conf = conf;
    l->report = out;
    l->random = conf->seed;
    l->now_ms = START_MS;
    l->pool = mem_pool_new();
    open_world(l);
    run(l);
    life_ledger_check(l);
    out->tasks = (unsigned)l->n_tasks;
    mem_pool_free(l->pool);
    mem_free(l->heap);
    mem_free(l);
}
