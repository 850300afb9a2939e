/*
 * git_sync - the git checkout a folder is in: fast-forwarded on an interval,
 * and outcomes committed and pushed where that is configured.
 *
 * Never merges and never rebases. A push refused because others were faster is
 * repeated on top of their commits, with our own unpushed commit created anew;
 * a checkout that cannot be fast-forwarded stays as it is and is logged
 * (folder.git).
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

/* Calls add for each claimed file with its path where it waited. A claimed file
 * is not committed as deleted. */
typedef void git_sync_busy_fn(void *ctx, struct git_sync *g,
                              void (*add)(struct git_sync *g, const char *dir,
                                          const char *name));

/*
 * The checkout that contains path; nothing runs before git_sync_start.
 * ERR_INVALID: path is not in a checkout.
 */
int git_sync_open(struct git_sync **out, struct loop *l, struct proc_set *procs,
                  const char *path, struct err *e);

/* Its top folder. */
const char *git_sync_top(const struct git_sync *g);

/* Commits and pushes the outcomes of a folder, if it is configured so. The
 * layout must outlive the checkout. */
void git_sync_add(struct git_sync *g, const struct folder_layout *p);

void git_sync_start(struct git_sync *g, int64_t interval_ms,
                    git_sync_busy_fn *busy, void *ctx);

/* A running git command finishes by itself. NULL is fine. */
void git_sync_close(struct git_sync *g);

/* The top folder of the checkout that contains path, owned by the caller; NULL:
 * none. */
char *git_sync_find(const char *path);

#endif
