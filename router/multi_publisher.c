#include "router/multi_publisher.h"

#include "lib/base/mem.h"
#include "lib/bus/multi_msg.h"
#include "lib/model/subject.h"

#include <string.h>

struct multi_publisher_msg {
    struct multi_publisher_msg *prev, *next;
    struct multi_publisher *of;
    size_t n;
    void *tasks[MULTI_MSG_ROUTED_MOST]; /* what each was added with */
};

struct multi_publisher {
    struct bus *bus;
    bus_stored_fn *fn;
    struct multi_publisher_msg *first; /* with that which is being made */
    struct multi_publisher_msg
        *open;             /* the one that is being made; NULL: none */
    struct multi_msg bulk; /* its message */
    char subject[SUBJECT_SIZE];
};

struct multi_publisher *
multi_publisher_new(struct bus *b, bus_stored_fn *fn)
{
    struct multi_publisher *s = MEM_NEW(struct multi_publisher);

    s->bus = b;
    s->fn = fn;
    s->bulk.type = CODEC_ROUTED_TASKS;
    return s;
}

static void
bundle_free(struct multi_publisher_msg *n)
{
    *(n->prev ? &n->prev->next : &n->of->first) = n->next;
    if (n->next)
        n->next->prev = n->prev;
    mem_free(n);
}

void
multi_publisher_free(struct multi_publisher *s)
{
    if (!s)
        return;
    while (s->first) {
        bus_forget(s->bus, s->first);
        bundle_free(s->first);
    }
    multi_msg_free(&s->bulk);
    mem_free(s);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct multi_publisher_msg *n = ctx;

    for (size_t i = 0; i < n->n; i++)
        n->of->fn(n->tasks[i], stored, e);
    bundle_free(n);
}

void
multi_publisher_flush(struct multi_publisher *s)
{
    struct bus_publication p;

    if (!s->open)
        return;
    p = multi_msg_publication(&s->bulk);
    p.subject = s->subject;
    bus_publish_until(s->bus, &p, on_stored, s->open);
    multi_msg_reset(&s->bulk);
    s->open = NULL;
}

static struct multi_publisher_msg *
bundle_new(struct multi_publisher *s)
{
    struct multi_publisher_msg *n = MEM_NEW(struct multi_publisher_msg);

    n->of = s;
    n->next = s->first;
    if (n->next)
        n->next->prev = n;
    s->first = n;
    return n;
}

void
multi_publisher_add(struct multi_publisher *s, const char *subject,
                    const char *id, const struct str *routed, void *ctx)
{
    if (strcmp(subject, s->subject) != 0 ||
        !multi_msg_fits(&s->bulk, routed->len))
        multi_publisher_flush(s);
    if (!s->open) {
        s->open = bundle_new(s);
        (void)str_copy(s->subject, sizeof s->subject, subject);
    }
    multi_msg_add(&s->bulk, id, routed->data, routed->len);
    s->open->tasks[s->open->n++] = ctx;
}

size_t
multi_publisher_pending(const struct multi_publisher *s)
{
    return s->bulk.n;
}
