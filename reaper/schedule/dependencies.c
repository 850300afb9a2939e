#include "reaper/schedule/dependencies.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/bus/claims.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "reaper/recover/ledger_result.h"

#include <stdio.h>
#include <string.h>

enum {
    SLICE_ROWS = 128,
    GAP_MS = 100,      /* between passes, however much happens */
    BLOCKED_MS = 1000, /* between passes while tasks are blocked */
    CANCEL_MS = 5000,  /* between looks at cancels that are open */
    PUSHES_MAX = 1024, /* under way at once */
};

/* Something under way for one task. */
struct push {
    struct dependencies *park;
    struct push *next, **at;
    char id[TASK_ID_SIZE];
    char source[TASK_ID_SIZE], backend[TASK_ID_SIZE], batch[TASK_ID_SIZE];
    struct str reason;
    struct str bytes; /* the message to publish, encoded */
    /* What starts it, once what it relies on is committed; then NULL. */
    void (*go)(struct push *x);
};

struct dependencies {
    struct bus *bus;
    struct loop *loop;
    struct loop_timer *timer;
    struct db *store;
    struct mem_pool *pool;
    struct push *pushes;
    size_t n_pushes;
    int64_t next_ms;    /* when the timer fires; 0: it does not run */
    int64_t passed_ms;  /* when the last pass was */
    int64_t cancels_ms; /* when cancels were looked at last */
    bool woken;
};

static void
due(struct dependencies *p, int64_t at_ms)
{
    int64_t now_ms = loop_now_ms();

    if (p->next_ms && p->next_ms <= at_ms)
        return;
    p->next_ms = at_ms > 0 ? at_ms : 1;
    loop_timer_again(p->timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

/* --- what is under way ---------------------------------------------------- */

static bool
under_way(const struct dependencies *p, const char *id)
{
    for (const struct push *x = p->pushes; x; x = x->next)
        if (strcmp(x->id, id) == 0)
            return true;
    return false;
}

static struct push *
push_new(struct dependencies *p, const struct task_state *row)
{
    struct push *x = MEM_NEW(struct push);

    x->park = p;
    (void)str_copy(x->id, sizeof x->id, row->id);
    (void)str_copy(x->source, sizeof x->source,
                   subject_token_ok(row->source) ? row->source : "cli");
    (void)str_copy(x->backend, sizeof x->backend, row->backend);
    (void)str_copy(x->batch, sizeof x->batch, row->batch);
    x->next = p->pushes;
    x->at = &p->pushes;
    if (x->next)
        x->next->at = &x->next;
    p->pushes = x;
    p->n_pushes++;
    return x;
}

static void
push_free(struct push *x)
{
    *x->at = x->next;
    if (x->next)
        x->next->at = x->at;
    x->park->n_pushes--;
    str_free(&x->reason);
    str_free(&x->bytes);
    mem_free(x);
}

static void
on_pushed(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct push *x = ctx;

    (void)stored;
    if (e)
        log_error("park.failed", "task=%s error=\"%s\"", x->id,
                  LOG_TEXT(e->msg));
    push_free(x);
}

/* --- results of the ledger ------------------------------------------------ */

/* "cancelled" in the ledger's name; nonce "" if there is no claim behind it. */
static struct ledger_result
cancelled(const struct push *x, const char *nonce)
{
    return (struct ledger_result){.task = x->id,
                                  .batch = x->batch,
                                  .reason = str_text(&x->reason),
                                  .nonce = nonce,
                                  .state = STATE_CANCELLED,
                                  .at_ms = str_wall_ms()};
}

/* The id is the ledger's own: that of attempt 0 may have been used for a
 * rejection of a second submission with the same id. */
static void
publish_result(struct push *x)
{
    char subject[SUBJECT_SIZE], id[TASK_ID_SIZE + 8];

    (void)snprintf(id, sizeof id, "%s:l", x->id);
    bus_publish_until(
        x->park->bus,
        &(struct bus_publication){
            .subject = subject_result(subject, "ledger", x->source),
            .id = id,
            .data = str_text(&x->bytes),
            .len = x->bytes.len,
            .expect = BUS_ANY_REVISION},
        on_pushed, x);
}

static void
cancel_unclaimed(struct push *x)
{
    struct ledger_result last = cancelled(x, "");
    struct result r;

    ledger_result_result(&last, &r);
    codec_encode(CODEC_RESULT, &r, &x->bytes);
    log_info("task.cancelled", "task=%s reason=\"%s\"", x->id,
             LOG_TEXT(str_text(&x->reason)));
    publish_result(x);
}

/* --- cancels on a lane ---------------------------------------------------- */

static void
on_claimed(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct push *x = ctx;

    if (!stored) {
        /* Somebody was first: he hears the cancel himself. Or the broker did
         * not answer. Both are looked at again. */
        log_debug("cancel.again", "task=%s error=\"%s\"", x->id,
                  LOG_TEXT(e->msg));
        push_free(x);
        return;
    }
    log_info("task.cancelled", "task=%s before=run", x->id);
    publish_result(x);
}

/* Writes the claim of a task that is over before anybody (else) ran it. */
static void
take_claim(struct push *x, const struct claims_entry *found)
{
    char nonce[24];
    struct ledger_result last;
    struct result r;
    struct claim c;

    str_random(nonce, sizeof nonce);
    last = cancelled(x, nonce);
    ledger_result_result(&last, &r);
    claims_close(found, &r, &c);
    codec_encode(CODEC_RESULT, &r, &x->bytes);
    claims_put(x->park->bus, x->backend, &c, found->revision, on_claimed, x);
}

static void
on_claim(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct push *x = ctx;
    struct dependencies *p = x->park;
    const struct result *held;
    struct claims_entry found;
    struct err bad;

    if (e) {
        push_free(x);
        return;
    }
    mem_pool_reset(p->pool);
    if (claims_read(p->bus, entry, p->pool, &found, &bad) < 0) {
        log_warn("cancel.claim", "task=%s error=\"%s\"", x->id,
                 LOG_TEXT(bad.msg));
        push_free(x);
        return;
    }
    held = found.claim ? found.claim->result : NULL;
    if (!found.claim || claims_is_unserved(&found)) {
        take_claim(x, &found);
    } else if (state_is_terminal(found.claim->state) && held &&
               strcmp(held->backend, "ledger") == 0) {
        /* Ours: the result may not have gone out before a crash. */
        codec_encode(CODEC_RESULT, held, &x->bytes);
        publish_result(x);
    } else {
        push_free(x);
    }
}

static void
cancel_on_lane(struct push *x)
{
    claims_get(x->park->bus, x->backend, x->id, on_claim, x);
}

static void
cancel_row(struct dependencies *p, const struct task_state *row)
{
    struct push *x;

    if (under_way(p, row->id))
        return;
    switch (row->state) {
    case STATE_HELD:
    case STATE_BLOCKED:
        if (row->released)
            return; /* on its way to a lane */
        break;
    case STATE_ROUTED:
    case STATE_RUNNING:
    case STATE_RETRY_WAIT:
        if (!subject_token_ok(row->backend))
            return;
        break;
    case STATE_UNSPECIFIED:
    case STATE_SUBMITTED:
    case STATE_ACCEPTED: /* the router has it in hand: wait for the lane */
    case STATE_SUCCEEDED:
    case STATE_FAILED:
    case STATE_UNVERIFIED:
    case STATE_NO_OP:
    case STATE_TIMED_OUT:
    case STATE_CANCELLED:
    case STATE_REJECTED:
    case STATE_DEAD:
    case STATE_UNKNOWN:
    case STATE_LOST:
    case STATE_PREEMPTED:
    case STATE_COUNT:
        return;
    }
    x = push_new(p, row);
    str_addf(&x->reason, "cancelled by %s%s%s",
             *row->cancel_by ? row->cancel_by : "somebody",
             *row->cancel_reason ? ": " : "", row->cancel_reason);
    x->go = row->state == STATE_HELD || row->state == STATE_BLOCKED
                ? cancel_unclaimed
                : cancel_on_lane;
}

/* --- blocked tasks -------------------------------------------------------- */

enum after_verdict { WAIT, GO, NEVER };

/* What the conditions of t amount to; *culprit: the task that did not
 * succeed, *ended: how. */
static int
judge(struct dependencies *p, const struct task *t, enum after_verdict *out,
      const char **culprit, enum state *ended, struct err *e)
{
    *out = t->not_before_ms > str_wall_ms() ? WAIT : GO;
    for (size_t i = 0; i < t->n_after; i++) {
        enum state s;

        if (db_state(p->store, t->after[i], &s, e) < 0)
            return -1;
        if (!state_is_terminal(s)) {
            *out = WAIT;
        } else if (s != STATE_SUCCEEDED) {
            *out = NEVER;
            *culprit = t->after[i];
            *ended = s;
            return 0;
        }
    }
    return 0;
}

static void
publish_release(struct push *x)
{
    char id[TASK_ID_SIZE + 8];

    (void)snprintf(id, sizeof id, "%s:rel1", x->id);
    log_info("task.released", "task=%s", x->id);
    bus_publish_until(x->park->bus,
                      &(struct bus_publication){.subject = SUBJECT_TASKS_IN,
                                                .id = id,
                                                .data = str_text(&x->bytes),
                                                .len = x->bytes.len,
                                                .expect = BUS_ANY_REVISION},
                      on_pushed, x);
}

static void
release(struct dependencies *p, const struct task_state *row,
        const struct task *t)
{
    struct push *x = push_new(p, row);
    struct task freed = *t;

    freed.hold = false;
    freed.after = NULL;
    freed.n_after = 0;
    freed.not_before_ms = 0;
    codec_encode(CODEC_TASK, &freed, &x->bytes);
    x->go = publish_release;
}

static int
blocked_row(struct dependencies *p, struct task_state *row, struct err *e)
{
    const char *culprit = "";
    enum state ended = STATE_UNSPECIFIED;
    enum after_verdict verdict;
    struct push *x;
    struct task t;
    struct err bad;

    if (under_way(p, row->id) || (row->cancel_at_ms && !row->released))
        return 0;
    if (codec_decode(CODEC_TASK, row->task.data, row->task.len, p->pool, &t,
                     &bad) < 0) {
        log_warn("park.task", "task=%s error=\"%s\"", row->id,
                 LOG_TEXT(bad.msg));
        return 0;
    }
    if (judge(p, &t, &verdict, &culprit, &ended, e) < 0)
        return -1;
    if (row->released)
        verdict = GO; /* decided before; the broker may not have it */
    switch (verdict) {
    case WAIT:
        return 0;
    case NEVER:
        x = push_new(p, row);
        str_addf(&x->reason, "comes after %s, which ended %s", culprit,
                 state_name(ended));
        x->go = cancel_unclaimed;
        return 0;
    case GO:
        break;
    }
    /* Recorded first: a cancel that comes now knows that it must look for
     * the task on its lane. */
    if (!row->released) {
        row->released = true;
        if (db_put_task(p->store, row, DB_WHOLE, e) < 0)
            return -1;
    }
    release(p, row, &t);
    return 0;
}

/* --- passes --------------------------------------------------------------- */

/* Every row of one kind, a slice at a time; how many there were, -1 on
 * error. */
static int
each(struct dependencies *p, enum db_todo what, struct err *e)
{
    int64_t ns[SLICE_ROWS], after = 0;
    int n, total = 0;

    do {
        n = db_todo(p->store, what, after, SLICE_ROWS, ns, e);
        for (int i = 0; i < n; i++) {
            struct task_state row;

            after = ns[i];
            total++;
            if (p->n_pushes >= PUSHES_MAX)
                return total;
            mem_pool_reset(p->pool);
            if (db_task_at(p->store, ns[i], p->pool, &row, e) <= 0)
                return -1;
            if (what == DB_CANCELLED)
                cancel_row(p, &row);
            else if (blocked_row(p, &row, e) < 0)
                return -1;
        }
    } while (n == SLICE_ROWS);
    return n < 0 ? -1 : total;
}

static void
start_pushes(struct dependencies *p)
{
    struct push *next;

    for (struct push *x = p->pushes; x; x = next) {
        void (*go)(struct push * x) = x->go;

        next = x->next;
        x->go = NULL;
        if (go)
            go(x);
    }
}

static int
pass(struct dependencies *p, int64_t now_ms, struct err *e)
{
    int blocked, cancels = 0;

    if (db_begin(p->store, e) < 0 || (blocked = each(p, DB_BLOCKED, e)) < 0)
        return -1;
    if (p->woken || now_ms - p->cancels_ms >= CANCEL_MS) {
        cancels = each(p, DB_CANCELLED, e);
        if (cancels < 0)
            return -1;
        p->cancels_ms = cancels > 0 ? now_ms : 0;
    } else if (p->cancels_ms) {
        cancels = 1;
    }
    p->woken = false;
    if (db_commit(p->store, e) < 0)
        return -1;
    start_pushes(p);
    if (blocked > 0)
        due(p, now_ms + BLOCKED_MS);
    if (cancels > 0)
        due(p, p->cancels_ms + CANCEL_MS);
    return 0;
}

static void
on_timer(void *ctx)
{
    struct dependencies *p = ctx;
    struct err e;

    p->next_ms = 0;
    p->passed_ms = loop_now_ms();
    if (pass(p, p->passed_ms, &e) < 0) {
        db_rollback(p->store);
        log_error("reaper.store", "error=\"%s\"", LOG_TEXT(e.msg));
        loop_stop(p->loop, 1);
    }
    mem_pool_reset(p->pool);
}

void
dependencies_wake(struct dependencies *p)
{
    int64_t now_ms = loop_now_ms();

    p->woken = true;
    due(p, p->passed_ms + GAP_MS > now_ms ? p->passed_ms + GAP_MS : now_ms);
}

struct dependencies *
dependencies_open(struct bus *b, struct loop *l, struct db *s)
{
    struct dependencies *p = MEM_NEW(struct dependencies);

    p->bus = b;
    p->loop = l;
    p->store = s;
    p->pool = mem_pool_new();
    p->woken = true; /* what an earlier process left */
    p->next_ms = 1;
    p->passed_ms = loop_now_ms() - GAP_MS;
    p->timer = loop_timer_start(l, 0, 0, on_timer, p);
    return p;
}

void
dependencies_close(struct dependencies *p)
{
    struct push *next;

    if (!p)
        return;
    for (struct push *x = p->pushes; x; x = next) {
        next = x->next;
        bus_forget(p->bus, x);
        push_free(x);
    }
    loop_timer_stop(p->timer);
    mem_pool_free(p->pool);
    mem_free(p);
}
