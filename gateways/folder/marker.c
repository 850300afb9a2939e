#include "gateways/folder/folder_private.h"

#include "gateways/folder/files.h"
#include "lib/codec.h"
#include "lib/log.h"
#include "lib/mem.h"
#include "lib/subject.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A marker on its way to the disk. */
struct writing {
    struct folder *f;
    char *dir;
    char name[PLACE_FILE_SIZE + 16], task[TASK_ID_SIZE];
    struct str text;
    struct err e;
    int rc;
};

static void
write_it(void *ctx)
{
    struct writing *w = ctx;

    w->rc = files_put(w->dir, w->name, str_text(&w->text), w->text.len, &w->e);
}

static void
on_written(void *ctx)
{
    struct writing *w = ctx;
    bool open = folder_job_done(w->f);

    if (w->rc < 0)
        log_warn("folder.marker", "task=%s error=\"%s\"", w->task,
                 LOG_TEXT(w->e.msg));
    /* It may be over by now, and its file gone. */
    else if (open && !claimed_find(w->f, w->task))
        (void)unlink(FILES_PATH(w->dir, w->name));
    str_free(&w->text);
    mem_free(w->dir);
    mem_free(w);
}

/* "key K id J", as the worker notes it in the claim. */
static void
make_text(const struct claim *c, struct str *out)
{
    char key[128] = "", id[256] = "", since[32];
    json_t *o;
    char *text;

    (void)sscanf(c->remote, "key %127s id %255s", key, id);
    o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "task", c->task, "state",
                  "delegated_to_secutools", "key", key, "worker", c->worker,
                  "submitted_at",
                  str_time(c->started_at_ms, since, sizeof since));
    if (*id)
        (void)json_object_set_new(o, "job_id", json_string(id));
    text = json_dumps(o, JSON_INDENT(2));
    str_addf(out, "%s\n", text ? text : "{}");
    free(text);
    json_decref(o);
}

void
marker_on_started(void *folder, const struct bus_note *note)
{
    struct folder *f = folder;
    struct mem_pool *pool = mem_pool_new();
    struct claimed *c = NULL;
    struct writing *w;
    struct claim claim;
    struct err e;

    if (codec_decode(CODEC_CLAIM, note->data, note->len, pool, &claim, &e) ==
            0 &&
        *claim.remote)
        c = claimed_find(f, claim.task);
    if (c && c->w->place.style == STYLE_AGENT_QUEUE) {
        w = MEM_NEW(struct writing);
        w->f = f;
        w->dir = mem_strdup(c->w->place.running);
        place_marker_name(c->name, w->name);
        (void)str_copy(w->task, sizeof w->task, claim.task);
        make_text(&claim, &w->text);
        folder_job(f, write_it, on_written, w);
    }
    mem_pool_free(pool);
}
