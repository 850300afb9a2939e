/*
 * state_path - where programs keep what must survive them.
 */
#ifndef LIB_OS_STATE_PATH_H
#define LIB_OS_STATE_PATH_H

#include "lib/base/err.h"

#include <stddef.h>

/*
 * Writes the path of name below $XDG_STATE_HOME/shunt, or without that below
 * ~/.local/state/shunt; of the folder itself for "". Touches no file. setting
 * is what would have named the path, for the message. ERR_INVALID: HOME is not
 * set, or the path is too long.
 */
int state_path(char *out, size_t size, const char *name, const char *setting,
               struct err *e);

#endif
