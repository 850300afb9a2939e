/*
 * Reads the messages of input.<task> one after the other into a file. They were
 * stored before the task was submitted; what is missing has expired.
 */
#include "workers/local/input.h"

#include "lib/base/mem.h"
#include "lib/model/subject.h"
#include "lib/os/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { READ_MS = 10000 };

struct input_fetch {
    struct bus *bus;
    struct input input;
    char subject[SUBJECT_SIZE];
    int fd;
    loop_fn *done;
    void *ctx;
    uint32_t chunks; /* read so far */
    uint64_t size;
    char why[200];
};

static void
end(struct input_fetch *f)
{
    if (!*f->why && f->size != f->input.size)
        (void)snprintf(f->why, sizeof f->why,
                       "standard input: %llu of %llu bytes are stored",
                       (unsigned long long)f->size,
                       (unsigned long long)f->input.size);
    if (!*f->why && lseek(f->fd, 0, SEEK_SET) < 0)
        (void)snprintf(f->why, sizeof f->why, "standard input: %s",
                       strerror(errno));
    f->done(f->ctx);
}

static void read_next(struct input_fetch *f, uint64_t seq);

static void
on_entry(void *ctx, const struct bus_entry *entry, const struct err *e)
{
    struct input_fetch *f = ctx;

    if (e)
        (void)snprintf(f->why, sizeof f->why, "standard input: %.160s", e->msg);
    else if (entry && file_write_all(f->fd, entry->data, entry->len) < 0)
        (void)snprintf(f->why, sizeof f->why, "keep standard input: %s",
                       strerror(errno));
    if (!entry || *f->why) {
        end(f);
        return;
    }
    f->size += entry->len;
    if (++f->chunks == f->input.chunks)
        end(f);
    else
        read_next(f, entry->revision + 1);
}

static void
read_next(struct input_fetch *f, uint64_t seq)
{
    bus_get_next(f->bus, "INPUT", f->subject, seq, READ_MS, on_entry, f);
}

struct input_fetch *
input_fetch_open(struct bus *b, const struct task *t, int fd, loop_fn *done,
                 void *ctx)
{
    struct input_fetch *f = MEM_NEW(struct input_fetch);

    f->bus = b;
    f->input = *t->input;
    f->fd = fd;
    f->done = done;
    f->ctx = ctx;
    (void)subject_input(f->subject, t->id);
    read_next(f, 0);
    return f;
}

void
input_fetch_close(struct input_fetch *f)
{
    if (!f)
        return;
    bus_forget(f->bus, f);
    mem_free(f);
}

const char *
input_fetch_error(const struct input_fetch *f)
{
    return f->why;
}
