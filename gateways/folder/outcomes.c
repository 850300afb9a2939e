/*
 * A result on the bus is only a hint: the outcome is read from the reaper's
 * answer to ask.ledger.show, which is asked for soon after a hint and else ever
 * more rarely. When all tasks of a file are finished, the file is written back.
 */
#include "gateways/folder/outcomes.h"

#include "gateways/folder/folder_private.h"
#include "gateways/folder/intake.h"
#include "gateways/folder/outcome_text.h"
#include "gateways/folder/sidecar.h"
#include "gateways/folder/write_back.h"
#include "lib/base/backoff.h"
#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <inttypes.h>
#include <string.h>

enum {
    QUERY_MS = 5000,
    QUERIES_MAX = 32, /* at once */
    WRITE_BACK_BATCH = 32,
    WRITE_BACK_JOBS = 3,
    SOON_MS = 25, /* from a result to the first query: the reaper reads it at
                     the same time */
    SOON_MAX_MS = 2000,
    OPEN_VISIT_MS = 500,
    REPAIR_MAX_MS = 600000,
    UNKNOWN_MS = 1000,
    UNKNOWN_DELIVERIES_MAX = 20, /* of a result whose file is not known here */
    CAUGHT_UP_MS = 60000, /* by then the reaper has read what is stored */
    RETRY_MIN_MS = 1000,
    RETRY_MAX_MS = 60000,
    OUTPUT_MAX = 4 * 1024 * 1024,
};

/* --- results as hints ----------------------------------------------------- */

/* Queries soon; the message is kept until the outcome is written back. */
static void
add_hint(struct claimed_file *c, struct hinted_msg *m)
{
    int64_t now = loop_now_ms();

    result_hint_add(&c->hints, m, now);
    if (c->phase == CLAIMED_OPEN || c->phase == CLAIMED_SOON) {
        c->delay_ms = SOON_MS;
        claimed_file_to(c, CLAIMED_SOON, now + SOON_MS);
    }
}

/* What the results of a message were. */
struct seen_results {
    bool unknown;  /* some belong to no file here */
    bool repeated; /* some are known from an earlier delivery */
};

static void
take_result(struct folder *f, struct hinted_msg *m, const struct bytes *data,
            struct mem_pool *pool, struct seen_results *seen)
{
    struct claimed_file *c;
    struct result r;
    struct err e;

    /* An invalid result is found by the next query. */
    if (codec_decode(CODEC_RESULT, data->data, data->len, pool, &r, &e) < 0 ||
        !r.final)
        return;
    c = claimed_file_find(f, r.task);
    if (!c)
        seen->unknown = true;
    else if (result_hint_has(c->hints, m->msg->seq))
        seen->repeated = true;
    else
        add_hint(c, m);
}

void
outcomes_on_result(void *folder, struct bus_msg *msg)
{
    struct folder *f = folder;
    struct mem_pool *pool = mem_pool_new();
    struct hinted_msg *m = result_msg_new(msg);
    struct seen_results seen = {0};
    struct codec_multi results;
    struct bytes data;
    struct err e;

    if (codec_multi_open(&results, CODEC_RESULTS, msg->data, msg->len, &e) ==
        0) {
        while (codec_multi_next(&results, &data)) {
            mem_pool_reset(pool);
            take_result(f, m, &data, pool, &seen);
        }
        codec_multi_close(&results);
    }
    if (seen.repeated) {
        m->dropped = true; /* the earlier delivery is settled instead */
    } else if (seen.unknown && msg->delivered < UNKNOWN_DELIVERIES_MAX) {
        /* Its file is not ours, or not yet, or no longer: a file that no sweep
         * finds has been written back. */
        m->retry_ms = UNKNOWN_MS;
        for (size_t i = 0; i < f->n; i++)
            watched_folder_sweep(f->v[i]);
    } else if (seen.unknown) {
        log_info("folder.unknown_result",
                 "seq=%" PRIu64 " text=\"a result of no file here\"", msg->seq);
    }
    result_msg_release(m);
    mem_pool_free(pool);
    folder_work(f);
}

/* --- queries -------------------------------------------------------------- */

/* Each further query comes later; soon, if there is a hint. */
static void
query_later(struct claimed_file *c)
{
    int64_t most = c->hints ? SOON_MAX_MS : REPAIR_MAX_MS;
    int64_t least = c->hints ? SOON_MS : c->f->conf->repair_ms;

    c->delay_ms = backoff_next(c->delay_ms, least, most);
    claimed_file_to(c, c->hints ? CLAIMED_SOON : CLAIMED_OPEN,
                    loop_now_ms() + c->delay_ms);
}

/* The reaper does not know the task: it may not have read it yet, or it was
 * lost on the way; then publishing it again helps, and else does no harm. */
static void
on_unknown(struct claimed_file *c)
{
    if (c->loaded) {
        intake_publish(c);
    } else if (c->stored_ms && loop_now_ms() - c->stored_ms < CAUGHT_UP_MS) {
        query_later(c);
    } else {
        log_warn("folder.resubmit",
                 "task=%s text=\"unknown to the reaper; submitted again\"",
                 c->id);
        c->fresh = true;
        claimed_file_to(c, CLAIMED_READ, loop_now_ms());
    }
}

/* The next task to query; NULL: all are finished. */
static struct file_task *
next_open_task(struct claimed_file *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (!c->tasks[i].json)
            return &c->tasks[i];
    return NULL;
}

static void
on_finished(struct file_task *t, struct task_outcome *o)
{
    struct claimed_file *c = t->claim;

    t->json = json_incref(o->json);
    if (o->cut)
        str_addf(&c->output,
                 "[the end of the output; all of it: shunt logs %s]\n", t->id);
    if (c->output.len + o->output.len <= OUTPUT_MAX)
        str_add(&c->output, str_text(&o->output), o->output.len);
    if (!next_open_task(c)) {
        claimed_file_unload(c);
        claimed_file_to(c, CLAIMED_WRITE_BACK, loop_now_ms());
    } else {
        claimed_file_to(c, CLAIMED_SOON, loop_now_ms()); /* the next task */
    }
}

static void
on_answer(void *ctx, const struct bus_note *note, const struct err *failed)
{
    struct file_task *t = ctx;
    struct claimed_file *c = t->claim;
    struct folder *f = c->f;
    struct task_outcome o = {0};
    struct err e = {0};

    f->queries--;
    if (failed) {
        log_debug("folder.query", "task=%s error=\"%s\"", t->id,
                  LOG_TEXT(failed->msg));
        query_later(c);
    } else if (outcome_read(note->data, note->len, &o, &e) < 0) {
        if (e.code == ERR_NOT_FOUND)
            on_unknown(c);
        else
            query_later(c);
    } else {
        t->stored = true;
        if (o.terminal) {
            on_finished(t, &o);
        } else {
            if (!c->stored_ms)
                c->stored_ms = loop_now_ms();
            if (o.delegated)
                sidecar_on_delegated(c, o.delegated);
            claimed_file_unload(c);
            query_later(c);
        }
    }
    outcome_release(&o);
    folder_work(f);
}

static void
send_query(struct claimed_file *c)
{
    struct file_task *t = next_open_task(c);
    char subject[SUBJECT_SIZE], query[TASK_ID_SIZE + 32];
    int n;

    n = snprintf(query, sizeof query, "{\"task\": \"%s\"}", t->id);
    claimed_file_to(c, CLAIMED_ASKED, 0);
    c->f->queries++;
    bus_request(c->f->bus, subject_ask(subject, "show"), query, (size_t)n,
                QUERY_MS, on_answer, t);
}

/* --- writing back --------------------------------------------------------- */

struct write_back_job {
    struct folder *f;
    struct claimed_file *claims[WRITE_BACK_BATCH];
    struct write_back files[WRITE_BACK_BATCH];
    size_t n;
};

static void
write_all(void *ctx)
{
    struct write_back_job *j = ctx;
    struct write_back *list[WRITE_BACK_BATCH];

    for (size_t i = 0; i < j->n; i++)
        list[i] = &j->files[i];
    write_back_files(list, j->n);
}

static void
on_written(struct claimed_file *c, struct write_back *b)
{
    if (b->gone || b->ok) {
        if (b->ok)
            log_info("folder.written_back", "task=%s file=\"%s\"", c->id,
                     LOG_TEXT(b->at));
        if (b->ok && b->changed)
            log_warn("folder.changed",
                     "task=%s file=\"%s\" text=\"changed after it was "
                     "claimed: it ran as it was then\"",
                     c->id, LOG_TEXT(b->at));
        FAILPOINT("folder.after_move");
        claimed_file_free(c, true);
        return;
    }
    log_error("folder.write_back", "task=%s error=\"%s\" text=\"retried\"",
              c->id, LOG_TEXT(b->e.msg));
    c->delay_ms = backoff_next(c->delay_ms, RETRY_MIN_MS, RETRY_MAX_MS);
    claimed_file_to(c, CLAIMED_WRITE_BACK, loop_now_ms() + c->delay_ms);
}

static void
on_all_written(void *ctx)
{
    struct write_back_job *j = ctx;
    struct folder *f = j->f;
    bool wanted = folder_job_done(f);

    f->write_backs--;
    for (size_t i = 0; i < j->n; i++) {
        if (wanted)
            on_written(j->claims[i], &j->files[i]);
        write_back_release(&j->files[i]);
    }
    mem_free(j);
    if (wanted)
        folder_work(f);
}

static void
add(struct write_back_job *j, struct claimed_file *c)
{
    struct write_back *b = &j->files[j->n];

    b->layout = &c->w->layout;
    claimed_file_claim(c, &b->claim);
    (void)str_copy(b->path, sizeof b->path, c->path);
    b->stamp = c->stamp;
    if (c->bad) {
        (void)str_copy(b->why, sizeof b->why, c->why);
    } else {
        json_t **list = mem_alloc(c->n * sizeof *list);

        for (size_t i = 0; i < c->n; i++)
            list[i] = json_deep_copy(c->tasks[i].json);
        b->result = outcome_of_file(list, c->n, c->id);
        mem_free(list);
        str_add(&b->output, str_text(&c->output), c->output.len);
    }
    j->claims[j->n++] = c;
    claimed_file_to(c, CLAIMED_WRITING, 0);
}

static void
start_write_back(struct write_back_job *j)
{
    j->f->write_backs++;
    folder_job(j->f, write_all, on_all_written, j);
}

static void
write_back_due(struct folder *f, int64_t now_ms)
{
    struct claimed_file *c = TAILQ_FIRST(&f->phases[CLAIMED_WRITE_BACK]), *next;
    struct write_back_job *j = NULL;

    for (; c && f->write_backs < WRITE_BACK_JOBS; c = next) {
        next = TAILQ_NEXT(c, in_phase);
        if (c->due_ms > now_ms)
            continue;
        if (!j)
            j = MEM_NEW(struct write_back_job);
        j->f = f;
        add(j, c);
        if (j->n == WRITE_BACK_BATCH) {
            start_write_back(j);
            j = NULL;
        }
    }
    if (j)
        start_write_back(j);
}

static void
query_due(struct folder *f, enum claimed_phase phase, int64_t now_ms)
{
    struct claimed_file *c = TAILQ_FIRST(&f->phases[phase]), *next;

    for (; c && f->queries < QUERIES_MAX; c = next) {
        next = TAILQ_NEXT(c, in_phase);
        result_hint_expire(&c->hints, now_ms);
        if (c->due_ms <= now_ms)
            send_query(c);
    }
}

void
outcomes_work(struct folder *f, int64_t now_ms)
{
    if (!f->draining) {
        query_due(f, CLAIMED_SOON, now_ms);
        /* There may be very many of these, none urgent. */
        if (now_ms - f->open_seen_ms >= OPEN_VISIT_MS) {
            f->open_seen_ms = now_ms;
            query_due(f, CLAIMED_OPEN, now_ms);
        }
    }
    write_back_due(f, now_ms);
}
