/*
 * The pause that comes next is all the state there is: restart_pause hands it
 * out and doubles it.
 */
#include "fleet/restart.h"

enum {
    PAUSE_MS = 500,
    PAUSE_MAX_MS = 30000,
    STEADY_MS = 60000, /* a life this long ends a series of failures */
};

int64_t
restart_pause(struct restart *r, int64_t lived_ms)
{
    int64_t pause =
        lived_ms >= STEADY_MS || !r->next_ms ? PAUSE_MS : r->next_ms;

    r->next_ms = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
    return pause;
}

int64_t
restart_pause_longest(struct restart *r)
{
    r->next_ms = PAUSE_MAX_MS;
    return PAUSE_MAX_MS;
}
