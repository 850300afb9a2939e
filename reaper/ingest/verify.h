/*
 * verify - whether a result is to be believed, by the claim under which its
 * attempt ran.
 *
 * Anybody who may submit can make the broker store a message on results.* (by
 * naming it as reply subject). So a result counts only with the nonce of the
 * claim, which is told to nobody, and once the claim holds that outcome: a
 * worker sends both at once, and the outcome may yet be refused. The router and
 * the ledger run nothing and have no claim; what they may say is checked by
 * ingest, and so is that a result comes from the lane that its task was routed
 * to.
 *
 * Claims are kept for 48 hours. A result that was stored CLAIMS_KEPT_MS ago
 * and has no claim left is believed unverified: it is read now because the
 * ledger is rebuilt, or was away for two days. Without that the streams would
 * be no copy of the ledger.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_INGEST_VERIFY_H
#define REAPER_INGEST_VERIFY_H

#include "lib/bus/bus.h"
#include "reaper/ingest/ingest.h"

struct verifier;

/* Receives a message back with one verdict per result. It owns the list and
 * frees it with mem_free. */
typedef void verifier_fn(void *ctx, struct bus_msg *m,
                         const struct result_verdicts *verdicts);

/*
 * A message of whose results nothing is known yet is settled here, to be
 * delivered again; fn receives all others. idle is called when no message is
 * left. kept_ms as in claims_may_have_expired.
 */
struct verifier *verifier_open(struct bus *b, int64_t kept_ms, verifier_fn *fn,
                               void (*idle)(void *ctx), void *ctx);
/* Has the messages in hand delivered again. NULL is fine. */
void verifier_close(struct verifier *v);

/* Takes over m, a message of RESULTS. May call fn at once. */
void verifier_check(struct verifier *v, struct bus_msg *m);
bool verifier_is_idle(const struct verifier *v);

#endif
