#include "router/worker_registry.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/subject.h"

#include <stdio.h>
#include <string.h>

enum {
    COUNT_EVERY_MS = 1000,
    NAME_SIZE = 2 * SUBJECT_TOKEN_MAX + 2,
    LANES_MAX = 64, /* of one worker, and in all; further ones not seen */
};

struct registered_worker {
    uint64_t hash;        /* of name, to find it without comparing texts */
    char name[NAME_SIZE]; /* "backend.worker" */
    int64_t heard_ms;
    uint32_t running;
    uint64_t free_bytes; /* memory of its machine; 0: not said */
    bool draining;       /* takes nothing new */
    bool short_runs;     /* its runs are short */
    struct str lanes;    /* names with a NUL behind each, an empty one ends */
};

struct worker_registry {
    struct registered_worker *members;
    size_t n, cap;
    bool stale; /* counted must be worked out anew */
    int64_t counted_ms;
    struct routing_facts counted;
    const char *lanes[LANES_MAX]; /* of counted; into lane_names */
    char lane_names[LANES_MAX][NAME_SIZE];
    bool short_runs[LANES_MAX]; /* of lanes: with all their workers */
};

struct worker_registry *
worker_registry_new(void)
{
    struct worker_registry *f = MEM_NEW(struct worker_registry);

    f->stale = true;
    return f;
}

void
worker_registry_free(struct worker_registry *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n; i++)
        str_free(&f->members[i].lanes);
    mem_free(f->members);
    mem_free(f);
}

size_t
worker_registry_size(const struct worker_registry *f)
{
    return f->n;
}

static uint64_t
hash_of(const char *name)
{
    uint64_t h = 14695981039346656037U; /* FNV-1a */

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 1099511628211U;
    return h;
}

static struct registered_worker *
find(struct worker_registry *f, const char *name, uint64_t hash)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->members[i].hash == hash && strcmp(f->members[i].name, name) == 0)
            return &f->members[i];
    return NULL;
}

static void
forget(struct worker_registry *f, struct registered_worker *m)
{
    str_free(&m->lanes);
    *m = f->members[--f->n];
}

static void
forget_silent(struct worker_registry *f, int64_t now_ms)
{
    for (size_t i = f->n; i > 0; i--)
        if (now_ms - f->members[i - 1].heard_ms > WORKER_REGISTRY_SILENT_MS)
            forget(f, &f->members[i - 1]);
}

/* Room for one more; NULL if even after forgetting the silent there is none. */
static struct registered_worker *
add(struct worker_registry *f, const char *name, uint64_t hash, int64_t now_ms)
{
    struct registered_worker *m;

    if (f->n == WORKER_REGISTRY_MAX)
        forget_silent(f, now_ms);
    if (f->n == WORKER_REGISTRY_MAX)
        return NULL;
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 8;
        f->members = mem_resize(f->members, f->cap * sizeof *f->members);
    }
    m = &f->members[f->n++];
    *m = (struct registered_worker){.hash = hash};
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    return m;
}

/* The lanes a heartbeat names, as a member keeps them. */
static void
keep_lanes(struct registered_worker *m, const struct heartbeat *hb)
{
    str_reset(&m->lanes);
    for (size_t i = 0; i < hb->n_lanes && i < LANES_MAX; i++)
        if (subject_token_ok(hb->lanes[i]))
            str_add(&m->lanes, hb->lanes[i], strlen(hb->lanes[i]) + 1);
}

void
worker_registry_hear(struct worker_registry *f, const struct heartbeat *hb,
                     int64_t now_ms)
{
    char name[NAME_SIZE];
    struct registered_worker *m;
    uint64_t hash;

    if (!subject_token_ok(hb->backend) || !subject_token_ok(hb->worker))
        return;
    (void)snprintf(name, sizeof name, "%s.%s", hb->backend, hb->worker);
    hash = hash_of(name);
    m = find(f, name, hash);
    f->stale = true;
    if (hb->stopped) {
        if (m)
            forget(f, m);
        return;
    }
    if (!m)
        m = add(f, name, hash, now_ms);
    if (!m)
        return;
    m->heard_ms = now_ms;
    m->running = hb->running_count;
    m->free_bytes = hb->memory_free_bytes;
    keep_lanes(m, hb);
    m->draining = hb->draining;
    m->short_runs = hb->brisk;
}

static bool
is_of(const struct registered_worker *m, const char *backend)
{
    size_t len = strlen(backend);

    return strncmp(m->name, backend, len) == 0 && m->name[len] == '.';
}

/* The number of "backend.lane"; that of lanes known if it is none of them. */
static size_t
find_lane(const struct worker_registry *f, const char *name)
{
    size_t i = 0;

    while (i < f->counted.n_lanes && strcmp(f->lane_names[i], name) != 0)
        i++;
    return i;
}

/* One of its workers takes something new. */
static void
add_lane(struct worker_registry *f, const char *name, bool short_runs)
{
    size_t i = find_lane(f, name);

    if (i == LANES_MAX)
        return;
    if (i == f->counted.n_lanes) {
        (void)str_copy(f->lane_names[i], NAME_SIZE, name);
        f->lanes[i] = f->lane_names[i];
        f->short_runs[i] = short_runs;
        f->counted.n_lanes++;
    }
    f->short_runs[i] = f->short_runs[i] && short_runs;
}

/* What a worker that takes something new adds to the facts. */
static void
count_open(struct worker_registry *f, const struct registered_worker *m)
{
    size_t backend_len = strcspn(m->name, ".");
    char name[NAME_SIZE];

    if (is_of(m, "local") && m->free_bytes > f->counted.local_free_bytes)
        f->counted.local_free_bytes = m->free_bytes;
    for (const char *lane = str_text(&m->lanes); *lane;
         lane += strlen(lane) + 1) {
        (void)snprintf(name, sizeof name, "%.*s.%s", (int)backend_len, m->name,
                       lane);
        add_lane(f, name, m->short_runs);
    }
}

static void
count(struct worker_registry *f, int64_t now_ms)
{
    uint64_t running = 0;

    f->stale = false;
    f->counted_ms = now_ms;
    f->counted = (struct routing_facts){.known = true, .lanes = f->lanes};
    forget_silent(f, now_ms);
    for (size_t i = 0; i < f->n; i++) {
        const struct registered_worker *m = &f->members[i];

        if (is_of(m, "local"))
            running += m->running;
        if (!m->draining)
            count_open(f, m);
    }
    f->counted.running_local =
        running > UINT32_MAX ? UINT32_MAX : (uint32_t)running;
}

/* Asked for every task: who fell silent is looked for once a second. */
static void
count_if_due(struct worker_registry *f, int64_t now_ms)
{
    if (f->stale || now_ms - f->counted_ms >= COUNT_EVERY_MS)
        count(f, now_ms);
}

void
worker_registry_facts(struct worker_registry *f, int64_t now_ms,
                      struct routing_facts *out)
{
    count_if_due(f, now_ms);
    *out = f->counted;
}

bool
worker_registry_has_short_runs(struct worker_registry *f, const char *backend,
                               const char *lane, int64_t now_ms)
{
    char name[NAME_SIZE];
    size_t i;

    count_if_due(f, now_ms);
    (void)snprintf(name, sizeof name, "%s.%s", backend, lane);
    i = find_lane(f, name);
    return i < f->counted.n_lanes && f->short_runs[i];
}
