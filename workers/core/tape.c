/*
 * Two rings: the bytes, and how many of them in a row came from one stream.
 * Both grow up to their bounds.
 */
#include "workers/core/tape.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"

#include <string.h>

void
tape_free(struct tape *t)
{
    mem_free(t->data);
    mem_free(t->runs);
}

/* Doubles one of the rings; what it holds is moved to the front. */
static void *
grown(void *ring, size_t size, size_t at, size_t n, size_t cap, size_t new_cap)
{
    uint8_t *out = mem_alloc(new_cap * size);
    size_t first = n < cap - at ? n : cap - at;

    if (n > 0) {
        memcpy(out, (uint8_t *)ring + at * size, first * size);
        memcpy(out + first * size, ring, (n - first) * size);
    }
    mem_free(ring);
    return out;
}

static size_t
next_cap(size_t cap, size_t least, size_t wanted, size_t most)
{
    if (cap < least)
        cap = least;
    while (cap < wanted)
        cap *= 2;
    return cap < most ? cap : most;
}

static void
tape_reserve(struct tape *t, size_t more)
{
    size_t cap;

    if (t->len + more > t->cap && t->cap < t->most) {
        cap = next_cap(t->cap, 512, t->len + more, t->most);
        t->data = grown(t->data, 1, t->at, t->len, t->cap, cap);
        t->at = 0;
        t->cap = cap;
    }
    if (t->n_runs == t->run_cap && t->run_cap < t->run_most) {
        cap = next_cap(t->run_cap, 8, t->n_runs + 1, t->run_most);
        t->runs = grown(t->runs, sizeof *t->runs, t->run_at, t->n_runs,
                        t->run_cap, cap);
        t->run_at = 0;
        t->run_cap = cap;
    }
}

void
tape_drop(struct tape *t, size_t n)
{
    t->at = t->cap ? (t->at + n) % t->cap : 0;
    t->len -= n;
    while (n > 0) {
        struct run_of *r = &t->runs[t->run_at];

        if (r->len > n) {
            r->len -= (uint32_t)n;
            return;
        }
        n -= r->len;
        t->run_at = (t->run_at + 1) % t->run_cap;
        t->n_runs--;
    }
}

static struct run_of *
last_run(const struct tape *t)
{
    if (t->n_runs == 0)
        return NULL;
    return &t->runs[(t->run_at + t->n_runs - 1) % t->run_cap];
}

void
tape_add(struct tape *t, enum stream stream, const uint8_t *data, size_t len)
{
    struct run_of *last;
    size_t to, first;

    if (len > t->most) {
        data += len - t->most;
        len = t->most;
    }
    tape_reserve(t, len);
    if (t->len + len > t->cap)
        tape_drop(t, t->len + len - t->cap);
    last = last_run(t);
    if (!last || last->stream != (uint32_t)stream) {
        if (t->n_runs == t->run_cap)
            tape_drop(t, t->runs[t->run_at].len);
        t->n_runs++;
        last = last_run(t);
        *last = (struct run_of){(uint32_t)stream, 0};
    }
    last->len += (uint32_t)len;
    to = (t->at + t->len) % t->cap;
    first = len < t->cap - to ? len : t->cap - to;
    memcpy(t->data + to, data, first);
    memcpy(t->data, data + first, len - first);
    t->len += len;
}

/* Moves the bytes to where they lie one behind the other. */
static void
line_up(struct tape *t)
{
    if (t->at + t->len <= t->cap)
        return;
    t->data = grown(t->data, 1, t->at, t->len, t->cap, t->cap);
    t->at = 0;
}

size_t
tape_cut(struct tape *t, size_t skip, size_t most)
{
    line_up(t);
    return str_utf8_cut((const char *)t->data + t->at + skip, t->len - skip,
                        most);
}

size_t
tape_start(struct tape *t, size_t skip)
{
    const uint8_t *text;
    size_t at = skip;

    line_up(t);
    text = t->data + t->at;
    while (at < t->len && at < skip + 3 && (text[at] & 0xc0) == 0x80)
        at++;
    return at;
}

size_t
tape_parts(struct tape *t, size_t skip, size_t len, struct output_part *out)
{
    size_t n = 0, at;

    line_up(t);
    at = t->at;

    for (size_t i = 0; i < t->n_runs && len > 0; i++) {
        const struct run_of *r = &t->runs[(t->run_at + i) % t->run_cap];
        size_t left = r->len;

        if (skip >= left) {
            skip -= left;
            at += left;
            continue;
        }
        at += skip;
        left -= skip;
        skip = 0;
        if (left > len)
            left = len;
        len -= left;
        out[n++] =
            (struct output_part){(enum stream)r->stream, {t->data + at, left}};
        at += left;
    }
    return n;
}
