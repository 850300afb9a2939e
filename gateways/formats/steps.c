/*
 * Reads the lists of steps in briefs, rallies and queue files.
 */
#include "gateways/formats/formats_private.h"

#include <string.h>

/* --- one step ------------------------------------------------------------- */

static int
read_script(const struct import_text *s, const struct yaml_node *v,
            const char *key, enum step_kind kind, struct step *out)
{
    if (v->kind != YAML_SCALAR || (s->json && !v->quoted) ||
        (yaml_is_null(v) && *v->text))
        return formats_expected(s, v, key, "text");
    if (formats_is_blank(v->text))
        return formats_fail(s, v, "%s: empty; write what to run", key);
    out->kind = kind;
    out->script = v->text;
    return 0;
}

/* make: targets as text, or as a list that needs no shell. */
static int
read_make(const struct import_text *s, const struct yaml_node *map,
          const char *key, struct step *out)
{
    const struct yaml_node *v = yaml_get(map, key);
    const char **words, **argv;
    size_t n;

    if (v->kind != YAML_LIST)
        return read_script(s, v, key, STEP_MAKE, out);
    if (formats_texts(s, map, key, &words, &n) < 0)
        return -1;
    argv = mem_pool_alloc(s->pool, (n + 1) * sizeof *argv);
    argv[0] = "make";
    if (n)
        memcpy(argv + 1, words, n * sizeof *argv);
    out->kind = STEP_ARGV;
    out->argv = argv;
    out->n_argv = n + 1;
    return 0;
}

/* Arguments, never a shell line. */
static int
read_kubectl(const struct import_text *s, const struct yaml_node *map,
             const char *key, struct step *out)
{
    const struct yaml_node *v = yaml_get(map, key);
    struct step text = {0};

    out->kind = STEP_KUBECTL;
    if (v->kind != YAML_LIST)
        return read_script(s, v, key, STEP_KUBECTL, &text) < 0
                   ? -1
                   : kubectl_words(s, v, v->text, &out->argv, &out->n_argv);
    if (formats_texts(s, map, key, &out->argv, &out->n_argv) < 0)
        return -1;
    kubectl_drop_name(&out->argv, &out->n_argv);
    return out->n_argv
               ? 0
               : formats_fail(s, v, "%s: empty; write its arguments", key);
}

static const struct {
    const char *key;
    enum step_kind kind;
    bool free; /* only in a dictionary without a fixed form */
} kinds[] = {
    {"shell", STEP_SHELL, false}, {"python", STEP_PYTHON, false},
    {"make", STEP_MAKE, false},   {"kubectl", STEP_KUBECTL, false},
    {"run", STEP_SHELL, true},    {"command", STEP_SHELL, true},
    {"cmd", STEP_SHELL, true},    {"script", STEP_SHELL, true},
};

enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* The kind of a step; exactly one is required. */
static int
find_kind(const struct import_text *s, const struct yaml_node *map, bool free,
          size_t *out)
{
    size_t found = N_KINDS;

    for (size_t i = 0; i < N_KINDS; i++) {
        if ((kinds[i].free && !free) || !formats_get(map, kinds[i].key))
            continue;
        if (found < N_KINDS)
            return formats_fail(s, yaml_get(map, kinds[i].key)->key,
                                "%s: given together with %s; write two steps",
                                kinds[i].key, kinds[found].key);
        found = i;
    }
    if (found == N_KINDS)
        return formats_fail(
            s, map,
            "a step without shell, python, make or kubectl; write what to run");
    *out = found;
    return 0;
}

static int
read_kind(const struct import_text *s, const struct yaml_node *map, size_t i,
          struct step *out)
{
    const char *key = kinds[i].key;

    if (kinds[i].kind == STEP_MAKE)
        return read_make(s, map, key, out);
    if (kinds[i].kind == STEP_KUBECTL)
        return read_kubectl(s, map, key, out);
    return read_script(s, yaml_get(map, key), key, kinds[i].kind, out);
}

static int
check_keys(struct import_text *s, const struct yaml_node *map, bool free)
{
    const char *known[N_KINDS + 4] = {"name", "workdir", "timeout"};
    size_t n = 3;

    for (size_t i = 0; i < N_KINDS; i++)
        if (free || !kinds[i].free)
            known[n++] = kinds[i].key;
    return formats_keys(s, map, known, NULL);
}

static int
read_step(struct import_text *s, const struct yaml_node *v, bool free,
          struct step *out)
{
    size_t kind = 0;

    if (v->kind == YAML_SCALAR)
        return read_script(s, v, "steps", STEP_SHELL, out);
    if (v->kind != YAML_MAP)
        return formats_expected(s, v, "steps", "a step");
    if (find_kind(s, v, free, &kind) < 0 || read_kind(s, v, kind, out) < 0)
        return -1;
    if (formats_get(v, "name") && formats_text(s, v, "name", &out->name) < 0)
        return -1;
    return formats_text(s, v, "workdir", &out->workdir) < 0 ||
                   formats_ms(s, v, "timeout", &out->timeout_ms) < 0
               ? -1
               : check_keys(s, v, free);
}

/* --- lists ---------------------------------------------------------------- */

/* Makes n steps, named by number; n is at least 1. */
static int
new_steps(struct import_text *s, const struct yaml_node *list, const char *key,
          size_t n, struct task *t)
{
    if (n == 0)
        return formats_fail(s, list, "%s: empty; write what to run", key);
    if (n > TASK_MAX_STEPS)
        return formats_fail(s, list, "%s: %zu entries; at most %d", key, n,
                            TASK_MAX_STEPS);
    t->steps = mem_pool_alloc(s->pool, n * sizeof *t->steps);
    t->n_steps = n;
    for (size_t i = 0; i < n; i++)
        t->steps[i] =
            (struct step){.name = mem_pool_printf(s->pool, "%zu", i + 1),
                          .kind = STEP_SHELL,
                          .script = "",
                          .workdir = ""};
    return 0;
}

int
formats_steps(struct import_text *s, const struct yaml_node *list, bool free,
              struct task *t)
{
    size_t i = 0;

    if (list->kind != YAML_LIST)
        return formats_expected(s, list, "steps", "a list");
    if (new_steps(s, list, "steps", list->n, t) < 0)
        return -1;
    for (const struct yaml_node *v = list->first; v; v = v->next)
        if (read_step(s, v, free, &t->steps[i++]) < 0)
            return -1;
    return 0;
}

int
formats_commands(struct import_text *s, const struct yaml_node *list,
                 const char *key, struct task *t)
{
    bool one = list->kind == YAML_SCALAR;
    size_t i = 0;

    if (list->kind == YAML_MAP || (one && s->json && !list->quoted))
        return formats_expected(s, list, key, "a list of shell commands");
    if (new_steps(s, list, key, one ? 1 : list->n, t) < 0)
        return -1;
    if (one)
        return read_script(s, list, key, STEP_SHELL, &t->steps[0]);
    for (const struct yaml_node *v = list->first; v; v = v->next, i++)
        if (read_script(s, v, mem_pool_printf(s->pool, "%s[%zu]", key, i),
                        STEP_SHELL, &t->steps[i]) < 0)
            return -1;
    return 0;
}
