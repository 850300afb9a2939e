/*
 * glob - path patterns with the syntax of git's wildmatch, and whether two of
 * them can match the same file.
 *
 *   *       any characters except /
 *   ?       one character except /
 *   [a-z]   one of these; [!a-z] one that is not; never /
 *   **      a whole component: any number of folders; at the end, everything
 *           below
 *   \x      x itself
 *
 * A pattern is relative to the top of the working directory; a leading / or ./
 * changes nothing. An ambiguous pattern has the wider meaning, so that two
 * owners never share a file by a misunderstanding:
 *
 *   src/api   matches the file, or everything below the folder of that name
 *   *.md      matches in every folder, as in .gitignore
 *
 * Thread: any.
 */
#ifndef LIB_BASE_GLOB_H
#define LIB_BASE_GLOB_H

#include "lib/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { GLOB_MAX = 255 }; /* bytes of a pattern */

/* Checks a pattern; the error says what is wrong, not where. */
int glob_check(const char *pattern, struct err *e);

/* Whether a checked pattern matches that path. */
bool glob_match(const char *pattern, const char *path);

/*
 * Whether two checked patterns match a common path, which is written to example
 * (size bytes, cut if necessary). Time and memory are proportional to the
 * product of the patterns' lengths.
 */
bool glob_overlap(const char *a, const char *b, char *example, size_t size);

#endif
