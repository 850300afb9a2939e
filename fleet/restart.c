/*
 * The last pause is all the state there is: the next is twice as long.
 */
#include "fleet/restart.h"

#include "lib/base/backoff.h"

enum {
    PAUSE_MS = 500,
    PAUSE_MAX_MS = 30000,
    STEADY_MS = 60000, /* a life this long ends a series of failures */
};

int64_t
restart_pause(struct restart *r, int64_t lived_ms)
{
    r->last_ms = backoff_next(lived_ms < STEADY_MS ? r->last_ms : 0, PAUSE_MS,
                              PAUSE_MAX_MS);
    return r->last_ms;
}

int64_t
restart_pause_longest(struct restart *r)
{
    r->last_ms = PAUSE_MAX_MS;
    return PAUSE_MAX_MS;
}
