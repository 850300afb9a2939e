#include "router/fleet.h"

#include "lib/mem.h"
#include "lib/subject.h"

#include <stdio.h>
#include <string.h>

enum { COUNT_EVERY_MS = 1000, NAME_SIZE = 2 * SUBJECT_TOKEN_MAX + 2 };

struct member {
    uint64_t hash;        /* of name, to find it without comparing texts */
    char name[NAME_SIZE]; /* "backend.worker" */
    int64_t heard_ms;
    uint32_t running;
    bool draining; /* takes nothing new */
};

struct fleet {
    struct member *members;
    size_t n, cap;
    bool stale; /* counted must be worked out anew */
    int64_t counted_ms;
    struct facts counted;
};

struct fleet *
fleet_new(void)
{
    struct fleet *f = MEM_NEW(struct fleet);

    f->stale = true;
    return f;
}

void
fleet_free(struct fleet *f)
{
    if (!f)
        return;
    mem_free(f->members);
    mem_free(f);
}

size_t
fleet_size(const struct fleet *f)
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

static struct member *
find(struct fleet *f, const char *name, uint64_t hash)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->members[i].hash == hash && strcmp(f->members[i].name, name) == 0)
            return &f->members[i];
    return NULL;
}

static void
forget(struct fleet *f, struct member *m)
{
    *m = f->members[--f->n];
}

static void
forget_silent(struct fleet *f, int64_t now_ms)
{
    for (size_t i = f->n; i > 0; i--)
        if (now_ms - f->members[i - 1].heard_ms > FLEET_SILENT_MS)
            forget(f, &f->members[i - 1]);
}

/* Room for one more; NULL if even after forgetting the silent there is none. */
static struct member *
add(struct fleet *f, const char *name, uint64_t hash, int64_t now_ms)
{
    struct member *m;

    if (f->n == FLEET_MAX)
        forget_silent(f, now_ms);
    if (f->n == FLEET_MAX)
        return NULL;
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 8;
        f->members = mem_resize(f->members, f->cap * sizeof *f->members);
    }
    m = &f->members[f->n++];
    *m = (struct member){.hash = hash};
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    return m;
}

void
fleet_hear(struct fleet *f, const struct heartbeat *hb, int64_t now_ms)
{
    char name[NAME_SIZE];
    struct member *m;
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
    m->draining = hb->draining;
}

static bool
is_of(const struct member *m, const char *backend)
{
    size_t len = strlen(backend);

    return strncmp(m->name, backend, len) == 0 && m->name[len] == '.';
}

static void
count(struct fleet *f, int64_t now_ms)
{
    uint64_t running = 0;

    f->stale = false;
    f->counted_ms = now_ms;
    f->counted = (struct facts){.known = true};
    forget_silent(f, now_ms);
    for (size_t i = 0; i < f->n; i++) {
        const struct member *m = &f->members[i];

        if (is_of(m, "local"))
            running += m->running;
        if (is_of(m, "codespace") && !m->draining)
            f->counted.codespace_available = true;
        if (is_of(m, "secutools") && !m->draining)
            f->counted.secutools_available = true;
    }
    f->counted.running_local =
        running > UINT32_MAX ? UINT32_MAX : (uint32_t)running;
}

void
fleet_facts(struct fleet *f, int64_t now_ms, struct facts *out)
{
    /* Asked for every task: who fell silent is looked for once a second. */
    if (f->stale || now_ms - f->counted_ms >= COUNT_EVERY_MS)
        count(f, now_ms);
    *out = f->counted;
}
