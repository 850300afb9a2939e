#include "reaper/trust.h"

#include "lib/codec.h"
#include "lib/log.h"
#include "lib/str.h"
#include "lib/subject.h"

#include <string.h>

enum {
    CLAIM_MS = 5000, /* for the broker to answer */
    CLAIM_TRIES = 3, /* a replica may lag behind the claim's writer */
    RETRY_MS = 200,  /* between them */
};

/* A result whose claim is being asked for. */
struct check {
    struct trust_desk *desk;
    struct bus_msg *msg;
    struct check *next, **at;
};

struct trust_desk {
    struct bus *bus;
    int64_t after_ms;
    trust_fn *fn;
    void (*idle)(void *ctx);
    void *ctx;
    struct mem_pool *pool;
    struct check *checks;
};

static void
check_free(struct check *c)
{
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    mem_free(c);
}

static void
say(const struct check *c, enum trust trust, const char *reason)
{
    c->desk->fn(c->desk->ctx, c->msg, trust, reason);
}

/* A claim that is not there yet may be one that this replica has not seen. */
static void
refuse_or_wait(const struct check *c, const char *reason)
{
    if (c->msg->delivered < CLAIM_TRIES)
        bus_msg_retry(c->msg, RETRY_MS);
    else
        say(c, TRUST_REFUSED, reason);
}

/* How long ago the message was stored: by the broker's clock, of which only a
 * lower bound is known, or by ours where nothing newer was seen. */
static int64_t
age_ms(const struct check *c)
{
    int64_t broker_ms = bus_broker_ms(c->desk->bus);
    int64_t now_ms = str_wall_ms();

    if (broker_ms > now_ms)
        now_ms = broker_ms;
    return now_ms - c->msg->stored_at_ms;
}

static void
without_claim(const struct check *c)
{
    if (age_ms(c) >= c->desk->after_ms)
        say(c, TRUST_AGED, "");
    else
        refuse_or_wait(c, "it has no claim");
}

/* What the ledger decided itself, as a worker repeats it from the claim. */
static bool
is_repeated(const struct claim *claim, const struct result *r)
{
    return strcmp(r->backend, "ledger") == 0 && claim->result &&
           claim->result->attempt == r->attempt &&
           strcmp(claim->result->backend, "ledger") == 0;
}

static void
compare(const struct check *c, const struct result *r,
        const struct claim *claim)
{
    bool same = *r->nonce && strcmp(r->nonce, claim->nonce) == 0;

    if (same && (claim->attempt == r->attempt || is_repeated(claim, r)))
        say(c, TRUST_CLAIM, "");
    else if (strcmp(r->backend, "ledger") == 0)
        say(c, TRUST_REFUSED, "a worker speaks for the ledger");
    else if (claim->attempt > r->attempt)
        say(c, TRUST_STALE, "");
    else if (claim->attempt < r->attempt)
        refuse_or_wait(c, "its attempt was never claimed");
    else
        say(c, TRUST_REFUSED, "its nonce is not that of the claim");
}

static void
on_claim(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct check *c = ctx;
    struct trust_desk *t = c->desk;
    struct result result;
    struct claim claim;
    struct err bad;

    mem_pool_reset(t->pool);
    if (e)
        bus_msg_retry(c->msg, RETRY_MS);
    else if (!entry)
        without_claim(c);
    else if (codec_decode(CODEC_RESULT, c->msg->data, c->msg->len, t->pool,
                          &result, &bad) < 0 ||
             codec_decode(CODEC_CLAIM, entry->data, entry->len, t->pool, &claim,
                          &bad) < 0)
        say(c, TRUST_REFUSED, bad.msg);
    else
        compare(c, &result, &claim);
    check_free(c);
    if (!t->checks)
        t->idle(t->ctx);
}

static void
ask_claim(struct trust_desk *t, struct bus_msg *m, const char *backend,
          const char *task)
{
    struct check *c = MEM_NEW(struct check);
    char subject[SUBJECT_SIZE];

    c->desk = t;
    c->msg = m;
    c->next = t->checks;
    c->at = &t->checks;
    if (c->next)
        c->next->at = &c->next;
    t->checks = c;
    bus_get_last(t->bus, "KV_claims", subject_claim(subject, backend, task),
                 CLAIM_MS, on_claim, c);
}

void
trust_ask(struct trust_desk *t, struct bus_msg *m)
{
    char backend[SUBJECT_TOKEN_MAX + 1];
    struct result result;
    struct err bad;
    bool ledger;

    mem_pool_reset(t->pool);
    if (codec_decode(CODEC_RESULT, m->data, m->len, t->pool, &result, &bad) <
        0) {
        t->fn(t->ctx, m, TRUST_REFUSED, bad.msg);
        return;
    }
    ledger = strcmp(result.backend, "ledger") == 0;
    if (!subject_token_at(m->subject, 1, backend) ||
        (strcmp(backend, result.backend) != 0 && !ledger))
        t->fn(t->ctx, m, TRUST_REFUSED, "subject and backend disagree");
    else if (strcmp(backend, "router") == 0 || strcmp(backend, "ledger") == 0)
        t->fn(t->ctx, m, TRUST_INSIDE, "");
    else if (result.final && !state_is_terminal(result.state))
        t->fn(t->ctx, m, TRUST_REFUSED, "final in a state that is none");
    else
        ask_claim(t, m, backend, result.task);
}

bool
trust_is_idle(const struct trust_desk *t)
{
    return !t->checks;
}

struct trust_desk *
trust_open(struct bus *b, int64_t after_ms, trust_fn *fn,
           void (*idle)(void *ctx), void *ctx)
{
    struct trust_desk *t = MEM_NEW(struct trust_desk);

    t->bus = b;
    t->after_ms = after_ms ? after_ms : TRUST_AFTER_MS;
    t->fn = fn;
    t->idle = idle;
    t->ctx = ctx;
    t->pool = mem_pool_new();
    return t;
}

void
trust_close(struct trust_desk *t)
{
    if (!t)
        return;
    while (t->checks) {
        bus_forget(t->bus, t->checks);
        bus_msg_retry(t->checks->msg, 0);
        check_free(t->checks);
    }
    mem_pool_free(t->pool);
    mem_free(t);
}
