/*
 * ansi - bytes of a terminal, cut into lines of text: without escape
 * sequences (colours, titles), ended by LF, CR or CRLF.
 *
 * Memory is bounded: what is longer than ANSI_MAX comes in pieces.
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
    ANSI_ESCAPE,   /* behind ESC */
    ANSI_SEQUENCE, /* behind ESC [ */
    ANSI_STRING,   /* behind ESC ], to BEL or ESC \ */
};

/* Zero-initialized is empty. */
struct ansi {
    struct str line;
    enum ansi_state state;
    bool after_cr;
};

/* Calls fn for each line that has ended. */
void ansi_add(struct ansi *l, const void *data, size_t len, ansi_fn *fn,
              void *ctx);
/* The last line, if nothing ended it; frees the memory. */
void ansi_end(struct ansi *l, ansi_fn *fn, void *ctx);

#endif
