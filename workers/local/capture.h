/*
 * capture - reads the output of an attempt's steps from two pipes.
 *
 * Only the pipes of attempts that live longer are watched; those of a short one
 * are read once, at its end. While the output is full nothing is read, so that
 * the writer has to wait.
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

/* Shared by all attempts of a worker: a buffer, a timer. */
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
    } ends[2]; /* standard output, standard error */
    int64_t began_ms;
    bool young; /* not watched yet */
};

/* Opens both pipes. Call capture_close even after -1. */
int capture_open(struct capture *p, struct capture_reader *r,
                 struct attempt_output *output, struct err *e);
/* Starts watching them, after a short delay. */
void capture_watch(struct capture *p);
/* Closes the write ends: no further step gets them. */
void capture_close_theirs(struct capture *p);
/* No writer is alive: reads the rest, even if the output is full, as it is
 * little, and closes the read ends. */
void capture_drain(struct capture *p);
void capture_close(struct capture *p);

#endif
