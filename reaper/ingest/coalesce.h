/*
 * coalesce - messages on their way into a transaction of the ledger.
 *
 * A short task is three messages: its submission, its decision, its result. In
 * one transaction they are one write of one row, apart they are three, and that
 * is most of what the ledger has to do. So while results come by the hundred,
 * submissions and decisions are held until the result of one of their tasks is
 * here, which then takes them along. What is held is not acknowledged and
 * therefore safe; it is bounded in bytes, in number and in time, and whoever
 * asks the ledger something has it folded first.
 *
 * With little to do a message waits for 50 ms at most, and a result for none.
 *
 * Thread: the loop thread. Time arrives as an argument, monotonic.
 */
#ifndef REAPER_INGEST_COALESCE_H
#define REAPER_INGEST_COALESCE_H

#include "reaper/ingest/ingest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    COALESCE_SOON_MS = 50,    /* nobody waits for these: let more come */
    COALESCE_PAIR_MS = 250,   /* for a decision, when the result will be late */
    COALESCE_HOLD_MS = 10000, /* for a result; well within the ack wait */
    COALESCE_LOAD_MS = 500, /* so long several results mean that more follow */
    COALESCE_HELD_BYTES = 12 << 20, /* of submissions, and of decisions */
    COALESCE_HELD_MOST = 2048,      /* messages of each */
};

struct coalesce;

struct coalesce *coalesce_new(void);
/* Hands back what is left, to be delivered again. NULL is fine. */
void coalesce_free(struct coalesce *q);

/* Takes over the message and the verdicts. */
void coalesce_add(struct coalesce *q, const struct entry *entry,
                  int64_t now_ms);
/* Several results were committed at once. */
void coalesce_loaded(struct coalesce *q, int64_t now_ms);

void coalesce_trim(
    struct coalesce *q); /* gives back memory that it can do without */

bool coalesce_is_empty(
    const struct coalesce *q); /* nothing was added that is not done */
bool coalesce_has_ready(
    const struct coalesce *q); /* a result or a cancel is in it */
/* When there is something to take, if no result comes; INT64_MAX: never. */
int64_t coalesce_due_ms(const struct coalesce *q);

/*
 * The next message to be folded; NULL: none for now. Results and cancels are
 * taken in their order, behind what is held of their tasks, then what has
 * waited for long enough; all: everything. It stays valid until coalesce_done.
 */
const struct entry *coalesce_take(struct coalesce *q, int64_t now_ms, bool all);
/* What was taken is committed: acknowledges it, or has it come again where a
 * result in it is not known yet. */
void coalesce_done(struct coalesce *q);

#endif
