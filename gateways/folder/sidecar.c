/*
 * Writes or removes a file's sidecar when its claim, or the reaper's answer,
 * names a job at the platform. Writing is a job on another thread.
 */
#include "gateways/folder/sidecar.h"

#include "gateways/folder/folder_private.h"

#include "gateways/folder/files.h"
#include "gateways/folder/outcome_text.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/model/codec.h"
#include "lib/model/job_ref.h"

#include <unistd.h>

/* A sidecar that another thread writes. */
struct sidecar_write {
    struct folder *f;
    char *dir;
    char name[FOLDER_LAYOUT_FILE_SIZE], task[TASK_ID_SIZE];
    struct str text;
    struct err e;
    int rc;
};

static void
write_sidecar_file(void *ctx)
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
        log_warn("folder.sidecar", "task=%s error=\"%s\"", w->task,
                 LOG_TEXT(w->e.msg));
    /* The task may have finished by now, and its file moved. */
    else if (open && !claimed_file_find(w->f, w->task))
        (void)unlink(FILES_PATH(w->dir, w->name));
    str_free(&w->text);
    mem_free(w->dir);
    mem_free(w);
}

static void
write_sidecar(struct claimed_file *c, enum sidecar_state state,
              const char *task, const json_t *delegated)
{
    struct sidecar_write *w = MEM_NEW(struct sidecar_write);

    w->f = c->f;
    w->dir = mem_strdup(c->w->layout.running);
    folder_layout_sidecar_name(&c->w->layout, c->name, w->name);
    (void)str_copy(w->task, sizeof w->task, task);
    outcome_json(delegated, &w->text);
    c->sidecar = state;
    folder_job(c->f, write_sidecar_file, on_written, w);
}

/* The task runs, and not at a platform. */
static void
remove_sidecar(struct claimed_file *c)
{
    char name[FOLDER_LAYOUT_FILE_SIZE];

    folder_layout_sidecar_name(&c->w->layout, c->name, name);
    (void)unlink(FILES_PATH(c->w->layout.running, name));
    c->sidecar = SIDECAR_NONE;
}

static void
on_claim(struct claimed_file *c, const struct claim *claim)
{
    struct job_ref r;
    char since[32];
    json_t *delegated;

    if (!job_ref_read(claim->remote, &r)) {
        if (c->sidecar != SIDECAR_NONE)
            remove_sidecar(c);
        return;
    }
    delegated =
        outcome_delegated(claim->task, r.key, r.id, claim->worker,
                          str_time(claim->started_at_ms, since, sizeof since));
    write_sidecar(c, *r.id ? SIDECAR_JOB : SIDECAR_DELEGATED, claim->task,
                  delegated);
    json_decref(delegated);
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
    if (c && c->w->layout.style == STYLE_AGENT_QUEUE)
        on_claim(c, &claim);
    mem_pool_free(pool);
}

void
sidecar_on_delegated(struct claimed_file *c, const json_t *delegated)
{
    if (c->w->layout.style == STYLE_AGENT_QUEUE && c->sidecar != SIDECAR_JOB)
        write_sidecar(c, SIDECAR_JOB, c->id, delegated);
}
