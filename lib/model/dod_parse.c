/*
 * A recursive descent parser for definitions of done. Names, functions and
 * types are in tables; an error shows the place in the text with a caret.
 */
#include "lib/model/dod_private.h"

#include "lib/base/glob.h"
#include "lib/base/nearest.h"
#include "lib/base/regex.h"
#include "lib/base/str.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The caret's line must fit an error. */
enum { DEPTH_MAX = 32, WORD_SIZE = 40, SHOWN = 72 };

struct parser {
    struct dod *d;
    struct mem_pool *pool;
    const char *text;
    size_t at;
    int depth;
    struct err *e;
};

static const struct dod_node *parse_or(struct parser *p);

/* --- names ---------------------------------------------------------------- */

static const struct {
    const char *name;
    enum dod_fact fact;
    enum dod_type type;
} facts[] = {
    {"exit_code", FACT_EXIT_CODE, TYPE_NUMBER},
    {"duration", FACT_DURATION, TYPE_DURATION},
    {"tests.failed", FACT_TESTS_FAILED, TYPE_NUMBER},
    {"tests.passed", FACT_TESTS_PASSED, TYPE_NUMBER},
    {"tests.skipped", FACT_TESTS_SKIPPED, TYPE_NUMBER},
    {"tests.total", FACT_TESTS_TOTAL, TYPE_NUMBER},
    {"files_changed", FACT_FILES_CHANGED, TYPE_NUMBER},
    {"output_bytes", FACT_OUTPUT_BYTES, TYPE_SIZE},
    {"signal", FACT_SIGNAL, TYPE_NUMBER},
    {"attempt", FACT_ATTEMPT, TYPE_NUMBER},
};

static const struct {
    const char *name;
    enum dod_fn fn;
    enum dod_type type;
    const char *example;
} functions[] = {
    {"files_changed", DOD_FILES_CHANGED, TYPE_NUMBER, "'src/**'"},
    {"file_exists", DOD_FILE_EXISTS, TYPE_TRUTH, "'out.txt'"},
    {"log_matches", DOD_LOG_MATCHES, TYPE_TRUTH, "'^done$'"},
    {"log_contains", DOD_LOG_CONTAINS, TYPE_TRUTH, "'done'"},
};

enum {
    N_FACTS = sizeof facts / sizeof *facts,
    N_FUNCTIONS = sizeof functions / sizeof *functions
};

/* The name that was probably meant; NULL: none is near. */
static const char *
nearest(const char *word)
{
    const char *found = NULL;
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < N_FACTS + N_FUNCTIONS; i++) {
        const char *name =
            i < N_FACTS ? facts[i].name : functions[i - N_FACTS].name;

        if (nearest_is(word, name, &least))
            found = name;
    }
    return found;
}

/* --- errors --------------------------------------------------------------- */

/* Columns of the character that begins with c in a terminal: those of East
 * Asian scripts take two. */
static int
width_of(unsigned char c)
{
    if (c >= 0x80 && c < 0xc0)
        return 0;
    return c >= 0xe3 ? 2 : 1;
}

/* Sets the error: the part of the text around at that fits a line, and a caret
 * below at. */
static void fail_at(struct parser *p, size_t at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
fail_at(struct parser *p, size_t at, const char *fmt, ...)
{
    size_t from = at > SHOWN - 12 ? at - (SHOWN - 12) : 0, n = 0, column = 1;
    char what[260], line[SHOWN + 1];
    int indent = 0;
    va_list ap;

    while (from > 0 && !width_of((unsigned char)p->text[from]))
        from++;
    for (size_t i = from; p->text[i] && n < SHOWN; i++, n++)
        line[n] = iscntrl((unsigned char)p->text[i]) ? ' ' : p->text[i];
    line[str_utf8_cut(line, n, n)] = '\0';
    for (size_t i = 0; i < at; i++) {
        column += width_of((unsigned char)p->text[i]) > 0;
        if (i >= from)
            indent += width_of((unsigned char)p->text[i]);
    }
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    (void)err_set(p->e, ERR_INVALID, "column %zu: %s\n  %s\n  %*s^", column,
                  what, line, indent, "");
}

static void
unknown_name(struct parser *p, size_t at, const char *word)
{
    const char *meant = nearest(word);
    struct str known = {0};

    for (size_t i = 0; i < N_FACTS; i++)
        str_addf(&known, "%s ", facts[i].name);
    for (size_t i = 0; i < N_FUNCTIONS; i++)
        str_addf(&known, "%s()%s", functions[i].name,
                 i + 1 < N_FUNCTIONS ? " " : "");
    if (meant)
        fail_at(p, at, "unknown name; did you mean %s? Known are %s", meant,
                str_text(&known));
    else
        fail_at(p, at, "unknown name; known are %s", str_text(&known));
    str_free(&known);
}

/* --- words ---------------------------------------------------------------- */

static void
skip_blanks(struct parser *p)
{
    while (isspace((unsigned char)p->text[p->at]))
        p->at++;
}

static size_t
word_len(const char *text)
{
    size_t n = 0;

    while (isalnum((unsigned char)text[n]) || text[n] == '_' || text[n] == '.')
        n++;
    return n;
}

/* Consumes word if it is next, as a whole word. */
static bool
take_word(struct parser *p, const char *word)
{
    size_t len = strlen(word);

    skip_blanks(p);
    if (word_len(p->text + p->at) != len ||
        strncmp(p->text + p->at, word, len) != 0)
        return false;
    p->at += len;
    return true;
}

/* Consumes a comparison if one is next. */
static bool
take_op(struct parser *p, enum dod_op *out)
{
    static const struct {
        const char *text;
        enum dod_op op;
    } ops[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE},
               {">=", OP_GE}, {"<", OP_LT},  {">", OP_GT}};

    skip_blanks(p);
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        size_t len = strlen(ops[i].text);

        if (strncmp(p->text + p->at, ops[i].text, len) == 0) {
            *out = ops[i].op;
            p->at += len;
            return true;
        }
    }
    return false;
}

/* Text in "" or ''. In "" a backslash escapes " and \ only and otherwise stays,
 * so that patterns need no doubled backslashes. */
static const char *
take_text(struct parser *p)
{
    size_t start = p->at, n = 0;
    char quote = p->text[p->at++];
    char *out = mem_pool_alloc(p->pool, strlen(p->text + p->at) + 1);

    for (; p->text[p->at] != quote; p->at++) {
        const char *c = p->text + p->at;

        if (!*c) {
            fail_at(p, start, "this text has no end; close it with %c", quote);
            return NULL;
        }
        if (iscntrl((unsigned char)*c) && *c != '\t') {
            fail_at(p, p->at, "a control character; text is within one line");
            return NULL;
        }
        if (quote == '"' && *c == '\\' && (c[1] == '"' || c[1] == '\\'))
            p->at++;
        out[n++] = p->text[p->at];
    }
    p->at++;
    return out;
}

/* --- functions ------------------------------------------------------------ */

static bool
leaves_workdir(const char *path)
{
    size_t len = strlen(path);

    return path[0] == '/' || path[0] == '~' || strcmp(path, "..") == 0 ||
           strncmp(path, "../", 3) == 0 || strstr(path, "/../") ||
           (len >= 3 && strcmp(path + len - 3, "/..") == 0);
}

/* Checks the argument of a function; at is its position. */
static bool
check_arg(struct parser *p, enum dod_fn fn, const char *arg, size_t at)
{
    struct regex *pattern = NULL;
    struct err e = {0};
    int rc = 0;

    if (!*arg) {
        fail_at(p, at, "an empty text");
        return false;
    }
    switch (fn) {
    case DOD_FILE_EXISTS:
        if (leaves_workdir(arg)) {
            fail_at(p, at, "write a path below the workdir, relative to it");
            return false;
        }
        rc = glob_check(arg, &e);
        break;
    case DOD_FILES_CHANGED:
        rc = glob_check(arg, &e);
        break;
    case DOD_LOG_MATCHES:
        rc = regex_new(&pattern, arg, &e);
        regex_free(pattern);
        break;
    case DOD_LOG_CONTAINS:
        break;
    }
    if (rc < 0)
        fail_at(p, at, "%s", e.msg);
    return rc == 0;
}

/* The index of a call in the needs; equal calls share one. */
static bool
note_call(struct parser *p, enum dod_fn fn, const char *arg, size_t at,
          size_t *out)
{
    struct dod_needs *n = &p->d->needs;

    for (*out = 0; *out < n->n_calls; ++*out)
        if (n->calls[*out].fn == fn && strcmp(n->calls[*out].arg, arg) == 0)
            return true;
    if (n->n_calls == DOD_CALLS_MAX) {
        fail_at(p, at, "more than %d different calls", DOD_CALLS_MAX);
        return false;
    }
    n->calls[n->n_calls++] = (struct dod_call){fn, arg};
    switch (fn) {
    case DOD_FILES_CHANGED:
        n->changes = true;
        break;
    case DOD_FILE_EXISTS:
        n->files = true;
        break;
    case DOD_LOG_MATCHES:
    case DOD_LOG_CONTAINS:
        n->log = true;
        break;
    }
    return true;
}

/* Parses (text) after the name of a function. */
static bool
parse_call(struct parser *p, size_t i, struct dod_value *v)
{
    const char *arg;
    size_t at;

    p->at++;
    skip_blanks(p);
    at = p->at;
    if (p->text[at] != '"' && p->text[at] != '\'') {
        fail_at(p, at, "%s wants a text in quotes: %s(%s)", functions[i].name,
                functions[i].name, functions[i].example);
        return false;
    }
    arg = take_text(p);
    if (!arg || !check_arg(p, functions[i].fn, arg, at) ||
        !note_call(p, functions[i].fn, arg, at, &v->call))
        return false;
    skip_blanks(p);
    if (p->text[p->at] != ')') {
        fail_at(p, p->at, "expected )");
        return false;
    }
    p->at++;
    v->fact = FACT_CALL;
    v->type = functions[i].type;
    return true;
}

/* --- values --------------------------------------------------------------- */

static void
note_fact(struct dod_needs *n, enum dod_fact fact)
{
    n->exit_code = n->exit_code || fact == FACT_EXIT_CODE;
    n->changes = n->changes || fact == FACT_FILES_CHANGED;
    n->tests =
        n->tests || (fact >= FACT_TESTS_TOTAL && fact <= FACT_TESTS_SKIPPED);
}

/* Handles a name that begins at start. */
static bool
parse_name(struct parser *p, size_t start, const char *word,
           struct dod_value *v)
{
    bool called;

    skip_blanks(p);
    called = p->text[p->at] == '(';
    for (size_t i = 0; called && i < N_FUNCTIONS; i++)
        if (strcmp(word, functions[i].name) == 0)
            return parse_call(p, i, v);
    for (size_t i = 0; i < N_FACTS; i++) {
        if (strcmp(word, facts[i].name) != 0)
            continue;
        if (called) {
            fail_at(p, p->at, "%s is not a function", word);
            return false;
        }
        v->fact = facts[i].fact;
        v->type = facts[i].type;
        note_fact(&p->d->needs, v->fact);
        return true;
    }
    for (size_t i = 0; i < N_FUNCTIONS; i++)
        if (strcmp(word, functions[i].name) == 0) {
            fail_at(p, start, "%s is a function: %s(%s)", word, word,
                    functions[i].example);
            return false;
        }
    unknown_name(p, start, word);
    return false;
}

/* Handles a word: a number, true, false or a name. */
static bool
parse_word(struct parser *p, size_t start, const char *word,
           struct dod_value *v)
{
    if (isdigit((unsigned char)word[word[0] == '-'])) {
        v->type = TYPE_LITERAL;
        return true;
    }
    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0) {
        v->type = TYPE_TRUTH;
        v->number = word[0] == 't';
        return true;
    }
    return parse_name(p, start, word, v);
}

static bool
parse_value(struct parser *p, struct dod_value *v)
{
    char word[WORD_SIZE];
    size_t start, len, sign, end;

    skip_blanks(p);
    start = p->at;
    *v = (struct dod_value){.span.from = start};
    if (p->text[start] == '"' || p->text[start] == '\'') {
        v->type = TYPE_TEXT;
        v->span.to = start;
        return take_text(p) != NULL;
    }
    sign = p->text[start] == '-';
    len = sign + word_len(p->text + start + sign);
    if (len == sign) {
        fail_at(p, start,
                p->text[start] ? "expected a value here"
                               : "the expression ends too soon");
        return false;
    }
    if (len >= sizeof word) {
        fail_at(p, start, "this word is too long");
        return false;
    }
    memcpy(word, p->text + start, len);
    word[len] = '\0';
    p->at = end = start + len;
    if (!parse_word(p, start, word, v))
        return false;
    if (v->fact != FACT_CALL)
        p->at = end; /* not the blanks after it */
    v->span.to = p->at;
    return true;
}

static const char *
type_word(enum dod_type type)
{
    switch (type) {
    case TYPE_LITERAL:
    case TYPE_NUMBER:
        return "a number";
    case TYPE_DURATION:
        return "a duration";
    case TYPE_SIZE:
        return "a size";
    case TYPE_TRUTH:
        return "true or false";
    case TYPE_TEXT:
        return "text";
    }
    return "?";
}

/* Reads a literal in the unit of what it is compared with. */
static bool
resolve(struct parser *p, struct dod_value *v, enum dod_type as)
{
    size_t at = v->span.from;
    bool minus = p->text[at] == '-', ok = false;
    char word[WORD_SIZE];
    uint64_t n = 0;

    if (v->type != TYPE_LITERAL)
        return true;
    (void)snprintf(word, sizeof word, "%.*s", (int)(v->span.to - at - minus),
                   p->text + at + minus);
    switch (as) {
    case TYPE_LITERAL:
    case TYPE_NUMBER:
        ok = str_to_u64(word, 0, INT64_MAX, &n);
        if (!ok)
            fail_at(p, at, "expected a whole number");
        break;
    case TYPE_DURATION:
        ok = !minus && str_to_ms(word, &n) && n <= INT64_MAX;
        if (!ok)
            fail_at(p, at, "expected a duration such as 90s or 20m");
        break;
    case TYPE_SIZE:
        ok = !minus && str_to_bytes(word, &n) && n <= INT64_MAX;
        if (!ok)
            fail_at(p, at, "expected a size such as 512 or 10K");
        break;
    case TYPE_TRUTH:
    case TYPE_TEXT:
        fail_at(p, at, "a number cannot be compared with %s", type_word(as));
        break;
    }
    v->type = as == TYPE_LITERAL ? TYPE_NUMBER : as;
    v->number = minus ? -(int64_t)n : (int64_t)n;
    return ok;
}

/* --- the tree ------------------------------------------------------------- */

static struct dod_node *
new_node(struct parser *p, enum dod_kind kind, size_t from, size_t to)
{
    struct dod_node *n = mem_pool_alloc(p->pool, sizeof *n);

    n->kind = kind;
    n->span = (struct dod_span){from, to};
    return n;
}

/* A value by itself is a condition if its type is truth. */
static const struct dod_node *
parse_truth(struct parser *p, const struct dod_value *v)
{
    struct dod_node *n;

    skip_blanks(p);
    if (p->text[p->at] == '=') {
        fail_at(p, p->at, "equality is written ==");
        return NULL;
    }
    if (v->type != TYPE_TRUTH) {
        fail_at(p, p->at, "expected a comparison: == != < <= > or >=");
        return NULL;
    }
    n = new_node(p, NODE_TRUTH, v->span.from, v->span.to);
    n->left = *v;
    return n;
}

static const struct dod_node *
parse_comparison(struct parser *p)
{
    struct dod_value a, b;
    enum dod_type type;
    enum dod_op op;
    struct dod_node *n;
    size_t op_at;

    if (!parse_value(p, &a))
        return NULL;
    skip_blanks(p);
    op_at = p->at;
    if (!take_op(p, &op))
        return parse_truth(p, &a);
    if (!parse_value(p, &b))
        return NULL;
    type = a.type;
    if (!resolve(p, &a, b.type) || !resolve(p, &b, type))
        return NULL;
    if (a.type != b.type || a.type == TYPE_TEXT) {
        fail_at(p, b.span.from, "%s cannot be compared with %s",
                type_word(a.type), type_word(b.type));
        return NULL;
    }
    if (a.type == TYPE_TRUTH && op != OP_EQ && op != OP_NE) {
        fail_at(p, op_at, "true and false are compared with == or !=");
        return NULL;
    }
    n = new_node(p, NODE_COMPARE, a.span.from, b.span.to);
    n->left = a;
    n->right = b;
    n->op = op;
    return n;
}

static const struct dod_node *
parse_group(struct parser *p)
{
    const struct dod_node *n;

    if (++p->depth > DEPTH_MAX) {
        fail_at(p, p->at, "too many parentheses");
        return NULL;
    }
    p->at++;
    n = parse_or(p);
    if (!n)
        return NULL;
    skip_blanks(p);
    if (p->text[p->at] != ')') {
        fail_at(p, p->at, "expected )");
        return NULL;
    }
    p->at++;
    p->depth--;
    return n;
}

static const struct dod_node *
parse_not(struct parser *p)
{
    const struct dod_node *inner;
    struct dod_node *n;
    bool negate = false;
    size_t start;

    skip_blanks(p);
    start = p->at;
    while (take_word(p, "not"))
        negate = !negate;
    inner = p->text[p->at] == '(' ? parse_group(p) : parse_comparison(p);
    if (!inner || !negate)
        return inner;
    n = new_node(p, NODE_NOT, start, p->at);
    n->a = inner;
    return n;
}

/* Operands separated by word, left associative. */
static const struct dod_node *
parse_row(struct parser *p, const char *word, enum dod_kind kind,
          const struct dod_node *(*operand)(struct parser *))
{
    const struct dod_node *a, *b;
    struct dod_node *n;
    size_t start;

    skip_blanks(p);
    start = p->at;
    a = operand(p);
    while (a && take_word(p, word)) {
        b = operand(p);
        if (!b)
            return NULL;
        n = new_node(p, kind, start, p->at);
        n->a = a;
        n->b = b;
        a = n;
    }
    return a;
}

static const struct dod_node *
parse_and(struct parser *p)
{
    return parse_row(p, "and", NODE_AND, parse_not);
}

static const struct dod_node *
parse_or(struct parser *p)
{
    return parse_row(p, "or", NODE_OR, parse_and);
}

int
dod_parse(const char *text, struct mem_pool *pool, const struct dod **out,
          struct err *e)
{
    struct parser p = {.pool = pool, .text = text, .e = e};

    if (strnlen(text, DOD_MAX + 1) > DOD_MAX)
        return err_set(e, ERR_INVALID, "longer than %d bytes", DOD_MAX);
    p.d = mem_pool_alloc(pool, sizeof *p.d);
    p.d->text = text;
    *out = p.d;
    skip_blanks(&p);
    if (!text[p.at])
        return 0;
    p.d->top = parse_or(&p);
    if (!p.d->top)
        return -1;
    skip_blanks(&p);
    if (text[p.at]) {
        fail_at(&p, p.at, "expected 'and', 'or' or the end");
        return -1;
    }
    return 0;
}

int
dod_check(const char *text, struct err *e)
{
    struct mem_pool *pool = mem_pool_new();
    const struct dod *d;
    int rc = dod_parse(text, pool, &d, e);

    mem_pool_free(pool);
    return rc;
}
