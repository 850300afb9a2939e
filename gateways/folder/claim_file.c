/*
 * Renames a waiting file to its claimed name, links it under its own name for
 * people, parses it and encodes its tasks with ids derived from the claim's.
 */
#include "gateways/folder/claim_file.h"

#include "gateways/folder/files.h"
#include "gateways/folder/outcome_text.h"
#include "gateways/formats/formats.h"
#include "lib/base/failpoint.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void
set_state(struct claim_file *t, enum claim_file_state state, const char *why)
{
    t->state = state;
    (void)str_copy(t->why, sizeof t->why, why);
}

/* Renames the file: from here on it is ours, under the claim's id. */
static bool
claim(struct claim_file *t)
{
    char file[FOLDER_LAYOUT_FILE_SIZE];
    struct err e = {0};

    folder_layout_claim_name(t->id, t->name, file);
    if (files_make_dir(t->layout->running, &e) < 0) {
        set_state(t, CLAIM_FILE_LATER, e.msg);
        return false;
    }
    /* The name is new: nothing can be overwritten. */
    if (rename(FILES_PATH(t->layout->waiting, t->name),
               FILES_PATH(t->layout->running, file)) == 0) {
        FAILPOINT("folder.after_claim");
        return true;
    }
    if (errno == ENOENT)
        set_state(t, CLAIM_FILE_GONE, "");
    else
        set_state(t, CLAIM_FILE_LATER, strerror(errno));
    return false;
}

/*
 * Links the file under its own name among the running ones. That name is
 * exclusive as well: of files that share it only one is in progress.
 */
static bool
link_visible(struct claim_file *t, const char *file)
{
    struct files_path visible;

    (void)files_path(t->layout->running, t->name, &visible);
    if (link(file, visible.s) == 0 || errno != EEXIST ||
        file_same(file, visible.s))
        return true; /* linked, or this file system has no links */
    set_state(t, CLAIM_FILE_BUSY, "");
    return false;
}

/* Fills in what the file does not set. */
static void
complete(const struct claim_file *t, struct task *task, size_t i, size_t n,
         struct mem_pool *pool)
{
    const struct folder_layout *p = t->layout;

    if (!*task->id && n == 1)
        task->id = t->id;
    else if (!*task->id)
        task->id = mem_pool_printf(pool, "%s-%zu", t->id, i + 1);
    task->source = "folder";
    if (!*task->project)
        task->project = p->project;
    if (!*task->workdir)
        task->workdir = p->root;
    else if (*task->workdir != '/' && *task->workdir != '~')
        task->workdir = mem_pool_printf(pool, "%s/%s", p->root, task->workdir);
    task_complete(task, pool, str_wall_ms());
}

static int
encode(struct claim_file *t, struct import *in, struct mem_pool *pool,
       struct err *e)
{
    if (in->n_tasks > 1) /* read again, the file is the same batch */
        formats_link(in, t->id, pool);
    t->tasks = mem_zero(in->n_tasks, sizeof *t->tasks);
    t->n = in->n_tasks;
    for (size_t i = 0; i < in->n_tasks; i++) {
        struct task *task = &in->tasks[i];

        complete(t, task, i, in->n_tasks, pool);
        if (task_check(task, e) < 0 || codec_check(CODEC_TASK, task, e) < 0)
            return err_wrap(e, "%s/%s", t->layout->waiting, t->name);
        (void)str_copy(t->tasks[i].id, sizeof t->tasks[i].id, task->id);
        codec_encode(CODEC_TASK, task, &t->tasks[i].data);
    }
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
    char sidecar[FOLDER_LAYOUT_FILE_SIZE + 16];
    struct str text = {0};
    json_t *o;
    int rc;

    folder_layout_sidecar_name(t->name, sidecar);
    t->sidecar = true;
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
    int rc;

    rc = formats_read(FILES_PATH(t->layout->waiting, t->name), str_text(text),
                      text->len, pool, &in, e);
    if (rc == 0)
        rc = encode(t, &in, pool, e);
    if (rc == 0 && t->layout->style == STYLE_AGENT_QUEUE && t->n == 1 &&
        may_be_delegated(&in.tasks[0]) && write_sidecar(t, e) < 0)
        log_warn("folder.sidecar", "task=%s error=\"%s\"", t->id,
                 LOG_TEXT(e->msg)); /* the claim is what counts */
    for (size_t i = 0; rc == 0 && i < in.n_warnings; i++)
        log_warn("folder.warning", "task=%s text=\"%s\"", t->id,
                 LOG_TEXT(in.warnings[i]));
    mem_pool_free(pool);
    return rc;
}

static bool
changed(struct claim_file *t, const struct stat *st)
{
    struct file_stamp now = file_stamp_of(st);
    bool same = file_stamp_same(&now, &t->stamp);

    t->stamp = now;
    return !same;
}

static void
read_claimed(struct claim_file *t)
{
    char claimed[FOLDER_LAYOUT_FILE_SIZE];
    struct files_path path;
    struct str text = {0};
    struct stat st;
    struct err e = {0};

    folder_layout_claim_name(t->id, t->name, claimed);
    (void)files_path(t->layout->running, claimed, &path);
    if (!link_visible(t, path.s))
        return;
    if (files_read(path.s, FORMATS_MAX_BYTES + 1, &text, &st, &e) < 0)
        set_state(t,
                  e.code == ERR_NOT_FOUND ? CLAIM_FILE_GONE
                  : e.code == ERR_INVALID ? CLAIM_FILE_BAD
                                          : CLAIM_FILE_LATER,
                  e.msg);
    else if (changed(t, &st) || (size_t)st.st_size != text.len)
        set_state(t, CLAIM_FILE_YOUNG, "");
    else if (parse(t, &text, &e) < 0)
        set_state(t, t->patient ? CLAIM_FILE_YOUNG : CLAIM_FILE_BAD, e.msg);
    else
        t->state = CLAIM_FILE_READY;
    str_free(&text);
}

void
claim_file_read(struct claim_file *t)
{
    if (!t->claim || claim(t))
        read_claimed(t);
    if (t->state != CLAIM_FILE_READY)
        claim_file_release(t);
}

void
claim_file_release(struct claim_file *t)
{
    for (size_t i = 0; i < t->n; i++)
        str_free(&t->tasks[i].data);
    mem_free(t->tasks);
    t->tasks = NULL;
    t->n = 0;
}
