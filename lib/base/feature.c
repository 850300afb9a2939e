/*
 * Reads SHUNT_WITHOUT once per process into a bit set, so that a check per
 * message costs nothing.
 */
#include "lib/base/feature.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    [FEATURE_COALESCE] = "coalesce", [FEATURE_ROW_CACHE] = "row_cache",
    [FEATURE_MULTI] = "multi",       [FEATURE_RESULTS] = "results",
    [FEATURE_PREFETCH] = "prefetch", [FEATURE_EARLY] = "early",
    [FEATURE_FSYNC] = "fsync",       [FEATURE_TCP] = "tcp",
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned off; /* bit f: without feature f */

static void
read_environment(void)
{
    const char *at = getenv("SHUNT_WITHOUT");

    while (at && *at) {
        size_t len = strcspn(at, ",");

        for (size_t f = 0; f < sizeof names / sizeof *names; f++)
            if (strlen(names[f]) == len && strncmp(at, names[f], len) == 0)
                off |= 1u << f;
        at += len + (at[len] == ',');
    }
}

bool
feature_on(enum feature f)
{
    (void)pthread_once(&once, read_environment);
    return !(off & 1u << f);
}
