#include "workers/core/claim_watch.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/task.h"

#include <stddef.h>
#include <string.h>

struct sight {
    char task[TASK_ID_SIZE];
    uint64_t revision;
    int64_t first_ms; /* monotonic */
};

struct sights {
    struct sight *v; /* a ring: the oldest is at next once it is full */
    size_t n, cap, next;
};

struct sights *
sights_new(void)
{
    return MEM_NEW(struct sights);
}

void
sights_free(struct sights *s)
{
    if (!s)
        return;
    mem_free(s->v);
    mem_free(s);
}

static struct sight *
find(struct sights *s, const char *task)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->v[i].task, task) == 0)
            return &s->v[i];
    return NULL;
}

/* Room for one more, in the place of the oldest if need be. */
static struct sight *
add(struct sights *s)
{
    struct sight *out;

    if (s->n < SIGHTS_MAX) {
        if (s->n == s->cap) {
            s->cap = s->cap ? s->cap * 2 : 16;
            s->v = mem_resize(s->v, s->cap * sizeof *s->v);
        }
        return &s->v[s->n++];
    }
    out = &s->v[s->next];
    s->next = (s->next + 1) % SIGHTS_MAX;
    return out;
}

int64_t
sights_unchanged_ms(struct sights *s, const char *task, uint64_t revision,
                    int64_t now_ms)
{
    struct sight *at = find(s, task);

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
