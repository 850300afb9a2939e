/*
 * json_fault - why a text is not JSON, for whoever wrote it: comments, commas,
 * quotes, words, brackets, and what else is often wrong.
 *
 * Thread: any.
 */
#ifndef LIB_BASE_JSON_FAULT_H
#define LIB_BASE_JSON_FAULT_H

#include <stdbool.h>
#include <stddef.h>

enum { JSON_FAULT_SIZE = 160 };

struct json_fault {
    size_t at;                     /* offset in the text */
    char message[JSON_FAULT_SIZE]; /* what is wrong; the remedy */
};

/* Finds the first mistake of a text that a parser refused; false: none that is
 * known here. */
bool json_fault_find(const char *text, size_t len, struct json_fault *out);

#endif
