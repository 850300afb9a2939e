/*
 * file - writes files below a folder, whole or not at all.
 *
 * The path comes from outside: nothing in it, "..", a symbolic link or a
 * mount point trick, leads out of the root, or into a repository's .git. A
 * crash leaves the old file or the new one.
 *
 * Thread: any; blocks for the time of an fsync.
 */
#ifndef REAPER_REPORT_FILE_H
#define REAPER_REPORT_FILE_H

#include "lib/base/err.h"

#include "lib/base/mem.h"
#include "lib/model/report_mark.h"

#include <stddef.h>
#include <sys/types.h>

/* The folder that a path is relative to. It must exist, and is trusted. */
struct report_root {
    const char *path;
    /* A folder that no path may lead into or through, the root's own included;
     * 0: none. */
    dev_t barred_dev;
    ino_t barred_ino;
};

/*
 * The path below root, in pool, at which owner's report goes: path itself if
 * nothing is there, or a report that owner's may replace or that retry_of has;
 * else the name with owner's id. NULL: something that is no
 * such report is there too, or the path cannot be walked, see report_file_put.
 */
const char *report_file_place(const struct report_root *root, const char *path,
                              const struct report_mark *owner,
                              const char *retry_of, struct mem_pool *pool,
                              struct err *e);

/*
 * Writes data to root/path; folders below root are made. ERR_INVALID: the path
 * leaves root, leads into the barred folder or is invalid; ERR_DENIED,
 * ERR_UNAVAILABLE (disk full): the message names the path.
 */
int report_file_put(const struct report_root *root, const char *path,
                    const void *data, size_t len, struct err *e);

#endif
