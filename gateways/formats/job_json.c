/*
 * Reads a job file: id, kind, workdir, script, dod, report_path.
 */
#include "gateways/formats/formats_private.h"

#include "lib/model/dod.h"

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

int
formats_read_job_json(struct import_text *s, const struct yaml_node *root)
{
    static const char *const known[] = {
        "id", "kind", "workdir", "script", "dod", "report_path", NULL};
    struct task *t = formats_tasks(s, "job.json", 1);
    const struct yaml_node *script = formats_get(root, "script");

    formats_unknown(s, root, known, t);
    if (check_kind(s, root) < 0)
        return -1;
    if (!script)
        return formats_fail(s, root,
                            "script: missing; write a list of shell commands");
    /* The id is the job's name for people: the task gets an id of its own, so
     * that the same file, queued again, is a new task. "~" in workdir is
     * expanded by the worker. */
    if (formats_commands(s, script, "script", t) < 0 ||
        formats_text(s, root, "id", &t->name) < 0 ||
        formats_text(s, root, "workdir", &t->workdir) < 0 ||
        formats_text(s, root, "dod", &t->dod) < 0 ||
        formats_text(s, root, "report_path", &t->report_path) < 0)
        return -1;
    if (dod_check(t->dod, s->e) < 0)
        return formats_fail(s, yaml_get(root, "dod"), "dod: %s", s->e->msg);
    return formats_check(s, root, t);
}
