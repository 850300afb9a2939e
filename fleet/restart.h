/*
 * restart - when a daemon of `shunt up` that has ended is started again: after
 * a pause that doubles from 0.5 s to 30 s, and starts over once a daemon has
 * lived for a minute. Pure: how long it lived arrives as an argument.
 *
 * Thread: any.
 */
#ifndef FLEET_RESTART_H
#define FLEET_RESTART_H

#include <stdint.h>

/* The restarts of one daemon; zero-initialized is a daemon never restarted. */
struct restart {
    int64_t last_ms; /* the last pause; 0: none yet */
};

/* The pause before the next start of a daemon that ended after lived_ms. */
int64_t restart_pause(struct restart *r, int64_t lived_ms);

/* The pause after a start that failed, as of a missing program: the longest. */
int64_t restart_pause_longest(struct restart *r);

#endif
