#include "gateways/folder/folder_private.h"

#include "gateways/folder/files.h"
#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <inttypes.h>
#include <string.h>

enum {
    BUSY_MS = 1000,   /* until a name may be free */
    REFUSED_MS = 5000 /* until the disk may work again */
};

/* Files of one folder on their way to another thread and back. */
struct load_job {
    struct folder *f;
    const struct folder_layout *place;
    struct claimed_file *claims[TAKE_BATCH];
    struct claim_file takes[TAKE_BATCH];
    size_t n;
    bool claims_any;
    struct err e;
    int synced;
};

/* --- publishing ----------------------------------------------------------- */

static void
be_open(struct claimed_file *c)
{
    claimed_file_unload(c);
    c->stored_ms = loop_now_ms();
    /* Its result may have been faster than the word that it is stored. */
    c->delay_ms = c->hints ? 0 : c->f->conf->repair_ms;
    claimed_file_to(c, c->hints ? PHASE_SOON : PHASE_OPEN,
                    c->stored_ms + c->delay_ms);
    log_info("folder.submitted", "task=%s file=\"%s/%s\" tasks=%zu", c->id,
             c->w->place.path, LOG_TEXT(c->name), c->n);
}

static void
part_stored(struct file_task *p, const struct err *e)
{
    struct claimed_file *c = p->claim;

    FAILPOINT("folder.after_pub");
    if (e && !c->bad) {
        /* Only what trying again cannot help comes here: too large. */
        c->bad = true;
        (void)str_copy(c->why, sizeof c->why, e->msg);
    }
    p->stored = true;
    if (--c->waits)
        return;
    if (c->bad) {
        claimed_file_unload(c);
        claimed_file_to(c, PHASE_CARRY, 0);
    } else {
        be_open(c);
    }
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct file_task *p = ctx, *next;
    struct folder *f = p->claim->f;

    (void)stored; /* a duplicate is as good */
    for (; p; p = next) {
        next = p->next; /* the last part may be forgotten with its claim */
        part_stored(p, e);
    }
    folder_work(f);
}

void
intake_flush(struct folder *f)
{
    struct bus_publication p;

    if (f->bulk.n == 0)
        return;
    p = multi_msg_publication(&f->bulk);
    bus_publish_until(f->bus, &p, on_stored, f->bulk_parts);
    multi_msg_reset(&f->bulk);
    f->bulk_parts = NULL;
}

static void
publish_part(struct folder *f, struct file_task *p)
{
    if (!multi_msg_fits(&f->bulk, p->data.len))
        intake_flush(f);
    multi_msg_add(&f->bulk, p->id, p->data.data, p->data.len);
    p->next = f->bulk_parts;
    f->bulk_parts = p;
}

void
intake_publish(struct claimed_file *c)
{
    claimed_file_to(c, PHASE_PUBLISH, 0);
    for (size_t i = 0; i < c->n; i++) {
        if (c->parts[i].stored)
            continue;
        c->waits++;
        publish_part(c->f, &c->parts[i]);
    }
    if (c->waits == 0)
        be_open(c);
}

/* --- what a thread has read ------------------------------------------------
 */

static void
say_error(const struct claimed_file *c, const char *what, const char *why)
{
    log_warn(what, "task=%s file=\"%s/%s\" error=\"%s\"", c->id,
             c->w->place.path, LOG_TEXT(c->name), LOG_TEXT(why));
}

static void
take_back(struct claimed_file *c, struct claim_file *t)
{
    int64_t now = loop_now_ms();

    if (t->looks.ino != c->looks.ino || t->looks.size != c->looks.size ||
        t->looks.changed_ns != c->looks.changed_ns)
        c->changed_ms = now;
    c->looks = t->looks;
    switch (t->state) {
    case CLAIM_FILE_READY:
        c->waiting = false;
        if (t->marked && c->marked == MARKED_NOT)
            c->marked = MARKED_INTENT;
        claimed_file_fill(c, t);
        if (c->fresh) {
            intake_publish(c);
        } else {
            c->delay_ms = 0;
            claimed_file_to(c, PHASE_SOON,
                            now); /* asks before it says it again */
        }
        break;
    case CLAIM_FILE_YOUNG:
        c->waiting = false;
        claimed_file_to(c, PHASE_READ, now + c->f->conf->settle_ms);
        break;
    case CLAIM_FILE_BUSY:
        c->waiting = false;
        claimed_file_to(c, PHASE_READ, now + BUSY_MS);
        break;
    case CLAIM_FILE_BAD:
        c->waiting = false;
        c->bad = true;
        (void)str_copy(c->why, sizeof c->why, t->why);
        say_error(c, "folder.unreadable", t->why);
        claimed_file_to(c, PHASE_CARRY, now);
        break;
    case CLAIM_FILE_LATER:
        say_error(c, "folder.refused", t->why);
        if (c->waiting) /* still where it was: the next look finds it */
            claimed_file_free(c, true);
        else
            claimed_file_to(c, PHASE_READ, now + REFUSED_MS);
        break;
    case CLAIM_FILE_GONE:
        claimed_file_free(c, true);
        break;
    }
}

static void
take_all(void *ctx)
{
    struct load_job *b = ctx;

    for (size_t i = 0; i < b->n; i++)
        claim_file_read(&b->takes[i]);
    /* The ids are what keeps a power cut from doubling a task. */
    if (b->claims_any)
        b->synced = files_sync(b->place->running, &b->e);
}

static void
on_taken(void *ctx)
{
    struct load_job *b = ctx;
    struct folder *f = b->f;

    f->taking--;
    if (folder_job_done(f)) {
        if (b->synced < 0)
            log_warn("folder.sync", "error=\"%s\"", LOG_TEXT(b->e.msg));
        for (size_t i = 0; i < b->n; i++)
            take_back(b->claims[i], &b->takes[i]);
    }
    for (size_t i = 0; i < b->n; i++)
        claim_file_release(&b->takes[i]);
    mem_free(b);
    if (!f->closing)
        folder_work(f);
}

/* --- what is taken next -----------------------------------------------------
 */

static void
add(struct load_job *b, struct claimed_file *c, int64_t now_ms)
{
    struct claim_file *t = &b->takes[b->n];

    t->place = b->place;
    memcpy(t->id, c->id, sizeof t->id);
    (void)str_copy(t->name, sizeof t->name, c->name);
    t->looks = c->looks;
    t->claim = c->waiting;
    t->patient = now_ms - c->changed_ms < c->f->conf->patience_ms;
    b->claims_any = b->claims_any || t->claim;
    b->claims[b->n++] = c;
    claimed_file_to(c, PHASE_READING, 0);
}

/* Claimed files whose text is wanted, of the folder of the first. */
static void
add_claimed(struct load_job *b, int64_t now_ms)
{
    struct folder *f = b->f;
    struct claimed_file *c = f->rings[PHASE_READ].next, *next;

    for (; c != &f->rings[PHASE_READ] && b->n < TAKE_BATCH; c = next) {
        next = c->next;
        if (c->due_ms > now_ms || (b->place && b->place != &c->w->place))
            continue;
        b->place = &c->w->place;
        add(b, c, now_ms);
    }
}

/* Files that wait, in order of their names. */
static void
add_waiting(struct load_job *b, struct watched_folder *w, int64_t now_ms)
{
    struct folder *f = b->f;
    char id[TASK_ID_SIZE];

    for (; w->next < w->listing.n && b->n < TAKE_BATCH &&
           f->n_claims < (size_t)f->conf->window;
         w->next++) {
        const struct waiting_file *v = &w->listing.v[w->next];
        struct claimed_file *c;

        if (now_ms - v->since_ms < f->conf->settle_ms)
            continue; /* the next look says more */
        task_new_id(id);
        c = claimed_file_new(w, id, v->name, true);
        c->looks = v->looks;
        c->changed_ms = v->since_ms;
        b->place = &w->place;
        add(b, c, now_ms);
    }
    if (w->next == w->listing.n)
        folder_taken(w);
}

static void
start(struct load_job *b)
{
    b->f->taking++;
    folder_job(b->f, take_all, on_taken, b);
}

/* One batch at a time, so that tasks are published in order. */
void
intake_work(struct folder *f, int64_t now_ms)
{
    struct load_job *b;

    if (f->taking || f->draining || f->loaded >= LOADED_MAX ||
        !bus_is_up(f->bus))
        return;
    b = MEM_NEW(struct load_job);
    b->f = f;
    add_claimed(b, now_ms);
    for (size_t i = 0; i < f->n && b->n == 0; i++)
        add_waiting(b, &f->v[i], now_ms);
    if (b->n)
        start(b);
    else
        mem_free(b);
}
