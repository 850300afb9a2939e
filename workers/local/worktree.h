/*
 * worktree - where a task runs that names a branch.
 *
 * If the checkout at the workdir is on that branch the task runs there. Else it
 * gets a work tree of its own, with the branch's commit checked out and no
 * branch (detached): below conf.folder, at the same place within the repository
 * as the workdir. The branch may be a local one, else one of origin that was
 * fetched before. The user's checkout and branches stay as they are; hooks do
 * not run, submodules stay empty.
 *
 * Afterwards a work tree without changes is removed. One with files that git
 * status tells of, or with commits that no branch or tag contains, is kept for
 * a person, who removes it with `git worktree remove`.
 *
 * Beside a work tree NAME, NAME.used says that a task may have written to it,
 * NAME.kept that it is a person's now. A worker that starts goes through those
 * that an earlier process has left. Commands that change a repository's list of
 * work trees are serialized by a lock in that repository.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_WORKTREE_H
#define WORKERS_LOCAL_WORKTREE_H

#include "workers/local/git_command.h"

#include <stdbool.h>

struct worktree;

struct worktree_conf {
    struct git_command_conf git; /* workdir: of the task; NULL: the worker's */
    const char *folder;          /* where work trees are made; absolute */
    const char *name;            /* of this one: a file name, unique */
    const char *branch;
    const char *repo; /* "": any; else owner/name, which a remote must be */
    bool in_place;    /* never make one: fail if it would be needed */
};

/* The conf is copied; what it points to must outlive the result. */
struct worktree *worktree_open(const struct worktree_conf *conf);
/* Kills what runs; what is there stays. NULL is fine. */
void worktree_close(struct worktree *w);

/* Calls done once, on the loop and never before returning. */
void worktree_prepare(struct worktree *w, loop_fn *done, void *ctx);
/* After it: "", or one sentence why the task cannot run on that branch. */
const char *worktree_error(const struct worktree *w);
/* Where to run; the top of the checkout that stands for, and what is in its
 * place: equal if the task runs in place. */
const char *worktree_workdir(const struct worktree *w);
const char *worktree_checkout(const struct worktree *w);
const char *worktree_top(const struct worktree *w);

/* Removes the work tree, unless something is left in it. Calls done once, on
 * the loop and never before returning. */
void worktree_finish(struct worktree *w, loop_fn *done, void *ctx);
/* This process did not run: the time that git may take begins anew. NULL is
 * fine. */
void worktree_put_off(struct worktree *w);
/* After worktree_finish: the path of a work tree that is kept; NULL: none. */
const char *worktree_kept(const struct worktree *w);

/* Does the same for all that is in the folder now, which an earlier process has
 * left, in the background. */
struct worktree_prune;
struct worktree_prune *worktree_prune_start(const struct git_command_conf *git,
                                            const char *folder);
void worktree_prune_stop(struct worktree_prune *p); /* NULL is fine */

#endif
