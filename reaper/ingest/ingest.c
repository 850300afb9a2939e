/*
 * Decodes the messages of a transaction into events, folds each into its row in
 * the row cache, and commits rows, counters, batches and stream positions
 * together. A message that does not decode, or a result that is not believed,
 * goes into quarantine; the rest of its message is folded all the same.
 */
#include "reaper/ingest/ingest.h"

#include "lib/base/backoff.h"
#include "lib/base/log.h"
#include "lib/base/mask.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/model/control_msg.h"
#include "lib/model/subject.h"
#include "reaper/ingest/row_cache.h"

#include <inttypes.h>
#include <string.h>

enum {
    COMMAND_SIZE = 201,
    CONSUMERS_MAX = 8,
    ROUTE_TRIES = 20, /* for the decision to be read: some 75 s */
    ROUTE_WAIT_MS = 100,
    ROUTE_WAIT_MOST_MS = 5000,
};

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
    char message_id[TASK_ID_SIZE];     /* of the message that is entered, for
                                          its tasks; "" until one needs it */
    struct ingest_changes changes;
    size_t cap_finished;
};

struct ingest *
ingest_new(struct db *db)
{
    struct ingest *in = MEM_NEW(struct ingest);

    in->db = db;
    in->cache = row_cache_new(db);
    in->pool = row_cache_pool(in->cache);
    in->changes.rows = row_cache_changes(in->cache);
    return in;
}

void
ingest_free(struct ingest *in)
{
    if (!in)
        return;
    row_cache_free(in->cache);
    str_free(&in->body);
    mem_free(in->changes.finished);
    mem_free(in);
}

int
ingest_begin(struct ingest *in, struct err *e)
{
    in->n_positions = 0;
    in->changes.n_finished = 0;
    in->quarantined = NULL;
    row_cache_begin(in->cache);
    return db_begin(in->db, e);
}

int
ingest_commit(struct ingest *in, struct err *e)
{
    enum { KEEP = 256 * 1024 };
    int rc = row_cache_write(in->cache, e);

    for (size_t i = 0; i < in->n_positions && rc == 0; i++)
        rc = db_position(in->db, in->positions[i].consumer,
                         in->positions[i].seq, false, e);
    if (rc == 0)
        rc = db_commit(in->db, e);
    if (in->body.cap > KEEP)
        str_free(&in->body);
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
    struct ingest_changes *n = &in->changes;
    struct ingest_finished *end;

    n->finished = mem_grow(n->finished, n->n_finished, &in->cap_finished,
                           sizeof *n->finished);
    end = &n->finished[n->n_finished++];
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
                   const char *reason, struct err *e)
{
    const char *name =
        entry->kind == EVENT_RESULT ? "quarantined" : "malformed";
    const struct bus_msg *m = entry->msg;
    struct quarantine q = {.stream = entry->stream,
                           .subject = m->subject,
                           .reason = reason,
                           .seq = m->seq,
                           .at_ms = m->stored_at_ms,
                           .payload =
                               entry->kind == EVENT_ACCEPTED ? NULL : m->data,
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

/* number: of the task in a message of several, from 1; else 0. */
static void
give_id(struct ingest *in, const struct bus_msg *m, size_t number,
        struct task *t)
{
    char id[TASK_ID_SIZE];

    if (*t->id)
        return;
    if (!number && subject_token_ok(m->id)) {
        t->id = mem_pool_strdup(in->pool, m->id);
        return;
    }
    if (!*in->message_id)
        task_id_from_message(m->seq, m->stored_at_ms, m->data, m->len,
                             in->message_id);
    if (number)
        task_id_of_member(in->message_id, number - 1, id);
    t->id = mem_pool_strdup(in->pool, number ? id : in->message_id);
}

static bool
has_secret(const struct key_value *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (mask_is_secret(list[i].key, list[i].value))
            return true;
    return false;
}

/* A copy of the list without its secrets; their names go to *names. */
static struct key_value *
without(struct ingest *in, const struct key_value *list, size_t *n,
        const char **names, size_t *n_names)
{
    struct key_value *kept = mem_pool_alloc(in->pool, *n * sizeof *kept);
    size_t n_kept = 0;

    for (size_t i = 0; i < *n; i++)
        if (mask_is_secret(list[i].key, list[i].value))
            names[(*n_names)++] = list[i].key;
        else
            kept[n_kept++] = list[i];
    *n = n_kept;
    return kept;
}

/* The ledger keeps no secret: of such variables the names alone. */
static const struct task *
without_secrets(struct ingest *in, const struct task *t)
{
    const char **names;
    struct task *copy;

    if (!has_secret(t->env, t->n_env) &&
        !has_secret(t->submit_env, t->n_submit_env))
        return t;
    copy = mem_pool_alloc(in->pool, sizeof *copy);
    *copy = *t;
    names = mem_pool_alloc(in->pool,
                           (t->n_secret_env + t->n_env + t->n_submit_env) *
                               sizeof *names);
    if (t->n_secret_env)
        memcpy(names, t->secret_env, t->n_secret_env * sizeof *names);
    copy->secret_env = names;
    copy->env = without(in, t->env, &copy->n_env, names, &copy->n_secret_env);
    copy->submit_env = without(in, t->submit_env, &copy->n_submit_env, names,
                               &copy->n_secret_env);
    return copy;
}

static void
take_task(struct ingest *in, const struct task *t, struct event *ev)
{
    char command[COMMAND_SIZE];
    struct str shown = {0};

    ev->task = t;
    ev->task_bytes = encoded(in, CODEC_TASK, without_secrets(in, t));
    mask_command(NULL, task_summary(t, command, COMMAND_SIZE), &shown);
    ev->command = mem_pool_strdup(in->pool, str_text(&shown));
    str_free(&shown);
}

/* The router derives the same task from the same bytes. If it cannot decode
 * them it rejects the task, and its dead letter holds the payload. */
static int
accept_task(struct ingest *in, const struct entry *entry, size_t number,
            struct bytes data, struct event *ev, struct err *e)
{
    struct task t;
    struct err bad = {0};

    if (codec_decode_task_in(data.data, data.len, in->pool, &t, &bad) < 0)
        return quarantine_message(in, entry, bad.msg, e);
    give_id(in, entry->msg, number, &t);
    task_complete(&t, in->pool, entry->msg->stored_at_ms);
    take_task(in, &t, ev);
    return apply(in, entry, t.id, ev, e);
}

static int
make_room(struct ingest *in, struct err *e)
{
    return row_cache_is_full(in->cache) ? row_cache_write(in->cache, e) : 0;
}

/* A worker sends tasks that do not decode to the dead letters, and runs the
 * others. */
static int
take_routed(struct ingest *in, const struct entry *entry, struct bytes data,
            struct event *ev, struct err *e)
{
    struct routed_task routed;
    struct err bad = {0};

    if (codec_decode(CODEC_ROUTED_TASK, data.data, data.len, in->pool, &routed,
                     &bad) < 0)
        return quarantine_message(in, entry, bad.msg, e);
    if (!subject_token_ok(routed.task->id))
        return quarantine_message(in, entry, "its task has no id", e);
    take_task(in, routed.task, ev);
    ev->decision = routed.decision;
    ev->decision_bytes = encoded(in, CODEC_DECISION, routed.decision);
    ev->dispatch = routed.drive;
    return apply(in, entry, routed.task->id, ev, e);
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
    if (control_msg_read(m->data, m->len, CONTROL_CANCEL, in->pool, c, &bad) <
        0)
        return quarantine_message(in, entry, bad.msg, e);
    if (!subject_token_at(m->subject, 3, task) || strcmp(task, c->task) != 0)
        return quarantine_message(in, entry, "subject and content disagree", e);
    ev->control = c;
    row_cache_note_cancel(in->cache);
    return apply(in, entry, c->task, ev, e);
}

/* --- results -------------------------------------------------------------- */

/* The router rejects, and cancels what it has not routed; the reaper ends tasks
 * that never ran. */
static const char *
inside_fault(const struct result *r)
{
    if (r->attempt != 0 || !r->final)
        return "the router and the ledger run nothing";
    if (r->state == STATE_REJECTED || r->state == STATE_CANCELLED)
        return NULL;
    if (strcmp(r->backend, "ledger") == 0 &&
        (r->state == STATE_DEAD || r->state == STATE_UNKNOWN))
        return NULL;
    return "the router and the ledger cannot say that";
}

static bool
is_inside(const struct result *r)
{
    return strcmp(r->backend, "ledger") == 0 ||
           strcmp(r->backend, "router") == 0;
}

/*
 * Whether r comes from the lane that its task was routed to: the holder of
 * another lane may claim any task there. A result may be read before the
 * decision that it follows on: *wait. One that waits in vain is refused; should
 * it be true after all, the ledger reads it from its claim later.
 */
static const char *
route_fault(const struct entry *entry, const struct task_state *row,
            const struct result_verdict *v, const struct result *r, bool *wait)
{
    if (r->attempt == 0 || is_inside(r) ||
        (!row->routed && v->verification == VERIFY_CLAIM_EXPIRED))
        return NULL;
    if (row->routed)
        return strcmp(row->backend, r->backend) == 0 &&
                       strcmp(row->lane, r->lane) == 0
                   ? NULL
                   : "its task was routed to another lane";
    *wait = entry->msg->delivered < ROUTE_TRIES;
    return *wait ? NULL : "its task was never routed";
}

/* *out: why the result is refused, or NULL. A result that was recorded before
 * is never refused, whatever became of its claim: it is a repetition. *wait:
 * that is not known yet. */
static int
fault_of(struct ingest *in, const struct entry *entry,
         const struct result_verdict *v, const struct result *r,
         const char **out, bool *wait, struct err *e)
{
    struct cached_row *row;
    struct cached_attempt *a;

    *out = NULL;
    *wait = false;
    if (row_cache_row(in->cache, r->task, &row, e) < 0 ||
        row_cache_attempt(in->cache, row, r->attempt, r->fence, &a, e) < 0)
        return -1;
    if (a->attempt.known)
        return 0;
    if (v->verification == VERIFY_REFUSED)
        *out = v->reason;
    else if (v->verification != VERIFY_WITHOUT_CLAIM)
        *out = route_fault(entry, &row->row, v, r, wait);
    else if (state_is_terminal(row->row.state))
        *out = "the task had already finished";
    else
        *out = inside_fault(r);
    return 0;
}

static void
read_again(struct entry *entry)
{
    int64_t ms = backoff_nth((uint32_t)entry->msg->delivered, ROUTE_WAIT_MS,
                             ROUTE_WAIT_MOST_MS);

    if (entry->verdicts.again_ms == 0 || ms < entry->verdicts.again_ms)
        entry->verdicts.again_ms = ms;
}

static int
take_result(struct ingest *in, struct entry *entry,
            const struct result_verdict *v, struct bytes data, struct event *ev,
            struct err *e)
{
    const char *fault;
    struct result *r = mem_pool_alloc(in->pool, sizeof *r);
    struct err bad = {0};
    bool wait;

    if (v->verification == VERIFY_UNKNOWN_YET)
        return 0;
    if (codec_decode(CODEC_RESULT, data.data, data.len, in->pool, r, &bad) < 0)
        return quarantine_message(in, entry, bad.msg, e);
    if (fault_of(in, entry, v, r, &fault, &wait, e) < 0)
        return -1;
    if (wait) {
        read_again(entry);
        return 0;
    }
    if (fault)
        return quarantine_message(in, entry, fault, e);
    if (v->verification == VERIFY_REFUSED)
        return 0; /* recorded before, from a message that passed */
    ev->result = r;
    ev->result_bytes = data;
    ev->stale = v->verification == VERIFY_SUPERSEDED;
    return apply(in, entry, r->task, ev, e);
}

/* --- messages ------------------------------------------------------------- */

int
entry_open(const struct entry *entry, struct codec_multi *out, struct err *e)
{
    static const enum codec_type types[] = {
        [EVENT_ACCEPTED] = CODEC_TASKS,
        [EVENT_ROUTED] = CODEC_ROUTED_TASKS,
        [EVENT_RESULT] = CODEC_RESULTS,
    };
    const struct bus_msg *m = entry->msg;

    if (entry->kind != EVENT_ACCEPTED ||
        strcmp(m->subject, SUBJECT_TASKS_BULK) == 0)
        return codec_multi_open(out, types[entry->kind], m->data, m->len, e);
    *out = (struct codec_multi){.type = CODEC_TASKS,
                                .alone = true,
                                .count = 1,
                                .at = m->data,
                                .end = m->data + m->len};
    return 0;
}

/* A member that is invalid, or a result that is refused or not verified yet,
 * does not affect the others. */
static int
enter_members(struct ingest *in, struct entry *entry, struct event *ev,
              struct err *e)
{
    struct codec_multi members;
    struct bytes data;
    struct err bad = {0};
    int rc = 0;

    if (entry_open(entry, &members, &bad) < 0)
        return quarantine_message(in, entry, bad.msg, e);
    while (rc == 0 && codec_multi_next(&members, &data)) {
        size_t i = members.number - 1;

        rc = make_room(in, e);
        if (rc < 0)
            break;
        if (entry->kind == EVENT_ACCEPTED)
            rc = accept_task(in, entry, members.alone ? 0 : members.number,
                             data, ev, e);
        else if (entry->kind == EVENT_ROUTED)
            rc = take_routed(in, entry, data, ev, e);
        else if (i < entry->verdicts.n)
            rc = take_result(in, entry, &entry->verdicts.list[i], data, ev, e);
    }
    codec_multi_close(&members);
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
ingest_enter(struct ingest *in, struct entry *entry, struct err *e)
{
    struct event ev = {.kind = entry->kind,
                       .seq = entry->msg->seq,
                       .at_ms = entry->msg->stored_at_ms};

    in->message_id[0] = '\0';
    if (make_room(in, e) < 0)
        return -1;
    advance(in, entry->consumer, entry->msg->seq);
    return entry->kind == EVENT_CANCEL ? enter_cancel(in, entry, &ev, e)
                                       : enter_members(in, entry, &ev, e);
}
