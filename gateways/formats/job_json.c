/*
 * Reads a job file: id, kind, script, and the controls of a task.
 */
#include "gateways/formats/formats_private.h"

#include <string.h>

static int
check_kind(const struct import_text *s, const struct yaml_node *root)
{
    const char *kind;

    if (formats_text(s, root, "kind", &kind) < 0)
        return -1;
    if (!*kind || strcmp(kind, "run_shell") == 0)
        return 0;
    return formats_refuse(s, root, "kind", kind,
                          "is unknown; accepted is run_shell");
}

/* What to run: script, or what others call it. */
static const struct yaml_node *
find_script(const struct import_text *s, const struct yaml_node *root)
{
    static const char *const keys[] = {"script", "commands", "command", "cmd"};
    const struct yaml_node *found = NULL;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct yaml_node *v = formats_get(root, keys[i]);

        if (v && found) {
            (void)formats_fail(s, v->key,
                               "%s: given together with %s; keep "
                               "one",
                               keys[i], found->key->text);
            return NULL;
        }
        found = v ? v : found;
    }
    if (!found)
        (void)formats_fail(s, root,
                           "script: missing; write a list of shell commands");
    return found;
}

int
formats_read_job_json(struct import_text *s, const struct yaml_node *root)
{
    static const char *const known[] = {"id",      "kind", "script", "commands",
                                        "command", "cmd",  NULL};
    struct task *t = formats_tasks(s, "job.json", 1);
    const struct yaml_node *script;

    if (check_kind(s, root) < 0)
        return -1;
    script = find_script(s, root);
    if (!script)
        return -1;
    /* The id is the job's name for people: the task gets an id of its own, so
     * that the same file, queued again, is a new task. "~" in workdir is
     * expanded by the worker. */
    if (formats_commands(s, script, script->key->text, t) < 0 ||
        formats_text(s, root, "id", &t->name) < 0 ||
        formats_keys(s, root, known, t) < 0)
        return -1;
    return formats_check(s, root, t);
}
