/*
 * capture - what the steps of an attempt print, read from two pipes into its
 * sink.
 *
 * Most short attempts are over before they are looked at, and are read once, at
 * their end: only those that live longer have their pipes watched. While the
 * sink is full nothing is read, so that who prints has to wait.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_LOCAL_CAPTURE_H
#define WORKERS_LOCAL_CAPTURE_H

#include "lib/io/loop.h"
#include "workers/core/output.h"

#include <stdbool.h>
#include <stdint.h>

/* What all attempts of a worker share: memory, a timer. */
struct pipes_reader;

struct pipes_reader *capture_reader_new(struct loop *l);
/* Its pipes are closed before. NULL is fine. */
void capture_reader_free(struct pipes_reader *r);

/* The two pipes of an attempt; private but for theirs. */
struct capture {
    struct capture *next, *prev; /* of the young ones */
    struct pipes_reader *reader;
    struct sink *sink;
    struct pipe_end {
        struct capture *pipes;
        enum stream stream;
        int fd;     /* ours; -1: closed */
        int theirs; /* for the steps to write to; -1: closed */
        struct loop_fd *watch;
    } ends[2]; /* standard output, standard error */
    int64_t began_ms;
    bool young; /* not watched yet */
};

/* Opens both. After -1, too, capture_close is due. */
int capture_open(struct capture *p, struct pipes_reader *r, struct sink *sink,
                 struct err *e);
/* From now on they are read, once some time has passed. */
void capture_watch(struct capture *p);
/* No further step is to get their ends. */
void capture_close_theirs(struct capture *p);
/* Nothing is alive that would print more: takes what is still there, room or
 * not, as it is little, and closes our ends. */
void capture_drain(struct capture *p);
void capture_close(struct capture *p);

#endif
