/*
 * A file is a line that names its format, then three parts, each with its
 * length before it: the result's subject, the claim, the result. It is replaced
 * as a whole (lib/os/file); the folder is synced apart, for many at once.
 */
#include "workers/core/result_spool.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/os/file.h"
#include "lib/os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 4 << 20, HEAD = 4 };

static const char magic[] = "shunt-outcome-1\n";

char *
result_spool_name(char out[RESULT_SPOOL_NAME_SIZE], const char *task,
                  uint32_t attempt)
{
    (void)snprintf(out, RESULT_SPOOL_NAME_SIZE, "%.40s-%u", task, attempt);
    return out;
}

static const char *
path_of(char out[PATH_MAX], const char *dir, const char *below,
        const char *name)
{
    (void)snprintf(out, PATH_MAX, "%s/%s%s", dir, below, name);
    return out;
}

/* --- writing ------------------------------------------------------------- */

/* Moves part to the end of out, its length before it. */
static void
add_part(struct str *out, struct str *part)
{
    uint8_t head[HEAD];

    for (size_t i = 0; i < HEAD; i++)
        head[i] = (uint8_t)(part->len >> (8 * i));
    str_add(out, head, sizeof head);
    str_add(out, part->data, part->len);
    str_reset(part);
}

static void
encode(const struct spooled_result *r, struct str *out)
{
    struct str part = {0};

    str_addz(out, magic);
    str_addz(&part, r->subject);
    add_part(out, &part);
    codec_encode(CODEC_CLAIM, &r->claim, &part);
    add_part(out, &part);
    codec_encode(CODEC_RESULT, &r->result, &part);
    add_part(out, &part);
    str_free(&part);
}

int
result_spool_put(const char *dir, const struct spooled_result *r, struct err *e)
{
    char name[RESULT_SPOOL_NAME_SIZE], path[PATH_MAX];
    struct str bytes = {0};
    int rc = 0;

    (void)result_spool_name(name, r->result.task, r->result.attempt);
    (void)path_of(path, dir, "", name);
    encode(r, &bytes);
    if (file_replace(AT_FDCWD, path, bytes.data, bytes.len, 0600) < 0)
        rc = err_set(e, ERR_UNAVAILABLE, "write %s: %s", path, strerror(errno));
    str_free(&bytes);
    return rc;
}

int
result_spool_sync(const char *dir, struct err *e)
{
    if (file_sync_dir(AT_FDCWD, dir) < 0)
        return err_set(e, ERR_UNAVAILABLE, "sync %s: %s", dir, strerror(errno));
    return 0;
}

/* --- reading ------------------------------------------------------------- */

/* The next part of s; moves *at behind it. */
static bool
next_part(const struct str *s, size_t *at, const char **part, size_t *len)
{
    *len = 0;
    if (s->len - *at < HEAD)
        return false;
    for (size_t i = 0; i < HEAD; i++)
        *len |= (size_t)(uint8_t)s->data[*at + i] << (8 * i);
    *at += HEAD;
    if (*len > s->len - *at)
        return false;
    *part = s->data + *at;
    *at += *len;
    return true;
}

static int
decode(const struct str *s, struct mem_pool *pool, struct spooled_result *out,
       struct err *e)
{
    const char *subject, *claim, *result;
    size_t at = sizeof magic - 1, n_subject, n_claim, n_result;

    if (s->len < at || memcmp(s->data, magic, at) != 0 ||
        !next_part(s, &at, &subject, &n_subject) ||
        !next_part(s, &at, &claim, &n_claim) ||
        !next_part(s, &at, &result, &n_result) || at != s->len)
        return err_set(e, ERR_INVALID, "not an outcome, or cut short");
    out->subject = mem_pool_strndup(pool, subject, n_subject);
    if (codec_decode(CODEC_CLAIM, claim, n_claim, pool, &out->claim, e) < 0)
        return err_wrap(e, "claim");
    if (codec_decode(CODEC_RESULT, result, n_result, pool, &out->result, e) < 0)
        return err_wrap(e, "result");
    if (strncmp(out->subject, "results.", 8) != 0 ||
        strcmp(out->claim.nonce, out->result.nonce) != 0 ||
        out->claim.attempt != out->result.attempt)
        return err_set(e, ERR_INVALID, "its parts do not belong together");
    return 0;
}

int
result_spool_load(const char *dir, const char *name, struct mem_pool *pool,
                  struct spooled_result *out, struct err *e)
{
    char path[PATH_MAX];
    struct str bytes = {0};
    int rc;

    if (file_read(path_of(path, dir, "", name), FILE_MAX, &bytes) < 0)
        rc = err_set(e, errno == EFBIG ? ERR_INVALID : ERR_UNAVAILABLE,
                     "read: %s", strerror(errno));
    else
        rc = decode(&bytes, pool, out, e);
    str_free(&bytes);
    return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

static bool
is_outcome(const struct dirent *d)
{
    return d->d_name[0] != '.' && !strchr(d->d_name, '.') &&
           strcmp(d->d_name, "superseded") != 0 &&
           strlen(d->d_name) < RESULT_SPOOL_NAME_SIZE;
}

const char **
result_spool_list(const char *dir, struct mem_pool *pool)
{
    const char **names = NULL, **out;
    size_t n = 0, cap = 0;
    struct dirent *d;
    DIR *open_dir = opendir(dir);

    while (open_dir && (d = readdir(open_dir)) != NULL) {
        if (!is_outcome(d))
            continue;
        names = mem_grow(names, n, &cap, sizeof *names);
        names[n++] = mem_pool_strdup(pool, d->d_name);
    }
    if (open_dir)
        (void)closedir(open_dir);
    out = mem_pool_alloc(pool, (n + 1) * sizeof *out);
    if (n)
        memcpy(out, names, n * sizeof *out);
    mem_free(names);
    return out;
}

/* --- the end of a file --------------------------------------------------- */

void
result_spool_remove(const char *dir, const char *name)
{
    char path[PATH_MAX];

    (void)unlink(path_of(path, dir, "", name));
}

/* Removes the oldest of superseded/ if there are too many. */
static void
forget_oldest(const char *dir)
{
    char path[PATH_MAX], oldest[PATH_MAX];
    int64_t least_ns = 0;
    struct dirent *d;
    struct stat st;
    size_t n = 0;
    DIR *aside = opendir(path_of(path, dir, "superseded", ""));

    while (aside && (d = readdir(aside)) != NULL) {
        if (d->d_name[0] == '.' ||
            fstatat(dirfd(aside), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (n++ == 0 || os_ctime_ns(&st) < least_ns) {
            least_ns = os_ctime_ns(&st);
            (void)path_of(oldest, dir, "superseded/", d->d_name);
        }
    }
    if (aside)
        (void)closedir(aside);
    if (n > RESULT_SPOOL_KEPT)
        (void)unlink(oldest);
}

void
result_spool_set_aside(const char *dir, const char *name)
{
    char from[PATH_MAX], to[PATH_MAX];

    (void)rename(path_of(from, dir, "", name),
                 path_of(to, dir, "superseded/", name));
    forget_oldest(dir);
}
