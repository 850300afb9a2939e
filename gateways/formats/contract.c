/*
 * Reads a run contract: what to do on a branch, in order, the evidence each
 * part leaves, and what must hold at the end.
 *
 * Each entry of tasks becomes a task after the previous one, and acceptance one
 * after all of them. A task that fails keeps later ones from starting.
 */
#include "gateways/formats/formats_private.h"

#include <ctype.h>
#include <string.h>

/* --- evidence ------------------------------------------------------------- */

/* Whether evidence names a file rather than describes one. */
static bool
is_file(const char *text)
{
    size_t len = strlen(text);

    if (*text == '/' || *text == '-' || text[len - 1] == '/' ||
        strstr(text, "..") || !strpbrk(text, "./"))
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("_-./*?+@=,", *text))
            return false;
    return true;
}

/* A step that fails unless the file exists. A pattern is safe for a shell:
 * is_file accepts nothing else. */
static struct step
evidence_step(const struct import_text *s, const char *file)
{
    static const char *const ls[] = {"ls", "-d", "--"};
    enum { N = sizeof ls / sizeof *ls };
    struct step step = {.name = mem_pool_printf(s->pool, "evidence %s", file),
                        .kind = STEP_ARGV,
                        .script = "",
                        .workdir = ""};

    if (strpbrk(file, "*?")) {
        step.kind = STEP_SHELL;
        step.script = mem_pool_printf(s->pool, "ls -d -- %s", file);
        return step;
    }
    step.argv = mem_pool_alloc(s->pool, (N + 1) * sizeof *step.argv);
    memcpy(step.argv, ls, sizeof ls);
    step.argv[N] = file;
    step.n_argv = N + 1;
    return step;
}

static int
read_evidence(struct import_text *s, const struct yaml_node *map,
              struct task *t)
{
    const char **evidence;
    struct step *steps;
    size_t n;

    if (formats_texts(s, map, "evidence", &evidence, &n) < 0)
        return -1;
    if (n == 0)
        return 0;
    if (n + t->n_steps > TASK_MAX_STEPS)
        return formats_fail(s, yaml_get(map, "evidence"),
                            "evidence: at most %d commands and files",
                            TASK_MAX_STEPS);
    steps = mem_pool_alloc(s->pool, (t->n_steps + n) * sizeof *steps);
    memcpy(steps, t->steps, t->n_steps * sizeof *steps);
    t->steps = steps;
    for (size_t i = 0; i < n; i++) {
        if (is_file(evidence[i]))
            t->steps[t->n_steps++] = evidence_step(s, evidence[i]);
        else
            t->notes = mem_pool_printf(s->pool, "%sevidence: %s\n", t->notes,
                                       evidence[i]);
    }
    return 0;
}

/* Nothing runs automatically after a failure: a person decides. */
static int
read_rollback(struct import_text *s, const struct yaml_node *map,
              struct task *t)
{
    const char **commands;
    size_t n;

    if (formats_texts(s, map, "rollback", &commands, &n) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        t->notes =
            mem_pool_printf(s->pool, "%srollback: %s\n", t->notes, commands[i]);
    if (n)
        formats_warn(s, yaml_get(map, "rollback")->key,
                     "rollback: kept as a note; nothing runs it by itself");
    return 0;
}

/* --- the contract --------------------------------------------------------- */

static int
read_entry(struct import_text *s, const struct yaml_node *map, struct task *t)
{
    static const char *const known[] = {"id", "commands", "evidence",
                                        "rollback", NULL};
    const struct yaml_node *commands;

    if (map->kind != YAML_MAP)
        return formats_expected(s, map, "tasks", "an object");
    commands = formats_get(map, "commands");
    if (!commands)
        return formats_fail(s, map,
                            "commands: missing; write a list of shell "
                            "commands");
    if (formats_need(s, map, "id", "a name", &t->name) < 0 ||
        formats_commands(s, commands, "commands", t) < 0 ||
        read_evidence(s, map, t) < 0)
        return -1;
    return read_rollback(s, map, t) < 0 ? -1 : formats_keys(s, map, known, t);
}

static int
check_names(const struct import_text *s, const struct yaml_node *list,
            const struct task *tasks)
{
    size_t i = 0;

    for (const struct yaml_node *v = list->first; v; v = v->next, i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(tasks[i].name, tasks[k].name) == 0)
                return formats_refuse(s, v, "id", tasks[i].name,
                                      "is given twice; rename one");
    return 0;
}

/* Checks the lists and counts the tasks. */
static int
count_tasks(const struct import_text *s, const struct yaml_node *root,
            size_t *out)
{
    const struct yaml_node *list = formats_get(root, "tasks");
    const struct yaml_node *acceptance = formats_get(root, "acceptance");

    if (!list || list->kind != YAML_LIST || list->n == 0)
        return formats_fail(s, list ? list : root,
                            "tasks: missing; write a list of id and commands");
    if (!acceptance || acceptance->kind != YAML_LIST)
        return formats_fail(s, acceptance ? acceptance : root,
                            "acceptance: missing; write a list of shell "
                            "commands, or [] for none");
    *out = list->n + (acceptance->n > 0);
    return *out <= FORMATS_MAX_TASKS
               ? 0
               : formats_fail(s, list, "tasks: %zu entries; at most %d",
                              list->n, FORMATS_MAX_TASKS - 1);
}

static int
read_tasks(struct import_text *s, const struct yaml_node *root,
           struct task *tasks, size_t n)
{
    const struct yaml_node *list = yaml_get(root, "tasks");
    size_t i = 0;

    for (const struct yaml_node *v = list->first; v; v = v->next)
        if (read_entry(s, v, &tasks[i++]) < 0)
            return -1;
    if (check_names(s, list, tasks) < 0)
        return -1;
    if (i == n)
        return 0;
    tasks[i].name = "acceptance";
    return formats_commands(s, yaml_get(root, "acceptance"), "acceptance",
                            &tasks[i]);
}

int
formats_read_contract(struct import_text *s, const struct yaml_node *root)
{
    static const char *const known[] = {"work_branch", "tasks", "acceptance",
                                        NULL};
    const char *branch, *name = formats_base_name(s);
    struct task all = formats_empty(name);
    struct task *tasks;
    size_t n = 0;

    s->no_after = "remove it; the tasks of a contract run in order";
    if (formats_need(s, root, "work_branch", "the branch to work on", &branch) <
            0 ||
        formats_keys(s, root, known, &all) < 0 || count_tasks(s, root, &n) < 0)
        return -1;
    tasks = formats_tasks(s, "run-contract", n);
    if (read_tasks(s, root, tasks, n) < 0)
        return -1;
    formats_batch(s, *name ? name : branch);
    for (size_t i = 0; i < n; i++) {
        tasks[i].branch = branch;
        formats_inherit(&all, &tasks[i]);
        if (i > 0)
            formats_after(s, i, i - 1);
        if (formats_check(s, root, &tasks[i]) < 0)
            return -1;
    }
    return 0;
}
