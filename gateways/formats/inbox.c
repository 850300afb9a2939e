/*
 * Reads the files of an operator's inbox: queries to a cluster, and changes
 * that were approved to be applied to it.
 *
 * Whoever can write there is not trusted with a shell: every action is an
 * argument list of kubectl. An ask only reads. An apply names one file below
 * the only folder that may be applied, within its own scope.
 */
#include "gateways/formats/formats_private.h"

#include <string.h>

/* Only files below it may be applied; production is elsewhere on purpose. */
#define APPLY_ROOT "infra/k8s/overlays/dev/"

/* One file being read. */
struct inbox {
    struct import_text *s;
    struct task *t;
    const char *kind, *scope;
    bool approved;
};

/* --- paths ---------------------------------------------------------------- */

static bool
stays_below(const char *path)
{
    if (!*path || *path == '/' || *path == '-' || strchr(path, '\\'))
        return false;
    while (*path) {
        size_t len = strcspn(path, "/");

        if ((len == 2 && memcmp(path, "..", 2) == 0) ||
            (len == 1 && *path == '.') || (len == 0))
            return false;
        path += len + (path[len] == '/');
    }
    return true;
}

/* The scope is the path, or a folder above it. */
static bool
covers(const char *scope, const char *path)
{
    size_t len = strlen(scope);

    if (len > 0 && scope[len - 1] == '/')
        len--;
    return len > 0 && strncmp(path, scope, len) == 0 &&
           (!path[len] || path[len] == '/');
}

static int
check_path(const struct inbox *x, const struct yaml_node *action,
           const char *path)
{
    if (!stays_below(path) || path[strcspn(path, " \t\r\n")])
        return formats_refuse(x->s, action, "path", path,
                              "is not accepted; write a path below " APPLY_ROOT
                              ", relative, without . and ..");
    if (strncmp(path, APPLY_ROOT, sizeof APPLY_ROOT - 1) != 0 ||
        !path[sizeof APPLY_ROOT - 1])
        return formats_refuse(x->s, action, "path", path,
                              "must not be applied from here; only what lies "
                              "below " APPLY_ROOT " may");
    if (!covers(x->scope, path))
        return formats_fail(x->s, yaml_get(action, "path"),
                            "path: '%s' is outside of the scope that was "
                            "approved, '%s'",
                            formats_short(x->s, path),
                            formats_short(x->s, x->scope));
    return 0;
}

/* --- actions -------------------------------------------------------------- */

static void
add_step(struct inbox *x, const char *name, const char **argv, size_t n)
{
    x->t->steps[x->t->n_steps++] = (struct step){.name = name,
                                                 .kind = STEP_KUBECTL,
                                                 .script = "",
                                                 .argv = argv,
                                                 .n_argv = n,
                                                 .workdir = ""};
}

static int
read_cmd(struct inbox *x, const struct yaml_node *action)
{
    static const char *const known[] = {"cmd", NULL};
    const struct yaml_node *at = yaml_get(action, "cmd");
    const char *cmd, **argv;
    size_t n, first;

    if (formats_keys(x->s, action, known, NULL) < 0 ||
        formats_need(x->s, action, "cmd", "kubectl get ...", &cmd) < 0)
        return -1;
    first = strspn(cmd, " \t");
    if (strncmp(cmd + first, "kubectl", 7) != 0 ||
        !strchr(" \t", cmd[first + 7]) || !cmd[first + 7])
        return formats_fail(x->s, at,
                            "cmd: '%s' is not accepted; only kubectl is",
                            formats_short(x->s, cmd));
    if (kubectl_words(x->s, at, cmd, &argv, &n) < 0 ||
        kubectl_only_reads(x->s, at, argv, n) < 0)
        return -1;
    add_step(x, mem_pool_printf(x->s->pool, "%zu", x->t->n_steps + 1), argv, n);
    return 0;
}

/* kubectl with these words, in the approved namespace. */
static void
add_apply(struct inbox *x, const char *name, const char *const *words,
          const char *path, const char *space)
{
    const char **argv = mem_pool_alloc(x->s->pool, 8 * sizeof *argv);
    size_t n = 0;

    while (*words)
        argv[n++] = *words++;
    argv[n++] = "-f";
    argv[n++] = path;
    if (*space) {
        argv[n++] = "-n";
        argv[n++] = space;
    }
    add_step(x, name, argv, n);
}

/* Whether text is a Kubernetes name. */
static bool
is_name(const char *text)
{
    return !text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.")] &&
           *text != '-';
}

static int
read_namespace(struct inbox *x, const struct yaml_node *action,
               const char **out)
{
    const struct yaml_node *resource = formats_get(action, "resource");

    *out = "";
    if (!resource)
        return 0;
    if (resource->kind != YAML_MAP)
        return formats_expected(x->s, resource, "resource", "an object");
    if (formats_text(x->s, resource, "namespace", out) < 0)
        return -1;
    return is_name(*out) ? 0
                         : formats_refuse(x->s, resource, "namespace", *out,
                                          "is not a name");
}

/* Three steps: a dry run on the server, the apply, and a look at the result.
 * kubectl diff is not among them: it exits 1 for "differs", which would fail
 * the task. */
static int
read_apply(struct inbox *x, const struct yaml_node *action)
{
    static const char *const known[] = {"type", "path", "resource", NULL};
    static const char *const check[] = {"apply", "--dry-run=server", NULL};
    static const char *const apply[] = {"apply", NULL};
    static const char *const get[] = {"get", NULL};
    const char *type, *path, *space;

    if (formats_keys(x->s, action, known, NULL) < 0 ||
        formats_text(x->s, action, "type", &type) < 0)
        return -1;
    if (strcmp(type, "k8s-apply") != 0)
        return formats_refuse(x->s, action, "type", type,
                              "is unknown; accepted is k8s-apply");
    if (strcmp(x->kind, "apply") != 0)
        return formats_fail(x->s, yaml_get(action, "type"),
                            "type: k8s-apply needs a file of kind apply");
    if (formats_need(x->s, action, "path", "the file to apply", &path) < 0 ||
        check_path(x, action, path) < 0 ||
        read_namespace(x, action, &space) < 0)
        return -1;
    add_apply(x, mem_pool_printf(x->s->pool, "check %s", path), check, path,
              space);
    add_apply(x, mem_pool_printf(x->s->pool, "apply %s", path), apply, path,
              space);
    add_apply(x, mem_pool_printf(x->s->pool, "get %s", path), get, path, space);
    return 0;
}

static int
read_actions(struct inbox *x, const struct yaml_node *list)
{
    enum { STEPS_EACH = 3 };

    if (list->kind != YAML_LIST)
        return formats_expected(x->s, list, "actions", "a list");
    if (list->n > TASK_MAX_STEPS / STEPS_EACH)
        return formats_fail(x->s, list, "actions: %zu entries; at most %d",
                            list->n, TASK_MAX_STEPS / STEPS_EACH);
    x->t->steps =
        mem_pool_alloc(x->s->pool, list->n * STEPS_EACH * sizeof *x->t->steps);
    for (const struct yaml_node *v = list->first; v; v = v->next) {
        if (v->kind != YAML_MAP ||
            (!yaml_get(v, "cmd") && !yaml_get(v, "type")))
            return formats_fail(x->s, v,
                                "actions: an action has cmd, or type and "
                                "path");
        if ((yaml_get(v, "cmd") ? read_cmd : read_apply)(x, v) < 0)
            return -1;
    }
    return 0;
}

/* --- the file ------------------------------------------------------------- */

static int
check_kind(struct inbox *x, const struct yaml_node *root)
{
    if (formats_need(x->s, root, "kind", "ask or apply", &x->kind) < 0)
        return -1;
    if (strcmp(x->kind, "ask") == 0 || strcmp(x->kind, "apply") == 0)
        return 0;
    return formats_refuse(x->s, root, "kind", x->kind,
                          "is unknown; write ask or apply");
}

/* Without approval the task waits for a person. */
static int
check_approval(struct inbox *x, const struct yaml_node *root)
{
    const struct yaml_node *at = yaml_get(root, "approved");

    if (formats_flag(x->s, root, "approved", &x->approved) < 0)
        return -1;
    if (strcmp(x->kind, "apply") != 0)
        return 0;
    if (formats_need(x->s, root, "scope", "the path that may be applied",
                     &x->scope) < 0)
        return -1;
    if (!stays_below(x->scope))
        return formats_refuse(
            x->s, root, "scope", x->scope,
            "is not accepted; write a path, relative, without . and ..");
    if (!x->approved) {
        x->t->hold = true;
        formats_warn(x->s, at ? at : root,
                     "approved is not true: the task is held until somebody "
                     "approves it");
    }
    return 0;
}

/* The origin, as the file states it. */
static int
read_tags(struct inbox *x, const struct yaml_node *root)
{
    static const char *const keys[] = {"source", "approver", "scope",
                                       "pr_number"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct yaml_node *v = formats_get(root, keys[i]);

        if (v && v->kind != YAML_SCALAR)
            return formats_expected(x->s, v, keys[i], "text");
        if (v && strlen(v->text) <= FORMATS_TAG_BYTES)
            formats_tag(x->s, x->t, keys[i], v->text);
    }
    return 0;
}

/* Without actions the note is the request. */
static int
read_request(struct inbox *x, const struct yaml_node *root)
{
    struct task *t = x->t;

    if (strcmp(x->kind, "apply") == 0)
        return formats_fail(x->s, root,
                            "actions: missing; write what to apply");
    if (formats_is_blank(t->notes))
        return formats_fail(
            x->s, root,
            "actions: missing, and note as well; write one of them");
    t->prompt = t->notes;
    return formats_prompt(x->s, yaml_get(root, "note"), t->prompt,
                          strlen(t->prompt));
}

int
formats_read_inbox(struct import_text *s, const struct yaml_node *root)
{
    static const char *const known[] = {
        "kind",  "source", "note",    "actions", "approved",  "approver",
        "scope", "repo",   "workdir", "branch",  "pr_number", NULL};
    const struct yaml_node *actions = formats_get(root, "actions");
    struct task *t = formats_tasks(s, "inbox", 1);
    struct inbox x = {.s = s, .t = t, .scope = ""};

    s->no_shell = true;
    t->name = formats_base_name(s);
    if (check_kind(&x, root) < 0 || check_approval(&x, root) < 0 ||
        read_tags(&x, root) < 0 ||
        formats_text(s, root, "note", &t->notes) < 0 ||
        formats_text(s, root, "repo", &t->repo) < 0 ||
        formats_text(s, root, "branch", &t->branch) < 0 ||
        formats_text(s, root, "workdir", &t->workdir) < 0 ||
        formats_keys(s, root, known, t) < 0)
        return -1;
    if (actions && read_actions(&x, actions) < 0)
        return -1;
    if (t->n_steps == 0 && read_request(&x, root) < 0)
        return -1;
    return formats_check(s, root, t);
}
