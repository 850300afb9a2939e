/*
 * Compiles a pattern to a sequence of parts, which is an automaton whose states
 * are the positions between parts. Two patterns have a path in common if the
 * product of their automata has a path to the end of both.
 */
#include "lib/base/glob.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"

#include <stdint.h>
#include <string.h>

struct glob_part {
    uint8_t set[32]; /* bit set of the bytes that it matches */
    bool loop;       /* matches any number of them, including none */
    size_t skip;     /* matches nothing: continue here or skip parts later */
};

struct glob {
    struct glob_part *parts;
    size_t n;
};

/* Room for a pattern of len bytes: two parts for each, and those that extend it
 * to every folder and to everything below. */
static struct glob
glob_new(size_t len)
{
    return (struct glob){.parts =
                             mem_zero(2 * len + 8, sizeof(struct glob_part))};
}

/* --- sets of bytes -------------------------------------------------------- */

static void
set_range(uint8_t set[32], unsigned from, unsigned to)
{
    for (unsigned c = from; c <= to; c++)
        set[c / 8] = (uint8_t)(set[c / 8] | 1U << c % 8);
}

static bool
set_has(const uint8_t set[32], unsigned char c)
{
    return set[c / 8] >> c % 8 & 1;
}

/* Every byte of a name but NUL and /. */
static void
set_names(uint8_t set[32])
{
    set_range(set, 1, 255);
    set['/' / 8] = (uint8_t)(set['/' / 8] & ~(1U << '/' % 8));
}

/* --- compiling ------------------------------------------------------------ */

static struct glob_part *
add_part(struct glob *g)
{
    struct glob_part *p = &g->parts[g->n++];

    *p = (struct glob_part){0};
    return p;
}

static void
add_byte(struct glob *g, char c)
{
    set_range(add_part(g)->set, (unsigned char)c, (unsigned char)c);
}

static void
add_anything(struct glob *g)
{
    struct glob_part *p = add_part(g);

    set_range(p->set, 1, 255);
    p->loop = true;
}

/* Makes the next two parts optional. */
static void
add_choice(struct glob *g)
{
    add_part(g)->skip = 3;
}

/* Any number of folders, each with its slash. */
static void
add_folders(struct glob *g)
{
    add_choice(g);
    add_anything(g);
    add_byte(g, '/');
}

/* Adds the other bytes of a character whose first byte was just added. */
static void
add_rest_of_character(struct glob *g)
{
    struct glob_part *p = add_part(g);

    set_range(p->set, 0x80, 0xbf);
    p->loop = true;
    for (size_t i = 0; i < sizeof p->set; i++)
        p[-1].set[i] &= (uint8_t)~p->set[i];
}

static const struct {
    const char *name, *ranges; /* pairs of bytes */
} classes[] = {
    {"alnum", "09AZaz"},   {"alpha", "AZaz"},   {"digit", "09"},
    {"lower", "az"},       {"upper", "AZ"},     {"xdigit", "09AFaf"},
    {"punct", "!.:@[`{~"}, {"space", "\t\r  "}, {"blank", "\t\t  "},
};

/* [:name:], from after its first bracket; returns its end, NULL: unknown. */
static const char *
read_class(const char *p, uint8_t set[32])
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        size_t len = strlen(classes[i].name);

        if (strncmp(p + 1, classes[i].name, len) != 0 ||
            strncmp(p + 1 + len, ":]", 2) != 0)
            continue;
        for (const char *r = classes[i].ranges; *r; r += 2)
            set_range(set, (unsigned char)r[0], (unsigned char)r[1]);
        return p + 1 + len + 2;
    }
    return NULL;
}

/* One byte of a set or the end of a range; returns its end. */
static const char *
read_member(const char *p, unsigned char *c)
{
    if (*p == '\\' && p[1])
        p++;
    *c = (unsigned char)*p;
    return p + 1;
}

/* [...], from after its bracket; returns its end, NULL: unterminated. */
static const char *
read_set(const char *p, struct glob *g)
{
    uint8_t set[32] = {0};
    bool negated = *p == '!' || *p == '^';
    struct glob_part *part = add_part(g);

    p += negated;
    for (bool first = true; first || *p != ']'; first = false) {
        unsigned char from, to;

        if (!*p)
            return NULL;
        if (*p == '[' && p[1] == ':') {
            p = read_class(p + 1, set);
            if (!p)
                return NULL;
            continue;
        }
        p = read_member(p, &from);
        to = from;
        if (*p == '-' && p[1] && p[1] != ']')
            p = read_member(p + 1, &to);
        if (from <= to)
            set_range(set, from, to);
    }
    set_names(part->set);
    for (size_t i = 0; i < sizeof set; i++)
        part->set[i] &= (uint8_t)(negated ? ~set[i] : set[i]);
    if (negated)
        add_rest_of_character(g);
    return p + 1;
}

/* One element; returns its end, NULL: an invalid set. */
static const char *
read_element(const char *p, bool at_start, struct glob *g)
{
    if (at_start && strncmp(p, "**/", 3) == 0) {
        add_folders(g);
        return p + 3;
    }
    if (at_start && strcmp(p, "**") == 0) {
        set_names(add_part(g)->set);
        add_anything(g);
        return p + 2;
    }
    if (*p == '*') {
        struct glob_part *part = add_part(g);

        set_names(part->set);
        part->loop = true;
        return p + strspn(p, "*");
    }
    if (*p == '?') {
        set_names(add_part(g)->set);
        add_rest_of_character(g);
        return p + 1;
    }
    if (*p == '[')
        return read_set(p + 1, g);
    if (*p == '\\' && p[1])
        p++;
    add_byte(g, *p);
    return p + 1;
}

static const char *
skip_top(const char *pattern)
{
    while (strncmp(pattern, "./", 2) == 0)
        pattern += 2;
    return pattern + (*pattern == '/');
}

/* 0, or -1 with the reason in *fault. */
static int
compile(const char *pattern, struct glob *g, const char **fault)
{
    const char *p = skip_top(pattern), *slash = strrchr(p, '/');
    bool at_start = true;

    g->n = 0;
    *fault = "an empty pattern; write ** for everything";
    if (!*p)
        return -1;
    *fault = "longer than 255 bytes; shorten it";
    if (strlen(p) > GLOB_MAX)
        return -1;
    *fault = "leaves the work; remove \"..\"";
    if (strcmp(p, "..") == 0 || strncmp(p, "../", 3) == 0 ||
        strstr(p, "/../") || (slash && strcmp(slash, "/..") == 0))
        return -1;
    if (!slash && strpbrk(p, "*?["))
        add_folders(g);
    while (p && *p) {
        const char *next = read_element(p, at_start, g);

        at_start = next && next[-1] == '/';
        p = next;
    }
    *fault = "a set without ], or of an unknown class; write \\[ for a bracket";
    if (!p)
        return -1;
    if (slash && !slash[1]) {
        add_anything(g); /* src/ */
    } else if (!strpbrk(slash ? slash : pattern, "*?[")) {
        add_choice(g);
        add_byte(g, '/');
        add_anything(g);
    }
    return 0;
}

int
glob_check(const char *pattern, struct err *e)
{
    struct glob g = glob_new(strlen(pattern));
    const char *fault;
    int rc = compile(pattern, &g, &fault);

    mem_free(g.parts);
    return rc < 0 ? err_set(e, ERR_INVALID, "%s", fault) : 0;
}

/* --- common paths --------------------------------------------------------- */

/* A search over pairs of positions, each entered once. */
struct glob_walk {
    const struct glob *a, *b;
    uint32_t *from;      /* the pair before it, plus 1; 0: not entered */
    unsigned char *byte; /* the byte between them; 0: none */
    uint32_t *queue;
    size_t head, tail;
};

static void
enter(struct glob_walk *w, size_t i, size_t j, uint32_t from,
      unsigned char byte)
{
    size_t pair = i * (w->b->n + 1) + j;

    if (w->from[pair])
        return;
    w->from[pair] = from + 1;
    w->byte[pair] = byte;
    w->queue[w->tail++] = (uint32_t)pair;
}

/* A byte that both parts match, a readable one if possible; 0: none. */
static unsigned char
common_byte(const struct glob_part *a, const struct glob_part *b)
{
    static const char nice[] = "xabcdefghijklmnopqrstuvwyz0123456789._-/";
    unsigned char both[32], any = 0;

    for (size_t i = 0; i < sizeof both; i++) {
        both[i] = a->set[i] & b->set[i];
        any |= both[i];
    }
    if (!any)
        return 0;
    for (const char *c = nice; *c; c++)
        if (set_has(both, (unsigned char)*c))
            return (unsigned char)*c;
    for (unsigned c = 1; c < 256; c++)
        if (set_has(both, (unsigned char)c))
            return (unsigned char)c;
    return 0;
}

static void
leave(struct glob_walk *w, uint32_t pair)
{
    size_t i = pair / (w->b->n + 1), j = pair % (w->b->n + 1);
    const struct glob_part *a = i < w->a->n ? &w->a->parts[i] : NULL;
    const struct glob_part *b = j < w->b->n ? &w->b->parts[j] : NULL;
    unsigned char byte;

    if (a && (a->loop || a->skip))
        enter(w, i + 1, j, pair, 0);
    if (a && a->skip)
        enter(w, i + a->skip, j, pair, 0);
    if (b && (b->loop || b->skip))
        enter(w, i, j + 1, pair, 0);
    if (b && b->skip)
        enter(w, i, j + b->skip, pair, 0);
    if (!a || !b || a->skip || b->skip)
        return;
    byte = common_byte(a, b);
    if (byte)
        enter(w, i + !a->loop, j + !b->loop, pair, byte);
}

/* The bytes on the path to a pair. */
static void
write_way(const struct glob_walk *w, uint32_t pair, char *out, size_t size)
{
    struct str back = {0}, way = {0};

    while (pair) { /* the search began at pair 0 */
        if (w->byte[pair])
            str_addc(&back, (char)w->byte[pair]);
        pair = w->from[pair] - 1;
    }
    while (back.len > 0)
        str_addc(&way, back.data[--back.len]);
    (void)str_copy(out, size, str_text(&way));
    str_free(&back);
    str_free(&way);
}

static bool
overlap(const struct glob *a, const struct glob *b, char *example, size_t size)
{
    size_t pairs = (a->n + 1) * (b->n + 1);
    struct glob_walk w = {.a = a,
                          .b = b,
                          .from = mem_zero(pairs, sizeof *w.from),
                          .byte = mem_zero(pairs, 1),
                          .queue = mem_alloc(pairs * sizeof *w.queue)};
    bool found = false;

    enter(&w, 0, 0, 0, 0);
    while (w.head < w.tail && !found) {
        uint32_t pair = w.queue[w.head++];

        found = pair == pairs - 1;
        if (!found)
            leave(&w, pair);
        else if (size)
            write_way(&w, pair, example, size);
    }
    mem_free(w.from);
    mem_free(w.byte);
    mem_free(w.queue);
    return found;
}

bool
glob_overlap(const char *a, const char *b, char *example, size_t size)
{
    struct glob x = glob_new(strlen(a)), y = glob_new(strlen(b));
    const char *fault;
    bool found;

    if (size)
        example[0] = '\0';
    /* A pattern that does not compile counts as overlapping. */
    found = compile(a, &x, &fault) < 0 || compile(b, &y, &fault) < 0 ||
            overlap(&x, &y, example, size);
    mem_free(x.parts);
    mem_free(y.parts);
    return found;
}

bool
glob_match(const char *pattern, const char *path)
{
    struct glob x = glob_new(strlen(pattern)), y = glob_new(strlen(path));
    const char *fault;
    bool found;

    for (; *path; path++)
        add_byte(&y, *path);
    found = compile(pattern, &x, &fault) == 0 && overlap(&x, &y, NULL, 0);
    mem_free(x.parts);
    mem_free(y.parts);
    return found;
}
