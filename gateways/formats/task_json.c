/*
 * Reads the JSON form of a task, the one accepted on tasks.in.
 */
#include "gateways/formats/formats_private.h"

#include "lib/model/codec.h"

struct task_reading {
    struct import_text *s;
    const struct yaml_node *root;
};

/* path is "hints.odd": looks for the key in the object before it. */
static void
on_unknown(void *ctx, const char *path)
{
    struct task_reading *r = ctx;

    /* Checked before the search: a text may have a hundred thousand keys. */
    if (r->s->out->n_warnings < FORMATS_WARNINGS_MAX)
        formats_warn(r->s, formats_key_at(r->root, path),
                     "%s: unknown key, ignored", formats_short(r->s, path));
}

int
formats_read_task_json(struct import_text *s, const json_t *json,
                       const struct yaml_node *root)
{
    struct task *t = formats_tasks(s, "task.json", 1);
    struct task_reading r = {s, root};
    const char *origin = t->origin;

    if (codec_from_json(CODEC_TASK, json, s->pool, t, on_unknown, &r, s->e) < 0)
        return formats_place(s, root);
    if (!*t->format)
        t->format = s->out->format;
    if (!*t->origin)
        t->origin = origin;
    return formats_check(s, root, t);
}
