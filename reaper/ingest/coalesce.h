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
    QUEUE_SOON_MS = 50,    /* nobody waits for these: let more come */
    QUEUE_PAIR_MS = 250,   /* for a decision, when the result will be late */
    QUEUE_HOLD_MS = 10000, /* for a result; well within the ack wait */
    QUEUE_LOAD_MS = 500,   /* so long several results mean that more follow */
    QUEUE_HELD_BYTES = 12 << 20, /* of submissions, and of decisions */
    QUEUE_HELD_MOST = 2048,      /* messages of each */
};

struct queue;

struct queue *queue_new(void);
/* Hands back what is left, to be delivered again. NULL is fine. */
void queue_free(struct queue *q);

/* Takes over the message and the verdicts. */
void queue_add(struct queue *q, const struct entry *entry, int64_t now_ms);
/* Several results were committed at once. */
void queue_loaded(struct queue *q, int64_t now_ms);

void queue_trim(struct queue *q); /* gives back memory that it can do without */

bool
queue_is_empty(const struct queue *q); /* nothing was added that is not done */
bool queue_has_ready(const struct queue *q); /* a result or a cancel is in it */
/* When there is something to take, if no result comes; INT64_MAX: never. */
int64_t queue_due_ms(const struct queue *q);

/*
 * The next message to be folded; NULL: none for now. Results and cancels are
 * taken in their order, behind what is held of their tasks, then what has
 * waited for long enough; all: everything. It stays valid until queue_done.
 */
const struct entry *queue_take(struct queue *q, int64_t now_ms, bool all);
/* What was taken is committed: acknowledges it, or has it come again where a
 * result in it is not known yet. */
void queue_done(struct queue *q);

#endif
