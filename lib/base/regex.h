/*
 * regex - POSIX extended regular expressions over the bytes of one line. The
 * pattern alone bounds the memory; the time is proportional to the line.
 *
 *   . [a-z] [^a-z] [[:digit:]] \d \D \s \S \w \W   one byte
 *   ^ $                                            the ends of the line
 *   a|b (a) a* a+ a? a{3} a{3,} a{3,5}             as in grep -E
 *   \.                                             the character itself
 *
 * Patterns and texts come from outside, and the C library's regcomp and regexec
 * let them take unbounded memory: a pattern by nested repetitions, a text
 * because each set of states is cached. There are no back-references.
 *
 * Thread: any, but one pattern belongs to one thread at a time.
 */
#ifndef LIB_BASE_REGEX_H
#define LIB_BASE_REGEX_H

#include "lib/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    REGEX_MAX = 256, /* bytes of a pattern */
    REGEX_OPS = 512, /* of a pattern with its repetitions expanded */
};

struct regex;

/* On 0 the caller owns *out. The error says what is wrong, not where. */
int regex_new(struct regex **out, const char *text, struct err *e);
void regex_free(struct regex *p); /* NULL is fine */

/* Whether some part of the line matches. */
bool regex_finds(struct regex *p, const char *line, size_t len);

#endif
