/*
 * Reads the durable consumers and folds their messages into the ledger.
 *
 * Results go through the verifier first. Everything then waits in coalesce
 * until the flush timer folds what is due in one transaction: soon after the
 * first message, later under load.
 */
#include "reaper/sources.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "reaper/ingest/coalesce.h"
#include "reaper/ingest/verify.h"

#include <inttypes.h>

enum {
    FLUSH_MOST = 2048,     /* messages in one transaction */
    RESULTS_MOST = 2048,   /* results in them, and then no more messages */
    FLUSH_BYTES = 1 << 20, /* the same of bytes: thousands of tasks in bulk */
    SPACE_MS = 50,         /* between commits, under load */
    WINDOW_MANY = 4096,    /* messages in hand, where each is a task: those of
                              a transaction, and what comes meanwhile */
    WINDOW = 512,          /* of the others */
    WINDOW_BYTES = 32 << 20,
    SOURCE_RESULTS = 2, /* in sources_list */
};

const struct source sources_list[SOURCES_N] = {
    {"TASKS_IN", "ledger", "TASKS_IN.ledger", EVENT_ACCEPTED, WINDOW_MANY},
    {"TASKS", "ledger", "TASKS.ledger", EVENT_ROUTED, WINDOW_MANY},
    [SOURCE_RESULTS] = {"RESULTS", "reaper", "RESULTS.reaper", EVENT_RESULT,
                        WINDOW},
    {"KV_control", "ledger", "KV_control.ledger", EVENT_CANCEL, WINDOW},
};

struct source_consumer {
    struct sources *sources;
    const struct source *source;
    struct bus_consumer *consumer;
    bool seen;        /* a message, since the start */
    uint64_t pending; /* messages behind the last delivery */
};

struct sources {
    struct sources_parts p;
    struct source_consumer consumers[SOURCES_N];
    struct verifier *verifier;
    struct coalesce *coalesce; /* messages to be folded */
    struct ingest *ingest;
    struct loop_timer *flush;
    int64_t flush_at; /* 0: the timer does not run */
    int64_t paced_at; /* the earliest time of the next commit of results */
    bool behind;      /* the last transaction could not take everything */
    bool fold_all;    /* the next flush folds what is held, too */
    bool draining;
    bool failed; /* the database does not work any more */
};

/* --- pacing --------------------------------------------------------------- */

static void
flush_within(struct sources *s, int64_t ms)
{
    int64_t at = loop_now_ms() + ms;

    if (s->flush_at && s->flush_at <= at)
        return;
    s->flush_at = at;
    loop_timer_again(s->flush, ms, 0);
}

/*
 * How long a result may wait for others. A commit costs a sync of the disk,
 * however little it holds: a result that comes alone is committed at once;
 * when several came together more will follow, and commits are SPACE_MS apart,
 * so that the number of syncs grows with the tasks and not with how finely
 * they trickle in.
 */
static int64_t
pace_ms(const struct sources *s)
{
    int64_t wait = s->paced_at - loop_now_ms();

    return wait > 0 ? wait : 0;
}

/* A commit was made, with so many results. */
static void
pace(struct sources *s, size_t results)
{
    s->paced_at = results > 1 ? loop_now_ms() + SPACE_MS : 0;
    if (results > 1)
        coalesce_loaded(s->coalesce, loop_now_ms());
}

/* Sets the timer to the time when the next message held is to be folded. */
static void
flush_when_due(struct sources *s)
{
    int64_t due_ms = coalesce_due_ms(s->coalesce), now_ms = loop_now_ms();

    if (coalesce_has_ready(s->coalesce))
        flush_within(s, pace_ms(s));
    if (due_ms != INT64_MAX)
        flush_within(s, due_ms > now_ms ? due_ms - now_ms : 0);
}

/* --- messages ------------------------------------------------------------- */

static void
enqueue(struct sources *s, const struct source *source, struct bus_msg *m,
        const struct result_verdicts *verdicts)
{
    const struct entry entry = {.kind = source->kind,
                                .stream = source->stream,
                                .consumer = source->name,
                                .msg = m,
                                .verdicts = *verdicts};

    coalesce_add(s->coalesce, &entry, loop_now_ms());
    flush_when_due(s);
}

static void
on_verified(void *ctx, struct bus_msg *m,
            const struct result_verdicts *verdicts)
{
    enqueue(ctx, &sources_list[SOURCE_RESULTS], m, verdicts);
}

static void
on_verifier_idle(void *ctx)
{
    struct sources *s = ctx;

    if (s->draining)
        flush_within(s, 0);
}

static void
on_message(void *ctx, struct bus_msg *m)
{
    static const struct result_verdicts none;
    struct source_consumer *c = ctx;
    const struct source *source = c->source;
    struct sources *s = c->sources;
    uint64_t position = 0;
    struct err e;

    FAILPOINT("reaper.after_fetch");
    if (s->failed) {
        bus_msg_retry(m, 0); /* the next process need not wait for it */
        return;
    }
    if (!c->seen && m->seq > 1 && m->delivered == 1 &&
        db_position_get(s->p.db, source->name, &position, &e) == 0 &&
        position == 0)
        log_warn("reaper.history",
                 "stream=%s seq=%" PRIu64 " text=\"the database is new and "
                 "messages before this one are not in it\"",
                 source->stream, m->seq);
    c->seen = true;
    c->pending = m->pending;
    if (source->kind == EVENT_RESULT)
        verifier_check(s->verifier, m);
    else
        enqueue(s, source, m, &none);
}

/* --- transactions --------------------------------------------------------- */

static void
close_windows(struct sources *s)
{
    for (int i = 0; i < SOURCES_N; i++)
        bus_consumer_window(s->consumers[i].consumer, 0);
}

/* Nothing was acknowledged, so nothing is lost: a new process folds it. */
static void
give_up(struct sources *s, const struct err *e)
{
    s->failed = true;
    close_windows(s);
    db_give_up(s->p.db, s->p.loop, e);
}

/* One transaction, of what is due or of all, up to its limits; -1: the database
 * failed. */
static int
fold_some(struct sources *s, bool all, struct err *e)
{
    int64_t now_ms = loop_now_ms();
    size_t n, results = 0, bytes = 0;
    struct entry *entry = NULL;

    if (ingest_begin(s->ingest, e) < 0)
        return -1;
    for (n = 0; n < FLUSH_MOST && results < RESULTS_MOST && bytes < FLUSH_BYTES;
         n++) {
        entry = coalesce_take(s->coalesce, now_ms, all);
        if (!entry)
            break;
        if (ingest_enter(s->ingest, entry, e) < 0)
            return -1;
        results += entry->verdicts.n;
        bytes += entry->msg->len;
    }
    s->behind = entry != NULL;
    FAILPOINT("reaper.mid_transaction");
    if (ingest_commit(s->ingest, e) < 0)
        return -1;
    FAILPOINT("reaper.after_commit");
    pace(s, results);
    s->p.committed(s->p.ctx, ingest_changes(s->ingest));
    coalesce_done(s->coalesce);
    FAILPOINT("reaper.after_ack");
    return 0;
}

/* False if there was nothing, or the database failed. */
static bool
flush_some(struct sources *s, bool all)
{
    struct err e;

    if (s->failed || coalesce_is_empty(s->coalesce))
        return false;
    if (fold_some(s, all, &e) == 0)
        return true;
    give_up(s, &e);
    return false;
}

static void
on_flush(void *ctx)
{
    struct sources *s = ctx;
    bool all = s->draining || s->fold_all;

    s->flush_at = 0;
    (void)flush_some(s, all);
    if (s->failed)
        return;
    if (!coalesce_is_empty(s->coalesce) && (all || s->behind))
        flush_within(s, 0);
    else
        s->fold_all = false;
    flush_when_due(s);
    if (s->draining && verifier_is_idle(s->verifier) &&
        coalesce_is_empty(s->coalesce))
        loop_stop(s->p.loop, 0);
}

void
sources_fold_all(struct sources *s)
{
    while (flush_some(s, true))
        ;
}

void
sources_fold_soon(struct sources *s)
{
    s->fold_all = true;
    flush_within(s, COALESCE_SOON_MS);
}

/* --- life ----------------------------------------------------------------- */

uint64_t
sources_lag(const struct sources *s, int i)
{
    const struct source_consumer *c = &s->consumers[i];

    return c->pending + bus_consumer_unsettled(c->consumer);
}

bool
sources_failed(const struct sources *s)
{
    return s->failed;
}

void
sources_trim(struct sources *s)
{
    coalesce_trim(s->coalesce);
}

int
sources_bind(struct sources *s, struct err *e)
{
    for (int i = 0; i < SOURCES_N; i++) {
        struct source_consumer *c = &s->consumers[i];

        if (bus_consume(s->p.bus, c->source->stream, c->source->durable,
                        on_message, c, &c->consumer, e) < 0)
            return -1;
        bus_consumer_bytes(c->consumer, WINDOW_BYTES);
    }
    return 0;
}

void
sources_read(struct sources *s, int n)
{
    for (int i = 0; i < n; i++)
        bus_consumer_window(s->consumers[i].consumer, sources_list[i].window);
}

void
sources_drain(struct sources *s)
{
    s->draining = true;
    close_windows(s);
    flush_within(s, 0);
}

struct sources *
sources_open(const struct sources_parts *parts)
{
    struct sources *s = MEM_NEW(struct sources);

    s->p = *parts;
    for (int i = 0; i < SOURCES_N; i++)
        s->consumers[i] =
            (struct source_consumer){.sources = s, .source = &sources_list[i]};
    s->coalesce = coalesce_new();
    s->ingest = ingest_new(s->p.db);
    s->flush = loop_timer_start(s->p.loop, 0, 0, on_flush, s);
    s->verifier = verifier_open(s->p.bus, s->p.verify_after_ms, on_verified,
                                on_verifier_idle, s);
    return s;
}

void
sources_close(struct sources *s)
{
    if (!s)
        return;
    verifier_close(s->verifier);
    coalesce_free(s->coalesce);
    loop_timer_stop(s->flush);
    for (int i = 0; i < SOURCES_N; i++)
        bus_consumer_close(s->consumers[i].consumer);
    ingest_free(s->ingest);
    mem_free(s);
}
