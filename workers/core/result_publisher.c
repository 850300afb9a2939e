/*
 * Collects results into the message that is being made and publishes it at the
 * end of the loop's turn, or as soon as the next result does not fit or is not
 * of its kind. A message knows the attempts whose results it holds and reports
 * to each what became of it.
 */
#include "workers/core/result_publisher.h"

#include "lib/base/feature.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/multi_msg.h"
#include "lib/model/codec.h"
#include "workers/core/worker_types.h"

#include <string.h>

enum { EARLY_TIMEOUT_MS = 5000 };

/* A message that is not confirmed yet. */
struct result_msg {
    LIST_ENTRY(result_msg) entry;
    struct worker *w;
    LIST_HEAD(sent_attempts, attempt) attempts; /* some may be gone */
    bool early;
};

struct result_publisher {
    result_published_fn *published;
    result_published_early_fn *published_early;
    struct loop_hook *hook;
    LIST_HEAD(result_msgs, result_msg) messages;
    struct result_msg *open; /* the one that is being made; NULL: none */
    struct multi_msg multi;
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

const char *
result_publisher_subject(const struct attempt *a, char *out)
{
    const char *source = a->task->source;

    return subject_result(out, a->w->ex->name, *source ? source : "cli");
}

/* --- messages ------------------------------------------------------------- */

static void
message_free(struct result_msg *m)
{
    LIST_REMOVE(m, entry);
    mem_free(m);
}

static void
on_stored(void *ctx, const struct bus_stored *stored, const struct err *e)
{
    struct result_msg *m = ctx;
    const struct result_publisher *r = m->w->publisher;
    struct attempt *a;

    if (stored)
        m->w->confirmed_ms = loop_now_ms();
    while ((a = LIST_FIRST(&m->attempts))) {
        result_publisher_forget(a);
        if (m->early)
            r->published_early(a, stored != NULL);
        else
            r->published(a, e);
    }
    message_free(m);
}

static void
send_open(void *ctx)
{
    struct worker *w = ctx;
    struct result_publisher *r = w->publisher;
    struct bus_publication p;

    if (!r->open)
        return;
    p = multi_msg_publication(&r->multi);
    p.subject = r->subject;
    if (r->open->early)
        bus_publish(w->bus, &p, EARLY_TIMEOUT_MS, on_stored, r->open);
    else
        bus_publish_until(w->bus, &p, on_stored, r->open);
    multi_msg_reset(&r->multi);
    r->open = NULL;
}

static void
open_message(struct worker *w, const char *subject, bool early)
{
    struct result_publisher *r = w->publisher;
    struct result_msg *m = MEM_NEW(struct result_msg);

    m->w = w;
    m->early = early;
    LIST_INSERT_HEAD(&r->messages, m, entry);
    r->open = m;
    (void)str_copy(r->subject, sizeof r->subject, subject);
}

void
result_publisher_publish(struct attempt *a, bool early)
{
    struct worker *w = a->w;
    struct result_publisher *r = w->publisher;
    char subject[SUBJECT_SIZE], id[RESULT_ID_SIZE];

    (void)result_publisher_subject(a, subject);
    encode(w, &a->result);
    if (r->open && (!feature_on(FEATURE_RESULTS) || r->open->early != early ||
                    strcmp(subject, r->subject) != 0 ||
                    !multi_msg_fits(&r->multi, w->scratch.len)))
        send_open(w);
    if (!r->open)
        open_message(w, subject, early);
    multi_msg_add(&r->multi, task_result_id(&a->result, id), w->scratch.data,
                  w->scratch.len);
    a->message = r->open;
    LIST_INSERT_HEAD(&r->open->attempts, a, message_entry);
}

void
result_publisher_forget(struct attempt *a)
{
    if (a->message)
        LIST_REMOVE(a, message_entry);
    a->message = NULL;
}

/* --- opening and closing -------------------------------------------------- */

void
result_publisher_open(struct worker *w, result_published_fn *published,
                      result_published_early_fn *published_early)
{
    w->publisher = MEM_NEW(struct result_publisher);
    w->publisher->published = published;
    w->publisher->published_early = published_early;
    w->publisher->multi.type = CODEC_RESULTS;
    w->publisher->hook = loop_hook_start(w->loop, send_open, w);
}

void
result_publisher_close(struct worker *w)
{
    struct result_publisher *r = w->publisher;
    struct result_msg *m;

    loop_hook_stop(r->hook);
    while ((m = LIST_FIRST(&r->messages))) {
        bus_forget(w->bus, m);
        message_free(m);
    }
    multi_msg_free(&r->multi);
    mem_free(r);
}
