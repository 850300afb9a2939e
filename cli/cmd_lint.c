/*
 * The command lint: reads task files as submit does, and prints the tasks,
 * warnings and errors; it needs no broker.
 */
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/task_builder.h"
#include "gateways/formats/formats.h"
#include "lib/base/str.h"

#include <stdio.h>

enum { NAMES_MAX = 10, SUMMARY_SIZE = 60 };

/* The task's name; of one that gets its name when it is submitted, a summary.
 */
static const char *
name_of(const struct task *t, char *out, size_t size)
{
    return *t->name ? t->name : task_summary(t, out, size);
}

static json_t *
names_to_json(const struct import *in)
{
    json_t *list = json_array();
    char summary[SUMMARY_SIZE];

    for (size_t i = 0; i < in->n_tasks; i++)
        (void)json_array_append_new(
            list, json_string(name_of(&in->tasks[i], summary, sizeof summary)));
    return list;
}

/* One line: file, format, number of tasks, their names. */
static void
print_line(const char *file, const struct import *in)
{
    struct str line = {0}, safe = {0};
    char summary[SUMMARY_SIZE];

    str_addf(&line, "%s\t%s\t%zu task%s\t", file, in->format, in->n_tasks,
             in->n_tasks == 1 ? "" : "s");
    for (size_t i = 0; i < in->n_tasks && i < NAMES_MAX; i++)
        str_addf(&line, "%s%s", i ? ", " : "",
                 name_of(&in->tasks[i], summary, sizeof summary));
    if (in->n_tasks > NAMES_MAX)
        str_addf(&line, ", and %zu more", in->n_tasks - NAMES_MAX);
    str_addc(&line, '\n');
    str_add_printable(&safe, line.data, line.len);
    (void)fputs(str_text(&safe), stdout);
    str_free(&safe);
    str_free(&line);
}

static void
add_found(struct cli *c, const char *name, const struct import *in, json_t *o)
{
    (void)json_object_update_new(
        o, json_pack("{s:s, s:I, s:o}", "format", in->format, "tasks",
                     (json_int_t)in->n_tasks, "names", names_to_json(in)));
    if (!c->json)
        print_line(name, in);
}

static void
add_error(const char *name, const struct err *e, json_t *o)
{
    (void)json_object_set_new(
        o, "error",
        out_with_schema("error",
                        json_pack("{s:s, s:s}", "code", err_code_name(e->code),
                                  "message", e->msg)));
    task_builder_remark(name, "error", e->msg);
}

/* Checks one file and adds the findings to list; whether it is valid. */
static bool
lint_file(struct cli *c, const char *name, json_t *list)
{
    json_t *o, *warnings = json_array();
    struct import in = {0};
    struct str text = {0};
    struct err e = {0};
    bool ok =
        task_builder_read(name, FORMATS_MAX_BYTES, &text, &e) == 0 &&
        formats_read(name, str_text(&text), text.len, c->pool, &in, &e) == 0;

    for (size_t i = 0; i < in.n_warnings; i++) {
        (void)json_array_append_new(warnings, json_string(in.warnings[i]));
        if (!c->quiet)
            task_builder_remark(name, "warning", in.warnings[i]);
    }
    o = json_pack("{s:s, s:b, s:o}", "file", name, "ok", ok, "warnings",
                  warnings);
    if (ok)
        add_found(c, name, &in, o);
    else
        add_error(name, &e, o);
    (void)json_array_append_new(list, o);
    str_free(&text);
    return ok;
}

int
cmd_lint(struct cli *c, const struct args *a)
{
    json_t *list;
    bool ok = true;

    if (!a->n_words || a->dashes)
        return cli_usage(c, "at least one file is required");
    list = json_array();
    for (size_t i = 0; i < a->n_words; i++)
        ok = lint_file(c, a->words[i], list) && ok;
    if (c->json)
        out_list("lint", list);
    json_decref(list);
    return ok ? RC_OK : RC_USAGE;
}
