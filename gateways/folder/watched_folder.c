/*
 * A scan runs on another thread and is compared with the previous one, so that
 * a file is claimed only after it has stayed unchanged for folder.settle. A
 * sweep lists the claimed files; those unknown here belong to a killed gateway.
 */
#include "gateways/folder/watched_folder.h"

#include "gateways/folder/files.h"
#include "gateways/folder/folder_access.h"
#include "gateways/folder/folder_heartbeat.h"
#include "gateways/folder/folder_private.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/os/os.h"

#include <stdio.h>
#include <string.h>

enum {
    CHANGE_MS = 20,  /* from a change to the scan: changes come in groups */
    SCAN_SHARE = 10, /* scans take at most one part in so many of the time */
    SWEEP_MS = 1000, /* between two sweeps */
};

/* --- scans --------------------------------------------------------------- */

struct scan_job {
    struct watched_folder *w;
    struct dir_scan scan;
    int64_t took_ms;
    char problem[FOLDER_PROBLEM_SIZE];
    struct err e;
    int rc;
};

static void
scan(void *ctx)
{
    struct scan_job *j = ctx;
    const struct folder_layout *p = &j->w->layout;
    int64_t from = loop_now_ms();
    struct err e;

    if (file_exists(p->path) && !file_exists(p->waiting))
        (void)files_make_dir(p->waiting, &e); /* the scan reports why not */
    j->rc = -1;
    if (!folder_access_is_plain(p, j->problem, sizeof j->problem)) {
        j->took_ms = loop_now_ms() - from;
        return;
    }
    j->rc = dir_scan_read(p, loop_now_ms(), &j->scan, &j->e);
    if (j->rc < 0)
        (void)snprintf(j->problem, sizeof j->problem,
                       "%s: make the folder, or take it out of the "
                       "configuration",
                       j->e.msg);
    else
        (void)folder_access_check(p, j->problem, sizeof j->problem);
    j->took_ms = loop_now_ms() - from;
}

static void
scan_soon(struct watched_folder *w, int64_t delay_ms)
{
    int64_t at = loop_now_ms() + delay_ms;

    if (w->scan_at_ms && w->scan_at_ms <= at)
        return;
    w->scan_at_ms = at;
    loop_timer_again(w->timer, delay_ms, 0);
}

/* With very many files, scans must not take all the time. */
static int64_t
pause_of(const struct watched_folder *w, int64_t wanted_ms)
{
    int64_t least = w->scan_ms * SCAN_SHARE;

    return wanted_ms > least ? wanted_ms : least;
}

/* Claiming a file changes the folder as well: while there are files to claim,
 * new ones can wait. */
static void
on_change(void *ctx)
{
    struct watched_folder *w = ctx;

    if (w->next < w->scan.n)
        w->changed = true;
    else
        scan_soon(w, pause_of(w, CHANGE_MS));
}

void
watched_folder_on_claimed_all(struct watched_folder *w)
{
    if (w->changed)
        scan_soon(w, pause_of(w, CHANGE_MS));
    w->changed = false;
}

/* The watch is on the inode: a folder that was created anew needs its own. */
static void
watch(struct watched_folder *w, uint64_t ino)
{
    struct err e = {0};

    if (ino == w->watched_ino || !w->f->conf->watch)
        return;
    loop_watch_stop(w->watch);
    w->watch = NULL;
    w->watched_ino = 0;
    if (loop_watch_start(&w->watch, w->f->loop, w->layout.waiting, on_change, w,
                         &e) == 0) {
        w->watched_ino = ino;
        scan_soon(w, CHANGE_MS); /* for files that arrived in between */
    } else {
        log_warn("folder.unwatched", "error=\"%s\" text=\"scanned every %d s\"",
                 LOG_TEXT(e.msg), (int)(w->f->conf->rescan_ms / 1000));
    }
}

/* How soon the folder should be scanned again for the files in it. */
static int64_t
next_scan_ms(const struct watched_folder *w, int64_t now_ms)
{
    int64_t settle = w->f->conf->settle_ms, delay = w->f->conf->rescan_ms;

    for (size_t i = 0; i < w->scan.n && delay > settle; i++) {
        const struct waiting_file *v = &w->scan.v[i];
        int64_t wait = delay;

        if (now_ms - v->since_ms < settle)
            wait = settle;
        else if (v->left > LEFT_REPORT)
            wait = v->due_ms - now_ms;
        if (wait < delay)
            delay = wait > settle ? wait : settle;
    }
    return delay;
}

void
watched_folder_left(struct watched_folder *w, const char *name,
                    struct claim_file *t, enum left left, int64_t due_ms)
{
    struct waiting_file *v = dir_scan_find(&w->scan, name);

    if (left == LEFT_DENIED && !*w->denied)
        log_error("folder.refused", "folder=\"%s\" file=\"%s\" error=\"%s\"",
                  w->layout.waiting, LOG_TEXT(name), LOG_TEXT(t->why));
    if (left == LEFT_DENIED)
        (void)str_copy(w->denied, sizeof w->denied, t->why);
    folder_heartbeat_soon(w->f);
    if (!v)
        return;
    if (left == LEFT_OPEN && v->left != LEFT_OPEN)
        log_info("folder.open",
                 "file=\"%s/%s\" text=\"a process has it open for writing: "
                 "left alone until it is closed\"",
                 w->layout.waiting, LOG_TEXT(name));
    if (left == LEFT_REPORT)
        log_info("folder.report",
                 "file=\"%s/%s\" text=\"a report, no task: left alone\"",
                 w->layout.waiting, LOG_TEXT(name));
    if (!file_stamp_same(&t->stamp, &v->stamp)) {
        v->stamp = t->stamp;
        v->since_ms = loop_now_ms();
        v->renamed = false;
    }
    v->left = left;
    v->due_ms = due_ms;
    workdirs_free(&v->workdirs);
    v->workdirs = t->workdirs;
    t->workdirs = (struct workdirs){0};
    if (left > LEFT_REPORT) /* the others end with a file, or a change */
        scan_soon(w, pause_of(w, due_ms - loop_now_ms()));
}

static void
use_scan(struct watched_folder *w, struct dir_scan *now)
{
    dir_scan_compare(now, &w->scan);
    dir_scan_release(&w->scan);
    w->scan = *now;
    w->next = 0;
}

/* Says once that nothing can be claimed here, and when that is over. */
static void
note_problem(struct watched_folder *w, const char *problem)
{
    if (strcmp(w->problem, problem) == 0)
        return;
    if (*problem)
        log_error("folder.unusable", "folder=\"%s\" error=\"%s\"",
                  w->layout.waiting, LOG_TEXT(problem));
    else
        log_info("folder.usable", "folder=\"%s\"", w->layout.waiting);
    (void)str_copy(w->problem, sizeof w->problem, problem);
    folder_heartbeat_soon(w->f);
}

static void
on_scanned(void *ctx)
{
    struct scan_job *j = ctx;
    struct watched_folder *w = j->w;
    struct folder *f = w->f;
    int64_t now = loop_now_ms(), delay = f->conf->rescan_ms;

    w->scanning = false;
    if (!folder_job_done(f)) {
        dir_scan_release(&j->scan);
        mem_free(j);
        return;
    }
    if (j->rc == 0) {
        uint64_t ino = j->scan.dir_ino;

        w->scan_ms = j->took_ms;
        use_scan(w, &j->scan);
        watch(w, ino);
        delay = pause_of(w, next_scan_ms(w, now));
    }
    note_problem(w, j->problem);
    mem_free(j);
    scan_soon(w, delay);
    if (w->scan_again)
        scan_soon(w, pause_of(w, CHANGE_MS));
    w->scan_again = false;
    if (now - w->swept_ms >= f->conf->repair_ms)
        watched_folder_sweep(w);
    folder_work(f);
}

static void
on_timer(void *ctx)
{
    struct watched_folder *w = ctx;
    struct scan_job *j;

    w->scan_at_ms = 0;
    if (w->f->draining)
        return;
    if (w->scanning) {
        w->scan_again = true;
        return;
    }
    w->scanning = true;
    j = MEM_NEW(struct scan_job);
    j->w = w;
    folder_job(w->f, scan, on_scanned, j);
}

/* --- sweeps -------------------------------------------------------------- */

struct sweep {
    struct watched_folder *w;
    struct mem_pool *pool;
    const char **names; /* NULL: the folder could not be read */
};

static void
sweep(void *ctx)
{
    struct sweep *s = ctx;
    struct err e;

    s->names = dir_scan_claims(&s->w->layout, s->pool, &e);
}

/* Whether another fleet has claimed it: its outcome is that fleet's business,
 * and to run it would be to run it twice. */
static bool
is_foreign(const struct watched_folder *w, const struct folder_claim *claim)
{
    return *claim->owner.fleet &&
           strcmp(claim->owner.fleet, w->f->owner.fleet) != 0;
}

/* Says once that there are such files. */
static void
note_foreign(struct watched_folder *w, size_t n, const char *example)
{
    struct folder_claim claim;
    struct stat st;
    char since[32] = "?";

    if (n && lstat(FILES_PATH(w->layout.running, example), &st) == 0)
        (void)str_time(os_ctime_ns(&st) / 1000000, since, sizeof since);
    if (n && folder_layout_read_claim(example, &claim) && !w->foreign)
        log_warn("folder.foreign",
                 "folder=\"%s\" files=%zu example=\"%s\" text=\"claimed by "
                 "fleet %s on host %s, and left to it\"",
                 w->layout.running, n, LOG_TEXT(example), claim.owner.fleet,
                 claim.owner.host);
    if (n != w->foreign)
        folder_heartbeat_soon(w->f);
    w->foreign = n;
    if (n)
        (void)snprintf(
            w->foreign_why, sizeof w->foreign_why,
            "%zu files in %s are claimed by fleet %s on host %s since %s, and "
            "left to it; if it is gone for ever, move them back to %s",
            n, w->layout.running, claim.owner.fleet, claim.owner.host, since,
            w->layout.waiting);
}

static void
on_swept(void *ctx)
{
    struct sweep *s = ctx;
    struct watched_folder *w = s->w;
    size_t found = 0, foreign = 0;
    const char *example = NULL;

    w->sweeping = false;
    w->swept = true;
    if (folder_job_done(w->f)) {
        for (const char **p = s->names; p && *p; p++) {
            struct folder_claim claim;

            if (!folder_layout_read_claim(*p, &claim) ||
                claimed_file_find(w->f, claim.id))
                continue;
            if (is_foreign(w, &claim)) {
                foreign++;
                example = *p;
                continue;
            }
            (void)claimed_file_new(w, &claim, *p);
            found++;
        }
        note_foreign(w, foreign, example);
        if (found)
            log_info("folder.found", "folder=\"%s\" files=%zu",
                     w->layout.running, found);
        folder_work(w->f);
    }
    mem_pool_free(s->pool);
    mem_free(s);
}

void
watched_folder_sweep(struct watched_folder *w)
{
    struct sweep *s;
    int64_t now = loop_now_ms();

    if (w->sweeping || w->f->draining)
        return;
    if (w->swept_ms && now - w->swept_ms < SWEEP_MS) {
        w->sweep_again = true;
        return;
    }
    w->sweep_again = false;
    w->sweeping = true;
    w->swept_ms = now;
    s = MEM_NEW(struct sweep);
    s->w = w;
    s->pool = mem_pool_new();
    folder_job(w->f, sweep, on_swept, s);
}

bool
watched_folder_sweep_again(struct watched_folder *w, int64_t now_ms)
{
    bool again = w->sweep_again;

    if (again && now_ms - w->swept_ms >= SWEEP_MS)
        watched_folder_sweep(w);
    return again;
}

/* --- life ---------------------------------------------------------------- */

void
watched_folder_start(struct watched_folder *w)
{
    w->timer = loop_timer_start(w->f->loop, 0, 0, on_timer, w);
    w->scan_at_ms = loop_now_ms();
    watched_folder_sweep(w); /* claims of the previous run */
}

void
watched_folder_close(struct watched_folder *w)
{
    loop_watch_stop(w->watch);
    loop_timer_stop(w->timer);
    dir_scan_release(&w->scan);
    folder_layout_release(&w->layout);
    mem_free(w);
}
