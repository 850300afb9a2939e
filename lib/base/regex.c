/*
 * Parses a pattern to a tree of nodes, writes the tree out as a program of a
 * nondeterministic automaton with all repetitions expanded, and runs all its
 * states in step over the line, byte by byte (Thompson's construction).
 */
#include "lib/base/regex.h"

#include "lib/base/mem.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum {
    NODES_MAX = 2 * REGEX_MAX + 8,
    DEPTH_MAX = 32,
    REPEAT_MAX = 255,
    VISITS_MAX = 8 * REGEX_OPS, /* of nodes while the tree is written out */
    UNBOUNDED = -1,
};

enum node_kind {
    NODE_EMPTY,
    NODE_SET,
    NODE_BEGIN,
    NODE_END,
    NODE_CAT,
    NODE_OR,
    NODE_REPEAT
};

struct node {
    enum node_kind kind;
    int a, b; /* of CAT and OR; a alone of REPEAT */
    int least, most;
    uint8_t set[32];
};

/* An instruction of the program; a state is an index of ops. */
enum op_kind { OP_SET, OP_FORK, OP_BEGIN, OP_END, OP_FOUND };

struct op {
    enum op_kind kind;
    uint16_t to, other; /* the next state; a fork has two */
    uint8_t set[32];
};

/* A set of states. */
struct places {
    uint16_t v[REGEX_OPS];
    size_t n;
};

struct regex {
    struct op ops[REGEX_OPS];
    size_t n_ops;
    bool starts[256]; /* bytes a match can begin with, away from the ends */
    struct places places[2], *now, *next;
    uint16_t stack[2 * REGEX_OPS];
    uint32_t seen[REGEX_OPS], turn;
};

struct regex_reader {
    const char *at;
    struct node *nodes;
    size_t n_nodes;
    int depth;
    struct regex *p;
    size_t visits;
    const char *fault;
};

/* --- sets of bytes -------------------------------------------------------- */

static void
set_add(uint8_t set[32], unsigned from, unsigned to)
{
    for (unsigned c = from; c <= to; c++)
        set[c / 8] = (uint8_t)(set[c / 8] | 1U << c % 8);
}

static bool
set_has(const uint8_t set[32], unsigned char c)
{
    return set[c / 8] >> c % 8 & 1;
}

static void
set_negate(uint8_t set[32])
{
    for (size_t i = 0; i < 32; i++)
        set[i] = (uint8_t)~set[i];
}

static const struct {
    const char *name, *ranges; /* pairs of bytes */
} classes[] = {
    {"alnum", "09AZaz"},   {"alpha", "AZaz"},   {"digit", "09"},
    {"lower", "az"},       {"upper", "AZ"},     {"xdigit", "09AFaf"},
    {"punct", "!/:@[`{~"}, {"blank", "\t\t  "}, {"space", "\t\r  "},
    {"print", " ~"},       {"graph", "!~"},     {"cntrl", "\001\037\177\177"},
    {"word", "09AZaz__"},
};

static bool
set_class(uint8_t set[32], const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (strlen(classes[i].name) != len ||
            strncmp(classes[i].name, name, len) != 0)
            continue;
        for (const char *r = classes[i].ranges; *r; r += 2)
            set_add(set, (unsigned char)r[0], (unsigned char)r[1]);
        return true;
    }
    return false;
}

/* --- parsing -------------------------------------------------------------- */

static int read_or(struct regex_reader *r);

static int
fault(struct regex_reader *r, const char *what)
{
    r->fault = what;
    return -1;
}

/* The new node's index; -1: too many. */
static int
add_node(struct regex_reader *r, enum node_kind kind, int a, int b)
{
    if (r->n_nodes == NODES_MAX)
        return fault(r, "too long a pattern");
    r->nodes[r->n_nodes] = (struct node){.kind = kind, .a = a, .b = b};
    return (int)r->n_nodes++;
}

/* [:name:] at the reader. */
static int
read_class(struct regex_reader *r, uint8_t set[32])
{
    const char *name = r->at + 2, *end = strstr(name, ":]");

    if (!end || !set_class(set, name, (size_t)(end - name)))
        return fault(r, "an unknown class of characters; known are alnum "
                        "alpha blank digit lower punct space upper xdigit");
    r->at = end + 2;
    return 0;
}

/* [...], from after its bracket. */
static int
read_set(struct regex_reader *r)
{
    int n = add_node(r, NODE_SET, 0, 0);
    uint8_t *set = n < 0 ? NULL : r->nodes[n].set;
    bool negated = *r->at == '^';

    if (!set)
        return -1;
    r->at += negated;
    for (bool first = true; first || *r->at != ']'; first = false) {
        unsigned char from = (unsigned char)*r->at, to = from;

        if (!from)
            return fault(r, "a [ without its ]");
        if (from == '[' && r->at[1] == ':') {
            if (read_class(r, set) < 0)
                return -1;
            continue;
        }
        if (from == '[' && (r->at[1] == '.' || r->at[1] == '='))
            return fault(r, "[. and [= are not known here");
        r->at++;
        if (*r->at == '-' && r->at[1] && r->at[1] != ']') {
            to = (unsigned char)r->at[1];
            r->at += 2;
        }
        if (from > to)
            return fault(r, "a range whose end is before its start");
        set_add(set, from, to);
    }
    r->at++;
    if (negated)
        set_negate(set);
    return n;
}

/* \x, from after its backslash. */
static int
read_escape(struct regex_reader *r)
{
    static const char letters[] = "dws";
    static const char *const names[] = {"digit", "word", "space"};
    unsigned char c = (unsigned char)*r->at;
    const char *letter = c ? strchr(letters, tolower(c)) : NULL;
    int n = add_node(r, NODE_SET, 0, 0);

    if (n < 0)
        return -1;
    if (!c)
        return fault(r, "a \\ with nothing after it");
    if (!letter && isalnum(c))
        return fault(r, "an unknown escape; known are \\d \\s \\w \\D \\S \\W");
    if (letter) {
        const char *name = names[letter - letters];

        (void)set_class(r->nodes[n].set, name, strlen(name));
        if (isupper(c))
            set_negate(r->nodes[n].set);
    } else {
        set_add(r->nodes[n].set, c, c);
    }
    r->at++;
    return n;
}

static int
read_group(struct regex_reader *r)
{
    int n;

    if (++r->depth > DEPTH_MAX)
        return fault(r, "too many parentheses");
    n = read_or(r);
    if (n < 0)
        return -1;
    if (*r->at != ')')
        return fault(r, "a ( without its )");
    r->at++;
    r->depth--;
    return n;
}

static int
read_atom(struct regex_reader *r)
{
    unsigned char c = (unsigned char)*r->at;
    int n;

    if (strchr("*+?", c))
        return fault(r, "nothing to repeat here; write \\ before the sign "
                        "itself");
    if (c == '{')
        return fault(r, "nothing to repeat here; write \\{ for a brace");
    r->at++;
    switch (c) {
    case '(':
        return read_group(r);
    case '[':
        return read_set(r);
    case '\\':
        return read_escape(r);
    case '^':
        return add_node(r, NODE_BEGIN, 0, 0);
    case '$':
        return add_node(r, NODE_END, 0, 0);
    default:
        n = add_node(r, NODE_SET, 0, 0);
        if (n >= 0)
            set_add(r->nodes[n].set, c == '.' ? 0 : c, c == '.' ? 255 : c);
        return n;
    }
}

/* A number of at most REPEAT_MAX; -1: there is none. */
static int
read_number(struct regex_reader *r)
{
    int n = 0;

    if (!isdigit((unsigned char)*r->at))
        return -1;
    for (; isdigit((unsigned char)*r->at); r->at++)
        if (n <= REPEAT_MAX)
            n = n * 10 + (*r->at - '0');
    return n;
}

/* {m}, {m,} or {m,n}, from after its brace. */
static int
read_interval(struct regex_reader *r, int *least, int *most)
{
    *least = *most = read_number(r);
    if (*least >= 0 && *r->at == ',') {
        r->at++;
        *most = read_number(r);
        if (*most < 0)
            *most = UNBOUNDED;
    }
    if (*least < 0 || *r->at != '}' || (*most != UNBOUNDED && *least > *most))
        return fault(r, "a repetition is written {3}, {3,} or {3,5}");
    if (*least > REPEAT_MAX || *most > REPEAT_MAX)
        return fault(r, "at most 255 repetitions");
    r->at++;
    return 0;
}

static int
read_repeat(struct regex_reader *r)
{
    int n = read_atom(r);

    while (n >= 0 && *r->at && strchr("*+?{", *r->at)) {
        char sign = *r->at++;
        int least = sign == '+', most = sign == '?' ? 1 : UNBOUNDED;

        if (sign == '{' && read_interval(r, &least, &most) < 0)
            return -1;
        n = add_node(r, NODE_REPEAT, n, 0);
        if (n < 0)
            return -1;
        r->nodes[n].least = least;
        r->nodes[n].most = most;
    }
    return n;
}

static int
read_cat(struct regex_reader *r)
{
    int n = -1, right;

    if (!*r->at || *r->at == '|' || *r->at == ')')
        return add_node(r, NODE_EMPTY, 0, 0);
    while (*r->at && *r->at != '|' && *r->at != ')') {
        right = read_repeat(r);
        if (right < 0)
            return -1;
        n = n < 0 ? right : add_node(r, NODE_CAT, n, right);
        if (n < 0)
            return -1;
    }
    return n;
}

static int
read_or(struct regex_reader *r)
{
    int n = read_cat(r), right;

    while (n >= 0 && *r->at == '|') {
        r->at++;
        right = read_cat(r);
        n = right < 0 ? -1 : add_node(r, NODE_OR, n, right);
    }
    return n;
}

/* --- compiling ------------------------------------------------------------ */

/* The program is built from its end: each node is given the state that follows
 * it, and returns the state it begins with. -1: no room. */
static int
add_op(struct regex_reader *r, enum op_kind kind, int to, int other)
{
    struct regex *p = r->p;

    if (p->n_ops == REGEX_OPS)
        return fault(r, "too many repetitions");
    p->ops[p->n_ops] =
        (struct op){.kind = kind, .to = (uint16_t)to, .other = (uint16_t)other};
    return (int)p->n_ops++;
}

static int write_node(struct regex_reader *r, int n, int to);

static int
write_repeat(struct regex_reader *r, const struct node *n, int to)
{
    int at = to, end = to, body;

    if (n->most == UNBOUNDED) {
        at = add_op(r, OP_FORK, to, to);
        body = at < 0 ? -1 : write_node(r, n->a, at);
        if (body < 0)
            return -1;
        r->p->ops[at].to = (uint16_t)body;
    }
    for (int i = n->least; i < n->most; i++) {
        body = write_node(r, n->a, at);
        at = body < 0 ? -1 : add_op(r, OP_FORK, body, end);
        if (at < 0)
            return -1;
    }
    for (int i = 0; i < n->least; i++) {
        at = write_node(r, n->a, at);
        if (at < 0)
            return -1;
    }
    return at;
}

static int
write_node(struct regex_reader *r, int index, int to)
{
    const struct node *n = &r->nodes[index];
    int a, b;

    if (++r->visits > VISITS_MAX)
        return fault(r, "too many repetitions");
    switch (n->kind) {
    case NODE_EMPTY:
        return to;
    case NODE_SET:
        a = add_op(r, OP_SET, to, to);
        if (a >= 0)
            memcpy(r->p->ops[a].set, n->set, sizeof n->set);
        return a;
    case NODE_BEGIN:
        return add_op(r, OP_BEGIN, to, to);
    case NODE_END:
        return add_op(r, OP_END, to, to);
    case NODE_CAT:
        b = write_node(r, n->b, to);
        return b < 0 ? -1 : write_node(r, n->a, b);
    case NODE_OR:
        a = write_node(r, n->a, to);
        b = a < 0 ? -1 : write_node(r, n->b, to);
        return b < 0 ? -1 : add_op(r, OP_FORK, a, b);
    case NODE_REPEAT:
        return write_repeat(r, n, to);
    }
    return -1;
}

/* --- running -------------------------------------------------------------- */

/* Adds a state and all states reachable without a byte; true: it matches. */
static bool
enter(struct regex *p, struct places *to, uint16_t place, bool begin, bool end)
{
    size_t n = 0;

    p->stack[n++] = place;
    while (n > 0) {
        uint16_t at = p->stack[--n];
        const struct op *op = &p->ops[at];

        if (p->seen[at] == p->turn)
            continue;
        p->seen[at] = p->turn;
        switch (op->kind) {
        case OP_SET:
            to->v[to->n++] = at;
            break;
        case OP_FORK:
            p->stack[n++] = op->other;
            p->stack[n++] = op->to;
            break;
        case OP_BEGIN:
            if (begin)
                p->stack[n++] = op->to;
            break;
        case OP_END:
            if (end)
                p->stack[n++] = op->to;
            break;
        case OP_FOUND:
            return true;
        }
    }
    return false;
}

/* Starts a step in which no state is marked yet. */
static void
new_turn(struct regex *p)
{
    if (++p->turn == 0) {
        memset(p->seen, 0, sizeof p->seen);
        p->turn = 1;
    }
}

static uint16_t
first_place(const struct regex *p)
{
    return (uint16_t)(p->n_ops - 1);
}

static void
find_starts(struct regex *p)
{
    bool anywhere;

    p->now = &p->places[0];
    p->next = &p->places[1];
    new_turn(p);
    anywhere = enter(p, p->now, first_place(p), false, false);
    for (unsigned c = 0; c < 256; c++)
        for (size_t i = 0; i < p->now->n || anywhere; i++)
            if (anywhere ||
                set_has(p->ops[p->now->v[i]].set, (unsigned char)c)) {
                p->starts[c] = true;
                break;
            }
}

/* No match is under way: the next place where one may begin; len: nowhere. */
static size_t
skip(const struct regex *p, const char *line, size_t at, size_t len)
{
    while (at < len && !p->starts[(unsigned char)line[at]])
        at++;
    return at;
}

/* Steps over the byte c, the last of the line or not; true: it matches. */
static bool
step(struct regex *p, unsigned char c, bool end)
{
    struct places *now = p->now;

    p->now = p->next;
    p->next = now;
    p->now->n = 0;
    new_turn(p);
    for (size_t i = 0; i < now->n; i++) {
        const struct op *op = &p->ops[now->v[i]];

        if (set_has(op->set, c) && enter(p, p->now, op->to, false, end))
            return true;
    }
    return false;
}

bool
regex_finds(struct regex *p, const char *line, size_t len)
{
    size_t at = 0;

    p->now->n = 0;
    new_turn(p);
    if (enter(p, p->now, first_place(p), true, len == 0))
        return true;
    while (at < len) {
        unsigned char c = (unsigned char)line[at++];

        if (step(p, c, at == len))
            return true;
        if (p->now->n == 0) {
            at = skip(p, line, at, len);
            new_turn(p); /* the marks belong to another position */
        }
        /* A match may begin here; at the end only an empty one. */
        if ((at == len || p->starts[(unsigned char)line[at]]) &&
            enter(p, p->now, first_place(p), false, at == len))
            return true;
    }
    return false;
}

/* --- opening and matching ------------------------------------------------- */

static int
compile(struct regex_reader *r, const char *text)
{
    int top, found, first;

    if (strnlen(text, REGEX_MAX + 1) > REGEX_MAX)
        return fault(r, "a pattern longer than 256 bytes");
    if (!*text)
        return fault(r, "an empty pattern matches everything");
    r->at = text;
    top = read_or(r);
    if (top < 0)
        return -1;
    if (*r->at)
        return fault(r, "a ) without its (");
    found = add_op(r, OP_FOUND, 0, 0);
    first = found < 0 ? -1 : write_node(r, top, found);
    /* The program begins at its last op. */
    return first < 0 ? -1 : add_op(r, OP_FORK, first, first);
}

int
regex_new(struct regex **out, const char *text, struct err *e)
{
    struct regex_reader r = {.p = MEM_NEW(struct regex),
                             .nodes = mem_zero(NODES_MAX, sizeof(struct node))};
    int rc = compile(&r, text);

    mem_free(r.nodes);
    if (rc < 0) {
        regex_free(r.p);
        return err_set(e, ERR_INVALID, "%s", r.fault);
    }
    find_starts(r.p);
    *out = r.p;
    return 0;
}

void
regex_free(struct regex *p)
{
    mem_free(p);
}
