/*
 * ansi - splits terminal output into lines of text: strips escape sequences
 * (colours, titles) and ends lines at LF, CR or CRLF.
 *
 * Memory is bounded: a line longer than ANSI_MAX is passed on in pieces.
 *
 * Thread: any; a struct ansi belongs to one thread at a time.
 */
#ifndef LIB_BASE_ANSI_H
#define LIB_BASE_ANSI_H

#include "lib/base/str.h"

enum { ANSI_MAX = 64 * 1024 };

typedef void ansi_fn(void *ctx, const char *line, size_t len);

enum ansi_state {
    ANSI_TEXT,
    ANSI_ESCAPE,   /* after ESC */
    ANSI_SEQUENCE, /* after ESC [ */
    ANSI_STRING,   /* after ESC ], up to BEL or ESC \ */
};

/* Zero-initialized is empty. */
struct ansi {
    struct str line;
    enum ansi_state state;
    bool after_cr;
};

/* Calls fn for each complete line. */
void ansi_add(struct ansi *l, const void *data, size_t len, ansi_fn *fn,
              void *ctx);
/* Passes on the last line if it is unterminated; frees the memory. */
void ansi_end(struct ansi *l, ansi_fn *fn, void *ctx);

#endif
