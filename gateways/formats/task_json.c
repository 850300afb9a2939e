/*
 * task_json - the JSON form of a task, as tasks.in takes it.
 */
#include "gateways/formats/formats_private.h"

#include "lib/codec.h"

#include <string.h>

static void
on_unknown(void *ctx, const char *path)
{
    struct source *s = ctx;
    bool outermost = !strpbrk(path, ".[");

    formats_warn(s, outermost ? path : NULL, "%.100s: unknown key, ignored",
                 path);
}

int
formats_read_task_json(struct source *s, const json_t *json, struct err *e)
{
    struct task *t = formats_new_task(s, "task.json");
    const char *origin = t->origin;

    if (codec_from_json(CODEC_TASK, json, s->pool, t, on_unknown, s, e) < 0 ||
        task_check(t, e) < 0)
        return err_wrap(e, "%s", s->name);
    if (!*t->format)
        t->format = s->out->format;
    if (!*t->origin)
        t->origin = origin;
    return 0;
}
