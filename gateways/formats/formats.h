/*
 * formats - the importers: turn text in one of the formats that people and
 * planners write into tasks. Pure: no clock, no I/O. docs/formats.md describes
 * them.
 *
 * Thread: any.
 */
#ifndef GATEWAYS_FORMATS_FORMATS_H
#define GATEWAYS_FORMATS_FORMATS_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/model/task.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    FORMATS_MAX_BYTES = 1024 * 1024,
    FORMATS_MAX_TASKS = 1000, /* of one text */
};

struct import {
    const char *format; /* its name in lint: "job.json", "codex-brief", ... */
    struct task *tasks; /* one or more, in pool */
    size_t n_tasks;
    /* The tasks are one batch. Until formats_link, a task names those it comes
     * after by their position, from "1". */
    bool linked;
    const char **warnings; /* "name:line:column: ..." */
    size_t n_warnings;
};

/*
 * Recognizes the format by content and reads it; the suffix of name decides
 * only where the content does not: text without front matter is a prompt if
 * name ends in .md. name (a path or "-") appears in errors, with line and
 * column, the field and the remedy: "name:line:column: field: ...".
 *
 * On -1 out has no tasks, only the warnings found so far.
 */
int formats_read(const char *name, const void *data, size_t len,
                 struct mem_pool *pool, struct import *out, struct err *e);

/* Gives a batch that id and its tasks ids derived from it, or fresh ones if id
 * is NULL, and replaces positions in after by ids. To be called once by the
 * submitter; does nothing to tasks that are not a batch. */
void formats_link(struct import *in, const char *id, struct mem_pool *pool);

#endif
