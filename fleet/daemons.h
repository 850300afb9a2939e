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

struct children;

/* changed is called after each start and end. */
struct children *children_new(const struct home *h, struct loop *l,
                              struct proc_set *procs,
                              void (*changed)(void *ctx), void *ctx);
void children_free(struct children *c); /* all have ended; NULL is fine */

/* What the children are told. */
struct children_facts {
    const char *url;     /* of the broker */
    bool confirm;        /* a keeper answers for the broker's store */
    bool fast;           /* nothing needs to survive a power cut */
    int64_t slots;       /* 0: not stated */
    const char *project; /* "": not stated */
};

/* What every child started from now on finds in its environment: ours, with
 * the facts and the way to the home. */
void children_environment(struct children *c, const struct children_facts *f);

/* Sets one more variable in it, or another value. */
void children_set(struct children *c, const char *key, const char *value);

/* That environment, for processes that are none of these. */
const char *const *children_env(const struct children *c);

/* What one of them alone has. */
struct child_opts {
    /* In its environment besides, or instead ("KEY=value"; "KEY" alone: not
     * that); NULL for nothing. */
    const char *const *env;
    uint64_t timer_slack_ns; /* as struct proc_opts has it */
};

/* Starts one that is to live until children_stop. They are stopped in the
 * reverse order of their starts. argv and opts (NULL: nothing of its own) are
 * copied. -1 if it cannot be started at all, which a missing program means. */
int children_start(struct children *c, const char *name, const char *file,
                   const char *const *argv, const struct child_opts *opts,
                   struct err *e);

/* Stops all, one after the other; fn once none is alive, perhaps before this
 * returns. */
void children_stop(struct children *c, void (*fn)(void *ctx), void *ctx);
void children_kill(struct children *c, const char *name);
void children_kill_all(struct children *c);

bool children_alive(const struct children *c); /* at least one */
int children_deaths(const struct children *c, const char *name);
/* 0 if it is not running. */
int64_t children_age_ms(const struct children *c, const char *name);
/* Writes "<name> ended with status 1: <last line of its log>" to e; -1. */
int children_last_words(const struct children *c, const char *name,
                        struct err *e);

/* [{name, pid, state, started_at, restarts, last_end}] */
json_t *children_to_json(const struct children *c);

/* Moves large logs to <name>.log.1. */
void children_rotate(struct children *c);

#endif
