#include "reaper/ingest/verify.h"

#include "lib/base/log.h"
#include "lib/bus/claims.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"

#include <string.h>

enum {
    CLAIM_TRIES = 3,      /* a replica may lag behind the claim's writer */
    RETRY_MS = 200,       /* between them */
    RETRY_MOST_MS = 5000, /* between later ones, doubled each time */
    LOOKS = 8,            /* at a claim, one after the other, for its outcome */
};

/* A message of results whose claims are being asked for. */
struct claim_check {
    struct verifier *desk;
    struct bus_msg *msg;
    struct claim_check *next, **at;
    struct result_verdict *verdicts;
    size_t n;
    size_t open;  /* results without a verdict yet */
    size_t later; /* of which a claim could not be read, or may yet be there */
    struct claim_question {
        struct claim_check *check;
        struct bytes result; /* in the message */
        unsigned looks;
    } questions[];
};

struct verifier {
    struct bus *bus;
    int64_t after_ms;
    verify_fn *fn;
    void (*idle)(void *ctx);
    void *ctx;
    struct mem_pool *pool;
    struct claim_check *checks;
};

static void
check_free(struct claim_check *c)
{
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    mem_free(c->verdicts);
    mem_free(c);
}

/* Soon at first; what then is still not there may need a lease to run out. */
static int64_t
retry_ms(const struct claim_check *c)
{
    int64_t ms = RETRY_MS;

    for (uint64_t n = c->msg->delivered; n > CLAIM_TRIES; n--)
        if ((ms *= 2) >= RETRY_MOST_MS)
            return RETRY_MOST_MS;
    return ms;
}

/* One of its results was judged: the last takes the message along. */
static void
judged(struct claim_check *c)
{
    struct result_verdicts verdicts = {.list = c->verdicts, .n = c->n};

    if (--c->open)
        return;
    if (c->later > 0)
        verdicts.again_ms = retry_ms(c);
    if (c->later > 0 && c->later == c->n) {
        bus_msg_retry(c->msg, verdicts.again_ms);
    } else {
        c->verdicts = NULL;
        c->desk->fn(c->desk->ctx, c->msg, &verdicts);
    }
    check_free(c);
}

static void
say(struct claim_question *q, enum verification trust, const char *reason)
{
    q->check->verdicts[q - q->check->questions] =
        (struct result_verdict){trust, reason};
    judged(q->check);
}

static void
again(struct claim_question *q)
{
    q->check->later++;
    say(q, TRUST_LATER, "");
}

/* A claim that is not there yet may be one that this replica has not seen. */
static void
refuse_or_wait(struct claim_question *q, const char *reason)
{
    if (q->check->msg->delivered < CLAIM_TRIES)
        again(q);
    else
        say(q, TRUST_REFUSED, reason);
}

static void
without_claim(struct claim_question *q)
{
    const struct claim_check *c = q->check;

    if (claims_may_have_expired(c->desk->bus, c->msg->stored_at_ms,
                                c->desk->after_ms))
        say(q, TRUST_AGED, "");
    else
        refuse_or_wait(q, "it has no claim");
}

/* Whether the claim holds the outcome that r tells: its worker's, or one of the
 * ledger's that a worker repeats. */
static bool
holds(const struct claim *claim, const struct result *r)
{
    const struct result *held = claim->result;

    if (!held)
        return claim->attempt == r->attempt && claim->state == r->state;
    return held->attempt == r->attempt && held->state == r->state &&
           strcmp(held->backend, r->backend) == 0;
}

static void ask_claim(struct claim_question *q, const struct result *r);

/* The result left along with its outcome, and has overtaken it: mostly that is
 * there when one looks again. If it never comes the lease runs out, and the
 * claim goes on to another attempt. */
static void
await_outcome(struct claim_question *q, const struct result *r)
{
    log_debug("result.early", "task=%s looks=%u", r->task, q->looks);
    if (++q->looks < LOOKS)
        ask_claim(q, r);
    else
        again(q);
}

static void
compare(struct claim_question *q, const struct result *r,
        const struct claim *claim)
{
    bool same = *r->nonce && strcmp(r->nonce, claim->nonce) == 0;

    if (same && holds(claim, r))
        say(q, TRUST_CLAIM, "");
    else if (same && claim->attempt == r->attempt &&
             claim->state == STATE_RUNNING)
        await_outcome(q, r);
    else if (strcmp(r->backend, "ledger") == 0)
        say(q, TRUST_REFUSED, "a worker speaks for the ledger");
    else if (claim->attempt > r->attempt)
        say(q, TRUST_STALE, "");
    else if (claim->attempt < r->attempt)
        refuse_or_wait(q, "its attempt was never claimed");
    else if (same)
        say(q, TRUST_REFUSED, "its claim holds another outcome");
    else /* or it was closed just now, by another */
        refuse_or_wait(q, "its nonce is not that of the claim");
}

static void
on_claim(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct claim_question *q = ctx;
    struct verifier *t = q->check->desk;
    struct claims_entry found;
    struct result result;
    struct err bad;

    mem_pool_reset(t->pool);
    if (e)
        again(q);
    else if (claims_read(t->bus, entry, t->pool, &found, &bad) < 0 ||
             codec_decode(CODEC_RESULT, q->result.data, q->result.len, t->pool,
                          &result, &bad) < 0)
        say(q, TRUST_REFUSED, "its claim cannot be read");
    else if (!found.claim)
        without_claim(q);
    else
        compare(q, &result, found.claim);
    if (!t->checks)
        t->idle(t->ctx);
}

static void
ask_claim(struct claim_question *q, const struct result *r)
{
    char backend[SUBJECT_TOKEN_MAX + 1];

    (void)subject_token_at(q->check->msg->subject, 1, backend);
    claims_get(q->check->desk->bus, backend, r->task, on_claim, q);
}

/* What can be said of a result without its claim, or asks for that. */
static void
look_at(struct claim_question *q)
{
    struct verifier *t = q->check->desk;
    char backend[SUBJECT_TOKEN_MAX + 1];
    struct result r;
    struct err bad;
    bool ledger;

    mem_pool_reset(t->pool);
    if (codec_decode(CODEC_RESULT, q->result.data, q->result.len, t->pool, &r,
                     &bad) < 0) {
        say(q, TRUST_REFUSED, "it cannot be read"); /* the book says why */
        return;
    }
    ledger = strcmp(r.backend, "ledger") == 0;
    if (!subject_token_at(q->check->msg->subject, 1, backend) ||
        (strcmp(backend, r.backend) != 0 && !ledger))
        say(q, TRUST_REFUSED, "subject and backend disagree");
    else if (strcmp(backend, "router") == 0 || strcmp(backend, "ledger") == 0)
        say(q, TRUST_INSIDE, "");
    else if (r.final && !state_is_terminal(r.state))
        say(q, TRUST_REFUSED, "final in a state that is none");
    else
        ask_claim(q, &r);
}

static struct claim_check *
check_new(struct verifier *t, struct bus_msg *m, size_t n)
{
    struct claim_check *c = mem_zero(1, sizeof *c + n * sizeof *c->questions);

    c->desk = t;
    c->msg = m;
    c->n = n;
    c->verdicts = mem_zero(n, sizeof *c->verdicts);
    c->next = t->checks;
    c->at = &t->checks;
    if (c->next)
        c->next->at = &c->next;
    t->checks = c;
    return c;
}

void
verify_results(struct verifier *t, struct bus_msg *m)
{
    static const struct result_verdicts none;
    struct codec_bulk results;
    struct claim_check *c;
    struct err bad;

    if (codec_bulk_open(&results, CODEC_RESULTS, m->data, m->len, &bad) < 0) {
        t->fn(t->ctx, m, &none); /* the book says what is wrong with it */
        return;
    }
    c = check_new(t, m, results.count);
    for (size_t i = 0; codec_bulk_next(&results, &c->questions[i].result); i++)
        c->questions[i].check = c;
    codec_bulk_close(&results);
    c->open = c->n + 1; /* it lasts until all were looked at */
    for (size_t i = 0; i < c->n; i++)
        look_at(&c->questions[i]);
    judged(c);
}

bool
verify_is_idle(const struct verifier *t)
{
    return !t->checks;
}

struct verifier *
verify_open(struct bus *b, int64_t after_ms, verify_fn *fn,
            void (*idle)(void *ctx), void *ctx)
{
    struct verifier *t = MEM_NEW(struct verifier);

    t->bus = b;
    t->after_ms = after_ms;
    t->fn = fn;
    t->idle = idle;
    t->ctx = ctx;
    t->pool = mem_pool_new();
    return t;
}

void
verify_close(struct verifier *t)
{
    if (!t)
        return;
    while (t->checks) {
        struct claim_check *c = t->checks;

        for (size_t i = 0; i < c->n; i++)
            bus_forget(t->bus, &c->questions[i]);
        bus_msg_retry(c->msg, 0);
        check_free(c);
    }
    mem_pool_free(t->pool);
    mem_free(t);
}
