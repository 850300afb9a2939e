/*
 * tape - the last bytes of an output, and which stream each came from.
 *
 * Memory is allocated with the first bytes and grows up to the bounds.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_TAPE_H
#define WORKERS_CORE_TAPE_H

#include "lib/model/task.h"

/* Bytes in a row from one stream. */
struct run_of {
    uint32_t stream, len;
};

/* Set most and run_most; the rest begins as zero. */
struct tape {
    uint8_t *data;
    size_t at, len, cap, most; /* ring: first byte, count, size, bound */
    struct run_of *runs;
    size_t run_at, n_runs, run_cap, run_most;
};

void tape_free(struct tape *t);

/* Adds to the end, and forgets at the front what does not fit any more. */
void tape_add(struct tape *t, enum stream stream, const uint8_t *data,
              size_t len);

/* Forgets n bytes from the front. */
void tape_drop(struct tape *t, size_t n);

/* Bytes from skip on, at most most, that do not end within a character. */
size_t tape_cut(struct tape *t, size_t skip, size_t most);

/* The first place from skip on that is not within a character. */
size_t tape_start(struct tape *t, size_t skip);

/* Parts for len bytes from skip on, pointing into the tape one behind the
 * other, with room for n_runs of them; valid until the next call. */
size_t tape_parts(struct tape *t, size_t skip, size_t len,
                  struct output_part *out);

#endif
