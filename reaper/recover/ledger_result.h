/*
 * ledger_result - the result of a task that the ledger ends itself: cancelled
 * before anybody ran it, or lost and not to be run again.
 *
 * It carries attempt 0, the backend "ledger" and the reason in the operation.
 * If the task may have a claim, that is replaced first: whoever writes the
 * claim decides how the task ends.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_RECOVER_LEDGER_RESULT_H
#define REAPER_RECOVER_LEDGER_RESULT_H

#include "lib/bus/claims.h"
#include "reaper/recover/ledger_op.h"

/* Publishes the result that ends a task without a claim, then frees op. */
void ledger_result_end(struct ledger_op *op, enum state state, int64_t at_ms);

/* Encodes the result and writes it into the claim, over found. fn gets op;
 * publish the result once the claim is stored. */
void ledger_result_claim(struct ledger_op *op, enum state state, int64_t at_ms,
                         const struct claims_entry *found, bus_stored_fn *fn);

/* Publishes the result in op->bytes, then frees op. */
void ledger_result_publish(struct ledger_op *op);

#endif
