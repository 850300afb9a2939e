/*
 * Sends the files of the spool one after the other: the claim is set to the
 * outcome by compare-and-set if it still is that attempt's, then the result is
 * published, then the file goes. If the claim has moved on nothing is said, and
 * the file is set aside.
 */
#include "workers/core/spool_replay.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/claims.h"
#include "workers/core/result_publisher.h"
#include "workers/core/result_spool.h"
#include "workers/core/state_dir.h"
#include "workers/core/worker_types.h"

#include <string.h>

enum { AGAIN_MS = 1000 };

struct spool_replay {
    struct worker *w;
    const char *dir;
    struct mem_pool *names_pool, *pool;
    const char **names; /* those still to send, the current one first */
    struct spooled_result current;
    struct loop_timer *timer;
};

static void next(struct spool_replay *r);
static void read_claim(struct spool_replay *r);

static void
on_timer(void *ctx)
{
    struct spool_replay *r = ctx;

    loop_timer_stop(r->timer);
    r->timer = NULL;
    read_claim(r);
}

static void
again_later(struct spool_replay *r)
{
    r->timer = loop_timer_start(r->w->loop, AGAIN_MS, 0, on_timer, r);
}

/* Ends the current file with fn and goes on to the next one. */
static void
end_file(struct spool_replay *r, void (*fn)(const char *dir, const char *name))
{
    fn(r->dir, *r->names++);
    next(r);
}

static void
superseded(struct spool_replay *r)
{
    log_warn("outcome.superseded",
             "task=%s attempt=%u note=\"the task has gone on without it\"",
             r->current.result.task, r->current.result.attempt);
    end_file(r, result_spool_set_aside);
}

static void
on_published(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct spool_replay *r = ctx;
    const struct result *result = &r->current.result;

    (void)stored;
    if (e) {
        /* The claim has the outcome; whoever gets the task emits that. */
        log_error("result.refused", "task=%s error=\"%s\"", result->task,
                  LOG_TEXT(e->msg));
        end_file(r, result_spool_set_aside);
    } else {
        log_info("outcome.sent", "task=%s attempt=%u state=%s", result->task,
                 result->attempt, state_name(result->state));
        end_file(r, result_spool_remove);
    }
}

static void
publish(struct spool_replay *r)
{
    result_publisher_publish_one(r->w, r->current.subject, &r->current.result,
                                 on_published, r);
}

static void
on_written(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct spool_replay *r = ctx;

    if (stored) {
        publish(r);
    } else {
        /* Refused, not sent or without an answer: only reading tells. */
        log_debug("outcome.write", "task=%s error=\"%s\"",
                  r->current.result.task, e->msg);
        again_later(r);
    }
}

static void
write_claim(struct spool_replay *r, uint64_t revision)
{
    claims_put(r->w->bus, r->w->ex->name, &r->current.claim, revision,
               on_written, r);
}

static void
compare(struct spool_replay *r, const struct claims_entry *found)
{
    const struct claim *c = found->claim, *ours = &r->current.claim;

    if (!c)
        /* Nobody has a claim: the broker's store was lost, perhaps. If one is
         * made meanwhile the write is refused. */
        write_claim(r, found->revision);
    else if (strcmp(c->nonce, ours->nonce) != 0 || c->attempt != ours->attempt)
        superseded(r);
    else if (c->state == STATE_RUNNING)
        write_claim(r, found->revision);
    else if (c->state == ours->state)
        publish(r); /* it was written, and perhaps published too */
    else
        superseded(r); /* closed without us */
}

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct spool_replay *r = ctx;
    struct worker *w = r->w;
    struct claims_entry found;
    struct err bad;

    if (e) {
        log_debug("outcome.read", "task=%s error=\"%s\"",
                  r->current.result.task, e->msg);
        again_later(r);
        return;
    }
    mem_pool_reset(w->scratch_pool);
    if (claims_read(w->bus, entry, r->current.result.task, w->scratch_pool,
                    &found, &bad) < 0)
        superseded(r);
    else
        compare(r, &found);
}

static void
read_claim(struct spool_replay *r)
{
    claims_get(r->w->bus, r->w->ex->name, r->current.result.task, on_entry, r);
}

/* Loads the next file that is ours to send; false if it is not. */
static bool
load(struct spool_replay *r, const char *name)
{
    const struct result *result = &r->current.result;
    const struct attempt *a;
    struct err e;

    mem_pool_reset(r->pool);
    if (result_spool_load(r->dir, name, r->pool, &r->current, &e) < 0) {
        if (e.code == ERR_INVALID) {
            log_error("outcome.unreadable", "error=\"%s\"", LOG_TEXT(e.msg));
            result_spool_set_aside(r->dir, name);
        }
        return false; /* or an attempt has just removed it */
    }
    a = hash_table_find(&r->w->tasks, result->task);
    return !(a && a->place >= OUTCOME_OUTDATED &&
             a->claim.attempt == result->attempt);
}

static void
next(struct spool_replay *r)
{
    while (*r->names && !load(r, *r->names))
        r->names++;
    if (*r->names)
        read_claim(r);
    else
        spool_replay_stop(r->w);
}

void
spool_replay_start(struct worker *w)
{
    struct spool_replay *r = w->replay;

    if (r) {
        if (r->timer)
            loop_timer_again(r->timer, 0, 0);
        return;
    }
    w->replay = r = MEM_NEW(struct spool_replay);
    r->w = w;
    r->dir = state_dir_results(w->state_dir);
    r->names_pool = mem_pool_new();
    r->pool = mem_pool_new();
    r->names = result_spool_list(r->dir, r->names_pool);
    next(r);
}

void
spool_replay_stop(struct worker *w)
{
    struct spool_replay *r = w->replay;

    if (!r)
        return;
    bus_forget(w->bus, r);
    loop_timer_stop(r->timer);
    mem_pool_free(r->pool);
    mem_pool_free(r->names_pool);
    mem_free(r);
    w->replay = NULL;
}
