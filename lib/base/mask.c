/*
 * The set and the search. Every pattern has two adjoining pairs of bytes by
 * which it is found: one of them lies at an even distance from where the
 * search begins, so that every second byte of a text is looked at, and a bit
 * per pair says whether it occurs in a pattern at all. Only then are the
 * patterns with that pair compared.
 */
#include "lib/base/mask_private.h"

#include "lib/base/mem.h"

#include <pthread.h>
#include <string.h>

enum {
    BUCKETS = 256,
    PAIR_BYTES = 3,  /* of two adjoining pairs */
    LOOKED_MAX = 16, /* at + PAIR_BYTES of the shape with the greatest at */
    YIELD_MAX = 3,   /* held bytes that tell nothing */
    JOIN_BYTES = 1024,
    HELD_MAX = 2 * MASK_VALUE_MAX,
    LINE_LEAST = 8, /* of a value's line that is hidden by itself */
};

struct mask_pair {
    uint16_t pattern, next; /* next in the bucket; 0: none */
};

struct mask {
    struct mask_pattern *patterns;
    size_t n, cap;
    struct mask_pair *entries; /* the first is not used */
    size_t n_entries, cap_entries;
    uint16_t buckets[BUCKETS];
    uint16_t *alike;     /* per pattern: another with its first byte, + 1 */
    uint16_t first[256]; /* by first byte, + 1; 0: none */
    size_t cap_alike;
    uint64_t pairs[65536 / 64];
};

/* --- the set -------------------------------------------------------------- */

static unsigned
pair_of(const uint8_t *p)
{
    return p[0] | (unsigned)p[1] << 8;
}

static unsigned
bucket_of(unsigned pair)
{
    return (pair * 0x9e5fU >> 5) % BUCKETS;
}

static void
add_pair(struct mask *m, unsigned pair, size_t pattern)
{
    uint16_t *bucket = &m->buckets[bucket_of(pair)];

    m->pairs[pair / 64] |= (uint64_t)1 << pair % 64;
    for (uint16_t i = *bucket; i; i = m->entries[i].next)
        if (m->entries[i].pattern == pattern)
            return;
    m->entries =
        mem_grow(m->entries, m->n_entries, &m->cap_entries, sizeof *m->entries);
    m->entries[m->n_entries] = (struct mask_pair){(uint16_t)pattern, *bucket};
    *bucket = (uint16_t)m->n_entries++;
}

static void
add_pattern(struct mask *m, const struct mask_pattern *p)
{
    const uint8_t *text = (const uint8_t *)p->text + p->at;

    m->patterns = mem_grow(m->patterns, m->n, &m->cap, sizeof *m->patterns);
    m->alike = mem_grow(m->alike, m->n, &m->cap_alike, sizeof *m->alike);
    m->patterns[m->n] = *p;
    m->alike[m->n] = m->first[(uint8_t)p->text[0]];
    m->first[(uint8_t)p->text[0]] = (uint16_t)(m->n + 1);
    for (int i = 0; i < 2; i++)
        add_pair(m, pair_of(text + i), m->n);
    if (p->kind == MASK_HEADER) {
        const uint8_t upper[] = {text[0] & 0xdf, text[1] & 0xdf,
                                 text[2] & 0xdf};

        for (int i = 0; i < 2; i++)
            add_pair(m, pair_of(upper + i), m->n);
    }
    m->n++;
}

struct mask *
mask_new(void)
{
    struct mask *m = MEM_NEW(struct mask);

    m->entries = mem_zero(1, sizeof *m->entries);
    m->n_entries = m->cap_entries = 1;
    for (size_t i = 0; i < mask_n_shapes; i++)
        add_pattern(m, &mask_shapes[i]);
    return m;
}

void
mask_free(struct mask *m)
{
    if (!m)
        return;
    for (size_t i = mask_n_shapes; i < m->n; i++)
        mem_free((char *)(uintptr_t)m->patterns[i].text);
    mem_free(m->patterns);
    mem_free(m->entries);
    mem_free(m->alike);
    mem_free(m);
}

size_t
mask_values(const struct mask *m)
{
    return m->n - mask_n_shapes;
}

static void
add_form(struct mask *m, const char *text, size_t len)
{
    struct mask_pattern p = {.kind = MASK_VALUE};
    char *copy;

    if (len > MASK_VALUE_MAX)
        len = MASK_VALUE_MAX;
    if (len < MASK_LEAST || mask_values(m) == MASK_VALUES_MAX)
        return;
    for (size_t i = mask_n_shapes; i < m->n; i++)
        if (m->patterns[i].len == len &&
            memcmp(m->patterns[i].text, text, len) == 0)
            return;
    copy = mem_alloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    p.text = copy;
    p.len = (uint32_t)len;
    add_pattern(m, &p);
}

struct mask *
mask_copy(const struct mask *m)
{
    struct mask *copy = mask_new();

    for (size_t i = mask_n_shapes; i < m->n; i++)
        add_form(copy, m->patterns[i].text, m->patterns[i].len);
    return copy;
}

/* How a shell's trace, JSON and a URL write one byte. */
static void
add_quoted(struct str *s, char c)
{
    str_addz(s, c == '\'' ? "'\\''" : (char[]){c, '\0'});
}

static void
add_json(struct str *s, char c)
{
    if (c == '\n' || c == '\t' || c == '\r')
        str_addz(s, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
    else if (c == '"' || c == '\\')
        str_addf(s, "\\%c", c);
    else
        str_addc(s, c);
}

static void
add_url(struct str *s, char c)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.~"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    if (c && strchr(safe, c))
        str_addc(s, c);
    else
        str_addf(s, "%%%02X", (unsigned)(unsigned char)c);
}

void
mask_add_value(struct mask *m, const char *value)
{
    static void (*const forms[])(struct str *, char) = {add_quoted, add_json,
                                                        add_url};
    struct str s = {0};
    size_t len = strlen(value), n;

    /* What a command substitution or a line of output leaves of it. */
    while (len > 0 && value[len - 1] == '\n')
        len--;
    if (len > MASK_VALUE_MAX)
        len = MASK_VALUE_MAX;
    add_form(m, value, len);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        str_reset(&s);
        for (size_t k = 0; k < len; k++)
            forms[i](&s, value[k]);
        add_form(m, str_text(&s), s.len);
    }
    str_free(&s);
    for (const char *line = value; memchr(value, '\n', len); line += n + 1) {
        n = strcspn(line, "\n");
        if (n >= LINE_LEAST)
            add_form(m, line, n);
        if (!line[n])
            break;
    }
}

bool
mask_add_variable(struct mask *m, const char *name, const char *value)
{
    if (!mask_is_secret(name, value))
        return false;
    mask_add_value(m, value);
    return true;
}

void
mask_add_entry(struct mask *m, const char *entry)
{
    size_t len = strcspn(entry, "=");
    char name[128];

    if (!entry[len] || len >= sizeof name)
        return;
    memcpy(name, entry, len);
    name[len] = '\0';
    (void)mask_add_variable(m, name, entry + len + 1);
}

/* The set that has the shapes only. */
static struct mask *shapes;

static void
make_shapes(void)
{
    shapes = mask_new();
}

static const struct mask *
set_or_shapes(const struct mask *m)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (m)
        return m;
    (void)pthread_once(&once, make_shapes);
    return shapes;
}

/* --- the search ----------------------------------------------------------- */

/* Of two patterns at one place the longer one is taken, and one that is not
 * clear yet before both. */
static void
take(enum mask_verdict v, const struct mask_hit *hit, enum mask_verdict *best,
     struct mask_hit *out)
{
    if (v == MASK_NO || *best == MASK_PARTIAL)
        return;
    if (v == MASK_PARTIAL || *best == MASK_NO ||
        hit->at + hit->len > out->at + out->len) {
        *out = *hit;
        *best = v;
    }
}

/* Looks at the patterns that have the pair at text[pair_at]. */
static enum mask_verdict
match_pair(const struct mask *m, struct mask_place *at, size_t from,
           size_t pair_at, struct mask_hit *out)
{
    enum mask_verdict best = MASK_NO;
    unsigned pair = pair_of(at->text + pair_at);
    size_t best_start = 0;

    for (uint16_t i = m->buckets[bucket_of(pair)]; i; i = m->entries[i].next) {
        const struct mask_pattern *p = &m->patterns[m->entries[i].pattern];

        /* The pair is the pattern's first or second one. */
        for (size_t back = p->at; back <= p->at + 1U; back++) {
            struct mask_hit hit;
            enum mask_verdict v;

            if (pair_at < from + back)
                continue;
            at->start = pair_at - back;
            v = mask_shape_match(p, at, &hit);
            if (v != MASK_NO && (best == MASK_NO || at->start <= best_start)) {
                if (best != MASK_NO && at->start < best_start)
                    best = MASK_NO;
                best_start = at->start;
                take(v, &hit, &best, out);
            }
        }
    }
    at->start = best_start;
    return best;
}

/* Whether a pattern may begin near the end, its pairs not all there yet. */
static enum mask_verdict
match_end(const struct mask *m, struct mask_place *at, size_t from,
          struct mask_hit *out)
{
    size_t i = at->len < from + LOOKED_MAX ? from : at->len - LOOKED_MAX;

    for (; i < at->len; i++) {
        uint8_t first = at->text[i];

        at->start = i;
        for (size_t k = m->first[first == 'U' ? 'u' : first]; k;
             k = m->alike[k - 1]) {
            const struct mask_pattern *p = &m->patterns[k - 1];

            if (at->len - i < (size_t)p->at + PAIR_BYTES &&
                mask_shape_match(p, at, out) == MASK_PARTIAL)
                return MASK_PARTIAL;
        }
    }
    return MASK_NO;
}

/* The first secret from `from` on, or what may become one; at->start is where
 * its pattern begins. */
static enum mask_verdict
search(const struct mask *m, struct mask_place *at, size_t from,
       struct mask_hit *out)
{
    const uint8_t *p = at->text;
    enum mask_verdict v;

    for (size_t i = from; i + 1 < at->len; i += 2) {
        unsigned pair = pair_of(p + i);

        if (!(m->pairs[pair / 64] >> pair % 64 & 1))
            continue;
        v = match_pair(m, at, from, i, out);
        if (v != MASK_NO)
            return v;
    }
    return at->whole ? MASK_NO : match_end(m, at, from, out);
}

bool
mask_find(const struct mask *m, const void *text, size_t len, size_t *at)
{
    static const unsigned char last[2];
    struct mask_place place = {
        .text = text, .len = len, .last = last, .whole = true};
    struct mask_hit hit;

    if (search(set_or_shapes(m), &place, 0, &hit) != MASK_YES)
        return false;
    *at = hit.at;
    return true;
}

/* --- streams -------------------------------------------------------------- */

void
mask_stream_init(struct mask_stream *s, const struct mask *m)
{
    *s = (struct mask_stream){.set = set_or_shapes(m)};
}

void
mask_stream_free(struct mask_stream *s)
{
    str_free(&s->held);
}

/* Passes on text[from..to) except the bytes that were shown already. */
static void
pass(struct mask_stream *s, const uint8_t *text, size_t from, size_t to,
     mask_fn *fn, void *ctx)
{
    if (from < s->shown)
        from = s->shown;
    if (from < to)
        fn(ctx, text + from, to - from);
}

static void
remember(struct mask_stream *s, const uint8_t *text, size_t len)
{
    if (len >= 2)
        memcpy(s->last, text + len - 2, 2);
    else if (len == 1) {
        s->last[0] = s->last[1];
        s->last[1] = text[0];
    }
}

/* Passes on the text with its secrets hidden up to what is not clear: its
 * start is returned, and the rest of it that is shown is in *shown. */
static size_t
run(struct mask_stream *s, const uint8_t *text, size_t len, bool whole,
    size_t *shown, mask_fn *fn, void *ctx)
{
    struct mask_place at = {
        .text = text, .len = len, .last = s->last, .whole = whole};
    struct mask_hit hit;
    size_t from = 0;

    if (s->open)
        from = mask_shape_rest(&s->open, text, len);
    *shown = 0;
    while (from < len && !s->open) {
        switch (search(s->set, &at, from, &hit)) {
        case MASK_NO:
            if (!whole)
                len -= str_utf8_open(text + from, len - from);
            pass(s, text, from, len, fn, ctx);
            return len;
        case MASK_PARTIAL:
            hit.at -= str_utf8_open(text + from, hit.at - from);
            pass(s, text, from, hit.at, fn, ctx);
            *shown = hit.at > s->shown ? hit.at : s->shown;
            *shown = *shown > at.start ? *shown - at.start : 0;
            return at.start;
        case MASK_YES:
            pass(s, text, from, hit.at, fn, ctx);
            fn(ctx, MASK_TEXT, sizeof MASK_TEXT - 1);
            from = hit.at + hit.len;
            s->open = hit.open;
            break;
        }
    }
    return len;
}

static void
hold(struct mask_stream *s, const uint8_t *text, size_t len, size_t rest,
     size_t shown)
{
    remember(s, text, rest);
    s->shown = shown;
    if (rest < len)
        str_add(&s->held, text + rest, len - rest);
}

/* Joins what is held with the bytes that follow until it is clear; returns how
 * many of them are dealt with. */
static size_t
join(struct mask_stream *s, const uint8_t *data, size_t len, mask_fn *fn,
     void *ctx)
{
    size_t used = 0;

    while (s->held.len > 0 && used < len) {
        struct str text = s->held;
        size_t n = len - used < JOIN_BYTES ? len - used : JOIN_BYTES;
        size_t old = text.len, rest, shown;

        str_add(&text, data + used, n);
        s->held = (struct str){0};
        rest = run(s, (const uint8_t *)text.data, text.len, text.len > HELD_MAX,
                   &shown, fn, ctx);
        s->shown = 0;
        if (rest >= old) {
            /* The rest is searched again where it lies. */
            remember(s, (const uint8_t *)text.data, rest);
            if (shown > 0)
                s->shown = shown;
            used += rest - old;
            str_free(&text);
            break;
        }
        hold(s, (const uint8_t *)text.data, text.len, rest, shown);
        used += n;
        str_free(&text);
    }
    return used;
}

void
mask_stream_add(struct mask_stream *s, const void *data, size_t len,
                mask_fn *fn, void *ctx)
{
    const uint8_t *text = data;
    size_t used = join(s, text, len, fn, ctx), rest, shown;

    if (used == len)
        return;
    text += used;
    len -= used;
    rest = run(s, text, len, false, &shown, fn, ctx);
    hold(s, text, len, rest, shown);
}

void
mask_stream_yield(struct mask_stream *s, mask_fn *fn, void *ctx)
{
    size_t len = s->held.len;

    if (len > YIELD_MAX || str_utf8_open(s->held.data, len) > 0)
        return;
    pass(s, (const uint8_t *)s->held.data, 0, len, fn, ctx);
    s->shown = len;
}

void
mask_stream_end(struct mask_stream *s, mask_fn *fn, void *ctx)
{
    size_t shown;

    if (s->held.len > 0)
        (void)run(s, (const uint8_t *)s->held.data, s->held.len, true, &shown,
                  fn, ctx);
    str_free(&s->held);
    mask_stream_init(s, s->set);
}

static void
add_to_str(void *ctx, const void *text, size_t len)
{
    str_add(ctx, text, len);
}

void
mask_text(const struct mask *m, const void *text, size_t len, struct str *out)
{
    struct mask_stream s;
    size_t shown;

    mask_stream_init(&s, m);
    (void)run(&s, text, len, true, &shown, add_to_str, out);
    str_add(out, "", 0); /* terminates */
}
