/*
 * One pass after the other on a timer: each phase of a pass asks the broker
 * something and goes on when all answers have come; the last looks at the rows
 * a slice at a time, so that others get their turn.
 */
#include "reaper/recover/reconcile.h"

#include "lib/base/log.h"
#include "lib/bus/stream_info.h"
#include "lib/model/subject.h"
#include "reaper/recover/repair.h"
#include "reaper/recover/repair_plan.h"

#include <inttypes.h>
#include <string.h>

enum {
    LANES_MAX = 128,
    REPAIRS_MAX = 256, /* under way at once */
    FIRST_MS = 10 * 1000,
    EVERY_MS = 60 * 1000,
    QUIET_MS = 60 * 1000, /* twice the ack wait */
    WAKE_MS = 1000,       /* after a reconnect */
    SLICE_ROWS = 100,
    SLICE_GAP_MS = 100, /* between slices, for others to get their turn */
    CATCH_UP_MS = 1000, /* between inquiries how far the ledger is */
    CATCH_UP_TRIES = 30,
    LATER_MS = 500,              /* beyond the time a repair asked for */
    GAP_MS = 2000,               /* so late, we were not only busy */
    DEEP_EVERY = 60,             /* passes between counts of all rows */
    ALARM_MS = 24 * 3600 * 1000, /* how long a lost store is shown */
};

enum { AT_TASKS_IN, AT_TASKS, AT_RESULTS, AT_CLAIMS, N_STREAMS };
enum { N_OWN = 3 }; /* consumers of ours: one for each but the claims */

static const struct {
    const char *name, *durable, *position;
} streams[N_STREAMS] = {
    [AT_TASKS_IN] = {"TASKS_IN", "ledger", "TASKS_IN.ledger"},
    [AT_TASKS] = {"TASKS", "ledger", "TASKS.ledger"},
    [AT_RESULTS] = {"RESULTS", "reaper", "RESULTS.reaper"},
    [AT_CLAIMS] = {"KV_claims", "", ""},
};

enum reconcile_phase {
    PHASE_IDLE,
    PHASE_LANES,    /* how far are the lanes and the router? */
    PHASE_STREAMS,  /* how far do the streams go? */
    PHASE_CATCH_UP, /* has the ledger folded that far? */
    PHASE_ROWS,
};

struct lane_progress {
    struct db_lane lane;
    struct stream_info_consumer info;
    bool known; /* its durable exists */
};

/* A question to the broker, and where its answer goes. */
struct inquiry {
    struct reconcile *r;
    struct stream_info_stream *stream; /* or a consumer: */
    struct stream_info_consumer *consumer;
    struct lane_progress *lane; /* which may lack the consumer; NULL: none */
};

struct stream_progress {
    struct stream_info_stream info;
    struct db_stream row;
    uint64_t position;  /* of ours, before the broker was asked */
    uint64_t skipped;   /* messages that were gone before we read them */
    int64_t skipped_ms; /* when that was noticed; 0: never */
};

/* Where a round over all rows is, which may take several passes. */
struct round {
    struct db_lane lane;
    struct db_place place;
    int64_t unrouted;
    bool lanes_done;
    uint64_t lost; /* rows whose message was lost */
};

struct reconcile {
    struct reconcile_parts p;
    struct mem_pool *pool;
    struct loop_timer *timer;
    enum reconcile_phase phase;
    uint64_t passes;
    unsigned unanswered; /* inquiries */
    bool failed;         /* one of them */
    unsigned tries;      /* to catch up */
    struct inquiry inquiries[LANES_MAX + 1 + N_STREAMS];
    size_t n_inquiries;
    struct lane_progress lanes[LANES_MAX];
    size_t n_lanes;
    struct stream_info_consumer router, own[N_OWN];
    struct stream_progress streams[N_STREAMS];
    struct round round;
    unsigned budget; /* rows still to be looked at in this pass */
    struct repairs repairs;
    int64_t unreadable_ms; /* when a claim could last not be read; 0: never */
};

/* --- the end of a pass ---------------------------------------------------- */

static void
check_sums(struct reconcile *r)
{
    char what[200];
    struct err e;
    bool ok;

    if (db_check(r->p.db, r->passes % DEEP_EVERY == 1, &ok, what, sizeof what,
                 &e) < 0)
        db_give_up(r->p.db, r->p.loop, &e);
    else if (ok)
        (void)alarm_clear(r->p.alarms, "sums");
    else if (alarm_raise(r->p.alarms, "sums", "%s", what))
        log_error("reaper.sums", "error=\"%s\"", what);
}

static void
end_pass(struct reconcile *r)
{
    int64_t next_ms = r->p.conf.every_ms;

    if (r->repairs.again_ms && r->repairs.again_ms + LATER_MS < next_ms)
        next_ms = r->repairs.again_ms + LATER_MS;
    r->phase = PHASE_IDLE;
    loop_timer_again(r->timer, next_ms, 0);
}

/* Every row was looked at once since the round began. */
static int
end_round(struct reconcile *r, struct err *e)
{
    bool clean = r->round.lost == 0;
    int rc = 0;

    for (size_t i = 0; i < r->n_lanes; i++)
        clean = clean && r->lanes[i].known; /* its rows were not looked at */
    r->round = (struct round){.lost = 0};
    for (int i = 0; clean && i < N_STREAMS && rc == 0; i++) {
        struct db_stream *row = &r->streams[i].row;

        if (!row->sweep)
            continue;
        row->sweep = false;
        rc = db_put_stream(r->p.db, streams[i].name, row, e);
        log_info("reaper.store_healed", "stream=%s", streams[i].name);
    }
    return rc;
}

/* --- rows ----------------------------------------------------------------- */

static bool
is_quiet(const struct reconcile *r, const struct task_state *row)
{
    return repairs_now_ms(&r->repairs) - repair_changed_ms(row) >=
           r->p.conf.quiet_ms;
}

/* Whether a message stored then is not in the stream any more because the
 * stream is not the one it was. */
static bool
is_lost(const struct reconcile *r, int stream, int64_t stored_at_ms)
{
    const struct db_stream *row = &r->streams[stream].row;

    return row->sweep && stored_at_ms < row->lost_at_ms;
}

static void
check_routed(struct reconcile *r, const struct lane_progress *lane,
             const struct task_state *row)
{
    const struct presence_task *runs = presence_find(r->p.presence, row->id);
    bool lost = is_lost(r, AT_TASKS, row->routed_at_ms);
    bool gone = lost || row->routed_seq <= lane->info.ack_floor ||
                row->routed_seq < r->streams[AT_TASKS].info.first_seq;

    if (lost) {
        r->round.lost++;
    } else if (runs || !is_quiet(r, row) ||
               (!gone && row->routed_seq > lane->info.delivered)) {
        return;
    }
    repairs_add(&r->repairs, row, gone, lost && runs ? runs->attempt : 0);
}

static void
check_unrouted(struct reconcile *r, const struct task_state *row)
{
    bool lost = is_lost(r, AT_TASKS_IN, row->in_at_ms);

    if (lost)
        r->round.lost++;
    else if (!is_quiet(r, row) ||
             (row->in_seq > r->router.ack_floor &&
              row->in_seq >= r->streams[AT_TASKS_IN].info.first_seq))
        return;
    repairs_add_unrouted(&r->repairs, row);
}

/* Looks at the rows of one query; lane NULL: those that are not routed. */
static int
check_rows(struct reconcile *r, const struct lane_progress *lane,
           const int64_t *ns, int n, struct err *e)
{
    for (int i = 0; i < n; i++) {
        struct task_state row;

        mem_pool_reset(r->pool);
        if (db_task_at(r->p.db, ns[i], r->pool, &row, e) <= 0)
            return -1;
        if (lane) {
            r->round.place = (struct db_place){row.routed_seq, ns[i]};
            check_routed(r, lane, &row);
        } else {
            r->round.unrouted = row.n;
            check_unrouted(r, &row);
        }
    }
    return n;
}

/* The lane to go on with, which may be the current one; NULL: that was the
 * last. Lanes are in the order of their names. */
static const struct lane_progress *
next_lane(struct reconcile *r)
{
    for (size_t i = 0; i < r->n_lanes; i++) {
        const struct lane_progress *l = &r->lanes[i];
        int order = strcmp(l->lane.backend, r->round.lane.backend);

        if (order == 0)
            order = strcmp(l->lane.lane, r->round.lane.lane);
        if (order < 0 || !l->known)
            continue;
        if (order > 0) {
            r->round.lane = l->lane;
            r->round.place = (struct db_place){0};
        }
        return l;
    }
    return NULL;
}

/* Moves on behind the current lane. */
static void
leave_lane(struct reconcile *r)
{
    size_t n = strlen(r->round.lane.lane);

    r->round.place = (struct db_place){0};
    /* No token has this character: it sorts behind the lane and before all
     * others. */
    if (n + 1 < sizeof r->round.lane.lane)
        memcpy(r->round.lane.lane + n, "\x01", 2);
}

/* Looks at up to SLICE_ROWS rows. 1: there are more; 0: the round is complete;
 * -1: error. */
static int
check_slice(struct reconcile *r, struct err *e)
{
    int64_t ns[SLICE_ROWS];
    unsigned room = SLICE_ROWS;
    const struct lane_progress *lane;
    int n;

    while (!r->round.lanes_done && room) {
        lane = next_lane(r);
        if (!lane) {
            r->round.lanes_done = true;
            break;
        }
        /* What was never delivered waits on its lane, unless that is lost. */
        n = db_on_lane(r->p.db, &lane->lane, &r->round.place,
                       r->streams[AT_TASKS].row.sweep ? INT64_MAX
                                                      : lane->info.delivered,
                       room, ns, e);
        if (n < 0 || check_rows(r, lane, ns, n, e) < 0)
            return -1;
        if ((unsigned)n < room)
            leave_lane(r);
        room -= (unsigned)n;
    }
    if (!room)
        return 1;
    n = db_todo(r->p.db, DB_UNROUTED, r->round.unrouted, room, ns, e);
    if (n < 0 || check_rows(r, NULL, ns, n, e) < 0)
        return -1;
    return (unsigned)n == room;
}

/* It is known what the tasks of a slice need. */
static void
on_read(void *ctx)
{
    struct reconcile *r = ctx;
    struct err e;

    if (r->phase != PHASE_ROWS)
        return;
    if (repairs_send(&r->repairs, &e) < 0) {
        db_give_up(r->p.db, r->p.loop, &e);
        return;
    }
    if (!r->budget && r->repairs.acted) {
        /* Where one task needs repair many may. */
        r->budget = RECONCILE_ROWS;
        r->repairs.acted = false;
    }
    if (r->budget)
        loop_timer_again(r->timer, SLICE_GAP_MS, 0);
    else
        end_pass(r);
}

static void
on_unreadable(void *ctx, const char *task, const struct err *e)
{
    struct reconcile *r = ctx;

    r->unreadable_ms = loop_now_ms();
    (void)alarm_raise(r->p.alarms, "claim_unreadable",
                      "the claim of task %s was overwritten by something that "
                      "is none (%s): whoever may publish to $KV.claims.> has "
                      "done it",
                      task, STR_SHORT(e->msg, 80));
}

static void
slice(struct reconcile *r)
{
    struct err e;
    int rc;

    if (r->repairs.ops.n > REPAIRS_MAX - SLICE_ROWS) {
        loop_timer_again(r->timer, SLICE_GAP_MS, 0);
        return;
    }
    r->budget -= SLICE_ROWS < r->budget ? SLICE_ROWS : r->budget;
    rc = check_slice(r, &e);
    if (rc == 0) {
        r->budget = 0;
        r->repairs.acted = false;
        rc = end_round(r, &e);
    }
    if (rc < 0) {
        db_give_up(r->p.db, r->p.loop, &e);
        return;
    }
    if (r->repairs.n_reading == 0)
        on_read(r);
}

/* --- streams -------------------------------------------------------------- */

/* Whether messages that the ledger has not read are not there any more. */
static void
note_skipped(struct reconcile *r, int i)
{
    struct stream_progress *f = &r->streams[i];
    uint64_t next = f->position + 1;

    if (f->position == 0 || f->info.first_seq <= next)
        return;
    if (f->skipped_ms == 0 || f->skipped != f->info.first_seq - next)
        log_error("reaper.messages_lost",
                  "stream=%s first_seq=%" PRIu64 " ours=%" PRIu64
                  " text=\"messages were removed, or expired, before the "
                  "ledger read them\"",
                  streams[i].name, f->info.first_seq, f->position);
    f->skipped = f->info.first_seq - next;
    f->skipped_ms = loop_now_ms();
}

/* Of a day, as for a lost store. */
static void
show_skipped(struct reconcile *r)
{
    for (int i = 0; i < N_STREAMS; i++) {
        const struct stream_progress *f = &r->streams[i];

        if (!f->skipped_ms || loop_now_ms() - f->skipped_ms > ALARM_MS)
            continue;
        (void)alarm_raise(
            r->p.alarms, "messages_lost",
            "%" PRIu64
            " messages of stream %s were removed, or expired, before "
            "the ledger read them; tasks that it knows are dispatched again, "
            "others must be submitted again",
            f->skipped, streams[i].name);
        return;
    }
    (void)alarm_clear(r->p.alarms, "messages_lost");
}

static void
show_unreadable(struct reconcile *r)
{
    if (r->unreadable_ms && loop_now_ms() - r->unreadable_ms > ALARM_MS)
        (void)alarm_clear(r->p.alarms, "claim_unreadable");
}

static int
note_stream(struct reconcile *r, int i, struct err *e)
{
    struct stream_progress *f = &r->streams[i];
    struct db_stream *row = &f->row;
    bool made_anew, shrank;

    if (db_stream(r->p.db, streams[i].name, row, e) < 0)
        return -1;
    made_anew = *row->created && strcmp(row->created, f->info.created) != 0;
    shrank = f->info.last_seq < f->position;
    if (*row->created && !made_anew && !shrank)
        return 0;
    (void)str_copy(row->created, sizeof row->created, f->info.created);
    if (made_anew || shrank) {
        row->lost_at_ms =
            made_anew ? f->info.created_at_ms : repairs_now_ms(&r->repairs);
        row->sweep = true;
        /* From the first row again; this round does not end the sweep. */
        r->round = (struct round){.lost = 1};
        log_error("reaper.store_lost",
                  "stream=%s last_seq=%" PRIu64 " ours=%" PRIu64
                  " text=\"the broker's store is not the one it was: every "
                  "open task is dispatched again from the ledger\"",
                  streams[i].name, f->info.last_seq, f->position);
        if (*streams[i].position && db_position(r->p.db, streams[i].position,
                                                f->info.last_seq, true, e) < 0)
            return -1;
    }
    return db_put_stream(r->p.db, streams[i].name, row, e);
}

static void
show_lost(struct reconcile *r)
{
    char at[32];

    for (int i = 0; i < N_STREAMS; i++) {
        int64_t ms = r->streams[i].row.lost_at_ms;

        if (!ms || repairs_now_ms(&r->repairs) - ms > ALARM_MS)
            continue;
        (void)alarm_raise(r->p.alarms, "store_lost",
                          "the broker lost its store at %s; open tasks %s "
                          "from the ledger",
                          str_time(ms, at, sizeof at),
                          r->streams[i].row.sweep ? "are being dispatched again"
                                                  : "were dispatched again");
        return;
    }
    (void)alarm_clear(r->p.alarms, "store_lost");
}

static int
note_streams(struct reconcile *r, struct err *e)
{
    if (db_begin(r->p.db, e) < 0)
        return -1;
    for (int i = 0; i < N_STREAMS; i++) {
        note_skipped(r, i);
        if (note_stream(r, i, e) < 0)
            return -1;
    }
    if (db_commit(r->p.db, e) < 0)
        return -1;
    show_lost(r);
    show_skipped(r);
    show_unreadable(r);
    return 0;
}

/* --- asking --------------------------------------------------------------- */

static void on_info(void *ctx, const struct bus_note *note,
                    const struct err *e);

/* durable NULL: of the stream itself. */
static void
inquire(struct reconcile *r, struct inquiry inquiry, const char *stream,
        const char *durable)
{
    struct inquiry *q = &r->inquiries[r->n_inquiries++];

    *q = inquiry;
    q->r = r;
    r->unanswered++;
    stream_info_ask(r->p.bus, stream, durable, on_info, q);
}

static void
ask_streams(struct reconcile *r)
{
    struct err e;

    r->phase = PHASE_STREAMS;
    for (size_t i = 0; i < N_STREAMS; i++) {
        if (*streams[i].position &&
            db_position_get(r->p.db, streams[i].position,
                            &r->streams[i].position, &e) < 0) {
            db_give_up(r->p.db, r->p.loop, &e);
            return;
        }
        inquire(r, (struct inquiry){.stream = &r->streams[i].info},
                streams[i].name, NULL);
    }
}

static void
ask_own(struct reconcile *r)
{
    r->phase = PHASE_CATCH_UP;
    r->n_inquiries = 0;
    for (size_t i = 0; i < N_OWN; i++)
        inquire(r, (struct inquiry){.consumer = &r->own[i]}, streams[i].name,
                streams[i].durable);
}

static bool
is_caught_up(const struct reconcile *r)
{
    for (int i = 0; i < N_OWN; i++) {
        const struct stream_info_consumer *own = &r->own[i];

        if (own->ack_floor < r->streams[i].info.last_seq &&
            (own->pending || own->ack_pending))
            return false;
    }
    return true;
}

static void
begin_rows(struct reconcile *r)
{
    r->phase = PHASE_ROWS;
    r->budget = RECONCILE_ROWS;
    r->repairs.acted = false;
    check_sums(r);
    slice(r);
}

/* All inquiries of this phase are answered. */
static void
go_on(struct reconcile *r)
{
    struct err e;

    r->n_inquiries = 0;
    if (r->failed) {
        end_pass(r);
        return;
    }
    switch (r->phase) {
    case PHASE_IDLE:
    case PHASE_ROWS:
        return;
    case PHASE_LANES:
        ask_streams(r);
        return;
    case PHASE_STREAMS:
        if (note_streams(r, &e) < 0)
            db_give_up(r->p.db, r->p.loop, &e);
        else
            ask_own(r);
        return;
    case PHASE_CATCH_UP:
        if (is_caught_up(r))
            begin_rows(r);
        else if (++r->tries < CATCH_UP_TRIES)
            loop_timer_again(r->timer, CATCH_UP_MS, 0);
        else
            end_pass(r); /* busy: the next pass tries again */
        return;
    }
}

static int
take_info(const struct inquiry *q, const struct bus_note *note, struct err *e)
{
    int rc;

    if (q->stream)
        return stream_info_read_stream(note, q->stream, e);
    rc = stream_info_read_consumer(note, q->consumer, e);
    if (!q->lane)
        return rc;
    q->lane->known = rc == 0;
    /* Nobody serves it; a lane may be set up later. */
    return e->code == ERR_NOT_FOUND ? 0 : rc;
}

static void
on_info(void *ctx, const struct bus_note *note, const struct err *failed)
{
    struct inquiry *q = ctx;
    struct reconcile *r = q->r;
    struct err e = {0};

    if (failed || take_info(q, note, &e) < 0) {
        log_debug("reconcile.info", "error=\"%s\"",
                  LOG_TEXT(failed ? failed->msg : e.msg));
        r->failed = true;
    }
    if (--r->unanswered == 0)
        go_on(r);
}

static int
find_lanes(struct reconcile *r, struct err *e)
{
    struct db_lane at = {"", ""};
    int rc;

    r->n_lanes = 0;
    while (r->n_lanes < LANES_MAX &&
           (rc = db_next_lane(r->p.db, &at, &at, e)) != 0) {
        if (rc < 0)
            return -1;
        if (subject_token_ok(at.backend) && subject_token_ok(at.lane))
            r->lanes[r->n_lanes++] = (struct lane_progress){.lane = at};
    }
    return 0;
}

static void
begin_pass(struct reconcile *r)
{
    char durable[SUBJECT_SIZE];
    struct err e;

    r->passes++;
    r->failed = false;
    r->tries = 0;
    r->repairs.again_ms = 0;
    r->n_inquiries = 0;
    if (!bus_is_up(r->p.bus)) {
        end_pass(r);
        return;
    }
    if (find_lanes(r, &e) < 0) {
        db_give_up(r->p.db, r->p.loop, &e);
        return;
    }
    r->phase = PHASE_LANES;
    for (size_t i = 0; i < r->n_lanes; i++) {
        struct lane_progress *l = &r->lanes[i];

        inquire(r, (struct inquiry){.consumer = &l->info, .lane = l}, "TASKS",
                subject_lane_durable(durable, l->lane.backend, l->lane.lane));
    }
    inquire(r, (struct inquiry){.consumer = &r->router}, "TASKS_IN", "router");
}

static void
on_timer(void *ctx)
{
    struct reconcile *r = ctx;

    switch (r->phase) {
    case PHASE_IDLE:
        begin_pass(r);
        return;
    case PHASE_CATCH_UP:
        ask_own(r);
        return;
    case PHASE_ROWS:
        slice(r);
        return;
    case PHASE_LANES:
    case PHASE_STREAMS:
        return; /* answers arrive, or time out */
    }
}

/* --- life ----------------------------------------------------------------- */

void
reconcile_wake(struct reconcile *r)
{
    if (r->phase == PHASE_IDLE)
        loop_timer_again(
            r->timer,
            WAKE_MS < r->p.conf.every_ms ? WAKE_MS : r->p.conf.every_ms, 0);
}

/* Whoever was suspended gives the holders of claims, which perhaps were so too,
 * time to renew them. */
static void
on_gap(void *ctx, int64_t stopped_ms, int64_t slept_ms)
{
    struct reconcile *r = ctx;

    log_warn("reaper.suspended", "ms=%lld", (long long)(stopped_ms + slept_ms));
    claims_watch_restart(r->repairs.watch);
}

struct reconcile *
reconcile_open(const struct reconcile_parts *parts)
{
    struct reconcile *r = MEM_NEW(struct reconcile);
    struct reconcile_conf *conf = &r->p.conf;

    r->p = *parts;
    if (!conf->first_ms)
        conf->first_ms = FIRST_MS;
    if (!conf->every_ms)
        conf->every_ms = EVERY_MS;
    if (!conf->quiet_ms)
        conf->quiet_ms = QUIET_MS;
    r->pool = mem_pool_new();
    r->repairs = (struct repairs){.db = parts->db,
                                  .quiet_ms = conf->quiet_ms,
                                  .read = on_read,
                                  .unreadable = on_unreadable,
                                  .ctx = r};
    repairs_init(&r->repairs, parts->bus);
    r->timer = loop_timer_start(parts->loop, conf->first_ms, 0, on_timer, r);
    loop_on_gap(parts->loop, GAP_MS, on_gap, r);
    return r;
}

void
reconcile_close(struct reconcile *r)
{
    if (!r)
        return;
    loop_on_gap(r->p.loop, 0, NULL, NULL);
    repairs_release(&r->repairs);
    for (size_t i = 0; i < r->n_inquiries; i++)
        bus_forget(r->p.bus, &r->inquiries[i]);
    loop_timer_stop(r->timer);
    mem_pool_free(r->pool);
    mem_free(r);
}
