/*
 * Writes the reports that are due, a job at a time: rows are read and rendered
 * on the loop, files written by another thread, and the rows updated on the
 * loop again.
 */
#include "reaper/report/writer.h"

#include "lib/base/log.h"
#include "lib/model/codec.h"
#include "lib/model/subject.h"
#include "lib/os/file.h"
#include "reaper/report/file.h"
#include "reaper/report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    QUIET_MS = 25, /* of no outcome, before reports are written */
    JOB_ROWS = 32, /* reports of one job */
    JOB_BYTES = 1 << 20,
    JOB_MS = 5, /* for which the loop may be blocked */
    FORMATS = 2,
    AGAIN_MS = 30000, /* before a failed report is tried again */
    FAILED_MAX = 256,
    MEMBERS_MAX = 2000, /* of a batch that its report lists */
    FAILURES_MAX = 1000,
};

struct failure {
    int64_t n, again_ms;
    bool batch;
    char why[256];
};

/* A report: one text, or two in different formats. */
struct rendered {
    int64_t n; /* of the row */
    struct report_root root;
    const char *paths[FORMATS];
    struct report_mark owner;
    const char *retry_of;
    struct str texts[FORMATS];
    size_t n_texts;
    const char *path; /* of the last text, as stored in the row */
    struct err e;
    int rc;
};

/* Reports that are written by another thread. */
struct write_job {
    struct report_writer *writer;
    struct mem_pool *pool;
    struct rendered reports[JOB_ROWS];
    struct db_watched rows[JOB_ROWS]; /* of the reports */
    size_t n, bytes;
    bool more; /* there may be further reports */
};

struct report_writer {
    struct loop *loop;
    struct loop_timer *timer;
    bool armed;
    bool idle;  /* no job is on the other thread */
    bool again; /* a report became due meanwhile */
    bool closing;
    struct db *db;
    struct report_places places;
    char *root, *state; /* real paths */
    struct stat state_stat;
    report_avoid_fn *avoid;
    void *avoid_ctx;
    struct mem_pool *pool; /* of the row that is rendered */
    struct failure failed[FAILED_MAX];
    size_t n_failed;
};

/* --- paths ---------------------------------------------------------------- */

/* Whether real is the folder, or below it. */
static bool
is_within(const char *real, const char *folder)
{
    size_t n = strlen(folder);

    return strncmp(real, folder, n) == 0 &&
           (real[n] == '\0' || real[n] == '/' || strcmp(folder, "/") == 0);
}

/* Whether reports may be written below a task's workdir, which anybody may have
 * named: it is one of the folders that are configured, or without any the
 * ledger's user owns it; and it is not the fleet's state. */
static bool
is_allowed(const struct report_writer *w, const char *dir)
{
    char **allowed = w->places.workdirs;
    bool ok = !allowed || !*allowed;
    char *real = realpath(dir, NULL), *folder;
    struct stat st;

    if (!real || stat(real, &st) < 0 || !S_ISDIR(st.st_mode)) {
        free(real);
        return false;
    }
    if (ok)
        ok = st.st_uid == geteuid();
    for (; allowed && *allowed && !ok; allowed++) {
        folder = realpath(*allowed, NULL);
        ok = folder && is_within(real, folder);
        free(folder);
    }
    ok = ok && !is_within(real, w->state);
    free(real);
    return ok;
}

/* The folder that a report_path is relative to: the task's workdir, if that is
 * configured and possible, else the report root. */
static const char *
root_of(struct report_writer *w, const struct task *t)
{
    const char *home = getenv("HOME"), *dir;

    if (!w->places.in_workdir || !t || !*t->workdir)
        return w->root;
    dir = t->workdir;
    if (strcmp(dir, "~") == 0 && home)
        dir = home;
    else if (strncmp(dir, "~/", 2) == 0 && home)
        dir = mem_pool_printf(w->pool, "%s/%s", home, dir + 2);
    return *dir == '/' && is_allowed(w, dir) ? dir : w->root;
}

/* A report_path as it is read from the report root, which may be called reports
 * itself. */
static const char *
below_root(const struct report_writer *w, const char *path)
{
    const char *name = strrchr(w->root, '/');

    return name && strcmp(name, "/reports") == 0 &&
                   strncmp(path, "reports/", 8) == 0
               ? path + 8
               : path;
}

/* Whether a task's report may stand at its report_path. */
static bool
has_own_place(struct report_writer *w, const char *root, const char *path)
{
    char *real, *full;
    bool avoid;

    if (!w->avoid || !(real = realpath(root, NULL)))
        return true;
    full = mem_pool_printf(w->pool, "%s/%s", real, path);
    avoid = w->avoid(w->avoid_ctx, full);
    free(real);
    return !avoid;
}

/*
 * A name below <kind>/ that belongs to owner, without extension. The
 * plain name is that of the first task accepted with the title, so that a
 * replay gives the same; of two titles that make one name the first written has
 * it.
 */
static const char *
name_of(struct report_writer *w, struct mem_pool *pool, bool batch,
        const char *title, const char *owner, struct err *e)
{
    const char *kind = batch ? "batches" : "jobs", *name;
    char token[SUBJECT_TOKEN_MAX + 1];
    bool ours = !*title;

    subject_token_from(title, owner, token);
    if (!ours && db_is_first(w->db, batch, title, owner, &ours, e) < 0)
        return NULL;
    name = mem_pool_printf(pool, "%s/%s", kind, token);
    if (ours && db_report_name(w->db, name, owner, &ours, e) < 0)
        return NULL;
    if (ours)
        return name;
    name = mem_pool_printf(pool, "%s/%s-%.8s", kind, token, owner);
    if (db_report_name(w->db, name, owner, &ours, e) < 0)
        return NULL;
    return ours ? name : mem_pool_printf(pool, "%s/%s-%s", kind, token, owner);
}

/* --- one report ----------------------------------------------------------- */

/* Adds a text to be filled, for the path name followed by ext. */
static struct str *
add_text(struct write_job *job, struct rendered *p, const char *name,
         const char *ext)
{
    p->paths[p->n_texts] = mem_pool_printf(job->pool, "%s%s", name, ext);
    return &p->texts[p->n_texts++];
}

static int
render_task(struct write_job *job, struct rendered *p,
            const struct task_state *row, struct err *e)
{
    struct report_writer *w = job->writer;
    struct attempt_row *attempts;
    struct report_task t;
    const char *name, *root, *path;
    size_t n;

    if (db_attempts(w->db, row->n, w->pool, &attempts, &n, e) < 0)
        return -1;
    report_task_fill(row, attempts, n, w->pool, &t);
    report_mark_init(&p->owner, false, row->id, row->name);
    if (t.task)
        p->retry_of = mem_pool_strdup(job->pool, t.task->retry_of);
    root = root_of(w, t.task);
    path = root == w->root ? below_root(w, row->report_path) : row->report_path;
    if (*path && has_own_place(w, root, path)) {
        p->root.path = mem_pool_strdup(job->pool, root);
        report_task(&t, report_format_of(path), add_text(job, p, path, ""));
        return 0;
    }
    name = name_of(w, job->pool, false, row->name, row->id, e);
    if (!name)
        return -1;
    report_task(&t, REPORT_JSON, add_text(job, p, name, ".json"));
    report_task(&t, REPORT_MARKDOWN, add_text(job, p, name, ".md"));
    return 0;
}

/* Rows of a batch in the given states. */
static int
members(struct report_writer *w, const char *batch, uint32_t states,
        unsigned most, const struct task_state ***out, struct err *e)
{
    int64_t *ns;
    int n = db_members(w->db, batch, states, most, w->pool, &ns, e);

    if (n < 0)
        return -1;
    *out = mem_pool_alloc(w->pool, (size_t)n * sizeof **out);
    for (int i = 0; i < n; i++) {
        struct task_state *row = mem_pool_alloc(w->pool, sizeof *row);

        fold_init(row, "");
        if (db_task_at(w->db, ns[i], w->pool, row, e) < 0)
            return -1;
        (*out)[i] = row;
    }
    return n;
}

static int
render_batch(struct write_job *job, struct rendered *p,
             const struct batch_state *row, struct err *e)
{
    struct report_writer *w = job->writer;
    uint32_t terminal = 0, failed;
    struct report_batch b = {.batch = &row->b};
    /* More tasks came with its id than its size. */
    bool has_open =
        row->b.accepted > row->b.succeeded + row->b.failed + row->b.cancelled;
    const struct task_state **all, **bad;
    const char *name;
    int n_all, n_bad;

    for (int s = 1; s < STATE_COUNT; s++)
        if (state_is_terminal((enum state)s))
            terminal |= 1u << s;
    failed = terminal & ~(1u << STATE_SUCCEEDED);
    /* Finding unfinished members reads every member; there are seldom any. */
    n_all =
        members(w, row->b.id, has_open ? ~0u : terminal, MEMBERS_MAX, &all, e);
    n_bad =
        n_all < 0 ? -1 : members(w, row->b.id, failed, FAILURES_MAX, &bad, e);
    name = n_bad < 0 ? NULL
                     : name_of(w, job->pool, true, row->b.name, row->b.id, e);
    if (!name)
        return -1;
    report_mark_init(&p->owner, true, row->b.id, row->b.name);
    b.members = all;
    b.n_members = (size_t)n_all;
    b.failed = bad;
    b.n_failed = (size_t)n_bad;
    report_batch(&b, REPORT_JSON, add_text(job, p, name, ".json"));
    report_batch(&b, REPORT_MARKDOWN, add_text(job, p, name, ".md"));
    return 0;
}

/* --- failures ------------------------------------------------------------- */

static struct failure *
failure_of(struct report_writer *w, int64_t n, bool batch)
{
    for (size_t i = 0; i < w->n_failed; i++)
        if (w->failed[i].n == n && w->failed[i].batch == batch)
            return &w->failed[i];
    return NULL;
}

/* With too many failures all reports wait: they have one cause then. */
static bool
is_postponed(struct report_writer *w, int64_t n, bool batch)
{
    const struct failure *f = failure_of(w, n, batch);

    if (!f && w->n_failed == FAILED_MAX)
        f = &w->failed[0];
    return f && loop_now_ms() < f->again_ms;
}

static void
note_failure(struct report_writer *w, int64_t n, bool batch, const char *id,
             const struct err *e)
{
    struct failure *f = failure_of(w, n, batch);

    log_error("report.failed", "%s=%s again_s=%d error=\"%s\"",
              batch ? "batch" : "task", id, AGAIN_MS / 1000, LOG_TEXT(e->msg));
    if (!f && w->n_failed < FAILED_MAX)
        f = &w->failed[w->n_failed++];
    if (!f)
        return;
    *f = (struct failure){n, loop_now_ms() + AGAIN_MS, batch, ""};
    (void)str_copy(f->why, sizeof f->why, e->msg);
}

const char *
report_writer_error(struct report_writer *w, bool batch, int64_t n)
{
    const struct failure *f = failure_of(w, n, batch);

    return f ? f->why : "";
}

static void
clear_failure(struct report_writer *w, int64_t n, bool batch)
{
    struct failure *f = failure_of(w, n, batch);

    if (f)
        *f = w->failed[--w->n_failed];
}

/* --- jobs ----------------------------------------------------------------- */

static struct write_job *
job_new(struct report_writer *w)
{
    struct write_job *job = MEM_NEW(struct write_job);

    job->writer = w;
    job->pool = mem_pool_new();
    return job;
}

static void
job_free(struct write_job *job)
{
    for (size_t i = 0; i < job->n; i++)
        for (size_t k = 0; k < job->reports[i].n_texts; k++)
            str_free(&job->reports[i].texts[k]);
    mem_pool_free(job->pool);
    mem_free(job);
}

/* Renders the report of a row; -1: the database failed. */
static int
job_add(struct write_job *job, int64_t n, bool batch, struct err *e)
{
    struct report_writer *w = job->writer;
    struct rendered *p = &job->reports[job->n];
    struct db_watched *row = &job->rows[job->n];
    struct task_state task;
    struct batch_state b;
    int rc;

    mem_pool_reset(w->pool);
    rc = batch ? db_batch_at(w->db, n, w->pool, &b, e)
               : db_task_at(w->db, n, w->pool, &task, e);
    if (rc <= 0)
        return rc;
    *p = (struct rendered){
        .n = n,
        .root = {w->root, w->state_stat.st_dev, w->state_stat.st_ino},
        .retry_of = ""};
    *row = (struct db_watched){.batch = batch};
    (void)str_copy(row->id, sizeof row->id, batch ? b.b.id : task.id);
    job->n++;
    rc = batch ? render_batch(job, p, &b, e) : render_task(job, p, &task, e);
    for (size_t i = 0; i < p->n_texts; i++)
        job->bytes += p->texts[i].len;
    return rc;
}

/* Blocks; any thread. */
static int
put_text(const struct write_job *job, struct rendered *p, size_t k)
{
    const char *path = report_file_place(&p->root, p->paths[k], &p->owner,
                                         p->retry_of, job->pool, &p->e);

    if (!path || report_file_put(&p->root, path, str_text(&p->texts[k]),
                                 p->texts[k].len, &p->e) < 0)
        return -1;
    p->path = mem_pool_printf(job->pool, "%s/%s", p->root.path, path);
    return 0;
}

/* Blocks; any thread. */
static void
job_write(void *ctx)
{
    struct write_job *job = ctx;

    for (size_t i = 0; i < job->n; i++) {
        struct rendered *p = &job->reports[i];

        for (size_t k = 0; k < p->n_texts && p->rc == 0; k++)
            p->rc = put_text(job, p, k);
    }
}

/* Records the reports that were written; -1: the database failed. */
static int
job_record(struct write_job *job, struct err *e)
{
    struct report_writer *w = job->writer;

    for (size_t i = 0; i < job->n; i++) {
        const struct rendered *p = &job->reports[i];
        const struct db_watched *row = &job->rows[i];

        if (p->rc < 0) {
            note_failure(w, p->n, row->batch, row->id, &p->e);
            continue;
        }
        clear_failure(w, p->n, row->batch);
        if (db_reported(w->db, row->batch, p->n, p->path, row->changed, e) < 0)
            return -1;
    }
    return 0;
}

/* Adds reports that are due; job->more: there was no room or time for all. */
static int
job_due(struct write_job *job, bool batch, int64_t until_ms, struct err *e)
{
    struct report_writer *w = job->writer;
    int64_t ns[JOB_ROWS], after = 0;
    int n;

    do {
        n = db_todo(w->db, batch ? DB_REPORT_DUE_BATCH : DB_REPORT_DUE, after,
                    JOB_ROWS, ns, e);
        for (int i = 0; i < n && !job->more; i++) {
            after = ns[i];
            if (is_postponed(w, ns[i], batch))
                continue;
            if (job_add(job, ns[i], batch, e) < 0)
                return -1;
            job->more = job->n == JOB_ROWS || job->bytes >= JOB_BYTES ||
                        loop_now_ms() >= until_ms;
        }
    } while (n == JOB_ROWS && !job->more);
    return n < 0 ? -1 : 0;
}

/* A job with reports that are due, possibly none; NULL: the database failed. */
static struct write_job *
job_fill(struct report_writer *w)
{
    struct write_job *job = job_new(w);
    int64_t until_ms = loop_now_ms() + JOB_MS;
    struct err e;

    if (db_begin(w->db, &e) == 0 && job_due(job, true, until_ms, &e) == 0 &&
        (job->more || job_due(job, false, until_ms, &e) == 0) &&
        db_commit(w->db, &e) == 0) {
        mem_pool_reset(w->pool);
        db_watch(w->db, job->rows, job->n);
        return job;
    }
    db_give_up(w->db, w->loop, &e);
    job_free(job);
    return NULL;
}

/* Records what a job has written, and frees it; false: the database failed. */
static bool
job_end(struct write_job *job)
{
    struct report_writer *w = job->writer;
    struct err e;
    bool ok;

    db_watch(w->db, NULL, 0);
    ok = db_begin(w->db, &e) == 0 && job_record(job, &e) == 0 &&
         db_commit(w->db, &e) == 0;
    if (!ok)
        db_give_up(w->db, w->loop, &e);
    job_free(job);
    return ok;
}

static void
next_at(struct report_writer *w, bool more)
{
    if (more) {
        w->armed = true;
        loop_timer_again(w->timer, 1, 0);
    } else if (w->n_failed) {
        loop_timer_again(w->timer, AGAIN_MS, 0);
    }
}

static void
on_written(void *ctx)
{
    struct write_job *job = ctx;
    struct report_writer *w = job->writer;
    bool more = job->more || w->again;

    w->idle = true;
    for (size_t i = 0; i < job->n; i++)
        more = more || job->rows[i].changed;
    if (job_end(job) && !w->closing && !w->armed)
        next_at(w, more);
}

static void
on_timer(void *ctx)
{
    struct report_writer *w = ctx;
    struct write_job *job;

    w->armed = false;
    w->again = !w->idle;
    if (!w->idle || w->closing)
        return;
    job = job_fill(w);
    if (!job)
        return;
    if (job->n == 0) {
        db_watch(w->db, NULL, 0);
        job_free(job);
        next_at(w, false);
        return;
    }
    w->idle = false;
    loop_work(w->loop, job_write, on_written, job);
}

bool
report_writer_write(struct report_writer *w)
{
    struct write_job *job;
    bool more;

    w->closing = true;
    (void)loop_until(w->loop, &w->idle, -1);
    job = job_fill(w);
    if (!job)
        return false;
    job_write(job);
    more = job->more;
    return job_end(job) && more;
}

void
report_writer_wake(struct report_writer *w)
{
    if (w->armed)
        return;
    w->armed = true;
    loop_timer_again(w->timer, QUIET_MS, 0);
}

void
report_writer_now(struct report_writer *w, bool batch, int64_t n)
{
    struct write_job *job;
    struct err e;

    if (is_postponed(w, n, batch))
        return;
    job = job_new(w);
    if (db_begin(w->db, &e) < 0 || job_add(job, n, batch, &e) < 0) {
        db_give_up(w->db, w->loop, &e);
    } else {
        job_write(job);
        if (job_record(job, &e) < 0 || db_commit(w->db, &e) < 0)
            db_give_up(w->db, w->loop, &e);
    }
    job_free(job);
    mem_pool_reset(w->pool);
}

/* The real path of a folder, made if it is missing; owned by the caller. */
static char *
real_folder(const char *path, struct err *e)
{
    char *real = NULL, *out;

    if (file_make_dirs(path, 0755) < 0 || !(real = realpath(path, NULL))) {
        err_set(e, ERR_DENIED, "make folder %s: %s", path, strerror(errno));
        return NULL;
    }
    out = mem_strdup(real);
    free(real);
    return out;
}

static int
open_places(struct report_writer *w, struct err *e)
{
    const struct report_places *p = &w->places;

    w->state = real_folder(p->state, e);
    if (!w->state)
        return -1;
    w->root =
        *p->root
            ? real_folder(p->root, e)
            : real_folder(mem_pool_printf(w->pool, "%s/reports", w->state), e);
    if (!w->root)
        return -1;
    if (stat(w->state, &w->state_stat) < 0)
        return err_set(e, ERR_DENIED, "%s: %s", w->state, strerror(errno));
    if (is_within(w->state, w->root))
        return err_set(e, ERR_INVALID,
                       "reaper.report_root: %s holds the fleet's state (%s): "
                       "name a folder of its own",
                       w->root, w->state);
    return 0;
}

int
report_writer_open(struct report_writer **out, struct loop *l, struct db *db,
                   const struct report_places *places, struct err *e)
{
    struct report_writer *w = MEM_NEW(struct report_writer);

    w->loop = l;
    w->db = db;
    w->places = *places;
    w->pool = mem_pool_new();
    w->idle = true;
    if (open_places(w, e) < 0) {
        report_writer_close(w);
        return -1;
    }
    w->timer = loop_timer_start(l, 0, 0, on_timer, w);
    w->armed = true; /* for reports that an earlier process left */
    *out = w;
    return 0;
}

const char *
report_writer_root(const struct report_writer *w)
{
    return w->root;
}

void
report_writer_avoid(struct report_writer *w, report_avoid_fn *avoid, void *ctx)
{
    w->avoid = avoid;
    w->avoid_ctx = ctx;
}

void
report_writer_close(struct report_writer *w)
{
    if (!w)
        return;
    w->closing = true;
    (void)loop_until(w->loop, &w->idle, -1);
    loop_timer_stop(w->timer);
    mem_pool_free(w->pool);
    mem_free(w->root);
    mem_free(w->state);
    mem_free(w);
}
