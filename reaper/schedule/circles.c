/*
 * A walk in depth from each task to those it comes after; one that is met again
 * on the way closes a circle. Each task is walked through once.
 */
#include "reaper/schedule/circles.h"

#include "lib/base/str.h"

enum { NAMED_MAX = 6 /* tasks of a circle, in its text */ };

enum progress { PROGRESS_NEW, PROGRESS_ON_WAY, PROGRESS_DONE };

struct circle_task {
    struct hash_link link;
    const char *id;
    const char **after;
    size_t n_after, at; /* at: the next to walk to */
    enum progress progress;
    struct circle_task *from; /* on the way, the one before */
};

void
circles_add(struct circles *c, const char *id, const char *const *after,
            size_t n)
{
    struct circle_task *t;

    if (c->tasks.n == CIRCLES_TASKS_MAX || hash_table_find(&c->tasks, id))
        return;
    if (!c->pool)
        c->pool = mem_pool_new();
    t = mem_pool_alloc(c->pool, sizeof *t);
    t->id = mem_pool_strdup(c->pool, id);
    t->after = mem_pool_alloc(c->pool, n * sizeof *t->after);
    t->n_after = n;
    for (size_t i = 0; i < n; i++)
        t->after[i] = mem_pool_strdup(c->pool, after[i]);
    hash_table_add(&c->tasks, &t->link, t->id);
    c->sum += hash_text(id);
}

/* The way from first to last, and back to first. */
static void
add_text(struct str *out, const struct circle_task *first,
         const struct circle_task *last, struct mem_pool *pool)
{
    const struct circle_task **way;
    size_t n = 1, i;

    for (const struct circle_task *t = last; t != first; t = t->from)
        n++;
    way = mem_pool_alloc(pool, n * sizeof *way);
    i = n;
    for (const struct circle_task *t = last; i > 0; t = t->from)
        way[--i] = t;
    for (i = 0; i < n && i < NAMED_MAX; i++)
        str_addf(out, "%s \u2192 ", way[i]->id);
    if (n > NAMED_MAX)
        str_addf(out, "%zu more \u2192 ", n - NAMED_MAX);
    str_addz(out, first->id);
}

/* Walks from one task; each of a circle is given to found. */
static void
walk(struct circles *c, struct circle_task *t,
     void (*found)(void *ctx, const char *id, const char *text), void *ctx)
{
    while (t) {
        struct circle_task *next =
            t->at < t->n_after ? hash_table_find(&c->tasks, t->after[t->at])
                               : NULL;

        t->progress = PROGRESS_ON_WAY;
        if (t->at++ >= t->n_after) {
            t->progress = PROGRESS_DONE;
            t = t->from;
        } else if (next && next->progress == PROGRESS_ON_WAY) {
            struct str text = {0};

            add_text(&text, next, t, c->pool);
            for (struct circle_task *m = t;; m = m->from) {
                found(ctx, m->id, str_text(&text));
                if (m == next)
                    break;
            }
            str_free(&text);
        } else if (next && next->progress == PROGRESS_NEW) {
            next->from = t;
            t = next;
        }
    }
}

void
circles_search(struct circles *c,
               void (*found)(void *ctx, const char *id, const char *text),
               void *ctx)
{
    struct circle_task *t = NULL;

    if (c->sum != c->looked)
        while ((t = hash_table_next(&c->tasks, t)))
            if (t->progress == PROGRESS_NEW)
                walk(c, t, found, ctx);
    c->looked = c->sum;
    c->sum = 0;
    hash_table_clear(&c->tasks);
    if (c->pool)
        mem_pool_reset(c->pool);
}

void
circles_free(struct circles *c)
{
    hash_table_free(&c->tasks);
    mem_pool_free(c->pool);
    *c = (struct circles){0};
}
