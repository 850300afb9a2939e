/*
 * git_changes - which files of a git work tree an attempt has changed.
 *
 * Before and after, git writes the files below the workdir (tracked or not, but
 * not ignored) as a tree; files that differ were changed: modified, created,
 * deleted or committed since. A file that was dirty before and is the same
 * after does not count.
 *
 * git uses an index and objects in a temporary folder: the repository's index,
 * refs and objects are not written. It runs no hooks and no external diff;
 * filters that are configured for the repository do run, as in git status. Each
 * snapshot may take a minute.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_GIT_CHANGES_H
#define WORKERS_LOCAL_GIT_CHANGES_H

#include "workers/core/dod_evidence.h"
#include "workers/local/git_command.h"

struct git_changes;

/* The conf is copied; what it points to must outlive the result. */
struct git_changes *git_changes_open(const struct git_command_conf *conf);
void
git_changes_close(struct git_changes *c); /* finished or not; NULL is fine */

/* This process did not run: the limit of a snapshot begins anew. */
void git_changes_put_off(struct git_changes *c); /* NULL is fine */

/* Each calls done once, on the loop and never before returning. After a failure
 * git_changes_after reports that the changes are unknown, and why. */
void git_changes_before(struct git_changes *c, loop_fn *done, void *ctx);
void git_changes_after(struct git_changes *c, struct dod_evidence *f,
                       loop_fn *done, void *ctx);

#endif
