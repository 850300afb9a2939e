/*
 * Attempts younger than WATCH_MS are in a list, the oldest first, with one
 * timer for all; when it fires, their pipes are watched. So a short attempt
 * costs no watch.
 */
#include "workers/local/capture.h"

#include "lib/base/mem.h"
#include "lib/os/proc.h"

#include <errno.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,
    READS_AT_ONCE = 8, /* per turn of the loop */
    READS_AT_END = 64, /* an escaped process may write forever */
    WATCH_MS = 20,     /* age at which pipes are watched */
};

struct capture_reader {
    struct loop *loop;
    TAILQ_HEAD(, capture) young; /* not watched yet, the oldest first */
    struct loop_timer *watch;    /* until the oldest of them must be watched */
    bool watching;               /* the timer is set */
    char buf[READ_BYTES];
};

struct capture_reader *
capture_reader_new(struct loop *l)
{
    struct capture_reader *r = MEM_NEW(struct capture_reader);

    r->loop = l;
    TAILQ_INIT(&r->young);
    return r;
}

void
capture_reader_free(struct capture_reader *r)
{
    if (!r)
        return;
    loop_timer_stop(r->watch);
    mem_free(r);
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

/* Reads at most reads times, on request also when the output is full; false if
 * it is. */
static bool
end_read(struct pipe_end *end, int reads, bool beyond_full)
{
    struct capture_reader *r = end->pipes->reader;
    bool room = true;
    ssize_t n;

    while (end->fd >= 0 && reads-- > 0 && (room || beyond_full)) {
        n = read(end->fd, r->buf, sizeof r->buf);
        if (n > 0)
            room = output_write(end->pipes->output, end->stream, r->buf,
                                (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            loop_fd_close(&end->watch, &end->fd);
        else
            break;
    }
    return room;
}

static void
on_readable(void *ctx)
{
    struct pipe_end *end = ctx;

    if (!end_read(end, READS_AT_ONCE, false))
        pause_reading(end->pipes);
}

static void
end_drain(struct pipe_end *end)
{
    (void)end_read(end, READS_AT_END, true);
    loop_fd_close(&end->watch, &end->fd);
}

/* --- young captures ------------------------------------------------------- */

static void on_watch(void *ctx);

static void
set_watch(struct capture_reader *r, int64_t now)
{
    int64_t delay_ms = TAILQ_FIRST(&r->young)->began_ms + WATCH_MS - now;

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
on_watch(void *ctx)
{
    struct capture_reader *r = ctx;
    int64_t now = loop_now_ms();
    struct capture *p;

    r->watching = false;
    while ((p = TAILQ_FIRST(&r->young)) && p->began_ms + WATCH_MS <= now) {
        young_remove(p);
        for (int i = 0; i < 2; i++) {
            struct pipe_end *end = &p->ends[i];

            end->watch = loop_fd_start(r->loop, end->fd, on_readable, end);
        }
    }
    if (!TAILQ_EMPTY(&r->young))
        set_watch(r, now);
}

/* --- one attempt ---------------------------------------------------------- */

int
capture_open(struct capture *p, struct capture_reader *r,
             struct attempt_output *output, struct err *e)
{
    *p = (struct capture){.reader = r, .output = output};
    for (int i = 0; i < 2; i++)
        p->ends[i] =
            (struct pipe_end){.pipes = p,
                              .stream = i == 0 ? STREAM_STDOUT : STREAM_STDERR,
                              .fd = -1,
                              .theirs = -1};
    for (int i = 0; i < 2; i++)
        if (proc_pipe(&p->ends[i].fd, &p->ends[i].theirs, e) < 0)
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

void
capture_close_theirs(struct capture *p)
{
    for (int i = 0; i < 2; i++) {
        if (p->ends[i].theirs >= 0)
            (void)close(p->ends[i].theirs);
        p->ends[i].theirs = -1;
    }
}

void
capture_drain(struct capture *p)
{
    young_remove(p);
    end_drain(&p->ends[0]);
    end_drain(&p->ends[1]);
}

void
capture_close(struct capture *p)
{
    young_remove(p);
    capture_close_theirs(p);
    loop_fd_close(&p->ends[0].watch, &p->ends[0].fd);
    loop_fd_close(&p->ends[1].watch, &p->ends[1].fd);
}
