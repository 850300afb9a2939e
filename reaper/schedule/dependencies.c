/*
 * Compares a blocked task's conditions with the states in the database and the
 * time. Nothing is remembered between two looks.
 */
#include "reaper/schedule/dependencies.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "reaper/schedule/cancel.h"

#include <stdio.h>

enum condition {
    CONDITION_PENDING,
    CONDITION_MET,
    CONDITION_FAILED, /* it can never be met */
};

/* What the conditions of t amount to; *culprit: the task that did not
 * succeed, *ended: how. */
static int
evaluate(struct db *db, const struct task *t, enum condition *out,
         const char **culprit, enum state *ended, struct err *e)
{
    *out = t->not_before_ms > str_wall_ms() ? CONDITION_PENDING : CONDITION_MET;
    for (size_t i = 0; i < t->n_after; i++) {
        enum state s;

        if (db_state(db, t->after[i], &s, e) < 0)
            return -1;
        if (!state_is_terminal(s)) {
            *out = CONDITION_PENDING;
        } else if (s != STATE_SUCCEEDED) {
            *out = CONDITION_FAILED;
            *culprit = t->after[i];
            *ended = s;
            return 0;
        }
    }
    return 0;
}

int
dependencies_check(struct ledger_ops *ops, struct db *db,
                   struct task_state *row, struct err *e)
{
    const char *culprit = "";
    enum state ended = STATE_UNSPECIFIED;
    enum condition condition;
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
    if (evaluate(db, &t, &condition, &culprit, &ended, e) < 0)
        return -1;
    if (row->released)
        condition = CONDITION_MET; /* decided before; the broker may lack it */
    if (condition == CONDITION_PENDING)
        return 0;
    if (condition == CONDITION_MET && !row->released) {
        row->released = true;
        if (db_put_task(db, row, DB_WHOLE, e) < 0)
            return -1;
    }
    op = ledger_op_new(ops, sizeof *op, row);
    if (condition == CONDITION_FAILED) {
        str_addf(&op->reason, "comes after %s, which ended %s", culprit,
                 state_name(ended));
        cancel_unclaimed(op);
        return 0;
    }
    ledger_op_encode_released(op, &t);
    op->due = true;
    return 0;
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
