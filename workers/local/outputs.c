/*
 * Compares what stat says of each declared file before and after the steps.
 */
#include "workers/local/outputs.h"

#include "lib/base/str.h"
#include "lib/os/os.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct output_file {
    const char *name, *path;
    bool existed;
    struct stat was;
};

struct outputs {
    size_t n;
    struct output_file files[];
};

static size_t
count_files(const struct task *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n_outputs; i++)
        n += t->outputs[i].n_files;
    return n < OUTPUTS_FILES_MOST ? n : OUTPUTS_FILES_MOST;
}

struct outputs *
outputs_note(const struct task *t, const char *workdir, struct mem_pool *pool)
{
    size_t most = count_files(t);
    struct outputs *o;

    if (most == 0)
        return NULL;
    o = mem_pool_alloc(pool, sizeof *o + most * sizeof *o->files);
    for (size_t i = 0; i < t->n_outputs; i++)
        for (size_t k = 0; k < t->outputs[i].n_files && o->n < most; k++) {
            struct output_file *f = &o->files[o->n];

            f->name = t->outputs[i].files[k];
            if (strpbrk(f->name, "*?["))
                continue;
            f->path = mem_pool_printf(pool, "%s/%s", workdir ? workdir : ".",
                                      f->name);
            f->existed = stat(f->path, &f->was) == 0;
            o->n++;
        }
    return o;
}

static bool
is_unchanged(const struct output_file *f, const struct stat *is)
{
    return f->existed && f->was.st_dev == is->st_dev &&
           f->was.st_ino == is->st_ino && f->was.st_size == is->st_size &&
           os_mtime_ns(&f->was) == os_mtime_ns(is);
}

bool
outputs_tell(const struct outputs *o, char *out, size_t size)
{
    struct str text = {0};
    struct stat is;
    bool told;

    for (size_t i = 0; o && i < o->n; i++) {
        bool missing = stat(o->files[i].path, &is) < 0;

        if (!missing && !is_unchanged(&o->files[i], &is))
            continue;
        str_addz(&text, text.len ? ", " : "");
        str_add_printable(&text, o->files[i].name, strlen(o->files[i].name));
        str_addz(&text, missing ? " is missing" : " is unchanged");
    }
    told = text.len > 0;
    (void)str_copy(out, size, str_text(&text));
    str_free(&text);
    return told;
}

/* The file it was read from may have brought that up. */
static bool
is_told(const struct task *t, const char *what)
{
    for (size_t i = 0; i < t->n_warnings; i++)
        if (strstr(t->warnings[i], what))
            return true;
    return false;
}

void
outputs_warn(const struct task *t, struct mem_pool *pool,
             void (*warn)(void *ctx, const char *text), void *ctx)
{
    static const struct {
        const char *type, *what;
    } nobody[] = {{"pr", "nothing here opens pull requests"},
                  {"comment", "nothing here writes comments"}};

    for (size_t i = 0; i < t->n_outputs; i++)
        for (size_t k = 0; k < sizeof nobody / sizeof *nobody; k++)
            if (strcmp(t->outputs[i].type, nobody[k].type) == 0 &&
                !is_told(t, nobody[k].what))
                warn(ctx,
                     mem_pool_printf(pool, "output %s is not carried out: %s",
                                     nobody[k].type, nobody[k].what));
}
