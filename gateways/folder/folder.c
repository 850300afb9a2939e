/*
 * Opens the configured folders and their checkouts, and runs the gateway: each
 * event on the bus, the disk or a timer ends in folder_work, which does what is
 * possible now.
 */
#include "gateways/folder/folder.h"

#include "gateways/folder/files.h"
#include "gateways/folder/folder_heartbeat.h"
#include "gateways/folder/folder_list.h"
#include "gateways/folder/folder_private.h"
#include "gateways/folder/intake.h"
#include "gateways/folder/outcomes.h"
#include "gateways/folder/sidecar.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/bus/fleet_id.h"
#include "lib/model/subject.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

enum {
    BUSY_TICK_MS = 25,
    TICK_MS = 500,
    RESULTS_WINDOW = 256,
};

/* --- work on other threads ----------------------------------------------- */

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

/* --- work ---------------------------------------------------------------- */

static void
end_drain(struct folder *f)
{
    if (f->draining && f->jobs == 0 && f->counts[CLAIMED_PUBLISH] == 0)
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
    for (size_t i = 0; i < f->n; i++)
        again = watched_folder_sweep_again(f->v[i], now) || again;
    if (f->counts[CLAIMED_SOON] || f->counts[CLAIMED_READ])
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
        break;
    case BUS_CLOSED:
        log_error("folder.closed", "text=\"%s\"", LOG_TEXT(text));
        loop_stop(f->loop, 1);
        break;
    }
}

/* --- life ---------------------------------------------------------------- */

static bool
is_watched(const struct folder *f, const char *waiting)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->v[i]->layout.waiting, waiting) == 0)
            return true;
    return false;
}

/* A usual folder may be listed as well. */
static int
add_line(struct folder *f, const char *line, const char *cwd, bool usual,
         struct err *e)
{
    struct watched_folder *w;
    struct folder_layout p;
    int rc = 0;

    if (folder_layout_parse(line, cwd, &p, e) < 0)
        return err_wrap(e, "folder.folders: '%.200s'", line);
    if (!p.serial_given && *f->conf->serial &&
        folder_layout_read_serial(f->conf->serial, &p.serial, e) < 0) {
        folder_layout_release(&p);
        return err_wrap(e, "folder");
    }
    if (is_watched(f, p.waiting)) {
        if (!usual)
            rc = err_set(e, ERR_INVALID,
                         "folder.folders: '%.200s': %s is listed twice", line,
                         p.waiting);
        folder_layout_release(&p);
        return rc;
    }
    p.name_max = files_name_max(p.path);
    f->v = mem_resize(f->v, (f->n + 1) * sizeof *f->v);
    w = MEM_NEW(struct watched_folder);
    w->f = f;
    w->index = f->n;
    w->layout = p;
    f->v[f->n++] = w;
    return 0;
}

/* Adds the project's usual folders unless the configuration lists them. */
static int
add_project(struct folder *f, const char *project, struct err *e)
{
    static const char *const usual[] = {"jobs/queue", ".cloud-queue"};

    for (size_t i = 0; *project && i < sizeof usual / sizeof *usual; i++) {
        struct files_path path;

        if (file_exists(files_path(project, usual[i], &path)) &&
            add_line(f, usual[i], project, true, e) < 0)
            return -1;
    }
    return 0;
}

/* Adds the folders of the list that are not watched yet. A mistake in one does
 * not keep the others from being watched. */
static void
add_listed(struct folder *f)
{
    json_t *list, *v;
    struct err e;
    size_t i;

    if (!*f->conf->added)
        return;
    if (folder_list_read(f->conf->added, &list, &e) < 0) {
        log_error("folder.added", "error=\"%s\"", LOG_TEXT(e.msg));
        return;
    }
    json_array_foreach(list, i, v)
    {
        if (add_line(f, json_string_value(json_object_get(v, "line")),
                     json_string_value(json_object_get(v, "from")), true,
                     &e) < 0)
            log_error("folder.added", "error=\"%s\"", LOG_TEXT(e.msg));
    }
    json_decref(list);
}

/* A mistake in one folder does not keep the others from being watched: `shunt
 * status` shows it. */
static void
note_fault(struct folder *f, const char *line, const struct err *e)
{
    log_error("folder.fault", "folder=\"%s\" error=\"%s\"", LOG_TEXT(line),
              LOG_TEXT(e->msg));
    if (f->n_faults < FAULTS_MAX)
        f->faults[f->n_faults++] =
            (struct folder_fault){mem_strdup(line), mem_strdup(e->msg)};
}

static int
add_folders(struct folder *f, struct err *e)
{
    char cwd[4096];

    if (!getcwd(cwd, sizeof cwd))
        return err_set(e, ERR_INVALID, "the current folder does not exist");
    for (char **line = f->conf->folders; line && *line; line++)
        if (add_line(f, *line, cwd, false, e) < 0)
            note_fault(f, *line, e);
    if (f->n == 0 && f->n_faults)
        return -1;
    if (add_project(f, f->conf->project, e) < 0)
        return -1;
    add_listed(f);
    if (f->n == 0)
        return err_set(e, ERR_INVALID,
                       "no folder to watch: list some in folder.folders, as "
                       "'/path/jobs/queue style=jobs'");
    return 0;
}

/* Calls add for each claimed file from the checkout g. */
static void
each_claimed(void *ctx, struct git_sync *g,
             void (*add)(struct git_sync *g, const char *dir, const char *name))
{
    struct folder *f = ctx;
    const struct claimed_file *c;

    for (size_t i = 0; i < CLAIMED_PHASES; i++)
        TAILQ_FOREACH (c, &f->phases[i], in_phase)
            if (c->w->git == g)
                add(g, c->w->layout.waiting, c->name);
}

/* Opens the checkout a folder is in, one for all folders in it. */
static int
join_checkout(struct folder *f, struct watched_folder *w, struct err *e)
{
    struct git_sync *g = NULL;
    char *top = git_sync_find(w->layout.path);

    for (size_t i = 0; top && i < f->n_checkouts; i++)
        if (strcmp(git_sync_top(f->checkouts[i]), top) == 0)
            g = f->checkouts[i];
    mem_free(top);
    if (!g) {
        if (!f->procs && proc_set_open(&f->procs, f->loop, false, e) < 0)
            return -1;
        if (git_sync_open(&g, f->loop, f->procs, w->layout.path, e) < 0)
            return -1;
        f->checkouts = mem_resize(f->checkouts,
                                  (f->n_checkouts + 1) * sizeof *f->checkouts);
        f->checkouts[f->n_checkouts++] = g;
    }
    git_sync_add(g, &w->layout);
    w->git = g;
    return 0;
}

static int
join_checkouts(struct folder *f, size_t from, struct err *e)
{
    for (size_t i = from; i < f->n; i++)
        if (f->v[i]->layout.pull && join_checkout(f, f->v[i], e) < 0) {
            err_wrap(e, "folder.folders");
            if (f->n == 1)
                return -1;
            note_fault(f, f->v[i]->layout.path, e);
            f->v[i]->off = f->v[i]->swept = true; /* nothing runs there */
        }
    return 0;
}

/* Starts with the folders and checkouts from these on. */
static void
begin(struct folder *f, size_t folder, size_t checkout)
{
    for (size_t i = folder; i < f->n; i++) {
        struct watched_folder *w = f->v[i];

        if (w->off)
            continue;
        log_info("folder.watching", "folder=\"%s\" style=%s workdir=\"%s\"",
                 w->layout.waiting, folder_layout_style_name(w->layout.style),
                 w->layout.root);
        watched_folder_start(w);
    }
    for (size_t i = checkout; i < f->n_checkouts; i++)
        git_sync_start(f->checkouts[i], f->conf->git_interval_ms, each_claimed,
                       f);
}

static void
on_usr1(void *ctx)
{
    struct folder *f = ctx;
    size_t folder = f->n, checkout = f->n_checkouts;
    struct err e;

    add_listed(f);
    if (join_checkouts(f, folder, &e) < 0)
        log_error("folder.added", "error=\"%s\"", LOG_TEXT(e.msg));
    begin(f, folder, checkout);
    folder_heartbeat_soon(f);
}

/* What marks the files that this gateway claims. */
static int
find_owner(struct folder *f, struct err *e)
{
    char fleet[FLEET_ID_SIZE], host[256] = "";

    if (!*f->conf->fleet && fleet_id_read(f->bus, fleet, e) < 0)
        return -1;
    (void)gethostname(host, sizeof host - 1);
    folder_layout_owner(&f->owner, *f->conf->fleet ? f->conf->fleet : fleet,
                        host);
    if (!*f->owner.fleet)
        return err_set(e, ERR_INVALID,
                       "folder.fleet: '%.40s': write letters and digits",
                       f->conf->fleet);
    return 0;
}

int
folder_open(struct folder **out, struct bus *b, struct loop *l,
            const struct folder_conf *conf, struct err *e)
{
    struct folder *f = MEM_NEW(struct folder);

    f->bus = b;
    f->loop = l;
    f->conf = conf;
    f->multi.type = CODEC_TASKS;
    f->idle = true;
    f->serial = serial_new();
    for (size_t i = 0; i < CLAIMED_PHASES; i++)
        TAILQ_INIT(&f->phases[i]);
    if (find_owner(f, e) < 0 || add_folders(f, e) < 0 ||
        join_checkouts(f, 0, e) < 0 ||
        bus_subscribe(b, SUBJECT_STARTED_ALL, sidecar_on_started, f,
                      &f->started, e) < 0 ||
        bus_consume(b, "RESULTS", "gateway_folder", outcomes_on_result, f,
                    &f->results, e) < 0) {
        folder_close(f);
        return -1;
    }
    f->tick = loop_timer_start(l, TICK_MS, 0, on_tick, f);
    bus_on_event(b, on_event, f);
    folder_heartbeat_open(f);
    begin(f, 0, 0);
    f->usr1 = loop_signal_start(l, SIGUSR1, on_usr1, f);
    bus_consumer_window(f->results, RESULTS_WINDOW);
    *out = f;
    return 0;
}

static void
on_deadline(void *ctx)
{
    struct folder *f = ctx;

    log_warn("folder.drain", "text=\"drain timed out: files in progress are "
                             "found again at the next start\"");
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

void
folder_close(struct folder *f)
{
    if (!f)
        return;
    f->closing = true;
    /* A thread may be writing: wait until its file is complete. */
    (void)loop_until(f->loop, &f->idle, -1);
    bus_on_event(f->bus, NULL, NULL);
    folder_heartbeat_close(f);
    for (size_t i = 0; i < CLAIMED_PHASES; i++)
        while (!TAILQ_EMPTY(&f->phases[i]))
            claimed_file_free(TAILQ_FIRST(&f->phases[i]), false);
    bus_unsubscribe(f->started);
    bus_consumer_close(f->results);
    loop_signal_stop(f->usr1);
    loop_timer_stop(f->tick);
    loop_timer_stop(f->deadline);
    for (size_t i = 0; i < f->n_checkouts; i++)
        git_sync_close(f->checkouts[i]);
    mem_free(f->checkouts);
    proc_set_close(f->procs);
    multi_msg_free(&f->multi);
    for (size_t i = 0; i < f->n; i++)
        watched_folder_close(f->v[i]);
    mem_free(f->v);
    hash_table_free(&f->by_id);
    serial_free(f->serial);
    for (size_t i = 0; i < f->n_faults; i++) {
        mem_free(f->faults[i].line);
        mem_free(f->faults[i].why);
    }
    mem_free(f);
}
