/*
 * claims - the bucket KV_claims: who runs which task, and how its last attempt
 * ended.
 *
 * A task's claim is the last message on its subject. It is written by
 * compare-and-set only: of two writers one gets ERR_CONFLICT and reads again.
 * What a claim means for the task is decided in lib/model/task_state.h; here
 * it is read, written, watched and turned into a result.
 *
 * Thread: what takes a bus, the loop thread; the rest is pure.
 */
#ifndef LIB_BUS_CLAIMS_H
#define LIB_BUS_CLAIMS_H

#include "lib/base/mem.h"
#include "lib/bus/bus.h"
#include "lib/model/task.h"

enum {
    /* The bucket keeps a claim for 48 hours: of a message that is older than
     * this the claim may have expired. */
    CLAIMS_KEPT_MS = 47 * 3600 * 1000,
    CLAIMS_WATCHED_MAX = 1024,
};

/* --- reading and writing -------------------------------------------------- */

/* What the bucket holds for a task. */
struct claims_entry {
    const struct claim *claim; /* in the pool; NULL: none, or deleted */
    uint64_t revision;         /* a put must expect it; 0: never written */
    int64_t age_ms;            /* since it was written, by the broker's clock */
};

/* Gets a task's claim; fn passes what it receives to claims_read. One try of
 * 5 s. */
void claims_get(struct bus *b, const char *backend, const char *task,
                bus_entry_fn *fn, void *ctx);

/* Decodes the answer of claims_get, where entry NULL means that there is no
 * claim. -1: what is there is no claim of that task: out has revision and age,
 * and a put must expect the revision. */
int claims_read(const struct bus *b, const struct bus_entry *entry,
                const char *task, struct mem_pool *pool,
                struct claims_entry *out, struct err *e);

/* Writes c if the revision is still this one; fn as in bus_publish. One try of
 * 5 s: after ERR_TIMEOUT only reading tells whether it was stored. */
void claims_put(struct bus *b, const char *backend, const struct claim *c,
                uint64_t revision, bus_stored_fn *fn, void *ctx);

/*
 * Whether the claim of a message stored then may have expired, so that its
 * absence says nothing: the message is at least kept_ms old (0:
 * CLAIMS_KEPT_MS) by the broker's clock, of which only a lower bound is
 * known, or by ours.
 */
bool claims_may_have_expired(const struct bus *b, int64_t stored_at_ms,
                             int64_t kept_ms);

/* --- watching ------------------------------------------------------------- */

/*
 * Since when this process has seen claims unchanged. The age of a claim by the
 * broker's clock is not enough to call it lost: that clock may be set, or a
 * broker may come back after an hour in which nobody could renew.
 *
 * Bounded: while CLAIMS_WATCHED_MAX others were seen in the last ten minutes a
 * new one is not remembered, and always counts as seen for the first time.
 */
struct claims_watch;

struct claims_watch *claims_watch_new(void);
void claims_watch_free(struct claims_watch *w); /* NULL is fine */
/* Forgets when claims were first seen: the caller was suspended, and perhaps
 * their holders too, who get their time to renew them. */
void claims_watch_restart(struct claims_watch *w);

/* Notes that task's claim was seen as found at now_ms (monotonic). Returns its
 * age, and how long ago it was first seen at that revision: 0 the first time.
 */
struct claim_sight claims_watch_see(struct claims_watch *w, const char *task,
                                    const struct claims_entry *found,
                                    int64_t now_ms);

/* Whether no worker serves the claim: between two attempts, lost, or its lease
 * has run out, by its age alone and with a margin. False if there is none, or
 * it holds an outcome. */
bool claims_is_unserved(const struct claims_entry *found);

/* --- results -------------------------------------------------------------- */

/* The task of a claim, for a result made of what the claim alone says. */
struct claims_task {
    const char *id, *backend, *lane, *batch;
};

/*
 * The result the claim found holds, marked as emitted again: the one stored in
 * it, or else one made of its own members. The end of the output is put back,
 * into *part. Everything is borrowed; final is the caller's to set.
 */
void claims_result(const struct claims_entry *found,
                   const struct claims_task *task, struct output_part *part,
                   struct result *out);

/* The claim that ends its task with r and replaces found, of which it keeps
 * the attempt, the fence and the counts. Sets r's fence. Borrows from r. */
void claims_close(const struct claims_entry *found, struct result *r,
                  struct claim *out);

#endif
