#include "gateways/folder/folder.h"

#include "gateways/folder/files.h"
#include "gateways/folder/folder_private.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/subject.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum {
    HINT_MS = 20,    /* from a change to the look: several come together */
    LOOK_SHARE = 10, /* a look at most each so many times what it takes */
    BUSY_TICK_MS = 25,
    TICK_MS = 500,
    SWEEP_MS = 1000, /* between two looks at claimed files */
    RESULTS_WINDOW = 256,
};

/* --- work on other threads --------------------------------------------------
 */

void
folder_job(struct folder *f, loop_fn *work, loop_fn *done, void *ctx)
{
    f->jobs++;
    f->idle = false;
    loop_work(f->loop, work, done, ctx);
}

bool
folder_job_done(struct folder *f)
{
    f->jobs--;
    f->idle = f->jobs == 0;
    return !f->closing;
}

/* --- looking at a folder
 * ------------------------------------------------------ */

struct folder_look {
    struct watched_folder *w;
    struct listing listing;
    int64_t took_ms;
    struct err e;
    int rc;
};

static void
look(void *ctx)
{
    struct folder_look *l = ctx;
    const struct folder_layout *p = &l->w->place;
    int64_t from = loop_now_ms();
    struct err e;

    if (files_exist(p->path) && !files_exist(p->waiting))
        (void)files_make_dir(p->waiting, &e); /* listing says what is wrong */
    l->rc = dir_scan_read(p, loop_now_ms(), &l->listing, &l->e);
    l->took_ms = loop_now_ms() - from;
}

/* Looking at very many files must not become all we do. */
static int64_t
pause_of(const struct watched_folder *w, int64_t wanted_ms)
{
    int64_t least = w->look_ms * LOOK_SHARE;

    return wanted_ms > least ? wanted_ms : least;
}

/* Taking a file is a change too: while there are some to take, what is new
 * can wait. */
static void
on_change(void *ctx)
{
    struct watched_folder *w = ctx;

    if (w->next < w->listing.n)
        w->changed = true;
    else
        folder_look_soon(w, pause_of(w, HINT_MS));
}

void
folder_taken(struct watched_folder *w)
{
    if (w->changed)
        folder_look_soon(w, pause_of(w, HINT_MS));
    w->changed = false;
}

/* The watch is on the folder itself: one that was made anew needs its own. */
static void
watch(struct watched_folder *w, uint64_t ino)
{
    struct err e = {0};

    if (ino == w->watched_ino || !w->f->conf->watch)
        return;
    loop_watch_stop(w->watch);
    w->watch = NULL;
    w->watched_ino = 0;
    if (loop_watch_start(&w->watch, w->f->loop, w->place.waiting, on_change, w,
                         &e) == 0) {
        w->watched_ino = ino;
        folder_look_soon(w, HINT_MS); /* for what came in between */
    } else {
        log_warn("folder.unwatched",
                 "error=\"%s\" text=\"looked at each %d s\"", LOG_TEXT(e.msg),
                 (int)(w->f->conf->rescan_ms / 1000));
    }
}

static void
say_missing(struct watched_folder *w, const struct err *e)
{
    if (!w->missing)
        log_warn("folder.missing", "error=\"%s\"", LOG_TEXT(e->msg));
    w->missing = true;
}

static bool
unsettled(const struct watched_folder *w, int64_t now_ms)
{
    for (size_t i = 0; i < w->listing.n; i++)
        if (now_ms - w->listing.v[i].since_ms < w->f->conf->settle_ms)
            return true;
    return false;
}

static void
take_listing(struct watched_folder *w, struct listing *now)
{
    if (now->long_names)
        log_warn("folder.long_names",
                 "folder=\"%s\" files=%zu text=\"names of more than %d bytes "
                 "are left alone\"",
                 w->place.waiting, now->long_names, FOLDER_LAYOUT_NAME_MAX);
    dir_scan_compare(now, &w->listing);
    dir_scan_release(&w->listing);
    w->listing = *now;
    w->next = 0;
    w->missing = false;
}

static void
on_looked(void *ctx)
{
    struct folder_look *l = ctx;
    struct watched_folder *w = l->w;
    struct folder *f = w->f;
    int64_t now = loop_now_ms(), delay = f->conf->rescan_ms;

    w->looking = false;
    if (!folder_job_done(f)) {
        dir_scan_release(&l->listing);
        mem_free(l);
        return;
    }
    if (l->rc == 0) {
        uint64_t ino = l->listing.dir_ino;

        w->look_ms = l->took_ms;
        take_listing(w, &l->listing);
        watch(w, ino);
        if (unsettled(w, now))
            delay = f->conf->settle_ms;
        delay = pause_of(w, delay);
    } else {
        say_missing(w, &l->e);
    }
    mem_free(l);
    folder_look_soon(w, delay);
    if (w->look_again)
        folder_look_soon(w, pause_of(w, HINT_MS));
    w->look_again = false;
    if (now - w->swept_ms >= f->conf->repair_ms)
        folder_sweep(w);
    folder_work(f);
}

static void
on_look(void *ctx)
{
    struct watched_folder *w = ctx;
    struct folder_look *l;

    w->look_at_ms = 0;
    if (w->f->draining)
        return;
    if (w->looking) {
        w->look_again = true;
        return;
    }
    w->looking = true;
    l = MEM_NEW(struct folder_look);
    l->w = w;
    folder_job(w->f, look, on_looked, l);
}

void
folder_look_soon(struct watched_folder *w, int64_t delay_ms)
{
    int64_t at = loop_now_ms() + delay_ms;

    if (w->look_at_ms && w->look_at_ms <= at)
        return;
    w->look_at_ms = at;
    loop_timer_again(w->look, delay_ms, 0);
}

/* --- files that are claimed already
 * --------------------------------------------- */

struct sweep {
    struct watched_folder *w;
    struct mem_pool *pool;
    const char **names; /* NULL: could not look */
};

static void
sweep(void *ctx)
{
    struct sweep *s = ctx;
    struct err e;

    s->names = dir_scan_claims(&s->w->place, s->pool, &e);
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
                     w->place.running, found);
        folder_work(w->f);
    }
    mem_pool_free(s->pool);
    mem_free(s);
}

void
folder_sweep(struct watched_folder *w)
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

/* --- the heart
 * -------------------------------------------------------------------- */

static void
end_drain(struct folder *f)
{
    if (f->draining && f->jobs == 0 && f->counts[PHASE_PUBLISH] == 0)
        loop_stop(f->loop, 0);
}

void
folder_work(struct folder *f)
{
    int64_t now = loop_now_ms();
    bool again = false;

    if (f->closing)
        return;
    intake_flush(f);
    intake_work(f, now);
    outcomes_work(f, now);
    for (size_t i = 0; i < f->n; i++) {
        again = again || f->v[i].sweep_again;
        if (f->v[i].sweep_again && now - f->v[i].swept_ms >= SWEEP_MS)
            folder_sweep(&f->v[i]);
    }
    if (f->counts[PHASE_SOON] || f->counts[PHASE_READ])
        loop_timer_again(f->tick, BUSY_TICK_MS, 0);
    else if (f->n_claims || again)
        loop_timer_again(f->tick, TICK_MS, 0);
    end_drain(f);
}

static void
on_tick(void *ctx)
{
    folder_work(ctx);
}

static void
on_event(void *ctx, enum bus_event event, const char *text)
{
    struct folder *f = ctx;

    switch (event) {
    case BUS_UP:
        log_info("folder.bus_up", "url=%s", bus_url(f->bus));
        folder_work(f);
        break;
    case BUS_DOWN:
        log_warn("folder.bus_down", "url=%s text=\"%s\"", bus_url(f->bus),
                 LOG_TEXT(text));
        break;
    case BUS_DENIED:
        log_error("folder.denied", "text=\"%s\"", LOG_TEXT(text));
        loop_stop(f->loop, 1);
        break;
    }
}

/* --- life
 * ---------------------------------------------------------------------------
 */

static bool
is_watched(const struct folder *f, const char *waiting)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->v[i].place.waiting, waiting) == 0)
            return true;
    return false;
}

static int
add_line(struct folder *f, const char *line, const char *cwd, struct err *e)
{
    struct folder_layout p;

    if (folder_layout_parse(line, cwd, &p, e) < 0)
        return err_wrap(e, "folder.folders: '%.200s'", line);
    if (is_watched(f, p.waiting)) {
        err_set(e, ERR_INVALID, "folder.folders: '%.200s': %s is listed twice",
                line, p.waiting);
        folder_layout_release(&p);
        return -1;
    }
    f->v = mem_resize(f->v, (f->n + 1) * sizeof *f->v);
    f->v[f->n++] = (struct watched_folder){.f = f, .place = p};
    return 0;
}

/* The project's usual folders, unless a line of the configuration says how. */
static int
add_project(struct folder *f, const char *project, struct err *e)
{
    static const char *const usual[] = {"jobs/queue", ".cloud-queue"};

    for (size_t i = 0; *project && i < sizeof usual / sizeof *usual; i++) {
        struct files_path path;
        struct folder_layout p;
        bool known;

        if (!files_exist(files_path(project, usual[i], &path)))
            continue;
        if (folder_layout_parse(usual[i], project, &p, e) < 0)
            return -1;
        known = is_watched(f, p.waiting);
        folder_layout_release(&p);
        if (!known && add_line(f, usual[i], project, e) < 0)
            return -1;
    }
    return 0;
}

static int
add_places(struct folder *f, struct err *e)
{
    char cwd[4096];

    if (!getcwd(cwd, sizeof cwd))
        return err_set(e, ERR_INVALID, "the working folder is gone");
    for (char **line = f->conf->folders; line && *line; line++)
        if (add_line(f, *line, cwd, e) < 0)
            return -1;
    if (add_project(f, f->conf->project, e) < 0)
        return -1;
    if (f->n == 0)
        return err_set(e, ERR_INVALID,
                       "no folder to watch: list some in folder.folders, as "
                       "'/path/jobs/queue style=jobs'");
    return 0;
}

/* Files in work that came out of the checkout. */
static void
each_busy(void *ctx, struct git_sync *k,
          void (*add)(struct git_sync *k, const char *dir, const char *name))
{
    struct folder *f = ctx;

    for (size_t i = 0; i < N_PHASES; i++)
        for (const struct claimed_file *c = f->rings[i].next; c != &f->rings[i];
             c = c->next)
            if (c->w->checkout == k)
                add(k, c->w->place.waiting, c->name);
}

/* The checkout a folder lies in, one for all folders in it. */
static int
join_checkout(struct folder *f, struct watched_folder *w, struct err *e)
{
    struct git_sync *k = NULL;
    char *top = git_sync_find(w->place.path);

    for (size_t i = 0; top && i < f->n_checkouts; i++)
        if (strcmp(git_sync_top(f->checkouts[i]), top) == 0)
            k = f->checkouts[i];
    mem_free(top);
    if (!k) {
        if (!f->procs && proc_set_open(&f->procs, f->loop, false, e) < 0)
            return -1;
        if (git_sync_open(&k, f->loop, f->procs, w->place.path, e) < 0)
            return -1;
        f->checkouts = mem_resize(f->checkouts,
                                  (f->n_checkouts + 1) * sizeof *f->checkouts);
        f->checkouts[f->n_checkouts++] = k;
    }
    git_sync_add(k, &w->place);
    w->checkout = k;
    return 0;
}

static int
join_checkouts(struct folder *f, struct err *e)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].place.pull && join_checkout(f, &f->v[i], e) < 0)
            return err_wrap(e, "folder.folders");
    return 0;
}

static void
begin(struct folder *f)
{
    for (size_t i = 0; i < f->n; i++) {
        struct watched_folder *w = &f->v[i];

        log_info("folder.watching", "folder=\"%s\" style=%s workdir=\"%s\"",
                 w->place.waiting, folder_layout_style_name(w->place.style),
                 w->place.root);
        w->look = loop_timer_start(f->loop, 0, 0, on_look, w);
        w->look_at_ms = loop_now_ms();
        folder_sweep(w); /* what was in work when we were last here */
    }
    for (size_t i = 0; i < f->n_checkouts; i++)
        git_sync_start(f->checkouts[i], f->conf->git_interval_ms, each_busy, f);
}

int
folder_open(struct folder **out, struct bus *b, struct loop *l,
            const struct folder_conf *conf, struct err *e)
{
    struct folder *f = MEM_NEW(struct folder);

    f->bus = b;
    f->loop = l;
    f->conf = conf;
    f->bulk.type = CODEC_TASKS;
    f->idle = true;
    for (size_t i = 0; i < N_PHASES; i++)
        f->rings[i].prev = f->rings[i].next = &f->rings[i];
    if (add_places(f, e) < 0 || join_checkouts(f, e) < 0 ||
        bus_subscribe(b, SUBJECT_STARTED_ALL, sidecar_on_started, f,
                      &f->started, e) < 0 ||
        bus_consume(b, "RESULTS", "gateway_folder", outcomes_on_result, f,
                    &f->results, e) < 0) {
        folder_close(f);
        return -1;
    }
    f->tick = loop_timer_start(l, TICK_MS, 0, on_tick, f);
    bus_on_event(b, on_event, f);
    begin(f);
    bus_consumer_window(f->results, RESULTS_WINDOW);
    *out = f;
    return 0;
}

static void
on_deadline(void *ctx)
{
    struct folder *f = ctx;

    log_warn("folder.drain", "text=\"not all is stored; it will be found "
                             "again\"");
    loop_stop(f->loop, 0);
}

void
folder_drain(void *folder, int nth)
{
    struct folder *f = folder;

    f->draining = true;
    bus_consumer_window(f->results, 0);
    if (nth > 1) {
        loop_stop(f->loop, 0);
        return;
    }
    f->deadline =
        loop_timer_start(f->loop, f->conf->drain_timeout_ms, 0, on_deadline, f);
    folder_work(f);
}

static void
close_watched(struct watched_folder *w)
{
    loop_watch_stop(w->watch);
    loop_timer_stop(w->look);
    dir_scan_release(&w->listing);
    folder_layout_release(&w->place);
}

void
folder_close(struct folder *f)
{
    if (!f)
        return;
    f->closing = true;
    /* A thread may be writing: what it writes is whole when it is done. */
    (void)loop_until(f->loop, &f->idle, -1);
    bus_on_event(f->bus, NULL, NULL);
    for (size_t i = 0; i < N_PHASES; i++)
        while (f->rings[i].next != &f->rings[i])
            claimed_file_free(f->rings[i].next, false);
    bus_unsubscribe(f->started);
    bus_consumer_close(f->results);
    loop_timer_stop(f->tick);
    loop_timer_stop(f->deadline);
    for (size_t i = 0; i < f->n_checkouts; i++)
        git_sync_close(f->checkouts[i]);
    mem_free(f->checkouts);
    proc_set_close(f->procs);
    multi_msg_free(&f->bulk);
    for (size_t i = 0; i < f->n; i++)
        close_watched(&f->v[i]);
    mem_free(f->v);
    hash_table_free(&f->by_id);
    mem_free(f);
}
