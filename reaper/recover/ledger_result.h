/*
 * ledger_result - the last word on a task that the ledger ends itself:
 * cancelled before anybody ran it, or lost and not to be run again. Pure.
 *
 * Such a result carries attempt 0 and the backend "ledger"; the claim of the
 * task, if it has one, is written over with it first.
 */
#ifndef REAPER_RECOVER_LEDGER_RESULT_H
#define REAPER_RECOVER_LEDGER_RESULT_H

#include "lib/model/task.h"

struct ledger_result {
    const char *task, *batch, *reason;
    const char *nonce; /* of the claim; "" if there is none */
    enum state state;  /* CANCELLED, DEAD or UNKNOWN */
    int64_t at_ms;
};

void ledger_result_result(const struct ledger_result *c, struct result *out);

#endif
