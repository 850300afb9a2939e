/*
 * Reads a folder with readdir and lstat, sorts the names and carries over since
 * when each file is unchanged from the previous scan.
 */
#include "gateways/folder/dir_scan.h"

#include "lib/os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct file_stamp
file_stamp_of(const struct stat *st)
{
    return (struct file_stamp){
        .ino = st->st_ino, .size = st->st_size, .changed_ns = os_mtime_ns(st)};
}

bool
file_stamp_same(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->ino == b->ino && a->size == b->size &&
           a->changed_ns == b->changed_ns;
}

static DIR *
open_dir(const char *path, struct err *e)
{
    DIR *d = opendir(path);

    if (!d)
        err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
                "open folder %s: %s", path, strerror(errno));
    return d;
}

static int
by_name(const void *a, const void *b)
{
    const struct waiting_file *x = a, *y = b;

    return strcmp(x->name, y->name);
}

static void
add(struct dir_scan *s, size_t *cap, const char *name, const struct stat *st,
    int64_t now_ms)
{
    s->v = mem_grow(s->v, s->n, cap, sizeof *s->v);
    s->v[s->n++] =
        (struct waiting_file){.name = mem_pool_strdup(s->pool, name),
                              .stamp = file_stamp_of(st),
                              .since_ms = now_ms,
                              .renamed = os_ctime_ns(st) != os_mtime_ns(st)};
}

/* Whether another program has delegated the task to an AI platform: then a
 * sidecar is beside the file, and the file belongs to that program. */
static bool
is_delegated(const struct folder_layout *p, int dir, const char *name)
{
    char sidecar[FOLDER_LAYOUT_FILE_SIZE];
    struct stat st;

    folder_layout_sidecar_name(p, name, sidecar);
    return p->style == STYLE_AGENT_QUEUE &&
           fstatat(dir, sidecar, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int
dir_scan_read(const struct folder_layout *p, int64_t now_ms,
              struct dir_scan *out, struct err *e)
{
    DIR *d = open_dir(p->waiting, e);
    struct dirent *entry;
    struct stat st;
    size_t cap = 0;

    *out = (struct dir_scan){0};
    if (!d)
        return -1;
    out->pool = mem_pool_new();
    if (fstat(dirfd(d), &st) == 0)
        out->dir_ino = st.st_ino;
    while (out->n < DIR_SCAN_MAX && (entry = readdir(d))) {
        if (!folder_layout_takes(p, entry->d_name) ||
            is_delegated(p, dirfd(d), entry->d_name))
            continue;
        if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode))
            continue;
        add(out, &cap, entry->d_name, &st, now_ms);
    }
    (void)closedir(d);
    if (out->n)
        qsort(out->v, out->n, sizeof *out->v, by_name);
    return 0;
}

void
dir_scan_release(struct dir_scan *s)
{
    for (size_t i = 0; i < s->n; i++)
        workdirs_free(&s->v[i].workdirs);
    mem_pool_free(s->pool);
    mem_free(s->v);
    *s = (struct dir_scan){0};
}

void
dir_scan_compare(struct dir_scan *now, struct dir_scan *before)
{
    size_t j = 0;

    for (size_t i = 0; i < now->n; i++) {
        struct waiting_file *w = &now->v[i];
        struct waiting_file *b;

        while (j < before->n && strcmp(before->v[j].name, w->name) < 0)
            j++;
        b = &before->v[j];
        if (j == before->n || strcmp(b->name, w->name) != 0 ||
            b->stamp.ino != w->stamp.ino)
            continue;
        if (file_stamp_same(&w->stamp, &b->stamp))
            w->since_ms = b->since_ms;
        else if (b->left != LEFT_OPEN)
            continue;
        if (b->left == LEFT_TAKEN) /* and moved back here */
            continue;
        w->left = b->left;
        w->due_ms = b->due_ms;
        w->workdirs = b->workdirs;
        b->workdirs = (struct workdirs){0};
    }
}

struct waiting_file *
dir_scan_find(const struct dir_scan *s, const char *name)
{
    struct waiting_file key = {.name = name};

    return s->n ? bsearch(&key, s->v, s->n, sizeof *s->v, by_name) : NULL;
}

/* The only file in the folder of a claim whose name is long: its path, NULL if
 * there is none. */
static const char *
long_named(const struct folder_layout *p, const char *claim,
           struct mem_pool *pool)
{
    char *path = mem_pool_printf(pool, "%s/%s", p->running, claim);
    const char *found = NULL;
    struct dirent *entry;
    DIR *d = opendir(path);

    if (!d)
        return NULL;
    while (!found && (entry = readdir(d)))
        if (folder_layout_takes(p, entry->d_name))
            found = mem_pool_printf(pool, "%s/%s", claim, entry->d_name);
    (void)closedir(d);
    if (!found)
        (void)rmdir(path); /* of a claim that came to nothing, or is done */
    return found;
}

const char **
dir_scan_claims(const struct folder_layout *p, struct mem_pool *pool,
                struct err *e)
{
    DIR *d = open_dir(p->running, e);
    const char **list = NULL, **out, *path;
    size_t n = 0, cap = 0;
    struct dirent *entry;
    struct folder_claim claim;

    if (!d)
        return NULL;
    while ((entry = readdir(d))) {
        if (!folder_layout_read_claim(entry->d_name, &claim))
            continue;
        path = *claim.name ? mem_pool_strdup(pool, entry->d_name)
                           : long_named(p, entry->d_name, pool);
        if (!path)
            continue;
        list = mem_grow(list, n, &cap, sizeof *list);
        list[n++] = path;
    }
    (void)closedir(d);
    out = mem_pool_alloc(pool, (n + 1) * sizeof *out);
    if (n)
        memcpy(out, list, n * sizeof *out);
    mem_free(list);
    return out;
}
