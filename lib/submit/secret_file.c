/*
 * The file holds NAME=value entries, each ended by NUL.
 */
#include "lib/submit/secret_file.h"

#include "lib/base/mask.h"
#include "lib/base/str.h"
#include "lib/os/file.h"
#include "lib/os/os.h"

#include <errno.h>
#include <string.h>

enum { FILE_MAX = 1024 * 1024 };

const char *
secret_file_path(const char *home, const char *task, struct mem_pool *pool)
{
    return mem_pool_printf(pool, "%s/secrets/%s", home, task);
}

static bool
is_named(const struct task *t, const char *name)
{
    for (size_t i = 0; i < t->n_secret_env; i++)
        if (strcmp(t->secret_env[i], name) == 0)
            return true;
    return false;
}

static int
write_file(const char *home, const struct task *t, const struct str *text,
           struct mem_pool *pool, struct err *e)
{
    const char *dir = mem_pool_printf(pool, "%s/secrets", home);
    const char *path = secret_file_path(home, t->id, pool);

    if (file_make_dirs(dir, 0700) < 0 ||
        file_replace(AT_FDCWD, path, text->data, text->len, 0600) < 0 ||
        file_sync_dir(AT_FDCWD, dir) < 0)
        return err_set(e, ERR_UNAVAILABLE, "write %s: %s", path,
                       strerror(errno));
    return 0;
}

int
secret_file_hide(const char *home, struct task *t, struct mem_pool *pool,
                 struct err *e)
{
    struct key_value *kept = mem_pool_alloc(pool, t->n_env * sizeof *kept);
    const char **names =
        mem_pool_alloc(pool, (t->n_env + t->n_secret_env) * sizeof *names);
    size_t n_kept = 0, n_names = t->n_secret_env;
    struct str text = {0};
    int rc = 0;

    if (n_names)
        memcpy(names, t->secret_env, n_names * sizeof *names);
    for (size_t i = 0; i < t->n_env; i++) {
        const struct key_value *v = &t->env[i];

        if (!is_named(t, v->key) && !mask_is_secret(v->key, v->value)) {
            kept[n_kept++] = *v;
            continue;
        }
        if (!is_named(t, v->key))
            names[n_names++] = v->key;
        str_addf(&text, "%s=%s", v->key, v->value);
        str_addc(&text, '\0');
    }
    if (text.len)
        rc = write_file(home, t, &text, pool, e);
    if (text.len && rc == 0) {
        t->env = kept;
        t->n_env = n_kept;
        t->secret_env = names;
        t->n_secret_env = n_names;
    }
    os_wipe(text.data, text.len);
    str_free(&text);
    return rc;
}

int
secret_file_read(const char *home, const struct task *t, struct mem_pool *pool,
                 const char **values, struct err *e)
{
    const char *path = secret_file_path(home, t->id, pool);
    struct str text = {0};
    size_t len;

    for (size_t i = 0; i < t->n_secret_env; i++)
        values[i] = NULL;
    if (file_read(path, FILE_MAX, &text) < 0)
        return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
                       "read %s: %s", path, strerror(errno));
    str_addc(&text, '\0');
    for (size_t at = 0; at < text.len; at += strlen(text.data + at) + 1)
        for (size_t i = 0; i < t->n_secret_env; i++) {
            len = strlen(t->secret_env[i]);
            if (strncmp(text.data + at, t->secret_env[i], len) == 0 &&
                text.data[at + len] == '=')
                values[i] = mem_pool_strdup(pool, text.data + at + len + 1);
        }
    os_wipe(text.data, text.len);
    str_free(&text);
    return 0;
}
