/*
 * glob - patterns of paths, as git's wildmatch reads them, and whether two of
 * them can mean the same file.
 *
 *   *       any characters but /
 *   ?       one of them
 *   [a-z]   one of these; [!a-z] none of these; never /
 *   **      a whole component: any number of folders; at the end, everything
 *           below
 *   \x      x itself
 *
 * A pattern is relative to the top of the work; a leading / or ./ says so
 * again. Where people differ on what is meant, the wider meaning holds, so
 * that two owners never share a file by a misunderstanding:
 *
 *   src/api   is the file, or everything below the folder of that name
 *   *.md      is in every folder, as in .gitignore
 *
 * Thread: any.
 */
#ifndef LIB_BASE_GLOB_H
#define LIB_BASE_GLOB_H

#include "lib/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { GLOB_MAX = 255 }; /* bytes of a pattern */

/* Whether it is a pattern; the error says what is wrong, not where. */
int glob_check(const char *pattern, struct err *e);

/* Whether a checked pattern means that path. */
bool glob_match(const char *pattern, const char *path);

/*
 * Whether some path is meant by both of two checked patterns. That path is
 * written to example (size bytes, cut if need be). Takes time and memory in
 * proportion to the product of the patterns' lengths.
 */
bool glob_overlap(const char *a, const char *b, char *example, size_t size);

#endif
