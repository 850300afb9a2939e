/*
 * fleet_dir - the state folder of a fleet on one machine, and its files.
 *
 *   lock              held by the supervisor, its pid inside
 *   status.json       the supervisor's processes, while it runs
 *   endpoint          address of the broker, the same at each start if free
 *   http              address of the reaper's HTTP server, likewise
 *   token             the broker's password, for this user only
 *   http.sock         socket of the reaper's HTTP server, likewise
 *   http-token        what its port requires, likewise
 *   nats-server.conf  written at each start
 *   nats/             the broker's store
 *   spool/            submissions the broker has not stored yet
 *   worker/           the local worker's results the broker has not stored yet
 *   log/              one file per process
 *   ledger.db         the database the reaper keeps
 *   last              id of the newest task submitted from here
 *
 * SHUNT_HOME names it; without that it is $XDG_STATE_HOME/shunt, or
 * ~/.local/state/shunt.
 *
 * Thread: any; nothing is kept between calls.
 */
#ifndef FLEET_FLEET_DIR_H
#define FLEET_FLEET_DIR_H

#include "lib/base/err.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { FLEET_DIR_PATH = 4096 };

struct fleet_dir {
    /* Absolute; leaves room for the names of its files. */
    char path[FLEET_DIR_PATH - 256];
};

struct fleet_dir_path {
    char s[FLEET_DIR_PATH];
};

/* Finds the path; touches nothing on the disk. */
int fleet_dir_find(struct fleet_dir *dir, struct err *e);

/* Creates the folder, for this user only, and the folders in it. */
int fleet_dir_make(const struct fleet_dir *dir, struct err *e);

/* The path of rel below the folder, in buf. */
const char *fleet_dir_path(const struct fleet_dir *dir, const char *rel,
                           struct fleet_dir_path *buf);
#define FLEET_DIR_PATH_OF(dir, rel)                                            \
    fleet_dir_path((dir), (rel), &(struct fleet_dir_path){{0}})

/* Replaces a file at once: a reader sees the old or the new text. */
int fleet_dir_write(const struct fleet_dir *dir, const char *rel,
                    const char *text, mode_t mode, struct err *e);

/* The first line of a small file; false if there is none. */
bool fleet_dir_line(const struct fleet_dir *dir, const char *rel, char *out,
                    size_t size);

/* The token in a file, for this user only; made if there is none. */
int fleet_dir_token(const struct fleet_dir *dir, const char *rel, char out[64],
                    struct err *e);

/* Appends a whole file of at most cap bytes. */
int fleet_dir_read(const struct fleet_dir *dir, const char *rel, size_t cap,
                   struct str *out, struct err *e);

/*
 * Takes the supervisor's lock and writes our pid into it; the lock is held
 * until *fd is closed. ERR_CONFLICT: another has it; its pid is in *holder,
 * 0 if it has not been written yet.
 */
int fleet_dir_lock(const struct fleet_dir *dir, int *fd, pid_t *holder,
                   struct err *e);

/* Whether a supervisor holds the lock, and its pid (0: not yet written). */
bool fleet_dir_locked(const struct fleet_dir *dir, pid_t *holder);

#endif
