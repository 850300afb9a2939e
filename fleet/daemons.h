/*
 * daemons - the processes of a fleet: started, started again when they end
 * (fleet/restart), stopped in order, their output appended to log/<name>.log.
 *
 * Thread: the loop thread.
 */
#ifndef FLEET_DAEMONS_H
#define FLEET_DAEMONS_H

#include "fleet/daemon_env.h"
#include "fleet/fleet_dir.h"
#include "lib/base/err.h"
#include "lib/io/loop.h"
#include "lib/os/proc.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct daemons;

/* Daemons find env in their environment; dir and env must outlive the result.
 * changed is called after each start and end. */
struct daemons *daemons_new(const struct fleet_dir *dir,
                            const struct daemon_env *env, struct loop *l,
                            struct proc_set *procs, void (*changed)(void *ctx),
                            void *ctx);
void daemons_free(struct daemons *all); /* all have ended; NULL is fine */

/* What differs for one daemon. */
struct daemon_opts {
    const char *const
        *env; /* changes, as daemon_env_copy reads them, or NULL */
    uint64_t timer_slack_ns; /* as in struct proc_opts */
};

/*
 * Starts a daemon and keeps it running until daemons_stop, which stops them in
 * the reverse order of these calls. argv, whose first word is the program's
 * file, and opts (NULL: nothing differs) are copied. -1 if it cannot be started
 * at all: the program is missing.
 */
int daemons_start(struct daemons *all, const char *name,
                  const char *const *argv, const struct daemon_opts *opts,
                  struct err *e);

/* Stops all, one after the other; fn once none is alive, perhaps before this
 * returns. */
void daemons_stop(struct daemons *all, void (*fn)(void *ctx), void *ctx);
void daemons_kill(struct daemons *all, const char *name);
/* Does nothing to a daemon that is not running. */
void daemons_signal(struct daemons *all, const char *name, int signo);
void daemons_kill_all(struct daemons *all);

bool daemons_alive(const struct daemons *all); /* at least one */
/* How often the daemon has ended by itself. */
int daemons_deaths(const struct daemons *all, const char *name);
/* Since its start; 0 if it is not running. */
int64_t daemons_age_ms(const struct daemons *all, const char *name);
/* Writes "<name> ended with status 1: <last line of its log>" to e; -1. */
int daemons_explain_end(const struct daemons *all, const char *name,
                        struct err *e);

/* [{name, pid, state, started_at, restarts, last_end}] */
json_t *daemons_to_json(const struct daemons *all);

void daemons_rotate_logs(struct daemons *all);

#endif
