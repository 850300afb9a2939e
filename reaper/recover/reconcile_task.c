#include "reaper/recover/reconcile_private.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "reaper/recover/ledger_result.h"

#include <stdio.h>
#include <string.h>

/* --- looks ---------------------------------------------------------------- */

static bool
under_way(const struct reconcile *r, const char *id)
{
    for (const struct claim_look *l = r->looks; l; l = l->next)
        if (strcmp(l->id, id) == 0)
            return true;
    return false;
}

static struct claim_look *
look_new(struct reconcile *r, const struct task_state *row)
{
    struct claim_look *l = MEM_NEW(struct claim_look);

    l->r = r;
    l->n = row->n;
    (void)str_copy(l->id, sizeof l->id, row->id);
    (void)str_copy(l->source, sizeof l->source,
                   subject_token_ok(row->source) ? row->source : "cli");
    l->next = r->looks;
    l->at = &r->looks;
    if (l->next)
        l->next->at = &l->next;
    r->looks = l;
    r->n_looks++;
    return l;
}

static void
look_free(struct claim_look *l)
{
    *l->at = l->next;
    if (l->next)
        l->next->at = l->at;
    l->r->n_looks--;
    str_free(&l->bytes);
    mem_free(l);
}

static void
known(struct claim_look *l)
{
    if (!l->asking)
        return;
    l->asking = false;
    l->r->n_asking--;
}

/* Nothing more is to be done about it for now. */
static void
leave(struct claim_look *l)
{
    struct reconcile *r = l->r;

    known(l);
    look_free(l);
    if (r->n_asking == 0)
        reconcile_asked(r);
}

void
reconcile_drop_looks(struct reconcile *r)
{
    while (r->looks) {
        bus_forget(r->p.bus, r->looks);
        look_free(r->looks);
    }
    r->n_asking = 0;
}

/* --- publishing ----------------------------------------------------------- */

static void
on_published(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct claim_look *l = ctx;

    (void)stored;
    if (e)
        log_error("reconcile.failed", "task=%s error=\"%s\"", l->id,
                  LOG_TEXT(e->msg));
    look_free(l);
}

static void
publish(struct claim_look *l, const char *subject, const char *id,
        const struct str *bytes)
{
    bus_publish_until(l->r->p.bus,
                      &(struct bus_publication){.subject = subject,
                                                .id = id,
                                                .data = str_text(bytes),
                                                .len = bytes->len,
                                                .expect = BUS_ANY_REVISION},
                      on_published, l);
}

static void
publish_result(struct claim_look *l, const struct result *res)
{
    bool ours = strcmp(res->backend, "ledger") == 0;
    char subject[SUBJECT_SIZE], id[RESULT_ID_SIZE];
    struct str bytes = {0};

    codec_encode(CODEC_RESULT, res, &bytes);
    if (ours)
        (void)snprintf(id, sizeof id, "%s:l", l->id);
    else
        (void)task_result_id(res, id);
    publish(l, subject_result(subject, res->backend, l->source), id, &bytes);
    str_free(&bytes);
}

/* --- the deeds ------------------------------------------------------------ */

static void
emit(struct claim_look *l, const struct task_state *row,
     const struct claims_entry *found)
{
    struct output_part part;
    struct result res;

    repair_result(row, found, &part, &res);
    log_warn("task.emitted",
             "task=%s attempt=%u state=%s text=\"the outcome stood in the "
             "claim and was never told\"",
             l->id, res.attempt, state_name(res.state));
    l->r->acted = true;
    known(l);
    publish_result(l, &res);
    if (l->r->n_asking == 0)
        reconcile_asked(l->r);
}

static void
on_closed(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct claim_look *l = ctx;
    char subject[SUBJECT_SIZE], id[TASK_ID_SIZE + 8];

    (void)e;
    if (!stored) { /* somebody was first; looked at again */
        look_free(l);
        return;
    }
    (void)snprintf(id, sizeof id, "%s:l", l->id);
    publish(l, subject_result(subject, "ledger", l->source), id, &l->bytes);
}

/* Ends a task whose worker is lost and that nobody may run again. */
static void
close_claim(struct claim_look *l, const struct task_state *row,
            const struct claims_entry *found, const struct delivery_plan *plan)
{
    struct claim written;
    struct ledger_result last;
    struct result res;
    char nonce[24];

    str_random(nonce, sizeof nonce);
    last = (struct ledger_result){.task = row->id,
                                  .batch = row->batch,
                                  .reason = plan->reason,
                                  .nonce = nonce,
                                  .state = plan->state,
                                  .at_ms = reconcile_now_ms(l->r)};
    ledger_result_result(&last, &res);
    claims_close(found, &res, &written);
    written.lost = plan->lost;
    codec_encode(CODEC_RESULT, &res, &l->bytes);
    log_warn("task.closed", "task=%s state=%s reason=\"%s\"", l->id,
             state_name(plan->state), plan->reason);
    l->r->acted = true;
    known(l);
    claims_put(l->r->p.bus, row->backend, &written, found->revision, on_closed,
               l);
    if (l->r->n_asking == 0)
        reconcile_asked(l->r);
}

/* --- claims that are gone ------------------------------------------------- */

/* Whether it was stored or somebody has a claim by now: the next step is the
 * same, and the claim decides. */
static void
on_restored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct claim_look *l = ctx;

    if (!stored && e->code != ERR_CONFLICT) {
        leave(l);
        return;
    }
    if (!l->gone) {
        leave(l);
        return;
    }
    l->drive = true;
    known(l);
    if (l->r->n_asking == 0)
        reconcile_asked(l->r);
}

static int
restore(struct claim_look *l, const struct task_state *row, uint64_t revision,
        struct err *e)
{
    struct reconcile *r = l->r;
    struct attempt_row *attempts;
    struct claim claim;
    char nonce[24];
    size_t n;

    if (db_attempts(r->p.store, row->n, r->pool, &attempts, &n, e) < 0)
        return -1;
    str_random(nonce, sizeof nonce);
    repair_claim(row, attempts, n, l->runs, nonce, r->pool, &claim);
    log_warn("claim.restored", "task=%s attempt=%u", l->id, claim.attempt);
    claims_put(r->p.bus, row->backend, &claim, revision, on_restored, l);
    return 0;
}

/* --- what the claim says -------------------------------------------------- */

static void
look_again(struct reconcile *r, int64_t ms)
{
    if (!r->again_ms || ms < r->again_ms)
        r->again_ms = ms;
}

static void
act(struct claim_look *l, const struct task_state *row,
    const struct claims_entry *found, const struct repair_plan *plan)
{
    struct err e;

    if (plan->restore) {
        if (restore(l, row, found->revision, &e) < 0)
            leave(l);
        return;
    }
    switch (plan->what) {
    case REPAIR_NOTHING:
        leave(l);
        return;
    case REPAIR_LATER:
        look_again(l->r, plan->again_ms);
        leave(l);
        return;
    case REPAIR_EMIT:
        emit(l, row, found);
        return;
    case REPAIR_REDISPATCH:
        l->drive = true;
        known(l);
        if (l->r->n_asking == 0)
            reconcile_asked(l->r);
        return;
    case REPAIR_CLOSE:
        close_claim(l, row, found, &plan->delivery);
        return;
    }
}

static void
on_claim(void *ctx, const struct bus_entry *entry, const struct err *failed)
{
    struct claim_look *l = ctx;
    struct reconcile *r = l->r;
    struct repair_facts facts = {.gone = l->gone,
                                 .now_ms = reconcile_now_ms(r)};
    struct repair_plan plan;
    struct claims_entry found;
    struct task_state row;
    struct task task;
    struct err bad;

    mem_pool_reset(r->pool);
    if (failed || db_task_at(r->p.store, l->n, r->pool, &row, &bad) <= 0 ||
        state_is_terminal(row.state) ||
        codec_decode(CODEC_TASK, row.task.data, row.task.len, r->pool, &task,
                     &bad) < 0 ||
        claims_read(r->p.bus, entry, r->pool, &found, &bad) < 0) {
        leave(l);
        return;
    }
    facts.task = &task;
    facts.started = l->runs > row.attempts ? l->runs : row.attempts;
    if (found.claim) {
        facts.claim = found.claim;
        facts.sight = claims_watch_see(r->watch, l->id, &found, loop_now_ms());
        /* The worker that wrote it is about to publish it. */
        if (state_is_terminal(found.claim->state) &&
            facts.sight.age_ms < r->p.conf.quiet_ms) {
            look_again(r, r->p.conf.quiet_ms - facts.sight.age_ms);
            leave(l);
            return;
        }
    }
    repair_plan(&facts, &plan);
    act(l, &row, &found, &plan);
}

void
reconcile_routed(struct reconcile *r, const struct task_state *row, bool gone,
                 uint32_t runs)
{
    struct claim_look *l;

    if (under_way(r, row->id))
        return;
    l = look_new(r, row);
    l->gone = gone;
    l->runs = runs;
    l->asking = true;
    r->n_asking++;
    claims_get(r->p.bus, row->backend, row->id, on_claim, l);
}

void
reconcile_unrouted(struct reconcile *r, const struct task_state *row)
{
    struct claim_look *l;

    if (under_way(r, row->id))
        return;
    l = look_new(r, row);
    l->unrouted = true;
    l->drive = true;
}

/* --- sending -------------------------------------------------------------- */

/* Writes down the number of what is about to be sent. A drive that was sent
 * and never seen is the same drive. */
static int
number(struct claim_look *l, struct err *e)
{
    struct reconcile *r = l->r;
    struct task_state row;
    int rc = db_task_at(r->p.store, l->n, r->pool, &row, e);

    if (rc < 0)
        return -1;
    if (rc == 0 || state_is_terminal(row.state)) {
        l->drive = false;
        l->over = true;
        return 0;
    }
    if (l->unrouted) {
        l->number = row.resubmits + 1;
        return db_set_resubmits(r->p.store, l->n, l->number, e);
    }
    l->number = row.drives > row.drive ? row.drives : row.drive + 1;
    return db_set_drives(r->p.store, l->n, l->number, e);
}

static int
encode_routed(struct reconcile *r, const struct task_state *row, uint32_t drive,
              struct str *out, struct err *e)
{
    struct bytes from = row->routed_task.len ? row->routed_task : row->task;
    struct routed_task routed;
    struct decision decision;
    struct task task;

    codec_init(CODEC_ROUTED_TASK, &routed);
    if (codec_decode(CODEC_TASK, from.data, from.len, r->pool, &task, e) < 0 ||
        codec_decode(CODEC_DECISION, row->decision.data, row->decision.len,
                     r->pool, &decision, e) < 0)
        return -1;
    routed.task = &task;
    routed.decision = &decision;
    routed.drive = drive;
    codec_encode(CODEC_ROUTED_TASK, &routed, out);
    return 0;
}

/* The router leaves alone what waits; this one was let go. */
static int
encode_task(struct reconcile *r, const struct task_state *row, struct str *out,
            struct err *e)
{
    struct task task;

    if (codec_decode(CODEC_TASK, row->task.data, row->task.len, r->pool, &task,
                     e) < 0)
        return -1;
    task.hold = false;
    task.after = NULL;
    task.n_after = 0;
    task.not_before_ms = 0;
    codec_encode(CODEC_TASK, &task, out);
    return 0;
}

static void
send(struct claim_look *l)
{
    struct reconcile *r = l->r;
    char subject[SUBJECT_SIZE] = SUBJECT_TASKS_IN, id[TASK_ID_SIZE + 24];
    struct str bytes = {0};
    struct task_state row;
    struct err e = {0};
    int rc = -1;

    mem_pool_reset(r->pool);
    l->drive = false;
    if (db_task_at(r->p.store, l->n, r->pool, &row, &e) > 0)
        rc = l->unrouted ? encode_task(r, &row, &bytes, &e)
                         : encode_routed(r, &row, l->number, &bytes, &e);
    if (rc < 0) {
        log_error("reconcile.failed", "task=%s error=\"%s\"", l->id,
                  LOG_TEXT(e.msg));
        look_free(l);
        return;
    }
    log_warn(l->unrouted ? "task.resubmitted" : "task.driven",
             "task=%s number=%u", l->id, l->number);
    if (!l->unrouted)
        (void)subject_task(subject, row.backend, row.lane);
    (void)snprintf(id, sizeof id, "%s:%s%u", l->id, l->unrouted ? "in" : "r",
                   l->number);
    publish(l, subject, id, &bytes);
    str_free(&bytes);
}

int
reconcile_carry_out(struct reconcile *r, struct err *e)
{
    struct claim_look *next;
    bool any = false;

    for (struct claim_look *l = r->looks; l && !any; l = l->next)
        any = l->drive;
    if (!any)
        return 0;
    r->acted = true;
    if (db_begin(r->p.store, e) < 0)
        return -1;
    for (struct claim_look *l = r->looks; l; l = l->next)
        if (l->drive && number(l, e) < 0)
            return -1;
    if (db_commit(r->p.store, e) < 0)
        return -1;
    for (struct claim_look *l = r->looks; l; l = next) {
        next = l->next;
        if (l->drive)
            send(l);
        else if (l->over)
            look_free(l);
    }
    return 0;
}
