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
says(struct claim_file *t, enum claim_file_state state, const char *why)
{
    t->state = state;
    (void)str_copy(t->why, sizeof t->why, why);
}

/* From here on the file is ours, under that id. */
static bool
claim(struct claim_file *t)
{
    char file[FOLDER_LAYOUT_FILE_SIZE];
    struct err e = {0};

    folder_layout_claim_name(t->id, t->name, file);
    if (files_make_dir(t->place->running, &e) < 0) {
        says(t, CLAIM_FILE_LATER, e.msg);
        return false;
    }
    /* The name is new: nothing can be overwritten. */
    if (rename(FILES_PATH(t->place->waiting, t->name),
               FILES_PATH(t->place->running, file)) == 0) {
        FAILPOINT("folder.after_claim");
        return true;
    }
    if (errno == ENOENT)
        says(t, CLAIM_FILE_GONE, "");
    else
        says(t, CLAIM_FILE_LATER, strerror(errno));
    return false;
}

/*
 * Shows the file under its own name among the running ones, as a second link.
 * That name is exclusive too: of files that share it only one is in work.
 */
static bool
show(struct claim_file *t, const char *file)
{
    struct files_path visible;

    (void)files_path(t->place->running, t->name, &visible);
    if (link(file, visible.s) == 0 || errno != EEXIST ||
        files_same(file, visible.s))
        return true; /* shown, or this file system has no links */
    says(t, CLAIM_FILE_BUSY, "");
    return false;
}

/* The task a number from "1" means; NULL: it is no such number. */
static const struct task *
nth(const struct import *in, const char *text)
{
    uint64_t n;

    return str_to_u64(text, 1, in->n_tasks, &n) ? &in->tasks[n - 1] : NULL;
}

/*
 * The tasks of a batch that has no id yet name each other by their position.
 * All ids come from the claim's: read again, the file is the same batch.
 */
static void
link_batch(const struct claim_file *t, struct import *in, struct mem_pool *pool)
{
    const char *batch = mem_pool_strdup(pool, t->id);

    for (size_t i = 0; i < in->n_tasks; i++) {
        struct task *task = &in->tasks[i];

        if (!task->batch || *task->batch->id || in->n_tasks < 2)
            return;
        task->id = mem_pool_printf(pool, "%s-%zu", t->id, i + 1);
    }
    for (size_t i = 0; i < in->n_tasks; i++) {
        struct task *task = &in->tasks[i];

        task->batch->id = batch;
        for (size_t k = 0; k < task->n_after; k++) {
            const struct task *other = nth(in, task->after[k]);

            if (other)
                task->after[k] = other->id;
        }
    }
}

/* Fills in what the file left open. */
static void
complete(const struct claim_file *t, struct task *task, size_t i, size_t n,
         struct mem_pool *pool)
{
    const struct folder_layout *p = t->place;

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
    link_batch(t, in, pool);
    t->tasks = mem_zero(in->n_tasks, sizeof *t->tasks);
    t->n = in->n_tasks;
    for (size_t i = 0; i < in->n_tasks; i++) {
        struct task *task = &in->tasks[i];

        complete(t, task, i, in->n_tasks, pool);
        if (task_check(task, e) < 0 || codec_check(CODEC_TASK, task, e) < 0)
            return err_wrap(e, "%s/%s", t->place->waiting, t->name);
        (void)str_copy(t->tasks[i].id, sizeof t->tasks[i].id, task->id);
        codec_encode(CODEC_TASK, task, &t->tasks[i].data);
    }
    return 0;
}

/* Seed 3's rules but for the providers there are, which the router knows. */
static bool
may_be_delegated(const struct task *t)
{
    const struct delegation *d = t->delegation;

    return d && d->allow_delegation && !d->needs_claude_code &&
           strcmp(d->preferred_ai, "claude-code") != 0;
}

/* Says so before the task is submitted, unless it has been said already. */
static int
mark(struct claim_file *t, struct err *e)
{
    char marker[FOLDER_LAYOUT_FILE_SIZE + 16];
    struct str text = {0};
    json_t *o;
    int rc;

    folder_layout_sidecar_name(t->name, marker);
    t->marked = true;
    if (files_exist(FILES_PATH(t->place->running, marker)))
        return 0;
    o = outcome_away(t->tasks[0].id, "", "", "", "");
    outcome_json(o, &text);
    rc = files_put(t->place->running, marker, str_text(&text), text.len, e);
    str_free(&text);
    json_decref(o);
    return rc;
}

/* Errors speak of the file by the name it was given. */
static int
parse(struct claim_file *t, const struct str *text, struct err *e)
{
    struct mem_pool *pool = mem_pool_new();
    struct import in = {0};
    int rc;

    rc = formats_read(FILES_PATH(t->place->waiting, t->name), str_text(text),
                      text->len, pool, &in, e);
    if (rc == 0)
        rc = encode(t, &in, pool, e);
    if (rc == 0 && t->place->style == STYLE_AGENT_QUEUE && t->n == 1 &&
        may_be_delegated(&in.tasks[0]) && mark(t, e) < 0)
        log_warn("folder.marker", "task=%s error=\"%s\"", t->id,
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
    struct looks now = {.ino = st->st_ino,
                        .size = st->st_size,
                        .changed_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 +
                                      st->st_mtim.tv_nsec};
    bool same = now.ino == t->looks.ino && now.size == t->looks.size &&
                now.changed_ns == t->looks.changed_ns;

    t->looks = now;
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
    (void)files_path(t->place->running, claimed, &path);
    if (!show(t, path.s))
        return;
    if (files_read(path.s, FORMATS_MAX_BYTES + 1, &text, &st, &e) < 0)
        says(t,
             e.code == ERR_NOT_FOUND ? CLAIM_FILE_GONE
             : e.code == ERR_INVALID ? CLAIM_FILE_BAD
                                     : CLAIM_FILE_LATER,
             e.msg);
    else if (changed(t, &st) || (size_t)st.st_size != text.len)
        says(t, CLAIM_FILE_YOUNG, "");
    else if (parse(t, &text, &e) < 0)
        says(t, t->patient ? CLAIM_FILE_YOUNG : CLAIM_FILE_BAD, e.msg);
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
