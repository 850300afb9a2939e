#include "reaper/db/db_private.h"

#include "lib/base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void
text_at(sqlite3_stmt *q, int at, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(q, at);

    (void)str_copy(out, size, text ? text : "");
}

/* --- open rows ------------------------------------------------------------ */

int
db_next_lane(struct db *s, const struct db_lane *after, struct db_lane *out,
             struct err *e)
{
    struct db_lane found = {0};
    int rc;

    db_bind_text(s, Q_LANES, 1, after->backend);
    db_bind_text(s, Q_LANES, 2, after->lane);
    rc = db_step(s, Q_LANES, e);
    if (rc > 0) {
        text_at(s->q[Q_LANES], 0, found.backend, sizeof found.backend);
        text_at(s->q[Q_LANES], 1, found.lane, sizeof found.lane);
    }
    db_done(s, Q_LANES);
    *out = found;
    return rc;
}

int
db_on_lane(struct db *s, const struct db_lane *lane,
           const struct db_place *after, uint64_t to, unsigned limit,
           int64_t *out, struct err *e)
{
    static const struct db_place start;

    if (!after)
        after = &start;
    db_bind_text(s, Q_ON_LANE, 1, lane->backend);
    db_bind_text(s, Q_ON_LANE, 2, lane->lane);
    db_bind_int(s, Q_ON_LANE, 3, (int64_t)after->seq);
    db_bind_int(s, Q_ON_LANE, 4, after->n);
    db_bind_int(s, Q_ON_LANE, 5, (int64_t)to);
    db_bind_int(s, Q_ON_LANE, 6, limit);
    return db_collect(s, Q_ON_LANE, out, 0, (int)limit, e);
}

int
db_unrouted(struct db *s, int64_t after, unsigned limit, int64_t *out,
            struct err *e)
{
    db_bind_int(s, Q_UNROUTED, 1, after);
    db_bind_int(s, Q_UNROUTED, 2, limit);
    return db_collect(s, Q_UNROUTED, out, 0, (int)limit, e);
}

static int
set_number(struct db *s, enum statement which, int64_t n, uint32_t value,
           struct err *e)
{
    db_bind_int(s, which, 1, n);
    db_bind_int(s, which, 2, value);
    return db_run(s, which, e);
}

int
db_set_drives(struct db *s, int64_t n, uint32_t drives, struct err *e)
{
    return set_number(s, Q_DRIVES, n, drives, e);
}

int
db_set_resubmits(struct db *s, int64_t n, uint32_t resubmits, struct err *e)
{
    return set_number(s, Q_RESUBMITS, n, resubmits, e);
}

/* --- streams -------------------------------------------------------------- */

int
db_stream(struct db *s, const char *name, struct db_stream *out, struct err *e)
{
    sqlite3_stmt *q = s->q[Q_STREAM];
    int rc;

    *out = (struct db_stream){0};
    db_bind_text(s, Q_STREAM, 1, name);
    rc = db_step(s, Q_STREAM, e);
    if (rc > 0) {
        text_at(q, 0, out->created, sizeof out->created);
        out->lost_at_ms = sqlite3_column_int64(q, 1);
        out->sweep = sqlite3_column_int(q, 2) != 0;
    }
    db_done(s, Q_STREAM);
    return rc < 0 ? -1 : 0;
}

int
db_put_stream(struct db *s, const char *name, const struct db_stream *row,
              struct err *e)
{
    db_bind_text(s, Q_STREAM_PUT, 1, name);
    db_bind_text(s, Q_STREAM_PUT, 2, row->created);
    db_bind_int(s, Q_STREAM_PUT, 3, row->lost_at_ms);
    db_bind_int(s, Q_STREAM_PUT, 4, row->sweep);
    return db_run(s, Q_STREAM_PUT, e);
}

int
db_position_set(struct db *s, const char *consumer, uint64_t seq, struct err *e)
{
    db_bind_text(s, Q_POSITION_SET, 1, consumer);
    db_bind_int(s, Q_POSITION_SET, 2, (int64_t)seq);
    return db_run(s, Q_POSITION_SET, e);
}

static int
one_number(struct db *s, enum statement which, int64_t *out, struct err *e)
{
    int rc = db_step(s, which, e);

    *out = rc > 0 ? sqlite3_column_int64(s->q[which], 0) : 0;
    db_done(s, which);
    return rc < 0 ? -1 : 0;
}

int
db_is_new(struct db *s, bool *out, struct err *e)
{
    int64_t n = 0, rows = 0;

    if (one_number(s, Q_POSITIONS, &n, e) < 0 ||
        one_number(s, Q_ROWS, &rows, e) < 0)
        return -1;
    *out = n == 0 && rows == 0;
    return 0;
}

/* --- sums ----------------------------------------------------------------- */

struct sums {
    int64_t states[STATE_COUNT];
    int64_t tasks, unseen;
};

static void
add_counter(void *ctx, const char *scope, const char *name, int64_t value)
{
    struct sums *sums = ctx;
    enum state state = state_from_name(name);

    if (*scope)
        return;
    if (state != STATE_UNSPECIFIED)
        sums->states[state] = value;
    else if (strcmp(name, "tasks") == 0)
        sums->tasks = value;
    else if (strcmp(name, "unseen") == 0)
        sums->unseen = value;
}

static int
count_states(struct db *s, struct sums *out, struct err *e)
{
    sqlite3_stmt *q = s->q[Q_STATES];
    int rc;

    *out = (struct sums){0};
    while ((rc = db_step(s, Q_STATES, e)) > 0) {
        int64_t state = sqlite3_column_int64(q, 0);

        if (state >= 0 && state < STATE_COUNT)
            out->states[state] = sqlite3_column_int64(q, 1);
    }
    db_done(s, Q_STATES);
    return rc;
}

int
db_check(struct db *s, bool deep, bool *ok, char *what, size_t size,
         struct err *e)
{
    struct sums sums = {0}, found;
    int64_t rows, terminal = 0, open = 0;

    *ok = true;
    if (db_counters(s, add_counter, &sums, e) < 0 ||
        one_number(s, Q_ROWS, &rows, e) < 0)
        return -1;
    for (int i = 1; i < STATE_COUNT; i++)
        *(state_is_terminal((enum state)i) ? &terminal : &open) +=
            sums.states[i];
    if (sums.tasks + sums.unseen != terminal + open ||
        terminal + open != rows) {
        *ok = false;
        (void)snprintf(what, size,
                       "accepted %" PRId64 " + unseen %" PRId64
                       " is not terminal %" PRId64 " + open %" PRId64
                       " of %" PRId64 " rows",
                       sums.tasks, sums.unseen, terminal, open, rows);
        return 0;
    }
    if (!deep)
        return 0;
    if (count_states(s, &found, e) < 0)
        return -1;
    for (int i = 1; i < STATE_COUNT && *ok; i++) {
        if (found.states[i] == sums.states[i])
            continue;
        *ok = false;
        (void)snprintf(what, size,
                       "%" PRId64 " tasks are %s, and %" PRId64 " were counted",
                       found.states[i], state_name((enum state)i),
                       sums.states[i]);
    }
    return 0;
}
