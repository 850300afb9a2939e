#include "reaper/report/writer.h"

#include "lib/base/log.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "lib/os/file.h"
#include "reaper/report/file.h"
#include "reaper/report/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    QUIET_MS = 25,  /* outcomes in a row come first */
    LOAD_ROWS = 32, /* reports written in one go */
    LOAD_BYTES = 1 << 20,
    LOAD_MS = 5, /* how long the loop may be kept */
    FORMATS = 2,
    AGAIN_MS = 30000, /* before a failed report is tried again */
    FAILED_MAX = 256,
    MEMBERS_MAX = 2000, /* of a batch that its report lists */
    FAILURES_MAX = 1000,
};

struct failure {
    int64_t n, again_ms;
    bool batch;
};

/* A report: one text, or the same in two formats. */
struct piece {
    int64_t n; /* of the row */
    const char *root, *paths[FORMATS];
    struct str texts[FORMATS];
    size_t n_texts;
    const char *path; /* of the last text, as the row names it */
    struct err e;
    int rc;
};

/* Reports on their way to another thread and back. */
struct report_load {
    struct report_writer *d;
    struct mem_pool *pool;
    struct piece pieces[LOAD_ROWS];
    struct db_watched rows[LOAD_ROWS]; /* of the pieces */
    size_t n, bytes;
    bool more; /* something may have been left */
};

struct report_writer {
    struct loop *loop;
    struct loop_timer *timer;
    bool armed;
    bool away, back; /* a load is on the other thread, or not */
    bool again;      /* and meanwhile something became due */
    bool closing;
    struct db *store;
    char *root;
    bool in_workdir;
    struct mem_pool *pool; /* of the row in hand */
    struct failure failed[FAILED_MAX];
    size_t n_failed;
};

/* --- where ---------------------------------------------------------------- */

/* The folder a report_path is below: the task's own, where that is possible
 * and wanted, else the reports'. */
static const char *
root_of(struct report_writer *d, const struct task *t)
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
name_of(struct report_writer *d, struct mem_pool *pool, bool batch,
        const char *title, const char *owner, struct err *e)
{
    const char *kind = batch ? "batches" : "jobs", *name;
    char token[SUBJECT_TOKEN_MAX + 1];
    bool ours = !*title;

    subject_token_from(title, owner, token);
    if (!ours && db_is_first(d->store, batch, title, owner, &ours, e) < 0)
        return NULL;
    name = mem_pool_printf(pool, "reports/%s/%s", kind, token);
    if (ours && db_report_name(d->store, name, owner, &ours, e) < 0)
        return NULL;
    if (ours)
        return name;
    name = mem_pool_printf(pool, "reports/%s/%s-%.8s", kind, token, owner);
    if (db_report_name(d->store, name, owner, &ours, e) < 0)
        return NULL;
    return ours ? name
                : mem_pool_printf(pool, "reports/%s/%s-%s", kind, token, owner);
}

/* --- one report ----------------------------------------------------------- */

/* The text to fill of that path; what it needs of the row is in d->pool. */
static struct str *
add_text(struct piece *p, const char *path)
{
    p->paths[p->n_texts] = path;
    return &p->texts[p->n_texts++];
}

/* e is ERR_BUG if the database failed: nothing after that makes sense. */
static int
store_failed(struct err *e)
{
    e->code = ERR_BUG;
    return -1;
}

static int
render_task(struct report_load *l, struct piece *p,
            const struct task_state *row, struct err *e)
{
    struct report_writer *d = l->d;
    struct attempt_row *attempts;
    struct report_task t;
    const char *name, *path;
    size_t n;

    if (db_attempts(d->store, row->n, d->pool, &attempts, &n, e) < 0)
        return store_failed(e);
    report_task_fill(row, attempts, n, d->pool, &t);
    if (*row->report_path) {
        p->root = mem_pool_strdup(l->pool, root_of(d, t.task));
        path = mem_pool_strdup(l->pool, row->report_path);
        report_task(&t, report_format_of(path), add_text(p, path));
        return 0;
    }
    name = name_of(d, l->pool, false, row->name, row->id, e);
    if (!name)
        return store_failed(e);
    path = mem_pool_printf(l->pool, "%s.json", name);
    report_task(&t, REPORT_JSON, add_text(p, path));
    path = mem_pool_printf(l->pool, "%s.md", name);
    report_task(&t, REPORT_MARKDOWN, add_text(p, path));
    return 0;
}

/* Rows of a batch in the given states. */
static int
members(struct report_writer *d, const char *batch, uint32_t states,
        unsigned most, const struct task_state ***out, struct err *e)
{
    int64_t *ns;
    int n = db_members(d->store, batch, states, most, d->pool, &ns, e);

    if (n < 0)
        return -1;
    *out = mem_pool_alloc(d->pool, (size_t)n * sizeof **out);
    for (int i = 0; i < n; i++) {
        struct task_state *row = mem_pool_alloc(d->pool, sizeof *row);

        fold_init(row, "");
        if (db_task_at(d->store, ns[i], d->pool, row, e) < 0)
            return -1;
        (*out)[i] = row;
    }
    return n;
}

/* More tasks came with its id than it should have. */
static bool
has_open(const struct batch *b)
{
    return b->accepted > b->succeeded + b->failed + b->cancelled;
}

static int
render_batch(struct report_load *l, struct piece *p,
             const struct batch_state *row, struct err *e)
{
    struct report_writer *d = l->d;
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
    name =
        n_bad < 0 ? NULL : name_of(d, l->pool, true, row->b.name, row->b.id, e);
    if (!name)
        return store_failed(e);
    b.members = all;
    b.n_members = (size_t)n_all;
    b.failed = bad;
    b.n_failed = (size_t)n_bad;
    path = mem_pool_printf(l->pool, "%s.json", name);
    report_batch(&b, REPORT_JSON, add_text(p, path));
    path = mem_pool_printf(l->pool, "%s.md", name);
    report_batch(&b, REPORT_MARKDOWN, add_text(p, path));
    return 0;
}

/* --- failures ------------------------------------------------------------- */

static struct failure *
failure_of(struct report_writer *d, int64_t n, bool batch)
{
    for (size_t i = 0; i < d->n_failed; i++)
        if (d->failed[i].n == n && d->failed[i].batch == batch)
            return &d->failed[i];
    return NULL;
}

/* With too many at once all wait: there is one cause for them then. */
static bool
must_wait(struct report_writer *d, int64_t n, bool batch)
{
    const struct failure *f = failure_of(d, n, batch);

    if (!f && d->n_failed == FAILED_MAX)
        f = &d->failed[0];
    return f && loop_now_ms() < f->again_ms;
}

static void
has_failed(struct report_writer *d, int64_t n, bool batch, const char *id,
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
has_worked(struct report_writer *d, int64_t n, bool batch)
{
    struct failure *f = failure_of(d, n, batch);

    if (f)
        *f = d->failed[--d->n_failed];
}

/* --- passes --------------------------------------------------------------- */

/* The database does not work: what is due stays due, a new process may do
 * better. */
static void
give_up(struct report_writer *d, const struct err *e)
{
    db_rollback(d->store);
    log_error("reaper.store", "error=\"%s\"", LOG_TEXT(e->msg));
    loop_stop(d->loop, 1);
}

/* --- loads ---------------------------------------------------------------- */

static struct report_load *
load_new(struct report_writer *d)
{
    struct report_load *l = MEM_NEW(struct report_load);

    l->d = d;
    l->pool = mem_pool_new();
    return l;
}

static void
load_free(struct report_load *l)
{
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->pieces[i].n_texts; k++)
            str_free(&l->pieces[i].texts[k]);
    mem_pool_free(l->pool);
    mem_free(l);
}

/* Adds the report of a row that is due; -1: the database failed. */
static int
load_add(struct report_load *l, int64_t n, bool batch, struct err *e)
{
    struct report_writer *d = l->d;
    struct piece *p = &l->pieces[l->n];
    struct db_watched *w = &l->rows[l->n];
    struct task_state task;
    struct batch_state b;
    int rc;

    mem_pool_reset(d->pool);
    rc = batch ? db_batch_at(d->store, n, d->pool, &b, e)
               : db_task_at(d->store, n, d->pool, &task, e);
    if (rc <= 0)
        return rc;
    *p = (struct piece){.n = n, .root = d->root};
    *w = (struct db_watched){.batch = batch};
    (void)str_copy(w->id, sizeof w->id, batch ? b.b.id : task.id);
    l->n++;
    rc = batch ? render_batch(l, p, &b, e) : render_task(l, p, &task, e);
    for (size_t i = 0; i < p->n_texts; i++)
        l->bytes += p->texts[i].len;
    if (rc == 0)
        p->path = mem_pool_printf(l->pool, "%s/%s", p->root,
                                  p->paths[p->n_texts - 1]);
    return rc;
}

/* Blocks; on any thread. */
static void
load_write(void *load)
{
    struct report_load *l = load;

    for (size_t i = 0; i < l->n; i++) {
        struct piece *p = &l->pieces[i];

        for (size_t k = 0; k < p->n_texts && p->rc == 0; k++)
            p->rc =
                report_file_put(p->root, p->paths[k], str_text(&p->texts[k]),
                                p->texts[k].len, &p->e);
    }
}

/* What was written is not due any more; -1: the database failed. */
static int
load_settle(struct report_load *l, struct err *e)
{
    struct report_writer *d = l->d;

    for (size_t i = 0; i < l->n; i++) {
        const struct piece *p = &l->pieces[i];
        const struct db_watched *w = &l->rows[i];

        if (p->rc < 0) {
            has_failed(d, p->n, w->batch, w->id, &p->e);
            continue;
        }
        has_worked(d, p->n, w->batch);
        if (db_reported(d->store, w->batch, p->n, p->path, w->changed, e) < 0)
            return -1;
    }
    return 0;
}

/* Adds those due; l->more: there was no room or time for all. */
static int
load_due(struct report_load *l, bool batch, int64_t until_ms, struct err *e)
{
    struct report_writer *d = l->d;
    int64_t ns[LOAD_ROWS], after = 0;
    int n;

    do {
        n = db_todo(d->store, batch ? DB_REPORT_DUE_BATCH : DB_REPORT_DUE,
                    after, LOAD_ROWS, ns, e);
        for (int i = 0; i < n && !l->more; i++) {
            after = ns[i];
            if (must_wait(d, ns[i], batch))
                continue;
            if (load_add(l, ns[i], batch, e) < 0)
                return -1;
            l->more = l->n == LOAD_ROWS || l->bytes >= LOAD_BYTES ||
                      loop_now_ms() >= until_ms;
        }
    } while (n == LOAD_ROWS && !l->more);
    return n < 0 ? -1 : 0;
}

/* A load of what is due, perhaps empty; NULL: the database failed. */
static struct report_load *
load_fill(struct report_writer *d)
{
    struct report_load *l = load_new(d);
    int64_t until_ms = loop_now_ms() + LOAD_MS;
    struct err e;

    if (db_begin(d->store, &e) == 0 && load_due(l, true, until_ms, &e) == 0 &&
        (l->more || load_due(l, false, until_ms, &e) == 0) &&
        db_commit(d->store, &e) == 0) {
        mem_pool_reset(d->pool);
        db_watch(d->store, l->rows, l->n);
        return l;
    }
    give_up(d, &e);
    load_free(l);
    return NULL;
}

/* Settles a load that was written, and frees it; false: the database failed. */
static bool
load_end(struct report_load *l)
{
    struct report_writer *d = l->d;
    struct err e;
    bool ok;

    db_watch(d->store, NULL, 0);
    ok = db_begin(d->store, &e) == 0 && load_settle(l, &e) == 0 &&
         db_commit(d->store, &e) == 0;
    if (!ok)
        give_up(d, &e);
    load_free(l);
    return ok;
}

static void
next_at(struct report_writer *d, bool more)
{
    if (more) {
        d->armed = true;
        loop_timer_again(d->timer, 1, 0);
    } else if (d->n_failed) {
        loop_timer_again(d->timer, AGAIN_MS, 0);
    }
}

static void
on_written(void *ctx)
{
    struct report_load *l = ctx;
    struct report_writer *d = l->d;
    bool more = l->more || d->again;

    d->away = false;
    d->back = true;
    for (size_t i = 0; i < l->n; i++)
        more = more || l->rows[i].changed;
    if (load_end(l) && !d->closing && !d->armed)
        next_at(d, more);
}

static void
on_timer(void *ctx)
{
    struct report_writer *d = ctx;
    struct report_load *l;

    d->armed = false;
    d->again = d->away;
    if (d->away || d->closing)
        return;
    l = load_fill(d);
    if (!l)
        return;
    if (l->n == 0) {
        db_watch(d->store, NULL, 0);
        load_free(l);
        next_at(d, false);
        return;
    }
    d->away = true;
    d->back = false;
    loop_work(d->loop, load_write, on_written, l);
}

bool
report_writer_write(struct report_writer *d)
{
    struct report_load *l;
    bool more;

    d->closing = true;
    (void)loop_until(d->loop, &d->back, -1);
    l = load_fill(d);
    if (!l)
        return false;
    load_write(l);
    more = l->more;
    return load_end(l) && more;
}

void
report_writer_wake(struct report_writer *d)
{
    if (d->armed)
        return;
    d->armed = true;
    loop_timer_again(d->timer, QUIET_MS, 0);
}

static void
now(struct report_writer *d, int64_t n, bool batch)
{
    struct report_load *l;
    struct err e;

    if (must_wait(d, n, batch))
        return;
    l = load_new(d);
    if (db_begin(d->store, &e) < 0 || load_add(l, n, batch, &e) < 0) {
        give_up(d, &e);
    } else {
        load_write(l);
        if (load_settle(l, &e) < 0 || db_commit(d->store, &e) < 0)
            give_up(d, &e);
    }
    load_free(l);
    mem_pool_reset(d->pool);
}

void
report_writer_now(struct report_writer *d, const struct task_state *row)
{
    if (row->report_due)
        now(d, row->n, false);
}

void
report_writer_batch_now(struct report_writer *d, const struct batch_state *row)
{
    if (row->report_due)
        now(d, row->n, true);
}

int
report_writer_open(struct report_writer **out, struct loop *l, struct db *s,
                   const char *root, bool in_workdir, struct err *e)
{
    struct report_writer *d;
    char *real;

    if (file_make_dirs(root, 0755) < 0)
        return err_set(e, ERR_DENIED, "make folder %s: %s", root,
                       strerror(errno));
    real = realpath(root, NULL);
    if (!real)
        return err_set(e, ERR_DENIED, "reaper.report_root: cannot use %s",
                       root);
    d = MEM_NEW(struct report_writer);
    d->loop = l;
    d->store = s;
    d->root = mem_strdup(real);
    d->in_workdir = in_workdir;
    d->pool = mem_pool_new();
    free(real);
    d->timer = loop_timer_start(l, 0, 0, on_timer, d);
    d->armed = true; /* what an earlier process left */
    d->back = true;
    *out = d;
    return 0;
}

void
report_writer_close(struct report_writer *d)
{
    if (!d)
        return;
    d->closing = true;
    (void)loop_until(d->loop, &d->back, -1);
    loop_timer_stop(d->timer);
    mem_pool_free(d->pool);
    mem_free(d->root);
    mem_free(d);
}
