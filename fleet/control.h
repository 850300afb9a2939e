/*
 * control - starts a fleet's supervisor in the background, and stops the one
 * that runs.
 *
 * Thread: a process with one thread.
 */
#ifndef FLEET_CONTROL_H
#define FLEET_CONTROL_H

#include "fleet/supervisor.h"

struct control_started {
    pid_t pid;
    char url[256];        /* of the broker */
    char durability[256]; /* what survives a power cut, one sentence */
};

/*
 * Runs the supervisor in a process of its own, whose log is
 * log/supervisor.log, and returns once the fleet is up. conf's ready is not
 * called. On -1 no supervisor is left, and e says what supervisor_run said.
 */
int control_start(const struct fleet_dir *dir,
                  const struct supervisor_conf *conf,
                  struct control_started *out, struct err *e);

/*
 * Sends TERM to the supervisor that holds the folder's lock, and waits until
 * the lock is free. *pid is the supervisor's, 0 if none ran. ERR_DENIED: it
 * belongs to another user; ERR_TIMEOUT: it still runs, and so may tasks.
 */
int control_stop(const struct fleet_dir *dir, int64_t timeout_ms, pid_t *pid,
                 struct err *e);

#endif
