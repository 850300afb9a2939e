/*
 * Reads the JSON form of a task, the one accepted on tasks.in.
 */
#include "gateways/formats/formats_private.h"

#include "lib/model/codec.h"

#include <string.h>

struct task_reading {
    struct import_text *s;
    const struct yaml_node *root;
    struct task *t;
    int rc;
};

/* Called when the task's own fields have been read. path is "hints.odd": looks
 * for the key in the object before it. */
static void
on_unknown(void *ctx, const char *path)
{
    static const char *const known[] = {NULL};
    struct task_reading *r = ctx;
    struct yaml_node inner = {.kind = YAML_LIST, .text = ""};
    const struct yaml_node *v;

    /* Checked before the search: a text may have a hundred thousand keys. */
    if (r->rc < 0 || (r->s->out->n_warnings == FORMATS_WARNINGS_MAX &&
                      !codec_delegation_key(path)))
        return;
    v = yaml_get(r->root, path);
    inner.key = v ? v->key : formats_key_at(r->root, path);
    r->rc = formats_key(r->s, r->root, v ? v : &inner, known, v ? r->t : NULL);
}

int
formats_read_task_json(struct import_text *s, const json_t *json,
                       const struct yaml_node *root)
{
    struct task *t = formats_tasks(s, "task.json", 1);
    struct task_reading r = {s, root, t, 0};
    const char *origin = t->origin;

    if (codec_from_json(CODEC_TASK, json, s->pool, t, on_unknown, &r, s->e) < 0)
        return formats_place(s, root);
    if (r.rc < 0)
        return -1;
    if (*t->prompt && formats_prompt(s, yaml_get(root, "prompt"), t->prompt,
                                     strlen(t->prompt)) < 0)
        return -1;
    if (!*t->format)
        t->format = s->out->format;
    if (!*t->origin)
        t->origin = origin;
    return formats_check(s, root, t);
}
