/*
 * claim - the claim of an attempt in KV_claims: takes, renews and settles it by
 * compare-and-set, one request at a time.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_CLAIM_H
#define WORKERS_CORE_CLAIM_H

#include "lib/bus/claims.h"
#include "workers/core/ledger_query.h"

struct attempt;
struct worker;

/* What happened to a claim. Each may end the attempt. */
struct claim_events {
    /* Before it is taken: what stands in the bucket, or, with claim NULL,
     * nothing, as far as is known; then sight is NULL too. Followed by
     * claim_take, claim_ask_ledger, claim_settle or the attempt's end. */
    void (*found)(struct attempt *a, const struct claims_entry *found,
                  const struct claim_sight *sight);
    /* The answer to claim_ask_ledger, or e. attempts: that the ledger knows. */
    void (*answered)(struct attempt *a, enum ledger_answer answer,
                     uint32_t attempts, const struct err *e);
    /* The fence is set. cancel: what was requested before the claim was taken,
     * as far as it is not known already, or NULL. */
    void (*taken)(struct attempt *a, const struct control *cancel);
    void (*noted)(struct attempt *a); /* with the note, while it runs */
    void (*settled)(struct attempt *a);
    /* It is another attempt's now, or gone. */
    void (*lost)(struct attempt *a);
    /* Before it is taken: what stands in the bucket is no claim. Followed by
     * what follows found. */
    void (*unreadable)(struct attempt *a, const struct claim_sight *sight);
};

/* At a first delivery hardly any task has a claim: it is found to have none
 * without reading, and read only if the bucket then refuses ours. */
void claim_begin(struct attempt *a);
void claim_ask_ledger(struct attempt *a);
/* Fills a->claim for the attempt that is planned, and writes it. What the one
 * before has noted stays noted. found: the claim it replaces, or NULL. */
void claim_take(struct attempt *a, const struct claim *found,
                const struct delivery_plan *plan);

/* Writes the claim as it stands, to prolong the lease. */
void claim_renew(struct attempt *a);
/* Writes a->claim.remote, which has changed. */
void claim_write_note(struct attempt *a);
/* Writes the outcome in a->claim; the phase is PHASE_SETTLE or PHASE_CLOSE.
 * True if it left at once, not after what is on its way. */
bool claim_settle(struct attempt *a);
/* DUE_CLAIM has come. */
void claim_retry(struct attempt *a);
/* Nothing is reported any more. */
void claim_forget(struct attempt *a);

#endif
