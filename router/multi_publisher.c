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
#include <sys/queue.h>

/* A message that is collected or being published. */
struct multi_publication {
    LIST_ENTRY(multi_publication) link;
    struct multi_publisher *of;
    size_t n;
    void *tasks[MULTI_MSG_ROUTED_MOST]; /* the ctx of each */
};

struct multi_publisher {
    struct bus *bus;
    bus_stored_fn *fn;
    LIST_HEAD(, multi_publication) all; /* the open one included */
    struct multi_publication *open;     /* being collected; NULL: none */
    struct multi_msg msg;               /* its content */
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
    LIST_REMOVE(m, link);
    mem_free(m);
}

void
multi_publisher_free(struct multi_publisher *p)
{
    if (!p)
        return;
    while (!LIST_EMPTY(&p->all)) {
        bus_forget(p->bus, LIST_FIRST(&p->all));
        publication_free(LIST_FIRST(&p->all));
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

void
multi_publisher_add(struct multi_publisher *p, const char *subject,
                    const char *id, const struct str *routed, void *ctx)
{
    if (strcmp(subject, p->subject) != 0 ||
        !multi_msg_fits(&p->msg, routed->len))
        multi_publisher_flush(p);
    if (!p->open) {
        p->open = MEM_NEW(struct multi_publication);
        p->open->of = p;
        LIST_INSERT_HEAD(&p->all, p->open, link);
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
