/*
 * Reads a rally: several branches of work at once, as a batch of prepare, a
 * task for each branch, all in parallel, and verify. Two branches that could
 * write the same file are refused before anything starts.
 */
#include "gateways/formats/formats_private.h"

#include "lib/base/glob.h"
#include "lib/base/str.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The limit for comparing all pairs of globs, in products of lengths. */
static const size_t COMPARE_MAX = 20 * 1000 * 1000;

struct rally_import {
    struct import_text *s;
    const struct yaml_node *root, *branches;
    const char *name;
    struct task *tasks, all; /* all: what the rally sets for each */
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
    if (formats_keys(r->s, limits, known, NULL) < 0)
        return -1;
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
    if (*t->prompt)
        return formats_prompt(r->s, yaml_get(b, "prompt"), t->prompt,
                              strlen(t->prompt));
    return formats_fail(r->s, b->key, "branch %s: no steps; write what to run",
                        formats_short(r->s, b->key->text));
}

static int
read_branch(struct rally_import *r, const struct yaml_node *b, struct task *t)
{
    static const char *const known[] = {
        "steps", "prompt", "exclusive_write", "shared_read", "after", NULL};

    if (b->kind != YAML_MAP)
        return formats_fail(r->s, b,
                            "branch %s: expected agent, steps and "
                            "exclusive_write, found %s",
                            formats_short(r->s, b->key->text),
                            formats_kind(r->s, b));
    t->name = mem_pool_printf(r->s->pool, "%s-%s", r->name, b->key->text);
    t->batch->branch = b->key->text;
    if (read_work(r, b, t) < 0 || formats_keys(r->s, b, known, t) < 0 ||
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
    return 0;
}

/* The position of a branch among the branches; r->branches->n: there is none.
 */
static size_t
branch_at(const struct rally_import *r, const char *name)
{
    const struct yaml_node *b = r->branches->first;
    size_t i = 0;

    for (; b && strcmp(b->key->text, name) != 0; b = b->next)
        i++;
    return i;
}

/* A way from branch to branch, each after the next. */
struct way {
    size_t *at, n;
    char *met; /* of each branch */
};

/* Walks from a branch to those it comes after; whether it meets one again that
 * is on the way: a circle. */
static bool
in_circle(const struct rally_import *r, size_t at, struct way *w)
{
    enum { ON_WAY = 1, CLEAR = 2 };
    const struct task *t = r->tasks + r->has_prepare + at;

    if (w->met[at] == CLEAR)
        return false;
    w->at[w->n++] = at;
    if (w->met[at] == ON_WAY)
        return true;
    w->met[at] = ON_WAY;
    for (size_t k = 0; k < t->n_after; k++)
        if (in_circle(r, strtoul(t->after[k], NULL, 10) - 1 - r->has_prepare,
                      w))
            return true;
    w->met[at] = CLEAR;
    w->n--;
    return false;
}

/* The circle that a way ends with, as "a -> b -> a". */
static const char *
circle_text(const struct rally_import *r, const struct way *w)
{
    const struct task *first = r->tasks + r->has_prepare;
    const char *text = "";
    size_t i = 0;

    while (w->at[i] != w->at[w->n - 1])
        i++;
    for (; i < w->n && strlen(text) < 120; i++)
        text = mem_pool_printf(r->s->pool, "%s%s%.40s", text,
                               *text ? " \xe2\x86\x92 " : "",
                               first[w->at[i]].batch->branch);
    return i < w->n ? mem_pool_printf(r->s->pool, "%s \xe2\x86\x92 ...", text)
                    : text;
}

/* Reads the branches that branch b comes after. */
static int
read_after(struct rally_import *r, const struct yaml_node *b, size_t at)
{
    const char **names;
    size_t n;

    if (formats_texts(r->s, b, "after", &names, &n) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        size_t other = branch_at(r, names[i]);

        if (other == r->branches->n)
            return formats_refuse(r->s, b, "after", names[i],
                                  "is not a branch of this rally");
        formats_after(r->s, at + r->has_prepare, other + r->has_prepare);
    }
    return 0;
}

/* Which branch comes after which; a circle of them would wait for ever. */
static int
read_order(struct rally_import *r)
{
    size_t n = r->branches->n, i = 0;
    struct way w = {.at = mem_pool_alloc(r->s->pool, (n + 1) * sizeof *w.at),
                    .met = mem_pool_alloc(r->s->pool, n)};

    for (const struct yaml_node *b = r->branches->first; b; b = b->next)
        if (read_after(r, b, i++) < 0)
            return -1;
    i = 0;
    for (const struct yaml_node *b = r->branches->first; b; b = b->next)
        if (in_circle(r, i++, &w))
            return formats_fail(r->s, yaml_get(b, "after"),
                                "after: these branches wait for each other: "
                                "%s; remove one of the keys",
                                circle_text(r, &w));
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
    if (r->has_prepare && read_side(r, "prepare", &r->tasks[0]) < 0)
        return -1;
    for (const struct yaml_node *b = r->branches->first; b; b = b->next)
        if (read_branch(r, b, &r->tasks[i++]) < 0)
            return -1;
    if (r->has_verify && read_side(r, "verify", &r->tasks[n - 1]) < 0)
        return -1;
    for (i = 0; i < n; i++)
        formats_inherit(&r->all, &r->tasks[i]);
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
        "rally", "prepare", "branches", "merge", "verify", "limits", NULL};
    struct import_text *s = r->s;

    if (r->root->kind != YAML_MAP)
        return formats_fail(s, r->root, "a rally is written key: value");
    r->branches = formats_get(r->root, "branches");
    r->has_prepare = formats_get(r->root, "prepare");
    r->has_verify = formats_get(r->root, "verify");
    if (formats_need(s, r->root, "rally", "its name", &r->name) < 0 ||
        check_merge(r) < 0)
        return -1;
    r->all = formats_empty(r->name);
    s->no_after = "remove it; submit the rally when that task is over";
    if (formats_keys(s, r->root, known, &r->all) < 0)
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
    if (read_tasks(r) < 0 || read_order(r) < 0 || check_limits(r) < 0 ||
        check_ownership(r) < 0)
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
