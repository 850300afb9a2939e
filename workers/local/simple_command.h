/*
 * simple_command - recognizes commands that need no shell.
 *
 * A simple command is one line of plain or plainly quoted words whose first is
 * neither assignment nor builtin nor keyword: executing it directly does what
 * the shell would do, at half the cost. When in doubt it is not simple.
 *
 * Thread: any.
 */
#ifndef WORKERS_LOCAL_SIMPLE_COMMAND_H
#define WORKERS_LOCAL_SIMPLE_COMMAND_H

#include "lib/base/mem.h"

#include <stddef.h>

/*
 * The words of script in an array from pool that ends with NULL, or NULL if
 * script is not a simple command.
 */
const char **simple_command_words(const char *script, struct mem_pool *pool);

/* The words of arguments (of make, of kubectl), with any first word; NULL if
 * they are not plain. */
const char **simple_command_args(const char *text, struct mem_pool *pool);

#endif
