/*
 * daemon_env - the environment of a fleet's daemons: that of `shunt up`, with
 * the way to the fleet's own broker and state folder.
 *
 * Thread: the loop thread.
 */
#ifndef FLEET_DAEMON_ENV_H
#define FLEET_DAEMON_ENV_H

#include "fleet/fleet_dir.h"

#include <stdbool.h>
#include <stdint.h>

struct daemon_env {
    char **entries; /* "KEY=value", ends with NULL */
    size_t n;
};

/* What all daemons are told. */
struct daemon_env_facts {
    const char *url;     /* of the broker */
    bool confirm;        /* an fsync server confirms what the broker stored */
    bool fast;           /* nothing needs to survive a power cut */
    int64_t slots;       /* 0: as the environment says */
    const char *project; /* "": as the environment says */
};

/* The common environment. The caller releases *out. */
void daemon_env_init(struct daemon_env *out, const struct fleet_dir *dir,
                     const struct daemon_env_facts *f);

/* A copy with changes: "KEY=value" adds or replaces, "KEY" alone removes.
 * changes ends with NULL. The caller releases *out. */
void daemon_env_copy(const struct daemon_env *env, const char *const *changes,
                     struct daemon_env *out);

/* Adds a variable or replaces its value. */
void daemon_env_set(struct daemon_env *env, const char *key, const char *value);

/* Overwrites the entries, one of which may hold a secret, and frees them. */
void daemon_env_release(struct daemon_env *env);

#endif
