/*
 * Gets the claim of each result in a message and compares the two. A message
 * goes on when all its results have a verdict. A claim that may only be late is
 * looked at again, first by asking for it once more, then by having the message
 * delivered again.
 */
#include "reaper/ingest/verify.h"

#include "lib/base/backoff.h"
#include "lib/base/log.h"
#include "lib/bus/claims.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <string.h>
#include <sys/queue.h>

enum {
    CLAIM_TRIES = 3,      /* a replica may lag behind the claim's writer */
    RETRY_MS = 200,       /* between them */
    RETRY_MOST_MS = 5000, /* between later ones, doubled each time */
    READS = 8, /* of a claim, one after the other, until it has its outcome */
};

/* A message whose results are being checked. */
struct msg_check {
    struct verifier *verifier;
    struct bus_msg *msg;
    LIST_ENTRY(msg_check) link;
    struct result_verdict *verdicts;
    size_t n;
    size_t open;    /* results without a verdict */
    size_t unknown; /* VERIFY_UNKNOWN_YET */
    struct result_check {
        struct msg_check *msg_check;
        struct bytes result; /* in the message */
        unsigned reads;
    } results[];
};

struct verifier {
    struct bus *bus;
    int64_t kept_ms;
    verifier_fn *fn;
    void (*idle)(void *ctx);
    void *ctx;
    struct mem_pool *pool;
    LIST_HEAD(, msg_check) checks;
};

static void
msg_check_free(struct msg_check *m)
{
    LIST_REMOVE(m, link);
    mem_free(m->verdicts);
    mem_free(m);
}

/* Soon at first; a claim that is still missing then may need its lease to
 * expire. */
static int64_t
retry_ms(const struct msg_check *m)
{
    uint64_t tries = m->msg->delivered;

    return backoff_nth(tries > CLAIM_TRIES ? (uint32_t)(tries - CLAIM_TRIES)
                                           : 0,
                       RETRY_MS, RETRY_MOST_MS);
}

/* One more result has a verdict; with the last the message goes on. */
static void
close_one(struct msg_check *m)
{
    struct result_verdicts verdicts = {.list = m->verdicts, .n = m->n};

    if (--m->open)
        return;
    if (m->unknown > 0)
        verdicts.again_ms = retry_ms(m);
    if (m->unknown > 0 && m->unknown == m->n) {
        bus_msg_retry(m->msg, verdicts.again_ms);
    } else {
        m->verdicts = NULL;
        m->verifier->fn(m->verifier->ctx, m->msg, &verdicts);
    }
    msg_check_free(m);
}

static void
conclude(struct result_check *c, enum verification verification,
         const char *reason)
{
    struct msg_check *m = c->msg_check;

    m->verdicts[c - m->results] = (struct result_verdict){verification, reason};
    close_one(m);
}

static void
postpone(struct result_check *c)
{
    c->msg_check->unknown++;
    conclude(c, VERIFY_UNKNOWN_YET, "");
}

/* A claim that is not there yet may be one that this replica has not seen. */
static void
refuse_or_postpone(struct result_check *c, const char *reason)
{
    if (c->msg_check->msg->delivered < CLAIM_TRIES)
        postpone(c);
    else
        conclude(c, VERIFY_REFUSED, reason);
}

static void
check_without_claim(struct result_check *c)
{
    const struct msg_check *m = c->msg_check;

    if (claims_may_have_expired(m->verifier->bus, m->msg->stored_at_ms,
                                m->verifier->kept_ms))
        conclude(c, VERIFY_CLAIM_EXPIRED, "");
    else
        refuse_or_postpone(c, "it has no claim");
}

/* Whether it runs nothing, and ends tasks nevertheless. */
static bool
is_inside(const char *backend)
{
    return strcmp(backend, "ledger") == 0 || strcmp(backend, "router") == 0;
}

/* Whether the claim holds the outcome that r tells: its worker's, or one of the
 * ledger's or the router's that a worker repeats. */
static bool
holds(const struct claim *claim, const struct result *r)
{
    const struct result *held = claim->result;

    if (!held)
        return claim->attempt == r->attempt && claim->state == r->state;
    return held->attempt == r->attempt && held->state == r->state &&
           strcmp(held->backend, r->backend) == 0;
}

static void read_claim(struct result_check *c, const struct result *r);

/* The result was sent together with its outcome and has overtaken it: mostly
 * the claim holds it when it is read again. If it never does, the lease
 * expires, and the claim goes on to another attempt. */
static void
await_outcome(struct result_check *c, const struct result *r)
{
    log_debug("result.early", "task=%s looks=%u", r->task, c->reads);
    if (++c->reads < READS)
        read_claim(c, r);
    else
        postpone(c);
}

static void
compare(struct result_check *c, const struct result *r,
        const struct claim *claim)
{
    bool same = *r->nonce && strcmp(r->nonce, claim->nonce) == 0;

    if (same && holds(claim, r))
        conclude(c, VERIFY_MATCHES, "");
    else if (same && claim->attempt == r->attempt &&
             claim->state == STATE_RUNNING)
        await_outcome(c, r);
    else if (is_inside(r->backend))
        conclude(c, VERIFY_REFUSED,
                 "a worker speaks for the ledger or the router");
    else if (claim->attempt > r->attempt)
        conclude(c, VERIFY_SUPERSEDED, "");
    else if (claim->attempt < r->attempt)
        refuse_or_postpone(c, "its attempt was never claimed");
    else if (same)
        conclude(c, VERIFY_REFUSED, "its claim holds another outcome");
    else /* or it was closed just now, by another */
        refuse_or_postpone(c, "its nonce is not that of the claim");
}

static void
on_claim(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct result_check *c = ctx;
    struct verifier *v = c->msg_check->verifier;
    struct claims_entry found;
    struct result r;
    struct err bad;

    mem_pool_reset(v->pool);
    if (e)
        postpone(c);
    else if (codec_decode(CODEC_RESULT, c->result.data, c->result.len, v->pool,
                          &r, &bad) < 0)
        conclude(c, VERIFY_REFUSED, "it cannot be read");
    else if (claims_read(v->bus, entry, r.task, v->pool, &found, &bad) < 0)
        /* Its worker writes it again. */
        refuse_or_postpone(c, "its claim cannot be read");
    else if (!found.claim)
        check_without_claim(c);
    else
        compare(c, &r, found.claim);
    if (LIST_EMPTY(&v->checks))
        v->idle(v->ctx);
}

static void
read_claim(struct result_check *c, const struct result *r)
{
    char backend[SUBJECT_TOKEN_MAX + 1];

    (void)subject_token_at(c->msg_check->msg->subject, 1, backend);
    claims_get(c->msg_check->verifier->bus, backend, r->task, on_claim, c);
}

/* Concludes what needs no claim, or reads that. */
static void
check_result(struct result_check *c)
{
    struct verifier *v = c->msg_check->verifier;
    char backend[SUBJECT_TOKEN_MAX + 1];
    struct result r;
    struct err bad;
    bool inside;

    mem_pool_reset(v->pool);
    if (codec_decode(CODEC_RESULT, c->result.data, c->result.len, v->pool, &r,
                     &bad) < 0) {
        conclude(c, VERIFY_REFUSED, "it cannot be read"); /* ingest says why */
        return;
    }
    inside = is_inside(r.backend);
    if (!subject_token_at(c->msg_check->msg->subject, 1, backend) ||
        (strcmp(backend, r.backend) != 0 && !inside))
        conclude(c, VERIFY_REFUSED, "subject and backend disagree");
    else if (is_inside(backend))
        conclude(c, VERIFY_WITHOUT_CLAIM, "");
    else if (r.final && !state_is_terminal(r.state))
        conclude(c, VERIFY_REFUSED, "final in a state that is not terminal");
    else
        read_claim(c, &r);
}

static struct msg_check *
msg_check_new(struct verifier *v, struct bus_msg *msg, size_t n)
{
    struct msg_check *m = mem_zero(1, sizeof *m + n * sizeof *m->results);

    m->verifier = v;
    m->msg = msg;
    m->n = n;
    m->verdicts = mem_zero(n, sizeof *m->verdicts);
    LIST_INSERT_HEAD(&v->checks, m, link);
    return m;
}

void
verifier_check(struct verifier *v, struct bus_msg *msg)
{
    static const struct result_verdicts none;
    struct codec_multi results;
    struct msg_check *m;
    struct err bad;

    if (codec_multi_open(&results, CODEC_RESULTS, msg->data, msg->len, &bad) <
        0) {
        v->fn(v->ctx, msg, &none); /* ingest says what is wrong with it */
        return;
    }
    m = msg_check_new(v, msg, results.count);
    for (size_t i = 0; codec_multi_next(&results, &m->results[i].result); i++)
        m->results[i].msg_check = m;
    codec_multi_close(&results);
    m->open = m->n + 1; /* it lasts until all were looked at */
    for (size_t i = 0; i < m->n; i++)
        check_result(&m->results[i]);
    close_one(m);
}

bool
verifier_is_idle(const struct verifier *v)
{
    return LIST_EMPTY(&v->checks);
}

struct verifier *
verifier_open(struct bus *b, int64_t kept_ms, verifier_fn *fn,
              void (*idle)(void *ctx), void *ctx)
{
    struct verifier *v = MEM_NEW(struct verifier);

    v->bus = b;
    v->kept_ms = kept_ms;
    v->fn = fn;
    v->idle = idle;
    v->ctx = ctx;
    v->pool = mem_pool_new();
    return v;
}

void
verifier_close(struct verifier *v)
{
    struct msg_check *m;

    if (!v)
        return;
    while ((m = LIST_FIRST(&v->checks)) != NULL) {
        for (size_t i = 0; i < m->n; i++)
            bus_forget(v->bus, &m->results[i]);
        bus_msg_retry(m->msg, 0);
        msg_check_free(m);
    }
    mem_pool_free(v->pool);
    mem_free(v);
}
