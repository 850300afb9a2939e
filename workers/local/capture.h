/*
 * capture - reads the output of an attempt's steps from two pipes, in the order
 * in which they wrote it.
 *
 * Only the pipes of attempts that live longer are watched; those of a short one
 * are read once, at its end. While the output is full nothing is read, so that
 * the writer has to wait.
 *
 * Where the system tells the order of writes (lib/os/os.h), both streams keep
 * it: exactly while the pipes have room for what is not read yet, which is for
 * 64 writes each of up to a page. A writer that is faster than that, or writes
 * more at once, may find a line a few places off, never in the wrong stream. A
 * stream that has written much while the other was silent is read in bulk until
 * the other speaks again. Elsewhere what is read together comes as standard
 * output, then standard error.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_CAPTURE_H
#define WORKERS_LOCAL_CAPTURE_H

#include "lib/io/loop.h"
#include "workers/core/output.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* Shared by all attempts of a worker: a buffer, a timer, the order of writes.
 */
struct capture_reader;

struct capture_reader *capture_reader_new(struct loop *l);
/* Close all captures first. NULL is fine. */
void capture_reader_free(struct capture_reader *r);

/* The two pipes of an attempt; only theirs is public. */
struct capture {
    TAILQ_ENTRY(capture) link; /* in the reader's list of young ones */
    struct capture_reader *reader;
    struct attempt_output *output;
    struct pipe_end {
        struct capture *pipes;
        enum stream stream;
        int fd;     /* read end; -1: closed */
        int theirs; /* write end, for the steps; -1: closed */
        struct loop_fd *watch;
        size_t slots;    /* writes that fit into the pipe */
        struct str held; /* writes read and not passed on, with lengths */
        uint32_t *lengths;
        size_t n_held, cap_held, at_held, passed;
        size_t noted;     /* in order */
        bool late;        /* the next note tells of what was passed on */
        uint64_t n_read;  /* writes, in all */
        uint64_t wait_at; /* with this one the pipe was full */
        bool waits;       /* notes of a writer that waits were left out */
        bool doubtful;    /* else there may be one of it */
        uint64_t alone;   /* bytes while the other end was silent */
        bool bulk;        /* its writes are not kept apart now */
    } ends[2];            /* standard output, standard error */
    bool ordered;         /* the order of writes is known */
    uint8_t *order;       /* the ends written to, by number, the oldest first */
    size_t n_order, cap_order;
    int64_t began_ms;
    bool young; /* not watched yet */
};

/* Opens both pipes. Call capture_close even after -1. */
int capture_open(struct capture *p, struct capture_reader *r,
                 struct attempt_output *output, struct err *e);
/* Starts watching them, after a short delay. */
void capture_watch(struct capture *p);
/* No further step gets the write ends. */
void capture_close_theirs(struct capture *p);
/* No writer is alive: reads the rest, even if the output is full, as it is
 * little, and closes the read ends. */
void capture_drain(struct capture *p);
void capture_close(struct capture *p);

#endif
