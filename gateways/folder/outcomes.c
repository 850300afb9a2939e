#include "gateways/folder/folder_private.h"

#include "gateways/folder/outcome_text.h"
#include "lib/base/backoff.h"
#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <inttypes.h>
#include <string.h>

enum {
    ASK_MS = 5000,
    SOON_MS = 25, /* from a result to the first question: the ledger reads it
                     at the same time */
    SOON_MAX_MS = 2000,
    OPEN_LOOK_MS = 500,
    REPAIR_MAX_MS = 600000,
    HINT_MS = 15000, /* well within the ack wait */
    HINT_AGAIN_MS = 5000,
    STRANGER_MS = 1000,
    STRANGER_MOST = 20, /* deliveries of a result nobody here knows */
    SETTLED_MS = 60000, /* by then the ledger has what the broker has */
    OUTPUT_MAX = 4 * 1024 * 1024,
};

/* --- results: hints ------------------------------------------------------- */

/* A message of results, kept until none of them is needed any more. */
struct heard {
    struct bus_msg *msg;
    unsigned hints;
    bool dropped;     /* we stop: nothing is said of it */
    int64_t again_ms; /* it is to come again then; 0: it need not */
};

static void
heard_release(struct heard *m)
{
    if (--m->hints)
        return;
    if (m->dropped)
        bus_msg_drop(m->msg);
    else if (m->again_ms)
        bus_msg_retry(m->msg, m->again_ms);
    else
        bus_msg_done(m->msg);
    mem_free(m);
}

static void
hint_free(struct hint **at)
{
    struct hint *h = *at;

    *at = h->next;
    heard_release(h->heard);
    mem_free(h);
}

void
outcomes_forget(struct claimed_file *c, bool settle)
{
    while (c->hints) {
        if (!settle)
            c->hints->heard->dropped = true;
        hint_free(&c->hints);
    }
}

static bool
has_hint(const struct claimed_file *c, uint64_t seq)
{
    for (const struct hint *h = c->hints; h; h = h->next)
        if (h->heard->msg->seq == seq)
            return true;
    return false;
}

/* The ledger is asked soon, and the message is kept until it is carried. */
static void
note(struct claimed_file *c, struct heard *m)
{
    struct hint *h;
    int64_t now = loop_now_ms();

    h = MEM_NEW(struct hint);
    h->heard = m;
    h->since_ms = now;
    h->next = c->hints;
    c->hints = h;
    m->hints++;
    if (c->phase == PHASE_OPEN || c->phase == PHASE_SOON) {
        c->delay_ms = SOON_MS;
        claimed_file_to(c, PHASE_SOON, now + SOON_MS);
    }
}

/* None of ours, not yet, or not any more: what we would not find again in the
 * folder has been carried. */
static void
look_for_strangers(struct folder *f)
{
    for (size_t i = 0; i < f->n; i++)
        folder_sweep(&f->v[i]);
}

/* What became of the results of a message. */
struct tally {
    bool strangers; /* some are of no file here */
    bool known;     /* some were noted from an earlier delivery */
};

static void
take_result(struct folder *f, struct heard *m, const struct bytes *data,
            struct mem_pool *pool, struct tally *t)
{
    struct claimed_file *c;
    struct result r;
    struct err e;

    /* What cannot be read the ledger says. */
    if (codec_decode(CODEC_RESULT, data->data, data->len, pool, &r, &e) < 0 ||
        !r.final)
        return;
    c = claimed_file_find(f, r.task);
    if (!c)
        t->strangers = true;
    else if (has_hint(c, m->msg->seq))
        t->known = true;
    else
        note(c, m);
}

void
outcomes_on_result(void *folder, struct bus_msg *msg)
{
    struct folder *f = folder;
    struct mem_pool *pool = mem_pool_new();
    struct heard *m = MEM_NEW(struct heard);
    struct tally tally = {0};
    struct codec_bulk results;
    struct bytes data;
    struct err e;

    m->msg = msg;
    m->hints = 1; /* our own, until all were looked at */
    if (codec_bulk_open(&results, CODEC_RESULTS, msg->data, msg->len, &e) ==
        0) {
        while (codec_bulk_next(&results, &data)) {
            mem_pool_reset(pool);
            take_result(f, m, &data, pool, &tally);
        }
        codec_bulk_close(&results);
    }
    if (tally.known) {
        m->dropped = true; /* the earlier delivery settles it */
    } else if (tally.strangers && msg->delivered < STRANGER_MOST) {
        m->again_ms = STRANGER_MS;
        look_for_strangers(f);
    } else if (tally.strangers) {
        log_info("folder.stranger",
                 "seq=%" PRIu64 " text=\"a result of no "
                 "file here\"",
                 msg->seq);
    }
    heard_release(m);
    mem_pool_free(pool);
    folder_work(f);
}

/* What waited too long is heard of again. */
static void
let_go_hints(struct claimed_file *c, int64_t now_ms)
{
    for (struct hint **at = &c->hints; *at;) {
        if (now_ms - (*at)->since_ms < HINT_MS) {
            at = &(*at)->next;
            continue;
        }
        (*at)->heard->again_ms = HINT_AGAIN_MS;
        hint_free(at);
    }
}

/* --- the ledger: what is true --------------------------------------------- */

/* The next question comes later each time; soon, if there is a hint. */
static void
ask_later(struct claimed_file *c)
{
    int64_t most = c->hints ? SOON_MAX_MS : REPAIR_MAX_MS;
    int64_t least = c->hints ? SOON_MS : c->f->conf->repair_ms;

    c->delay_ms = backoff_next(c->delay_ms, least, most);
    claimed_file_to(c, c->hints ? PHASE_SOON : PHASE_OPEN,
                    loop_now_ms() + c->delay_ms);
}

/* The broker may have it though the ledger has not read it yet; if it was
 * lost on the way, saying it again is the remedy, and else does no harm. */
static void
unknown(struct claimed_file *c)
{
    if (c->loaded) {
        intake_publish(c);
    } else if (c->stored_ms && loop_now_ms() - c->stored_ms < SETTLED_MS) {
        ask_later(c);
    } else {
        log_warn("folder.again",
                 "task=%s text=\"the ledger does not know it; "
                 "submitted again\"",
                 c->id);
        c->fresh = true;
        claimed_file_to(c, PHASE_READ, loop_now_ms());
    }
}

/* The part to ask about; NULL: all have ended. */
static struct file_task *
open_part(struct claimed_file *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (!c->parts[i].json)
            return &c->parts[i];
    return NULL;
}

static void
ended(struct file_task *p, struct task_outcome *o)
{
    struct claimed_file *c = p->claim;

    p->json = json_incref(o->json);
    if (o->cut)
        str_addf(&c->output,
                 "[the end of the output; all of it: shunt logs "
                 "%s]\n",
                 p->id);
    if (c->output.len + o->output.len <= OUTPUT_MAX)
        str_add(&c->output, str_text(&o->output), o->output.len);
    if (!open_part(c)) {
        claimed_file_unload(c);
        claimed_file_to(c, PHASE_CARRY, loop_now_ms());
    } else {
        claimed_file_to(c, PHASE_SOON, loop_now_ms()); /* the next one */
    }
}

static void
on_answer(void *ctx, const struct bus_note *note, const struct err *failed)
{
    struct file_task *p = ctx;
    struct claimed_file *c = p->claim;
    struct folder *f = c->f;
    struct task_outcome o = {0};
    struct err e = {0};

    f->asking--;
    if (failed) {
        log_debug("folder.ask", "task=%s error=\"%s\"", p->id,
                  LOG_TEXT(failed->msg));
        ask_later(c);
    } else if (outcome_read(note->data, note->len, &o, &e) < 0) {
        if (e.code == ERR_NOT_FOUND)
            unknown(c);
        else
            ask_later(c);
    } else {
        p->stored = true;
        if (o.terminal) {
            ended(p, &o);
        } else {
            if (!c->stored_ms)
                c->stored_ms = loop_now_ms();
            if (o.away)
                sidecar_on_delegated(c, o.away);
            claimed_file_unload(c);
            ask_later(c);
        }
    }
    outcome_release(&o);
    folder_work(f);
}

static void
ask(struct claimed_file *c)
{
    struct file_task *p = open_part(c);
    char subject[SUBJECT_SIZE], question[TASK_ID_SIZE + 32];
    int n;

    n = snprintf(question, sizeof question, "{\"task\": \"%s\"}", p->id);
    claimed_file_to(c, PHASE_ASKED, 0);
    c->f->asking++;
    bus_request(c->f->bus, subject_ask(subject, "show"), question, (size_t)n,
                ASK_MS, on_answer, p);
}

/* --- carrying it back ------------------------------------------------------
 */

struct reload_job {
    struct folder *f;
    struct claimed_file *claims[CARRY_BATCH];
    struct write_back carries[CARRY_BATCH];
    size_t n;
};

static void
carry_all(void *ctx)
{
    struct reload_job *l = ctx;
    struct write_back *list[CARRY_BATCH];

    for (size_t i = 0; i < l->n; i++)
        list[i] = &l->carries[i];
    write_back_files(list, l->n);
}

static void
carried(struct claimed_file *c, struct write_back *k)
{
    if (k->gone || k->ok) {
        if (k->ok)
            log_info("folder.carried", "task=%s file=\"%s\"", c->id,
                     LOG_TEXT(k->at));
        FAILPOINT("folder.after_move");
        claimed_file_free(c, true);
        return;
    }
    log_error("folder.stuck", "task=%s error=\"%s\" text=\"tried again\"",
              c->id, LOG_TEXT(k->e.msg));
    c->delay_ms = backoff_next(c->delay_ms, 1000, SETTLED_MS);
    claimed_file_to(c, PHASE_CARRY, loop_now_ms() + c->delay_ms);
}

static void
on_carried(void *ctx)
{
    struct reload_job *l = ctx;
    struct folder *f = l->f;
    bool wanted = folder_job_done(f);

    f->carrying--;
    for (size_t i = 0; i < l->n; i++) {
        if (wanted)
            carried(l->claims[i], &l->carries[i]);
        write_back_release(&l->carries[i]);
    }
    mem_free(l);
    if (wanted)
        folder_work(f);
}

static void
add(struct reload_job *l, struct claimed_file *c)
{
    struct write_back *k = &l->carries[l->n];

    k->place = &c->w->place;
    memcpy(k->id, c->id, sizeof k->id);
    (void)str_copy(k->name, sizeof k->name, c->name);
    if (c->bad) {
        (void)str_copy(k->why, sizeof k->why, c->why);
    } else {
        json_t **list = mem_alloc(c->n * sizeof *list);

        for (size_t i = 0; i < c->n; i++)
            list[i] = json_deep_copy(c->parts[i].json);
        k->result = outcome_of_file(list, c->n, c->id);
        mem_free(list);
        str_add(&k->output, str_text(&c->output), c->output.len);
    }
    l->claims[l->n++] = c;
    claimed_file_to(c, PHASE_CARRYING, 0);
}

static void
carry(struct folder *f, int64_t now_ms)
{
    struct claimed_file *head = &f->rings[PHASE_CARRY], *c = head->next, *next;
    struct reload_job *l = NULL;

    for (; c != head && f->carrying < CARRY_JOBS; c = next) {
        next = c->next;
        if (c->due_ms > now_ms)
            continue;
        if (!l)
            l = MEM_NEW(struct reload_job);
        l->f = f;
        add(l, c);
        if (l->n == CARRY_BATCH) {
            f->carrying++;
            folder_job(f, carry_all, on_carried, l);
            l = NULL;
        }
    }
    if (l) {
        f->carrying++;
        folder_job(f, carry_all, on_carried, l);
    }
}

static void
ask_due(struct folder *f, enum file_phase phase, int64_t now_ms)
{
    struct claimed_file *head = &f->rings[phase], *c = head->next, *next;

    for (; c != head && f->asking < ASKS_MAX; c = next) {
        next = c->next;
        let_go_hints(c, now_ms);
        if (c->due_ms <= now_ms)
            ask(c);
    }
}

void
outcomes_work(struct folder *f, int64_t now_ms)
{
    if (!f->draining) {
        ask_due(f, PHASE_SOON, now_ms);
        /* There may be very many, and none is in a hurry. */
        if (now_ms - f->open_seen_ms >= OPEN_LOOK_MS) {
            f->open_seen_ms = now_ms;
            ask_due(f, PHASE_OPEN, now_ms);
        }
    }
    carry(f, now_ms);
}
