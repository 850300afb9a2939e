/*
 * coalesce - holds submissions and decisions until the result of one of their
 * tasks arrives, so that a short task is written once.
 *
 * A short task is three messages: its submission, its decision, its result. In
 * one transaction they are one write of one row; apart they are three, and that
 * is most of the ledger's work. So while results come by the hundred, messages
 * are held until the result of one of their tasks is here and takes them along.
 * What is held is not acknowledged and therefore safe. It is bounded in bytes,
 * in number and in time, and is folded before any query is answered.
 *
 * With little to do a message waits 50 ms at most, and a result not at all.
 *
 * Thread: the loop thread. Time arrives as an argument, monotonic.
 */
#ifndef REAPER_INGEST_COALESCE_H
#define REAPER_INGEST_COALESCE_H

#include "reaper/ingest/ingest.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    COALESCE_SOON_MS = 50,    /* messages that nobody waits for */
    COALESCE_PAIR_MS = 250,   /* for a decision, beyond the bounds below */
    COALESCE_HOLD_MS = 10000, /* for a result; well within the ack wait */
    COALESCE_LOAD_MS = 500,   /* after several results more are expected */
    COALESCE_HELD_BYTES = 12 << 20, /* of submissions, and of decisions */
    COALESCE_HELD_MOST = 2048,      /* messages of each */
};

struct coalesce;

struct coalesce *coalesce_new(void);
/* Has what is left delivered again. NULL is fine. */
void coalesce_free(struct coalesce *c);

/* Takes over the message and the verdicts. */
void coalesce_add(struct coalesce *c, const struct entry *entry,
                  int64_t now_ms);
/* Several results were committed at once. */
void coalesce_loaded(struct coalesce *c, int64_t now_ms);

/* Gives back memory that it can do without. */
void coalesce_trim(struct coalesce *c);

/* Everything that was added is done. */
bool coalesce_is_empty(const struct coalesce *c);
/* It has a result or a cancel. */
bool coalesce_has_ready(const struct coalesce *c);
/* When something else is to be taken, if no result comes; INT64_MAX: never. */
int64_t coalesce_due_ms(const struct coalesce *c);

/*
 * The next message to be folded; NULL: none for now. Results and cancels are
 * taken in their order, each after what is held of its tasks, then what has
 * waited long enough; all: everything. It stays valid until coalesce_done.
 */
struct entry *coalesce_take(struct coalesce *c, int64_t now_ms, bool all);
/* What was taken is committed: acknowledges it, or has it delivered again where
 * a result in it is not known yet. */
void coalesce_done(struct coalesce *c);

#endif
