/*
 * result_publisher - results on their way to the broker.
 *
 * Many attempts may end in one turn of the loop. Their results, as far as they
 * are of one source, leave as one message at the end of the turn, and are
 * stored, delivered and settled together. None waits for another, and one that
 * comes alone is the message it always was.
 *
 * An early message leaves right behind the outcomes of its attempts, and is
 * sent once: should they not get into their claims it is not to come up later.
 */
#include "workers/core/worker_private.h"

#include "lib/base/feature.h"
#include "lib/base/log.h"
#include "lib/model/codec.h"

#include <string.h>

/* A message that is not confirmed yet. */
struct result_msg {
    struct result_msg *next, *prev;
    struct worker *w;
    struct attempt *attempts; /* whose results it holds; some may be gone */
    bool early;
};

struct result_publisher {
    struct loop_hook *hook;
    struct result_msg *posts;
    struct result_msg *open; /* the message that is being made; NULL: none */
    struct multi_msg bulk;
    char subject[SUBJECT_SIZE]; /* of that message */
};

/* Encodes r into w->scratch, without its output if that is too much. */
static void
encode(struct worker *w, const struct result *r)
{
    struct result small = *r;

    str_reset(&w->scratch);
    codec_encode(CODEC_RESULT, r, &w->scratch);
    if (w->scratch.len <= bus_max_payload(w->bus))
        return;
    log_warn("result.cut", "task=%s bytes=%zu", r->task, w->scratch.len);
    small.output = NULL;
    small.n_output = 0;
    if (r->log_chunks == 0)
        small.dropped_bytes = r->output_bytes;
    str_reset(&w->scratch);
    codec_encode(CODEC_RESULT, &small, &w->scratch);
}

void
result_publisher_publish_one(struct worker *w, const char *subject,
                             const struct result *r, bus_stored_fn *fn,
                             void *ctx)
{
    char id[RESULT_ID_SIZE];
    struct bus_publication p = {.subject = subject,
                                .id = task_result_id(r, id),
                                .expect = BUS_ANY_REVISION};

    encode(w, r);
    p.data = w->scratch.data;
    p.len = w->scratch.len;
    bus_publish_until(w->bus, &p, fn, ctx);
}

/* --- messages ------------------------------------------------------------- */

static void
post_free(struct result_msg *p)
{
    if (p->prev)
        p->prev->next = p->next;
    else
        p->w->outbox->posts = p->next;
    if (p->next)
        p->next->prev = p->prev;
    mem_free(p);
}

static void
on_posted(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct result_msg *p = ctx;
    struct attempt *a;

    if (stored)
        spool_replay_confirmed(p->w);
    while ((a = p->attempts)) {
        result_publisher_forget(a);
        if (p->early)
            settle_published_early(a, stored != NULL);
        else
            settle_published(a, e);
    }
    post_free(p);
}

static void
send_open(void *ctx)
{
    struct worker *w = ctx;
    struct result_publisher *o = w->outbox;
    struct bus_publication p;

    if (!o->open)
        return;
    p = multi_msg_publication(&o->bulk);
    p.subject = o->subject;
    if (o->open->early)
        bus_publish(w->bus, &p, PUT_TIMEOUT_MS, on_posted, o->open);
    else
        bus_publish_until(w->bus, &p, on_posted, o->open);
    multi_msg_reset(&o->bulk);
    o->open = NULL;
}

static void
open_post(struct worker *w, const char *subject, bool early)
{
    struct result_publisher *o = w->outbox;
    struct result_msg *p = MEM_NEW(struct result_msg);

    p->w = w;
    p->early = early;
    p->next = o->posts;
    if (p->next)
        p->next->prev = p;
    o->posts = o->open = p;
    (void)str_copy(o->subject, sizeof o->subject, subject);
}

static void
post(struct attempt *a, bool early)
{
    struct worker *w = a->w;
    struct result_publisher *o = w->outbox;
    char subject[SUBJECT_SIZE], id[RESULT_ID_SIZE];

    (void)result_publisher_subject(a, subject);
    encode(w, &a->result);
    if (o->open && (!feature_on(FEATURE_RESULTS) || o->open->early != early ||
                    strcmp(subject, o->subject) != 0 ||
                    !multi_msg_fits(&o->bulk, w->scratch.len)))
        send_open(w);
    if (!o->open)
        open_post(w, subject, early);
    multi_msg_add(&o->bulk, task_result_id(&a->result, id), w->scratch.data,
                  w->scratch.len);
    a->post = o->open;
    a->post_next = o->open->attempts;
    o->open->attempts = a;
}

void
result_publisher_publish(struct attempt *a)
{
    post(a, false);
}

void
result_publisher_publish_early(struct attempt *a)
{
    post(a, true);
}

void
result_publisher_forget(struct attempt *a)
{
    struct attempt **at;

    if (!a->post)
        return;
    at = &a->post->attempts;
    while (*at != a)
        at = &(*at)->post_next;
    *at = a->post_next;
    a->post = NULL;
}

/* --- life ----------------------------------------------------------------- */

void
result_publisher_open(struct worker *w)
{
    w->outbox = MEM_NEW(struct result_publisher);
    w->outbox->bulk.type = CODEC_RESULTS;
    w->outbox->hook = loop_hook_start(w->loop, send_open, w);
}

void
result_publisher_close(struct worker *w)
{
    struct result_publisher *o = w->outbox;

    if (!o)
        return;
    loop_hook_stop(o->hook);
    while (o->posts) {
        bus_forget(w->bus, o->posts);
        post_free(o->posts);
    }
    multi_msg_free(&o->bulk);
    mem_free(o);
    w->outbox = NULL;
}
