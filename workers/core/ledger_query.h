/*
 * ledger_query - asks the reaper whether it knows a task, and whether that is
 * over.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_LEDGER_QUERY_H
#define WORKERS_CORE_LEDGER_QUERY_H

#include "lib/bus/bus.h"

enum ledger_answer {
    LEDGER_UNKNOWN, /* it does not have the task */
    LEDGER_OPEN,
    LEDGER_OVER,
    LEDGER_UNSURE, /* the answer is of no use */
};

/* fn passes what it receives to ledger_query_read. One try. */
void ledger_query_send(struct bus *b, const char *task, bus_reply_fn *fn,
                       void *ctx);
/* What the answer says of the task of that id, and how many of its attempts
 * the ledger knows to have started. */
enum ledger_answer ledger_query_read(const struct bus_note *note,
                                     const char *task, uint32_t *attempts);

#endif
