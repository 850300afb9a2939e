/*
 * A file of the spool: records are appended through a buffer, and read from a
 * map of the file whose memory is released as the reader advances.
 */
#include "lib/submit/spool.h"

#include "lib/base/failpoint.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/model/codec.h"
#include "lib/os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUFFER = 256 * 1024, /* bytes of one write */
    HEAD = 4,            /* of a record: its length */
};

struct spool_file {
    struct file_draft draft; /* with the descriptor also of a committed file */
    char dir[PATH_MAX - 128];
    char name[96]; /* without ending */
    struct str buffer;
    const uint8_t *map; /* the whole file, once committed or taken */
    size_t size, count;
    size_t passed; /* bytes of the map whose memory was released */
};

static void
path_of(const struct spool_file *f, const char *ending, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/%s%s", f->dir, f->name, ending);
}

static int
new_file(struct spool_file **out, const char *dir, const char *name,
         struct err *e)
{
    struct spool_file *f = MEM_NEW(struct spool_file);

    f->draft.fd = -1;
    if (str_copy(f->dir, sizeof f->dir, dir) &&
        str_copy(f->name, sizeof f->name, name)) {
        *out = f;
        return 0;
    }
    mem_free(f);
    return err_set(e, ERR_INVALID, "spool %s/%s: the path is too long", dir,
                   name);
}

int
spool_create(struct spool_file **out, const char *dir, const char *name,
             struct err *e)
{
    struct spool_file *f;
    char path[PATH_MAX], tmp[PATH_MAX];

    if (new_file(&f, dir, name, e) < 0)
        return -1;
    path_of(f, ".task", path);
    path_of(f, ".tmp", tmp);
    if (file_draft_open(&f->draft, AT_FDCWD, path, tmp, 0600) < 0) {
        err_set(e, ERR_UNAVAILABLE, "create %s: %s", tmp, strerror(errno));
        spool_close(f);
        return -1;
    }
    /* Locked before it has its final name, so that no drain takes it. */
    (void)flock(f->draft.fd, LOCK_EX | LOCK_NB);
    *out = f;
    return 0;
}

static int
write_out(struct spool_file *f, struct err *e)
{
    if (file_write_all(f->draft.fd, f->buffer.data, f->buffer.len) < 0)
        return err_set(e, ERR_UNAVAILABLE, "write %s/%s: %s", f->dir, f->name,
                       strerror(errno));
    f->size += f->buffer.len;
    str_reset(&f->buffer);
    return 0;
}

int
spool_put(struct spool_file *f, const struct task *t, struct err *e)
{
    static const uint8_t blank[HEAD];
    size_t at = f->buffer.len, len;
    int i;

    str_add(&f->buffer, blank, sizeof blank);
    codec_encode(CODEC_TASK, t, &f->buffer);
    len = f->buffer.len - at - HEAD;
    if (len > TASK_MAX_BYTES) {
        f->buffer.len = at;
        return err_set(e, ERR_INVALID,
                       "the task has %zu bytes, more than the %d allowed", len,
                       TASK_MAX_BYTES);
    }
    for (i = 0; i < HEAD; i++)
        f->buffer.data[at + (size_t)i] = (char)(uint8_t)(len >> (8 * i));
    f->count++;
    return f->buffer.len >= BUFFER ? write_out(f, e) : 0;
}

static int
map_file(struct spool_file *f, struct err *e)
{
    void *p;

    if (!f->size)
        return 0;
    p = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, f->draft.fd, 0);
    if (p == MAP_FAILED)
        return err_set(e, ERR_UNAVAILABLE, "map %s/%s: %s", f->dir, f->name,
                       strerror(errno));
    f->map = p;
    return 0;
}

int
spool_commit(struct spool_file *f, struct err *e)
{
    if (write_out(f, e) < 0)
        return -1;
    FAILPOINT("submit.before_spool");
    if (file_draft_commit(&f->draft) < 0)
        return err_set(e, ERR_UNAVAILABLE, "store %s: %s", f->draft.path,
                       strerror(errno));
    if (file_sync_dir(AT_FDCWD, f->dir) < 0)
        return err_set(e, ERR_UNAVAILABLE, "sync %s: %s", f->dir,
                       strerror(errno));
    FAILPOINT("submit.after_spool");
    return map_file(f, e);
}

/* Counts the records; false if they do not end where the file ends. */
static bool
count_records(struct spool_file *f)
{
    const uint8_t *data;
    size_t at = 0, len;

    f->count = 0;
    while (spool_next(f, &at, &data, &len)) {
        f->count++;
        spool_passed(f, at);
    }
    f->passed = 0; /* the file is read again */
    return at == f->size && f->count;
}

int
spool_take(struct spool_file **out, const char *dir, const char *name,
           struct err *e)
{
    struct spool_file *f;
    char path[PATH_MAX];
    struct stat st;

    if (new_file(&f, dir, name, e) < 0)
        return -1;
    path_of(f, ".task", path);
    f->draft.fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (f->draft.fd < 0) {
        err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
                "open %s: %s", path, strerror(errno));
        goto fail;
    }
    if (flock(f->draft.fd, LOCK_EX | LOCK_NB) < 0) {
        err_set(e, ERR_CONFLICT, "%s is being sent", path);
        goto fail;
    }
    /* Another sender may have just removed it. */
    if (fstat(f->draft.fd, &st) < 0 || st.st_nlink == 0) {
        err_set(e, ERR_NOT_FOUND, "%s has been sent", path);
        goto fail;
    }
    f->size = (size_t)st.st_size;
    if (map_file(f, e) < 0)
        goto fail;
    if (!count_records(f)) {
        spool_set_aside(f);
        err_set(e, ERR_INVALID, "%s is damaged; it is now in %s/corrupt", path,
                dir);
        goto fail;
    }
    *out = f;
    return 0;
fail:
    spool_close(f);
    return -1;
}

void
spool_passed(struct spool_file *f, size_t at)
{
    enum { STRIDE = 1024 * 1024 }; /* a multiple of every page size */
    size_t to = at / STRIDE * STRIDE;

    if (!f->map || to <= f->passed)
        return;
    (void)madvise((void *)(uintptr_t)(f->map + f->passed), to - f->passed,
                  MADV_DONTNEED);
    f->passed = to;
}

bool
spool_next(const struct spool_file *f, size_t *at, const uint8_t **data,
           size_t *len)
{
    const uint8_t *p;
    size_t n;

    if (!f->map || *at > f->size || f->size - *at < HEAD)
        return false;
    p = f->map + *at;
    n = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 |
        (size_t)p[3] << 24;
    if (!n || n > TASK_MAX_BYTES || n > f->size - *at - HEAD)
        return false;
    *data = p + HEAD;
    *len = n;
    *at += HEAD + n;
    return true;
}

const char *
spool_name(const struct spool_file *f)
{
    return f->name;
}

size_t
spool_count(const struct spool_file *f)
{
    return f->count;
}

void
spool_remove(struct spool_file *f)
{
    char path[PATH_MAX];

    path_of(f, ".task", path);
    (void)unlink(path);
}

void
spool_set_aside(struct spool_file *f)
{
    char path[PATH_MAX], to[PATH_MAX], suffix[9];
    int n;

    path_of(f, ".task", path);
    n = snprintf(to, sizeof to, "%s/corrupt", f->dir);
    (void)mkdir(to, 0700);
    /* A random suffix: an earlier file is never replaced. */
    str_random(suffix, sizeof suffix);
    n = snprintf(to, sizeof to, "%s/corrupt/%s-%s.task", f->dir, f->name,
                 suffix);
    if (n > 0 && (size_t)n < sizeof to)
        (void)rename(path, to);
}

void
spool_close(struct spool_file *f)
{
    if (!f)
        return;
    if (f->map)
        (void)munmap((void *)(uintptr_t)f->map, f->size);
    if (f->draft.fd >= 0)
        file_draft_close(&f->draft);
    str_free(&f->buffer);
    mem_free(f);
}

bool
spool_has(const char *dir, const char *name)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof path, "%s/%s.task", dir, name);
    return access(path, F_OK) == 0;
}

int
spool_cancel(const char *dir, const struct control *c, struct err *e)
{
    struct str data = {0};
    char path[PATH_MAX];
    int rc = 0;

    codec_encode(CODEC_CONTROL, c, &data);
    (void)snprintf(path, sizeof path, "%s/%s.cancel", dir, c->task);
    if (file_replace(AT_FDCWD, path, data.data, data.len, 0600) < 0 ||
        file_sync_dir(AT_FDCWD, dir) < 0)
        rc = err_set(e, ERR_UNAVAILABLE, "store %s: %s", path, strerror(errno));
    str_free(&data);
    return rc;
}

static void
count_files(const char *dir, struct spool_backlog *out)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    struct stat st;
    int64_t at_ms;

    memset(out, 0, sizeof *out);
    while (d && (entry = readdir(d))) {
        if (!str_ends_with(entry->d_name, ".task") ||
            fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        out->files++;
        out->bytes += (uint64_t)st.st_size;
        at_ms = (int64_t)st.st_mtime * 1000;
        if (!out->oldest_ms || at_ms < out->oldest_ms)
            out->oldest_ms = at_ms;
    }
    if (d)
        (void)closedir(d);
}

void
spool_look(const char *dir, struct spool_backlog *out)
{
    struct spool_backlog corrupt;
    char path[PATH_MAX];

    (void)snprintf(path, sizeof path, "%s/corrupt", dir);
    count_files(path, &corrupt);
    count_files(dir, out);
    out->corrupt = corrupt.files;
}
