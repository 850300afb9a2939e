#include "router/multi_publisher.h"

#include "lib/base/mem.h"
#include "lib/bus/multi_msg.h"
#include "lib/model/subject.h"

#include <string.h>

struct bundle {
    struct bundle *prev, *next;
    struct bundles *of;
    size_t n;
    void *tasks[BULK_ROUTED_MOST]; /* what each was added with */
};

struct bundles {
    struct bus *bus;
    bus_stored_fn *fn;
    struct bundle *first; /* with that which is being made */
    struct bundle *open;  /* the one that is being made; NULL: none */
    struct bulk bulk;     /* its message */
    char subject[SUBJECT_SIZE];
};

struct bundles *
bundles_new(struct bus *b, bus_stored_fn *fn)
{
    struct bundles *s = MEM_NEW(struct bundles);

    s->bus = b;
    s->fn = fn;
    s->bulk.type = CODEC_ROUTED_TASKS;
    return s;
}

static void
bundle_free(struct bundle *n)
{
    *(n->prev ? &n->prev->next : &n->of->first) = n->next;
    if (n->next)
        n->next->prev = n->prev;
    mem_free(n);
}

void
bundles_free(struct bundles *s)
{
    if (!s)
        return;
    while (s->first) {
        bus_forget(s->bus, s->first);
        bundle_free(s->first);
    }
    bulk_free(&s->bulk);
    mem_free(s);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct bundle *n = ctx;

    for (size_t i = 0; i < n->n; i++)
        n->of->fn(n->tasks[i], stored, e);
    bundle_free(n);
}

void
bundles_close(struct bundles *s)
{
    struct bus_publication p;

    if (!s->open)
        return;
    p = bulk_publication(&s->bulk);
    p.subject = s->subject;
    bus_publish_until(s->bus, &p, on_stored, s->open);
    bulk_reset(&s->bulk);
    s->open = NULL;
}

static struct bundle *
bundle_new(struct bundles *s)
{
    struct bundle *n = MEM_NEW(struct bundle);

    n->of = s;
    n->next = s->first;
    if (n->next)
        n->next->prev = n;
    s->first = n;
    return n;
}

void
bundles_add(struct bundles *s, const char *subject, const char *id,
            const struct str *routed, void *ctx)
{
    if (strcmp(subject, s->subject) != 0 || !bulk_fits(&s->bulk, routed->len))
        bundles_close(s);
    if (!s->open) {
        s->open = bundle_new(s);
        (void)str_copy(s->subject, sizeof s->subject, subject);
    }
    bulk_add(&s->bulk, id, routed->data, routed->len);
    s->open->tasks[s->open->n++] = ctx;
}

size_t
bundles_open(const struct bundles *s)
{
    return s->bulk.n;
}
