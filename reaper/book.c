#include "reaper/book.h"

#include "lib/codec.h"
#include "lib/log.h"
#include "lib/str.h"
#include "lib/subject.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { COMMAND_SIZE = 201, CONSUMERS_MAX = 8 };

struct position {
    const char *consumer; /* static */
    uint64_t seq;
};

struct book {
    struct store *store;
    struct position positions[CONSUMERS_MAX]; /* of the transaction */
    size_t n_positions;
    struct mem_pool *pool; /* of one entry */
    struct str body, more; /* encoded parts of it */
    struct book_news news;
    char (*batches)[TASK_ID_SIZE];
    size_t cap_batches;
};

struct book *
book_new(struct store *s)
{
    struct book *b = MEM_NEW(struct book);

    b->store = s;
    b->pool = mem_pool_new();
    return b;
}

void
book_free(struct book *b)
{
    if (!b)
        return;
    mem_pool_free(b->pool);
    str_free(&b->body);
    str_free(&b->more);
    mem_free(b->batches);
    mem_free(b);
}

int
book_begin(struct book *b, struct err *e)
{
    b->news = (struct book_news){0};
    b->n_positions = 0;
    return store_begin(b->store, e);
}

int
book_commit(struct book *b, struct err *e)
{
    enum { KEEP = 256 * 1024 };
    int rc = 0;

    for (size_t i = 0; i < b->n_positions && rc == 0; i++)
        rc = store_position(b->store, b->positions[i].consumer,
                            b->positions[i].seq, e);
    if (rc == 0)
        rc = store_commit(b->store, e);
    mem_pool_reset(b->pool);
    if (b->body.cap > KEEP)
        str_free(&b->body);
    b->news.batches = (const char(*)[TASK_ID_SIZE])b->batches;
    return rc;
}

const struct book_news *
book_news(const struct book *b)
{
    return &b->news;
}

/* --- rows ----------------------------------------------------------------- */

static void
remember_batch(struct book *b, const char *id)
{
    for (size_t i = 0; i < b->news.n_batches; i++)
        if (strcmp(b->batches[i], id) == 0)
            return;
    if (b->news.n_batches == b->cap_batches) {
        b->cap_batches = b->cap_batches ? b->cap_batches * 2 : 8;
        b->batches =
            mem_resize(b->batches, b->cap_batches * sizeof *b->batches);
    }
    (void)str_copy(b->batches[b->news.n_batches++], TASK_ID_SIZE, id);
}

static int
add_to_batch(struct book *b, const char *id, const struct task_state *before,
             const struct task_state *after, struct err *e)
{
    struct batch_state batch;
    int rc;

    if (!subject_token_ok(id))
        return 0;
    rc = store_batch(b->store, id, b->pool, &batch, e);
    if (rc < 0)
        return -1;
    if (rc == 0)
        fold_batch_init(&batch, id);
    fold_batch(&batch, before, after);
    if (batch.report_due)
        b->news.due = true;
    if (state_is_terminal(after->state))
        remember_batch(b, id);
    return store_put_batch(b->store, &batch, e);
}

/* Writes the row and all that follows from the step it made. */
static int
put(struct book *b, const struct task_state *before, struct task_state *after,
    const struct attempt *a, struct err *e)
{
    if (store_put_task(b->store, after, e) < 0)
        return -1;
    if (a->changed && store_put_attempt(b->store, after->n, a, e) < 0)
        return -1;
    fold_counts(before, after, store_count, b->store);
    if (*before->batch && strcmp(before->batch, after->batch) != 0 &&
        add_to_batch(b, before->batch, before, after, e) < 0)
        return -1;
    if (*after->batch && add_to_batch(b, after->batch, before, after, e) < 0)
        return -1;
    if (after->report_due)
        b->news.due = true;
    if (after->state == STATE_BLOCKED || state_is_terminal(after->state) ||
        after->cancel_at_ms)
        b->news.parked = true;
    return 0;
}

/* Whether the result an entry brought is what its row tells of. */
static bool
is_outcome(const struct task_state *s, const struct result *r)
{
    return state_is_terminal(s->state) && s->final && r->final &&
           s->result_attempt == r->attempt && s->result_fence == r->fence &&
           s->state == r->state;
}

static int
load(struct book *b, const char *id, struct task_state *out, struct err *e)
{
    int rc = store_task(b->store, id, b->pool, out, e);

    if (rc == 0)
        fold_init(out, id);
    return rc < 0 ? -1 : 0;
}

/* Folds ev into the row of id. */
static int
apply(struct book *b, struct entry *entry, const char *id,
      const struct event *ev, struct err *e)
{
    struct task_state row, before;
    struct attempt a = {0};

    if (load(b, id, &row, e) < 0)
        return -1;
    before = row;
    if (ev->kind == EVENT_RESULT &&
        store_attempt(b->store, row.n, ev->result->attempt, ev->result->fence,
                      b->pool, &a, e) < 0)
        return -1;
    if (fold(&row, &a, ev) && put(b, &before, &row, &a, e) < 0)
        return -1;
    (void)str_copy(entry->id, sizeof entry->id, id);
    /* Told again to those who may have missed it, if it came again. */
    if (ev->kind == EVENT_RESULT && is_outcome(&row, ev->result))
        entry->ended =
            !state_is_terminal(before.state) || entry->msg->delivered > 1;
    return 0;
}

/* --- what is set aside ---------------------------------------------------- */

static int
set_aside(struct book *b, const struct entry *entry, const char *name,
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

    log_warn("reaper.set_aside",
             "stream=%s seq=%" PRIu64 " subject=%s as=%s reason=\"%s\"",
             entry->stream, m->seq, LOG_TEXT(m->subject), name,
             LOG_TEXT(reason));
    return store_quarantine(b->store, &q, name, e);
}

static struct bytes
bytes_of(const struct str *s)
{
    return (struct bytes){(const uint8_t *)str_text(s), s->len};
}

/* --- submissions ---------------------------------------------------------- */

static void
give_id(struct book *b, const struct bus_msg *m, struct task *t)
{
    char id[TASK_ID_SIZE];

    if (*t->id)
        return;
    if (subject_token_ok(m->id)) {
        t->id = mem_pool_strdup(b->pool, m->id);
        return;
    }
    task_id_from_message(m->seq, m->stored_at_ms, m->data, m->len, id);
    t->id = mem_pool_strdup(b->pool, id);
}

static void
take_task(struct book *b, const struct task *t, struct event *ev)
{
    char *command = mem_pool_alloc(b->pool, COMMAND_SIZE);

    str_reset(&b->body);
    codec_encode(CODEC_TASK, t, &b->body);
    ev->task = t;
    ev->task_bytes = bytes_of(&b->body);
    ev->command = task_summary(t, command, COMMAND_SIZE);
}

/* The router derives the same task from the same message. */
static int
enter_accepted(struct book *b, struct entry *entry, struct event *ev,
               struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct task t;
    struct err bad = {0};

    /* The router answers for it; its dead letter has the payload. */
    if (codec_decode_task_in(m->data, m->len, b->pool, &t, &bad) < 0)
        return set_aside(b, entry, "malformed", bad.msg, false, e);
    give_id(b, m, &t);
    task_complete(&t, b->pool, m->stored_at_ms);
    take_task(b, &t, ev);
    return apply(b, entry, t.id, ev, e);
}

static int
enter_routed(struct book *b, struct entry *entry, struct event *ev,
             struct err *e)
{
    const struct bus_msg *m = entry->msg;
    struct routed_task routed;
    struct err bad = {0};

    if (codec_decode(CODEC_ROUTED_TASK, m->data, m->len, b->pool, &routed,
                     &bad) < 0)
        return set_aside(b, entry, "malformed", bad.msg, true, e);
    if (!subject_token_ok(routed.task->id))
        return set_aside(b, entry, "malformed", "its task has no id", true, e);
    take_task(b, routed.task, ev);
    str_reset(&b->more);
    codec_encode(CODEC_DECISION, routed.decision, &b->more);
    ev->decision = routed.decision;
    ev->decision_bytes = bytes_of(&b->more);
    ev->drive = routed.drive;
    return apply(b, entry, routed.task->id, ev, e);
}

static int
enter_cancel(struct book *b, struct entry *entry, struct event *ev,
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
fault_of(struct book *b, const struct entry *entry, const struct result *r,
         const char **out, struct err *e)
{
    struct task_state row;
    struct attempt a;

    *out = NULL;
    if (entry->trust == TRUST_CLAIM || entry->trust == TRUST_AGED ||
        entry->trust == TRUST_STALE)
        return 0;
    if (load(b, r->task, &row, e) < 0 ||
        store_attempt(b->store, row.n, r->attempt, r->fence, b->pool, &a, e) <
            0)
        return -1;
    if (a.known)
        return 0;
    if (entry->trust == TRUST_REFUSED)
        *out = entry->reason;
    else if (state_is_terminal(row.state))
        *out = "the task was over";
    else
        *out = inside_fault(r);
    return 0;
}

static int
enter_result(struct book *b, struct entry *entry, struct event *ev,
             struct err *e)
{
    const struct bus_msg *m = entry->msg;
    const char *fault;
    struct result *r = mem_pool_alloc(b->pool, sizeof *r);
    struct err bad = {0};

    if (codec_decode(CODEC_RESULT, m->data, m->len, b->pool, r, &bad) < 0)
        return set_aside(b, entry, "quarantined", bad.msg, true, e);
    if (fault_of(b, entry, r, &fault, e) < 0)
        return -1;
    if (fault)
        return set_aside(b, entry, "quarantined", fault, true, e);
    if (entry->trust == TRUST_REFUSED)
        return 0; /* recorded before, from a message that was believed */
    ev->result = r;
    ev->result_bytes = (struct bytes){m->data, m->len};
    ev->stale = entry->trust == TRUST_STALE;
    return apply(b, entry, r->task, ev, e);
}

/* The highest sequence seen, for people: messages come again, and out of
 * order, so that it decides nothing. */
static void
advance(struct book *b, const char *consumer, uint64_t seq)
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
book_enter(struct book *b, struct entry *entry, struct err *e)
{
    struct event ev = {.kind = entry->kind,
                       .seq = entry->msg->seq,
                       .at_ms = entry->msg->stored_at_ms};

    mem_pool_reset(b->pool);
    advance(b, entry->consumer, entry->msg->seq);
    switch (entry->kind) {
    case EVENT_ACCEPTED:
        return enter_accepted(b, entry, &ev, e);
    case EVENT_ROUTED:
        return enter_routed(b, entry, &ev, e);
    case EVENT_RESULT:
        return enter_result(b, entry, &ev, e);
    case EVENT_CANCEL:
        return enter_cancel(b, entry, &ev, e);
    }
    return 0;
}
