/*
 * daemon_log - the file log/<name>.log that a daemon's output is appended to.
 *
 * Thread: the loop thread.
 */
#ifndef FLEET_DAEMON_LOG_H
#define FLEET_DAEMON_LOG_H

#include "fleet/fleet_dir.h"
#include "lib/base/err.h"

/* Opens it for appending; returns the descriptor, which is the caller's. */
int daemon_log_open(const struct fleet_dir *dir, const char *name,
                    struct err *e);

/* Once the file is larger than 32 MiB, moves its text to log/<name>.log.1. */
void daemon_log_rotate(const struct fleet_dir *dir, const char *name, int fd);

/* The last line with text in it, "" if there is none; and the file's path. */
void daemon_log_last_line(const struct fleet_dir *dir, const char *name,
                          char *out, size_t size, struct fleet_dir_path *path);

#endif
