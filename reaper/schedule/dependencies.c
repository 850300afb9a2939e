/*
 * Compares a blocked task's conditions with the states in the database and the
 * time. Nothing is remembered between two looks.
 */
#include "reaper/schedule/dependencies.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "reaper/recover/ledger_result.h"
#include "reaper/schedule/cancel.h"

#include <stdio.h>

enum condition {
    CONDITION_PENDING,
    CONDITION_MET,
    CONDITION_FAILED, /* it can never be met */
};

/* What the conditions of a task amount to. */
struct judgement {
    enum condition condition;
    const char *culprit;  /* the task that did not succeed */
    enum state ended;     /* how */
    const char *unknown;  /* the first that nobody has submitted; NULL: none */
    const char **blocked; /* those that are blocked themselves */
    size_t n_blocked;
};

static int
evaluate(struct db *db, const struct task *t, struct mem_pool *pool,
         struct judgement *out, struct err *e)
{
    *out = (struct judgement){.condition = t->not_before_ms > str_wall_ms()
                                               ? CONDITION_PENDING
                                               : CONDITION_MET};
    out->blocked = mem_pool_alloc(pool, t->n_after * sizeof *out->blocked);
    for (size_t i = 0; i < t->n_after; i++) {
        enum state s;

        if (db_state(db, t->after[i], &s, e) < 0)
            return -1;
        if (!state_is_terminal(s)) {
            out->condition = CONDITION_PENDING;
            if (s == STATE_UNSPECIFIED && !out->unknown)
                out->unknown = t->after[i];
            if (s == STATE_BLOCKED)
                out->blocked[out->n_blocked++] = t->after[i];
        } else if (s != STATE_SUCCEEDED) {
            out->condition = CONDITION_FAILED;
            out->culprit = t->after[i];
            out->ended = s;
            return 0;
        }
    }
    return 0;
}

/* Ends a task that could wait for ever. */
static void
reject(struct ledger_ops *ops, const struct task_state *row, const char *why)
{
    struct ledger_op *op = ledger_op_new(ops, sizeof *op, row);

    str_addz(&op->reason, why);
    log_info("task.rejected", "task=%s reason=\"%s\"", op->id, LOG_TEXT(why));
    ledger_result_end(op, STATE_REJECTED, str_wall_ms());
}

/* Counts a task that waits for one nobody has submitted, and rejects it when it
 * has waited long enough; everything that was stored by then has been read. */
static void
await_unknown(struct dependencies *d, const struct task_state *row,
              const struct judgement *j)
{
    char text[200], limit[32];

    if (d->n_unknown++ == 0)
        (void)snprintf(d->unknown, sizeof d->unknown,
                       "%s waits for %s, which has not been submitted", row->id,
                       j->unknown);
    if (!d->caught_up || str_wall_ms() - row->accepted_at_ms < d->patience_ms)
        return;
    (void)snprintf(text, sizeof text,
                   "comes after %s, which nobody submitted within %s",
                   j->unknown,
                   str_duration((uint64_t)d->patience_ms, limit, sizeof limit));
    reject(d->ops, row, text);
}

int
dependencies_check(struct dependencies *d, struct task_state *row,
                   struct err *e)
{
    struct ledger_ops *ops = d->ops;
    struct judgement j;
    struct ledger_op *op;
    struct task t;
    struct err bad;

    if (ledger_ops_has(ops, row->id) || (row->cancel_at_ms && !row->released))
        return 0;
    if (codec_decode(CODEC_TASK, row->task.data, row->task.len, ops->pool, &t,
                     &bad) < 0) {
        log_warn("dependencies.task", "task=%s error=\"%s\"", row->id,
                 LOG_TEXT(bad.msg));
        return 0;
    }
    if (evaluate(d->db, &t, ops->pool, &j, e) < 0)
        return -1;
    if (row->released)
        j.condition =
            CONDITION_MET; /* decided before; the broker may lack it */
    if (j.condition == CONDITION_PENDING) {
        if (j.n_blocked)
            circles_add(&d->circles, row->id, j.blocked, j.n_blocked);
        if (j.unknown)
            await_unknown(d, row, &j);
        return 0;
    }
    if (j.condition == CONDITION_MET && !row->released) {
        row->released = true;
        if (db_put_task(d->db, row, DB_WHOLE, e) < 0)
            return -1;
    }
    op = ledger_op_new(ops, sizeof *op, row);
    if (j.condition == CONDITION_FAILED) {
        str_addf(&op->reason, "comes after %s, which ended %s", j.culprit,
                 state_name(j.ended));
        cancel_unclaimed(op);
        return 0;
    }
    ledger_op_encode_released(op, &t);
    op->due = true;
    return 0;
}

static void
on_circle(void *ctx, const char *id, const char *circle)
{
    struct dependencies *d = ctx;
    struct task_state row;
    char text[600];
    struct err e;

    if (ledger_ops_has(d->ops, id))
        return;
    mem_pool_reset(d->ops->pool);
    if (db_task(d->db, id, d->ops->pool, &row, &e) <= 0)
        return; /* the next pass meets the same error */
    (void)snprintf(text, sizeof text, "waits for itself: %s", circle);
    reject(d->ops, &row, text);
}

void
dependencies_end(struct dependencies *d)
{
    circles_search(&d->circles, on_circle, d);
}

void
dependencies_release(struct ledger_ops *ops)
{
    char id[TASK_ID_SIZE + 8];
    struct ledger_op *op;

    LIST_FOREACH (op, &ops->list, link) {
        if (!op->due)
            continue;
        (void)snprintf(id, sizeof id, "%s:rel1", op->id);
        log_info("task.released", "task=%s", op->id);
        ledger_op_publish(op, SUBJECT_TASKS_IN, id);
    }
}
