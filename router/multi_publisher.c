/*
 * Collects routed tasks into one multi_msg until the subject changes, it is
 * full or it is flushed. Messages being published are kept in a list, so that
 * they can be forgotten when the publisher is freed.
 */
#include "router/multi_publisher.h"

#include "lib/base/mem.h"
#include "lib/bus/multi_msg.h"
#include "lib/model/subject.h"

#include <string.h>

/* A message that is collected or being published. */
struct multi_publication {
    struct multi_publication *prev, *next;
    struct multi_publisher *of;
    size_t n;
    void *tasks[MULTI_MSG_ROUTED_MOST]; /* the ctx of each */
};

struct multi_publisher {
    struct bus *bus;
    bus_stored_fn *fn;
    struct multi_publication *first; /* all, the open one included */
    struct multi_publication *open;  /* being collected; NULL: none */
    struct multi_msg msg;            /* its content */
    char subject[SUBJECT_SIZE];
};

struct multi_publisher *
multi_publisher_new(struct bus *b, bus_stored_fn *fn)
{
    struct multi_publisher *p = MEM_NEW(struct multi_publisher);

    p->bus = b;
    p->fn = fn;
    p->msg.type = CODEC_ROUTED_TASKS;
    return p;
}

static void
publication_free(struct multi_publication *m)
{
    *(m->prev ? &m->prev->next : &m->of->first) = m->next;
    if (m->next)
        m->next->prev = m->prev;
    mem_free(m);
}

void
multi_publisher_free(struct multi_publisher *p)
{
    if (!p)
        return;
    while (p->first) {
        bus_forget(p->bus, p->first);
        publication_free(p->first);
    }
    multi_msg_free(&p->msg);
    mem_free(p);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct multi_publication *m = ctx;

    for (size_t i = 0; i < m->n; i++)
        m->of->fn(m->tasks[i], stored, e);
    publication_free(m);
}

void
multi_publisher_flush(struct multi_publisher *p)
{
    struct bus_publication pub;

    if (!p->open)
        return;
    pub = multi_msg_publication(&p->msg);
    pub.subject = p->subject;
    bus_publish_until(p->bus, &pub, on_stored, p->open);
    multi_msg_reset(&p->msg);
    p->open = NULL;
}

static struct multi_publication *
publication_new(struct multi_publisher *p)
{
    struct multi_publication *m = MEM_NEW(struct multi_publication);

    m->of = p;
    m->next = p->first;
    if (m->next)
        m->next->prev = m;
    p->first = m;
    return m;
}

void
multi_publisher_add(struct multi_publisher *p, const char *subject,
                    const char *id, const struct str *routed, void *ctx)
{
    if (strcmp(subject, p->subject) != 0 ||
        !multi_msg_fits(&p->msg, routed->len))
        multi_publisher_flush(p);
    if (!p->open) {
        p->open = publication_new(p);
        (void)str_copy(p->subject, sizeof p->subject, subject);
    }
    multi_msg_add(&p->msg, id, routed->data, routed->len);
    p->open->tasks[p->open->n++] = ctx;
}

size_t
multi_publisher_pending(const struct multi_publisher *p)
{
    return p->msg.n;
}
