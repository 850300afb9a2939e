/*
 * mask_private - what the parts of mask share.
 *
 *   mask.c        the set, the search, streams
 *   mask_shape.c  what secrets look like
 *   mask_name.c   names of variables, commands
 */
#ifndef LIB_BASE_MASK_PRIVATE_H
#define LIB_BASE_MASK_PRIVATE_H

#include "lib/base/mask.h"

#include <stdint.h>

enum mask_kind {
    MASK_VALUE,  /* the text itself */
    MASK_TOKEN,  /* a prefix, then at least so many bytes of a class */
    MASK_EXACT,  /* a prefix, then exactly so many */
    MASK_JWT,    /* three parts */
    MASK_PEM,    /* a private key in lines */
    MASK_URL,    /* the password before a host */
    MASK_HEADER, /* the value of an Authorization header */
};

/* The bytes of which a secret's body consists. */
enum mask_body {
    MASK_CLOSED,  /* none: it has ended */
    MASK_ALNUM,   /* letters and digits */
    MASK_WORD,    /* and _ */
    MASK_DASHED,  /* and - */
    MASK_DOTTED,  /* and . */
    MASK_UPPER,   /* A-Z, 0-9 */
    MASK_TOKEN68, /* what a header's value has */
    MASK_KEY,     /* lines of a private key, see mask_shape_rest */
};

struct mask_pattern {
    const char *text;
    uint32_t len;
    uint8_t at; /* the two pairs of bytes from here on are looked for */
    enum mask_kind kind;
    enum mask_body body;
    uint16_t least; /* bytes of the body */
    bool digit;     /* of which one is a digit */
    bool apart;     /* not within a word */
};

enum mask_verdict { MASK_NO, MASK_PARTIAL, MASK_YES };

/* A place in a text. */
struct mask_place {
    const uint8_t *text;
    size_t len, start;         /* of the text; where the pattern begins */
    const unsigned char *last; /* two bytes before the text */
    bool whole;                /* nothing follows the text */
};

struct mask_hit {
    size_t at, len; /* what to hide, in the text; at is valid if partial */
    unsigned open;  /* how it goes on behind the text; enum mask_body */
};

extern const struct mask_pattern mask_shapes[];
extern const size_t mask_n_shapes;

/* The pattern's text stands at the place, as far as the text goes. */
enum mask_verdict mask_shape_match(const struct mask_pattern *p,
                                   const struct mask_place *at,
                                   struct mask_hit *out);
/* Bytes at the front of text that belong to a secret which goes on; *open is
 * MASK_CLOSED once it has ended. */
size_t mask_shape_rest(unsigned *open, const uint8_t *text, size_t len);

#endif
