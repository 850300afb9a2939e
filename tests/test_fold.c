#include "reaper/ingest/fold.h"

#include "lib/model/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* --- events --------------------------------------------------------------- */

enum { EVENTS_MAX = 8 };

struct script {
    struct event ev[EVENTS_MAX];
    size_t n;
    struct task task;
    struct task freed;
    struct decision decision;
    struct result results[EVENTS_MAX];
    struct control control;
    const char *after[1];
    struct batch_ref batch;
};

static void
begin(struct script *s)
{
    memset(s, 0, sizeof *s);
    codec_init(CODEC_TASK, &s->task);
    s->task.id = "t1";
    s->task.name = "name";
    s->task.source = "cli";
    s->task.submitted_at_ms = 900;
    codec_init(CODEC_DECISION, &s->decision);
    s->decision.backend = "local";
    s->decision.lane = "default";
}

static struct event *
add(struct script *s, enum event_kind kind, int64_t at_ms)
{
    struct event *ev = &s->ev[s->n++];

    ev->kind = kind;
    ev->at_ms = at_ms;
    ev->seq = (uint64_t)s->n;
    return ev;
}

static void
add_accepted(struct script *s, const struct task *t, int64_t at_ms)
{
    struct event *ev = add(s, EVENT_ACCEPTED, at_ms);

    ev->task = t;
    ev->command = "true";
    ev->task_bytes = (struct bytes){(const uint8_t *)"accepted", 8};
}

static void
add_routed(struct script *s, uint32_t drive, int64_t at_ms)
{
    struct event *ev = add(s, EVENT_ROUTED, at_ms);

    ev->task = &s->task;
    ev->command = "true";
    ev->task_bytes = (struct bytes){(const uint8_t *)"routed", 6};
    ev->decision = &s->decision;
    ev->dispatch = drive;
}

static struct result *
add_result(struct script *s, uint32_t attempt, enum state state, bool final)
{
    struct event *ev = add(s, EVENT_RESULT, 2000 + attempt);
    struct result *r = &s->results[s->n - 1];

    codec_init(CODEC_RESULT, r);
    r->task = "t1";
    r->attempt = attempt;
    r->fence = attempt ? attempt * 10 : 0;
    r->backend = attempt ? "local" : "ledger";
    r->lane = attempt ? "default" : "";
    r->worker = attempt ? "w" : "";
    r->state = state;
    r->final = final;
    r->exit_code = state == STATE_FAILED ? 9 : 0;
    r->started_at_ms = attempt ? 1500 + attempt * 100 : 0;
    r->finished_at_ms = 1550 + attempt * 100;
    ev->result = r;
    ev->result_bytes = (struct bytes){(const uint8_t *)r, 1};
    return r;
}

static void
add_cancel(struct script *s)
{
    struct event *ev = add(s, EVENT_CANCEL, 1200);

    codec_init(CODEC_CONTROL, &s->control);
    s->control.task = "t1";
    s->control.by = "me@here";
    s->control.at_ms = 1190;
    ev->control = &s->control;
}

/* --- every interleaving --------------------------------------------------- */

struct fold_ledger {
    struct task_state row;
    struct attempt_row attempts[EVENTS_MAX];
    size_t n;
    int64_t counts[64];
    char names[64][64];
    size_t n_counts;
};

static void
count(void *ctx, const char *scope, const char *name, int64_t delta)
{
    struct fold_ledger *l = ctx;
    char key[64];
    size_t i = 0;

    (void)snprintf(key, sizeof key, "%s/%s", scope, name);
    while (i < l->n_counts && strcmp(l->names[i], key) != 0)
        i++;
    assert_true(i < 64);
    if (i == l->n_counts)
        (void)snprintf(l->names[l->n_counts++], sizeof key, "%s", key);
    l->counts[i] += delta;
}

static int64_t
counted(const struct fold_ledger *l, const char *key)
{
    for (size_t i = 0; i < l->n_counts; i++)
        if (strcmp(l->names[i], key) == 0)
            return l->counts[i];
    return 0;
}

static bool
enter(struct fold_ledger *l, const struct event *ev)
{
    struct task_state before = l->row;
    struct attempt_row none = {0}, *a = &none;
    bool changed;

    if (ev->kind == EVENT_RESULT) {
        size_t i = 0;

        while (i < l->n && (l->attempts[i].attempt != ev->result->attempt ||
                            l->attempts[i].fence != ev->result->fence))
            i++;
        a = &l->attempts[i];
        a->changed = false;
        if (i == l->n)
            *a = (struct attempt_row){0};
        changed = fold(&l->row, a, ev);
        if (i == l->n && a->changed)
            l->n++;
        a->known = true;
    } else {
        changed = fold(&l->row, NULL, ev);
    }
    if (state_is_terminal(before.state))
        assert_int_equal(l->row.state, before.state);
    fold_counts(&before, &l->row, count, l);
    return changed;
}

static bool
same_text(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static void
assert_same(const struct fold_ledger *a, const struct fold_ledger *b)
{
    const struct task_state *x = &a->row, *y = &b->row;

    assert_string_equal(state_name(x->state), state_name(y->state));
    assert_int_equal(x->task_from, y->task_from);
    assert_int_equal(x->task.len, y->task.len);
    assert_true(same_text(x->name, y->name));
    assert_true(same_text(x->backend, y->backend));
    assert_true(same_text(x->lane, y->lane));
    assert_true(same_text(x->worker, y->worker));
    assert_true(same_text(x->reason, y->reason));
    assert_true(same_text(x->batch, y->batch));
    assert_int_equal(x->accepted_at_ms, y->accepted_at_ms);
    assert_int_equal(x->accepted_seq, y->accepted_seq);
    assert_int_equal(x->gate, y->gate);
    assert_int_equal(x->ungated, y->ungated);
    assert_int_equal(x->routed_at_ms, y->routed_at_ms);
    assert_int_equal(x->dispatch, y->dispatch);
    assert_int_equal(x->cancel_at_ms, y->cancel_at_ms);
    assert_int_equal(x->result_attempt, y->result_attempt);
    assert_int_equal(x->result_fence, y->result_fence);
    assert_int_equal(x->final, y->final);
    assert_int_equal(x->again, y->again);
    assert_int_equal(x->exit_code, y->exit_code);
    assert_int_equal(x->started_at_ms, y->started_at_ms);
    assert_int_equal(x->finished_at_ms, y->finished_at_ms);
    assert_int_equal(x->retry_at_ms, y->retry_at_ms);
    assert_int_equal(x->attempts, y->attempts);
    assert_int_equal(x->finals, y->finals);
    assert_int_equal(x->report_due, y->report_due);
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n_counts; i++)
        assert_int_equal(a->counts[i], counted(b, a->names[i]));
    for (size_t i = 0; i < a->n; i++) {
        bool found = false;

        for (size_t k = 0; k < b->n; k++)
            found |= a->attempts[i].attempt == b->attempts[k].attempt &&
                     a->attempts[i].fence == b->attempts[k].fence &&
                     a->attempts[i].final == b->attempts[k].final &&
                     a->attempts[i].again == b->attempts[k].again;
        assert_true(found);
    }
}

static void
run(const struct script *s, const size_t *order, size_t n,
    struct fold_ledger *out)
{
    memset(out, 0, sizeof *out);
    fold_init(&out->row, "t1");
    for (size_t i = 0; i < n; i++)
        (void)enter(out, &s->ev[order[i]]);
    /* Everything comes twice: nothing more may change. */
    for (size_t i = 0; i < n; i++)
        assert_false(enter(out, &s->ev[order[i]]));
}

static void
permute(const struct script *s, size_t *order, size_t at,
        const struct fold_ledger *want)
{
    struct fold_ledger got;

    if (at == s->n) {
        run(s, order, s->n, &got);
        assert_same(want, &got);
        return;
    }
    for (size_t i = at; i < s->n; i++) {
        size_t t = order[at];

        order[at] = order[i];
        order[i] = t;
        permute(s, order, at + 1, want);
        order[i] = order[at];
        order[at] = t;
    }
}

/* Checks every order of the script and returns what all of them give. */
static struct fold_ledger
every_order(const struct script *s)
{
    size_t order[EVENTS_MAX];
    struct fold_ledger want;

    for (size_t i = 0; i < s->n; i++)
        order[i] = i;
    run(s, order, s->n, &want);
    permute(s, order, 0, &want);
    return want;
}

/* --- tests ---------------------------------------------------------------- */

static void
a_task_that_ran_ends_the_same_in_every_order(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    add_accepted(&s, &s.task, 1000);
    add_routed(&s, 0, 1100);
    add_result(&s, 1, STATE_SUCCEEDED, true);
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_SUCCEEDED);
    assert_int_equal(l.row.attempts, 1);
    assert_int_equal(l.row.task_from, TASK_FROM_ACCEPTED);
    assert_true(l.row.report_due);
    assert_true(fold_has_exit_code(&l.row));
    assert_int_equal(counted(&l, "/tasks"), 1);
    assert_int_equal(counted(&l, "/succeeded"), 1);
    assert_int_equal(counted(&l, "local.default/succeeded"), 1);
    assert_int_equal(counted(&l, "local.default/routed"), 0);
    assert_int_equal(counted(&l, "/attempts"), 1);
    assert_int_equal(counted(&l, "/superseded"), 0);
}

static void
an_attempt_without_an_exit_code_of_its_own_shows_none(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    add_accepted(&s, &s.task, 1000);
    add_routed(&s, 0, 1100);
    add_result(&s, 1, STATE_CANCELLED, true)->no_exit_code = true;
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_CANCELLED);
    assert_false(fold_has_exit_code(&l.row));
}

static void
retries_end_with_the_last_attempt_in_every_order(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    add_accepted(&s, &s.task, 1000);
    add_routed(&s, 0, 1100);
    add_result(&s, 1, STATE_FAILED, false)->retry_at_ms = 5000;
    add_result(&s, 2, STATE_PREEMPTED, false)->retry_at_ms = 1750;
    add_result(&s, 3, STATE_FAILED, true);
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_FAILED);
    assert_int_equal(l.row.exit_code, 9);
    assert_int_equal(l.row.attempts, 3);
    assert_int_equal(l.n, 3);
}

static void
an_open_task_stands_where_its_latest_attempt_left_it(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    add_accepted(&s, &s.task, 1000);
    add_routed(&s, 0, 1100);
    add_result(&s, 1, STATE_FAILED, false)->retry_at_ms = 5000;
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_RETRY_WAIT);
    add_result(&s, 2, STATE_PREEMPTED, false)->retry_at_ms = 1750;
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_ROUTED);
    assert_int_equal(l.row.retry_at_ms, 0);
}

static void
a_stale_outcome_is_superseded_in_every_order(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    add_accepted(&s, &s.task, 1000);
    add_routed(&s, 0, 1100);
    add_result(&s, 1, STATE_SUCCEEDED, true);
    s.ev[s.n - 1].stale = true;
    add_result(&s, 2, STATE_FAILED, true);
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_FAILED);
    assert_int_equal(l.row.result_attempt, 2);
    assert_int_equal(counted(&l, "/superseded"), 1);
}

static void
the_original_outranks_its_repetition_in_every_order(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    add_accepted(&s, &s.task, 1000);
    add_routed(&s, 0, 1100);
    add_result(&s, 1, STATE_FAILED, true)->emitted_again = true;
    add_result(&s, 1, STATE_FAILED, true);
    l = every_order(&s);
    assert_false(l.row.again);
    assert_false(l.attempts[0].again);
    assert_int_equal(l.n, 1);
    assert_int_equal(counted(&l, "/superseded"), 0);
}

static void
a_blocked_task_that_was_let_go_ends_the_same_in_every_order(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    s.after[0] = "t0";
    s.freed = s.task;
    s.task.after = s.after;
    s.task.n_after = 1;
    add_accepted(&s, &s.task, 1000);
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_BLOCKED);
    add_accepted(&s, &s.freed, 1050);
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_ACCEPTED);
    assert_int_equal(l.row.accepted_at_ms, 1000);
    add_routed(&s, 0, 1100);
    add_result(&s, 1, STATE_SUCCEEDED, true);
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_SUCCEEDED);
    assert_int_equal(l.row.gate, GATE_BLOCKED);
}

static void
a_held_task_is_cancelled_in_every_order(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    s.task.hold = true;
    add_accepted(&s, &s.task, 1000);
    add_cancel(&s);
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_HELD);
    assert_int_equal(l.row.cancel_at_ms, 1190);
    add_result(&s, 0, STATE_CANCELLED, true);
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_CANCELLED);
    assert_int_equal(l.row.attempts, 0);
    assert_false(fold_has_exit_code(&l.row));
}

static void
a_cancel_between_attempts_ends_the_task_in_every_order(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    add_accepted(&s, &s.task, 1000);
    add_routed(&s, 0, 1100);
    add_cancel(&s);
    add_result(&s, 1, STATE_FAILED, false)->retry_at_ms = 9000;
    add_result(&s, 0, STATE_CANCELLED, true)->fence = 10;
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_CANCELLED);
    assert_int_equal(l.row.attempts, 1);
}

static void
a_task_dispatched_again_keeps_its_newest_decision(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    add_accepted(&s, &s.task, 1000);
    add_routed(&s, 0, 1100);
    add_routed(&s, 0, 1150); /* stored twice */
    add_routed(&s, 1, 1200);
    l = every_order(&s);
    assert_int_equal(l.row.dispatch, 1);
    assert_int_equal(l.row.routed_at_ms, 1200);
    assert_int_equal(l.row.state, STATE_ROUTED);
}

static void
a_rejection_needs_no_task(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    add_result(&s, 0, STATE_REJECTED, true)->reason = "no steps";
    l = every_order(&s);
    assert_int_equal(l.row.state, STATE_REJECTED);
    assert_string_equal(l.row.reason, "no steps");
    assert_false(l.row.report_due);
    assert_int_equal(counted(&l, "/tasks"), 0);
}

static void
a_namesake_that_was_rejected_does_not_end_a_routed_task(void **unused)
{
    struct script s;
    struct fold_ledger l = {0};

    (void)unused;
    begin(&s);
    add_accepted(&s, &s.task, 1000);
    add_routed(&s, 0, 1100);
    add_result(&s, 0, STATE_REJECTED, true);
    add_result(&s, 1, STATE_SUCCEEDED, true);
    fold_init(&l.row, "t1");
    for (size_t i = 0; i < s.n; i++)
        (void)enter(&l, &s.ev[i]);
    assert_int_equal(l.row.state, STATE_SUCCEEDED);
}

static void
a_late_outcome_cannot_reopen_or_replace_a_terminal_task(void **unused)
{
    struct script s;
    struct fold_ledger l = {0};

    (void)unused;
    begin(&s);
    add_accepted(&s, &s.task, 1000);
    add_routed(&s, 0, 1100);
    add_result(&s, 1, STATE_FAILED, true);
    add_result(&s, 2, STATE_SUCCEEDED, true);
    add_result(&s, 3, STATE_FAILED, false)->retry_at_ms = 9000;
    add_routed(&s, 1, 3000);
    add_cancel(&s);
    fold_init(&l.row, "t1");
    for (size_t i = 0; i < s.n; i++)
        (void)enter(&l, &s.ev[i]);
    assert_int_equal(l.row.state, STATE_FAILED);
    assert_int_equal(l.row.result_attempt, 1);
    assert_int_equal(counted(&l, "/superseded"), 1);
}

static void
a_member_of_a_batch_has_no_report_of_its_own_unless_it_asks(void **unused)
{
    struct script s;
    struct fold_ledger l;

    (void)unused;
    begin(&s);
    s.batch = (struct batch_ref){.id = "b1", .name = "b", .size = 2};
    s.task.batch = &s.batch;
    add_accepted(&s, &s.task, 1000);
    add_result(&s, 1, STATE_SUCCEEDED, true)->batch = "b1";
    l = every_order(&s);
    assert_string_equal(l.row.batch, "b1");
    assert_false(l.row.report_due);
    s.task.report_path = "r/x.md";
    l = every_order(&s);
    assert_true(l.row.report_due);
}

static void
a_batch_is_done_when_all_its_tasks_are_terminal(void **unused)
{
    struct task_state none, a, b;
    struct batch_state batch;

    (void)unused;
    fold_init(&none, "");
    fold_init(&a, "a");
    a.batch = "b1";
    a.batch_name = "numbers";
    a.batch_size = 2;
    a.submitted_at_ms = 500;
    a.state = STATE_SUCCEEDED;
    a.finished_at_ms = 900;
    b = a;
    b.submitted_at_ms = 400;
    b.state = STATE_ROUTED;
    fold_batch_init(&batch, "b1");
    fold_batch(&batch, &none, &a);
    fold_batch(&batch, &none, &b);
    assert_int_equal(batch.b.accepted, 2);
    assert_false(batch.b.done);
    assert_false(batch.report_due);
    none = b;
    b.state = STATE_DEAD;
    b.finished_at_ms = 1000;
    fold_batch(&batch, &none, &b);
    assert_true(batch.b.done);
    assert_true(batch.report_due);
    assert_int_equal(batch.b.succeeded, 1);
    assert_int_equal(batch.b.failed, 1);
    assert_int_equal(batch.b.cancelled, 0);
    assert_int_equal(batch.b.first_at_ms, 400);
    assert_int_equal(batch.b.last_at_ms, 1000);
    assert_string_equal(batch.b.name, "numbers");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_that_ran_ends_the_same_in_every_order),
        cmocka_unit_test(an_attempt_without_an_exit_code_of_its_own_shows_none),
        cmocka_unit_test(retries_end_with_the_last_attempt_in_every_order),
        cmocka_unit_test(an_open_task_stands_where_its_latest_attempt_left_it),
        cmocka_unit_test(a_stale_outcome_is_superseded_in_every_order),
        cmocka_unit_test(the_original_outranks_its_repetition_in_every_order),
        cmocka_unit_test(
            a_blocked_task_that_was_let_go_ends_the_same_in_every_order),
        cmocka_unit_test(a_held_task_is_cancelled_in_every_order),
        cmocka_unit_test(
            a_cancel_between_attempts_ends_the_task_in_every_order),
        cmocka_unit_test(a_task_dispatched_again_keeps_its_newest_decision),
        cmocka_unit_test(a_rejection_needs_no_task),
        cmocka_unit_test(
            a_namesake_that_was_rejected_does_not_end_a_routed_task),
        cmocka_unit_test(
            a_late_outcome_cannot_reopen_or_replace_a_terminal_task),
        cmocka_unit_test(
            a_member_of_a_batch_has_no_report_of_its_own_unless_it_asks),
        cmocka_unit_test(a_batch_is_done_when_all_its_tasks_are_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
