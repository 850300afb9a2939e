/*
 * Watches that outcomes get into the bucket. One that the broker has not
 * confirmed within a second is written to disk, so that a crash does not lose
 * it: later if the broker is only slow, at once if it is away.
 */
#include "workers/core/unconfirmed.h"

#include "lib/base/log.h"
#include "workers/core/result_publisher.h"
#include "workers/core/result_spool.h"
#include "workers/core/state_dir.h"
#include "workers/core/verdict.h"
#include "workers/core/worker_types.h"

enum {
    UNCONFIRMED_MS = 1000,       /* then it goes to disk */
    UNCONFIRMED_MOST_MS = 10000, /* the same while the broker confirms others */
    BURST = 32, /* outcomes to disk, then the broker is listened to */
    AGAIN_MS = 5000,
};

void
unconfirmed_expect(struct attempt *a)
{
    a->place = a->place >= OUTCOME_OUTDATED ? OUTCOME_OUTDATED : OUTCOME_MEMORY;
    deadlines_set(&a->deadlines, DUE_SPOOL,
                  loop_now_ms() + (bus_is_up(a->w->bus) ? UNCONFIRMED_MS : 0));
}

static int
put(struct attempt *a, struct err *e)
{
    const struct claim claim = a->claim;
    const struct result result = a->result;
    int64_t delay_ms = a->delay_ms;
    char subject[SUBJECT_SIZE];
    struct spooled_result r = {.subject = result_publisher_subject(a, subject)};
    int rc;

    /* The claim is still being renewed: it becomes the outcome later. */
    if (a->phase == PHASE_OUTPUT)
        verdict_fill(a);
    r.claim = a->claim;
    r.result = a->result;
    rc = result_spool_put(state_dir_results(a->w->state_dir), &r, e);
    if (a->phase == PHASE_OUTPUT) {
        a->claim = claim;
        a->result = result;
        a->delay_ms = delay_ms;
    }
    return rc;
}

static void
failed(struct worker *w, const struct err *e)
{
    if (!w->spool_failing)
        log_error("outcome.not_spooled",
                  "error=\"%s\" note=\"kept in memory and tried again\"",
                  LOG_TEXT(e->msg));
    w->spool_failing = true;
}

void
unconfirmed_write(struct attempt *a)
{
    struct worker *w = a->w;
    struct err e;

    deadlines_clear(&a->deadlines, DUE_SPOOL);
    if (a->place == OUTCOME_NONE || a->place == OUTCOME_DISK)
        return;
    if (put(a, &e) < 0) {
        failed(w, &e);
        deadlines_set(&a->deadlines, DUE_SPOOL, loop_now_ms() + AGAIN_MS);
        return;
    }
    log_info("outcome.spooled", "task=%s attempt=%u", a->task->id,
             a->claim.attempt);
    a->place = OUTCOME_DISK;
    w->spool_unsynced = true;
    w->spool_failing = false;
}

/*
 * A broker that is slow, and not away, is not helped by a file with a sync for
 * each outcome it has yet to confirm: where it shares the disk it becomes
 * slower still, and meanwhile nobody reads its answers.
 */
void
unconfirmed_overdue(struct attempt *a)
{
    struct worker *w = a->w;
    int64_t now = loop_now_ms();

    if (bus_is_up(w->bus) && now - w->confirmed_ms < UNCONFIRMED_MS &&
        now - a->ended_ms < UNCONFIRMED_MOST_MS)
        deadlines_set(&a->deadlines, DUE_SPOOL,
                      w->confirmed_ms + UNCONFIRMED_MS);
    else if (w->n_spooled++ < BURST)
        unconfirmed_write(a);
    else
        deadlines_set(&a->deadlines, DUE_SPOOL, now);
}

void
unconfirmed_sync(struct worker *w)
{
    struct err e;

    w->n_spooled = 0;
    if (!w->spool_unsynced)
        return;
    w->spool_unsynced = false;
    if (result_spool_sync(state_dir_results(w->state_dir), &e) < 0)
        failed(w, &e);
}

/* Does fn to the file of the outcome, if there is one. */
static void
end_file(struct attempt *a, void (*fn)(const char *dir, const char *name))
{
    char name[RESULT_SPOOL_NAME_SIZE];

    if (a->place < OUTCOME_OUTDATED)
        return;
    fn(state_dir_results(a->w->state_dir),
       result_spool_name(name, a->task->id, a->claim.attempt));
    a->place = OUTCOME_MEMORY;
}

void
unconfirmed_remove(struct attempt *a)
{
    deadlines_clear(&a->deadlines, DUE_SPOOL);
    end_file(a, result_spool_remove);
}

void
unconfirmed_set_aside(struct attempt *a)
{
    if (a->place == OUTCOME_NONE)
        return;
    log_warn("outcome.superseded",
             "task=%s attempt=%u note=\"the task has gone on without it\"",
             a->task->id, a->claim.attempt);
    end_file(a, result_spool_set_aside);
}
