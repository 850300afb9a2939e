#include "reaper/query/presence.h"

#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <string.h>

enum {
    TASK_MS = 45000, /* a start without a heartbeat that confirms it */
};

struct known_worker {
    char name[TASK_ID_SIZE], backend[TASK_ID_SIZE];
    struct str message; /* the heartbeat as it came */
    int64_t seen_ms;
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
task_free(struct presence *l, struct presence_task *t)
{
    hash_table_remove(&l->tasks, &t->link);
    mem_free(t->remote);
    mem_free(t);
}

void
presence_task_ended(struct presence *l, const char *id)
{
    struct presence_task *t = hash_table_find(&l->tasks, id);

    if (t)
        task_free(l, t);
}

static struct known_worker *
find_worker(const struct presence *l, const char *backend, const char *name)
{
    for (size_t i = 0; i < l->n_workers; i++)
        if (strcmp(l->workers[i].name, name) == 0 &&
            strcmp(l->workers[i].backend, backend) == 0)
            return &l->workers[i];
    return NULL;
}

/* Neither the task nor its worker was heard of for long. */
static bool
is_silent(const struct presence *l, const struct presence_task *t,
          int64_t now_ms)
{
    const struct known_worker *w;

    if (now_ms - t->seen_ms < TASK_MS)
        return false;
    w = find_worker(l, t->backend, t->worker);
    return !w || now_ms - w->seen_ms >= PRESENCE_MS;
}

const struct presence_task *
presence_find(const struct presence *l, const char *id)
{
    const struct presence_task *t = hash_table_find(&l->tasks, id);

    return t && !is_silent(l, t, loop_now_ms()) ? t : NULL;
}

/* Whether the worker's full list of now_ms leaves the task out. */
static bool
is_left_out(const struct presence_task *t, const char *backend,
            const char *name, int64_t now_ms)
{
    return name && strcmp(t->worker, name) == 0 &&
           strcmp(t->backend, backend) == 0 && t->seen_ms != now_ms;
}

/* Forgets tasks that are silent for more than kept_ms. With backend and name
 * given also those of that worker that it did not name at now_ms. */
static void
sweep(struct presence *l, const char *backend, const char *name,
      int64_t kept_ms, int64_t now_ms)
{
    struct presence_task *t, *next;

    for (t = hash_table_next(&l->tasks, NULL); t; t = next) {
        next = hash_table_next(&l->tasks, t);
        if (is_left_out(t, backend, name, now_ms) ||
            (now_ms - t->seen_ms >= kept_ms && is_silent(l, t, now_ms)))
            task_free(l, t);
    }
}

/* What runs is more important than what fell silent. At most once a second:
 * the table may be full of tasks that run. */
static void
make_room(struct presence *l, int64_t now_ms)
{
    if (now_ms - l->room_ms < 1000)
        return;
    l->room_ms = now_ms;
    sweep(l, NULL, NULL, 0, now_ms);
}

static void
task_seen(struct presence *l, const char *id, uint32_t attempt,
          int64_t started_at_ms, const char *remote, const char *backend,
          const char *worker, int64_t now_ms)
{
    struct presence_task *t = hash_table_find(&l->tasks, id);

    if (!t) {
        if (l->tasks.n >= PRESENCE_TASKS_MAX)
            make_room(l, now_ms);
        if (l->tasks.n >= PRESENCE_TASKS_MAX)
            return;
        t = MEM_NEW(struct presence_task);
        (void)str_copy(t->id, sizeof t->id, id);
        hash_table_add(&l->tasks, &t->link, t->id);
    } else if (attempt < t->attempt) {
        return; /* old news */
    }
    /* The same attempt does not forget what it noted. */
    if (strcmp(t->remote ? t->remote : "", remote) != 0 &&
        (*remote || attempt != t->attempt)) {
        mem_free(t->remote);
        t->remote = *remote ? mem_strdup(remote) : NULL;
    }
    t->attempt = attempt;
    t->started_at_ms = started_at_ms;
    t->seen_ms = now_ms;
    (void)str_copy(t->worker, sizeof t->worker, worker);
    (void)str_copy(t->backend, sizeof t->backend, backend);
}

void
presence_on_started(struct presence *l, const struct claim *c,
                    const char *backend, int64_t now_ms)
{
    task_seen(l, c->task, c->attempt, c->started_at_ms, c->remote, backend,
              c->worker, now_ms);
}

/* The backend of a worker that is alive; a Claim does not say. */
static const char *
backend_of(const struct presence *l, const char *worker)
{
    for (size_t i = 0; i < l->n_workers; i++)
        if (strcmp(l->workers[i].name, worker) == 0)
            return l->workers[i].backend;
    return "";
}

static void
on_started(void *ctx, const struct bus_note *note)
{
    struct presence *l = ctx;
    struct claim c;
    struct err e;

    mem_pool_reset(l->pool);
    if (codec_decode(CODEC_CLAIM, note->data, note->len, l->pool, &c, &e) == 0)
        presence_on_started(l, &c, backend_of(l, c.worker), loop_now_ms());
}

/* Room for one more: a place of one that fell silent, or a new one. */
static struct known_worker *
new_worker(struct presence *l, int64_t now_ms)
{
    for (size_t i = 0; i < l->n_workers; i++)
        if (now_ms - l->workers[i].seen_ms >= PRESENCE_MS)
            return &l->workers[i];
    if (l->n_workers == PRESENCE_WORKERS_MAX)
        return NULL;
    l->workers =
        mem_grow(l->workers, l->n_workers, &l->cap_workers, sizeof *l->workers);
    l->workers[l->n_workers] = (struct known_worker){0};
    return &l->workers[l->n_workers++];
}

static void
remove_worker(struct presence *l, struct known_worker *w)
{
    str_free(&w->message);
    *w = l->workers[--l->n_workers];
}

void
presence_on_heartbeat(struct presence *l, const struct heartbeat *h,
                      const void *data, size_t len, int64_t now_ms)
{
    struct known_worker *w = find_worker(l, h->backend, h->worker);

    if (!w)
        w = new_worker(l, now_ms);
    if (!w)
        return;
    (void)str_copy(w->name, sizeof w->name, h->worker);
    (void)str_copy(w->backend, sizeof w->backend, h->backend);
    w->seen_ms = now_ms;
    str_reset(&w->message);
    str_add(&w->message, data, len);
    for (size_t i = 0; i < h->n_running; i++)
        task_seen(l, h->running[i].task, h->running[i].attempt,
                  h->running[i].started_at_ms, h->running[i].remote, h->backend,
                  h->worker, now_ms);
    /* A full list also says what does not run any more. */
    if (h->stopped || h->running_count <= h->n_running)
        sweep(l, h->backend, h->worker, PRESENCE_SILENT_MS, now_ms);
    else
        sweep(l, NULL, NULL, PRESENCE_SILENT_MS, now_ms);
    if (h->stopped)
        remove_worker(l, w);
}

static void
on_heartbeat(void *ctx, const struct bus_note *note)
{
    struct presence *l = ctx;
    struct heartbeat h;
    struct err e;

    mem_pool_reset(l->pool);
    if (codec_decode(CODEC_HEARTBEAT, note->data, note->len, l->pool, &h, &e) ==
        0)
        presence_on_heartbeat(l, &h, note->data, note->len, loop_now_ms());
}

int
presence_open(struct presence **out, struct bus *b, struct err *e)
{
    struct presence *l = MEM_NEW(struct presence);

    l->pool = mem_pool_new();
    if (b && (bus_subscribe(b, SUBJECT_HEARTBEATS, on_heartbeat, l,
                            &l->heartbeats, e) < 0 ||
              bus_subscribe(b, SUBJECT_STARTED_ALL, on_started, l, &l->starts,
                            e) < 0)) {
        presence_close(l);
        return -1;
    }
    *out = l;
    return 0;
}

void
presence_close(struct presence *l)
{
    struct presence_task *t;

    if (!l)
        return;
    bus_unsubscribe(l->heartbeats);
    bus_unsubscribe(l->starts);
    while ((t = hash_table_next(&l->tasks, NULL)))
        task_free(l, t);
    hash_table_free(&l->tasks);
    for (size_t i = 0; i < l->n_workers; i++)
        str_free(&l->workers[i].message);
    mem_free(l->workers);
    mem_pool_free(l->pool);
    mem_free(l);
}

static void
each_task(const struct presence *l, bool silent,
          void (*fn)(void *ctx, const struct presence_task *t), void *ctx)
{
    int64_t now_ms = loop_now_ms();

    const struct presence_task *t = NULL;

    while ((t = hash_table_next(&l->tasks, t)))
        if (is_silent(l, t, now_ms) == silent)
            fn(ctx, t);
}

void
presence_each_task(const struct presence *l,
                   void (*fn)(void *ctx, const struct presence_task *t),
                   void *ctx)
{
    each_task(l, false, fn, ctx);
}

void
presence_each_silent(const struct presence *l,
                     void (*fn)(void *ctx, const struct presence_task *t),
                     void *ctx)
{
    each_task(l, true, fn, ctx);
}

void
presence_each_worker(const struct presence *l,
                     void (*fn)(void *ctx, const struct heartbeat *h,
                                int64_t age_ms),
                     void *ctx)
{
    int64_t now_ms = loop_now_ms();

    for (size_t i = 0; i < l->n_workers; i++) {
        const struct known_worker *w = &l->workers[i];
        struct heartbeat h;
        struct err e;

        mem_pool_reset(l->pool);
        if (now_ms - w->seen_ms < PRESENCE_MS &&
            codec_decode(CODEC_HEARTBEAT, str_text(&w->message), w->message.len,
                         l->pool, &h, &e) == 0)
            fn(ctx, &h, now_ms - w->seen_ms);
    }
}
