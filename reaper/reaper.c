/*
 * Opens, drains and closes the reaper: the database, the consumers that fold
 * messages into it (sources.c), and everybody who acts on what they changed:
 * report writer, dependencies, reconciliation, answers on the bus and over
 * HTTP.
 */
#include "reaper/reaper.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/bus/lane_pause.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "lib/os/state_path.h"
#include "reaper/db/db.h"
#include "reaper/http/server.h"
#include "reaper/ingest/row_cache.h"
#include "reaper/ledger_lease.h"
#include "reaper/query/disk_monitor.h"
#include "reaper/query/presence.h"
#include "reaper/query/query.h"
#include "reaper/recover/rebuild.h"
#include "reaper/recover/reconcile.h"
#include "reaper/report/writer.h"
#include "reaper/schedule/schedule.h"
#include "reaper/sources.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TRIM_MS = 2000,         /* of quiet, before memory is released */
    DRAIN_MS = 2000,        /* for messages in hand when the reaper stops */
    STOP_REPORTS_MS = 2000, /* and then for reports that are due */
    PAUSE_OLD_MS = 24 * 3600 * 1000, /* it is stored again, long before */
    PAUSE_LOOK_MS = 3600 * 1000,     /* KV_control forgets it */
};

struct reaper {
    struct bus *bus;
    struct loop *loop;
    struct db *db;
    struct presence *presence;
    struct lane_pauses *pauses;
    struct schedule *schedule;
    struct report_writer *reports;
    char *state;    /* the folder of the database */
    char *database; /* its real path */
    struct ledger_lease *lease;
    bool has_lease;
    struct alarms alarms;
    struct disk_monitor *disk;
    struct stream_monitor *streams;
    struct reconcile *reconcile;
    struct query *query;
    struct http_server *http, *http_local; /* NULL: switched off */
    struct mem_pool *pool;
    struct sources *sources;
    struct loop_timer *trim;
    struct loop_timer *deadline;
    struct rebuild *rebuild; /* NULL: none was needed */
    int64_t after_unknown_ms;
};

/* --- changes -------------------------------------------------------------- */

static void
send_batch(struct reaper *r, const char *id)
{
    char subject[SUBJECT_SIZE];
    struct batch_state b;
    struct str bytes = {0};
    struct err e;

    mem_pool_reset(r->pool);
    if (db_batch(r->db, id, r->pool, &b, &e) <= 0)
        return;
    codec_encode(CODEC_BATCH, &b.b, &bytes);
    bus_publish_core(r->bus, subject_batch(subject, id), str_text(&bytes),
                     bytes.len);
    str_free(&bytes);
}

/* Publishes what is stored now, and wakes those who act on it. The message on
 * done.<task> is the result itself, with its output. */
static void
on_committed(void *ctx, const struct ingest_changes *changes)
{
    struct reaper *r = ctx;
    char subject[SUBJECT_SIZE];

    for (size_t i = 0; i < changes->n_finished; i++) {
        const struct ingest_finished *task = &changes->finished[i];

        presence_task_ended(r->presence, task->id);
        bus_publish_core(r->bus, subject_done(subject, task->id),
                         task->result.data, task->result.len);
    }
    for (size_t i = 0; i < changes->rows->n_batches; i++)
        send_batch(r, changes->rows->batches[i]);
    if (changes->rows->report_due)
        report_writer_wake(r->reports);
    if (changes->rows->schedule && r->schedule)
        schedule_wake(r->schedule);
    if (changes->rows->cancels && r->schedule)
        schedule_note_cancels(r->schedule);
    loop_timer_again(r->trim, TRIM_MS, 0);
}

static void
on_quiet(void *ctx)
{
    struct reaper *r = ctx;

    if (!sources_failed(r->sources))
        db_idle(r->db);
    sources_trim(r->sources);
    mem_trim();
}

/* --- answers -------------------------------------------------------------- */

/* An answer on the bus includes everything that has arrived. */
static void
fold_all(void *ctx)
{
    struct reaper *r = ctx;

    sources_fold_all(r->sources);
    loop_timer_again(r->trim, TRIM_MS, 0); /* answers need memory too */
}

static uint64_t
lag(void *ctx, int i, const char **name)
{
    const struct reaper *r = ctx;
    uint64_t pending;

    *name = i < SOURCES_N ? sources_list[i].name : NULL;
    if (!*name)
        return 0;
    pending = sources_lag(r->sources, i);
    /* While the database is rebuilt there may be more. */
    return rebuild_runs(r->rebuild) && !pending ? 1 : pending;
}

static void
health_of(void *ctx, struct http_health *out)
{
    const struct reaper *r = ctx;

    *out =
        (struct http_health){.bus_up = bus_is_up(r->bus),
                             .jetstream_up = stream_monitor_answers(r->streams),
                             .database_ok = !sources_failed(r->sources),
                             .rebuilding = rebuild_runs(r->rebuild)};
}

/* An answer over HTTP folds nothing; the next one sees what is held now. */
static void
on_answered(void *ctx)
{
    struct reaper *r = ctx;

    sources_fold_soon(r->sources);
    loop_timer_again(r->trim, TRIM_MS, 0);
}

static int
start_http(struct reaper *r, const struct reaper_conf *conf,
           const struct query_parts *query, struct err *e)
{
    struct http_server_parts parts = {
        .loop = r->loop,
        .alarms = &r->alarms,
        .token_file = "",
        .routes = {.query = *query, .ctx = r, .health = health_of},
        .ctx = r,
        .used = on_answered};

    if (conf->http_socket && *conf->http_socket) {
        parts.socket = conf->http_socket;
        if (http_server_open(&r->http_local, &parts, e) < 0)
            return -1;
        parts.socket = NULL;
    }
    if (!conf->http || !*conf->http || strcmp(conf->http, "off") == 0)
        return 0;
    parts.address = conf->http;
    if (conf->http_token_file)
        parts.token_file = conf->http_token_file;
    return http_server_open(&r->http, &parts, e);
}

/* --- events --------------------------------------------------------------- */

static void
on_event(void *ctx, enum bus_event event, const char *text)
{
    struct reaper *r = ctx;

    switch (event) {
    case BUS_UP:
        log_info("bus.up", "url=%s", bus_url(r->bus));
        (void)alarm_clear(&r->alarms, "denied");
        lane_pauses_refresh(r->pauses);
        reconcile_wake(r->reconcile);
        ledger_lease_renew(r->lease);
        break;
    case BUS_DOWN:
        log_warn("bus.down", "url=%s", bus_url(r->bus));
        break;
    case BUS_DENIED:
        log_error("bus.denied", "error=\"%s\"", LOG_TEXT(text));
        (void)alarm_raise(&r->alarms, "denied",
                          "the broker refuses the reaper something: %.160s",
                          text);
        break;
    case BUS_CLOSED:
        log_error("bus.closed", "error=\"%s\"", LOG_TEXT(text));
        loop_stop(r->loop, 1);
        break;
    }
}

/* A worker that needs a person pauses its lane without an end. A pause by a
 * person, whose name is user@host, needs no alarm. */
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

/* --- opening -------------------------------------------------------------- */

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
    char *path = database_path(conf, e), *copy, *real;
    struct report_places places = {.root = conf->report_root,
                                   .in_workdir = conf->report_in_workdir,
                                   .workdirs = conf->report_workdirs};
    int rc = -1;

    if (!path)
        return -1;
    copy = mem_strdup(path);
    r->state = mem_strdup(dirname(copy));
    places.state = r->state;
    if (db_open(&r->db, path, conf->sync, e) == 0 &&
        report_writer_open(&r->reports, r->loop, r->db, &places, e) == 0) {
        r->disk = disk_monitor_open(r->loop, &r->alarms, r->state);
        log_info("reaper.open", "database=%s reports=%s", path,
                 report_writer_root(r->reports));
        real = realpath(path, NULL);
        r->database = mem_strdup(real ? real : path);
        free(real);
        rc = 0;
    }
    mem_free(copy);
    mem_free(path);
    return rc;
}

/* --- one ledger at a time ------------------------------------------------- */

static void
on_lease_taken(void *ctx)
{
    struct reaper *r = ctx;

    r->has_lease = true;
}

static void
on_lease_lost(void *ctx)
{
    struct reaper *r = ctx;

    log_error("reaper.lease_lost",
              "text=\"another ledger has taken over: this one ends\"");
    loop_stop(r->loop, 1);
}

/* Waits for the lease: until then nothing on the bus is touched. */
static int
take_lease(struct reaper *r, const struct reaper_conf *conf, struct err *e)
{
    char host[256] = "";

    (void)gethostname(host, sizeof host - 1);
    r->lease = ledger_lease_open(
        &(struct ledger_lease_parts){.bus = r->bus,
                                     .loop = r->loop,
                                     .host = host,
                                     .database = r->database,
                                     .lease_ms = conf->lease_ms,
                                     .taken = on_lease_taken,
                                     .lost = on_lease_lost,
                                     .ctx = r});
    if (loop_until(r->loop, &r->has_lease, -1))
        return 0;
    return err_set(e, ERR_UNAVAILABLE,
                   "interrupted while another ledger "
                   "serves this fleet");
}

/* A gateway would take a report there for a task. */
static bool
is_taken(void *ctx, const char *path)
{
    const struct reaper *r = ctx;

    return presence_takes(r->presence, path);
}

static void
on_tasks_read(void *ctx)
{
    struct reaper *r = ctx;

    sources_read(r->sources, SOURCES_N);
}

/* Nothing that was submitted waits to be folded. */
static bool
caught_up(void *ctx)
{
    const char *name;

    for (int i = 0; i < SOURCES_N; i++)
        if (lag(ctx, i, &name))
            return false;
    return true;
}

static void
start_schedule(struct reaper *r)
{
    r->schedule = schedule_open(
        &(struct schedule_parts){.bus = r->bus,
                                 .loop = r->loop,
                                 .db = r->db,
                                 .alarms = &r->alarms,
                                 .patience_ms = r->after_unknown_ms,
                                 .caught_up = caught_up,
                                 .ctx = r});
}

/* Nothing is decided before everything is folded. */
static void
on_rebuilt(void *ctx)
{
    start_schedule(ctx);
}

static int
begin_rebuild(struct reaper *r, struct err *e)
{
    const struct rebuild_parts parts = {.bus = r->bus,
                                        .loop = r->loop,
                                        .db = r->db,
                                        .tasks_read = on_tasks_read,
                                        .done = on_rebuilt,
                                        .ctx = r};

    return rebuild_begin(&r->rebuild, &parts, e);
}

int
reaper_open(struct reaper **out, struct bus *b, struct loop *l,
            const struct reaper_conf *conf, struct err *e)
{
    struct reaper *r = MEM_NEW(struct reaper);
    struct query_parts parts;

    r->bus = b;
    r->loop = l;
    r->after_unknown_ms = conf->after_unknown_ms;
    r->pool = mem_pool_new();
    r->trim = loop_timer_start(l, TRIM_MS, 0, on_quiet, r);
    if (open_files(r, conf, e) < 0 || take_lease(r, conf, e) < 0)
        goto fail;
    r->sources = sources_open(
        &(struct sources_parts){.bus = b,
                                .loop = l,
                                .db = r->db,
                                .verify_after_ms = conf->verify_after_ms,
                                .ctx = r,
                                .committed = on_committed});
    if (presence_open(&r->presence, b, e) < 0 ||
        lane_pauses_open(&r->pauses, b, l, on_pauses, r, e) < 0)
        goto fail;
    report_writer_avoid(r->reports, is_taken, r);
    r->streams = stream_monitor_open(b, l, &r->alarms);
    lane_pauses_keep(r->pauses, PAUSE_OLD_MS, PAUSE_LOOK_MS);
    parts = (struct query_parts){.bus = b,
                                 .db = r->db,
                                 .presence = r->presence,
                                 .pauses = r->pauses,
                                 .reports = r->reports,
                                 .disk = r->disk,
                                 .streams = r->streams,
                                 .ctx = r,
                                 .fold_all = fold_all,
                                 .lag = lag};
    /* A mistake in the configuration is reported before anything begins. */
    if (start_http(r, conf, &parts, e) < 0 || begin_rebuild(r, e) < 0)
        goto fail;
    if (!r->rebuild)
        start_schedule(r);
    r->reconcile =
        reconcile_open(&(struct reconcile_parts){.bus = b,
                                                 .loop = l,
                                                 .db = r->db,
                                                 .presence = r->presence,
                                                 .alarms = &r->alarms,
                                                 .conf = conf->reconcile});
    if (query_open(&r->query, &parts, e) < 0 || sources_bind(r->sources, e) < 0)
        goto fail;
    sources_read(r->sources, r->rebuild ? 1 : SOURCES_N);
    bus_on_event(b, on_event, r);
    *out = r;
    return 0;
fail:
    reaper_close(r);
    return -1;
}

/* --- stopping ------------------------------------------------------------- */

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
    r->deadline = loop_timer_start(r->loop, DRAIN_MS, 0, on_deadline, r);
    sources_drain(r->sources);
}

/* A reaper that stops writes the reports that are due; what does not fit the
 * time is written by the next. */
static void
write_reports(struct reaper *r)
{
    int64_t until_ms = loop_now_ms() + STOP_REPORTS_MS;

    while (r->reports && report_writer_write(r->reports) &&
           loop_now_ms() < until_ms)
        ;
}

void
reaper_close(struct reaper *r)
{
    if (!r)
        return;
    bus_on_event(r->bus, NULL, NULL);
    bus_forget(r->bus, r);
    sources_close(r->sources); /* hands messages back: the next need not wait */
    loop_timer_stop(r->trim);
    loop_timer_stop(r->deadline);
    rebuild_close(r->rebuild);
    ledger_lease_close(r->lease); /* what is stored is acknowledged */
    http_server_close(r->http);
    http_server_close(r->http_local);
    query_close(r->query);
    reconcile_close(r->reconcile);
    disk_monitor_close(r->disk);
    stream_monitor_close(r->streams);
    schedule_close(r->schedule);
    lane_pauses_close(r->pauses);
    write_reports(r);
    report_writer_close(r->reports); /* asks presence where not to write */
    presence_close(r->presence);
    db_close(r->db);
    mem_pool_free(r->pool);
    mem_free(r->state);
    mem_free(r->database);
    mem_free(r);
}
