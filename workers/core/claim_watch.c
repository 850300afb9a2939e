#include "workers/core/claim_watch.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/task.h"

#include <stddef.h>
#include <string.h>

struct watched_claim {
    char task[TASK_ID_SIZE];
    uint64_t revision;
    int64_t first_ms; /* monotonic */
};

struct claim_watch {
    struct watched_claim *v; /* a ring: the oldest is at next once it is full */
    size_t n, cap, next;
};

struct claim_watch *
claim_watch_new(void)
{
    return MEM_NEW(struct claim_watch);
}

void
claim_watch_free(struct claim_watch *s)
{
    if (!s)
        return;
    mem_free(s->v);
    mem_free(s);
}

static struct watched_claim *
find(struct claim_watch *s, const char *task)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->v[i].task, task) == 0)
            return &s->v[i];
    return NULL;
}

/* Room for one more, in the place of the oldest if need be. */
static struct watched_claim *
add(struct claim_watch *s)
{
    struct watched_claim *out;

    if (s->n < CLAIM_WATCH_MAX) {
        if (s->n == s->cap) {
            s->cap = s->cap ? s->cap * 2 : 16;
            s->v = mem_resize(s->v, s->cap * sizeof *s->v);
        }
        return &s->v[s->n++];
    }
    out = &s->v[s->next];
    s->next = (s->next + 1) % CLAIM_WATCH_MAX;
    return out;
}

int64_t
claim_watch_unchanged_ms(struct claim_watch *s, const char *task,
                         uint64_t revision, int64_t now_ms)
{
    struct watched_claim *at = find(s, task);

    if (at && at->revision == revision)
        return now_ms - at->first_ms;
    if (!at) {
        at = add(s);
        (void)str_copy(at->task, sizeof at->task, task);
    }
    at->revision = revision;
    at->first_ms = now_ms;
    return 0;
}
