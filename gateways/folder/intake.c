/*
 * Claims and reads a batch of files on another thread, then publishes their
 * tasks, several in one message. One batch at a time keeps the files' order.
 */
#include "gateways/folder/intake.h"

#include "gateways/folder/files.h"
#include "gateways/folder/folder_private.h"

#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

#include <string.h>

enum {
    INTAKE_BATCH = 64,   /* files per visit to the disk */
    LOADED_MAX = 1000,   /* files whose tasks' data is in memory */
    NAME_BUSY_MS = 1000, /* until a name is tried again */
    DISK_RETRY_MS = 5000,
    /* A file stays open for long: its writer forgot it, and each look costs. */
    OPEN_LONG_MS = 60000,
    OPEN_RETRY_MS = 5000,
};

/* Files of one folder that another thread claims and reads. */
struct intake_job {
    struct folder *f;
    const struct folder_layout *layout;
    struct claimed_file *claims[INTAKE_BATCH];
    struct claim_file files[INTAKE_BATCH];
    size_t n;
    struct err e;
    int synced;
};

/* --- publishing ----------------------------------------------------------- */

static void
set_open(struct claimed_file *c)
{
    claimed_file_unload(c);
    c->stored_ms = loop_now_ms();
    /* Its result may arrive before the acknowledgement of its message. */
    c->delay_ms = c->hints ? 0 : c->f->conf->repair_ms;
    claimed_file_to(c, c->hints ? CLAIMED_SOON : CLAIMED_OPEN,
                    c->stored_ms + c->delay_ms);
    log_info("folder.submitted", "task=%s file=\"%s/%s\" tasks=%zu", c->id,
             c->w->layout.path, LOG_TEXT(c->name), c->n);
}

static void
task_stored(struct file_task *t, const struct err *e)
{
    struct claimed_file *c = t->claim;

    FAILPOINT("folder.after_pub");
    if (e && !c->bad) {
        /* Only an error that repeating cannot help arrives here: too large. */
        c->bad = true;
        (void)str_copy(c->why, sizeof c->why, e->msg);
    }
    t->stored = true;
    if (--c->pending)
        return;
    if (c->bad) {
        claimed_file_unload(c);
        claimed_file_to(c, CLAIMED_WRITE_BACK, 0);
    } else {
        set_open(c);
    }
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct file_task *t = ctx, *next;
    struct folder *f = t->claim->f;

    (void)stored; /* a duplicate is as good: the message is there */
    for (; t; t = next) {
        next = t->next; /* the last task may be freed with its file */
        task_stored(t, e);
    }
    folder_work(f);
}

void
intake_flush(struct folder *f)
{
    struct bus_publication p;

    if (f->multi.n == 0)
        return;
    p = multi_msg_publication(&f->multi);
    bus_publish_until(f->bus, &p, on_stored, f->multi_tasks);
    multi_msg_reset(&f->multi);
    f->multi_tasks = NULL;
}

static void
publish_task(struct folder *f, struct file_task *t)
{
    if (!multi_msg_fits(&f->multi, t->data.len))
        intake_flush(f);
    multi_msg_add(&f->multi, t->id, t->data.data, t->data.len);
    t->next = f->multi_tasks;
    f->multi_tasks = t;
}

void
intake_publish(struct claimed_file *c)
{
    claimed_file_to(c, CLAIMED_PUBLISH, 0);
    for (size_t i = 0; i < c->n; i++) {
        if (c->tasks[i].stored)
            continue;
        c->pending++;
        publish_task(c->f, &c->tasks[i]);
    }
    if (c->pending == 0)
        set_open(c);
}

/* --- files that were read ------------------------------------------------- */

static void
log_file_error(const struct claimed_file *c, const char *what, const char *why)
{
    log_warn(what, "task=%s file=\"%s/%s\" error=\"%s\"", c->id,
             c->w->layout.path, LOG_TEXT(c->name), LOG_TEXT(why));
}

/* A file that was left where it waits is tried again at due_ms. */
static void
leave(struct claimed_file *c, struct claim_file *t, enum left left,
      int64_t delay_ms)
{
    watched_folder_left(c->w, c->name, t, left, loop_now_ms() + delay_ms);
    claimed_file_free(c, true);
}

/* A file that was not claimed, or is claimed and cannot be read now. */
static void
not_now(struct claimed_file *c, struct claim_file *t, enum left left,
        int64_t delay_ms)
{
    if (c->path)
        claimed_file_to(c, CLAIMED_READ, loop_now_ms() + delay_ms);
    else
        leave(c, t, left, delay_ms);
}

static void
on_file_ready(struct claimed_file *c, struct claim_file *t)
{
    c->w->denied[0] = '\0';
    if (t->sidecar && c->sidecar == SIDECAR_NONE)
        c->sidecar = SIDECAR_INTENT;
    claimed_file_fill(c, t);
    if (t->taken) {
        c->workdirs = t->workdirs;
        t->workdirs = (struct workdirs){0};
    }
    if (c->fresh) {
        intake_publish(c);
    } else {
        c->delay_ms = 0; /* queries before it publishes again */
        claimed_file_to(c, CLAIMED_SOON, loop_now_ms());
    }
}

static void
on_file_read(struct claimed_file *c, struct claim_file *t)
{
    int64_t now = loop_now_ms(), open_ms = now - c->changed_ms;

    if (c->path && !file_stamp_same(&t->stamp, &c->stamp))
        c->changed_ms = now;
    c->stamp = t->stamp;
    if (*t->path && !c->path) {
        c->path = mem_strdup(t->path);
        memcpy(c->digest, t->claim.digest, sizeof c->digest);
    }
    switch (t->state) {
    case CLAIM_FILE_READY:
        on_file_ready(c, t);
        break;
    case CLAIM_FILE_YOUNG:
        not_now(c, t, LEFT_YOUNG, c->f->conf->settle_ms);
        break;
    case CLAIM_FILE_OPEN:
        not_now(c, t, LEFT_OPEN,
                open_ms < OPEN_LONG_MS ? c->f->conf->settle_ms : OPEN_RETRY_MS);
        break;
    case CLAIM_FILE_SERIAL:
        not_now(c, t, LEFT_SERIAL, 0);
        break;
    case CLAIM_FILE_REPORT:
        not_now(c, t, LEFT_REPORT, 0);
        break;
    case CLAIM_FILE_BUSY:
        not_now(c, t, LEFT_NAME, NAME_BUSY_MS);
        break;
    case CLAIM_FILE_BAD:
        c->bad = true;
        (void)str_copy(c->why, sizeof c->why, t->why);
        log_file_error(c, "folder.unreadable", t->why);
        claimed_file_to(c, CLAIMED_WRITE_BACK, now);
        break;
    case CLAIM_FILE_LATER:
        if (c->path)
            log_file_error(c, "folder.refused", t->why);
        not_now(c, t, LEFT_DENIED, DISK_RETRY_MS);
        break;
    case CLAIM_FILE_GONE:
        claimed_file_free(c, true);
        break;
    }
}

static void
read_all(void *ctx)
{
    struct intake_job *j = ctx;
    bool any = false;

    for (size_t i = 0; i < j->n; i++)
        claim_file_read(&j->files[i]);
    /* The ids in the names keep a power cut from doubling a task. */
    for (size_t i = 0; i < j->n && !any; i++)
        any = *j->files[i].path;
    if (any)
        j->synced = files_sync(j->layout->running, &j->e);
}

static void
on_all_read(void *ctx)
{
    struct intake_job *j = ctx;
    struct folder *f = j->f;

    f->intakes--;
    if (folder_job_done(f)) {
        if (j->synced < 0)
            log_warn("folder.sync", "error=\"%s\"", LOG_TEXT(j->e.msg));
        for (size_t i = 0; i < j->n; i++)
            on_file_read(j->claims[i], &j->files[i]);
    }
    for (size_t i = 0; i < j->n; i++)
        claim_file_release(&j->files[i]);
    mem_free(j);
    if (!f->closing)
        folder_work(f);
}

/* --- choosing files ------------------------------------------------------- */

static void
add(struct intake_job *j, struct claimed_file *c, int64_t now_ms)
{
    struct claim_file *t = &j->files[j->n];

    t->layout = j->layout;
    claimed_file_claim(c, &t->claim);
    if (c->path)
        (void)str_copy(t->path, sizeof t->path, c->path);
    t->stamp = c->stamp;
    if (c->w->layout.serial && !c->workdirs.n)
        t->serial = c->f->serial;
    t->settled = now_ms - c->changed_ms >= c->f->conf->settle_ms;
    t->patient = now_ms - c->changed_ms < c->f->conf->patience_ms;
    j->claims[j->n++] = c;
    claimed_file_to(c, CLAIMED_READING, 0);
}

/* Adds claimed files to be read, all of the folder of the first. */
static void
add_claimed(struct intake_job *j, int64_t now_ms)
{
    struct folder *f = j->f;
    struct claimed_file *c = TAILQ_FIRST(&f->phases[CLAIMED_READ]), *next;

    for (; c && j->n < INTAKE_BATCH; c = next) {
        next = TAILQ_NEXT(c, in_phase);
        if (c->due_ms > now_ms || (j->layout && j->layout != &c->w->layout))
            continue;
        j->layout = &c->w->layout;
        add(j, c, now_ms);
    }
}

/* Whether a file may be claimed now. One that was renamed since its last write
 * is complete; of others only time tells. */
static bool
is_due(struct folder *f, const struct waiting_file *v, int64_t now_ms)
{
    switch (v->left) {
    case LEFT_NOT:
        return v->renamed || now_ms - v->since_ms >= f->conf->settle_ms;
    case LEFT_TAKEN:
    case LEFT_REPORT:
        return false;
    case LEFT_SERIAL:
        return !serial_busy(f->serial, &v->workdirs, NULL, 0, NULL);
    case LEFT_YOUNG:
    case LEFT_OPEN:
    case LEFT_NAME:
    case LEFT_DENIED:
        break;
    }
    return now_ms >= v->due_ms;
}

/* Whether it is known in which workdirs the claimed files run: after a start
 * they must be found and read before others may follow them. */
static bool
knows_claimed(const struct folder *f)
{
    const struct claimed_file *c;

    for (size_t i = 0; i < f->n; i++)
        if (f->v[i]->layout.serial && !f->v[i]->swept)
            return false;
    TAILQ_FOREACH (c, &f->phases[CLAIMED_READ], in_phase)
        if (c->path && c->w->layout.serial && !c->fresh)
            return false;
    return true;
}

/* Looks at all files of a scan again, once a workdir was released. */
static void
look_again(struct folder *f)
{
    if (!serial_freed(f->serial))
        return;
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i]->layout.serial)
            f->v[i]->next = 0;
}

/* Adds waiting files in order of their names. */
static void
add_waiting(struct intake_job *j, struct watched_folder *w, int64_t now_ms)
{
    struct folder *f = j->f;

    if (*w->problem || (w->layout.serial && !knows_claimed(f)))
        return;
    for (; w->next < w->scan.n && j->n < INTAKE_BATCH &&
           f->n_claims < (size_t)f->conf->window;
         w->next++) {
        struct waiting_file *v = &w->scan.v[w->next];
        struct folder_claim claim = {0};
        struct claimed_file *c;

        if (!is_due(f, v, now_ms))
            continue; /* the next scan decides */
        v->left = LEFT_TAKEN;
        task_new_id(claim.id);
        (void)str_copy(claim.name, sizeof claim.name, v->name);
        c = claimed_file_new(w, &claim, NULL);
        c->stamp = v->stamp;
        c->changed_ms = v->since_ms;
        j->layout = &w->layout;
        add(j, c, now_ms);
    }
    if (w->next == w->scan.n)
        watched_folder_on_claimed_all(w);
}

/* One batch at a time, so that tasks are published in order. */
void
intake_work(struct folder *f, int64_t now_ms)
{
    struct intake_job *j;

    if (f->intakes || f->draining || f->loaded >= LOADED_MAX ||
        !bus_is_up(f->bus))
        return;
    look_again(f);
    j = MEM_NEW(struct intake_job);
    j->f = f;
    add_claimed(j, now_ms);
    for (size_t i = 0; i < f->n && j->n == 0; i++)
        add_waiting(j, f->v[i], now_ms);
    if (j->n == 0) {
        mem_free(j);
        return;
    }
    f->intakes++;
    folder_job(f, read_all, on_all_read, j);
}
