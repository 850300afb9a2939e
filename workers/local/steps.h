/*
 * steps - the program and arguments of a step.
 *
 * Thread: any; a pool belongs to one thread at a time.
 */
#ifndef WORKERS_LOCAL_STEPS_H
#define WORKERS_LOCAL_STEPS_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/model/task.h"

#include <stdbool.h>

struct step_exec {
    const char **argv; /* ends with NULL; the program is argv[0] */
    int in;            /* its input, the caller's to close; -1: none */
    bool simple;       /* a script that is executed without a shell */
};

/*
 * Memory from pool. exec_simple: execute a simple command without shell. On -1
 * the step cannot be expressed (ERR_INVALID), and argv is NULL.
 */
int step_exec(const struct step *s, const char *shell, bool exec_simple,
              struct mem_pool *pool, struct step_exec *out, struct err *e);

#endif
