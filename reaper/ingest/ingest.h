/*
 * ingest - one transaction of the ledger: messages in, rows, counters and
 * batches out.
 *
 * ingest_enter turns a message into an event, folds it into its row and writes
 * the row; nothing counts before book_close has committed. What followed from
 * it (tasks that ended, batches that moved) stands in the book until the next
 * ingest_begin.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_INGEST_INGEST_H
#define REAPER_INGEST_INGEST_H

#include "lib/bus/bus.h"
#include "lib/model/task.h"
#include "reaper/db/db.h"

#include <stdbool.h>

/* What the claim said of a result, or why it is not believed. */
enum verification {
    TRUST_NONE,    /* no result */
    TRUST_CLAIM,   /* the claim has its nonce and its outcome */
    TRUST_AGED,    /* so old that its claim is not kept any more */
    TRUST_STALE,   /* the claim has moved on to a later attempt */
    TRUST_INSIDE,  /* of the router or the ledger itself: there is no claim */
    TRUST_REFUSED, /* not to be believed, see reason */
    TRUST_LATER,   /* not known yet */
};

struct result_verdict {
    enum verification trust;
    const char *reason; /* static; of TRUST_REFUSED */
};

/* On the results of a message, each. */
struct result_verdicts {
    struct result_verdict *list;
    size_t n;
    int64_t again_ms; /* after so long the message is to come again, for those
                         that are TRUST_LATER; 0: there is none */
};

/* A message with what is known of it. */
struct entry {
    enum event_kind kind;
    const char *stream, *consumer; /* static */
    struct bus_msg *msg;
    struct result_verdicts verdicts; /* none: it holds no results */
};

struct ingest;

struct ingest *ingest_new(struct db *s);
void ingest_free(struct ingest *b); /* NULL is fine */

int ingest_begin(struct ingest *b, struct err *e);
/* -1: the database failed; whatever is in the message is not an error. */
int ingest_enter(struct ingest *b, const struct entry *entry, struct err *e);
int ingest_commit(struct ingest *b, struct err *e);

/* A task that is over, and the result that says so, in its message. */
struct ingest_end {
    char id[TASK_ID_SIZE];
    struct bytes result;
};

/* Of the last transaction. */
struct ingest_news {
    bool due; /* a report is to be written */
    bool
        schedule; /* has work: a task is blocked, or to be cancelled, or over */
    const char (*batches)[TASK_ID_SIZE]; /* whose sums changed */
    size_t n_batches;
    const struct ingest_end *ends; /* to be told */
    size_t n_ends;
};
const struct ingest_news *ingest_news(const struct ingest *b);

#endif
