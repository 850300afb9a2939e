/*
 * A hash table of the workdirs that files have, under a lock: files are claimed
 * on other threads, and end on that of the loop.
 */
#include "gateways/folder/serial.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct taken_dir {
    struct hash_link link;
    char *dir;
    unsigned files; /* more than one only if they ran before we came */
    char *file;     /* the first of them */
};

struct serial {
    pthread_mutex_t lock;
    struct hash_table dirs; /* struct taken_dir */
    bool freed;
};

/* --- the workdirs of a file ------------------------------------------------
 */

void
workdirs_add(struct workdirs *d, const char *dir)
{
    const char *home = getenv("HOME");
    char path[PATH_MAX], real[PATH_MAX];

    if (*dir == '~' && (dir[1] == '/' || !dir[1]) && home)
        (void)snprintf(path, sizeof path, "%s%s", home, dir + 1);
    else
        (void)str_copy(path, sizeof path, dir);
    if (!realpath(path, real)) /* it may be made later */
        (void)str_copy(real, sizeof real, path);
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->v[i], real) == 0)
            return;
    d->v = mem_resize(d->v, (d->n + 1) * sizeof *d->v);
    d->v[d->n++] = mem_strdup(real);
}

void
workdirs_free(struct workdirs *d)
{
    for (size_t i = 0; i < d->n; i++)
        mem_free(d->v[i]);
    mem_free(d->v);
    *d = (struct workdirs){0};
}

/* --- all files -------------------------------------------------------------
 */

struct serial *
serial_new(void)
{
    struct serial *s = MEM_NEW(struct serial);

    (void)pthread_mutex_init(&s->lock, NULL);
    return s;
}

static void
free_dir(struct serial *s, struct taken_dir *t)
{
    hash_table_remove(&s->dirs, &t->link);
    mem_free(t->dir);
    mem_free(t->file);
    mem_free(t);
}

void
serial_free(struct serial *s)
{
    struct taken_dir *t;

    if (!s)
        return;
    while ((t = hash_table_next(&s->dirs, NULL)))
        free_dir(s, t);
    hash_table_free(&s->dirs);
    (void)pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

/* The first of the workdirs that a file has. */
static const struct taken_dir *
find_taken(const struct serial *s, const struct workdirs *d)
{
    const struct taken_dir *t = NULL;

    for (size_t i = 0; i < d->n && !t; i++)
        t = hash_table_find(&s->dirs, d->v[i]);
    return t;
}

static void
take_dir(struct serial *s, const char *dir, const char *file)
{
    struct taken_dir *t = hash_table_find(&s->dirs, dir);

    if (!t) {
        t = MEM_NEW(struct taken_dir);
        t->dir = mem_strdup(dir);
        t->file = mem_strdup(file);
        hash_table_add(&s->dirs, &t->link, t->dir);
    }
    t->files++;
}

bool
serial_take(struct serial *s, const struct workdirs *d, const char *file,
            bool anyway)
{
    bool ok;

    (void)pthread_mutex_lock(&s->lock);
    ok = anyway || !find_taken(s, d);
    for (size_t i = 0; ok && i < d->n; i++)
        take_dir(s, d->v[i], file);
    (void)pthread_mutex_unlock(&s->lock);
    return ok;
}

void
serial_release(struct serial *s, const struct workdirs *d)
{
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < d->n; i++) {
        struct taken_dir *t = hash_table_find(&s->dirs, d->v[i]);

        if (t && --t->files == 0)
            free_dir(s, t);
    }
    s->freed = s->freed || d->n;
    (void)pthread_mutex_unlock(&s->lock);
}

bool
serial_busy(struct serial *s, const struct workdirs *d, char *file, size_t size,
            const char **dir)
{
    const struct taken_dir *t;

    (void)pthread_mutex_lock(&s->lock);
    t = find_taken(s, d);
    if (t && file) {
        (void)str_copy(file, size, t->file);
        for (size_t i = 0; i < d->n; i++)
            if (strcmp(d->v[i], t->dir) == 0)
                *dir = d->v[i];
    }
    (void)pthread_mutex_unlock(&s->lock);
    return t;
}

bool
serial_freed(struct serial *s)
{
    bool freed;

    (void)pthread_mutex_lock(&s->lock);
    freed = s->freed;
    s->freed = false;
    (void)pthread_mutex_unlock(&s->lock);
    return freed;
}
