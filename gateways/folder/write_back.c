#include "gateways/folder/write_back.h"

#include "gateways/folder/files.h"
#include "gateways/folder/outcome_text.h"
#include "gateways/formats/formats.h"
#include "lib/base/failpoint.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One file on its way. */
struct move {
    struct write_back *c;
    struct files_path claimed; /* where it is */
    const char *dir;           /* where it goes */
    char final[FOLDER_LAYOUT_FILE_SIZE];
};

/* --- the name it will have ------------------------------------------------ */

/* Whether dir/name is what an earlier try made of this very file. */
static bool
is_ours(const struct move *t, const char *name)
{
    struct str text = {0};
    struct stat st;
    struct err e;
    bool ours;

    ours = files_read(FILES_PATH(t->dir, name), 4 * FORMATS_MAX_BYTES, &text,
                      &st, &e) == 0 &&
           outcome_tells_of(&text, t->c->id);
    str_free(&text);
    return ours;
}

/* Its own name, unless an earlier file of that name is there. */
static void
choose_name(struct move *t)
{
    const char *name = t->c->name;

    if (files_exist(FILES_PATH(t->dir, name)) && !is_ours(t, name))
        folder_layout_second_name(t->c->id, name, t->final);
    else
        (void)str_copy(t->final, sizeof t->final, name);
}

/* --- the ways it can go --------------------------------------------------- */

/*
 * Takes the name it was shown under from the running ones, then the file
 * itself: a crash in between leaves a claimed file, which is found again.
 */
static void
hide(const struct move *t)
{
    struct files_path visible;
    char marker[FOLDER_LAYOUT_FILE_SIZE + 16];

    (void)files_path(t->c->place->running, t->c->name, &visible);
    if (!files_same(visible.s, t->claimed.s))
        return;
    folder_layout_sidecar_name(t->c->name, marker);
    (void)unlink(FILES_PATH(t->c->place->running, marker));
    (void)unlink(visible.s);
}

/* The file goes as it is; report, if any, stands beside it already. */
static int
move(struct move *t, const char *report, struct err *e)
{
    FAILPOINT("folder.after_report");
    hide(t);
    if (files_move(t->claimed.s, FILES_PATH(t->dir, t->final), e) == 0)
        return 0;
    /* Somebody else was faster, under the other name. */
    if (e->code == ERR_NOT_FOUND && report && strcmp(t->final, t->c->name))
        (void)unlink(FILES_PATH(t->dir, report));
    return -1;
}

/* A new text takes its place. */
static int
rewrite(struct move *t, const struct str *text, struct err *e)
{
    if (files_put(t->dir, t->final, str_text(text), text->len, e) < 0)
        return -1;
    FAILPOINT("folder.after_report");
    hide(t);
    (void)unlink(t->claimed.s);
    return 0;
}

static int
put_beside(struct move *t, const char *name, const struct str *text,
           struct err *e)
{
    return files_put(t->dir, name, str_text(text), text->len, e);
}

static int
to_jobs(struct move *t, struct err *e)
{
    char name[FOLDER_LAYOUT_FILE_SIZE];
    struct str text = {0};
    int rc;

    folder_layout_result_name(t->final, name);
    outcome_json(t->c->result, &text);
    rc = put_beside(t, name, &text, e);
    str_free(&text);
    return rc == 0 ? move(t, name, e) : -1;
}

static int
to_inbox(struct move *t, struct err *e)
{
    char stem[FOLDER_LAYOUT_FILE_SIZE];
    struct files_path dir;
    struct str text = {0};
    int rc;

    folder_layout_stem(t->final, stem);
    (void)snprintf(dir.s, sizeof dir.s, "%s/reports/codex_runs/%s",
                   t->c->place->root, stem);
    outcome_run_log(t->c->result, &t->c->output, &text);
    rc = files_make_dir(dir.s, e);
    if (rc == 0)
        rc = files_put(dir.s, "run.log", str_text(&text), text.len, e);
    if (rc == 0)
        rc = files_sync(dir.s, e);
    str_free(&text);
    return rc == 0 ? move(t, NULL, e) : -1;
}

/* The file's own text with the outcome in it. */
static int
to_rewritten(struct move *t, struct err *e)
{
    struct str original = {0}, text = {0};
    struct stat st;
    int rc;

    rc = files_read(t->claimed.s, FORMATS_MAX_BYTES, &original, &st, e);
    if (rc == 0 && t->c->place->style == STYLE_CLOUD_QUEUE) {
        rc = outcome_into_json(&original, t->c->result, &text, e);
    } else if (rc == 0) {
        str_add(&text, str_text(&original), original.len);
        if (text.len && text.data[text.len - 1] != '\n')
            str_addc(&text, '\n');
        outcome_footer(t->c->result, &text);
    }
    if (rc == 0)
        rc = rewrite(t, &text, e);
    str_free(&original);
    str_free(&text);
    return rc;
}

/* Beside the file that could not be read stands why. */
static int
to_quarantine(struct move *t, struct err *e)
{
    char name[FOLDER_LAYOUT_FILE_SIZE + 8];
    struct str text = {0};
    int rc;

    (void)snprintf(name, sizeof name, "%s.error", t->final);
    str_addf(&text, "%s\n", t->c->why);
    rc = put_beside(t, name, &text, e);
    str_free(&text);
    return rc == 0 ? move(t, name, e) : -1;
}

static int
go(struct move *t, struct err *e)
{
    if (!t->c->result)
        return to_quarantine(t, e);
    switch (t->c->place->style) {
    case STYLE_JOBS:
        return to_jobs(t, e);
    case STYLE_INBOX:
        return to_inbox(t, e);
    case STYLE_CLOUD_QUEUE:
    case STYLE_AGENT_QUEUE:
        return to_rewritten(t, e);
    }
    return err_set(e, ERR_BUG, "no such style");
}

static void
carry_file(struct write_back *c)
{
    char claimed[FOLDER_LAYOUT_FILE_SIZE];
    struct move t = {.c = c};

    t.dir = c->result && outcome_succeeded(c->result) ? c->place->done
                                                      : c->place->failed;
    folder_layout_claim_name(c->id, c->name, claimed);
    (void)files_path(c->place->running, claimed, &t.claimed);
    if (!files_exist(t.claimed.s)) {
        c->gone = true;
        return;
    }
    if (files_make_dir(t.dir, &c->e) < 0)
        return;
    choose_name(&t);
    if (go(&t, &c->e) == 0) {
        c->ok = true;
        (void)files_path(t.dir, t.final, &(struct files_path){{0}});
        (void)snprintf(c->at, sizeof c->at, "%s/%s", t.dir, t.final);
    } else if (c->e.code == ERR_NOT_FOUND && !files_exist(t.claimed.s)) {
        c->gone = true;
    }
}

void
write_back_files(struct write_back **list, size_t n)
{
    const char *synced[3] = {NULL};

    for (size_t i = 0; i < n; i++)
        carry_file(list[i]);
    /* Folders are synced once for all that went the same way. */
    for (size_t i = 0; i < n; i++) {
        const struct folder_layout *p = list[i]->place;
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
write_back_release(struct write_back *c)
{
    json_decref(c->result);
    str_free(&c->output);
    c->result = NULL;
}
