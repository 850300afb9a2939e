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

/* What a result's claim says of it. */
enum verification {
    VERIFY_NOT_A_RESULT,
    VERIFY_MATCHES,       /* the claim has its nonce and its outcome */
    VERIFY_CLAIM_EXPIRED, /* so old that its claim is not kept any more */
    VERIFY_SUPERSEDED,    /* the claim is that of a later attempt */
    VERIFY_WITHOUT_CLAIM, /* of the router or the ledger, which have none */
    VERIFY_REFUSED,       /* not to be believed: see reason */
    VERIFY_UNKNOWN_YET,
};

struct result_verdict {
    enum verification verification;
    const char *reason; /* static; of VERIFY_REFUSED */
};

/* One verdict per result of a message. */
struct result_verdicts {
    struct result_verdict *list;
    size_t n;
    int64_t again_ms; /* the message is to be delivered again after so long, for
                         the results that are VERIFY_UNKNOWN_YET; 0: none is */
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
