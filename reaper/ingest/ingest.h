/*
 * ingest - one transaction of the ledger: messages in, rows, counters and
 * batches out.
 *
 * ingest_enter decodes a message into events and folds them into their rows;
 * nothing is stored before ingest_commit returns 0. What the transaction
 * changed (tasks that finished, batches whose sums moved) is kept until the
 * next ingest_begin.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_INGEST_INGEST_H
#define REAPER_INGEST_INGEST_H

#include "lib/bus/bus.h"
#include "lib/model/codec.h"
#include "reaper/db/db.h"

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

/* A message to be folded. */
struct entry {
    enum event_kind kind;
    const char *stream, *consumer; /* static */
    struct bus_msg *msg;
    struct result_verdicts verdicts; /* none: it holds no results */
};

/* Opens a message, not one of kind CANCEL, for reading its members. A
 * submission that is not one of many is its only member. */
int entry_open(const struct entry *entry, struct codec_multi *out,
               struct err *e);

struct ingest;

struct ingest *ingest_new(struct db *db);
void ingest_free(struct ingest *in); /* NULL is fine */

int ingest_begin(struct ingest *in, struct err *e);
/* -1: the database failed; a message that is invalid is no error. Sets
 * verdicts.again_ms for a result whose task has not been seen on a lane. */
int ingest_enter(struct ingest *in, struct entry *entry, struct err *e);
int ingest_commit(struct ingest *in, struct err *e);

/* A task that finished, and the result that ended it, in its message. */
struct ingest_finished {
    char id[TASK_ID_SIZE];
    struct bytes result;
};

/* What the last transaction changed. */
struct ingest_changes {
    const struct row_cache_changes *rows; /* reaper/ingest/row_cache.h */
    struct ingest_finished *finished;     /* to be published */
    size_t n_finished;
};
/* Valid until the next ingest_begin. */
const struct ingest_changes *ingest_changes(const struct ingest *in);

#endif
