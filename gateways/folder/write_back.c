/*
 * Each style has its way to record an outcome: a result beside the file, a run
 * log, or the file rewritten. The folders are synced once for all files.
 */
#include "gateways/folder/write_back.h"

#include "gateways/folder/files.h"
#include "gateways/folder/folder_access.h"
#include "gateways/folder/outcome_text.h"
#include "gateways/formats/formats.h"
#include "lib/base/failpoint.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One file being moved. */
struct file_move {
    struct write_back *b;
    struct files_path claimed; /* where it is */
    const char *dir;           /* where it goes */
    char final[FOLDER_LAYOUT_FILE_SIZE];
};

/* --- the final name ------------------------------------------------------- */

/* Whether dir/name was written by an earlier try for this very file. */
static bool
is_ours(const struct file_move *t, const char *name)
{
    struct str text = {0};
    struct stat st;
    struct err e;
    bool ours;

    ours = files_read(FILES_PATH(t->dir, name), 4 * FORMATS_MAX_BYTES, &text,
                      &st, &e) == 0 &&
           outcome_tells_of(&text, t->b->claim.id);
    str_free(&text);
    return ours;
}

/* Its own name, unless an earlier file of that name is there. */
static void
choose_name(struct file_move *t)
{
    const char *name = t->b->claim.name;

    if (file_exists(FILES_PATH(t->dir, name)) && !is_ours(t, name))
        folder_layout_second_name(t->b->layout, t->b->claim.id, name, t->final);
    else
        (void)str_copy(t->final, sizeof t->final, name);
}

/* --- styles --------------------------------------------------------------- */

/*
 * Removes the file's own name and its sidecar from the running ones, before the
 * claimed name: a crash in between leaves a claimed file, which is found again.
 */
static void
unlink_visible(const struct file_move *t)
{
    struct files_path visible;
    char sidecar[FOLDER_LAYOUT_FILE_SIZE];

    (void)files_path(t->b->layout->running, t->b->claim.name, &visible);
    if (!file_same(visible.s, t->claimed.s))
        return;
    folder_layout_sidecar_name(t->b->layout, t->b->claim.name, sidecar);
    (void)unlink(FILES_PATH(t->b->layout->running, sidecar));
    (void)unlink(visible.s);
}

/* Moves the file unchanged; report, if any, is beside its new name already. */
static int
move_file(struct file_move *t, const char *report, struct err *e)
{
    FAILPOINT("folder.after_report");
    unlink_visible(t);
    if (files_move(t->claimed.s, FILES_PATH(t->dir, t->final), e) == 0)
        return 0;
    /* Another process was faster, under the other name. */
    if (e->code == ERR_NOT_FOUND && report &&
        strcmp(t->final, t->b->claim.name))
        (void)unlink(FILES_PATH(t->dir, report));
    return -1;
}

/* Writes a new text under the final name and removes the file. */
static int
replace_file(struct file_move *t, const struct str *text, struct err *e)
{
    if (files_put(t->dir, t->final, str_text(text), text->len, e) < 0)
        return -1;
    FAILPOINT("folder.after_report");
    unlink_visible(t);
    (void)unlink(t->claimed.s);
    return 0;
}

/* Writes the text, which it frees, beside the file's new name and moves it. */
static int
move_with(struct file_move *t, const char *name, struct str *text,
          struct err *e)
{
    int rc = files_put(t->dir, name, str_text(text), text->len, e);

    str_free(text);
    return rc == 0 ? move_file(t, name, e) : -1;
}

static int
to_jobs(struct file_move *t, struct err *e)
{
    char name[FOLDER_LAYOUT_FILE_SIZE];
    struct str text = {0};

    folder_layout_result_name(t->b->layout, t->final, name);
    outcome_json(t->b->result, &text);
    return move_with(t, name, &text, e);
}

static int
to_inbox(struct file_move *t, struct err *e)
{
    char stem[FOLDER_LAYOUT_FILE_SIZE];
    struct files_path dir;
    struct str text = {0};
    int rc;

    folder_layout_stem(t->final, stem);
    (void)snprintf(dir.s, sizeof dir.s, "%s/reports/codex_runs/%s",
                   t->b->layout->root, stem);
    outcome_run_log(t->b->result, &t->b->output, &text);
    rc = files_make_dir(dir.s, e);
    if (rc == 0)
        rc = files_put(dir.s, "run.log", str_text(&text), text.len, e);
    if (rc == 0)
        rc = files_sync(dir.s, e);
    str_free(&text);
    return rc == 0 ? move_file(t, NULL, e) : -1;
}

/* Adds the outcome to the file's own text. */
static int
to_rewritten(struct file_move *t, struct err *e)
{
    struct str original = {0}, text = {0};
    struct stat st;
    int rc;

    rc = files_read(t->claimed.s, FORMATS_MAX_BYTES, &original, &st, e);
    if (rc == 0 && t->b->layout->style == STYLE_CLOUD_QUEUE) {
        rc = outcome_into_json(&original, t->b->result, &text, e);
    } else if (rc == 0) {
        str_add(&text, str_text(&original), original.len);
        if (text.len && text.data[text.len - 1] != '\n')
            str_addc(&text, '\n');
        outcome_footer(t->b->result, &text);
    }
    if (rc == 0)
        rc = replace_file(t, &text, e);
    str_free(&original);
    str_free(&text);
    return rc;
}

/* A file that could not be read: writes the reason beside it. */
static int
to_quarantine(struct file_move *t, struct err *e)
{
    char name[FOLDER_LAYOUT_FILE_SIZE];
    struct str text = {0};

    folder_layout_error_name(t->b->layout, t->final, name);
    str_addf(&text, "%s\n", t->b->why);
    return move_with(t, name, &text, e);
}

static int
write_outcome(struct file_move *t, struct err *e)
{
    if (!t->b->result)
        return to_quarantine(t, e);
    switch (t->b->layout->style) {
    case STYLE_JOBS:
        return to_jobs(t, e);
    case STYLE_INBOX:
        return to_inbox(t, e);
    case STYLE_CLOUD_QUEUE:
    case STYLE_AGENT_QUEUE:
        return to_rewritten(t, e);
    }
    return err_set(e, ERR_BUG, "unknown style");
}

/* --- files that were changed ---------------------------------------------- */

static bool
has_changed(const struct write_back *b, const char *claimed,
            const struct stat *st)
{
    char digest[FOLDER_LAYOUT_DIGEST_SIZE];
    struct file_stamp now = file_stamp_of(st);
    struct str text = {0};
    struct stat read;
    struct err e;

    if (file_stamp_same(&now, &b->stamp) || !*b->claim.digest)
        return false;
    if (files_read(claimed, FORMATS_MAX_BYTES + 1, &text, &read, &e) == 0)
        folder_layout_digest(str_text(&text), text.len, digest);
    else
        digest[0] = '\0';
    str_free(&text);
    return strcmp(digest, b->claim.digest) != 0;
}

static void
say_changed(struct write_back *b)
{
    json_t *warnings = json_object_get(b->result, "warnings");

    b->changed = true;
    if (!warnings) {
        warnings = json_array();
        (void)json_object_set_new(b->result, "warnings", warnings);
    }
    (void)json_array_append_new(
        warnings,
        json_string("the file was changed after it was claimed: what ran is "
                    "the text it had then ('shunt show' prints it); put the "
                    "file into the queue again to run what it says now"));
}

/* --- all of it ------------------------------------------------------------ */

static void
write_back_file(struct write_back *b)
{
    struct file_move t = {.b = b};
    char why[FOLDER_PROBLEM_SIZE];
    struct stat st;

    (void)files_path(b->layout->running, b->path, &t.claimed);
    if (lstat(t.claimed.s, &st) < 0) {
        b->gone = true;
        return;
    }
    if (b->result && has_changed(b, t.claimed.s, &st))
        say_changed(b);
    t.dir = b->result && outcome_succeeded(b->result) && !b->changed
                ? b->layout->done
                : b->layout->failed;
    if (!folder_access_is_plain(b->layout, why, sizeof why)) {
        err_set(&b->e, ERR_DENIED, "%s", why);
        return;
    }
    if (files_make_dir(t.dir, &b->e) < 0)
        return;
    choose_name(&t);
    if (write_outcome(&t, &b->e) == 0) {
        files_leave_dir(b->layout->running, b->path);
        b->ok = true;
        (void)snprintf(b->at, sizeof b->at, "%s/%s", t.dir, t.final);
    } else if (b->e.code == ERR_NOT_FOUND && !file_exists(t.claimed.s)) {
        b->gone = true;
    }
}

void
write_back_files(struct write_back **list, size_t n)
{
    const char *synced[3] = {NULL};

    for (size_t i = 0; i < n; i++)
        write_back_file(list[i]);
    /* A folder is synced once for all files that went there. */
    for (size_t i = 0; i < n; i++) {
        const struct folder_layout *p = list[i]->layout;
        const char *dirs[] = {p->done, p->failed, p->running};

        for (size_t j = 0; list[i]->ok && j < 3; j++) {
            if (synced[j] == dirs[j])
                continue;
            synced[j] = dirs[j];
            list[i]->ok = files_sync(dirs[j], &list[i]->e) == 0;
        }
    }
}

void
write_back_release(struct write_back *b)
{
    json_decref(b->result);
    str_free(&b->output);
    b->result = NULL;
}
