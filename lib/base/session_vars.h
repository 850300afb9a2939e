/*
 * session_vars - environment variables that belong to the session somebody sits
 * in, and never to a task or a daemon started from it: of git (which
 * repository, whose commit), of agents, editors, multiplexers and terminals.
 *
 * Thread: any.
 */
#ifndef LIB_BASE_SESSION_VARS_H
#define LIB_BASE_SESSION_VARS_H

#include <stdbool.h>

/* entry: NAME=value, or the name alone. */
bool session_vars_has(const char *entry);

/* Those of git alone. */
bool session_vars_is_git(const char *entry);

/* Those that a task takes along from where it is submitted: where programs are
 * found (PATH, VIRTUAL_ENV, CONDA_PREFIX, NVM_*, JAVA_HOME), language and time
 * zone. */
bool session_vars_travels(const char *entry);

#endif
