/*
 * reaper_env - the reaper's settings in a fleet of one machine: what the
 * configuration says, else the defaults of such a fleet, as variables for the
 * daemons.
 *
 * Its HTTP server is for this user alone: a socket in the state folder, mode
 * 0600, and a port on loopback that requires a token.
 *
 * Thread: the loop thread.
 */
#ifndef FLEET_REAPER_ENV_H
#define FLEET_REAPER_ENV_H

#include "fleet/daemon_env.h"
#include "lib/io/loop.h"

/* For `shunt status`; "" where there is none. */
struct reaper_http {
    char address[96];
    char socket[FLEET_DIR_PATH];
    char token_file[FLEET_DIR_PATH];
};

/* Makes the token if there is none yet. */
int reaper_env_set(struct daemon_env *env, const struct fleet_dir *dir,
                   struct loop *l, struct reaper_http *out, struct err *e);

#endif
