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
    struct db *store;
    struct position positions[CONSUMERS_MAX]; /* of the transaction */
    size_t n_positions;
    struct row_cache *sheet;     /* the rows of the transaction */
    struct mem_pool *pool;       /* the sheet's */
    struct str body;             /* of what is being encoded */
    const struct bus_msg *aside; /* the last message set aside */
    struct ingest_end *ends;     /* of the transaction */
    size_t n_ends, cap_ends;
    struct ingest_news news;
};

struct ingest *
ingest_new(struct db *s)
{
    struct ingest *b = MEM_NEW(struct ingest);

    b->store = s;
    b->sheet = row_cache_new(s);
    b->pool = row_cache_pool(b->sheet);
    return b;
}

void
ingest_free(struct ingest *b)
{
    if (!b)
        return;
    row_cache_free(b->sheet);
    str_free(&b->body);
    mem_free(b->ends);
    mem_free(b);
}

int
ingest_begin(struct ingest *b, struct err *e)
{
    b->n_positions = 0;
    b->n_ends = 0;
    b->aside = NULL;
    row_cache_begin(b->sheet);
    return db_begin(b->store, e);
}

int
ingest_commit(struct ingest *b, struct err *e)
{
    enum { KEEP = 256 * 1024 };
    const struct row_cache_news *news = row_cache_news(b->sheet);
    int rc = row_cache_write(b->sheet, e);

    for (size_t i = 0; i < b->n_positions && rc == 0; i++)
        rc = db_position(b->store, b->positions[i].consumer,
                         b->positions[i].seq, e);
    if (rc == 0)
        rc = db_commit(b->store, e);
    if (b->body.cap > KEEP)
        str_free(&b->body);
    b->news = (struct ingest_news){
        .due = news->due,
        .schedule = news->schedule,
        .batches = (const char(*)[TASK_ID_SIZE])news->batches,
        .n_batches = news->n_batches,
        .ends = b->ends,
        .n_ends = b->n_ends};
    return rc;
}

const struct ingest_news *
ingest_news(const struct ingest *b)
{
    return &b->news;
}

/* --- rows ----------------------------------------------------------------- */

/* Whether the result an entry brought is what its row tells of. */
static bool
is_outcome(const struct task_state *s, const struct result *r)
{
    return state_is_terminal(s->state) && s->final && r->final &&
           s->result_attempt == r->attempt && s->result_fence == r->fence &&
           s->state == r->state;
}

static void
note_end(struct ingest *b, const char *id, struct bytes result)
{
    struct ingest_end *end;

    b->ends = mem_grow(b->ends, b->n_ends, &b->cap_ends, sizeof *b->ends);
    end = &b->ends[b->n_ends++];
    (void)str_copy(end->id, sizeof end->id, id);
    end->result = result;
}

/* Folds ev into the row of id. */
static int
apply(struct ingest *b, const struct entry *entry, const char *id,
      const struct event *ev, struct err *e)
{
    struct cached_attempt *a = NULL;
    struct cached_row *r;
    bool was_over;

    if (row_cache_row(b->sheet, id, &r, e) < 0)
        return -1;
    if (ev->kind == EVENT_RESULT &&
        row_cache_attempt(b->sheet, r, ev->result->attempt, ev->result->fence,
                          &a, e) < 0)
        return -1;
    was_over = state_is_terminal(r->row.state);
    if (a)
        a->attempt.changed = false;
    if (fold(&r->row, a ? &a->attempt : NULL, ev))
        r->changed_by |= 1u << ev->kind;
    if (a && a->attempt.changed)
        a->changed = a->attempt.known = true;
    /* Told again to those who may have missed it, if it came again. */
    if (ev->kind == EVENT_RESULT && is_outcome(&r->row, ev->result) &&
        (!was_over || entry->msg->delivered > 1))
        note_end(b, id, ev->result_bytes);
    return 0;
}

/* --- what is set aside ---------------------------------------------------- */

/* A message is logged and kept once, whatever of it is not believed. */
static int
set_aside(struct ingest *b, const struct entry *entry, const char *name,
          const char *reason, bool keep, struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct quarantine q = {.stream = entry->stream,
                           .subject = m->subject,
                           .reason = reason,
                           .seq = m->seq,
                           .at_ms = m->stored_at_ms,
                           .payload = keep ? m->data : NULL,
                           .len = m->len};

    if (m == b->aside)
        return 0;
    b->aside = m;
    log_warn("reaper.set_aside",
             "stream=%s seq=%" PRIu64 " subject=%s as=%s reason=\"%s\"",
             entry->stream, m->seq, LOG_TEXT(m->subject), name,
             LOG_TEXT(reason));
    return db_quarantine(b->store, &q, name, e);
}

/* Encoded anew, for as long as the row is in hand. */
static struct bytes
encoded(struct ingest *b, enum codec_type type, const void *msg)
{
    uint8_t *copy;

    str_reset(&b->body);
    codec_encode(type, msg, &b->body);
    copy = mem_pool_alloc(b->pool, b->body.len);
    memcpy(copy, str_text(&b->body), b->body.len);
    return (struct bytes){copy, b->body.len};
}

/* --- submissions ---------------------------------------------------------- */

/* Where the bytes of a task come from. */
struct origin {
    const struct bus_msg *msg;
    size_t number;                 /* in a message of many, from 1; else 0 */
    char message_id[TASK_ID_SIZE]; /* derived; "" until a task needed it */
};

static void
give_id(struct ingest *b, struct origin *o, struct task *t)
{
    const struct bus_msg *m = o->msg;
    char id[TASK_ID_SIZE];

    if (*t->id)
        return;
    if (!o->number && subject_token_ok(m->id)) {
        t->id = mem_pool_strdup(b->pool, m->id);
        return;
    }
    if (!*o->message_id)
        task_id_from_message(m->seq, m->stored_at_ms, m->data, m->len,
                             o->message_id);
    if (o->number)
        task_id_of_member(o->message_id, o->number - 1, id);
    t->id = mem_pool_strdup(b->pool, o->number ? id : o->message_id);
}

static void
take_task(struct ingest *b, const struct task *t, struct event *ev)
{
    char *command = mem_pool_alloc(b->pool, COMMAND_SIZE);

    ev->task = t;
    ev->task_bytes = encoded(b, CODEC_TASK, t);
    ev->command = task_summary(t, command, COMMAND_SIZE);
}

/* The router derives the same task from the same bytes. What it cannot read it
 * answers for; its dead letter has the payload. */
static int
accept_task(struct ingest *b, const struct entry *entry, struct origin *o,
            struct bytes data, struct event *ev, struct err *e)
{
    struct task t;
    struct err bad = {0};

    if (codec_decode_task_in(data.data, data.len, b->pool, &t, &bad) < 0)
        return set_aside(b, entry, "malformed", bad.msg, false, e);
    give_id(b, o, &t);
    task_complete(&t, b->pool, o->msg->stored_at_ms);
    take_task(b, &t, ev);
    return apply(b, entry, t.id, ev, e);
}

static int
make_room(struct ingest *b, struct err *e)
{
    return row_cache_is_full(b->sheet) ? row_cache_write(b->sheet, e) : 0;
}

static int
enter_many(struct ingest *b, const struct entry *entry, struct event *ev,
           struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct origin o = {.msg = m};
    struct codec_bulk tasks;
    struct bytes data;
    struct err bad = {0};
    int rc = 0;

    if (codec_bulk_open(&tasks, CODEC_TASKS, m->data, m->len, &bad) < 0)
        return set_aside(b, entry, "malformed", bad.msg, false, e);
    while (rc == 0 && codec_bulk_next(&tasks, &data)) {
        o.number = tasks.number;
        rc = make_room(b, e);
        if (rc == 0)
            rc = accept_task(b, entry, &o, data, ev, e);
    }
    codec_bulk_close(&tasks);
    return rc;
}

static int
enter_accepted(struct ingest *b, const struct entry *entry, struct event *ev,
               struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct origin o = {.msg = m};

    if (strcmp(m->subject, SUBJECT_TASKS_BULK) == 0)
        return enter_many(b, entry, ev, e);
    return accept_task(b, entry, &o, (struct bytes){m->data, m->len}, ev, e);
}

static int
take_routed(struct ingest *b, const struct entry *entry, struct bytes data,
            struct event *ev, struct err *e)
{
    struct routed_task routed;
    struct err bad = {0};

    if (codec_decode(CODEC_ROUTED_TASK, data.data, data.len, b->pool, &routed,
                     &bad) < 0)
        return set_aside(b, entry, "malformed", bad.msg, true, e);
    if (!subject_token_ok(routed.task->id))
        return set_aside(b, entry, "malformed", "its task has no id", true, e);
    take_task(b, routed.task, ev);
    ev->decision = routed.decision;
    ev->decision_bytes = encoded(b, CODEC_DECISION, routed.decision);
    ev->drive = routed.drive;
    return apply(b, entry, routed.task->id, ev, e);
}

/* A worker buries what of it cannot be read, and takes the others. */
static int
enter_routed(struct ingest *b, const struct entry *entry, struct event *ev,
             struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct codec_bulk tasks;
    struct bytes data;
    struct err bad = {0};
    int rc = 0;

    if (codec_bulk_open(&tasks, CODEC_ROUTED_TASKS, m->data, m->len, &bad) < 0)
        return set_aside(b, entry, "malformed", bad.msg, true, e);
    while (rc == 0 && codec_bulk_next(&tasks, &data)) {
        rc = make_room(b, e);
        if (rc == 0)
            rc = take_routed(b, entry, data, ev, e);
    }
    codec_bulk_close(&tasks);
    return rc;
}

static int
enter_cancel(struct ingest *b, const struct entry *entry, struct event *ev,
             struct err *e)
{
    const struct bus_msg *m = entry->msg;
    char task[SUBJECT_TOKEN_MAX + 1];
    struct control *c = mem_pool_alloc(b->pool, sizeof *c);
    struct err bad = {0};

    if (m->len == 0)
        return 0; /* the mark of a key that was deleted */
    if (codec_decode(CODEC_CONTROL, m->data, m->len, b->pool, c, &bad) < 0)
        return set_aside(b, entry, "malformed", bad.msg, true, e);
    if (!subject_token_at(m->subject, 3, task) || strcmp(task, c->task) != 0 ||
        strcmp(c->verb, "cancel") != 0)
        return set_aside(b, entry, "malformed", "subject and content disagree",
                         true, e);
    ev->control = c;
    return apply(b, entry, c->task, ev, e);
}

/* --- results -------------------------------------------------------------- */

/* Of the router only "rejected"; the ledger closes what never ran. */
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

/* Why the result is not taken, or NULL. What was recorded before is no fault
 * whatever became of its claim: it is a repetition. */
static int
fault_of(struct ingest *b, const struct result_verdict *v,
         const struct result *r, const char **out, struct err *e)
{
    struct cached_row *row;
    struct cached_attempt *a;

    *out = NULL;
    if (v->verification == VERIFY_MATCHES ||
        v->verification == VERIFY_CLAIM_EXPIRED ||
        v->verification == VERIFY_SUPERSEDED)
        return 0;
    if (row_cache_row(b->sheet, r->task, &row, e) < 0 ||
        row_cache_attempt(b->sheet, row, r->attempt, r->fence, &a, e) < 0)
        return -1;
    if (a->attempt.known)
        return 0;
    if (v->verification == VERIFY_REFUSED)
        *out = v->reason;
    else if (state_is_terminal(row->row.state))
        *out = "the task was over";
    else
        *out = inside_fault(r);
    return 0;
}

static int
enter_result(struct ingest *b, const struct entry *entry,
             const struct result_verdict *v, struct bytes data,
             struct event *ev, struct err *e)
{
    const char *fault;
    struct result *r = mem_pool_alloc(b->pool, sizeof *r);
    struct err bad = {0};

    if (codec_decode(CODEC_RESULT, data.data, data.len, b->pool, r, &bad) < 0)
        return set_aside(b, entry, "quarantined", bad.msg, true, e);
    if (fault_of(b, v, r, &fault, e) < 0)
        return -1;
    if (fault)
        return set_aside(b, entry, "quarantined", fault, true, e);
    if (v->verification == VERIFY_REFUSED)
        return 0; /* recorded before, from a message that was believed */
    ev->result = r;
    ev->result_bytes = data;
    ev->stale = v->verification == VERIFY_SUPERSEDED;
    return apply(b, entry, r->task, ev, e);
}

/* One that is not believed, or not yet, says nothing of the others in its
 * message. */
static int
enter_results(struct ingest *b, const struct entry *entry, struct event *ev,
              struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct codec_bulk results;
    struct bytes data;
    struct err bad = {0};
    int rc = 0;

    if (codec_bulk_open(&results, CODEC_RESULTS, m->data, m->len, &bad) < 0)
        return set_aside(b, entry, "quarantined", bad.msg, true, e);
    for (size_t i = 0;
         rc == 0 && i < entry->verdicts.n && codec_bulk_next(&results, &data);
         i++) {
        if (entry->verdicts.list[i].verification == VERIFY_UNKNOWN_YET)
            continue;
        rc = make_room(b, e);
        if (rc == 0)
            rc = enter_result(b, entry, &entry->verdicts.list[i], data, ev, e);
    }
    codec_bulk_close(&results);
    return rc;
}

/* The highest sequence seen, for people: messages come again, and out of
 * order, so that it decides nothing. */
static void
advance(struct ingest *b, const char *consumer, uint64_t seq)
{
    size_t i = 0;

    while (i < b->n_positions &&
           strcmp(b->positions[i].consumer, consumer) != 0)
        i++;
    if (i == CONSUMERS_MAX)
        return;
    if (i == b->n_positions)
        b->positions[b->n_positions++] = (struct position){consumer, 0};
    if (seq > b->positions[i].seq)
        b->positions[i].seq = seq;
}

int
ingest_enter(struct ingest *b, const struct entry *entry, struct err *e)
{
    struct event ev = {.kind = entry->kind,
                       .seq = entry->msg->seq,
                       .at_ms = entry->msg->stored_at_ms};

    if (make_room(b, e) < 0)
        return -1;
    advance(b, entry->consumer, entry->msg->seq);
    switch (entry->kind) {
    case EVENT_ACCEPTED:
        return enter_accepted(b, entry, &ev, e);
    case EVENT_ROUTED:
        return enter_routed(b, entry, &ev, e);
    case EVENT_RESULT:
        return enter_results(b, entry, &ev, e);
    case EVENT_CANCEL:
        return enter_cancel(b, entry, &ev, e);
    }
    return 0;
}
