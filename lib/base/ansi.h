/*
 * ansi - bytes of a terminal, cut into lines of text: without escape
 * sequences (colours, titles), ended by LF, CR or CRLF.
 *
 * Memory is bounded: what is longer than LINES_MAX comes in pieces.
 *
 * Thread: any; a struct lines belongs to one thread at a time.
 */
#ifndef LIB_BASE_ANSI_H
#define LIB_BASE_ANSI_H

#include "lib/base/str.h"

enum { LINES_MAX = 64 * 1024 };

typedef void lines_fn(void *ctx, const char *line, size_t len);

enum lines_state {
    LINES_TEXT,
    LINES_ESCAPE,   /* behind ESC */
    LINES_SEQUENCE, /* behind ESC [ */
    LINES_STRING,   /* behind ESC ], to BEL or ESC \ */
};

/* Zero-initialized is empty. */
struct lines {
    struct str line;
    enum lines_state state;
    bool after_cr;
};

/* Calls fn for each line that has ended. */
void lines_add(struct lines *l, const void *data, size_t len, lines_fn *fn,
               void *ctx);
/* The last line, if nothing ended it; frees the memory. */
void lines_end(struct lines *l, lines_fn *fn, void *ctx);

#endif
