/*
 * Evaluates an expression to yes, no or maybe, and picks the conditions that
 * are responsible for the result.
 */
#include "lib/model/dod_private.h"

#include "lib/base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PART_MAX = 400 }; /* bytes of the text that names what is not true */

enum truth { NO, MAYBE, YES };

const struct dod_needs *
dod_needs(const struct dod *d)
{
    return &d->needs;
}

/* --- values --------------------------------------------------------------- */

static int64_t
value_of(const struct dod_value *v, const struct dod_facts *f)
{
    switch (v->fact) {
    case FACT_NONE:
        return v->number;
    case FACT_EXIT_CODE:
        return f->exit_code;
    case FACT_SIGNAL:
        return f->signal;
    case FACT_ATTEMPT:
        return f->attempt;
    case FACT_DURATION:
        return f->duration_ms;
    case FACT_OUTPUT_BYTES:
        return f->output_bytes;
    case FACT_TESTS_TOTAL:
        return f->tests_total;
    case FACT_TESTS_PASSED:
        return f->tests_passed;
    case FACT_TESTS_FAILED:
        return f->tests_failed;
    case FACT_TESTS_SKIPPED:
        return f->tests_skipped;
    case FACT_FILES_CHANGED:
        return f->files_changed;
    case FACT_CALL:
        return f->calls[v->call];
    }
    return DOD_UNKNOWN;
}

static bool
holds(int64_t a, enum dod_op op, int64_t b)
{
    switch (op) {
    case OP_EQ:
        return a == b;
    case OP_NE:
        return a != b;
    case OP_LT:
        return a < b;
    case OP_LE:
        return a <= b;
    case OP_GT:
        return a > b;
    case OP_GE:
        return a >= b;
    }
    return false;
}

static bool
is_changes(const struct dod *d, const struct dod_value *v)
{
    return v->fact == FACT_FILES_CHANGED ||
           (v->fact == FACT_CALL &&
            d->needs.calls[v->call].fn == DOD_FILES_CHANGED);
}

static enum truth
compare(const struct dod_node *n, const struct dod_facts *f)
{
    int64_t a = value_of(&n->left, f), b = 1;
    enum dod_op op = OP_EQ;

    if (n->kind == NODE_COMPARE) {
        b = value_of(&n->right, f);
        op = n->op;
    }
    if (a == DOD_UNKNOWN || b == DOD_UNKNOWN)
        return MAYBE;
    return holds(a, op, b) ? YES : NO;
}

/* --- truth ---------------------------------------------------------------- */

static enum truth
opposite(enum truth t)
{
    return t == MAYBE ? MAYBE : t == YES ? NO : YES;
}

/* One way to evaluate an expression. */
struct dod_view {
    const struct dod *d;
    const struct dod_facts *facts;
    /* Comparisons of the number of changed files count as fulfilled: is the
     * rest true? */
    bool forgiving;
};

/* wanted: the value of n that would make the whole true. */
static enum truth
eval(const struct dod_view *v, const struct dod_node *n, enum truth wanted)
{
    enum truth a, b;

    switch (n->kind) {
    case NODE_OR:
    case NODE_AND:
        a = eval(v, n->a, wanted);
        b = eval(v, n->b, wanted);
        return (a < b) == (n->kind == NODE_AND) ? a : b;
    case NODE_NOT:
        return opposite(eval(v, n->a, opposite(wanted)));
    case NODE_COMPARE:
        if (v->forgiving &&
            (is_changes(v->d, &n->left) || is_changes(v->d, &n->right)))
            return wanted;
        return compare(n, v->facts);
    case NODE_TRUTH:
        return compare(n, v->facts);
    }
    return MAYBE;
}

/* --- what is not true ----------------------------------------------------- */

static void
add_span(struct str *s, const struct dod *d, struct dod_span span)
{
    str_add(s, d->text + span.from, span.to - span.from);
}

static const char *
why_unknown(const struct dod *d, const struct dod_value *v,
            const struct dod_facts *f)
{
    if (is_changes(d, v))
        return f->no_changes ? f->no_changes : "nobody looked";
    if (v->fact != FACT_CALL)
        return f->tests_total == 0
                   ? "no test ran"
                   : "no test results were recognised in the output";
    if (d->needs.calls[v->call].fn == DOD_FILE_EXISTS && f->no_files)
        return f->no_files;
    return "nobody looked";
}

/* Adds "tests.failed is 3" unless it is a literal; *n counts them. */
static void
add_value(struct str *s, const struct dod_view *w, const struct dod_value *v,
          unsigned *n)
{
    int64_t value = value_of(v, w->facts);
    char text[32];

    if (v->fact == FACT_NONE)
        return;
    str_addz(s, (*n)++ ? ", " : "(");
    add_span(s, w->d, v->span);
    if (value == DOD_UNKNOWN)
        str_addf(s, " is unknown: %s", why_unknown(w->d, v, w->facts));
    else if (v->type == TYPE_DURATION && value >= 0)
        str_addf(s, " is %s", str_duration((uint64_t)value, text, sizeof text));
    else if (v->type == TYPE_TRUTH)
        str_addf(s, " is %s", value ? "true" : "false");
    else
        str_addf(s, " is %" PRId64, value);
}

static void
add_values(struct str *s, const struct dod_view *w, const struct dod_node *n,
           unsigned *count)
{
    if (n->a)
        add_values(s, w, n->a, count);
    if (n->b)
        add_values(s, w, n->b, count);
    if (n->kind == NODE_COMPARE || n->kind == NODE_TRUTH)
        add_value(s, w, &n->left, count);
    if (n->kind == NODE_COMPARE)
        add_value(s, w, &n->right, count);
}

static bool
mentions_exit_code(const struct dod_node *n)
{
    return (n->a && mentions_exit_code(n->a)) ||
           (n->b && mentions_exit_code(n->b)) ||
           n->left.fact == FACT_EXIT_CODE || n->right.fact == FACT_EXIT_CODE;
}

/* Adds the conditions of n that evaluate to bad, as the whole does. One on an
 * exit code that is not 0 only sets *exit_code. */
static void
add_part(struct str *s, const struct dod_view *w, const struct dod_node *n,
         enum truth bad, bool *exit_code)
{
    bool on_exit = w->facts->exit_code != 0 && mentions_exit_code(n);
    unsigned count = 0;

    if (eval(w, n, YES) != bad)
        return;
    if (n->kind == NODE_AND ||
        (n->kind == NODE_OR && (bad == MAYBE || on_exit))) {
        add_part(s, w, n->a, bad, exit_code);
        add_part(s, w, n->b, bad, exit_code);
        return;
    }
    if (on_exit) {
        *exit_code = true;
        return;
    }
    if (s->len)
        str_addz(s, "; ");
    add_span(s, w->d, n->span);
    str_addc(s, ' ');
    add_values(s, w, n, &count);
    if (count)
        str_addc(s, ')');
    else
        s->data[--s->len] = '\0';
}

/* The exit code stands first: it is what a reader looks for. Alone it is not
 * named here, the caller knows more of it. */
static const char *
part_text(const struct dod_view *w, enum truth bad, struct mem_pool *pool)
{
    struct str s = {0};
    bool exit_code = false;
    const char *out;
    size_t len;

    add_part(&s, w, w->d->top, bad, &exit_code);
    len = str_utf8_cut(str_text(&s), s.len, PART_MAX);
    if (exit_code && s.len)
        out = mem_pool_printf(pool, "exit code %d; ", w->facts->exit_code);
    else
        out = "";
    out = mem_pool_printf(pool, "%s%.*s%s", out, (int)len, str_text(&s),
                          len < s.len ? "..." : "");
    str_free(&s);
    return out;
}

enum dod_verdict
dod_judge(const struct dod *d, const struct dod_facts *f, struct mem_pool *pool,
          const char **part)
{
    const struct dod_view plain = {d, f, false}, forgiving = {d, f, true};
    enum truth t = YES;

    *part = "";
    if (f->exit_code != 0 && !d->needs.exit_code)
        return DOD_FAILED;
    if (d->top)
        t = eval(&plain, d->top, YES);
    if (t == YES)
        return DOD_DONE;
    *part = part_text(&plain, t, pool);
    if (f->exit_code != 0)
        return DOD_FAILED;
    if (t == MAYBE)
        return DOD_UNPROVEN;
    if (f->files_changed == 0 && eval(&forgiving, d->top, YES) != NO)
        return DOD_NO_OP;
    return DOD_FAILED;
}
