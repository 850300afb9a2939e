/*
 * formats - the importers: text in one of the formats people and planners
 * write, to tasks. Pure: no clock, no I/O. docs/formats.md describes them.
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
    const char *format; /* as lint names it: "job.json", "codex-brief", ... */
    struct task *tasks; /* one or more, in pool */
    size_t n_tasks;
    /* The tasks are one batch. What comes after another of them names it by
     * its position, from "1", until formats_link. */
    bool linked;
    const char **warnings; /* "name:line:column: ..." */
    size_t n_warnings;
};

/*
 * Recognises the format by content and reads it; the ending of name decides
 * only where the content leaves it open: text without front matter is a prompt
 * if name ends in .md. name (a path or "-") stands in errors, with line and
 * column, the field and the remedy: "name:line:column: field: ...".
 *
 * On -1 out has no tasks, but the warnings found so far.
 */
int formats_read(const char *name, const void *data, size_t len,
                 struct mem_pool *pool, struct import *out, struct err *e);

/* Gives the tasks of a batch fresh ids, and the batch one, and names by id
 * what they come after. To be called once by whoever submits them; does
 * nothing to tasks that are no batch. */
void formats_link(struct import *in, struct mem_pool *pool);

#endif
