/*
 * terminal - what of a program's output may reach a terminal: text, newlines,
 * tabs, carriage returns, backspaces and colours.
 *
 * Everything else that moves the cursor, draws, sets titles, writes the
 * clipboard or asks the terminal to answer is dropped, whether it is written in
 * 7 or 8 bits, and so are marks that change the direction of text. Output may
 * come in pieces, cut anywhere.
 *
 * Thread: any; a struct terminal belongs to one thread at a time.
 */
#ifndef LIB_BASE_TERMINAL_H
#define LIB_BASE_TERMINAL_H

#include "lib/base/str.h"

enum {
    TERMINAL_SEQUENCE_MAX = 64, /* a longer one is dropped */
    TERMINAL_STRING_MAX = 4096, /* of a title or the like without an end */
};

/* Zero-initialized is the beginning. */
struct terminal {
    enum {
        TERMINAL_TEXT,
        TERMINAL_ESCAPE,       /* after ESC */
        TERMINAL_INTERMEDIATE, /* after ESC and bytes that need a final one */
        TERMINAL_SEQUENCE,     /* after ESC [ */
        TERMINAL_STRING,       /* up to its end, BEL or ESC \ */
    } state;
    char sequence[TERMINAL_SEQUENCE_MAX]; /* its parameters */
    size_t length;         /* of the sequence or the string so far */
    unsigned char part[4]; /* of a character that is not complete */
    size_t n_part;
    bool coloured; /* colours are on */
};

/* Adds to out what of data may be shown. */
void terminal_add(struct terminal *t, const void *data, size_t len,
                  struct str *out);

/* Adds what ends the colours, if some are on; t is as at the beginning. */
void terminal_end(struct terminal *t, struct str *out);

#endif
