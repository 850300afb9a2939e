/*
 * Keeps the last heartbeat of each worker in an array and derives the routing
 * facts from them, at most once a second unless a heartbeat arrived: they are
 * asked for with every task.
 */
#include "router/worker_registry.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"

#include <stdio.h>
#include <string.h>

enum {
    REFRESH_MS = 1000,
    NAME_SIZE = 2 * SUBJECT_TOKEN_MAX + 2,
    LANES_MAX = 64, /* of one worker, and of all; further ones are ignored */
};

struct registered_worker {
    uint64_t hash;        /* of name, compared first */
    char name[NAME_SIZE]; /* "backend.worker" */
    int64_t last_seen_ms;
    uint32_t running;
    uint64_t free_bytes; /* memory of its machine; 0: unknown */
    bool draining;       /* accepts no new tasks */
    bool short_runs;
    struct str lanes; /* names, each ended by NUL; an empty one ends all */
};

struct worker_registry {
    struct registered_worker *workers;
    size_t n, cap;
    bool stale; /* facts must be derived anew */
    int64_t refreshed_ms;
    struct routing_facts facts;
    const char *lanes[LANES_MAX]; /* of facts; into lane_names */
    char lane_names[LANES_MAX][NAME_SIZE];
    bool short_runs[LANES_MAX]; /* of lanes: reported by all their workers */
};

struct worker_registry *
worker_registry_new(void)
{
    struct worker_registry *r = MEM_NEW(struct worker_registry);

    r->stale = true;
    return r;
}

void
worker_registry_free(struct worker_registry *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        str_free(&r->workers[i].lanes);
    mem_free(r->workers);
    mem_free(r);
}

size_t
worker_registry_size(const struct worker_registry *r)
{
    return r->n;
}

static struct registered_worker *
find(struct worker_registry *r, const char *name, uint64_t hash)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->workers[i].hash == hash && strcmp(r->workers[i].name, name) == 0)
            return &r->workers[i];
    return NULL;
}

static void
remove_worker(struct worker_registry *r, struct registered_worker *w)
{
    str_free(&w->lanes);
    *w = r->workers[--r->n];
}

static void
remove_silent(struct worker_registry *r, int64_t now_ms)
{
    for (size_t i = r->n; i > 0; i--)
        if (now_ms - r->workers[i - 1].last_seen_ms > WORKER_REGISTRY_SILENT_MS)
            remove_worker(r, &r->workers[i - 1]);
}

void
worker_registry_put_off(struct worker_registry *r, int64_t ms)
{
    for (size_t i = 0; i < r->n; i++)
        r->workers[i].last_seen_ms += ms;
}

/* NULL if the registry is full even without the silent workers. */
static struct registered_worker *
add(struct worker_registry *r, const char *name, uint64_t hash, int64_t now_ms)
{
    struct registered_worker *w;

    if (r->n == WORKER_REGISTRY_MAX)
        remove_silent(r, now_ms);
    if (r->n == WORKER_REGISTRY_MAX)
        return NULL;
    r->workers = mem_grow(r->workers, r->n, &r->cap, sizeof *r->workers);
    w = &r->workers[r->n++];
    *w = (struct registered_worker){.hash = hash};
    (void)snprintf(w->name, sizeof w->name, "%s", name);
    return w;
}

static void
copy_lanes(struct registered_worker *w, const struct heartbeat *hb)
{
    str_reset(&w->lanes);
    for (size_t i = 0; i < hb->n_lanes && i < LANES_MAX; i++)
        if (subject_token_ok(hb->lanes[i]))
            str_add(&w->lanes, hb->lanes[i], strlen(hb->lanes[i]) + 1);
}

void
worker_registry_update(struct worker_registry *r, const struct heartbeat *hb,
                       int64_t now_ms)
{
    char name[NAME_SIZE];
    struct registered_worker *w;
    uint64_t hash;

    if (!subject_token_ok(hb->backend) || !subject_token_ok(hb->worker))
        return;
    (void)snprintf(name, sizeof name, "%s.%s", hb->backend, hb->worker);
    hash = hash_text(name);
    w = find(r, name, hash);
    r->stale = true;
    if (hb->stopped) {
        if (w)
            remove_worker(r, w);
        return;
    }
    if (!w)
        w = add(r, name, hash, now_ms);
    if (!w)
        return;
    w->last_seen_ms = now_ms;
    w->running = hb->running_count;
    w->free_bytes = hb->memory_free_bytes;
    copy_lanes(w, hb);
    w->draining = hb->draining;
    w->short_runs = hb->brisk;
}

static bool
is_of(const struct registered_worker *w, const char *backend)
{
    size_t len = strlen(backend);

    return strncmp(w->name, backend, len) == 0 && w->name[len] == '.';
}

/* The index of "backend.lane"; the number of lanes if it is unknown. */
static size_t
find_lane(const struct worker_registry *r, const char *name)
{
    size_t i = 0;

    while (i < r->facts.n_lanes && strcmp(r->lane_names[i], name) != 0)
        i++;
    return i;
}

/* Adds a lane that one more worker accepts tasks of. */
static void
add_lane(struct worker_registry *r, const char *name, bool short_runs)
{
    size_t i = find_lane(r, name);

    if (i == LANES_MAX)
        return;
    if (i == r->facts.n_lanes) {
        (void)str_copy(r->lane_names[i], NAME_SIZE, name);
        r->lanes[i] = r->lane_names[i];
        r->short_runs[i] = short_runs;
        r->facts.n_lanes++;
    }
    r->short_runs[i] = r->short_runs[i] && short_runs;
}

/* Adds a worker that accepts tasks to the facts. */
static void
add_worker_facts(struct worker_registry *r, const struct registered_worker *w)
{
    size_t backend_len = strcspn(w->name, ".");
    char name[NAME_SIZE];

    if (is_of(w, "local") && w->free_bytes > r->facts.local_free_bytes)
        r->facts.local_free_bytes = w->free_bytes;
    for (const char *lane = str_text(&w->lanes); *lane;
         lane += strlen(lane) + 1) {
        (void)snprintf(name, sizeof name, "%.*s.%s", (int)backend_len, w->name,
                       lane);
        add_lane(r, name, w->short_runs);
    }
}

static void
derive_facts(struct worker_registry *r, int64_t now_ms)
{
    uint64_t running = 0;

    r->stale = false;
    r->refreshed_ms = now_ms;
    r->facts = (struct routing_facts){.known = true, .lanes = r->lanes};
    remove_silent(r, now_ms);
    for (size_t i = 0; i < r->n; i++) {
        const struct registered_worker *w = &r->workers[i];

        if (is_of(w, "local"))
            running += w->running;
        if (!w->draining)
            add_worker_facts(r, w);
    }
    r->facts.running_local =
        running > UINT32_MAX ? UINT32_MAX : (uint32_t)running;
}

/* Called for every task: silent workers are looked for once a second. */
static void
refresh(struct worker_registry *r, int64_t now_ms)
{
    if (r->stale || now_ms - r->refreshed_ms >= REFRESH_MS)
        derive_facts(r, now_ms);
}

void
worker_registry_facts(struct worker_registry *r, int64_t now_ms,
                      struct routing_facts *out)
{
    refresh(r, now_ms);
    *out = r->facts;
}

bool
worker_registry_has_short_runs(struct worker_registry *r, const char *backend,
                               const char *lane, int64_t now_ms)
{
    char name[NAME_SIZE];
    size_t i;

    refresh(r, now_ms);
    (void)snprintf(name, sizeof name, "%s.%s", backend, lane);
    i = find_lane(r, name);
    return i < r->facts.n_lanes && r->short_runs[i];
}
