/*
 * Reads a rally: several branches of work at once, as a batch of prepare, a
 * task for each branch, all in parallel, and verify. Two branches that could
 * write the same file are refused before anything starts.
 */
#include "gateways/formats/formats_private.h"

#include "lib/base/glob.h"
#include "lib/base/str.h"

#include <string.h>
#include <strings.h>

/* The limit for comparing all pairs of globs, in products of lengths. */
static const size_t COMPARE_MAX = 20 * 1000 * 1000;

struct rally_import {
    struct import_text *s;
    const struct yaml_node *root, *branches;
    const char *name;
    struct task *tasks;
    bool has_prepare, has_verify;
};

/* --- limits --------------------------------------------------------------- */

static int
read_limit(const struct import_text *s, const struct yaml_node *limits,
           const char *key, uint64_t *out)
{
    const struct yaml_node *v = formats_get(limits, key);

    *out = UINT64_MAX;
    if (!v)
        return 0;
    if (v->kind == YAML_SCALAR && str_to_u64(v->text, 0, 1000000, out))
        return 0;
    return formats_fail(s, v, "%s: expected a whole number", key);
}

static int
check_limit(const struct rally_import *r, const struct yaml_node *limits,
            const char *key, uint64_t n, const struct yaml_node *at)
{
    uint64_t most;

    if (read_limit(r->s, limits, key, &most) < 0)
        return -1;
    if (n <= most)
        return 0;
    return formats_fail(r->s, at,
                        "%s: %llu, the limit is %llu; split the work, or "
                        "raise it",
                        key, (unsigned long long)n, (unsigned long long)most);
}

/* The tasks of the branches follow that of prepare. */
static int
check_limits(struct rally_import *r)
{
    static const char *const known[] = {"branches", "steps_per_branch",
                                        "total_steps", "max_fails", NULL};
    const struct yaml_node *limits = formats_get(r->root, "limits");
    const struct task *t = r->tasks + r->has_prepare;
    uint64_t total = 0, max_fails;

    if (!limits)
        return 0;
    if (limits->kind != YAML_MAP)
        return formats_expected(r->s, limits, "limits", "a map");
    formats_unknown(r->s, limits, known, NULL);
    for (const struct yaml_node *b = r->branches->first; b; b = b->next, t++) {
        total += t->n_steps;
        if (check_limit(r, limits, "steps_per_branch", t->n_steps, b->key) < 0)
            return -1;
    }
    if (check_limit(r, limits, "branches", r->branches->n, r->branches->key) <
            0 ||
        check_limit(r, limits, "total_steps", total, r->branches->key) < 0 ||
        read_limit(r->s, limits, "max_fails", &max_fails) < 0)
        return -1;
    if (max_fails != UINT64_MAX)
        formats_warn(r->s, yaml_get(limits, "max_fails")->key,
                     "max_fails: not acted on; a branch that fails keeps "
                     "verify from starting, the others go on");
    return 0;
}

/* --- overlapping writes --------------------------------------------------- */

static int
compare_globs(const struct import_text *s, const struct yaml_node *mine,
              const struct yaml_node *a, const struct yaml_node *theirs,
              const struct yaml_node *b, size_t *cost)
{
    char path[256] = "";

    *cost += (strlen(a->text) + 1) * (strlen(b->text) + 1);
    if (*cost > COMPARE_MAX)
        return formats_fail(s, b,
                            "exclusive_write: more globs than can be "
                            "compared; write fewer or shorter ones");
    if (!glob_overlap(a->text, b->text, path, sizeof path))
        return 0;
    return formats_fail(s, b,
                        "exclusive_write: branches %s and %s both claim '%s' "
                        "(%s and %s); give it to one of them",
                        formats_short(s, mine->key->text),
                        formats_short(s, theirs->key->text),
                        formats_short(s, path), formats_short(s, a->text),
                        formats_short(s, b->text));
}

/* The first of a list of globs, or the only one. */
static const struct yaml_node *
first_glob(const struct yaml_node *branch)
{
    const struct yaml_node *v = formats_get(branch, "exclusive_write");

    return v && v->kind == YAML_LIST ? v->first : v;
}

static const struct yaml_node *
next_glob(const struct yaml_node *branch, const struct yaml_node *v)
{
    return v == yaml_get(branch, "exclusive_write") ? NULL : v->next;
}

static int
compare_branches(const struct import_text *s, const struct yaml_node *x,
                 const struct yaml_node *y, size_t *cost)
{
    for (const struct yaml_node *a = first_glob(x); a; a = next_glob(x, a))
        for (const struct yaml_node *b = first_glob(y); b; b = next_glob(y, b))
            if (compare_globs(s, x, a, y, b, cost) < 0)
                return -1;
    return 0;
}

static int
check_ownership(struct rally_import *r)
{
    size_t cost = 0;

    for (const struct yaml_node *y = r->branches->first; y; y = y->next)
        for (const struct yaml_node *x = r->branches->first; x != y;
             x = x->next)
            if (compare_branches(r->s, x, y, &cost) < 0)
                return -1;
    return 0;
}

static int
read_globs(const struct import_text *s, const struct yaml_node *branch,
           const char *key, const char ***out, size_t *n)
{
    const struct yaml_node *list = formats_get(branch, key), *v;

    if (formats_texts(s, branch, key, out, n) < 0)
        return -1;
    v = list && list->kind == YAML_LIST ? list->first : list;
    for (size_t i = 0; i < *n; i++, v = v->next)
        if (glob_check((*out)[i], s->e) < 0)
            return formats_fail(s, v, "%s: '%s': %s", key,
                                formats_short(s, v->text), s->e->msg);
    return 0;
}

/* --- tasks ---------------------------------------------------------------- */

/* Reads prepare or verify: commands, or steps as in a branch. */
static int
read_side(struct rally_import *r, const char *key, struct task *t)
{
    const struct yaml_node *v = formats_get(r->root, key);

    t->name = mem_pool_printf(r->s->pool, "%s-%s", r->name, key);
    return v->kind == YAML_LIST ? formats_steps(r->s, v, false, t)
                                : formats_commands(r->s, v, key, t);
}

static int
read_work(struct rally_import *r, const struct yaml_node *b, struct task *t)
{
    const struct yaml_node *steps = formats_get(b, "steps");

    if (formats_text(r->s, b, "prompt", &t->prompt) < 0)
        return -1;
    if (steps && *t->prompt)
        return formats_fail(r->s, steps->key,
                            "steps: given together with prompt; keep one");
    if (steps)
        return formats_steps(r->s, steps, false, t);
    return *t->prompt ? 0
                      : formats_fail(r->s, b->key,
                                     "branch %s: no steps; write what to run",
                                     formats_short(r->s, b->key->text));
}

static int
read_branch(struct rally_import *r, const struct yaml_node *b, struct task *t)
{
    static const char *const known[] = {
        "agent",           "steps",       "prompt",  "workdir",
        "exclusive_write", "shared_read", "timeout", NULL};
    const char *agent;

    if (b->kind != YAML_MAP)
        return formats_fail(r->s, b,
                            "branch %s: expected agent, steps and "
                            "exclusive_write, found %s",
                            formats_short(r->s, b->key->text),
                            formats_kind(r->s, b));
    formats_unknown(r->s, b, known, t);
    t->name = mem_pool_printf(r->s->pool, "%s-%s", r->name, b->key->text);
    t->batch->branch = b->key->text;
    if (formats_text(r->s, b, "agent", &agent) < 0 ||
        formats_text(r->s, b, "workdir", &t->workdir) < 0 ||
        formats_ms(r->s, b, "timeout", &t->timeout_ms) < 0 ||
        read_work(r, b, t) < 0 ||
        read_globs(r->s, b, "exclusive_write", &t->batch->exclusive_write,
                   &t->batch->n_exclusive_write) < 0 ||
        read_globs(r->s, b, "shared_read", &t->batch->shared_read,
                   &t->batch->n_shared_read) < 0)
        return -1;
    if (t->batch->n_exclusive_write == 0 && r->branches->n > 1)
        formats_warn(r->s, b->key,
                     "branch %s: no exclusive_write; nothing keeps the others "
                     "off its files",
                     formats_short(r->s, b->key->text));
    if (*agent) {
        t->hints = mem_pool_alloc(r->s->pool, sizeof *t->hints);
        t->hints->agent = agent;
        t->hints->data = "";
    }
    return 0;
}

/* Orders the tasks: prepare, all branches, verify. */
static void
chain(struct rally_import *r)
{
    size_t n = r->s->out->n_tasks, first = r->has_prepare;
    size_t last = n - r->has_verify;

    for (size_t i = first; i < last; i++) {
        if (r->has_prepare)
            formats_after(r->s, i, 0);
        if (r->has_verify)
            formats_after(r->s, n - 1, i);
    }
}

static int
read_tasks(struct rally_import *r)
{
    size_t n = r->s->out->n_tasks, i = r->has_prepare;
    const char *repo, *workdir, *base;

    if (formats_text(r->s, r->root, "repo", &repo) < 0 ||
        formats_text(r->s, r->root, "workdir", &workdir) < 0 ||
        formats_text(r->s, r->root, "branch", &base) < 0)
        return -1;
    if (r->has_prepare && read_side(r, "prepare", &r->tasks[0]) < 0)
        return -1;
    for (const struct yaml_node *b = r->branches->first; b; b = b->next)
        if (read_branch(r, b, &r->tasks[i++]) < 0)
            return -1;
    if (r->has_verify && read_side(r, "verify", &r->tasks[n - 1]) < 0)
        return -1;
    for (i = 0; i < n; i++) {
        r->tasks[i].repo = repo;
        r->tasks[i].branch = base;
        if (!*r->tasks[i].workdir)
            r->tasks[i].workdir = workdir;
    }
    return 0;
}

/* --- the rally ------------------------------------------------------------ */

/* Nothing is merged: the branches work in one folder, each on its own files. */
static int
check_merge(struct rally_import *r)
{
    const struct yaml_node *at = yaml_get(r->root, "merge");
    const char *merge;

    if (formats_text(r->s, r->root, "merge", &merge) < 0)
        return -1;
    if (!*merge || strcasecmp(merge, "CONCAT") == 0 ||
        strcasecmp(merge, "MANUAL") == 0)
        return 0;
    if (strcasecmp(merge, "RESOLVE") == 0)
        return formats_fail(r->s, at,
                            "merge: RESOLVE cannot be done: the branches work "
                            "in one folder; write CONCAT or MANUAL");
    return formats_refuse(r->s, r->root, "merge", merge,
                          "is unknown; write CONCAT or MANUAL");
}

static int
read_rally(struct rally_import *r)
{
    static const char *const known[] = {
        "rally",  "prepare", "branches", "merge",  "verify",
        "limits", "repo",    "workdir",  "branch", NULL};
    struct import_text *s = r->s;

    if (r->root->kind != YAML_MAP)
        return formats_fail(s, r->root, "a rally is written key: value");
    formats_unknown(s, r->root, known, NULL);
    r->branches = formats_get(r->root, "branches");
    r->has_prepare = formats_get(r->root, "prepare");
    r->has_verify = formats_get(r->root, "verify");
    if (formats_need(s, r->root, "rally", "its name", &r->name) < 0 ||
        check_merge(r) < 0)
        return -1;
    if (!r->branches || r->branches->kind != YAML_MAP || r->branches->n == 0)
        return formats_fail(s, r->branches ? r->branches : r->root,
                            "branches: missing; write a name for each branch, "
                            "and below it agent, steps and exclusive_write");
    if (r->branches->n > FORMATS_MAX_TASKS - 2)
        return formats_fail(s, r->branches, "branches: %zu; at most %d",
                            r->branches->n, FORMATS_MAX_TASKS - 2);
    r->tasks = formats_tasks(s, "rally",
                             r->branches->n + r->has_prepare + r->has_verify);
    formats_batch(s, r->name);
    if (read_tasks(r) < 0 || check_limits(r) < 0 || check_ownership(r) < 0)
        return -1;
    chain(r);
    for (size_t i = 0; i < s->out->n_tasks; i++)
        if (formats_check(s, r->root, &r->tasks[i]) < 0)
            return -1;
    return 0;
}

int
formats_read_rally(struct import_text *s)
{
    struct rally_import r = {.s = s};

    if (yaml_parse(s->name, s->text, s->len, s->pool, &r.root, s->e) < 0)
        return -1;
    return read_rally(&r);
}
