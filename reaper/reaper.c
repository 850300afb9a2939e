#include "reaper/reaper.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/bus/jetstream_setup.h"
#include "lib/bus/lane_pause.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "lib/os/state_path.h"
#include "reaper/db/db.h"
#include "reaper/http/server.h"
#include "reaper/ingest/coalesce.h"
#include "reaper/ingest/ingest.h"
#include "reaper/ingest/verify.h"
#include "reaper/query/disk_monitor.h"
#include "reaper/query/presence.h"
#include "reaper/query/query.h"
#include "reaper/recover/rebuild.h"
#include "reaper/recover/reconcile.h"
#include "reaper/report/writer.h"
#include "reaper/schedule/schedule.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FLUSH_MOST = 2048,     /* messages in one transaction */
    RESULTS_MOST = 2048,   /* results in them, and then no more messages */
    FLUSH_BYTES = 1 << 20, /* the same of bytes: thousands of tasks in bulk */
    SPACE_MS = 50,         /* between commits, under load */
    WINDOW_MANY = 4096,    /* messages in hand, where each is a task: those of
                              a transaction, and what comes meanwhile */
    WINDOW = 512,          /* of the others */
    WINDOW_BYTES = 32 << 20,
    TRIM_MS = 2000,         /* of quiet, before memory is given back */
    DRAIN_MS = 2000,        /* for what is in hand when we are to stop */
    STOP_REPORTS_MS = 2000, /* and then for reports that are due */
    PAUSE_OLD_MS = 24 * 3600 * 1000, /* it is stored again, long before */
    PAUSE_LOOK_MS = 3600 * 1000,     /* KV_control forgets it */
    SOURCE_RESULTS = 2,              /* in sources[] */
    N_SOURCES = 4,
};

/* A durable consumer. */
struct reaper_source {
    struct reaper *reaper;
    const char *stream, *durable, *name; /* name: in the database */
    enum event_kind kind;
    unsigned window;
    struct bus_consumer *consumer;
    bool seen;        /* anything since the start */
    uint64_t pending; /* behind the last delivery */
};

struct reaper {
    struct bus *bus;
    struct loop *loop;
    struct db *store;
    struct ingest *book;
    struct presence *live;
    struct lane_pauses *pauses;
    struct schedule *schedule;
    struct report_writer *dues;
    struct alarms alarms;
    struct disk_monitor *health;
    struct reconcile *reconcile;
    struct ask *ask;
    struct http_server *web; /* NULL: not wanted */
    struct mem_pool *pool;
    struct reaper_source sources[N_SOURCES];
    struct verifier *verifier;
    struct coalesce *queue; /* what is to be folded */
    struct loop_timer *flush;
    int64_t flush_at; /* 0: the timer does not run */
    int64_t paced_at; /* the next commit of results, at the earliest */
    struct loop_timer *trim;
    struct loop_timer *deadline;
    struct rebuild *rebuild; /* NULL: none was needed */
    struct rebuild_consumer consumers[N_SOURCES];
    bool behind;    /* there was more than the last transaction could take */
    bool looked_at; /* somebody has looked who does not have it folded first */
    bool draining;
    bool failed; /* the database does not work any more */
};

static const struct reaper_source sources[N_SOURCES] = {
    {.stream = "TASKS_IN",
     .durable = "ledger",
     .name = "TASKS_IN.ledger",
     .kind = EVENT_ACCEPTED,
     .window = WINDOW_MANY},
    {.stream = "TASKS",
     .durable = "ledger",
     .name = "TASKS.ledger",
     .kind = EVENT_ROUTED,
     .window = WINDOW_MANY},
    [SOURCE_RESULTS] = {.stream = "RESULTS",
                        .durable = "reaper",
                        .name = "RESULTS.reaper",
                        .kind = EVENT_RESULT,
                        .window = WINDOW},
    {.stream = "KV_control",
     .durable = "ledger",
     .name = "KV_control.ledger",
     .kind = EVENT_CANCEL,
     .window = WINDOW},
};

/* --- the queue ------------------------------------------------------------ */

static void
flush_within(struct reaper *r, int64_t ms)
{
    int64_t at = loop_now_ms() + ms;

    if (r->flush_at && r->flush_at <= at)
        return;
    r->flush_at = at;
    loop_timer_again(r->flush, ms, 0);
}

/*
 * How long a result may wait for others. A commit costs a sync of the disk,
 * however little it holds: a result that comes alone is committed at once;
 * when several came together more will follow, and commits are SPACE_MS apart,
 * so that the ledger's work grows with the tasks and not with how finely they
 * trickle in.
 */
static int64_t
pace_ms(const struct reaper *r)
{
    int64_t wait = r->paced_at - loop_now_ms();

    return wait > 0 ? wait : 0;
}

/* A commit was made, with so many results. */
static void
pace(struct reaper *r, size_t results)
{
    r->paced_at = results > 1 ? loop_now_ms() + SPACE_MS : 0;
    if (results > 1)
        coalesce_loaded(r->queue, loop_now_ms());
}

/* Sees to it that what is in the queue is folded when it is due. */
static void
flush_when_due(struct reaper *r)
{
    int64_t due_ms = coalesce_due_ms(r->queue), now_ms = loop_now_ms();

    if (coalesce_has_ready(r->queue))
        flush_within(r, pace_ms(r));
    if (due_ms != INT64_MAX)
        flush_within(r, due_ms > now_ms ? due_ms - now_ms : 0);
}

static void
enqueue(struct reaper *r, const struct reaper_source *s, struct bus_msg *m,
        const struct result_verdicts *verdicts)
{
    const struct entry entry = {.kind = s->kind,
                                .stream = s->stream,
                                .consumer = s->name,
                                .msg = m,
                                .verdicts = *verdicts};

    coalesce_add(r->queue, &entry, loop_now_ms());
    flush_when_due(r);
}

/* What the claims say of a message's results is known. */
static void
on_verified(void *ctx, struct bus_msg *m,
            const struct result_verdicts *verdicts)
{
    struct reaper *r = ctx;

    enqueue(r, &r->sources[SOURCE_RESULTS], m, verdicts);
}

static void
on_verifier_idle(void *ctx)
{
    struct reaper *r = ctx;

    if (r->draining)
        flush_within(r, 0);
}

static void
on_message(void *ctx, struct bus_msg *m)
{
    static const struct result_verdicts none;
    struct reaper_source *s = ctx;
    struct reaper *r = s->reaper;
    uint64_t position = 0;
    struct err e;

    FAILPOINT("reaper.after_fetch");
    if (r->failed) {
        bus_msg_retry(m, 0); /* the next process need not wait for it */
        return;
    }
    if (!s->seen && m->seq > 1 && m->delivered == 1 &&
        db_position_get(r->store, s->name, &position, &e) == 0 && position == 0)
        log_warn("reaper.history",
                 "stream=%s seq=%" PRIu64 " text=\"the database is new and "
                 "messages before this one are not in it\"",
                 s->stream, m->seq);
    s->seen = true;
    s->pending = m->pending;
    if (s->kind == EVENT_RESULT)
        verifier_check(r->verifier, m);
    else
        enqueue(r, s, m, &none);
}

/* --- flush ---------------------------------------------------------------- */

static void
send_batch(struct reaper *r, const char *id)
{
    char subject[SUBJECT_SIZE];
    struct batch_state b;
    struct str bytes = {0};
    struct err e;

    mem_pool_reset(r->pool);
    if (db_batch(r->store, id, r->pool, &b, &e) <= 0)
        return;
    codec_encode(CODEC_BATCH, &b.b, &bytes);
    bus_publish_core(r->bus, subject_batch(subject, id), str_text(&bytes),
                     bytes.len);
    str_free(&bytes);
}

/* What is told once it is stored. The result itself is the news, with its
 * output. */
static void
tell(struct reaper *r)
{
    const struct ingest_news *news = ingest_news(r->book);
    char subject[SUBJECT_SIZE];

    for (size_t i = 0; i < news->n_ends; i++) {
        const struct ingest_end *end = &news->ends[i];

        presence_task_ended(r->live, end->id);
        bus_publish_core(r->bus, subject_done(subject, end->id),
                         end->result.data, end->result.len);
    }
    for (size_t i = 0; i < news->n_batches; i++)
        send_batch(r, news->batches[i]);
    if (news->due)
        report_writer_wake(r->dues);
    if (news->schedule && r->schedule)
        schedule_wake(r->schedule);
}

/* Nothing was acknowledged, so nothing is lost: a new process folds it. */
static void
give_up(struct reaper *r, const struct err *e)
{
    log_error("reaper.store", "error=\"%s\"", LOG_TEXT(e->msg));
    db_rollback(r->store);
    r->failed = true;
    for (int i = 0; i < N_SOURCES; i++)
        bus_consumer_window(r->sources[i].consumer, 0);
    loop_stop(r->loop, 1);
}

/* Folds what is to be folded, or all, up to the limits of a transaction; false
 * if the database failed. */
static bool
flush_some(struct reaper *r, bool all)
{
    int64_t now_ms = loop_now_ms();
    size_t n, results = 0, bytes = 0;
    const struct entry *entry = NULL;
    struct err e;

    if (ingest_begin(r->book, &e) < 0) {
        give_up(r, &e);
        return false;
    }
    for (n = 0; n < FLUSH_MOST && results < RESULTS_MOST && bytes < FLUSH_BYTES;
         n++) {
        entry = coalesce_take(r->queue, now_ms, all);
        if (!entry)
            break;
        if (ingest_enter(r->book, entry, &e) < 0) {
            give_up(r, &e);
            return false;
        }
        results += entry->verdicts.n;
        bytes += entry->msg->len;
    }
    r->behind = entry != NULL;
    FAILPOINT("reaper.mid_transaction");
    if (ingest_commit(r->book, &e) < 0) {
        give_up(r, &e);
        return false;
    }
    FAILPOINT("reaper.after_commit");
    pace(r, results);
    tell(r);
    coalesce_done(r->queue);
    FAILPOINT("reaper.after_ack");
    return true;
}

static void
finish_drain(struct reaper *r)
{
    if (r->draining && verifier_is_idle(r->verifier) &&
        coalesce_is_empty(r->queue))
        loop_stop(r->loop, 0);
}

static void
on_flush(void *ctx)
{
    struct reaper *r = ctx;

    bool all = r->draining || r->looked_at;

    r->flush_at = 0;
    if (r->failed)
        return;
    if (!coalesce_is_empty(r->queue) && !flush_some(r, all))
        return;
    if (!coalesce_is_empty(r->queue) && (all || r->behind))
        flush_within(r, 0);
    else
        r->looked_at = false;
    flush_when_due(r);
    loop_timer_again(r->trim, TRIM_MS, 0);
    finish_drain(r);
}

static void
on_quiet(void *ctx)
{
    struct reaper *r = ctx;

    if (!r->failed)
        db_idle(r->store);
    coalesce_trim(r->queue);
    mem_trim();
}

/* Before a question is answered: what has arrived counts. */
static void
settle(void *ctx)
{
    struct reaper *r = ctx;

    while (!coalesce_is_empty(r->queue) && !r->failed && flush_some(r, true))
        ;
    loop_timer_again(r->trim, TRIM_MS, 0); /* answers need memory too */
}

static uint64_t
lag(void *ctx, int i, const char **name)
{
    struct reaper *r = ctx;
    struct reaper_source *s;
    uint64_t pending;

    *name = NULL;
    if (i >= N_SOURCES)
        return 0;
    s = &r->sources[i];
    *name = s->name;
    pending = s->pending + bus_consumer_unsettled(s->consumer);
    return rebuild_runs(r->rebuild) && !pending
               ? 1
               : pending; /* there may be more */
}

/* --- HTTP ----------------------------------------------------------------- */

static void
health_of(void *ctx, struct http_routes_health *out)
{
    const struct reaper *r = ctx;

    *out = (struct http_routes_health){.bus_up = bus_is_up(r->bus),
                                       .database_ok = !r->failed,
                                       .rebuilding = rebuild_runs(r->rebuild)};
}

/* What answering has touched is given back once nobody asks. */
static void
on_used(void *ctx)
{
    struct reaper *r = ctx;

    r->looked_at = true; /* the next look sees what is held */
    flush_within(r, COALESCE_SOON_MS);
    loop_timer_again(r->trim, TRIM_MS, 0);
}

static int
start_web(struct reaper *r, const struct reaper_conf *conf,
          const struct query_parts *ask, struct err *e)
{
    struct http_server_parts parts = {
        .loop = r->loop,
        .alarms = &r->alarms,
        .address = conf->http,
        .token_file = conf->http_token_file ? conf->http_token_file : "",
        .site = {.ask = *ask, .ctx = r, .health = health_of},
        .ctx = r,
        .used = on_used};

    if (!conf->http || !*conf->http || strcmp(conf->http, "off") == 0)
        return 0;
    return http_server_open(&r->web, &parts, e);
}

/* --- life ----------------------------------------------------------------- */

static void
on_event(void *ctx, enum bus_event event, const char *text)
{
    struct reaper *r = ctx;

    switch (event) {
    case BUS_UP:
        log_info("bus.up", "url=%s", bus_url(r->bus));
        lane_pauses_refresh(r->pauses);
        reconcile_wake(r->reconcile);
        break;
    case BUS_DOWN:
        log_warn("bus.down", "url=%s", bus_url(r->bus));
        break;
    case BUS_DENIED:
        log_error("bus.denied", "error=\"%s\"", LOG_TEXT(text));
        loop_stop(r->loop, 1);
        break;
    }
}

/* A worker that needs a person has paused its lane without an end; people,
 * whose names are user@host, know what they do. */
static void
on_pauses(void *ctx)
{
    struct reaper *r = ctx;
    const struct lane_pause *p, *held = NULL;

    for (size_t i = 0; i < lane_pauses_count(r->pauses); i++) {
        p = lane_pauses_at(r->pauses, i);
        if (p->paused && p->until_ms == 0 && !strchr(p->by, '@'))
            held = p;
    }
    if (!held)
        (void)alarm_clear(&r->alarms, "lane_held");
    else
        (void)alarm_raise(&r->alarms, "lane_held",
                          "lane %s.%s waits for a person: %.120s",
                          held->backend, held->lane, held->reason);
}

static char *
database_path(const struct reaper_conf *conf, struct err *e)
{
    char path[PATH_MAX];

    if (*conf->database)
        return mem_strdup(conf->database);
    if (state_path(path, sizeof path, "ledger.db", "reaper.database", e) < 0)
        return NULL;
    return mem_strdup(path);
}

static int
open_files(struct reaper *r, const struct reaper_conf *conf, struct err *e)
{
    char *path = database_path(conf, e), *root = NULL, *slash;
    int rc = -1;

    if (!path)
        return -1;
    root = mem_strdup(*conf->report_root ? conf->report_root : path);
    slash = strrchr(root, '/');
    if (!*conf->report_root) {
        if (slash)
            slash[slash == root] = '\0';
        else
            (void)snprintf(root, strlen(root) + 1, ".");
    }
    if (db_open(&r->store, path, conf->sync, e) == 0 &&
        report_writer_open(&r->dues, r->loop, r->store, root,
                           conf->report_in_workdir, e) == 0) {
        r->health = disk_monitor_open(r->bus, r->loop, &r->alarms, path);
        log_info("reaper.open", "database=%s reports=%s", path, root);
        rc = 0;
    }
    mem_free(root);
    mem_free(path);
    return rc;
}

static void
open_windows(struct reaper *r)
{
    for (int i = 0; i < N_SOURCES; i++)
        bus_consumer_window(r->sources[i].consumer, r->sources[i].window);
}

/* --- a ledger that lost its database -------------------------------------- */

static void
on_tasks_read(void *ctx)
{
    open_windows(ctx);
}

/* Nothing is decided before all is folded. */
static void
on_rebuilt(void *ctx)
{
    struct reaper *r = ctx;

    r->schedule = schedule_open(r->bus, r->loop, r->store);
}

static int
begin_rebuild(struct reaper *r, struct err *e)
{
    const struct rebuild_parts parts = {.bus = r->bus,
                                        .loop = r->loop,
                                        .store = r->store,
                                        .consumers = r->consumers,
                                        .n = N_SOURCES,
                                        .tasks_read = on_tasks_read,
                                        .over = on_rebuilt,
                                        .ctx = r};

    for (int i = 0; i < N_SOURCES; i++)
        r->consumers[i] =
            (struct rebuild_consumer){sources[i].stream, sources[i].durable};
    return rebuild_begin(&r->rebuild, &parts, e);
}

static int
open_sources(struct reaper *r, struct err *e)
{
    for (int i = 0; i < N_SOURCES; i++) {
        struct reaper_source *s = &r->sources[i];

        *s = sources[i];
        s->reaper = r;
        if (bus_consume(r->bus, s->stream, s->durable, on_message, s,
                        &s->consumer, e) < 0)
            return -1;
        bus_consumer_bytes(s->consumer, WINDOW_BYTES);
    }
    if (r->rebuild)
        bus_consumer_window(r->sources[0].consumer, r->sources[0].window);
    else
        open_windows(r);
    return 0;
}

int
reaper_open(struct reaper **out, struct bus *b, struct loop *l,
            const struct reaper_conf *conf, struct err *e)
{
    struct reaper *r = MEM_NEW(struct reaper);
    struct query_parts parts;

    r->bus = b;
    r->loop = l;
    r->pool = mem_pool_new();
    r->queue = coalesce_new();
    r->flush = loop_timer_start(l, 0, 0, on_flush, r);
    r->trim = loop_timer_start(l, TRIM_MS, 0, on_quiet, r);
    if (open_files(r, conf, e) < 0)
        goto fail;
    r->book = ingest_new(r->store);
    r->verifier = verifier_open(b, conf->verify_after_ms, on_verified,
                                on_verifier_idle, r);
    if (presence_open(&r->live, b, e) < 0 ||
        lane_pauses_open(&r->pauses, b, l, on_pauses, r, e) < 0)
        goto fail;
    lane_pauses_keep(r->pauses, PAUSE_OLD_MS, PAUSE_LOOK_MS);
    parts = (struct query_parts){.bus = b,
                                 .store = r->store,
                                 .live = r->live,
                                 .pauses = r->pauses,
                                 .dues = r->dues,
                                 .health = r->health,
                                 .ctx = r,
                                 .settle = settle,
                                 .lag = lag};
    /* A mistake in the configuration is said before anything is begun. */
    if (start_web(r, conf, &parts, e) < 0 || begin_rebuild(r, e) < 0)
        goto fail;
    if (!r->rebuild)
        r->schedule = schedule_open(b, l, r->store);
    r->reconcile =
        reconcile_open(&(struct reconcile_parts){.bus = b,
                                                 .loop = l,
                                                 .store = r->store,
                                                 .live = r->live,
                                                 .alarms = &r->alarms,
                                                 .conf = conf->reconcile});
    if (query_open(&r->ask, &parts, e) < 0 || open_sources(r, e) < 0)
        goto fail;
    bus_on_event(b, on_event, r);
    *out = r;
    return 0;
fail:
    reaper_close(r);
    return -1;
}

static void
on_deadline(void *ctx)
{
    struct reaper *r = ctx;

    loop_stop(r->loop, 0);
}

void
reaper_drain(void *reaper, int nth)
{
    struct reaper *r = reaper;

    if (nth > 1) {
        loop_stop(r->loop, 0);
        return;
    }
    r->draining = true;
    for (int i = 0; i < N_SOURCES; i++)
        bus_consumer_window(r->sources[i].consumer, 0);
    r->deadline = loop_timer_start(r->loop, DRAIN_MS, 0, on_deadline, r);
    flush_within(r, 0);
}

/* A fleet that stops leaves its reports behind; what does not fit the time is
 * written by the next. */
static void
write_dues(struct reaper *r)
{
    int64_t until_ms = loop_now_ms() + STOP_REPORTS_MS;

    while (r->dues && report_writer_write(r->dues) && loop_now_ms() < until_ms)
        ;
}

void
reaper_close(struct reaper *r)
{
    if (!r)
        return;
    bus_on_event(r->bus, NULL, NULL);
    bus_forget(r->bus, r);
    /* Hands back what is still in hand, so that the next ledger need not wait.
     */
    verifier_close(r->verifier);
    coalesce_free(r->queue);
    loop_timer_stop(r->flush);
    loop_timer_stop(r->trim);
    loop_timer_stop(r->deadline);
    rebuild_close(r->rebuild);
    for (int i = 0; i < N_SOURCES; i++)
        bus_consumer_close(r->sources[i].consumer);
    http_server_close(r->web);
    query_close(r->ask);
    reconcile_close(r->reconcile);
    disk_monitor_close(r->health);
    schedule_close(r->schedule);
    lane_pauses_close(r->pauses);
    presence_close(r->live);
    write_dues(r);
    report_writer_close(r->dues);
    ingest_free(r->book);
    db_close(r->store);
    mem_pool_free(r->pool);
    mem_free(r);
}
