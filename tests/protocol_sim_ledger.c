/*
 * The ledger: believes or refuses results as reaper/ingest/verify.c does, folds
 * with the real fold, and at the end compares its rows with the claims and with
 * a replay in another order.
 */
#include "reaper/ingest/ingest.h"
#include "tests/protocol_sim_world.h"

#include <string.h>

enum { CLAIM_TRIES = 3, REDELIVER_MS = 1000 };

/* The ledger's own, of a task that never reached a lane. */
static bool
is_unclaimed(const struct result *r)
{
    return strcmp(r->backend, "ledger") == 0 && !*r->nonce;
}

/* The attempt whose outcome a claim holds: 0 of what router or ledger ended. */
static uint32_t
attempt_in(const struct sim_wire *wire)
{
    return wire->has_result ? wire->result.attempt : wire->claim.attempt;
}

/* Whether the claim speaks for a result, as reaper/ingest/verify.c compares
 * them. VERIFY_UNKNOWN_YET: too early to say. */
static enum verification
trust_of(const struct sim *sim, const struct result *r, unsigned delivered,
         uint64_t revision, const struct sim_wire *wire)
{
    enum verification wait =
        delivered < CLAIM_TRIES ? VERIFY_UNKNOWN_YET : VERIFY_REFUSED;
    const struct claim *c = &wire->claim;

    if (is_unclaimed(r))
        return VERIFY_WITHOUT_CLAIM;
    if (revision == 0)
        return wait;
    if (*r->nonce && strcmp(r->nonce, c->nonce) == 0 &&
        attempt_in(wire) == r->attempt) {
        if (sim->conf->wrong == SIM_HASTY_LEDGER ||
            (wire->has_result && wire->result.state == r->state))
            return VERIFY_MATCHES;
        return c->state == STATE_RUNNING ? VERIFY_UNKNOWN_YET : VERIFY_REFUSED;
    }
    if (c->attempt > r->attempt)
        return VERIFY_SUPERSEDED;
    return wait;
}

static struct attempt_row *
attempt_of(struct sim_row *row, const struct result *r)
{
    struct attempt_row *a = row->attempts;

    while (a < row->attempts + row->n_attempts &&
           (a->attempt != r->attempt || a->fence != r->fence))
        a++;
    return a;
}

/* Folds ev into the row as reaper/ingest/ingest.c does. */
static void
enter(struct sim_row *row, const struct event *ev, enum verification trust)
{
    struct attempt_row *at, a = {0};

    if (ev->kind != EVENT_RESULT) {
        (void)fold(&row->row, NULL, ev);
        return;
    }
    at = attempt_of(row, ev->result);
    if (at < row->attempts + row->n_attempts) {
        a = *at;
        a.known = true;
        a.changed = false;
    }
    if (trust == VERIFY_REFUSED)
        return;
    (void)fold(&row->row, &a, ev);
    if (!a.changed)
        return;
    if (!a.known)
        row->n_attempts++;
    *at = a;
}

/* --- events --------------------------------------------------------------- */

static struct event
submission(const struct sim *sim, int task, enum event_kind kind,
           const struct sim_msg *m)
{
    static const struct decision decision = {.backend = "local",
                                             .lane = "default"};

    return (struct event){.kind = kind,
                          .seq = (uint64_t)task + 1,
                          .at_ms = m ? m->stored_ms : sim->accepted_ms[task],
                          .task = &sim->tasks[task],
                          .command = "true",
                          .decision = &decision,
                          .dispatch = m ? m->drive : 0};
}

static struct event
outcome(const struct sim_result *m, int n, enum verification trust)
{
    return (struct event){.kind = EVENT_RESULT,
                          .seq = (uint64_t)n + 1,
                          .at_ms = m->stored_ms,
                          .result = &m->r,
                          .stale = trust == VERIFY_SUPERSEDED};
}

/* --- promises ------------------------------------------------------------- */

/* before: the row before r was entered. */
static void
check_row(struct sim *sim, int task, const struct task_state *before,
          const struct sim_result *m)
{
    const struct task_state *row = &sim->rows[task].row;
    const struct sim_kv *kv = &sim->kv[task];

    if (state_is_terminal(before->state)) {
        if (row->state != before->state ||
            row->result_attempt != before->result_attempt ||
            row->result_fence != before->result_fence ||
            row->exit_code != before->exit_code ||
            strcmp(row->reason, before->reason) != 0)
            sim_violation(sim, "%s: a terminal row changed", sim->ids[task]);
        return;
    }
    if (!state_is_terminal(row->state))
        return;
    sim_trace(sim, "ledger: %s is %s by attempt %u", sim->ids[task],
              state_name(row->state), row->result_attempt);
    if (m->forged)
        sim_violation(sim, "%s: a planted result became the row",
                      sim->ids[task]);
    if (is_unclaimed(&m->r))
        return;
    if (attempt_in(&kv->wire) != row->result_attempt)
        sim_violation(sim, "%s: attempt %u became the row while %u exists",
                      sim->ids[task], row->result_attempt,
                      attempt_in(&kv->wire));
    if (kv->wire.claim.state != row->state)
        sim_violation(sim, "%s: the row says %s, the claim %s", sim->ids[task],
                      state_name(row->state), state_name(kv->wire.claim.state));
}

/* --- steps ---------------------------------------------------------------- */

static int
task_of(const struct sim *sim, const char *id)
{
    int i = 0;

    while (strcmp(sim->ids[i], id) != 0)
        i++;
    return i;
}

/* A ledger that has forgotten what the others are for. */
static void
overwrite(struct task_state *row, const struct result *r)
{
    if (!r->final)
        return;
    row->state = r->state;
    row->result_attempt = r->attempt;
    row->result_fence = r->fence;
    row->exit_code = r->exit_code;
    row->reason = r->reason;
}

static void
take_result(struct sim *sim, const struct sim_step *s)
{
    struct sim_result *m = &sim->results[s->msg];
    int task = task_of(sim, m->r.task);
    const struct sim_kv *kv = &sim->kv[task];
    struct task_state before = sim->rows[task].row;
    bool behind = kv->was_revision && sim_chance(sim, 2); /* a replica */
    enum verification trust = trust_of(sim, &m->r, ++m->delivered,
                                       behind ? kv->was_revision : kv->revision,
                                       behind ? &kv->was : &kv->wire);
    struct event ev;

    if (sim->conf->wrong == SIM_BLIND_LEDGER ||
        sim->conf->wrong == SIM_LAST_WINS)
        trust = VERIFY_MATCHES;
    if (trust == VERIFY_UNKNOWN_YET) {
        sim_schedule(sim, REDELIVER_MS, *s);
        return;
    }
    if (trust == VERIFY_REFUSED)
        sim->report->refused++;
    else if (trust == VERIFY_SUPERSEDED)
        sim->report->superseded++;
    ev = outcome(m, s->msg, trust);
    if (sim->conf->wrong == SIM_LAST_WINS)
        overwrite(&sim->rows[task].row, &m->r);
    else
        enter(&sim->rows[task], &ev, trust);
    check_row(sim, task, &before, m);
    m->taken = true;
    /* The transaction stands, its ack may not: it comes again. */
    if (sim_is_lost(sim, -1))
        sim_schedule(sim, sim_between(sim, 1, ACK_WAIT_MS), *s);
}

static void
take_cancel(struct sim *sim, int task)
{
    const struct control c = {.task = sim->ids[task],
                              .verb = "cancel",
                              .by = "me",
                              .reason = "",
                              .worker = "",
                              .at_ms = sim->truth[task].cancelled_ms};
    const struct event ev = {.kind = EVENT_CANCEL, .control = &c};

    if (sim->conf->wrong == SIM_FORGETFUL &&
        sim->rows[task].row.task_from == TASK_FROM_NONE)
        return;
    enter(&sim->rows[task], &ev, VERIFY_NOT_A_RESULT);
}

void
sim_ledger_step(struct sim *sim, const struct sim_step *s)
{
    struct event ev;

    if (s->kind == AT_LEDGER_RESULT) {
        take_result(sim, s);
    } else if (s->kind == AT_LEDGER_CANCEL) {
        take_cancel(sim, s->task);
    } else if (s->kind == AT_LEDGER_ACCEPTED) {
        ev = submission(sim, s->task, EVENT_ACCEPTED, NULL);
        enter(&sim->rows[s->task], &ev, VERIFY_NOT_A_RESULT);
    } else {
        ev = submission(sim, s->task, EVENT_ROUTED, &sim->msgs[s->msg]);
        enter(&sim->rows[s->task], &ev, VERIFY_NOT_A_RESULT);
    }
}

void
sim_ledger_open(struct sim *sim)
{
    for (int i = 0; i < sim->n_tasks; i++)
        fold_init(&sim->rows[i].row, sim->ids[i]);
}

/* --- at the end ----------------------------------------------------------- */

/* Feeds everything that is stored to new rows, in some order. */
static void
replay(struct sim *sim, struct sim_row rows[SIM_TASKS])
{
    int n = sim->n_tasks + sim->n_msgs + sim->n_results;
    int *order = mem_pool_alloc(sim->pool, (size_t)n * sizeof *order);

    for (int i = 0; i < n; i++) {
        int at = (int)sim_between(sim, 0, i);

        order[i] = i;
        order[i] = order[at];
        order[at] = i;
    }
    for (int i = 0; i < n; i++) {
        int at = order[i], task;
        enum verification trust = VERIFY_NOT_A_RESULT;
        struct event ev;

        if (at < sim->n_tasks) {
            task = at;
            if (!sim->truth[task].accepted)
                continue;
            ev = submission(sim, task, EVENT_ACCEPTED, NULL);
        } else if ((at -= sim->n_tasks) < sim->n_msgs) {
            task = sim->msgs[at].task;
            ev = submission(sim, task, EVENT_ROUTED, &sim->msgs[at]);
        } else {
            const struct sim_result *m = &sim->results[at -= sim->n_msgs];

            task = task_of(sim, m->r.task);
            trust = trust_of(sim, &m->r, CLAIM_TRIES, sim->kv[task].revision,
                             &sim->kv[task].wire);
            ev = outcome(m, at, trust);
        }
        enter(&rows[task], &ev, trust);
    }
}

static bool
same_row(const struct task_state *a, const struct task_state *b)
{
    return a->state == b->state && a->result_attempt == b->result_attempt &&
           a->result_fence == b->result_fence && a->exit_code == b->exit_code &&
           a->worker == b->worker && strcmp(a->reason, b->reason) == 0 &&
           a->finished_at_ms == b->finished_at_ms && a->dispatch == b->dispatch;
}

void
sim_ledger_check(struct sim *sim)
{
    struct sim_row *rows = mem_pool_alloc(sim->pool, SIM_TASKS * sizeof *rows);

    memset(rows, 0, SIM_TASKS * sizeof *rows);
    for (int i = 0; i < sim->n_tasks; i++)
        fold_init(&rows[i].row, sim->ids[i]);
    replay(sim, rows);
    for (int i = 0; i < sim->n_tasks; i++) {
        const struct task_state *row = &sim->rows[i].row;
        const struct claim *c = &sim->kv[i].wire.claim;
        uint32_t attempt = attempt_in(&sim->kv[i].wire);

        if (!sim->truth[i].accepted)
            continue;
        if (!state_is_terminal(row->state))
            sim_violation(sim, "%s: accepted, but %s for ever", sim->ids[i],
                          state_name(row->state));
        else if (sim->kv[i].revision &&
                 (row->state != c->state || row->result_attempt != attempt))
            sim_violation(sim, "%s: ended %s by %u, its claim %s by %u",
                          sim->ids[i], state_name(row->state),
                          row->result_attempt, state_name(c->state), attempt);
        else if (!same_row(row, &rows[i].row))
            sim_violation(sim, "%s: a replay gives another row", sim->ids[i]);
    }
}
