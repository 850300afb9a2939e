/*
 * formats_private - what the importers share; each has one reader.
 *
 * Thread: any.
 */
#ifndef GATEWAYS_FORMATS_FORMATS_PRIVATE_H
#define GATEWAYS_FORMATS_FORMATS_PRIVATE_H

#include "gateways/formats/formats.h"

#include <jansson.h>

enum { FORMATS_WARNINGS_MAX = 100 }; /* more would only repeat themselves */

/* One text being read. */
struct source {
    const char *name; /* in errors: a path or "-" */
    const char *text;
    size_t len;
    struct mem_pool *pool;
    struct import *out;
};

/* Adds "name:line: text" with the line of key, a key of the outermost object;
 * NULL: without a line. The text is copied. */
void formats_warn(struct source *s, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The line of a key of the outermost JSON object, from 1; 0: not found. */
size_t formats_key_line(const struct source *s, const char *key);

/* "name:line: key: ..." as an error. */
int formats_key_error(const struct source *s, const char *key, struct err *e,
                      const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A zeroed task with all texts "" and its origin set, as the one result. */
struct task *formats_new_task(struct source *s, const char *format);

/* json is an object. */
int formats_read_job_json(struct source *s, const json_t *json, struct err *e);
int formats_read_task_json(struct source *s, const json_t *json, struct err *e);

#endif
