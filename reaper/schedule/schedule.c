/*
 * Runs a pass when it is woken, each second while tasks are blocked, and each
 * five while cancels are open. A pass is one transaction; what it releases is
 * published once that is committed.
 */
#include "reaper/schedule/schedule.h"

#include "reaper/schedule/cancel.h"
#include "reaper/schedule/cancel_keys.h"
#include "reaper/schedule/dependencies.h"

enum {
    SLICE_ROWS = 128,
    GAP_MS = 100,      /* between passes, however much happens */
    BLOCKED_MS = 1000, /* between passes while tasks are blocked */
    CANCEL_MS = 5000,  /* between looks at cancels that are open */
    OPS_MAX = 1024,    /* under way at once */
    /* After a start messages may be about to arrive. */
    START_MS = 60000,
    PATIENCE_MS = 600000, /* reaper.after_unknown */
};

struct schedule {
    struct loop *loop;
    struct loop_timer *timer;
    struct db *db;
    struct ledger_ops ops;
    int64_t next_ms;    /* when the timer fires; 0: it does not run */
    int64_t passed_ms;  /* when the last pass was */
    int64_t cancels_ms; /* when cancels were looked at last */
    int64_t told_ms;    /* when the workers were told of them again */
    bool woken, tell;
    struct cancel_keys *keys;
    struct schedule_parts p;
    struct dependencies dependencies;
    int64_t opened_ms;
};

static void
pass_at(struct schedule *s, int64_t at_ms)
{
    int64_t now_ms = loop_now_ms();

    if (s->next_ms && s->next_ms <= at_ms)
        return;
    s->next_ms = at_ms > 0 ? at_ms : 1;
    loop_timer_again(s->timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

/* Every row of one kind, a slice at a time; how many there were, -1 on
 * error. */
static int
each(struct schedule *s, enum db_todo what, struct err *e)
{
    int64_t ns[SLICE_ROWS], after = 0;
    int n, total = 0;

    do {
        n = db_todo(s->db, what, after, SLICE_ROWS, ns, e);
        for (int i = 0; i < n; i++) {
            struct task_state row;

            after = ns[i];
            total++;
            if (s->ops.n >= OPS_MAX)
                return total;
            mem_pool_reset(s->ops.pool);
            if (db_task_at(s->db, ns[i], s->ops.pool, &row, e) <= 0)
                return -1;
            if (what == DB_CANCELLED)
                cancel_task(&s->ops, &row, s->tell);
            else if (dependencies_check(&s->dependencies, &row, e) < 0)
                return -1;
        }
    } while (n == SLICE_ROWS);
    return n < 0 ? -1 : total;
}

/* One line for all tasks that wait for one nobody has submitted. */
static void
tell_unknown(struct schedule *s)
{
    const struct dependencies *d = &s->dependencies;

    if (!d->n_unknown)
        (void)alarm_clear(s->p.alarms, "waits_for_unknown");
    else if (d->n_unknown == 1)
        (void)alarm_raise(s->p.alarms, "waits_for_unknown", "%s", d->unknown);
    else
        (void)alarm_raise(s->p.alarms, "waits_for_unknown", "%s; and %zu more",
                          d->unknown, d->n_unknown - 1);
}

static int
look_at_blocked(struct schedule *s, int64_t now_ms, struct err *e)
{
    struct dependencies *d = &s->dependencies;
    int64_t settled_ms = d->patience_ms < START_MS ? d->patience_ms : START_MS;
    int blocked;

    d->n_unknown = 0;
    d->caught_up =
        now_ms - s->opened_ms >= settled_ms && s->p.caught_up(s->p.ctx);
    blocked = each(s, DB_BLOCKED, e);
    if (blocked < 0)
        return -1;
    dependencies_end(d);
    tell_unknown(s);
    return blocked;
}

static int
pass(struct schedule *s, int64_t now_ms, struct err *e)
{
    int blocked, cancels = 0;

    if (db_begin(s->db, e) < 0 || (blocked = look_at_blocked(s, now_ms, e)) < 0)
        return -1;
    if (s->woken || now_ms - s->cancels_ms >= CANCEL_MS) {
        s->tell = s->cancels_ms && now_ms - s->told_ms >= CANCEL_MS;
        cancels = each(s, DB_CANCELLED, e);
        if (cancels < 0)
            return -1;
        if (s->tell || !s->cancels_ms)
            s->told_ms = now_ms;
        s->cancels_ms = cancels > 0 ? now_ms : 0;
    } else if (s->cancels_ms) {
        cancels = 1;
    }
    s->woken = false;
    if (db_commit(s->db, e) < 0)
        return -1;
    dependencies_release(&s->ops);
    if (blocked > 0)
        pass_at(s, now_ms + BLOCKED_MS);
    if (cancels > 0)
        pass_at(s, s->cancels_ms + CANCEL_MS);
    return 0;
}

static void
on_timer(void *ctx)
{
    struct schedule *s = ctx;
    struct err e;

    s->next_ms = 0;
    s->passed_ms = loop_now_ms();
    if (pass(s, s->passed_ms, &e) < 0)
        db_give_up(s->db, s->loop, &e);
    mem_pool_reset(s->ops.pool);
}

void
schedule_wake(struct schedule *s)
{
    int64_t now_ms = loop_now_ms();

    s->woken = true;
    pass_at(s, s->passed_ms + GAP_MS > now_ms ? s->passed_ms + GAP_MS : now_ms);
}

void
schedule_note_cancels(struct schedule *s)
{
    cancel_keys_wake(s->keys);
}

struct schedule *
schedule_open(const struct schedule_parts *p)
{
    struct schedule *s = MEM_NEW(struct schedule);
    struct loop *l = p->loop;

    s->p = *p;
    s->loop = l;
    s->db = p->db;
    s->opened_ms = loop_now_ms();
    ledger_ops_init(&s->ops, p->bus);
    s->dependencies = (struct dependencies){
        .ops = &s->ops,
        .db = p->db,
        .patience_ms = p->patience_ms ? p->patience_ms : PATIENCE_MS};
    s->woken = true; /* what an earlier process left */
    s->next_ms = 1;
    s->passed_ms = loop_now_ms() - GAP_MS;
    s->timer = loop_timer_start(l, 0, 0, on_timer, s);
    s->keys = cancel_keys_open(p->bus, l, p->db);
    return s;
}

void
schedule_close(struct schedule *s)
{
    if (!s)
        return;
    cancel_keys_close(s->keys);
    circles_free(&s->dependencies.circles);
    ledger_ops_release(&s->ops);
    loop_timer_stop(s->timer);
    mem_free(s);
}
