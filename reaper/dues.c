#include "reaper/dues.h"

#include "lib/codec.h"
#include "lib/log.h"
#include "lib/subject.h"
#include "reaper/report.h"
#include "reaper/report_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    QUIET_MS = 25,    /* outcomes in a row come first */
    SLICE_MS = 20,    /* how long the loop may be kept */
    SLICE_ROWS = 32,  /* looked at in one go */
    AGAIN_MS = 30000, /* before a failed report is tried again */
    FAILED_MAX = 256,
    MEMBERS_MAX = 2000, /* of a batch that its report lists */
    FAILURES_MAX = 1000,
};

struct failure {
    int64_t n, again_ms;
    bool batch;
};

struct dues {
    struct loop *loop;
    struct loop_timer *timer;
    bool armed;
    struct store *store;
    char *root;
    bool in_workdir;
    struct mem_pool *pool;
    struct failure failed[FAILED_MAX];
    size_t n_failed;
};

/* --- where ---------------------------------------------------------------- */

/* The folder a report_path is below: the task's own, where that is possible
 * and wanted, else the reports'. */
static const char *
root_of(struct dues *d, const struct task *t)
{
    const char *home = getenv("HOME"), *dir;
    struct stat st;

    if (!d->in_workdir || !t || !*t->workdir)
        return d->root;
    dir = t->workdir;
    if (strcmp(dir, "~") == 0 && home)
        dir = home;
    else if (strncmp(dir, "~/", 2) == 0 && home)
        dir = mem_pool_printf(d->pool, "%s/%s", home, dir + 2);
    if (*dir == '/' && stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
        return dir;
    return d->root;
}

/*
 * A name below reports/<kind>/ that belongs to owner, without extension. The
 * plain one is for the first of that title that was accepted, so that a replay
 * gives the same; of two titles that make one name the first written has it.
 */
static const char *
name_of(struct dues *d, bool batch, const char *title, const char *owner,
        struct err *e)
{
    const char *kind = batch ? "batches" : "jobs", *name;
    char token[SUBJECT_TOKEN_MAX + 1];
    bool ours = !*title;

    subject_token_from(title, owner, token);
    if (!ours && store_is_first(d->store, batch, title, owner, &ours, e) < 0)
        return NULL;
    name = mem_pool_printf(d->pool, "reports/%s/%s", kind, token);
    if (ours && store_report_name(d->store, name, owner, &ours, e) < 0)
        return NULL;
    if (ours)
        return name;
    name = mem_pool_printf(d->pool, "reports/%s/%s-%.8s", kind, token, owner);
    if (store_report_name(d->store, name, owner, &ours, e) < 0)
        return NULL;
    return ours ? name
                : mem_pool_printf(d->pool, "reports/%s/%s-%s", kind, token,
                                  owner);
}

/* --- one report ----------------------------------------------------------- */

static int
put_task_report(const char *root, const char *path, enum report_format format,
                const struct report_task *t, struct err *e)
{
    struct str text = {0};
    int rc;

    report_task(t, format, &text);
    rc = report_file_put(root, path, str_text(&text), text.len, e);
    str_free(&text);
    return rc;
}

/* e is ERR_BUG if the database failed: nothing after that makes sense. */
static int
store_failed(struct err *e)
{
    e->code = ERR_BUG;
    return -1;
}

static int
write_task(struct dues *d, const struct task_state *row, struct err *e)
{
    struct attempt *attempts;
    struct report_task t;
    const char *name, *root = d->root, *path;
    size_t n;

    if (store_attempts(d->store, row->n, d->pool, &attempts, &n, e) < 0)
        return store_failed(e);
    report_task_fill(row, attempts, n, d->pool, &t);
    if (*row->report_path) {
        root = root_of(d, t.task);
        path = row->report_path;
        if (put_task_report(root, path, report_format_of(path), &t, e) < 0)
            return -1;
    } else {
        name = name_of(d, false, row->name, row->id, e);
        if (!name)
            return store_failed(e);
        path = mem_pool_printf(d->pool, "%s.json", name);
        if (put_task_report(root, path, REPORT_JSON, &t, e) < 0)
            return -1;
        path = mem_pool_printf(d->pool, "%s.md", name);
        if (put_task_report(root, path, REPORT_MARKDOWN, &t, e) < 0)
            return -1;
    }
    path = mem_pool_printf(d->pool, "%s/%s", root, path);
    if (store_reported(d->store, row->n, path, e) < 0)
        return store_failed(e);
    return 0;
}

/* Rows of a batch in the given states. */
static int
members(struct dues *d, const char *batch, uint32_t states, unsigned most,
        const struct task_state ***out, struct err *e)
{
    int64_t *ns;
    int n = store_members(d->store, batch, states, most, d->pool, &ns, e);

    if (n < 0)
        return -1;
    *out = mem_pool_alloc(d->pool, (size_t)n * sizeof **out);
    for (int i = 0; i < n; i++) {
        struct task_state *row = mem_pool_alloc(d->pool, sizeof *row);

        fold_init(row, "");
        if (store_task_at(d->store, ns[i], d->pool, row, e) < 0)
            return -1;
        (*out)[i] = row;
    }
    return n;
}

static int
put_batch_report(struct dues *d, const struct report_batch *b, const char *name,
                 const char *extension, enum report_format format,
                 const char **path, struct err *e)
{
    struct str text = {0};
    int rc;

    *path = mem_pool_printf(d->pool, "%s%s", name, extension);
    report_batch(b, format, &text);
    rc = report_file_put(d->root, *path, str_text(&text), text.len, e);
    str_free(&text);
    return rc;
}

/* More tasks came with its id than it should have. */
static bool
has_open(const struct batch *b)
{
    return b->accepted > b->succeeded + b->failed + b->cancelled;
}

static int
write_batch(struct dues *d, int64_t n, const struct batch_state *row,
            struct err *e)
{
    uint32_t over = 0, failed;
    struct report_batch b = {.batch = &row->b};
    const struct task_state **all, **bad;
    const char *name, *path;
    int n_all, n_bad;

    for (int s = 1; s < STATE_COUNT; s++)
        if (state_is_terminal((enum state)s))
            over |= 1u << s;
    failed = over & ~(1u << STATE_SUCCEEDED);
    /* Members that are open take a look at every one: seldom there are any. */
    n_all = members(d, row->b.id, has_open(&row->b) ? ~0u : over, MEMBERS_MAX,
                    &all, e);
    n_bad =
        n_all < 0 ? -1 : members(d, row->b.id, failed, FAILURES_MAX, &bad, e);
    name = n_bad < 0 ? NULL : name_of(d, true, row->b.name, row->b.id, e);
    if (!name)
        return store_failed(e);
    b.members = all;
    b.n_members = (size_t)n_all;
    b.failed = bad;
    b.n_failed = (size_t)n_bad;
    if (put_batch_report(d, &b, name, ".json", REPORT_JSON, &path, e) < 0 ||
        put_batch_report(d, &b, name, ".md", REPORT_MARKDOWN, &path, e) < 0)
        return -1;
    path = mem_pool_printf(d->pool, "%s/%s", d->root, path);
    if (store_batch_reported(d->store, n, path, e) < 0)
        return store_failed(e);
    return 0;
}

/* --- failures ------------------------------------------------------------- */

static struct failure *
failure_of(struct dues *d, int64_t n, bool batch)
{
    for (size_t i = 0; i < d->n_failed; i++)
        if (d->failed[i].n == n && d->failed[i].batch == batch)
            return &d->failed[i];
    return NULL;
}

/* With too many at once all wait: there is one cause for them then. */
static bool
must_wait(struct dues *d, int64_t n, bool batch)
{
    const struct failure *f = failure_of(d, n, batch);

    if (!f && d->n_failed == FAILED_MAX)
        f = &d->failed[0];
    return f && loop_now_ms() < f->again_ms;
}

static void
has_failed(struct dues *d, int64_t n, bool batch, const char *id,
           const struct err *e)
{
    struct failure *f = failure_of(d, n, batch);

    log_error("report.failed", "%s=%s again_s=%d error=\"%s\"",
              batch ? "batch" : "task", id, AGAIN_MS / 1000, LOG_TEXT(e->msg));
    if (!f && d->n_failed < FAILED_MAX)
        f = &d->failed[d->n_failed++];
    if (f)
        *f = (struct failure){n, loop_now_ms() + AGAIN_MS, batch};
}

static void
has_worked(struct dues *d, int64_t n, bool batch)
{
    struct failure *f = failure_of(d, n, batch);

    if (f)
        *f = d->failed[--d->n_failed];
}

/* --- passes --------------------------------------------------------------- */

/* The database does not work: what is due stays due, a new process may do
 * better. */
static void
give_up(struct dues *d, const struct err *e)
{
    store_rollback(d->store);
    log_error("reaper.store", "error=\"%s\"", LOG_TEXT(e->msg));
    loop_stop(d->loop, 1);
}

/* One row of a pass; -1: the database failed. */
static int
one(struct dues *d, int64_t n, bool batch, struct err *e)
{
    struct task_state task;
    struct batch_state b;
    int rc;

    mem_pool_reset(d->pool);
    rc = batch ? store_batch_at(d->store, n, d->pool, &b, e)
               : store_task_at(d->store, n, d->pool, &task, e);
    if (rc <= 0)
        return rc;
    rc = batch ? write_batch(d, n, &b, e) : write_task(d, &task, e);
    if (rc < 0 && e->code == ERR_BUG)
        return -1;
    if (rc < 0)
        has_failed(d, n, batch, batch ? b.b.id : task.id, e);
    else
        has_worked(d, n, batch);
    return 0;
}

/* Up to a slice of those due; *more: time ran out before their end. */
static int
pass(struct dues *d, bool batch, int64_t until_ms, bool *more, struct err *e)
{
    int64_t ns[SLICE_ROWS], after = 0;
    int n;

    do {
        n = store_todo(d->store, batch ? STORE_DUE_BATCH : STORE_DUE, after,
                       SLICE_ROWS, ns, e);
        for (int i = 0; i < n; i++) {
            after = ns[i];
            if (must_wait(d, ns[i], batch))
                continue;
            if (one(d, ns[i], batch, e) < 0)
                return -1;
            if (loop_now_ms() >= until_ms) {
                *more = true;
                return 0;
            }
        }
    } while (n == SLICE_ROWS);
    return n < 0 ? -1 : 0;
}

bool
dues_write(struct dues *d)
{
    int64_t until_ms = loop_now_ms() + SLICE_MS;
    bool more = false;
    struct err e;

    if (store_begin(d->store, &e) < 0 ||
        pass(d, true, until_ms, &more, &e) < 0 ||
        (!more && pass(d, false, until_ms, &more, &e) < 0) ||
        store_commit(d->store, &e) < 0) {
        give_up(d, &e);
        return false;
    }
    mem_pool_reset(d->pool);
    return more;
}

static void
on_timer(void *ctx)
{
    struct dues *d = ctx;

    d->armed = false;
    if (dues_write(d)) {
        d->armed = true;
        loop_timer_again(d->timer, 1, 0);
    } else if (d->n_failed) {
        loop_timer_again(d->timer, AGAIN_MS, 0);
    }
}

void
dues_wake(struct dues *d)
{
    if (d->armed)
        return;
    d->armed = true;
    loop_timer_again(d->timer, QUIET_MS, 0);
}

static void
now(struct dues *d, int64_t n, bool batch)
{
    struct err e;

    if (must_wait(d, n, batch))
        return;
    if (store_begin(d->store, &e) < 0 || one(d, n, batch, &e) < 0 ||
        store_commit(d->store, &e) < 0)
        give_up(d, &e);
    mem_pool_reset(d->pool);
}

void
dues_now(struct dues *d, const struct task_state *row)
{
    if (row->report_due)
        now(d, row->n, false);
}

void
dues_batch_now(struct dues *d, const struct batch_state *row)
{
    if (row->report_due)
        now(d, row->n, true);
}

int
dues_open(struct dues **out, struct loop *l, struct store *s, const char *root,
          bool in_workdir, struct err *e)
{
    struct dues *d;
    char *real;

    if (report_file_root(root, e) < 0)
        return -1;
    real = realpath(root, NULL);
    if (!real)
        return err_set(e, ERR_DENIED, "reaper.report_root: cannot use %s",
                       root);
    d = MEM_NEW(struct dues);
    d->loop = l;
    d->store = s;
    d->root = mem_strdup(real);
    d->in_workdir = in_workdir;
    d->pool = mem_pool_new();
    free(real);
    d->timer = loop_timer_start(l, 0, 0, on_timer, d);
    d->armed = true; /* what an earlier process left */
    *out = d;
    return 0;
}

void
dues_close(struct dues *d)
{
    if (!d)
        return;
    loop_timer_stop(d->timer);
    mem_pool_free(d->pool);
    mem_free(d->root);
    mem_free(d);
}
