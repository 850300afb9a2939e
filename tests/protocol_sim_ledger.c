#include "reaper/ingest/ingest.h"
#include "tests/protocol_sim_world.h"

#include <string.h>

enum { CLAIM_TRIES = 3, REDELIVER_MS = 1000 };

/* Whether the claim speaks for a result, as reaper/ingest/verify.c compares
 * them. VERIFY_UNKNOWN_YET: too early to say. */
static enum verification
trust_of(const struct life *l, const struct result *r, unsigned delivered,
         uint64_t revision, const struct sim_wire *wire)
{
    enum verification wait =
        delivered < CLAIM_TRIES ? VERIFY_UNKNOWN_YET : VERIFY_REFUSED;
    const struct claim *c = &wire->claim;

    if (revision == 0)
        return wait;
    if (*r->nonce && strcmp(r->nonce, c->nonce) == 0 &&
        c->attempt == r->attempt) {
        if (l->conf->wrong == LIFE_HASTY_LEDGER ||
            (wire->has_result && wire->result.state == r->state))
            return VERIFY_MATCHES;
        return c->state == STATE_RUNNING ? VERIFY_UNKNOWN_YET : VERIFY_REFUSED;
    }
    if (c->attempt > r->attempt)
        return VERIFY_SUPERSEDED;
    return wait;
}

static struct attempt_row *
attempt_of(struct life_row *row, const struct result *r)
{
    struct attempt_row *a = row->attempts;

    while (a < row->attempts + row->n_attempts &&
           (a->attempt != r->attempt || a->fence != r->fence))
        a++;
    return a;
}

/* Folds ev into the row as reaper/ingest/ingest.c does. */
static void
enter(struct life_row *row, const struct event *ev, enum verification trust)
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
submission(const struct life *l, int task, enum event_kind kind,
           const struct life_msg *m)
{
    static const struct decision decision = {.backend = "local",
                                             .lane = "default"};

    return (struct event){.kind = kind,
                          .seq = (uint64_t)task + 1,
                          .at_ms = m ? m->stored_ms : l->accepted_ms[task],
                          .task = &l->tasks[task],
                          .command = "true",
                          .decision = &decision,
                          .drive = m ? m->drive : 0};
}

static struct event
outcome(const struct life_result *m, int n, enum verification trust)
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
check_row(struct life *l, int task, const struct task_state *before,
          const struct life_result *m)
{
    const struct task_state *row = &l->rows[task].row;
    const struct life_kv *kv = &l->kv[task];

    if (state_is_terminal(before->state)) {
        if (row->state != before->state ||
            row->result_attempt != before->result_attempt ||
            row->result_fence != before->result_fence ||
            row->exit_code != before->exit_code ||
            strcmp(row->reason, before->reason) != 0)
            life_violation(l, "%s: a terminal row changed", l->ids[task]);
        return;
    }
    if (!state_is_terminal(row->state))
        return;
    life_trace(l, "ledger: %s is %s by attempt %u", l->ids[task],
               state_name(row->state), row->result_attempt);
    if (m->forged)
        life_violation(l, "%s: a planted result became the row", l->ids[task]);
    if (kv->wire.claim.attempt != row->result_attempt)
        life_violation(l, "%s: attempt %u became the row while %u exists",
                       l->ids[task], row->result_attempt,
                       kv->wire.claim.attempt);
    if (kv->wire.claim.state != row->state)
        life_violation(l, "%s: the row says %s, the claim %s", l->ids[task],
                       state_name(row->state),
                       state_name(kv->wire.claim.state));
}

/* --- steps ---------------------------------------------------------------- */

static int
task_of(const struct life *l, const char *id)
{
    int i = 0;

    while (strcmp(l->ids[i], id) != 0)
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
take_result(struct life *l, const struct life_step *s)
{
    struct life_result *m = &l->results[s->msg];
    int task = task_of(l, m->r.task);
    const struct life_kv *kv = &l->kv[task];
    struct task_state before = l->rows[task].row;
    bool behind = kv->was_revision && life_chance(l, 2); /* a replica */
    enum verification trust = trust_of(l, &m->r, ++m->delivered,
                                       behind ? kv->was_revision : kv->revision,
                                       behind ? &kv->was : &kv->wire);
    struct event ev;

    if (l->conf->wrong == LIFE_BLIND_LEDGER || l->conf->wrong == LIFE_LAST_WINS)
        trust = VERIFY_MATCHES;
    if (trust == VERIFY_UNKNOWN_YET) {
        life_at(l, REDELIVER_MS, *s);
        return;
    }
    if (trust == VERIFY_REFUSED)
        l->report->refused++;
    else if (trust == VERIFY_SUPERSEDED)
        l->report->superseded++;
    ev = outcome(m, s->msg, trust);
    if (l->conf->wrong == LIFE_LAST_WINS)
        overwrite(&l->rows[task].row, &m->r);
    else
        enter(&l->rows[task], &ev, trust);
    check_row(l, task, &before, m);
    m->taken = true;
    /* The transaction stands, its ack may not: it comes again. */
    if (life_is_lost(l, -1))
        life_at(l, life_between(l, 1, ACK_WAIT_MS), *s);
}

void
life_ledger_step(struct life *l, const struct life_step *s)
{
    struct event ev;

    if (s->kind == AT_LEDGER_RESULT) {
        take_result(l, s);
    } else if (s->kind == AT_LEDGER_ACCEPTED) {
        ev = submission(l, s->task, EVENT_ACCEPTED, NULL);
        enter(&l->rows[s->task], &ev, VERIFY_NOT_A_RESULT);
    } else {
        ev = submission(l, s->task, EVENT_ROUTED, &l->msgs[s->msg]);
        enter(&l->rows[s->task], &ev, VERIFY_NOT_A_RESULT);
    }
}

void
life_ledger_open(struct life *l)
{
    for (int i = 0; i < l->n_tasks; i++)
        fold_init(&l->rows[i].row, l->ids[i]);
}

/* --- at the end ----------------------------------------------------------- */

/* Feeds everything that is stored to new rows, in some order. */
static void
replay(struct life *l, struct life_row rows[LIFE_TASKS])
{
    int n = l->n_tasks + l->n_msgs + l->n_results;
    int *order = mem_pool_alloc(l->pool, (size_t)n * sizeof *order);

    for (int i = 0; i < n; i++) {
        int at = (int)life_between(l, 0, i);

        order[i] = i;
        order[i] = order[at];
        order[at] = i;
    }
    for (int i = 0; i < n; i++) {
        int at = order[i], task;
        enum verification trust = VERIFY_NOT_A_RESULT;
        struct event ev;

        if (at < l->n_tasks) {
            task = at;
            if (!l->truth[task].accepted)
                continue;
            ev = submission(l, task, EVENT_ACCEPTED, NULL);
        } else if ((at -= l->n_tasks) < l->n_msgs) {
            task = l->msgs[at].task;
            ev = submission(l, task, EVENT_ROUTED, &l->msgs[at]);
        } else {
            const struct life_result *m = &l->results[at -= l->n_msgs];

            task = task_of(l, m->r.task);
            trust = trust_of(l, &m->r, CLAIM_TRIES, l->kv[task].revision,
                             &l->kv[task].wire);
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
           a->finished_at_ms == b->finished_at_ms && a->drive == b->drive;
}

void
life_ledger_check(struct life *l)
{
    struct life_row *rows = mem_pool_alloc(l->pool, LIFE_TASKS * sizeof *rows);

    memset(rows, 0, LIFE_TASKS * sizeof *rows);
    for (int i = 0; i < l->n_tasks; i++)
        fold_init(&rows[i].row, l->ids[i]);
    replay(l, rows);
    for (int i = 0; i < l->n_tasks; i++) {
        const struct task_state *row = &l->rows[i].row;
        const struct claim *c = &l->kv[i].wire.claim;

        if (!l->truth[i].accepted)
            continue;
        if (!state_is_terminal(row->state))
            life_violation(l, "%s: accepted, but %s for ever", l->ids[i],
                           state_name(row->state));
        else if (row->state != c->state || row->result_attempt != c->attempt)
            life_violation(l, "%s: ended %s by %u, its claim %s by %u",
                           l->ids[i], state_name(row->state),
                           row->result_attempt, state_name(c->state),
                           c->attempt);
        else if (!same_row(row, &rows[i].row))
            life_violation(l, "%s: a replay gives another row", l->ids[i]);
    }
}
