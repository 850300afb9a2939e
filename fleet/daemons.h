/*
 * daemons - the processes of a fleet: started, restarted after a pause,
 * stopped in order, their output appended to log/<name>.log.
 *
 * Thread: the loop thread.
 */
#ifndef FLEET_DAEMONS_H
#define FLEET_DAEMONS_H

#include "fleet/fleet_dir.h"
#include "lib/base/err.h"
#include "lib/io/loop.h"
#include "lib/os/proc.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct daemons;

/* changed is called after each start and end. */
struct daemons *daemons_new(const struct fleet_dir *h, struct loop *l,
                            struct proc_set *procs, void (*changed)(void *ctx),
                            void *ctx);
void daemons_free(struct daemons *c); /* all have ended; NULL is fine */

/* What the children are told. */
struct daemons_facts {
    const char *url;     /* of the broker */
    bool confirm;        /* a keeper answers for the broker's store */
    bool fast;           /* nothing needs to survive a power cut */
    int64_t slots;       /* 0: not stated */
    const char *project; /* "": not stated */
};

/* What every child started from now on finds in its environment: ours, with
 * the facts and the way to the home. */
void daemons_environment(struct daemons *c, const struct daemons_facts *f);

/* Sets one more variable in it, or another value. */
void daemons_set(struct daemons *c, const char *key, const char *value);

/* That environment, for processes that are none of these. */
const char *const *daemons_env(const struct daemons *c);

/* What one of them alone has. */
struct child_opts {
    /* In its environment besides, or instead ("KEY=value"; "KEY" alone: not
     * that); NULL for nothing. */
    const char *const *env;
    uint64_t timer_slack_ns; /* as struct proc_opts has it */
};

/* Starts one that is to live until daemons_stop. They are stopped in the
 * reverse order of their starts. argv and opts (NULL: nothing of its own) are
 * copied. -1 if it cannot be started at all, which a missing program means. */
int daemons_start(struct daemons *c, const char *name, const char *file,
                  const char *const *argv, const struct child_opts *opts,
                  struct err *e);

/* Stops all, one after the other; fn once none is alive, perhaps before this
 * returns. */
void daemons_stop(struct daemons *c, void (*fn)(void *ctx), void *ctx);
void daemons_kill(struct daemons *c, const char *name);
void daemons_kill_all(struct daemons *c);

bool daemons_alive(const struct daemons *c); /* at least one */
int daemons_deaths(const struct daemons *c, const char *name);
/* 0 if it is not running. */
int64_t daemons_age_ms(const struct daemons *c, const char *name);
/* Writes "<name> ended with status 1: <last line of its log>" to e; -1. */
int daemons_last_words(const struct daemons *c, const char *name,
                       struct err *e);

/* [{name, pid, state, started_at, restarts, last_end}] */
json_t *daemons_to_json(const struct daemons *c);

/* Moves large logs to <name>.log.1. */
void daemons_rotate(struct daemons *c);

#endif
