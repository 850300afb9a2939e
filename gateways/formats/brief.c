/*
 * Reads a codex-brief: executor, repo, branch, workdir, steps, outputs, and for
 * people context_header and notes.
 */
#include "gateways/formats/formats_private.h"

#include "lib/base/str.h"

#include <string.h>

/* --- outputs -------------------------------------------------------------- */

/* The number of an issue: 774, "774" or "#774". */
static int
read_link(const struct import_text *s, const struct yaml_node *map,
          int64_t *out)
{
    const struct yaml_node *v = formats_get(map, "link_issue");
    uint64_t number;

    if (!v)
        return 0;
    if (v->kind == YAML_SCALAR &&
        str_to_u64(v->text + (*v->text == '#'), 1, INT32_MAX, &number)) {
        *out = (int64_t)number;
        return 0;
    }
    return formats_fail(
        s, v,
        "link_issue: expected the number of an issue, found "
        "%s",
        v->kind == YAML_SCALAR
            ? mem_pool_printf(s->pool, "'%s'", formats_short(s, v->text))
            : formats_kind(s, v));
}

static int
check_type(struct import_text *s, const struct yaml_node *map,
           const struct output *o)
{
    bool pr = strcmp(o->type, "pr") == 0;

    if (strcmp(o->type, "report") == 0)
        return 0;
    if (!pr && strcmp(o->type, "comment") != 0)
        return formats_refuse(s, map, "type", o->type,
                              "is unknown; write pr, comment or report");
    if (pr && !*o->title)
        return formats_fail(s, map,
                            "title: missing; write the title of "
                            "the pull request");
    formats_warn(s, yaml_get(map, "type"),
                 "type: nothing here %s; the result says so, and where the "
                 "changes are",
                 pr ? "opens pull requests" : "writes comments");
    return 0;
}

static int
read_output(struct import_text *s, const struct yaml_node *map,
            struct output *o)
{
    static const char *const known[] = {"type",  "title",      "commit_message",
                                        "files", "link_issue", "path",
                                        "body",  NULL};

    if (map->kind != YAML_MAP)
        return formats_expected(s, map, "outputs",
                                "type: pr, comment or report");
    if (formats_keys(s, map, known, NULL) < 0 ||
        formats_need(s, map, "type", "pr, comment or report", &o->type) < 0 ||
        formats_text(s, map, "title", &o->title) < 0 ||
        formats_text(s, map, "commit_message", &o->commit_message) < 0 ||
        formats_text(s, map, "path", &o->path) < 0 ||
        formats_text(s, map, "body", &o->body) < 0 ||
        formats_texts(s, map, "files", &o->files, &o->n_files) < 0 ||
        read_link(s, map, &o->link_issue) < 0)
        return -1;
    return check_type(s, map, o);
}

static int
read_outputs(struct import_text *s, const struct yaml_node *root,
             struct task *t)
{
    const struct yaml_node *list = formats_get(root, "outputs");
    size_t i = 0;

    if (!list)
        return formats_fail(s, root,
                            "outputs: missing; list what the brief produces, "
                            "or [] for nothing");
    if (list->kind != YAML_LIST)
        return formats_expected(s, list, "outputs", "a list");
    t->outputs = mem_pool_alloc(s->pool, list->n * sizeof *t->outputs);
    t->n_outputs = list->n;
    for (const struct yaml_node *v = list->first; v; v = v->next)
        if (read_output(s, v, &t->outputs[i++]) < 0)
            return -1;
    return 0;
}

/* --- the brief ------------------------------------------------------------ */

static int
check_repo(const struct import_text *s, const struct yaml_node *root,
           const struct task *t)
{
    const char *slash = strchr(t->repo, '/');

    if (slash && slash != t->repo && slash[1] && !strchr(slash + 1, '/') &&
        !t->repo[strcspn(t->repo, " \t\n")])
        return 0;
    return formats_refuse(s, root, "repo", t->repo,
                          "is not a repository; write owner/name");
}

static int
read_brief(struct import_text *s, const struct yaml_node *root, struct task *t)
{
    static const char *const known[] = {"executor", "context_header", "repo",
                                        "branch",   "workdir",        "steps",
                                        "outputs",  "notes",          NULL};
    const struct yaml_node *steps = formats_get(root, "steps");

    if (root->kind != YAML_MAP)
        return formats_fail(s, root,
                            "a brief is written key: value, beginning with "
                            "executor:");
    if (formats_need(s, root, "executor", "the lane, devbox-codex say",
                     &t->executor) < 0 ||
        formats_need(s, root, "repo", "owner/name", &t->repo) < 0 ||
        check_repo(s, root, t) < 0 ||
        formats_need(s, root, "branch", "main, say", &t->branch) < 0 ||
        formats_need(s, root, "workdir", "where to run", &t->workdir) < 0 ||
        formats_text(s, root, "context_header", &t->context_header) < 0 ||
        formats_text(s, root, "notes", &t->notes) < 0 ||
        formats_keys(s, root, known, t) < 0)
        return -1;
    if (!steps)
        return formats_fail(s, root,
                            "steps: missing; write a list of name: and shell:");
    if (formats_steps(s, steps, false, t) < 0 || read_outputs(s, root, t) < 0 ||
        formats_check(s, root, t) < 0)
        return -1;
    /* Only now is its path known to be valid. */
    for (size_t i = 0; i < t->n_outputs && !*t->report_path; i++)
        if (strcmp(t->outputs[i].type, "report") == 0)
            t->report_path = t->outputs[i].path;
    return 0;
}

int
formats_read_briefs(struct import_text *s, const struct block *blocks, size_t n)
{
    struct task *tasks = formats_tasks(s, "codex-brief", n);

    for (size_t i = 0; i < n; i++) {
        const struct yaml_node *root;

        if (yaml_parse_part(s->name, blocks[i].text, blocks[i].len,
                            blocks[i].line, s->pool, &root, s->e) < 0 ||
            read_brief(s, root, &tasks[i]) < 0)
            return -1;
    }
    return 0;
}
