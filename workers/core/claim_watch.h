/*
 * claim_watch - since when this worker has seen a claim unchanged.
 *
 * The age of a claim by the broker's clock is not enough to call it lost: that
 * clock may be set, or a broker may come back after an hour in which nobody
 * could renew. So a running claim counts as silent only when we ourselves have
 * watched its revision for a while. Bounded: the oldest sight is forgotten,
 * and its claim watched anew.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_CLAIM_WATCH_H
#define WORKERS_CORE_CLAIM_WATCH_H

#include <stdint.h>

enum { CLAIM_WATCH_MAX = 1024 };

struct claim_watch;

struct claim_watch *claim_watch_new(void);
void claim_watch_free(struct claim_watch *s); /* NULL is fine */

/* Notes that task's claim was seen at revision; returns how long ago it was
 * first seen at that one, 0 if now. */
int64_t claim_watch_unchanged_ms(struct claim_watch *s, const char *task,
                                 uint64_t revision, int64_t now_ms);

#endif
