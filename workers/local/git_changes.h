/*
 * git_changes - which files of a git work tree an attempt has changed.
 *
 * Before and after, git writes what is below the workdir (tracked or not, but
 * not ignored) as a tree; what differs between the two was changed: modified,
 * created, deleted or committed since. What was dirty before and is the same
 * after does not count.
 *
 * git works with an index and objects in a folder of its own: the user's
 * index, refs and objects are not written. It runs no hooks and no external
 * diff; filters that are configured for the repository do run, as in git
 * status. Each look may take a minute.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_GIT_CHANGES_H
#define WORKERS_LOCAL_GIT_CHANGES_H

#include "lib/io/loop.h"
#include "lib/os/proc.h"
#include "workers/core/dod_evidence.h"

struct git_changes;

struct git_changes_conf {
    struct loop *loop;
    struct proc_set *set;
    struct proc_family *family;
    const char *const *env; /* of the task; what git is told is left out */
    const char *workdir;    /* NULL: ours */
};

/* The conf is copied, what it points to must live as long. */
struct git_changes *git_changes_open(const struct git_changes_conf *conf);
void git_changes_close(struct git_changes *c); /* ended or not; NULL is fine */

/* Each calls done once, on the loop and never before it returned. What goes
 * wrong is told by after, as the reason why nothing is known. */
void git_changes_before(struct git_changes *c, loop_fn *done, void *ctx);
void git_changes_after(struct git_changes *c, struct dod_evidence *f,
                       loop_fn *done, void *ctx);

#endif
