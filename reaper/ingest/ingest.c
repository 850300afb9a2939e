/*
 * Decodes the messages of a transaction into events, folds each into its row in
 * the row cache, and commits rows, counters, batches and stream positions
 * together. A message that does not decode, or a result that is not believed,
 * goes into quarantine; the rest of its message is folded all the same.
 */
#include "reaper/ingest/ingest.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "reaper/ingest/row_cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { COMMAND_SIZE = 201, CONSUMERS_MAX = 8 };

struct position {
    const char *consumer; /* static */
    uint64_t seq;
};

struct ingest {
    struct db *db;
    struct position positions[CONSUMERS_MAX]; /* of the transaction */
    size_t n_positions;
    struct row_cache *cache;           /* the rows of the transaction */
    struct mem_pool *pool;             /* the cache's */
    struct str body;                   /* scratch of encoded() */
    const struct bus_msg *quarantined; /* the last message */
    struct ingest_finished *finished;  /* of the transaction */
    size_t n_finished, cap_finished;
    struct ingest_changes changes;
};

struct ingest *
ingest_new(struct db *db)
{
    struct ingest *in = MEM_NEW(struct ingest);

    in->db = db;
    in->cache = row_cache_new(db);
    in->pool = row_cache_pool(in->cache);
    return in;
}

void
ingest_free(struct ingest *in)
{
    if (!in)
        return;
    row_cache_free(in->cache);
    str_free(&in->body);
    mem_free(in->finished);
    mem_free(in);
}

int
ingest_begin(struct ingest *in, struct err *e)
{
    in->n_positions = 0;
    in->n_finished = 0;
    in->quarantined = NULL;
    row_cache_begin(in->cache);
    return db_begin(in->db, e);
}

int
ingest_commit(struct ingest *in, struct err *e)
{
    enum { KEEP = 256 * 1024 };
    const struct row_cache_changes *rows = row_cache_changes(in->cache);
    int rc = row_cache_write(in->cache, e);

    for (size_t i = 0; i < in->n_positions && rc == 0; i++)
        rc = db_position(in->db, in->positions[i].consumer,
                         in->positions[i].seq, e);
    if (rc == 0)
        rc = db_commit(in->db, e);
    if (in->body.cap > KEEP)
        str_free(&in->body);
    in->changes = (struct ingest_changes){
        .report_due = rows->report_due,
        .schedule = rows->schedule,
        .batches = (const char(*)[TASK_ID_SIZE])rows->batches,
        .n_batches = rows->n_batches,
        .finished = in->finished,
        .n_finished = in->n_finished};
    return rc;
}

const struct ingest_changes *
ingest_changes(const struct ingest *in)
{
    return &in->changes;
}

/* --- rows ----------------------------------------------------------------- */

/* Whether r is the final result that the row holds. */
static bool
is_outcome(const struct task_state *s, const struct result *r)
{
    return state_is_terminal(s->state) && s->final && r->final &&
           s->result_attempt == r->attempt && s->result_fence == r->fence &&
           s->state == r->state;
}

static void
note_finished(struct ingest *in, const char *id, struct bytes result)
{
    struct ingest_finished *end;

    in->finished = mem_grow(in->finished, in->n_finished, &in->cap_finished,
                            sizeof *in->finished);
    end = &in->finished[in->n_finished++];
    (void)str_copy(end->id, sizeof end->id, id);
    end->result = result;
}

/* Folds ev into the row of id. */
static int
apply(struct ingest *in, const struct entry *entry, const char *id,
      const struct event *ev, struct err *e)
{
    struct cached_attempt *a = NULL;
    struct cached_row *r;
    bool was_terminal;

    if (row_cache_row(in->cache, id, &r, e) < 0)
        return -1;
    if (ev->kind == EVENT_RESULT &&
        row_cache_attempt(in->cache, r, ev->result->attempt, ev->result->fence,
                          &a, e) < 0)
        return -1;
    was_terminal = state_is_terminal(r->row.state);
    if (a)
        a->attempt.changed = false;
    if (fold(&r->row, a ? &a->attempt : NULL, ev))
        r->changed_by |= 1u << ev->kind;
    if (a && a->attempt.changed)
        a->changed = a->attempt.known = true;
    /* A message that was delivered again is published again: the first time may
     * have been lost. */
    if (ev->kind == EVENT_RESULT && is_outcome(&r->row, ev->result) &&
        (!was_terminal || entry->msg->delivered > 1))
        note_finished(in, id, ev->result_bytes);
    return 0;
}

/* --- quarantine ----------------------------------------------------------- */

/* Logs a message and puts it into quarantine: once, however many of its parts
 * are at fault. */
static int
quarantine_message(struct ingest *in, const struct entry *entry,
                   const char *name, const char *reason, bool keep,
                   struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct quarantine q = {.stream = entry->stream,
                           .subject = m->subject,
                           .reason = reason,
                           .seq = m->seq,
                           .at_ms = m->stored_at_ms,
                           .payload = keep ? m->data : NULL,
                           .len = m->len};

    if (m == in->quarantined)
        return 0;
    in->quarantined = m;
    log_warn("reaper.set_aside",
             "stream=%s seq=%" PRIu64 " subject=%s as=%s reason=\"%s\"",
             entry->stream, m->seq, LOG_TEXT(m->subject), name,
             LOG_TEXT(reason));
    return db_quarantine(in->db, &q, name, e);
}

/* Encodes msg into the pool, for as long as its row is cached. */
static struct bytes
encoded(struct ingest *in, enum codec_type type, const void *msg)
{
    uint8_t *copy;

    str_reset(&in->body);
    codec_encode(type, msg, &in->body);
    copy = mem_pool_alloc(in->pool, in->body.len);
    memcpy(copy, str_text(&in->body), in->body.len);
    return (struct bytes){copy, in->body.len};
}

/* --- submissions ---------------------------------------------------------- */

/* The message a task came in. */
struct origin {
    const struct bus_msg *msg;
    size_t number; /* in a message of several tasks, from 1; else 0 */
    char message_id[TASK_ID_SIZE]; /* derived; "" until a task needed it */
};

static void
give_id(struct ingest *in, struct origin *o, struct task *t)
{
    const struct bus_msg *m = o->msg;
    char id[TASK_ID_SIZE];

    if (*t->id)
        return;
    if (!o->number && subject_token_ok(m->id)) {
        t->id = mem_pool_strdup(in->pool, m->id);
        return;
    }
    if (!*o->message_id)
        task_id_from_message(m->seq, m->stored_at_ms, m->data, m->len,
                             o->message_id);
    if (o->number)
        task_id_of_member(o->message_id, o->number - 1, id);
    t->id = mem_pool_strdup(in->pool, o->number ? id : o->message_id);
}

static void
take_task(struct ingest *in, const struct task *t, struct event *ev)
{
    char *command = mem_pool_alloc(in->pool, COMMAND_SIZE);

    ev->task = t;
    ev->task_bytes = encoded(in, CODEC_TASK, t);
    ev->command = task_summary(t, command, COMMAND_SIZE);
}

/* The router derives the same task from the same bytes. If it cannot decode
 * them it rejects the task, and its dead letter holds the payload. */
static int
accept_task(struct ingest *in, const struct entry *entry, struct origin *o,
            struct bytes data, struct event *ev, struct err *e)
{
    struct task t;
    struct err bad = {0};

    if (codec_decode_task_in(data.data, data.len, in->pool, &t, &bad) < 0)
        return quarantine_message(in, entry, "malformed", bad.msg, false, e);
    give_id(in, o, &t);
    task_complete(&t, in->pool, o->msg->stored_at_ms);
    take_task(in, &t, ev);
    return apply(in, entry, t.id, ev, e);
}

static int
make_room(struct ingest *in, struct err *e)
{
    return row_cache_is_full(in->cache) ? row_cache_write(in->cache, e) : 0;
}

static int
enter_many(struct ingest *in, const struct entry *entry, struct event *ev,
           struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct origin o = {.msg = m};
    struct codec_multi tasks;
    struct bytes data;
    struct err bad = {0};
    int rc = 0;

    if (codec_multi_open(&tasks, CODEC_TASKS, m->data, m->len, &bad) < 0)
        return quarantine_message(in, entry, "malformed", bad.msg, false, e);
    while (rc == 0 && codec_multi_next(&tasks, &data)) {
        o.number = tasks.number;
        rc = make_room(in, e);
        if (rc == 0)
            rc = accept_task(in, entry, &o, data, ev, e);
    }
    codec_multi_close(&tasks);
    return rc;
}

static int
enter_accepted(struct ingest *in, const struct entry *entry, struct event *ev,
               struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct origin o = {.msg = m};

    if (strcmp(m->subject, SUBJECT_TASKS_BULK) == 0)
        return enter_many(in, entry, ev, e);
    return accept_task(in, entry, &o, (struct bytes){m->data, m->len}, ev, e);
}

static int
take_routed(struct ingest *in, const struct entry *entry, struct bytes data,
            struct event *ev, struct err *e)
{
    struct routed_task routed;
    struct err bad = {0};

    if (codec_decode(CODEC_ROUTED_TASK, data.data, data.len, in->pool, &routed,
                     &bad) < 0)
        return quarantine_message(in, entry, "malformed", bad.msg, true, e);
    if (!subject_token_ok(routed.task->id))
        return quarantine_message(in, entry, "malformed", "its task has no id",
                                  true, e);
    take_task(in, routed.task, ev);
    ev->decision = routed.decision;
    ev->decision_bytes = encoded(in, CODEC_DECISION, routed.decision);
    ev->dispatch = routed.drive;
    return apply(in, entry, routed.task->id, ev, e);
}

/* A worker sends tasks that do not decode to the dead letters, and runs the
 * others. */
static int
enter_routed(struct ingest *in, const struct entry *entry, struct event *ev,
             struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct codec_multi tasks;
    struct bytes data;
    struct err bad = {0};
    int rc = 0;

    if (codec_multi_open(&tasks, CODEC_ROUTED_TASKS, m->data, m->len, &bad) < 0)
        return quarantine_message(in, entry, "malformed", bad.msg, true, e);
    while (rc == 0 && codec_multi_next(&tasks, &data)) {
        rc = make_room(in, e);
        if (rc == 0)
            rc = take_routed(in, entry, data, ev, e);
    }
    codec_multi_close(&tasks);
    return rc;
}

static int
enter_cancel(struct ingest *in, const struct entry *entry, struct event *ev,
             struct err *e)
{
    const struct bus_msg *m = entry->msg;
    char task[SUBJECT_TOKEN_MAX + 1];
    struct control *c = mem_pool_alloc(in->pool, sizeof *c);
    struct err bad = {0};

    if (m->len == 0)
        return 0; /* the marker of a deleted key */
    if (codec_decode(CODEC_CONTROL, m->data, m->len, in->pool, c, &bad) < 0)
        return quarantine_message(in, entry, "malformed", bad.msg, true, e);
    if (!subject_token_at(m->subject, 3, task) || strcmp(task, c->task) != 0 ||
        strcmp(c->verb, "cancel") != 0)
        return quarantine_message(in, entry, "malformed",
                                  "subject and content disagree", true, e);
    ev->control = c;
    return apply(in, entry, c->task, ev, e);
}

/* --- results -------------------------------------------------------------- */

/* The router may only reject; the reaper ends tasks that never ran. */
static const char *
inside_fault(const struct result *r)
{
    if (r->attempt != 0 || !r->final)
        return "the router and the ledger run nothing";
    if (r->state == STATE_REJECTED)
        return NULL;
    if (strcmp(r->backend, "ledger") == 0 &&
        (r->state == STATE_CANCELLED || r->state == STATE_DEAD ||
         r->state == STATE_UNKNOWN))
        return NULL;
    return "the router and the ledger cannot say that";
}

/* *out: why the result is refused, or NULL. A result that was recorded before
 * is never refused, whatever became of its claim: it is a repetition. */
static int
fault_of(struct ingest *in, const struct result_verdict *v,
         const struct result *r, const char **out, struct err *e)
{
    struct cached_row *row;
    struct cached_attempt *a;

    *out = NULL;
    if (v->verification == VERIFY_MATCHES ||
        v->verification == VERIFY_CLAIM_EXPIRED ||
        v->verification == VERIFY_SUPERSEDED)
        return 0;
    if (row_cache_row(in->cache, r->task, &row, e) < 0 ||
        row_cache_attempt(in->cache, row, r->attempt, r->fence, &a, e) < 0)
        return -1;
    if (a->attempt.known)
        return 0;
    if (v->verification == VERIFY_REFUSED)
        *out = v->reason;
    else if (state_is_terminal(row->row.state))
        *out = "the task had already finished";
    else
        *out = inside_fault(r);
    return 0;
}

static int
enter_result(struct ingest *in, const struct entry *entry,
             const struct result_verdict *v, struct bytes data,
             struct event *ev, struct err *e)
{
    const char *fault;
    struct result *r = mem_pool_alloc(in->pool, sizeof *r);
    struct err bad = {0};

    if (codec_decode(CODEC_RESULT, data.data, data.len, in->pool, r, &bad) < 0)
        return quarantine_message(in, entry, "quarantined", bad.msg, true, e);
    if (fault_of(in, v, r, &fault, e) < 0)
        return -1;
    if (fault)
        return quarantine_message(in, entry, "quarantined", fault, true, e);
    if (v->verification == VERIFY_REFUSED)
        return 0; /* recorded before, from a message that passed */
    ev->result = r;
    ev->result_bytes = data;
    ev->stale = v->verification == VERIFY_SUPERSEDED;
    return apply(in, entry, r->task, ev, e);
}

/* Each result of a message is judged by itself: one that is refused, or not
 * verified yet, does not affect the others. */
static int
enter_results(struct ingest *in, const struct entry *entry, struct event *ev,
              struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct codec_multi results;
    struct bytes data;
    struct err bad = {0};
    int rc = 0;

    if (codec_multi_open(&results, CODEC_RESULTS, m->data, m->len, &bad) < 0)
        return quarantine_message(in, entry, "quarantined", bad.msg, true, e);
    for (size_t i = 0;
         rc == 0 && i < entry->verdicts.n && codec_multi_next(&results, &data);
         i++) {
        if (entry->verdicts.list[i].verification == VERIFY_UNKNOWN_YET)
            continue;
        rc = make_room(in, e);
        if (rc == 0)
            rc = enter_result(in, entry, &entry->verdicts.list[i], data, ev, e);
    }
    codec_multi_close(&results);
    return rc;
}

/* Records the highest sequence seen, for people only: messages are redelivered
 * and arrive out of order, so nothing is decided by it. */
static void
advance(struct ingest *in, const char *consumer, uint64_t seq)
{
    size_t i = 0;

    while (i < in->n_positions &&
           strcmp(in->positions[i].consumer, consumer) != 0)
        i++;
    if (i == CONSUMERS_MAX)
        return;
    if (i == in->n_positions)
        in->positions[in->n_positions++] = (struct position){consumer, 0};
    if (seq > in->positions[i].seq)
        in->positions[i].seq = seq;
}

int
ingest_enter(struct ingest *in, const struct entry *entry, struct err *e)
{
    struct event ev = {.kind = entry->kind,
                       .seq = entry->msg->seq,
                       .at_ms = entry->msg->stored_at_ms};

    if (make_room(in, e) < 0)
        return -1;
    advance(in, entry->consumer, entry->msg->seq);
    switch (entry->kind) {
    case EVENT_ACCEPTED:
        return enter_accepted(in, entry, &ev, e);
    case EVENT_ROUTED:
        return enter_routed(in, entry, &ev, e);
    case EVENT_RESULT:
        return enter_results(in, entry, &ev, e);
    case EVENT_CANCEL:
        return enter_cancel(in, entry, &ev, e);
    }
    return 0;
}
