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

struct git_sync;

/* Calls add for each file in work: its path where it waited. What is in work
 * is not committed as gone. */
typedef void git_sync_busy_fn(void *ctx, struct git_sync *k,
                              void (*add)(struct git_sync *k, const char *dir,
                                          const char *name));

/*
 * The checkout path lies in; nothing runs before git_sync_start. ERR_INVALID:
 * it lies in none.
 */
int git_sync_open(struct git_sync **out, struct loop *l, struct proc_set *procs,
                  const char *path, struct err *e);

/* Its top folder. */
const char *git_sync_top(const struct git_sync *k);

/* The place's outcomes are committed and pushed, if it says so. The place must
 * outlive the checkout. */
void git_sync_add(struct git_sync *k, const struct folder_layout *p);

void git_sync_start(struct git_sync *k, int64_t interval_ms,
                    git_sync_busy_fn *busy, void *ctx);

/* What git is doing it finishes by itself. NULL is fine. */
void git_sync_close(struct git_sync *k);

/* The top folder of the checkout path lies in, owned by the caller; NULL. */
char *git_sync_find(const char *path);

#endif
