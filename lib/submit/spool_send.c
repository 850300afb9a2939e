/*
 * Sends the records of spool files: packs them into messages, keeps many in
 * flight, sends again what was not confirmed; and drains a folder, file by
 * file, each behind the request to cancel its task, if there is one.
 */
#include "lib/submit/spool.h"

#include "lib/base/failpoint.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/cancels.h"
#include "lib/bus/multi_msg.h"
#include "lib/model/codec.h"
#include "lib/os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    IN_FLIGHT = 64,      /* messages */
    PUBLISH_MS = 5000,   /* until a publish times out */
    RETRY_MS = 200,      /* before a message is sent again */
    PATIENCE_MS = 10000, /* of a drain, without any confirmation */
    DRAIN_FILES = 256,   /* of one drain */
    STALE_S = 24 * 3600, /* age of a temporary file nobody will finish */
    CANCEL_BYTES = 4096, /* of a request */
};

#define CANCEL ".cancel" /* ends the name of a request */

/* A message in flight, of one record or several. */
struct flight {
    struct spool_sender *sender;
    size_t at; /* of its first record */
    size_t n;
};

struct spool_sender {
    struct spool_file *file;
    struct bus *bus;
    struct mem_pool *pool;
    struct loop_timer *timer;
    spool_sent_fn *fn;
    void *ctx;
    int64_t patience_ms, last_ms; /* of the last confirmation */
    size_t at;                    /* next record not yet published */
    size_t stored, duplicates;
    struct multi_msg multi;           /* the message being built */
    size_t retry[IN_FLIGHT], n_retry; /* messages to send again, by at */
    struct flight flights[IN_FLIGHT];
    struct flight *unused[IN_FLIGHT];
    size_t n_unused;
    struct err failure;
    bool failed, finished;
};

static void
finish(struct spool_sender *s)
{
    s->finished = true;
    s->fn(s->ctx, s->failed ? &s->failure : NULL);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct flight *f = ctx;
    struct spool_sender *s = f->sender;

    s->unused[s->n_unused++] = f;
    if (stored) {
        FAILPOINT("submit.after_puback");
        s->stored += f->n;
        s->duplicates += stored->duplicate ? f->n : 0;
        s->last_ms = loop_now_ms();
    } else if (e->code == ERR_UNAVAILABLE || e->code == ERR_TIMEOUT ||
               e->code == ERR_FULL) {
        s->retry[s->n_retry++] = f->at;
        s->failure = *e;
        if (loop_now_ms() - s->last_ms > s->patience_ms)
            s->failed = true;
    } else {
        s->failure = *e;
        s->failed = true;
    }
    /* Waiting until several can be sent costs fewer iterations of the loop. */
    if (s->failed || s->n_retry || s->n_unused >= IN_FLIGHT / 4 ||
        s->stored == spool_count(s->file))
        loop_timer_again(s->timer, s->n_retry && !s->failed ? RETRY_MS : 0, 0);
}

/* Adds the record at *at to the message and advances *at; false if there is
 * none, it does not fit, or it is not a task. */
static bool
add_record(struct spool_sender *s, size_t *at)
{
    struct task t;
    struct err e = {0};
    const uint8_t *data;
    size_t next = *at, len;

    if (!spool_next(s->file, &next, &data, &len) ||
        !multi_msg_fits(&s->multi, len))
        return false;
    mem_pool_reset(s->pool);
    if (codec_decode(CODEC_TASK, data, len, s->pool, &t, &e) < 0 || !t.id[0]) {
        s->failed = true;
        err_set(&s->failure, ERR_INVALID, "%s has an invalid task: %s",
                spool_name(s->file), e.msg);
        return false;
    }
    multi_msg_add(&s->multi, t.id, data, len);
    *at = next;
    return true;
}

/* Publishes the records from at that fit in one message, and returns where the
 * next begin. They are the same records each time, so that the broker sees a
 * message that is sent again as the same one. */
static size_t
publish_from(struct spool_sender *s, size_t at)
{
    struct bus_publication p;
    struct flight *f;
    size_t next = at;

    multi_msg_reset(&s->multi);
    while (add_record(s, &next))
        ;
    if (s->failed || s->multi.n == 0)
        return at;
    f = s->unused[--s->n_unused];
    f->at = at;
    f->n = s->multi.n;
    p = multi_msg_publication(&s->multi);
    bus_publish(s->bus, &p, PUBLISH_MS, on_stored, f);
    return next;
}

/* Publishes while there is room. Finishes when every record is stored, or after
 * a failure when nothing is in flight. */
static void
send_more(void *ctx)
{
    struct spool_sender *s = ctx;
    size_t n = s->n_retry, next;

    if (s->finished)
        return;
    while (n-- && s->n_unused && !s->failed)
        (void)publish_from(s, s->retry[--s->n_retry]);
    while (s->n_unused && !s->n_retry && !s->failed &&
           (next = publish_from(s, s->at)) != s->at)
        s->at = next;
    spool_passed(s->file, s->at);
    if (s->stored == spool_count(s->file) ||
        (s->failed && s->n_unused == IN_FLIGHT))
        finish(s);
}

struct spool_sender *
spool_send(struct spool_file *f, struct bus *b, struct loop *l,
           int64_t patience_ms, spool_sent_fn *fn, void *ctx)
{
    struct spool_sender *s = MEM_NEW(struct spool_sender);
    size_t i;

    s->file = f;
    s->bus = b;
    s->multi.type = CODEC_TASKS;
    s->fn = fn;
    s->ctx = ctx;
    s->pool = mem_pool_new();
    s->patience_ms = patience_ms;
    s->last_ms = loop_now_ms();
    for (i = 0; i < IN_FLIGHT; i++) {
        s->flights[i].sender = s;
        s->unused[s->n_unused++] = &s->flights[i];
    }
    s->timer = loop_timer_start(l, 0, 0, send_more, s);
    return s;
}

size_t
spool_sender_stored(const struct spool_sender *s)
{
    return s->stored;
}

size_t
spool_sender_duplicates(const struct spool_sender *s)
{
    return s->duplicates;
}

void
spool_sender_free(struct spool_sender *s)
{
    size_t i;

    if (!s)
        return;
    if (s->n_unused < IN_FLIGHT)
        for (i = 0; i < IN_FLIGHT; i++)
            bus_forget(s->bus, &s->flights[i]);
    loop_timer_stop(s->timer);
    mem_pool_free(s->pool);
    multi_msg_free(&s->multi);
    mem_free(s);
}

/* --- draining ------------------------------------------------------------ */

struct spool_drain {
    char dir[PATH_MAX - 128];
    struct bus *bus;
    struct loop *loop;
    struct loop_timer *timer;
    spool_report_fn *fn;
    void *ctx;
    char (*names)[96];
    size_t n, i;
    struct spool_file *file;
    struct spool_sender *sender;
    bool ended, sent; /* the sender has called back; with success */
    bool cancelling;  /* a request is on its way */
    struct err failure;
    struct spool_report report;
};

/* Notes a file with that ending. */
static void
note_file(struct spool_drain *d, const char *file, const char *ending)
{
    size_t len = strlen(file), end = strlen(ending);

    if (d->n == DRAIN_FILES || len <= end || len - end >= sizeof *d->names ||
        strcmp(file + len - end, ending) != 0)
        return;
    memcpy(d->names[d->n], file, len - end);
    d->n++;
}

static void
list_files(struct spool_drain *d)
{
    DIR *dir = opendir(d->dir);
    struct dirent *entry;
    struct stat st;
    int64_t now_s = str_wall_ms() / 1000;
    size_t len;

    d->names = mem_zero(DRAIN_FILES, sizeof *d->names);
    while (dir && d->n < DRAIN_FILES && (entry = readdir(dir))) {
        len = strlen(entry->d_name);
        if (len > 4 && !strcmp(entry->d_name + len - 4, ".tmp") &&
            fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
            now_s - st.st_mtime > STALE_S)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        note_file(d, entry->d_name, ".task");
        note_file(d, entry->d_name, CANCEL);
    }
    if (dir)
        (void)closedir(dir);
}

static void
on_sent(void *ctx, const struct err *e)
{
    struct spool_drain *d = ctx;

    d->ended = true;
    d->sent = !e;
    if (e)
        d->failure = *e;
    /* The sender is freed later: it is still on the stack. */
    loop_timer_again(d->timer, 0, 0);
}

/* Removes, sets aside or leaves the file that was being sent. */
static void
close_sent(struct spool_drain *d)
{
    if (d->sent) {
        d->report.files++;
        d->report.tasks += spool_count(d->file);
        spool_remove(d->file);
    } else if (d->failure.code == ERR_INVALID) {
        d->report.corrupt++;
        spool_set_aside(d->file);
    } else {
        d->report.left++;
    }
    spool_sender_free(d->sender);
    spool_close(d->file);
    d->sender = NULL;
    d->file = NULL;
}

static void
path_of_cancel(const struct spool_drain *d, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/%s" CANCEL, d->dir, d->names[d->i]);
}

static void
on_cancel_stored(void *ctx, const struct bus_stored *stored,
                 const struct err *e)
{
    struct spool_drain *d = ctx;
    char path[PATH_MAX];

    d->cancelling = false;
    if (stored) {
        path_of_cancel(d, path);
        (void)unlink(path);
    } else {
        d->failure = *e; /* nothing is sent before it */
        d->report.left += d->n - d->i;
        d->i = d->n;
    }
    loop_timer_again(d->timer, 0, 0);
}

/* Publishes the request to cancel the next task, if there is one; false: there
 * is none. */
static bool
send_cancel(struct spool_drain *d)
{
    struct mem_pool *pool = mem_pool_new();
    struct str data = {0};
    struct control c;
    char path[PATH_MAX];
    struct err bad;

    path_of_cancel(d, path);
    if (file_read(path, CANCEL_BYTES, &data) == 0) {
        if (codec_decode(CODEC_CONTROL, (const uint8_t *)data.data, data.len,
                         pool, &c, &bad) == 0) {
            d->cancelling = true;
            cancels_put(d->bus, &c, on_cancel_stored, d);
        } else {
            (void)unlink(path); /* not by us */
        }
    }
    str_free(&data);
    mem_pool_free(pool);
    return d->cancelling;
}

static void
drain_step(void *ctx)
{
    struct spool_drain *d = ctx;
    struct err e = {0};

    if (d->cancelling)
        return;
    if (d->sender) {
        if (!d->ended)
            return;
        close_sent(d);
        if (!d->sent && d->failure.code != ERR_INVALID) {
            /* The broker is unavailable: the other files would fail too. */
            d->report.left += d->n - d->i;
            d->i = d->n;
        }
    }
    while (d->i < d->n) {
        if (send_cancel(d))
            return;
        if (spool_take(&d->file, d->dir, d->names[d->i++], &e) == 0) {
            d->ended = false;
            d->sender =
                spool_send(d->file, d->bus, d->loop, PATIENCE_MS, on_sent, d);
            return;
        }
        if (e.code == ERR_INVALID)
            d->report.corrupt++;
        else if (e.code != ERR_NOT_FOUND)
            d->report.left++;
    }
    d->fn(d->ctx, &d->report);
}

struct spool_drain *
spool_drain_start(const char *dir, struct bus *b, struct loop *l,
                  spool_report_fn *fn, void *ctx)
{
    struct spool_drain *d = MEM_NEW(struct spool_drain);

    (void)str_copy(d->dir, sizeof d->dir, dir);
    d->bus = b;
    d->loop = l;
    d->fn = fn;
    d->ctx = ctx;
    list_files(d);
    d->timer = loop_timer_start(l, 0, 0, drain_step, d);
    return d;
}

void
spool_drain_free(struct spool_drain *d)
{
    if (!d)
        return;
    bus_forget(d->bus, d);
    spool_sender_free(d->sender);
    spool_close(d->file);
    loop_timer_stop(d->timer);
    mem_free(d->names);
    mem_free(d);
}
