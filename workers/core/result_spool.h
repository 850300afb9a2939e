/*
 * result_spool - a folder of outcomes that the broker has not confirmed.
 *
 * A file <task>-<attempt> holds the claim in its last form and the result with
 * its output. It is written as .tmp, synced and renamed: a file under its final
 * name is complete, and survives a power cut once result_spool_sync has
 * returned.
 *
 * Normally nothing is written here: the claim in the bucket has the outcome a
 * round trip after the end of the run, and a file per task would cost a sync
 * each. The folder is for runs that end while the broker is away, or so slow
 * that it has confirmed nothing for a while.
 *
 * A file that is superseded, or cannot be read, is kept in superseded/, the
 * newest RESULT_SPOOL_KEPT of them.
 *
 * Thread: the loop thread. Writing blocks for a sync: a few milliseconds, at a
 * time when there is hardly a broker to serve.
 */
#ifndef WORKERS_CORE_RESULT_SPOOL_H
#define WORKERS_CORE_RESULT_SPOOL_H

#include "lib/base/err.h"
#include "lib/model/subject.h"
#include "lib/model/task.h"

#include <stddef.h>

enum {
    RESULT_SPOOL_NAME_SIZE = SUBJECT_TOKEN_MAX + 16,
    RESULT_SPOOL_KEPT = 100, /* in superseded/ */
};

struct spooled_result {
    const char *subject; /* of the result */
    struct claim claim;
    struct result result;
};

/* The name of an attempt's file. */
char *result_spool_name(char out[RESULT_SPOOL_NAME_SIZE], const char *task,
                        uint32_t attempt);

/* Writes or replaces a file. ERR_UNAVAILABLE: the disk is full, or worse. */
int result_spool_put(const char *dir, const struct spooled_result *r,
                     struct err *e);
/* Makes the names of all files put so far durable. */
int result_spool_sync(const char *dir, struct err *e);

/* Reads a file; memory from pool. ERR_INVALID: it is not an outcome. */
int result_spool_load(const char *dir, const char *name, struct mem_pool *pool,
                      struct spooled_result *out, struct err *e);

/* The names of all files, from pool; NULL-terminated. */
const char **result_spool_list(const char *dir, struct mem_pool *pool);

void result_spool_remove(const char *dir, const char *name);
void result_spool_set_aside(const char *dir, const char *name);

#endif
