#include "lib/dod.h"

#include "lib/str.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Longer text is no condition any more; the caret's line must fit an error. */
enum { TEXT_MAX = 1024, DEPTH_MAX = 32, WORD_SIZE = 40, SHOWN = 72 };

enum kind {
    KIND_LITERAL, /* a number whose unit the other side decides */
    KIND_NUMBER,
    KIND_DURATION, /* milliseconds */
    KIND_SIZE,     /* bytes */
};

struct value {
    enum kind kind;
    int64_t number;
    char text[WORD_SIZE]; /* of a literal */
    size_t at;
};

enum op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };

/* Recursive descent over the text: or, and, not, comparison. */
struct parser {
    const char *text;
    size_t at;
    int depth;
    const struct dod_facts *facts;
    struct err *e;
};

static bool parse_or(struct parser *p, bool *out);

/* The part of text around at that fits one line, and a caret below at. */
static bool
fail(struct parser *p, size_t at, const char *what)
{
    size_t len = strlen(p->text);
    size_t from = at > SHOWN - 12 ? at - (SHOWN - 12) : 0;
    char line[SHOWN + 1];
    size_t n = 0;

    for (size_t i = from; i < len && n < SHOWN; i++, n++)
        line[n] = iscntrl((unsigned char)p->text[i]) ? ' ' : p->text[i];
    line[n] = '\0';
    (void)err_set(p->e, ERR_INVALID, "column %zu: %s\n  %s\n  %*s^", at + 1,
                  what, line, (int)(at - from), "");
    return false;
}

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

static bool
take_op(struct parser *p, enum op *out)
{
    static const struct {
        const char *text;
        enum op op;
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
    if (p->text[p->at] == '=')
        return fail(p, p->at, "equality is written ==");
    return fail(p, p->at, "expected a comparison: == != < <= > or >=");
}

static bool
read_fact(struct parser *p, const char *word, struct value *v)
{
    if (strcmp(word, "exit_code") == 0)
        *v = (struct value){.kind = KIND_NUMBER, .number = p->facts->exit_code};
    else if (strcmp(word, "duration") == 0)
        *v = (struct value){.kind = KIND_DURATION,
                            .number = p->facts->duration_ms};
    else if (strcmp(word, "output_bytes") == 0)
        *v =
            (struct value){.kind = KIND_SIZE, .number = p->facts->output_bytes};
    else
        return false;
    return true;
}

static bool
parse_value(struct parser *p, struct value *v)
{
    char word[WORD_SIZE];
    size_t start, len, sign;

    skip_blanks(p);
    start = p->at;
    sign = p->text[start] == '-';
    len = sign + word_len(p->text + start + sign);
    if (len == sign)
        return fail(p, start,
                    p->text[start] ? "expected a value here"
                                   : "the expression ends too soon");
    if (len >= sizeof word)
        return fail(p, start, "this word is too long");
    memcpy(word, p->text + start, len);
    word[len] = '\0';
    p->at += len;
    if (isdigit((unsigned char)word[sign])) {
        *v = (struct value){.kind = KIND_LITERAL};
        memcpy(v->text, word, len + 1);
    } else if (!read_fact(p, word, v)) {
        return fail(p, start,
                    "unknown name; known are exit_code, duration and "
                    "output_bytes");
    }
    v->at = start;
    return true;
}

/* Reads a literal in the unit of what it is compared with. */
static bool
resolve(struct parser *p, struct value *v, enum kind as)
{
    bool minus = v->text[0] == '-';
    uint64_t n = 0;

    if (v->kind != KIND_LITERAL)
        return true;
    switch (as) {
    case KIND_LITERAL:
    case KIND_NUMBER:
        if (!str_to_u64(v->text + minus, 0, INT64_MAX, &n))
            return fail(p, v->at, "expected a whole number");
        break;
    case KIND_DURATION:
        if (minus || !str_to_ms(v->text, &n) || n > INT64_MAX)
            return fail(p, v->at, "expected a duration such as 90s or 20m");
        break;
    case KIND_SIZE:
        if (minus || !str_to_bytes(v->text, &n) || n > INT64_MAX)
            return fail(p, v->at, "expected a size such as 512 or 10K");
        break;
    }
    v->kind = as == KIND_LITERAL ? KIND_NUMBER : as;
    v->number = minus ? -(int64_t)n : (int64_t)n;
    return true;
}

static bool
compare(int64_t a, enum op op, int64_t b)
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
parse_comparison(struct parser *p, bool *out)
{
    struct value a, b;
    enum kind kind;
    enum op op = OP_EQ;

    if (!parse_value(p, &a) || !take_op(p, &op) || !parse_value(p, &b))
        return false;
    kind = a.kind;
    if (!resolve(p, &a, b.kind) || !resolve(p, &b, kind))
        return false;
    if (a.kind != b.kind)
        return fail(p, b.at, "these two cannot be compared");
    *out = compare(a.number, op, b.number);
    return true;
}

static bool
parse_group(struct parser *p, bool *out)
{
    if (++p->depth > DEPTH_MAX)
        return fail(p, p->at, "too many parentheses");
    p->at++;
    if (!parse_or(p, out))
        return false;
    skip_blanks(p);
    if (p->text[p->at] != ')')
        return fail(p, p->at, "expected )");
    p->at++;
    p->depth--;
    return true;
}

static bool
parse_not(struct parser *p, bool *out)
{
    bool negate = false;

    while (take_word(p, "not"))
        negate = !negate;
    if (p->text[p->at] == '(' ? !parse_group(p, out)
                              : !parse_comparison(p, out))
        return false;
    *out = *out != negate;
    return true;
}

/* Both sides are always read, so that a mistake on the right is found. */
static bool
parse_and(struct parser *p, bool *out)
{
    bool right;

    if (!parse_not(p, out))
        return false;
    while (take_word(p, "and")) {
        if (!parse_not(p, &right))
            return false;
        *out = *out && right;
    }
    return true;
}

static bool
parse_or(struct parser *p, bool *out)
{
    bool right;

    if (!parse_and(p, out))
        return false;
    while (take_word(p, "or")) {
        if (!parse_and(p, &right))
            return false;
        *out = *out || right;
    }
    return true;
}

int
dod_eval(const char *text, const struct dod_facts *facts, bool *done,
         struct err *e)
{
    struct parser p = {.text = text, .facts = facts, .e = e};
    bool result = false;

    if (strnlen(text, TEXT_MAX + 1) > TEXT_MAX)
        return err_set(e, ERR_INVALID, "longer than %d bytes", TEXT_MAX);
    skip_blanks(&p);
    if (!text[p.at]) {
        *done = facts->exit_code == 0;
        return 0;
    }
    if (!parse_or(&p, &result))
        return -1;
    skip_blanks(&p);
    if (text[p.at]) {
        (void)fail(&p, p.at, "expected 'and', 'or' or the end");
        return -1;
    }
    *done = result;
    return 0;
}

int
dod_check(const char *text, struct err *e)
{
    static const struct dod_facts none = {0};
    bool done;

    return dod_eval(text, &none, &done, e);
}
