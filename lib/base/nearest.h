/*
 * nearest - "did you mean": the known word nearest to a misspelt one.
 *
 * Thread: any.
 */
#ifndef LIB_BASE_NEAREST_H
#define LIB_BASE_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

/* Whether candidate is near enough to word to be what was meant, and nearer
 * than *least, which then says how near. *least begins as SIZE_MAX. */
bool nearest_is(const char *word, const char *candidate, size_t *least);

/* The nearest of names, which NULL ends; NULL if none is near enough. */
const char *nearest_of(const char *word, const char *const *names);

#endif
