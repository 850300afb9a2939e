/*
 * Publishes heartbeats as workers do; they are not stored, and whoever misses
 * one waits for the next.
 */
#include "gateways/folder/folder_heartbeat.h"

#include "gateways/folder/folder_private.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/version.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BEAT_MS = 10000,
    SOON_MS = 200,        /* changes come in groups */
    OPEN_SAID_MS = 30000, /* a file is open for so long: somebody should know */
    WARNINGS_MOST = 4,    /* of a folder; files that wait have much in common */
};

struct folder_heartbeat {
    char name[TASK_ID_SIZE], host[256];
    int64_t started_at_ms;
    struct loop_timer *timer;
    bool soon;
    struct mem_pool *pool;
};

/* Text of the disk in a message: valid, and without controls. */
static const char *
clean(struct mem_pool *pool, const char *text)
{
    struct str s = {0};
    const char *out;

    str_add_printable(&s, text, strlen(text));
    out = mem_pool_strdup(pool, str_text(&s));
    str_free(&s);
    return out;
}

static const char *
path_of(struct mem_pool *pool, const char *dir, const char *name)
{
    return clean(pool, mem_pool_printf(pool, "%s/%s", dir, name));
}

/* Why one file waits, if a person could do something about it; else NULL. */
static const char *
warning_of(struct watched_folder *w, const struct waiting_file *v,
           struct mem_pool *pool, int64_t now_ms)
{
    const char *path = path_of(pool, w->layout.waiting, v->name);

    switch (v->left) {
    case LEFT_OPEN:
        if (now_ms - v->since_ms < OPEN_SAID_MS)
            return NULL;
        return mem_pool_printf(pool,
                               "%s waits: a process has had it open for "
                               "writing for %d s without writing; 'fuser -v' "
                               "names it",
                               path, (int)((now_ms - v->since_ms) / 1000));
    case LEFT_NAME:
        return mem_pool_printf(
            pool, "%s waits: a file of that name runs, or was left, in %s",
            path, clean(pool, w->layout.running));
    case LEFT_DENIED:
        return mem_pool_printf(pool, "%s waits: %s", path,
                               clean(pool, w->denied));
    case LEFT_NOT:
    case LEFT_TAKEN:
    case LEFT_SERIAL:
    case LEFT_REPORT:
    case LEFT_YOUNG:
        break;
    }
    return NULL;
}

static const char *
note_of(struct watched_folder *w, const struct waiting_file *v,
        struct mem_pool *pool)
{
    char file[FOLDER_LAYOUT_FILE_SIZE];
    const char *dir;

    if (v->left == LEFT_OPEN)
        return mem_pool_printf(pool, "%s is open for writing",
                               clean(pool, v->name));
    if (v->left == LEFT_SERIAL &&
        serial_busy(w->f->serial, &v->workdirs, file, sizeof file, &dir))
        return mem_pool_printf(pool, "%s waits for %s in %s",
                               clean(pool, v->name), clean(pool, file),
                               clean(pool, dir));
    return "";
}

static void
describe(struct watched_folder *w, struct folder_state *out,
         struct mem_pool *pool, int64_t now_ms)
{
    const char **warnings =
        mem_pool_alloc(pool, (WARNINGS_MOST + 1) * sizeof *warnings);

    *out = (struct folder_state){.path = clean(pool, w->layout.waiting),
                                 .note = "",
                                 .warnings = warnings};
    for (size_t i = 0; i < w->scan.n; i++) {
        const struct waiting_file *v = &w->scan.v[i];
        const char *why;

        if (v->left == LEFT_TAKEN || v->left == LEFT_REPORT)
            continue;
        out->waiting++;
        if (!*out->note)
            out->note = note_of(w, v, pool);
        if (out->n_warnings < WARNINGS_MOST &&
            (why = warning_of(w, v, pool, now_ms)))
            warnings[out->n_warnings++] = why;
    }
    if (w->foreign)
        warnings[out->n_warnings++] = clean(pool, w->foreign_why);
    if (*w->problem) {
        out->problems = mem_pool_alloc(pool, sizeof *out->problems);
        out->problems[0] = clean(pool, w->problem);
        out->n_problems = 1;
    }
}

static void
describe_fault(const struct folder_fault *fault, struct folder_state *out,
               struct mem_pool *pool)
{
    *out = (struct folder_state){.path = clean(pool, fault->line), .note = ""};
    out->problems = mem_pool_alloc(pool, sizeof *out->problems);
    out->problems[0] = clean(pool, fault->why);
    out->n_problems = 1;
}

static void
count_running(struct folder *f, struct folder_state *states)
{
    const struct claimed_file *c;

    for (size_t i = 0; i < CLAIMED_PHASES; i++)
        TAILQ_FOREACH (c, &f->phases[i], in_phase)
            states[c->w->index].running += c->path != NULL;
}

static void
beat(struct folder *f, bool stopped)
{
    struct folder_heartbeat *s = f->heartbeat;
    char subject[SUBJECT_SIZE];
    struct str data = {0};
    struct heartbeat h;

    mem_pool_reset(s->pool);
    codec_init(CODEC_HEARTBEAT, &h);
    h.worker = s->name;
    h.backend = HEARTBEAT_FOLDER;
    h.sent_at_ms = str_wall_ms();
    h.started_at_ms = s->started_at_ms;
    h.version = shunt_version;
    h.host = s->host;
    h.pid = (int32_t)getpid();
    h.draining = f->draining;
    h.stopped = stopped;
    h.n_folders = f->n + f->n_faults;
    h.folders = mem_pool_alloc(s->pool, h.n_folders * sizeof *h.folders);
    for (size_t i = 0; i < f->n; i++)
        describe(f->v[i], &h.folders[i], s->pool, loop_now_ms());
    for (size_t i = 0; i < f->n_faults; i++)
        describe_fault(&f->faults[i], &h.folders[f->n + i], s->pool);
    count_running(f, h.folders);
    codec_encode(CODEC_HEARTBEAT, &h, &data);
    bus_publish_core(f->bus, subject_heartbeat(subject, h.backend, h.worker),
                     data.data, data.len);
    str_free(&data);
}

static void
on_timer(void *ctx)
{
    struct folder *f = ctx;

    f->heartbeat->soon = false;
    loop_timer_again(f->heartbeat->timer, BEAT_MS, 0);
    beat(f, false);
}

void
folder_heartbeat_soon(struct folder *f)
{
    struct folder_heartbeat *s = f->heartbeat;

    if (s->soon || f->closing)
        return;
    s->soon = true;
    loop_timer_again(s->timer, SOON_MS, 0);
}

void
folder_heartbeat_open(struct folder *f)
{
    struct folder_heartbeat *s = MEM_NEW(struct folder_heartbeat);
    char name[sizeof s->host + 16];

    if (gethostname(s->host, sizeof s->host - 1) < 0)
        s->host[0] = '\0';
    (void)snprintf(name, sizeof name, "%.20s-%d", s->host, (int)getpid());
    subject_token_from(name, "gateway", s->name);
    s->started_at_ms = str_wall_ms();
    s->pool = mem_pool_new();
    s->timer = loop_timer_start(f->loop, SOON_MS, 0, on_timer, f);
    f->heartbeat = s;
}

void
folder_heartbeat_close(struct folder *f)
{
    struct folder_heartbeat *s = f->heartbeat;

    if (!s)
        return;
    beat(f, true);
    loop_timer_stop(s->timer);
    mem_pool_free(s->pool);
    mem_free(s);
    f->heartbeat = NULL;
}
