/*
 * What surrounds the steps of a task: the work tree of its branch and the
 * snapshot for its definition of done before them; the evidence, the declared
 * outputs and the end of the work tree after them.
 */
#include "workers/local/local_private.h"

#include "lib/base/str.h"
#include "workers/local/file_checks.h"
#include "workers/local/git_changes.h"
#include "workers/local/outputs.h"

#include <string.h>

/* --- before the first step ------------------------------------------------ */

static void
on_prepared(void *ctx)
{
    struct local_run *r = ctx;
    struct err e;

    r->preparing = false;
    r->starting = true;
    local_advance(r, &e);
    r->starting = false;
    r->order.changed(r->order.ctx);
}

/* Takes the snapshot that git needs before the first step. */
static void
take_snapshot(struct local_run *r, const struct git_command_conf *git,
              struct err *e)
{
    r->outputs = outputs_note(r->order.task, r->workdir, r->pool);
    if (!r->order.evidence || !dod_evidence_needs(r->order.evidence)->changes) {
        if (r->preparing)
            on_prepared(r);
        else
            local_advance(r, e);
        return;
    }
    r->preparing = true;
    r->changes = git_changes_open(git);
    git_changes_before(r->changes, on_prepared, r);
}

static struct git_command_conf
git_conf(const struct local_run *r)
{
    return (struct git_command_conf){.loop = r->local->loop,
                                     .set = r->local->set,
                                     .family = r->family,
                                     .env = r->env,
                                     .workdir = r->workdir};
}

/* Nothing of the task can be started. */
static void
fail_before(struct local_run *r, const char *why)
{
    r->outcome.exit_code = EXIT_OUR_SIDE;
    (void)str_copy(r->outcome.reason, sizeof r->outcome.reason, why);
    r->preparing = false;
    r->starting = true;
    local_end_steps(r);
    r->starting = false;
    r->order.changed(r->order.ctx);
}

/* Tasks of a batch build on one another in the checkout as it is; any other
 * runs on its branch or not at all. */
static void
on_worktree(void *ctx)
{
    struct local_run *r = ctx;
    const char *why = worktree_error(r->worktree);
    struct git_command_conf git;
    struct err e;

    if (*why && !r->order.task->batch) {
        fail_before(r, why);
        return;
    }
    if (*why)
        r->order.warn(
            r->order.ctx,
            mem_pool_printf(r->pool, "%s; it ran there as it is", why));
    else
        r->workdir = worktree_workdir(r->worktree);
    git = git_conf(r);
    take_snapshot(r, &git, &e);
}

/* Work tree and snapshot. */
static void
prepare_checkout(struct local_run *r, struct err *e)
{
    const struct task *t = r->order.task;
    struct worktree_conf conf = {.git = git_conf(r),
                                 .folder = r->local->worktrees,
                                 .branch = t->branch,
                                 .repo = t->repo,
                                 .in_place = t->batch || !r->local->worktrees};

    if (!*t->branch) {
        take_snapshot(r, &conf.git, e);
        return;
    }
    conf.name = mem_pool_printf(r->pool, "%s-%u", t->id, r->order.attempt);
    r->preparing = true;
    r->worktree = worktree_open(&conf);
    worktree_prepare(r->worktree, on_worktree, r);
}

static void
on_input(void *ctx)
{
    struct local_run *r = ctx;
    struct err e;

    if (*input_fetch_error(r->fetch))
        fail_before(r, input_fetch_error(r->fetch));
    else
        prepare_checkout(r, &e);
}

void
checkout_begin(struct local_run *r, struct err *e)
{
    const struct task *t = r->order.task;

    if (!t->input || !t->input->chunks) {
        prepare_checkout(r, e);
        return;
    }
    r->preparing = true;
    r->fetch = input_fetch_open(r->order.bus, t, r->input, on_input, r);
}

/* --- evidence for the definition of done ---------------------------------- */

/* Ends processes that git has left, then the task is finished. */
static void
end_check(void *run)
{
    struct local_run *r = run;

    r->checked = r->hard = true;
    local_end_family(r);
}

static void
check_files(void *run)
{
    struct local_run *r = run;

    if (dod_evidence_needs(r->order.evidence)->files)
        r->exists = file_checks_open(r->local->loop, r->order.evidence,
                                     r->workdir, end_check, r);
    else
        end_check(r);
}

/* False if no evidence is needed: the task was cancelled or timed out, or the
 * exit code decides. Also false once it is gathered. */
static bool
begin_check(struct local_run *r)
{
    const struct dod_needs *needs;

    if (r->checked || r->checking || r->cancelled || r->outcome.timed_out ||
        !r->order.evidence)
        return false;
    needs = dod_evidence_needs(r->order.evidence);
    if (r->outcome.exit_code != 0 && !needs->exit_code)
        return false;
    if (!r->changes && !needs->files)
        return false;
    r->checking = true;
    if (r->changes)
        git_changes_after(r->changes, r->order.evidence, check_files, r);
    else
        check_files(r);
    return true;
}

/* --- what it was to leave behind ------------------------------------------ */

static void
end_cleanup(void *run)
{
    struct local_run *r = run;
    const char *kept = worktree_kept(r->worktree);

    if (kept)
        r->order.warn(r->order.ctx,
                      mem_pool_printf(r->pool,
                                      "its changes to branch %.80s are in %s; "
                                      "nobody has carried them out",
                                      r->order.task->branch, kept));
    r->hard = true;
    local_end_family(r);
}

/* Looks at the declared outputs, then removes the work tree. False if there is
 * none, or no more. */
static bool
begin_cleanup(struct local_run *r)
{
    struct outcome *o = &r->outcome;

    if (r->cleaned)
        return false;
    r->cleaned = r->checked = true;
    if (!r->cancelled && !o->timed_out && o->exit_code == 0) {
        (void)outputs_tell(r->outputs, o->unproven, sizeof o->unproven);
        outputs_warn(r->order.task, r->pool, r->order.warn, r->order.ctx);
    }
    if (!r->worktree)
        return false;
    r->checking = true;
    worktree_finish(r->worktree, end_cleanup, r);
    return true;
}

bool
checkout_end(struct local_run *r)
{
    return begin_check(r) || begin_cleanup(r);
}

/* --- paths, memory -------------------------------------------------------- */

const char *
checkout_path(struct local_run *r, const char *path)
{
    const char *checkout = r->worktree ? worktree_checkout(r->worktree) : "";
    size_t len = strlen(checkout);

    if (len == 0 || strncmp(path, checkout, len) != 0 ||
        (path[len] && path[len] != '/'))
        return path;
    return mem_pool_printf(r->pool, "%s%s", worktree_top(r->worktree),
                           path + len);
}

void
checkout_put_off(struct local_run *r)
{
    git_changes_put_off(r->changes);
    worktree_put_off(r->worktree);
}

void
checkout_release(struct local_run *r)
{
    git_changes_close(r->changes);
    worktree_close(r->worktree);
    file_checks_close(r->exists);
}
