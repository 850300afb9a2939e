/*
 * sources - the durable consumers of the reaper: what they deliver is folded
 * into the ledger.
 *
 * Results are verified against their claims, then all messages are coalesced
 * into transactions. A message is acknowledged after its transaction is
 * committed and the caller has seen what changed. If the database fails nothing
 * is acknowledged and the loop is stopped: a new process folds it again.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_SOURCES_H
#define REAPER_SOURCES_H

#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "reaper/db/db.h"
#include "reaper/ingest/ingest.h"

struct sources;

/* A durable consumer; that of the submissions is the first. */
struct source {
    const char *stream, *durable, *name; /* name: in the database */
    enum event_kind kind;
    unsigned window; /* messages in hand */
};

enum { SOURCES_N = 4 };
extern const struct source sources_list[SOURCES_N];

struct sources_parts {
    struct bus *bus;
    struct loop *loop;
    struct db *db;
    int64_t verify_after_ms; /* see reaper/ingest/verify.h */
    void *ctx;
    void (*committed)(void *ctx, const struct ingest_changes *changes);
};

/* parts is copied. */
struct sources *sources_open(const struct sources_parts *parts);
/* Hands back what is not committed, to be delivered again. NULL is fine. */
void sources_close(struct sources *s);

/* Binds to the durables. */
int sources_bind(struct sources *s, struct err *e);
/* Begins to read the first n of them. */
void sources_read(struct sources *s, int n);

/* Takes nothing new, and stops the loop once everything held is committed. */
void sources_drain(struct sources *s);

/* Folds and commits everything that has arrived. */
void sources_fold_all(struct sources *s);
/* The same within COALESCE_SOON_MS. */
void sources_fold_soon(struct sources *s);

/* Releases memory, for a quiet moment. */
void sources_trim(struct sources *s);

/* Messages of sources_list[i] that are not folded yet. */
uint64_t sources_lag(const struct sources *s, int i);
/* The database does not work any more. */
bool sources_failed(const struct sources *s);

#endif
