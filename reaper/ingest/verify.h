/*
 * verify - whether a result is to be believed, by the claim under which its
 * attempt ran.
 *
 * Anybody who may submit can make the broker store a message on results.* (by
 * naming it as reply subject), so that a result counts only with the nonce of
 * the claim, which is told to nobody, and once the claim holds that outcome: a
 * worker sends both at once, and the outcome may yet be refused. The router and
 * the ledger run nothing and have no claim; what they may say is checked by the
 * book.
 *
 * Claims are kept for 48 hours. A result that was stored CLAIMS_KEPT_MS ago
 * and has no claim left is believed unverified: it is read now because the
 * ledger is built anew, or was away for two days. Without that the streams
 * would be no copy of the ledger.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_INGEST_VERIFY_H
#define REAPER_INGEST_VERIFY_H

#include "lib/bus/bus.h"
#include "reaper/ingest/ingest.h"

struct verifier;

/* fn gets each message back with a verdict on each of its results, whose list
 * it owns and frees with mem_free; idle is called when no message is left. One
 * of which nothing is known yet is settled here: it is delivered again.
 * after_ms 0: CLAIMS_KEPT_MS. */
typedef void verify_fn(void *ctx, struct bus_msg *m,
                       const struct result_verdicts *verdicts);
struct verifier *verify_open(struct bus *b, int64_t after_ms, verify_fn *fn,
                             void (*idle)(void *ctx), void *ctx);
/* Hands back what is in hand. NULL is fine. */
void verify_close(struct verifier *t);

/* Takes over m, a message of RESULTS. May answer at once. */
void verify_results(struct verifier *t, struct bus_msg *m);
bool verify_is_idle(const struct verifier *t);

#endif
