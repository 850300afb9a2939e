/*
 * files - changes to files, done completely or not at all, and never over
 * another file.
 *
 * Thread: any; blocks for the time of an fsync.
 */
#ifndef GATEWAYS_FOLDER_FILES_H
#define GATEWAYS_FOLDER_FILES_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/os/file.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* "dir/name" in buf. */
struct files_path {
    char s[4096];
};
const char *files_path(const char *dir, const char *name,
                       struct files_path *buf);
#define FILES_PATH(dir, name)                                                  \
    files_path((dir), (name), &(struct files_path){{0}})

/* Makes a folder and its parents. */
int files_make_dir(const char *dir, struct err *e);
/* Makes the folder a path in dir names, if it names one; -1 with errno. */
int files_make_parent(const char *dir, const char *path);
/* Removes that folder if nothing is in it. */
void files_leave_dir(const char *dir, const char *path);
/* Most bytes in the name of a file in dir. */
size_t files_name_max(const char *dir);

/* Replaces dir/name: whatever happens, it is the old file or the new one. The
 * folder itself is synced by files_sync. */
int files_put(const char *dir, const char *name, const void *data, size_t len,
              struct err *e);

/* Moves a file to an unused name: ERR_CONFLICT if it exists, ERR_NOT_FOUND if
 * from does not. */
int files_move(const char *from, const char *to, struct err *e);

/* Makes the renames in dir durable. */
int files_sync(const char *dir, struct err *e);

/* Opens a file for reading, not a link, and without waiting. */
int files_open(const char *path, struct err *e);
/* Appends a regular file of at most cap bytes; *st is taken after reading.
 * ERR_NOT_FOUND, ERR_INVALID (too large, not a file), ERR_DENIED,
 * ERR_UNAVAILABLE. */
int files_read_fd(int fd, const char *path, size_t cap, struct str *out,
                  struct stat *st, struct err *e);
int files_read(const char *path, size_t cap, struct str *out, struct stat *st,
               struct err *e);

#endif
