/*
 * Finds the folder for state by the XDG base directory rules: a path in the
 * environment that is not absolute is ignored.
 */
#include "lib/os/state_path.h"

#include <stdio.h>
#include <stdlib.h>

int
state_path(char *out, size_t size, const char *name, const char *setting,
           struct err *e)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    const char *slash = *name ? "/" : "";
    int n;

    if (state && *state == '/')
        n = snprintf(out, size, "%s/shunt%s%s", state, slash, name);
    else if (home && *home == '/')
        n = snprintf(out, size, "%s/.local/state/shunt%s%s", home, slash, name);
    else
        return err_set(e, ERR_INVALID,
                       "set %s or HOME: there is no place for state", setting);
    if (n < 0 || (size_t)n >= size)
        return err_set(e, ERR_INVALID, "%s is too long", setting);
    return 0;
}
