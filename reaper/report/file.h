/*
 * file - writes files below a folder, whole or not at all.
 *
 * The path comes from outside: nothing in it, "..", a symbolic link or a
 * mount point trick, leads out of the root. A crash leaves the old file or the
 * new one.
 *
 * Thread: any; blocks for the time of an fsync.
 */
#ifndef REAPER_REPORT_FILE_H
#define REAPER_REPORT_FILE_H

#include "lib/base/err.h"

#include <stddef.h>

/*
 * Writes data to root/path; folders below root are made. root must exist and
 * is trusted. ERR_INVALID: the path leaves root or is invalid; ERR_DENIED,
 * ERR_UNAVAILABLE (disk full): the message names the path.
 */
int report_file_put(const char *root, const char *path, const void *data,
                    size_t len, struct err *e);

#endif
