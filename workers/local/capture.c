/*
 * Attempts younger than WATCH_MS are in a list, the oldest first, with one
 * timer for all; when it fires, their pipes are watched. So a short attempt
 * costs no watch. Those that have written meanwhile are read at every tick.
 *
 * What the system notes of writes is handed to the captures that they belong
 * to. A capture reads all that its pipes have, write by write, and passes it on
 * in the order of the notes; what has no note, as some may be lost, comes last.
 */
#include "workers/local/capture.h"

#include "lib/base/mem.h"
#include "lib/os/os.h"
#include "lib/os/proc.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,
    READS_AT_ONCE = 8,       /* per turn of the loop */
    READS_AT_END = 64,       /* an escaped process may write forever */
    WATCH_MS = 20,           /* age at which pipes are watched */
    TICK_MS = 4,             /* between looks at younger ones */
    WIDE_MOST = 64,          /* captures with wide pipes: users have a limit */
    ROUNDS = 16,             /* of looks for what was written meanwhile */
    HELD_MOST = 1024 * 1024, /* bytes, of both ends: no more looks */
    LOOKS = 100,             /* for the notes of what was read */
    BULK_BYTES =
        4 * 1024 * 1024, /* of one stream alone, before it is in bulk */
};

struct capture_reader {
    struct loop *loop;
    TAILQ_HEAD(, capture) young; /* not watched yet, the oldest first */
    struct loop_timer *watch;    /* until the oldest of them must be watched */
    bool watching;               /* the timer is set */
    struct os_writes *writes;    /* NULL: the order is not known */
    struct pipe_end **by_fd;     /* the ends of captures */
    size_t n_by_fd;
    unsigned n_open; /* captures */
    size_t page;     /* bytes of a write, at most, that one read returns */
    char buf[READ_BYTES];
};

struct capture_reader *
capture_reader_new(struct loop *l)
{
    struct capture_reader *r = MEM_NEW(struct capture_reader);

    r->loop = l;
    r->writes = os_writes_open();
    r->page = (size_t)sysconf(_SC_PAGESIZE);
    TAILQ_INIT(&r->young);
    return r;
}

void
capture_reader_free(struct capture_reader *r)
{
    if (!r)
        return;
    loop_timer_stop(r->watch);
    os_writes_close(r->writes);
    mem_free(r->by_fd);
    mem_free(r);
}

/* --- the order of writes -------------------------------------------------- */

static void
know(struct capture_reader *r, int fd, struct pipe_end *end)
{
    size_t n = r->n_by_fd ? r->n_by_fd : 64;

    while (n <= (size_t)fd)
        n *= 2;
    if (n > r->n_by_fd) {
        r->by_fd = mem_resize(r->by_fd, n * sizeof *r->by_fd);
        memset(r->by_fd + r->n_by_fd, 0, (n - r->n_by_fd) * sizeof *r->by_fd);
        r->n_by_fd = n;
    }
    r->by_fd[fd] = end;
}

static size_t
number_of(const struct pipe_end *end)
{
    return (size_t)(end - end->pipes->ends);
}

static size_t
n_held(const struct pipe_end *end)
{
    return end->n_held - end->at_held;
}

static void
note(struct pipe_end *end)
{
    struct capture *p = end->pipes;

    if (end->bulk)
        return;
    if (end->late) {
        end->late = false;
        return;
    }
    /* More than what fits into the pipe is a writer that waits. */
    if (end->noted >= end->slots + n_held(end)) {
        end->waits = true;
        return;
    }
    p->order = mem_grow(p->order, p->n_order, &p->cap_order, sizeof *p->order);
    p->order[p->n_order++] = (uint8_t)number_of(end);
    end->noted++;
}

/* Hands the captures what was noted since the last call. */
static void
collect(struct capture_reader *r)
{
    int fds[64];
    size_t n;

    while ((n = os_writes_read(r->writes, fds, sizeof fds / sizeof *fds)) > 0)
        for (size_t i = 0; i < n; i++)
            if (fds[i] >= 0 && (size_t)fds[i] < r->n_by_fd && r->by_fd[fds[i]])
                note(r->by_fd[fds[i]]);
}

/* --- one end -------------------------------------------------------------- */

static void
pause_reading(struct capture *p)
{
    for (int i = 0; i < 2; i++)
        if (p->ends[i].watch)
            loop_fd_pause(p->ends[i].watch);
}

static void
on_room(void *ctx)
{
    struct capture *p = ctx;

    for (int i = 0; i < 2; i++)
        if (p->ends[i].watch)
            loop_fd_resume(p->ends[i].watch);
}

static void
close_end(struct pipe_end *end)
{
    struct capture_reader *r = end->pipes->reader;

    if (end->fd >= 0 && (size_t)end->fd < r->n_by_fd)
        r->by_fd[end->fd] = NULL;
    loop_fd_close(&end->watch, &end->fd);
}

static size_t
bytes_in(const struct pipe_end *end)
{
    int n = 0;

    return end->fd >= 0 && ioctl(end->fd, FIONREAD, &n) == 0 && n > 0
               ? (size_t)n
               : 0;
}

/* Whether the writes of a stream are kept apart: not while it alone writes
 * much. */
static void
set_bulk(struct pipe_end *end, bool bulk)
{
    if (end->bulk == bulk || end->theirs < 0)
        return;
    end->bulk = bulk;
    end->late = false;
    os_writes_set_apart((int[2]){end->fd, end->theirs}, !bulk);
}

/* Reads once; 0: there is nothing to read now. *room: as output_write. */
static size_t
read_once(struct pipe_end *end, bool *room)
{
    struct capture *p = end->pipes;
    char *buf = p->reader->buf;
    ssize_t n = end->fd < 0 ? 0 : read(end->fd, buf, READ_BYTES);

    if (n <= 0) {
        if (end->fd >= 0 && (n == 0 || (errno != EAGAIN && errno != EINTR)))
            close_end(end);
        return 0;
    }
    *room = output_write(p->output, end->stream, buf, (size_t)n);
    return (size_t)n;
}

/* Reads at most reads times, on request also when the output is full; false if
 * it is. */
static bool
end_read(struct pipe_end *end, int reads, bool beyond_full)
{
    bool room = true;

    while (reads-- > 0 && (room || beyond_full))
        if (read_once(end, &room) == 0)
            break;
    return room;
}

/* --- both ends, in order -------------------------------------------------- */

/* Reads what is in the pipe of an end whose writes are kept apart: how many.
 * *whole: all of it; there may be more than a pipe holds. */
static size_t
hold_writes(struct pipe_end *end, bool *whole)
{
    char *buf = end->pipes->reader->buf;
    size_t before = end->n_held;
    ssize_t n = 0;

    for (size_t i = 0; i <= 2 * end->slots && end->fd >= 0; i++) {
        n = read(end->fd, buf, READ_BYTES);
        if (n <= 0)
            break;
        str_add(&end->held, buf, (size_t)n);
        end->lengths = mem_grow(end->lengths, end->n_held, &end->cap_held,
                                sizeof *end->lengths);
        end->lengths[end->n_held++] = (uint32_t)n;
    }
    if (end->fd >= 0 &&
        (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)))
        close_end(end);
    *whole = n <= 0;
    before = end->n_held - before;
    end->n_read += before;
    return before;
}

/*
 * All that was noted has been read: forgets the notes of what was not there. A
 * writer that found the pipe full was noted before it waited, and once more
 * when it had written; that was where the pipe was full.
 */
static void
forget_surplus(struct pipe_end *end)
{
    struct capture *p = end->pipes;
    uint64_t passed = end->n_read - n_held(end);
    size_t nth, at;

    while (end->noted > n_held(end)) {
        nth = 0;
        if (end->doubtful && end->wait_at > passed &&
            end->wait_at < passed + end->noted)
            nth = (size_t)(end->wait_at - passed);
        for (at = 0; p->order[at] != number_of(end) || nth > 0; at++)
            nth -= p->order[at] == number_of(end);
        memmove(p->order + at, p->order + at + 1, --p->n_order - at);
        end->noted--;
        end->doubtful = false;
    }
}

/* Collects just before it reads: from then on the pipe is not full, as reading
 * is faster than writing. How much it has read. */
static size_t
look_at(struct pipe_end *end)
{
    bool full, whole;
    size_t n;

    if (end->bulk)
        return 0;
    collect(end->pipes->reader);
    full = end->noted >= end->slots + n_held(end);
    if (full) {
        end->doubtful = !end->waits;
        end->wait_at = end->n_read + end->slots;
    }
    end->waits = false;
    n = hold_writes(end, &whole);
    if (whole)
        forget_surplus(end);
    return n;
}

/* Passes on the oldest write held, or the page of one; its length. */
static size_t
pass_write(struct pipe_end *end, bool *room)
{
    size_t len = end->lengths[end->at_held++];

    *room = output_write(end->pipes->output, end->stream,
                         end->held.data + end->passed, len);
    end->passed += len;
    if (end->at_held == end->n_held) {
        str_reset(&end->held);
        end->n_held = end->at_held = end->passed = 0;
    }
    end->alone += len;
    end->pipes->ends[1 - number_of(end)].alone = 0;
    return len;
}

/* Passes on what order tells of, up to a note of what is not held yet. A write
 * of several pages has one note: while there are more pages than notes, a full
 * page goes on in the next. */
static void
pass_order(struct capture *p, bool *room)
{
    size_t page = p->reader->page, at = 0;

    while (at < p->n_order && n_held(&p->ends[p->order[at]]) > 0) {
        uint8_t number = p->order[at];
        struct pipe_end *end = &p->ends[number];
        size_t len;

        len = pass_write(end, room);
        end->noted--;
        at++;
        if (at < p->n_order && p->order[at] == number)
            continue;
        while (len == page && n_held(end) > end->noted)
            len = pass_write(end, room);
    }
    p->n_order -= at;
    memmove(p->order, p->order + at, p->n_order);
}

/* Passes on what has no note, and forgets the notes: some are lost. One that is
 * just being made comes too late. */
static void
pass_rest(struct capture *p, bool settled, bool *room)
{
    p->n_order = 0;
    for (int i = 0; i < 2; i++) {
        struct pipe_end *end = &p->ends[i];

        end->noted = 0;
        while (n_held(end) > 0)
            end->late = pass_write(end, room) < p->reader->page && !settled;
    }
}

static bool
holds_some(const struct capture *p)
{
    return n_held(&p->ends[0]) + n_held(&p->ends[1]) > 0;
}

/* Writes go on while they are read, and each is in its pipe a moment before it
 * is noted: so it is looked again, until all that was read has its note. */
static bool
read_ordered(struct capture *p)
{
    bool room = true;
    size_t more = 1;

    for (int round = 0; round < ROUNDS && more > 0 &&
                        p->ends[0].held.len + p->ends[1].held.len < HELD_MOST;
         round++) {
        more = 0;
        for (int i = 0; i < 2; i++)
            more += look_at(&p->ends[i]);
        pass_order(p, &room);
        if (!holds_some(p))
            return room;
    }
    for (int look = 0; look < LOOKS && more > 0 && holds_some(p); look++) {
        collect(p->reader);
        pass_order(p, &room);
    }
    if (holds_some(p))
        pass_rest(p, more == 0, &room);
    return room;
}

/* What is in bulk comes first: most of it was written before what the other
 * end has. */
static bool
read_bulk(struct capture *p, int reads, bool beyond_full)
{
    bool room = true;

    for (int i = 0; i < 2 && (room || beyond_full); i++)
        if (p->ends[i].bulk)
            room = end_read(&p->ends[i], reads, beyond_full);
    return room;
}

/* Something can be read, or may be; false if the output is full. */
static bool
read_both(struct capture *p, int reads, bool beyond_full)
{
    bool room = read_bulk(p, reads, beyond_full);

    if (!room && !beyond_full)
        return false;
    room = read_ordered(p);
    for (int i = 0; i < 2; i++)
        set_bulk(&p->ends[i], p->ends[i].alone > BULK_BYTES);
    return room;
}

static void
read_capture(struct capture *p)
{
    if (!read_both(p, READS_AT_ONCE, false))
        pause_reading(p);
}

static void
on_readable(void *ctx)
{
    struct pipe_end *end = ctx;

    if (end->pipes->ordered)
        read_capture(end->pipes);
    else if (!end_read(end, READS_AT_ONCE, false))
        pause_reading(end->pipes);
}

/* --- young captures ------------------------------------------------------- */

static void on_watch(void *ctx);

static void
set_watch(struct capture_reader *r, int64_t now)
{
    int64_t delay_ms = TAILQ_FIRST(&r->young)->began_ms + WATCH_MS - now;

    if (r->writes && delay_ms > TICK_MS)
        delay_ms = TICK_MS;
    if (r->watch)
        loop_timer_again(r->watch, delay_ms, 0);
    else
        r->watch = loop_timer_start(r->loop, delay_ms, 0, on_watch, r);
    r->watching = true;
}

static void
young_remove(struct capture *p)
{
    if (p->young)
        TAILQ_REMOVE(&p->reader->young, p, link);
    p->young = false;
}

static void
watch_now(struct capture *p)
{
    young_remove(p);
    for (int i = 0; i < 2; i++)
        p->ends[i].watch = loop_fd_start(p->reader->loop, p->ends[i].fd,
                                         on_readable, &p->ends[i]);
}

static void
on_watch(void *ctx)
{
    struct capture_reader *r = ctx;
    int64_t now = loop_now_ms();
    struct capture *p, *next;

    r->watching = false;
    if (r->writes)
        collect(r);
    for (p = TAILQ_FIRST(&r->young); p; p = next) {
        next = TAILQ_NEXT(p, link);
        if (p->began_ms + WATCH_MS > now && p->n_order == 0)
            continue;
        watch_now(p);
        if (p->n_order > 0)
            read_capture(p);
    }
    if (!TAILQ_EMPTY(&r->young))
        set_watch(r, now);
}

/* --- one attempt ---------------------------------------------------------- */

static int
open_end(struct pipe_end *end, bool ordered, struct err *e)
{
    struct capture_reader *r = end->pipes->reader;
    int fds[2];

    if (!ordered)
        return proc_pipe(&end->fd, &end->theirs, e);
    if (os_writes_pipe(r->writes, r->n_open <= WIDE_MOST, fds, &end->slots) < 0)
        return err_set(e, ERR_UNAVAILABLE, "pipe: %s", strerror(errno));
    end->fd = fds[0];
    end->theirs = fds[1];
    know(r, end->fd, end);
    return 0;
}

int
capture_open(struct capture *p, struct capture_reader *r,
             struct attempt_output *output, struct err *e)
{
    *p = (struct capture){
        .reader = r, .output = output, .ordered = r->writes != NULL};
    r->n_open++;
    for (int i = 0; i < 2; i++)
        p->ends[i] =
            (struct pipe_end){.pipes = p,
                              .stream = i == 0 ? STREAM_STDOUT : STREAM_STDERR,
                              .fd = -1,
                              .theirs = -1};
    for (int i = 0; i < 2; i++)
        if (open_end(&p->ends[i], p->ordered, e) < 0)
            return -1;
    output_on_room(output, on_room, p);
    return 0;
}

void
capture_watch(struct capture *p)
{
    struct capture_reader *r = p->reader;

    p->young = true;
    p->began_ms = loop_now_ms();
    TAILQ_INSERT_TAIL(&r->young, p, link);
    if (!r->watching)
        set_watch(r, p->began_ms);
}

static void
close_theirs(struct capture *p)
{
    for (int i = 0; i < 2; i++) {
        if (p->ends[i].theirs >= 0)
            (void)close(p->ends[i].theirs);
        p->ends[i].theirs = -1;
    }
}

void
capture_close_theirs(struct capture *p)
{
    if (!p->ordered) /* else it says how writes are kept */
        close_theirs(p);
}

/* Asks for less than a read of both ends would cost where there is nothing. */
static bool
has_rest(const struct capture *p)
{
    return p->ordered && (p->n_order > 0 || bytes_in(&p->ends[0]) > 0 ||
                          bytes_in(&p->ends[1]) > 0);
}

void
capture_drain(struct capture *p)
{
    young_remove(p);
    for (int i = 0; i < READS_AT_END && has_rest(p); i++)
        (void)read_both(p, READS_AT_ONCE, true);
    for (int i = 0; i < 2; i++) {
        if (!p->ordered)
            (void)end_read(&p->ends[i], READS_AT_END, true);
        close_end(&p->ends[i]);
    }
}

void
capture_close(struct capture *p)
{
    if (!p->reader)
        return;
    young_remove(p);
    close_theirs(p);
    /* Notes of these ends must not count for others of their numbers. */
    if (p->ordered && (p->ends[0].fd >= 0 || p->ends[1].fd >= 0))
        collect(p->reader);
    close_end(&p->ends[0]);
    close_end(&p->ends[1]);
    for (int i = 0; i < 2; i++) {
        str_free(&p->ends[i].held);
        mem_free(p->ends[i].lengths);
    }
    mem_free(p->order);
    p->reader->n_open--;
    p->reader = NULL;
}
