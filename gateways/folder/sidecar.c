#include "gateways/folder/folder_private.h"

#include "gateways/folder/files.h"
#include "gateways/folder/outcome_text.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/job_ref.h"

#include <string.h>
#include <unistd.h>

/* A marker on its way to the disk. */
struct sidecar_write {
    struct folder *f;
    char *dir;
    char name[FOLDER_LAYOUT_FILE_SIZE + 16], task[TASK_ID_SIZE];
    struct str text;
    struct err e;
    int rc;
};

static void
write_it(void *ctx)
{
    struct sidecar_write *w = ctx;

    w->rc = files_put(w->dir, w->name, str_text(&w->text), w->text.len, &w->e);
}

static void
on_written(void *ctx)
{
    struct sidecar_write *w = ctx;
    bool open = folder_job_done(w->f);

    if (w->rc < 0)
        log_warn("folder.marker", "task=%s error=\"%s\"", w->task,
                 LOG_TEXT(w->e.msg));
    /* It may be over by now, and its file gone. */
    else if (open && !claimed_file_find(w->f, w->task))
        (void)unlink(FILES_PATH(w->dir, w->name));
    str_free(&w->text);
    mem_free(w->dir);
    mem_free(w);
}

static void
write_marker(struct claimed_file *c, enum marked says, const char *task,
             const json_t *away)
{
    struct sidecar_write *w = MEM_NEW(struct sidecar_write);

    w->f = c->f;
    w->dir = mem_strdup(c->w->place.running);
    folder_layout_sidecar_name(c->name, w->name);
    (void)str_copy(w->task, sizeof w->task, task);
    outcome_json(away, &w->text);
    c->marked = says;
    folder_job(c->f, write_it, on_written, w);
}

/* It runs, and not at a platform. */
static void
remove_marker(struct claimed_file *c)
{
    char name[FOLDER_LAYOUT_FILE_SIZE + 16];

    folder_layout_sidecar_name(c->name, name);
    (void)unlink(FILES_PATH(c->w->place.running, name));
    c->marked = MARKED_NOT;
}

static void
on_claim(struct claimed_file *c, const struct claim *claim)
{
    struct job_ref r;
    char since[32];
    json_t *away;

    if (!job_ref_read(claim->remote, &r)) {
        if (c->marked != MARKED_NOT)
            remove_marker(c);
        return;
    }
    away = outcome_away(claim->task, r.key, r.id, claim->worker,
                        str_time(claim->started_at_ms, since, sizeof since));
    write_marker(c, *r.id ? MARKED_JOB : MARKED_AWAY, claim->task, away);
    json_decref(away);
}

void
sidecar_on_started(void *folder, const struct bus_note *note)
{
    struct folder *f = folder;
    struct mem_pool *pool = mem_pool_new();
    struct claimed_file *c = NULL;
    struct claim claim;
    struct err e;

    if (codec_decode(CODEC_CLAIM, note->data, note->len, pool, &claim, &e) == 0)
        c = claimed_file_find(f, claim.task);
    if (c && c->w->place.style == STYLE_AGENT_QUEUE)
        on_claim(c, &claim);
    mem_pool_free(pool);
}

void
sidecar_on_delegated(struct claimed_file *c, const json_t *away)
{
    if (c->w->place.style == STYLE_AGENT_QUEUE && c->marked != MARKED_JOB)
        write_marker(c, MARKED_JOB, c->id, away);
}
