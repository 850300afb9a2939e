/*
 * Parses a waiting file while no process can open it for writing, encodes its
 * tasks with ids derived from the claim's, then renames it to its claimed name
 * and links it under its own name for people.
 */
#include "gateways/folder/claim_file.h"

#include "gateways/folder/files.h"
#include "gateways/folder/folder_access.h"
#include "gateways/folder/outcome_text.h"
#include "gateways/formats/formats.h"
#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/report_mark.h"
#include "lib/os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void
set_state(struct claim_file *t, enum claim_file_state state, const char *why)
{
    t->state = state;
    (void)str_copy(t->why, sizeof t->why, why);
}

/* Fills in what the file does not set. */
static void
complete(const struct claim_file *t, struct task *task, size_t i, size_t n,
         struct mem_pool *pool)
{
    const struct folder_layout *p = t->layout;

    if (!*task->id && n == 1)
        task->id = t->claim.id;
    else if (!*task->id)
        task->id = mem_pool_printf(pool, "%s-%zu", t->claim.id, i + 1);
    task->source = "folder";
    if (!*task->project)
        task->project = p->project;
    if (!*task->workdir)
        task->workdir = p->root;
    else if (*task->workdir != '/' && *task->workdir != '~')
        task->workdir = mem_pool_printf(pool, "%s/%s", p->root, task->workdir);
    task_complete(task, pool, str_wall_ms());
}

/* Whether it waits for a task that is not in the file: it must not keep its
 * workdir from the very file it waits for. */
static bool
waits_for_others(const struct import *in, const struct task *task)
{
    for (size_t i = 0; i < task->n_after; i++) {
        bool here = false;

        for (size_t j = 0; j < in->n_tasks && !here; j++)
            here = strcmp(in->tasks[j].id, task->after[i]) == 0;
        if (!here)
            return true;
    }
    return false;
}

static void
find_workdirs(struct claim_file *t, const struct import *in)
{
    for (size_t i = 0; i < in->n_tasks; i++)
        if (!waits_for_others(in, &in->tasks[i]))
            workdirs_add(&t->workdirs, in->tasks[i].workdir);
}

static int
encode(struct claim_file *t, struct import *in, struct mem_pool *pool,
       struct err *e)
{
    if (in->n_tasks > 1) /* read again, the file is the same batch */
        formats_link(in, t->claim.id, pool);
    t->tasks = mem_zero(in->n_tasks, sizeof *t->tasks);
    t->n = in->n_tasks;
    for (size_t i = 0; i < in->n_tasks; i++) {
        struct task *task = &in->tasks[i];

        complete(t, task, i, in->n_tasks, pool);
        if (task_check(task, e) < 0 || codec_check(CODEC_TASK, task, e) < 0)
            return err_wrap(e, "%s/%s", t->layout->waiting, t->claim.name);
        (void)str_copy(t->tasks[i].id, sizeof t->tasks[i].id, task->id);
        codec_encode(CODEC_TASK, task, &t->tasks[i].data);
    }
    if (t->serial)
        find_workdirs(t, in);
    return 0;
}

/* The rules of delegation front matter, except that only the router knows the
 * providers. */
static bool
may_be_delegated(const struct task *t)
{
    const struct delegation *d = t->delegation;

    return d && d->allow_delegation && !d->needs_claude_code &&
           strcmp(d->preferred_ai, "claude-code") != 0;
}

/* Writes the sidecar before the task is submitted, unless it exists. */
static int
write_sidecar(struct claim_file *t, struct err *e)
{
    char sidecar[FOLDER_LAYOUT_FILE_SIZE];
    struct str text = {0};
    json_t *o;
    int rc;

    folder_layout_sidecar_name(t->layout, t->claim.name, sidecar);
    if (file_exists(FILES_PATH(t->layout->running, sidecar)))
        return 0;
    o = outcome_delegated(t->tasks[0].id, "", "", "", "");
    outcome_json(o, &text);
    rc = files_put(t->layout->running, sidecar, str_text(&text), text.len, e);
    str_free(&text);
    json_decref(o);
    return rc;
}

/* Errors name the file as it was called while it waited. */
static int
parse(struct claim_file *t, const struct str *text, struct err *e)
{
    struct mem_pool *pool = mem_pool_new();
    struct import in = {0};
    struct files_path at;
    struct str path = {0};
    int rc;

    /* A name may be any bytes; a message is text. */
    (void)files_path(t->layout->waiting, t->claim.name, &at);
    str_add_utf8(&path, at.s, strlen(at.s));
    rc = formats_read(str_text(&path), str_text(text), text->len, pool, &in, e);
    if (rc == 0)
        rc = encode(t, &in, pool, e);
    t->sidecar = rc == 0 && t->layout->style == STYLE_AGENT_QUEUE &&
                 t->n == 1 && may_be_delegated(&in.tasks[0]);
    for (size_t i = 0; rc == 0 && i < in.n_warnings; i++)
        log_warn("folder.warning", "task=%s text=\"%s\"", t->claim.id,
                 LOG_TEXT(in.warnings[i]));
    str_free(&path);
    mem_pool_free(pool);
    return rc;
}

/* --- claiming ------------------------------------------------------------- */

/* The path of a name among the running files. */
#define RUNNING(t, name) FILES_PATH((t)->layout->running, (name))

/* Moves a claimed file back to where it waited, if its name is still free. */
static bool
give_back(struct claim_file *t)
{
    struct err e;

    if (files_move(RUNNING(t, t->path),
                   FILES_PATH(t->layout->waiting, t->claim.name), &e) < 0)
        return false;
    files_leave_dir(t->layout->running, t->path);
    t->path[0] = '\0';
    return true;
}

/*
 * Links the file under its own name among the running ones. That name is
 * exclusive as well: of files that share it only one is in progress.
 */
static bool
link_visible(const struct claim_file *t)
{
    struct files_path claimed, visible;

    (void)files_path(t->layout->running, t->path, &claimed);
    (void)files_path(t->layout->running, t->claim.name, &visible);
    return link(claimed.s, visible.s) == 0 || errno != EEXIST ||
           file_same(claimed.s, visible.s); /* or there are no links here */
}

/* Renames the file: from here on it is ours, under the claim's id. */
static bool
move_to_running(struct claim_file *t)
{
    struct err e = {0};

    if (files_make_dir(t->layout->running, &e) < 0) {
        set_state(t, CLAIM_FILE_LATER, e.msg);
        return false;
    }
    folder_layout_claim_path(t->layout, &t->claim, t->path);
    /* The name is new: nothing can be overwritten. */
    if (files_make_parent(t->layout->running, t->path) == 0 &&
        rename(FILES_PATH(t->layout->waiting, t->claim.name),
               RUNNING(t, t->path)) == 0)
        return true;
    if (errno == ENOENT) {
        set_state(t, CLAIM_FILE_GONE, "");
    } else {
        t->state = CLAIM_FILE_LATER;
        folder_access_explain(t->layout, errno, t->why, sizeof t->why);
    }
    files_leave_dir(t->layout->running, t->path);
    t->path[0] = '\0';
    return false;
}

/* Whether the file changed since it was read, though nobody was seen to have
 * it open. */
static bool
has_changed(const struct claim_file *t, int fd)
{
    struct file_stamp now;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return true;
    now = file_stamp_of(&st);
    return !file_stamp_same(&now, &t->stamp);
}

static bool
take_workdirs(struct claim_file *t)
{
    if (!t->serial || t->state != CLAIM_FILE_READY)
        return true;
    t->taken =
        serial_take(t->serial, &t->workdirs, t->claim.name, *t->path != 0);
    if (!t->taken)
        set_state(t, CLAIM_FILE_SERIAL, "");
    return t->taken;
}

/* A file that was read, from fd, becomes ours; or is left where it is. */
static void
claim(struct claim_file *t, int fd)
{
    enum claim_file_state left = CLAIM_FILE_YOUNG;
    struct files_path visible;

    (void)files_path(t->layout->running, t->claim.name, &visible);
    if (file_exists(visible.s) && /* but for a claim that was moved back */
        !file_same(visible.s, FILES_PATH(t->layout->waiting, t->claim.name))) {
        set_state(t, CLAIM_FILE_BUSY, "");
        return;
    }
    if (!take_workdirs(t) || !move_to_running(t))
        return;
    FAILPOINT("folder.after_claim");
    if (!has_changed(t, fd)) {
        if (link_visible(t))
            return;
        left = CLAIM_FILE_BUSY;
    }
    if (give_back(t))
        set_state(t, left, "");
    else
        set_state(t, CLAIM_FILE_BAD,
                  "the file was changed while it was claimed, and another one "
                  "has its name now: nothing of it ran");
}

/* --- reading -------------------------------------------------------------- */

/* The outcome of an error of reading. */
static void
unread(struct claim_file *t, const struct err *e)
{
    set_state(t,
              e->code == ERR_NOT_FOUND ? CLAIM_FILE_GONE
              : e->code == ERR_INVALID ? CLAIM_FILE_BAD
                                       : CLAIM_FILE_LATER,
              e->msg);
}

/* Turns the text into tasks, or says why it has none. */
static void
use_text(struct claim_file *t, const struct str *text)
{
    struct err e = {0};

    t->state = CLAIM_FILE_READY;
    if (parse(t, text, &e) < 0)
        set_state(t, t->patient ? CLAIM_FILE_YOUNG : CLAIM_FILE_BAD, e.msg);
}

static void
read_waiting_fd(struct claim_file *t, const char *path, int fd)
{
    struct file_stamp seen = t->stamp;
    struct report_mark mark;
    struct str text = {0};
    struct err e = {0};
    struct stat st;
    bool held = os_hold_writers(fd) == 0;

    if (!held && errno == EAGAIN) {
        set_state(t, CLAIM_FILE_OPEN, "");
        return;
    }
    if (files_read_fd(fd, path, FORMATS_MAX_BYTES + 1, &text, &st, &e) < 0) {
        unread(t, &e);
    } else {
        bool moved = held && os_ctime_ns(&st) != os_mtime_ns(&st);

        t->stamp = file_stamp_of(&st);
        if (!file_stamp_same(&t->stamp, &seen) ||
            (size_t)st.st_size != text.len || !(t->settled || moved))
            set_state(t, CLAIM_FILE_YOUNG, "");
        else if (report_mark_read(str_text(&text), text.len, &mark))
            set_state(t, CLAIM_FILE_REPORT, "");
        else
            use_text(t, &text);
    }
    folder_layout_digest(str_text(&text), text.len, t->claim.digest);
    if (t->state == CLAIM_FILE_READY || t->state == CLAIM_FILE_BAD)
        claim(t, fd);
    str_free(&text);
}

static void
read_waiting(struct claim_file *t)
{
    struct files_path path;
    struct err e = {0};
    int fd;

    (void)files_path(t->layout->waiting, t->claim.name, &path);
    fd = files_open(path.s, &e);
    if (fd < 0) {
        unread(t, &e);
        return;
    }
    read_waiting_fd(t, path.s, fd);
    (void)close(fd); /* writers need not wait any longer */
}

/* A file that was claimed before, by this process or an earlier one. */
static void
read_claimed(struct claim_file *t)
{
    char digest[FOLDER_LAYOUT_DIGEST_SIZE];
    bool seen = t->stamp.ino, known = *t->claim.digest;
    struct file_stamp before = t->stamp;
    struct str text = {0};
    struct err e = {0};
    struct stat st;

    if (!link_visible(t)) {
        set_state(t, CLAIM_FILE_BUSY, "");
        return;
    }
    if (files_read(RUNNING(t, t->path), FORMATS_MAX_BYTES + 1, &text, &st, &e) <
        0) {
        unread(t, &e);
        return;
    }
    t->stamp = file_stamp_of(&st);
    folder_layout_digest(str_text(&text), text.len, digest);
    if (known && strcmp(digest, t->claim.digest) != 0) {
        t->state = CLAIM_FILE_BAD;
        (void)snprintf(t->why, sizeof t->why,
                       "%s was changed after it was claimed as task %s, which "
                       "may have run as it was: see 'shunt show %s'; put the "
                       "file into the queue again to run what it says now",
                       t->claim.name, t->claim.id, t->claim.id);
    } else if (!known && (!seen || !file_stamp_same(&t->stamp, &before))) {
        set_state(t, CLAIM_FILE_YOUNG, "");
    } else {
        use_text(t, &text);
        (void)take_workdirs(t);
    }
    str_free(&text);
}

static void
free_tasks(struct claim_file *t)
{
    for (size_t i = 0; i < t->n; i++)
        str_free(&t->tasks[i].data);
    mem_free(t->tasks);
    t->tasks = NULL;
    t->n = 0;
}

void
claim_file_read(struct claim_file *t)
{
    struct err e;

    if (*t->path)
        read_claimed(t);
    else
        read_waiting(t);
    if (t->state == CLAIM_FILE_READY && t->sidecar && write_sidecar(t, &e) < 0)
        log_warn("folder.sidecar", "task=%s error=\"%s\"", t->claim.id,
                 LOG_TEXT(e.msg)); /* the claim is what counts */
    if (t->state == CLAIM_FILE_READY)
        return;
    if (t->taken)
        serial_release(t->serial, &t->workdirs);
    t->taken = false;
    free_tasks(t);
}

void
claim_file_release(struct claim_file *t)
{
    free_tasks(t);
    workdirs_free(&t->workdirs);
}
