/*
 * A repair reads the task's claim and then publishes a result, writes a claim
 * or becomes due: what is due is numbered in one transaction and dispatched
 * together. Rows are read again at each step, since a task may end meanwhile.
 */
#include "reaper/recover/repair.h"

#include "lib/base/log.h"
#include "lib/bus/cancels.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "reaper/recover/ledger_result.h"
#include "reaper/recover/repair_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A repair of one task that is under way; op.due: it is to be dispatched or
 * submitted again. */
struct task_repair {
    struct ledger_op op;
    struct repairs *r;
    int64_t n; /* of its row */
    bool unrouted;
    bool gone;
    bool over;       /* the task ended meanwhile */
    uint32_t number; /* of the dispatch or submission */
    uint32_t runs;
};

int64_t
repairs_now_ms(const struct repairs *r)
{
    int64_t ms = bus_broker_ms(r->ops.bus);

    return ms ? ms : str_wall_ms();
}

/* It is known what one more task needs. */
static void
read_one(struct repairs *r)
{
    if (--r->n_reading == 0)
        r->read(r->ctx);
}

/* Nothing more is to be done about it for now. */
static void
leave(struct task_repair *t)
{
    struct repairs *r = t->r;

    ledger_op_free(&t->op);
    read_one(r);
}

static void
redispatch(struct task_repair *t)
{
    t->op.due = true;
    read_one(t->r);
}

static void
look_again(struct repairs *r, int64_t ms)
{
    if (!r->again_ms || ms < r->again_ms)
        r->again_ms = ms;
}

/* --- the result in the claim ---------------------------------------------- */

static void
emit(struct task_repair *t, const struct task_state *row,
     const struct claims_entry *found)
{
    char subject[SUBJECT_SIZE], id[RESULT_ID_SIZE];
    struct output_part part;
    struct result res;

    repair_result(row, found, &part, &res);
    log_warn("task.emitted",
             "task=%s attempt=%u state=%s text=\"the claim holds the outcome, "
             "and its result was never published\"",
             t->op.id, res.attempt, state_name(res.state));
    t->r->acted = true;
    codec_encode(CODEC_RESULT, &res, &t->op.bytes);
    if (strcmp(res.backend, "ledger") == 0)
        ledger_result_publish(&t->op);
    else
        ledger_op_publish(&t->op,
                          subject_result(subject, res.backend, t->op.source),
                          task_result_id(&res, id));
    read_one(t->r);
}

/* --- tasks that are lost -------------------------------------------------- */

static void
on_closed(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct ledger_op *op = ctx;

    (void)e;
    if (stored)
        ledger_result_publish(op);
    else
        ledger_op_free(op); /* somebody was first; looked at again */
}

/* Ends a task whose worker is lost and that nobody may run again. */
static void
close_task(struct task_repair *t, const struct claims_entry *found,
           const struct delivery_plan *plan)
{
    struct claim lost = *found->claim;
    struct claims_entry counted = {.claim = &lost, .revision = found->revision};

    lost.lost = plan->lost;
    str_addz(&t->op.reason, plan->reason);
    log_warn("task.closed", "task=%s state=%s reason=\"%s\"", t->op.id,
             state_name(plan->state), plan->reason);
    t->r->acted = true;
    ledger_result_claim(&t->op, plan->state, repairs_now_ms(t->r), &counted,
                        on_closed);
    read_one(t->r);
}

/* Whether it was stored or somebody has a claim by now: the next step is the
 * same, and the claim decides. */
static void
on_restored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct task_repair *t = ctx;

    if (t->gone && (stored || e->code == ERR_CONFLICT))
        redispatch(t);
    else
        leave(t);
}

/* Writes a claim for a task that has lost its own. */
static void
restore(struct task_repair *t, const struct task_state *row, uint64_t revision)
{
    struct repairs *r = t->r;
    struct attempt_row *attempts;
    struct claim claim;
    char nonce[24];
    struct err e;
    size_t n;

    if (db_attempts(r->db, row->n, r->ops.pool, &attempts, &n, &e) < 0) {
        leave(t);
        return;
    }
    str_random(nonce, sizeof nonce);
    repair_claim(row, attempts, n, t->runs, nonce, r->ops.pool, &claim);
    log_warn("claim.restored", "task=%s attempt=%u", t->op.id, claim.attempt);
    claims_put(r->ops.bus, t->op.backend, &claim, revision, on_restored, t);
}

/* --- what the claim says -------------------------------------------------- */

static void
carry_out(struct task_repair *t, const struct task_state *row,
          const struct claims_entry *found, const struct repair_plan *plan)
{
    /* A task that is to be cancelled is not sent again: schedule/cancel.c ends
     * it. */
    if (row->cancel_at_ms &&
        (plan->restore || plan->what == REPAIR_REDISPATCH)) {
        leave(t);
        return;
    }
    if (plan->restore) {
        restore(t, row, found->revision);
        return;
    }
    switch (plan->what) {
    case REPAIR_NOTHING:
        leave(t);
        return;
    case REPAIR_LATER:
        look_again(t->r, plan->again_ms);
        leave(t);
        return;
    case REPAIR_EMIT:
        emit(t, row, found);
        return;
    case REPAIR_REDISPATCH:
        redispatch(t);
        return;
    case REPAIR_CLOSE:
        close_task(t, found, &plan->delivery);
        return;
    }
}

/* Whether what is no claim may be taken for none: nobody has written it again
 * for as long as a lease lasts. Only where no delivery will come; else whoever
 * gets the task replaces it. */
static bool
is_abandoned(struct task_repair *t, const struct claims_entry *found,
             const struct err *bad)
{
    struct repairs *r = t->r;
    struct claim_sight sight =
        claims_watch_see(r->watch, t->op.id, found, loop_now_ms());

    log_error("claim.unreadable", "task=%s revision=%" PRIu64 " error=\"%s\"",
              t->op.id, found->revision, LOG_TEXT(bad->msg));
    r->unreadable(r->ctx, t->op.id, bad);
    if (!t->gone || sight.unchanged_ms >= r->quiet_ms)
        return t->gone;
    look_again(r, r->quiet_ms - sight.unchanged_ms);
    return false;
}

static void
on_claim(void *ctx, const struct bus_entry *entry, const struct err *failed)
{
    struct task_repair *t = ctx;
    struct repairs *r = t->r;
    struct mem_pool *pool = r->ops.pool;
    struct repair_facts facts = {.gone = t->gone, .now_ms = repairs_now_ms(r)};
    struct repair_plan plan;
    struct claims_entry found;
    struct task_state row;
    struct task task;
    struct err bad;

    mem_pool_reset(pool);
    if (failed || db_task_at(r->db, t->n, pool, &row, &bad) <= 0 ||
        state_is_terminal(row.state) ||
        codec_decode(CODEC_TASK, row.task.data, row.task.len, pool, &task,
                     &bad) < 0 ||
        (claims_read(r->ops.bus, entry, t->op.id, pool, &found, &bad) < 0 &&
         !is_abandoned(t, &found, &bad))) {
        leave(t);
        return;
    }
    facts.task = &task;
    facts.started = t->runs > row.attempts ? t->runs : row.attempts;
    facts.claim = found.claim;
    if (found.claim) {
        facts.sight =
            claims_watch_see(r->watch, t->op.id, &found, loop_now_ms());
        /* The worker that wrote it is about to publish it. */
        if (state_is_terminal(found.claim->state) &&
            found.age_ms < r->quiet_ms) {
            look_again(r, r->quiet_ms - found.age_ms);
            leave(t);
            return;
        }
    }
    repair_plan(&facts, &plan);
    carry_out(t, &row, &found, &plan);
}

/* --- adding --------------------------------------------------------------- */

static struct task_repair *
repair_new(struct repairs *r, const struct task_state *row)
{
    struct task_repair *t;

    if (ledger_ops_has(&r->ops, row->id))
        return NULL;
    t = ledger_op_new(&r->ops, sizeof *t, row);
    t->r = r;
    t->n = row->n;
    return t;
}

void
repairs_add(struct repairs *r, const struct task_state *row, bool gone,
            uint32_t runs)
{
    struct task_repair *t = repair_new(r, row);

    if (!t)
        return;
    t->gone = gone;
    t->runs = runs;
    r->n_reading++;
    claims_get(r->ops.bus, t->op.backend, t->op.id, on_claim, t);
}

void
repairs_add_unrouted(struct repairs *r, const struct task_state *row)
{
    struct task_repair *t = repair_new(r, row);
    char why[CANCELS_REASON_SIZE];

    if (!t)
        return;
    if (row->cancel_at_ms) {
        cancels_reason(row->cancel_by, row->cancel_reason, why);
        str_addz(&t->op.reason, why);
        ledger_result_end(&t->op, STATE_CANCELLED, repairs_now_ms(r));
        return;
    }
    t->unrouted = true;
    t->op.due = true;
}

/* --- sending -------------------------------------------------------------- */

/* Records the number of what is about to be sent. What was sent and never seen
 * again keeps its number. */
static int
number(struct task_repair *t, struct err *e)
{
    struct db *db = t->r->db;
    struct task_state row;
    int rc;

    mem_pool_reset(t->r->ops.pool);
    rc = db_task_at(db, t->n, t->r->ops.pool, &row, e);
    if (rc < 0)
        return -1;
    if (rc == 0 || state_is_terminal(row.state)) {
        t->op.due = false;
        t->over = true;
        return 0;
    }
    if (t->unrouted)
        t->number = row.resubmits + 1;
    else
        t->number =
            row.dispatches > row.dispatch ? row.dispatches : row.dispatch + 1;
    return db_set_number(db, t->n, t->unrouted, t->number, e);
}

static int
encode_routed(struct task_repair *t, const struct task_state *row,
              struct err *e)
{
    struct bytes from = row->routed_task.len ? row->routed_task : row->task;
    struct mem_pool *pool = t->r->ops.pool;
    struct routed_task routed;
    struct decision decision;
    struct task task;

    codec_init(CODEC_ROUTED_TASK, &routed);
    if (codec_decode(CODEC_TASK, from.data, from.len, pool, &task, e) < 0 ||
        codec_decode(CODEC_DECISION, row->decision.data, row->decision.len,
                     pool, &decision, e) < 0)
        return -1;
    routed.task = &task;
    routed.decision = &decision;
    routed.drive = t->number;
    codec_encode(CODEC_ROUTED_TASK, &routed, &t->op.bytes);
    return 0;
}

static int
encode_submission(struct task_repair *t, const struct task_state *row,
                  struct err *e)
{
    struct task task;

    if (codec_decode(CODEC_TASK, row->task.data, row->task.len, t->r->ops.pool,
                     &task, e) < 0)
        return -1;
    ledger_op_encode_released(&t->op, &task);
    return 0;
}

static void
send(struct task_repair *t)
{
    char subject[SUBJECT_SIZE] = SUBJECT_TASKS_IN, id[TASK_ID_SIZE + 24];
    struct task_state row;
    struct err e = {0};
    int rc = -1;

    mem_pool_reset(t->r->ops.pool);
    if (db_task_at(t->r->db, t->n, t->r->ops.pool, &row, &e) > 0)
        rc = t->unrouted ? encode_submission(t, &row, &e)
                         : encode_routed(t, &row, &e);
    if (rc < 0) {
        log_error("repair.failed", "task=%s error=\"%s\"", t->op.id,
                  LOG_TEXT(e.msg));
        ledger_op_free(&t->op);
        return;
    }
    log_warn(t->unrouted ? "task.resubmitted" : "task.redispatched",
             "task=%s number=%u", t->op.id, t->number);
    if (!t->unrouted)
        (void)subject_task(subject, row.backend, row.lane);
    (void)snprintf(id, sizeof id, "%s:%s%u", t->op.id, t->unrouted ? "in" : "r",
                   t->number);
    ledger_op_publish(&t->op, subject, id);
}

int
repairs_send(struct repairs *r, struct err *e)
{
    struct ledger_op *op, *next;

    LIST_FOREACH (op, &r->ops.list, link)
        if (op->due)
            break;
    if (!op)
        return 0;
    r->acted = true;
    if (db_begin(r->db, e) < 0)
        return -1;
    LIST_FOREACH (op, &r->ops.list, link)
        if (op->due && number((struct task_repair *)op, e) < 0)
            return -1;
    if (db_commit(r->db, e) < 0)
        return -1;
    for (op = LIST_FIRST(&r->ops.list); op; op = next) {
        next = LIST_NEXT(op, link);
        if (op->due)
            send((struct task_repair *)op);
        else if (((struct task_repair *)op)->over)
            ledger_op_free(op);
    }
    return 0;
}

/* --- life ----------------------------------------------------------------- */

void
repairs_init(struct repairs *r, struct bus *b)
{
    ledger_ops_init(&r->ops, b);
    r->watch = claims_watch_new();
}

void
repairs_release(struct repairs *r)
{
    ledger_ops_release(&r->ops);
    claims_watch_free(r->watch);
}
