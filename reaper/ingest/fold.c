/*
 * Folds an event into the row of its task: a function per kind of event decides
 * whether its facts replace those of the row, and state_of derives the state
 * from the facts. Counters and batches follow from the difference between two
 * rows.
 */
#include "reaper/ingest/fold.h"

#include <stdio.h>
#include <string.h>

void
fold_init(struct task_state *s, const char *id)
{
    *s = (struct task_state){.id = id};
    s->name = s->source = s->command = s->report_path = "";
    s->batch = s->batch_name = s->backend = s->lane = "";
    s->cancel_by = s->cancel_reason = s->reason = s->worker = s->report = "";
}

/* Whether one message was stored before another. Time comes first: a stream
 * that was recreated counts from 1 again. */
static bool
stored_before(int64_t at_ms, uint64_t seq, int64_t than_ms, uint64_t than_seq)
{
    return at_ms != than_ms ? at_ms < than_ms : seq < than_seq;
}

static enum gate
gate_of(const struct task *t)
{
    if (t->hold)
        return GATE_HELD;
    return t->n_after || t->not_before_ms ? GATE_BLOCKED : GATE_NONE;
}

static bool
same_bytes(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* The task as it was sent to its lane: usually the task that was accepted,
 * which is not stored twice. */
static struct bytes
as_routed(const struct task_state *s)
{
    if (!s->routed)
        return (struct bytes){NULL, 0};
    return s->routed_task.len ? s->routed_task : s->task;
}

static void
keep_routed(struct task_state *s, struct bytes routed)
{
    s->routed_task =
        same_bytes(routed, s->task) ? (struct bytes){NULL, 0} : routed;
}

static void
take_submission(struct task_state *s, const struct event *ev,
                enum task_from from)
{
    const struct task *t = ev->task;
    struct bytes routed = as_routed(s);

    s->task_from = from;
    s->task = ev->task_bytes;
    keep_routed(s, routed);
    s->name = t->name;
    s->source = t->source;
    s->command = ev->command;
    s->report_path = t->report_path;
    s->submitted_at_ms = t->submitted_at_ms;
    if (t->batch) {
        s->batch = t->batch->id;
        s->batch_name = t->batch->name;
        s->batch_index = t->batch->index;
        s->batch_size = t->batch->size;
    }
}

/* Of several submissions with one id the first stored is the task; a later one
 * can only release it. */
static bool
fold_accepted(struct task_state *s, const struct event *ev)
{
    enum gate gate = gate_of(ev->task);
    bool changed = false;

    if (gate == GATE_NONE && !s->ungated)
        changed = s->ungated = true;
    if (stored_before(s->in_at_ms, s->in_seq, ev->at_ms, ev->seq)) {
        s->in_at_ms = ev->at_ms;
        s->in_seq = ev->seq;
        changed = true;
    }
    if (s->task_from == TASK_FROM_ACCEPTED &&
        !stored_before(ev->at_ms, ev->seq, s->accepted_at_ms, s->accepted_seq))
        return changed;
    take_submission(s, ev, TASK_FROM_ACCEPTED);
    s->accepted_at_ms = ev->at_ms;
    s->accepted_seq = ev->seq;
    s->gate = gate;
    return true;
}

/* The newest dispatch is where the task is; of a dispatch that was stored
 * twice, the first. */
static bool
fold_routed(struct task_state *s, const struct event *ev)
{
    if (s->routed &&
        (ev->dispatch < s->dispatch ||
         (ev->dispatch == s->dispatch &&
          !stored_before(ev->at_ms, ev->seq, s->routed_at_ms, s->routed_seq))))
        return false;
    if (s->task_from < TASK_FROM_ACCEPTED)
        take_submission(s, ev, TASK_FROM_ROUTED);
    s->routed = true;
    keep_routed(s, ev->task_bytes);
    s->dispatch = ev->dispatch;
    s->routed_at_ms = ev->at_ms;
    s->routed_seq = ev->seq;
    s->decision = ev->decision_bytes;
    s->backend = ev->decision->backend;
    s->lane = ev->decision->lane;
    return true;
}

/* The first request counts; a second changes nothing. */
static bool
fold_cancel(struct task_state *s, const struct control *c, int64_t stored_ms)
{
    int64_t at_ms = c->at_ms ? c->at_ms : stored_ms;

    if (s->cancel_at_ms && s->cancel_at_ms <= at_ms)
        return false;
    s->cancel_at_ms = at_ms;
    s->cancel_by = c->by;
    s->cancel_reason = c->reason;
    return true;
}

/* Of two results of one attempt: the end of the task outranks the end of the
 * attempt, and the original a repetition, which may lack its output. */
static bool
outranks(const struct attempt_row *a, const struct result *r)
{
    if (!a->known)
        return true;
    return r->final != a->final ? r->final : a->again && !r->emitted_again;
}

/* Records the result in its attempt, whichever version came first. */
static void
record(struct task_state *s, struct attempt_row *a, const struct event *ev)
{
    const struct result *r = ev->result;

    if (!outranks(a, r))
        return;
    if (r->final && !(a->known && a->final))
        s->finals++;
    if (r->attempt > s->attempts)
        s->attempts = r->attempt;
    a->changed = true;
    a->attempt = r->attempt;
    a->fence = r->fence;
    a->final = r->final;
    a->again = r->emitted_again;
    a->at_ms = ev->at_ms;
    a->result = ev->result_bytes;
    a->cost_usd = r->cost_usd;
    a->backend = r->backend;
    a->provider = r->provider;
    a->team = r->team;
    a->estimated = r->cost_estimated;
    a->ended_at_ms = r->finished_at_ms ? r->finished_at_ms : ev->at_ms;
}

static bool
same_result(const struct task_state *s, const struct result *r)
{
    return s->has_result && s->result_attempt == r->attempt &&
           s->result_fence == r->fence && s->final == r->final;
}

/* Attempts are ordered by their fences, which only grow. */
static bool
later(const struct task_state *s, const struct result *r)
{
    return r->attempt != s->result_attempt ? r->attempt > s->result_attempt
                                           : r->fence > s->result_fence;
}

/* Whether the row should hold this result. */
static bool
takes_over(const struct task_state *s, const struct event *ev)
{
    const struct result *r = ev->result;

    if (same_result(s, r))
        return s->again && !r->emitted_again;
    if (s->final)
        return false; /* a late duplicate cannot reopen a task */
    if (r->final && ev->stale)
        return false;
    if (!s->has_result)
        /* A routed task was not rejected: that was another with its id. */
        return !(r->state == STATE_REJECTED && s->routed);
    if (r->final && r->attempt == 0)
        return r->state != STATE_REJECTED;
    return later(s, r) || (r->final && r->attempt == s->result_attempt &&
                           r->fence == s->result_fence);
}

static bool
fold_result(struct task_state *s, struct attempt_row *a, const struct event *ev)
{
    const struct result *r = ev->result;
    bool requested = false;

    /* The key of the request is emptied when the task has ended. */
    if (r->cancel && fold_cancel(s, r->cancel, ev->at_ms))
        requested = true;
    record(s, a, ev);
    if (!takes_over(s, ev))
        return a->changed || requested;
    s->has_result = true;
    s->final = r->final;
    s->again = r->emitted_again;
    s->result_attempt = r->attempt;
    s->result_fence = r->fence;
    s->exit_code = r->exit_code;
    s->no_exit_code = !task_has_exit_code(r);
    s->failed_step = r->failed_step;
    s->reason = r->reason;
    s->worker = r->worker;
    s->started_at_ms = r->started_at_ms;
    s->finished_at_ms = r->finished_at_ms ? r->finished_at_ms : ev->at_ms;
    /* Preempted or lost: the task is on its lane, not waiting for a retry. */
    s->retry_at_ms = r->state == STATE_PREEMPTED || r->state == STATE_LOST
                         ? 0
                         : r->retry_at_ms;
    if (!s->routed && r->attempt > 0) {
        s->backend = r->backend;
        s->lane = r->lane;
    }
    if (!*s->batch)
        s->batch = r->batch;
    return true;
}

/* The state that follows from the facts of the row. r is the result of the
 * event, if the row holds it now. */
static enum state
state_of(const struct task_state *s, const struct result *r)
{
    if (r && s->final)
        return r->state;
    if (s->has_result) {
        if (s->final)
            return s->state;
        return s->retry_at_ms ? STATE_RETRY_WAIT : STATE_ROUTED;
    }
    if (s->routed)
        return STATE_ROUTED;
    if (s->task_from == TASK_FROM_NONE)
        return STATE_SUBMITTED;
    if (s->ungated || s->gate == GATE_NONE)
        return STATE_ACCEPTED;
    return s->gate == GATE_HELD ? STATE_HELD : STATE_BLOCKED;
}

/* Messages overtake each other, so a step may skip a state that is certain to
 * have been between: every task that ran was routed. */
static bool
reachable(enum state from, enum state to)
{
    return state_next(from, to) ||
           (state_next(from, STATE_ROUTED) && state_next(STATE_ROUTED, to));
}

bool
fold(struct task_state *s, struct attempt_row *a, const struct event *ev)
{
    bool changed = false, has_it;
    enum state to;

    switch (ev->kind) {
    case EVENT_ACCEPTED:
        changed = fold_accepted(s, ev);
        break;
    case EVENT_ROUTED:
        changed = fold_routed(s, ev);
        break;
    case EVENT_RESULT:
        changed = fold_result(s, a, ev);
        break;
    case EVENT_CANCEL:
        changed = fold_cancel(s, ev->control, ev->at_ms);
        break;
    }
    if (!changed)
        return false;
    has_it = ev->kind == EVENT_RESULT && same_result(s, ev->result);
    to = state_of(s, has_it ? ev->result : NULL);
    if (!state_is_terminal(s->state) && reachable(s->state, to))
        s->state = to;
    /* Members of a batch are listed in the report of the batch. */
    if (state_is_terminal(s->state) && s->task_from != TASK_FROM_NONE &&
        (!*s->batch || *s->report_path))
        s->report_due = true;
    return true;
}

bool
fold_has_exit_code(const struct task_state *s)
{
    return s->has_result && s->result_attempt > 0 && !s->no_exit_code &&
           s->state != STATE_DEAD && s->state != STATE_UNKNOWN;
}

/* --- what follows from a change ------------------------------------------- */

enum { N_TOTALS = 4, N_COUNTS = STATE_COUNT + N_TOTALS };

static const char *const totals[N_TOTALS] = {"tasks", "attempts", "superseded",
                                             "unseen"};

/* What one task adds to the counters. */
static void
contribution(const struct task_state *s, int64_t out[N_COUNTS])
{
    memset(out, 0, sizeof *out * N_COUNTS);
    if (s->state == STATE_UNSPECIFIED)
        return;
    out[s->state] = 1;
    out[STATE_COUNT] = s->task_from == TASK_FROM_NONE ? 0 : 1;
    out[STATE_COUNT + 1] = s->attempts;
    out[STATE_COUNT + 2] =
        (int64_t)s->finals - (state_is_terminal(s->state) ? 1 : 0);
    out[STATE_COUNT + 3] = s->task_from == TASK_FROM_NONE ? 1 : 0;
}

static void
add_counts(const char *scope, const int64_t *minus, const int64_t *plus,
           fold_count_fn *fn, void *ctx)
{
    for (int i = 0; i < N_COUNTS; i++) {
        int64_t delta = (plus ? plus[i] : 0) - (minus ? minus[i] : 0);

        if (delta)
            fn(ctx, scope,
               i < STATE_COUNT ? state_name((enum state)i)
                               : totals[i - STATE_COUNT],
               delta);
    }
}

/* "backend.lane", "" before the task has one. */
static void
scope_of(const struct task_state *s, char out[2 * TASK_ID_SIZE])
{
    out[0] = '\0';
    if (*s->backend)
        (void)snprintf(out, 2 * TASK_ID_SIZE, "%s.%s", s->backend, s->lane);
}

void
fold_counts(const struct task_state *before, const struct task_state *after,
            fold_count_fn *fn, void *ctx)
{
    char from[2 * TASK_ID_SIZE], to[2 * TASK_ID_SIZE];
    int64_t minus[N_COUNTS], plus[N_COUNTS];

    contribution(before, minus);
    contribution(after, plus);
    add_counts("", minus, plus, fn, ctx);
    scope_of(before, from);
    scope_of(after, to);
    if (strcmp(from, to) == 0) {
        if (*to)
            add_counts(to, minus, plus, fn, ctx);
        return;
    }
    if (*from)
        add_counts(from, minus, NULL, fn, ctx);
    if (*to)
        add_counts(to, NULL, plus, fn, ctx);
}

void
fold_batch_init(struct batch_state *b, const char *id)
{
    *b = (struct batch_state){.b = {.id = id, .name = ""}, .report = ""};
}

/* What a task adds to the sums of a batch. */
static struct batch
share_of(const struct task_state *s, const char *batch)
{
    struct batch out = {0};

    if (strcmp(s->batch, batch) != 0)
        return out;
    out.accepted = 1;
    if (!state_is_terminal(s->state))
        return out;
    out.succeeded = s->state == STATE_SUCCEEDED;
    out.cancelled = s->state == STATE_CANCELLED;
    out.failed = !out.succeeded && !out.cancelled;
    return out;
}

void
fold_batch(struct batch_state *b, const struct task_state *before,
           const struct task_state *after)
{
    struct batch was = share_of(before, b->b.id);
    struct batch is = share_of(after, b->b.id);

    b->b.accepted += is.accepted - was.accepted;
    b->b.succeeded += is.succeeded - was.succeeded;
    b->b.failed += is.failed - was.failed;
    b->b.cancelled += is.cancelled - was.cancelled;
    if (strcmp(after->batch, b->b.id) == 0) {
        if (after->batch_size > b->b.size)
            b->b.size = after->batch_size;
        if (strcmp(after->batch_name, b->b.name) > 0)
            b->b.name = after->batch_name;
        if (after->submitted_at_ms &&
            (!b->b.first_at_ms || after->submitted_at_ms < b->b.first_at_ms))
            b->b.first_at_ms = after->submitted_at_ms;
        if (state_is_terminal(after->state) &&
            after->finished_at_ms > b->b.last_at_ms)
            b->b.last_at_ms = after->finished_at_ms;
    }
    b->b.done = b->b.size > 0 &&
                b->b.succeeded + b->b.failed + b->b.cancelled >= b->b.size;
    if (b->b.done)
        b->report_due = true;
}
