/*
 * Remembers each block file as it was when it was last synced, and syncs those
 * that have changed. In the usual case only the newest block of a stream has:
 * a stream's folder is scanned only if its own time has changed. All streams
 * begin to write before the first is waited for, so that the disk works on
 * them together.
 */
#include "fleet/jetstream_fsync.h"

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    STREAMS_MAX = 1024,
    BLOCKS_MAX = 1 << 20,
    NAME_SIZE = 64,
    /* File times advance in steps: within one step a folder may change again
     * without a change of its time. */
    STEP_NS = 20000000,
};

/* A file as it was when it was synced. */
struct jetstream_block {
    uint64_t number;
    ino_t ino;
    off_t size;
    int64_t at_ns;
    bool through; /* it was synchronous then: each write waits for the disk */
    bool seen;    /* by the current scan */
};

/* A block that is being synced. */
struct jetstream_write {
    int fd; /* -1: there is nothing to write */
    struct stat was;
};

struct jetstream_dir {
    char *path; /* of msgs */
    int fd;     /* of msgs, -1: gone */
    int64_t at_ns;
    bool settled; /* a change since at_ns would show in the folder's time */
    struct jetstream_block *blocks;
    size_t n, cap;
    size_t last;                    /* the block the server appends to */
    struct jetstream_write writing; /* that block, during a run */
    bool seen;
};

struct jetstream_fsync {
    char *dir;
    struct jetstream_dir *streams;
    size_t n;
};

struct jetstream_fsync *
jetstream_fsync_new(const char *dir)
{
    struct jetstream_fsync *s = MEM_NEW(struct jetstream_fsync);

    s->dir = mem_strdup(dir);
    return s;
}

static void
close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void
stream_release(struct jetstream_dir *t)
{
    close_fd(&t->fd);
    mem_free(t->blocks);
    mem_free(t->path);
}

void
jetstream_fsync_free(struct jetstream_fsync *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        stream_release(&s->streams[i]);
    mem_free(s->streams);
    mem_free(s->dir);
    mem_free(s);
}

/* --- one stream ---------------------------------------------------------- */

/* "12.blk" -> 12 */
static bool
block_number(const char *name, uint64_t *out)
{
    size_t digits = strspn(name, "0123456789");
    char text[24];

    if (digits == 0 || digits >= sizeof text ||
        strcmp(name + digits, ".blk") != 0)
        return false;
    memcpy(text, name, digits);
    text[digits] = '\0';
    return str_to_u64(text, 0, UINT64_MAX, out);
}

static struct jetstream_block *
block_of(struct jetstream_dir *t, uint64_t number)
{
    for (size_t i = t->n; i > 0; i--)
        if (t->blocks[i - 1].number == number)
            return &t->blocks[i - 1];
    if (t->n == BLOCKS_MAX)
        return NULL;
    t->blocks = mem_grow(t->blocks, t->n, &t->cap, sizeof *t->blocks);
    t->blocks[t->n] = (struct jetstream_block){.number = number, .size = -1};
    return &t->blocks[t->n++];
}

static void
note_synced(struct jetstream_block *b, const struct jetstream_write *w)
{
    /* As it was before the sync: later writes are for the next run. */
    b->ino = w->was.st_ino;
    b->size = w->was.st_size;
    b->at_ns = os_mtime_ns(&w->was);
}

/* Starts writing the block to the disk if it has changed, without waiting. A
 * block that is gone was removed by the server, and is no loss. */
static int
block_begin(const struct jetstream_dir *t, struct jetstream_block *b,
            struct jetstream_write *w, struct err *e)
{
    char name[NAME_SIZE];
    bool through;

    w->fd = -1;
    (void)snprintf(name, sizeof name, "%llu.blk",
                   (unsigned long long)b->number);
    if (fstatat(t->fd, name, &w->was, AT_SYMLINK_NOFOLLOW) < 0 ||
        (w->was.st_ino == b->ino && w->was.st_size == b->size &&
         os_mtime_ns(&w->was) == b->at_ns))
        return 0;
    w->fd = openat(t->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (w->fd < 0)
        return errno == ENOENT ? 0
                               : err_set(e, ERR_UNAVAILABLE, "open %s/%s: %s",
                                         t->path, name, strerror(errno));
    through = os_writes_through(w->fd);
    if (through && b->through && w->was.st_ino == b->ino) {
        note_synced(b, w);
        close_fd(&w->fd);
        return 0;
    }
    b->through = through;
    /* A failure here is harmless: block_end syncs, and reports errors. */
    os_sync_begin(w->fd);
    return 0;
}

/* Waits until the block is on the disk. */
static int
block_end(const struct jetstream_dir *t, struct jetstream_block *b,
          struct jetstream_write *w, struct err *e)
{
    int rc = 0;

    if (w->fd < 0)
        return 0;
    if (os_sync_data(w->fd) < 0)
        rc = err_set(e, ERR_UNAVAILABLE, "sync %s/%llu.blk: %s", t->path,
                     (unsigned long long)b->number, strerror(errno));
    close_fd(&w->fd);
    note_synced(b, w);
    return rc;
}

/* Whether a later change can no longer get the same time. */
static bool
is_settled(int64_t at_ns)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec - at_ns > STEP_NS;
}

/* Forgets the blocks that are gone, and finds the newest. */
static void
forget_unseen(struct jetstream_dir *t)
{
    size_t kept = 0;

    t->last = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (!t->blocks[i].seen)
            continue;
        t->blocks[kept] = t->blocks[i];
        if (t->blocks[kept].number > t->blocks[t->last].number)
            t->last = kept;
        kept++;
    }
    t->n = kept;
}

/* Syncs every block that has changed, because the folder has: a block was
 * added, removed or replaced. */
static int
stream_scan(struct jetstream_dir *t, struct err *e)
{
    struct dirent *entry;
    struct jetstream_block *b;
    struct jetstream_write w;
    uint64_t number;
    DIR *d;
    int fd = openat(t->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        err_set(e, ERR_UNAVAILABLE, "read %s: %s", t->path, strerror(errno));
        close_fd(&fd);
        return -1;
    }
    for (size_t i = 0; i < t->n; i++)
        t->blocks[i].seen = false;
    while (rc == 0 && (entry = readdir(d))) {
        if (!block_number(entry->d_name, &number))
            continue;
        b = block_of(t, number);
        if (!b)
            rc = err_set(e, ERR_UNAVAILABLE, "%s: more than %d blocks", t->path,
                         BLOCKS_MAX);
        else {
            b->seen = true;
            rc = block_begin(t, b, &w, e) < 0 ? -1 : block_end(t, b, &w, e);
        }
    }
    (void)closedir(d);
    if (rc == 0 && os_sync(t->fd) < 0)
        rc = err_set(e, ERR_UNAVAILABLE, "sync %s: %s", t->path,
                     strerror(errno));
    if (rc == 0)
        forget_unseen(t);
    else
        t->settled = false;
    return rc;
}

/* Starts syncing the newest block. Scans and syncs the whole folder, and waits
 * for it, if more has changed. */
static int
stream_begin(struct jetstream_dir *t, struct err *e)
{
    struct stat st;

    if (t->fd < 0)
        t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->fd < 0)
        return 0; /* the stream is being created or removed */
    if (fstat(t->fd, &st) < 0 || st.st_nlink == 0) {
        close_fd(&t->fd);
        t->n = 0;
        t->settled = false;
        return 0;
    }
    if (!t->settled || os_mtime_ns(&st) != t->at_ns) {
        t->at_ns = os_mtime_ns(&st);
        t->settled = is_settled(t->at_ns);
        return stream_scan(t, e);
    }
    return t->n ? block_begin(t, &t->blocks[t->last], &t->writing, e) : 0;
}

static int
stream_end(struct jetstream_dir *t, struct err *e)
{
    return t->n ? block_end(t, &t->blocks[t->last], &t->writing, e) : 0;
}

/* --- all streams --------------------------------------------------------- */

static int
add_stream(struct jetstream_fsync *s, const char *path, struct err *e)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->streams[i].path, path) == 0) {
            s->streams[i].seen = true;
            return 0;
        }
    if (s->n == STREAMS_MAX)
        return err_set(e, ERR_UNAVAILABLE, "%s: more than %d streams", s->dir,
                       STREAMS_MAX);
    s->streams = mem_resize(s->streams, (s->n + 1) * sizeof *s->streams);
    s->streams[s->n++] = (struct jetstream_dir){
        .path = mem_strdup(path), .fd = -1, .writing.fd = -1, .seen = true};
    return 0;
}

/* Calls add for "<dir>/<folder>/<tail>" of each folder; a missing dir has
 * none. */
static int
each_folder(struct jetstream_fsync *s, const char *dir, const char *tail,
            int (*add)(struct jetstream_fsync *s, const char *path,
                       struct err *e),
            struct err *e)
{
    struct dirent *entry;
    struct str path = {0};
    DIR *d = opendir(dir);
    int rc = 0;

    if (!d)
        return errno == ENOENT ? 0
                               : err_set(e, ERR_UNAVAILABLE, "read %s: %s", dir,
                                         strerror(errno));
    while (rc == 0 && (entry = readdir(d))) {
        if (entry->d_name[0] == '.')
            continue;
        str_reset(&path);
        str_addf(&path, "%s/%s/%s", dir, entry->d_name, tail);
        rc = add(s, str_text(&path), e);
    }
    (void)closedir(d);
    str_free(&path);
    return rc;
}

static int
add_account(struct jetstream_fsync *s, const char *path, struct err *e)
{
    return each_folder(s, path, "msgs", add_stream, e);
}

/* Finds new streams, and forgets those that are gone. */
static int
find_streams(struct jetstream_fsync *s, struct err *e)
{
    struct str dir = {0};
    size_t kept = 0;
    int rc;

    for (size_t i = 0; i < s->n; i++)
        s->streams[i].seen = false;
    str_addf(&dir, "%s/jetstream", s->dir);
    rc = each_folder(s, str_text(&dir), "streams", add_account, e);
    str_free(&dir);
    for (size_t i = 0; rc == 0 && i < s->n; i++) {
        if (s->streams[i].seen)
            s->streams[kept++] = s->streams[i];
        else
            stream_release(&s->streams[i]);
    }
    if (rc == 0)
        s->n = kept;
    return rc;
}

int
jetstream_fsync_run(struct jetstream_fsync *s, struct err *e)
{
    int rc = find_streams(s, e);

    for (size_t i = 0; rc == 0 && i < s->n; i++)
        rc = stream_begin(&s->streams[i], e);
    for (size_t i = 0; rc == 0 && i < s->n; i++)
        rc = stream_end(&s->streams[i], e);
    for (size_t i = 0; i < s->n; i++)
        close_fd(&s->streams[i].writing.fd);
    return rc;
}
