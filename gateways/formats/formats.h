/*
 * formats - the importers: text in one of the formats people and planners
 * write, to a task. Pure: no clock, no I/O.
 *
 * Thread: any.
 */
#ifndef GATEWAYS_FORMATS_FORMATS_H
#define GATEWAYS_FORMATS_FORMATS_H

#include "lib/err.h"
#include "lib/mem.h"
#include "lib/task.h"

#include <stddef.h>

enum { FORMATS_MAX_BYTES = 1024 * 1024 };

struct import {
    const char *format; /* "job.json", "task.json" */
    struct task *tasks; /* one or more, in pool */
    size_t n_tasks;
    const char **warnings; /* unknown keys, "file:line: ..." where known */
    size_t n_warnings;
};

/*
 * Recognises the format by content and reads it. name (a path or "-") stands
 * in errors, with line and column where the format has them, the field and the
 * remedy.
 */
int formats_read(const char *name, const void *data, size_t len,
                 struct mem_pool *pool, struct import *out, struct err *e);

#endif
