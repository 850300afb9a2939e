/*
 * files - what the gateway does to files: whole or not at all, and never over
 * another file.
 *
 * Thread: any; blocks for the time of an fsync.
 */
#ifndef GATEWAYS_FOLDER_FILES_H
#define GATEWAYS_FOLDER_FILES_H

#include "lib/base/err.h"
#include "lib/base/str.h"

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

/* Writes dir/name in place of what is there: the old file or the new one,
 * whatever happens. The folder itself is synced by files_sync. */
int files_put(const char *dir, const char *name, const void *data, size_t len,
              struct err *e);

/* Moves a file to a name that nobody has: ERR_CONFLICT if somebody has,
 * ERR_NOT_FOUND if from is gone. */
int files_move(const char *from, const char *to, struct err *e);

/* What a crash must not undo in dir. */
int files_sync(const char *dir, struct err *e);

bool files_exist(const char *path);
/* Whether both are names of one file. */
bool files_same(const char *a, const char *b);

/* Appends a regular file of at most cap bytes, no link; *st is of the moment
 * after reading. ERR_NOT_FOUND, ERR_INVALID (too large, no file),
 * ERR_UNAVAILABLE. */
int files_read(const char *path, size_t cap, struct str *out, struct stat *st,
               struct err *e);

#endif
