/*
 * A scan runs on another thread and is compared with the previous one, so that
 * a file is claimed only after it has stayed unchanged for folder.settle. A
 * sweep lists the claimed files; those unknown here belong to a killed gateway.
 */
#include "gateways/folder/watched_folder.h"

#include "gateways/folder/files.h"
#include "gateways/folder/folder_private.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

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
    j->rc = dir_scan_read(p, loop_now_ms(), &j->scan, &j->e);
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

static bool
unsettled(const struct watched_folder *w, int64_t now_ms)
{
    for (size_t i = 0; i < w->scan.n; i++)
        if (now_ms - w->scan.v[i].since_ms < w->f->conf->settle_ms)
            return true;
    return false;
}

static void
use_scan(struct watched_folder *w, struct dir_scan *now)
{
    if (now->long_names)
        log_warn("folder.long_names",
                 "folder=\"%s\" files=%zu text=\"names of more than %d bytes "
                 "are ignored\"",
                 w->layout.waiting, now->long_names, FOLDER_LAYOUT_NAME_MAX);
    dir_scan_compare(now, &w->scan);
    dir_scan_release(&w->scan);
    w->scan = *now;
    w->next = 0;
    w->missing = false;
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
        if (unsettled(w, now))
            delay = f->conf->settle_ms;
        delay = pause_of(w, delay);
    } else {
        if (!w->missing)
            log_warn("folder.missing", "error=\"%s\"", LOG_TEXT(j->e.msg));
        w->missing = true;
    }
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

static void
on_swept(void *ctx)
{
    struct sweep *s = ctx;
    struct watched_folder *w = s->w;
    size_t found = 0;

    w->sweeping = false;
    if (folder_job_done(w->f)) {
        for (const char **p = s->names; p && *p; p++) {
            char id[TASK_ID_SIZE];
            const char *name;

            if (!folder_layout_read_claim(*p, id, &name) ||
                claimed_file_find(w->f, id))
                continue;
            (void)claimed_file_new(w, id, name, false);
            found++;
        }
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
}
