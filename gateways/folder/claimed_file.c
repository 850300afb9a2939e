/*
 * Finds claimed files by their tasks' ids through a hash table, and keeps each
 * in the list of its phase.
 */
#include "gateways/folder/claimed_file.h"

#include "gateways/folder/folder_private.h"
#include "lib/base/mem.h"

#include <string.h>

static void
link_id(struct folder *f, struct id_link *l, struct claimed_file *c,
        const char *id)
{
    (void)str_copy(l->id, sizeof l->id, id);
    l->claim = c;
    hash_table_add(&f->by_id, &l->link, l->id);
}

static struct claimed_file *
find_exact(struct folder *f, const char *id)
{
    const struct id_link *l = hash_table_find(&f->by_id, id);

    return l ? l->claim : NULL;
}

struct claimed_file *
claimed_file_find(struct folder *f, const char *task)
{
    struct claimed_file *c = find_exact(f, task);
    char id[TASK_ID_SIZE];

    if (c || strlen(task) <= FOLDER_LAYOUT_ID_LEN ||
        task[FOLDER_LAYOUT_ID_LEN] != '-')
        return c;
    memcpy(id, task, FOLDER_LAYOUT_ID_LEN); /* "<claim>-2" */
    id[FOLDER_LAYOUT_ID_LEN] = '\0';
    return find_exact(f, id);
}

static void
leave_phase(struct claimed_file *c)
{
    TAILQ_REMOVE(&c->f->phases[c->phase], c, in_phase);
    c->f->counts[c->phase]--;
}

static void
enter_phase(struct claimed_file *c, enum claimed_phase phase)
{
    c->phase = phase;
    TAILQ_INSERT_TAIL(&c->f->phases[phase], c, in_phase);
    c->f->counts[phase]++;
}

struct claimed_file *
claimed_file_new(struct watched_folder *w, const struct folder_claim *claim,
                 const char *path)
{
    struct claimed_file *c = MEM_NEW(struct claimed_file);

    c->f = w->f;
    c->w = w;
    c->name = mem_strdup(claim->name);
    c->path = path ? mem_strdup(path) : NULL;
    c->fresh = !path;
    c->changed_ms = loop_now_ms();
    (void)str_copy(c->id, sizeof c->id, claim->id);
    (void)str_copy(c->digest, sizeof c->digest, claim->digest);
    link_id(c->f, &c->link, c, c->id);
    enter_phase(c, CLAIMED_READ);
    c->f->n_claims++;
    return c;
}

void
claimed_file_claim(const struct claimed_file *c, struct folder_claim *out)
{
    *out = (struct folder_claim){.owner = c->f->owner};
    memcpy(out->id, c->id, sizeof out->id);
    memcpy(out->digest, c->digest, sizeof out->digest);
    (void)str_copy(out->name, sizeof out->name, c->name);
}

/* Its tasks are over: other files may run where they ran. */
static void
release_workdirs(struct claimed_file *c)
{
    serial_release(c->f->serial, &c->workdirs);
    workdirs_free(&c->workdirs);
}

void
claimed_file_to(struct claimed_file *c, enum claimed_phase phase,
                int64_t due_ms)
{
    if (phase == CLAIMED_WRITE_BACK && c->workdirs.n)
        release_workdirs(c);
    leave_phase(c);
    enter_phase(c, phase);
    c->due_ms = due_ms;
}

void
claimed_file_unload(struct claimed_file *c)
{
    for (size_t i = 0; i < c->n; i++)
        str_free(&c->tasks[i].data);
    c->f->loaded -= c->loaded;
    c->loaded = false;
}

static void
forget_tasks(struct claimed_file *c)
{
    claimed_file_unload(c);
    for (size_t i = 0; i < c->n; i++) {
        bus_forget(c->f->bus, &c->tasks[i]);
        json_decref(c->tasks[i].json);
        if (c->more)
            hash_table_remove(&c->f->by_id, &c->more[i].link);
    }
    mem_free(c->tasks);
    mem_free(c->more);
    c->tasks = NULL;
    c->more = NULL;
    c->n = 0;
}

void
claimed_file_fill(struct claimed_file *c, struct claim_file *t)
{
    bool foreign = false;

    forget_tasks(c);
    c->tasks = mem_zero(t->n, sizeof *c->tasks);
    c->n = t->n;
    for (size_t i = 0; i < t->n; i++) {
        struct file_task *task = &c->tasks[i];

        task->claim = c;
        memcpy(task->id, t->tasks[i].id, sizeof task->id);
        task->data = t->tasks[i].data;
        t->tasks[i].data = (struct str){0};
        foreign =
            foreign || strncmp(task->id, c->id, FOLDER_LAYOUT_ID_LEN) != 0;
    }
    if (foreign) {
        c->more = mem_zero(c->n, sizeof *c->more);
        for (size_t i = 0; i < c->n; i++)
            link_id(c->f, &c->more[i], c, c->tasks[i].id);
    }
    c->loaded = true;
    c->f->loaded++;
}

void
claimed_file_free(struct claimed_file *c, bool settle)
{
    struct folder *f = c->f;

    forget_tasks(c);
    if (c->workdirs.n)
        release_workdirs(c);
    result_hint_free(&c->hints, settle);
    hash_table_remove(&f->by_id, &c->link.link);
    leave_phase(c);
    f->n_claims--;
    str_free(&c->output);
    mem_free(c->name);
    mem_free(c->path);
    mem_free(c);
}
