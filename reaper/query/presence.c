/*
 * Remembers workers in an array with their last heartbeat, and tasks in a hash
 * table by id. A heartbeat that lists all running tasks of a worker also
 * removes those it no longer lists.
 */
#include "reaper/query/presence.h"

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    TASK_MS = 45000, /* after a start that no heartbeat confirms */
};

struct known_worker {
    char name[TASK_ID_SIZE], backend[TASK_ID_SIZE];
    struct str message; /* the heartbeat as it came */
    int64_t seen_ms;
    /* Another of its name: one that began earlier than this one and spoke after
     * it had begun. */
    char other_host[64];
    int64_t other_ms; /* when it was last heard; 0: never */
};

struct presence {
    struct bus_sub *heartbeats, *starts;
    struct mem_pool *pool;
    struct known_worker *workers;
    size_t n_workers, cap_workers;
    struct hash_table tasks; /* by id */
    int64_t room_ms;         /* when room was last made */
};

static void
task_free(struct presence *p, struct presence_task *t)
{
    hash_table_remove(&p->tasks, &t->link);
    mem_free(t->remote);
    mem_free(t);
}

void
presence_task_ended(struct presence *p, const char *id)
{
    struct presence_task *t = hash_table_find(&p->tasks, id);

    if (t)
        task_free(p, t);
}

/* backend NULL: of any. */
static struct known_worker *
find_worker(const struct presence *p, const char *backend, const char *name)
{
    for (size_t i = 0; i < p->n_workers; i++)
        if (strcmp(p->workers[i].name, name) == 0 &&
            (!backend || strcmp(p->workers[i].backend, backend) == 0))
            return &p->workers[i];
    return NULL;
}

/* Neither the task nor its worker was heard for long. */
static bool
is_silent(const struct presence *p, const struct presence_task *t,
          int64_t now_ms)
{
    const struct known_worker *w;

    if (now_ms - t->seen_ms < TASK_MS)
        return false;
    w = find_worker(p, t->backend, t->worker);
    return !w || now_ms - w->seen_ms >= PRESENCE_MS;
}

const struct presence_task *
presence_find(const struct presence *p, const char *id)
{
    const struct presence_task *t = hash_table_find(&p->tasks, id);

    return t && !is_silent(p, t, loop_now_ms()) ? t : NULL;
}

/* Forgets tasks that are silent for more than kept_ms. With full given also
 * those that this worker's full list of now_ms leaves out. */
static void
sweep(struct presence *p, const struct known_worker *full, int64_t kept_ms,
      int64_t now_ms)
{
    struct presence_task *t, *next;

    for (t = hash_table_next(&p->tasks, NULL); t; t = next) {
        bool left_out = full && t->seen_ms != now_ms &&
                        strcmp(t->worker, full->name) == 0 &&
                        strcmp(t->backend, full->backend) == 0;

        next = hash_table_next(&p->tasks, t);
        if (left_out ||
            (now_ms - t->seen_ms >= kept_ms && is_silent(p, t, now_ms)))
            task_free(p, t);
    }
}

/* Forgets silent tasks in favour of running ones. At most once a second: the
 * table may be full of running tasks. */
static void
make_room(struct presence *p, int64_t now_ms)
{
    if (now_ms - p->room_ms < 1000)
        return;
    p->room_ms = now_ms;
    sweep(p, NULL, 0, now_ms);
}

static void
task_seen(struct presence *p, const struct running_task *r, const char *backend,
          const char *worker, int64_t now_ms)
{
    struct presence_task *t = hash_table_find(&p->tasks, r->task);

    if (!t) {
        if (p->tasks.n >= PRESENCE_TASKS_MAX)
            make_room(p, now_ms);
        if (p->tasks.n >= PRESENCE_TASKS_MAX)
            return;
        t = MEM_NEW(struct presence_task);
        (void)str_copy(t->id, sizeof t->id, r->task);
        hash_table_add(&p->tasks, &t->link, t->id);
    } else if (r->attempt < t->attempt) {
        return; /* of an earlier attempt */
    }
    /* Within an attempt a note is replaced but never removed. */
    if (strcmp(t->remote ? t->remote : "", r->remote) != 0 &&
        (*r->remote || r->attempt != t->attempt)) {
        mem_free(t->remote);
        t->remote = *r->remote ? mem_strdup(r->remote) : NULL;
    }
    t->attempt = r->attempt;
    t->started_at_ms = r->started_at_ms;
    t->seen_ms = now_ms;
    (void)str_copy(t->worker, sizeof t->worker, worker);
    (void)str_copy(t->backend, sizeof t->backend, backend);
}

void
presence_on_started(struct presence *p, const struct claim *c,
                    const char *backend, int64_t now_ms)
{
    const struct running_task r = {.task = c->task,
                                   .attempt = c->attempt,
                                   .started_at_ms = c->started_at_ms,
                                   .remote = c->remote};

    task_seen(p, &r, backend, c->worker, now_ms);
}

static void
on_started(void *ctx, const struct bus_note *note)
{
    const struct known_worker *w;
    struct presence *p = ctx;
    struct claim c;
    struct err e;

    mem_pool_reset(p->pool);
    if (codec_decode(CODEC_CLAIM, note->data, note->len, p->pool, &c, &e) < 0)
        return;
    w = find_worker(p, NULL, c.worker); /* a Claim does not name the backend */
    presence_on_started(p, &c, w ? w->backend : "", loop_now_ms());
}

/* A place for one more: that of a silent worker, or a new one. */
static struct known_worker *
new_worker(struct presence *p, int64_t now_ms)
{
    bool full = p->n_workers == PRESENCE_WORKERS_MAX;

    /* One that fell silent is shown for a day, while there is room. */
    for (size_t i = 0; i < p->n_workers; i++) {
        struct known_worker *w = &p->workers[i];

        if (now_ms - w->seen_ms < (full ? PRESENCE_MS : PRESENCE_SILENT_MS))
            continue;
        str_reset(&w->message);
        w->other_ms = 0;
        return w;
    }
    if (full)
        return NULL;
    p->workers =
        mem_grow(p->workers, p->n_workers, &p->cap_workers, sizeof *p->workers);
    p->workers[p->n_workers] = (struct known_worker){0};
    return &p->workers[p->n_workers++];
}

/* Of two that run under one name the older speaks after the newer; one that was
 * restarted does not. */
static void
note_other(struct known_worker *w, const struct heartbeat *h, int64_t now_ms)
{
    struct mem_pool *pool;
    struct heartbeat last;
    struct err e;

    if (w->message.len == 0)
        return;
    pool = mem_pool_new();
    if (codec_decode(CODEC_HEARTBEAT, str_text(&w->message), w->message.len,
                     pool, &last, &e) == 0 &&
        h->started_at_ms < last.started_at_ms) {
        (void)str_copy(w->other_host, sizeof w->other_host, last.host);
        w->other_ms = now_ms;
    }
    mem_pool_free(pool);
}

void
presence_on_heartbeat(struct presence *p, const struct heartbeat *h,
                      const void *data, size_t len, int64_t now_ms)
{
    struct known_worker *w = find_worker(p, h->backend, h->worker);
    bool complete;

    if (!w)
        w = new_worker(p, now_ms);
    if (!w)
        return;
    (void)str_copy(w->name, sizeof w->name, h->worker);
    (void)str_copy(w->backend, sizeof w->backend, h->backend);
    note_other(w, h, now_ms);
    w->seen_ms = now_ms;
    str_reset(&w->message);
    str_add(&w->message, data, len);
    for (size_t i = 0; i < h->n_running; i++)
        task_seen(p, &h->running[i], h->backend, h->worker, now_ms);
    /* A complete list also shows which tasks do not run any more. */
    complete = h->stopped || h->running_count <= h->n_running;
    sweep(p, complete ? w : NULL, PRESENCE_SILENT_MS, now_ms);
    if (h->stopped) {
        str_free(&w->message);
        *w = p->workers[--p->n_workers];
    }
}

static void
on_heartbeat(void *ctx, const struct bus_note *note)
{
    struct presence *p = ctx;
    struct heartbeat h;
    struct err e;

    mem_pool_reset(p->pool);
    if (codec_decode(CODEC_HEARTBEAT, note->data, note->len, p->pool, &h, &e) ==
            0 &&
        subject_is_heartbeat_of(note->subject, h.backend, h.worker))
        presence_on_heartbeat(p, &h, note->data, note->len, loop_now_ms());
}

int
presence_open(struct presence **out, struct bus *b, struct err *e)
{
    struct presence *p = MEM_NEW(struct presence);

    p->pool = mem_pool_new();
    if (b && (bus_subscribe(b, SUBJECT_HEARTBEATS, on_heartbeat, p,
                            &p->heartbeats, e) < 0 ||
              bus_subscribe(b, SUBJECT_STARTED_ALL, on_started, p, &p->starts,
                            e) < 0)) {
        presence_close(p);
        return -1;
    }
    *out = p;
    return 0;
}

void
presence_close(struct presence *p)
{
    struct presence_task *t;

    if (!p)
        return;
    bus_unsubscribe(p->heartbeats);
    bus_unsubscribe(p->starts);
    while ((t = hash_table_next(&p->tasks, NULL)))
        task_free(p, t);
    hash_table_free(&p->tasks);
    for (size_t i = 0; i < p->n_workers; i++)
        str_free(&p->workers[i].message);
    mem_free(p->workers);
    mem_pool_free(p->pool);
    mem_free(p);
}

/* Whether path, in which "." and empty names mean nothing, is below folder. */
static bool
is_below(const char *path, const char *folder)
{
    for (;;) {
        size_t n, m;

        while (*path == '/' || (*path == '.' && (path[1] == '/' || !path[1])))
            path++;
        while (*folder == '/')
            folder++;
        if (!*folder)
            return *path != '\0';
        n = strcspn(path, "/");
        m = strcspn(folder, "/");
        /* As file systems do that take A for a. */
        if (n != m || strncasecmp(path, folder, n) != 0)
            return false;
        path += n;
        folder += m;
    }
}

bool
presence_takes(const struct presence *p, const char *path)
{
    int64_t now_ms = loop_now_ms();

    for (size_t i = 0; i < p->n_workers; i++) {
        const struct known_worker *w = &p->workers[i];
        struct heartbeat h;
        struct err e;

        if (strcmp(w->backend, HEARTBEAT_FOLDER) != 0 ||
            now_ms - w->seen_ms >= PRESENCE_MS)
            continue;
        mem_pool_reset(p->pool);
        if (codec_decode(CODEC_HEARTBEAT, str_text(&w->message), w->message.len,
                         p->pool, &h, &e) < 0)
            continue;
        for (size_t j = 0; j < h.n_folders; j++)
            if (is_below(path, h.folders[j].path))
                return true;
    }
    return false;
}

void
presence_each_task(const struct presence *p, bool silent,
                   void (*fn)(void *ctx, const struct presence_task *t),
                   void *ctx)
{
    const struct presence_task *t = NULL;
    int64_t now_ms = loop_now_ms();

    while ((t = hash_table_next(&p->tasks, t)))
        if (is_silent(p, t, now_ms) == silent)
            fn(ctx, t);
}

void
presence_each_worker(const struct presence *p,
                     void (*fn)(void *ctx, const struct heartbeat *h,
                                int64_t age_ms),
                     void *ctx)
{
    int64_t now_ms = loop_now_ms();

    for (size_t i = 0; i < p->n_workers; i++) {
        const struct known_worker *w = &p->workers[i];
        struct heartbeat h;
        struct err e;

        mem_pool_reset(p->pool);
        if (now_ms - w->seen_ms < PRESENCE_MS &&
            codec_decode(CODEC_HEARTBEAT, str_text(&w->message), w->message.len,
                         p->pool, &h, &e) == 0)
            fn(ctx, &h, now_ms - w->seen_ms);
    }
}

void
presence_each_fault(const struct presence *p,
                    void (*fn)(void *ctx, const char *name, const char *text),
                    void *ctx)
{
    int64_t now_ms = loop_now_ms();

    for (size_t i = 0; i < p->n_workers; i++) {
        const struct known_worker *w = &p->workers[i];
        int64_t silent_ms = now_ms - w->seen_ms;
        char text[320], time[32];

        if (strcmp(w->backend, HEARTBEAT_FOLDER) == 0)
            continue;
        if (w->other_ms && now_ms - w->other_ms < PRESENCE_MS) {
            (void)snprintf(text, sizeof text,
                           "two workers are called %s.%s, one of them on host "
                           "%s: give each a worker.name of its own",
                           w->backend, w->name, LOG_TEXT(w->other_host));
            fn(ctx, "worker_twice", text);
        }
        if (silent_ms < PRESENCE_MS || silent_ms >= PRESENCE_SILENT_MS)
            continue;
        (void)snprintf(
            text, sizeof text,
            "worker %s.%s has been silent for %s and did not say that it "
            "stops: it ended, or is cut off",
            w->backend, w->name,
            str_duration((uint64_t)silent_ms, time, sizeof time));
        fn(ctx, "worker_lost", text);
    }
}
