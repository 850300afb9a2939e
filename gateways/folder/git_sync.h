/*
 * git_sync - the git checkout a folder is in: pulled forward on an interval,
 * and outcomes committed and pushed where that is wanted.
 *
 * Never merges and never rebases. A push that is refused because others were
 * faster is tried again on top of theirs, with our own unpushed commit made
 * anew; what cannot go forward is left as it is and said (folder.git).
 *
 * Thread: the loop thread; git runs as a child, for a bounded time.
 */
#ifndef GATEWAYS_FOLDER_GIT_SYNC_H
#define GATEWAYS_FOLDER_GIT_SYNC_H

#include "gateways/folder/folder_layout.h"
#include "lib/base/err.h"
#include "lib/io/loop.h"
#include "lib/os/proc.h"

#include <stdint.h>

struct checkout;

/* Calls add for each file in work: its path where it waited. What is in work
 * is not committed as gone. */
typedef void checkout_busy_fn(void *ctx, struct checkout *k,
                              void (*add)(struct checkout *k, const char *dir,
                                          const char *name));

/*
 * The checkout path lies in; nothing runs before checkout_start. ERR_INVALID:
 * it lies in none.
 */
int checkout_open(struct checkout **out, struct loop *l, struct proc_set *procs,
                  const char *path, struct err *e);

/* Its top folder. */
const char *checkout_top(const struct checkout *k);

/* The place's outcomes are committed and pushed, if it says so. The place must
 * outlive the checkout. */
void checkout_add(struct checkout *k, const struct place *p);

void checkout_start(struct checkout *k, int64_t interval_ms,
                    checkout_busy_fn *busy, void *ctx);

/* What git is doing it finishes by itself. NULL is fine. */
void checkout_close(struct checkout *k);

/* The top folder of the checkout path lies in, owned by the caller; NULL. */
char *checkout_find(const char *path);

#endif
