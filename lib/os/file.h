/*
 * file - reading and writing files whole.
 *
 * A file is written under a temporary name (".shunt-*.tmp"), synced and
 * renamed: a reader sees the old content or the new one, whatever fails. What
 * replaced it survives a power cut once its folder has been synced as well,
 * which is a call of its own: many files can share one.
 *
 * Everything here returns -1 and sets errno on failure; the callers say what
 * that means. A path is relative to dir, a folder's descriptor or AT_FDCWD.
 *
 * Thread: any; a sync blocks for milliseconds.
 */
#ifndef LIB_OS_FILE_H
#define LIB_OS_FILE_H

#include "lib/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Creates or replaces a file; its name is durable after file_sync_dir. A link
 * at path is replaced, not followed. */
int file_replace(int dir, const char *path, const void *data, size_t len,
                 mode_t mode);

/* Makes durable which names the folder holds. */
int file_sync_dir(int dir, const char *path);

/* The steps of file_replace, for content that is written bit by bit. */
struct file_draft {
    int fd; /* open for reading and writing */
    int dir;
    char path[PATH_MAX];
    char tmp[PATH_MAX]; /* "" once the file has its name */
};
/* tmp: the temporary path, which nobody else must have (EEXIST); NULL: a random
 * one. On 0 the caller owns f until file_draft_close. */
int file_draft_open(struct file_draft *f, int dir, const char *path,
                    const char *tmp, mode_t mode);
/* Syncs the content, then gives the file its name. */
int file_draft_commit(struct file_draft *f);
/* Closes f, and removes a file that was not committed. Keeps errno. */
void file_draft_close(struct file_draft *f);

/* Moves a file to a name that nobody has. EEXIST: somebody has it. */
int file_move(const char *from, const char *to);

/* Neither follows a link. */
bool file_exists(const char *path);
bool file_same(const char *a, const char *b); /* two names of one file */

/* Writes everything, over short writes and interruptions. */
int file_write_all(int fd, const void *data, size_t len);

/* Appends what is left in fd, or the file, to out. EFBIG: out would hold more
 * than cap bytes. */
int file_read_all(int fd, size_t cap, struct str *out);
int file_read(const char *path, size_t cap, struct str *out);

/* Makes a folder and its parents; those that exist are left as they are. */
int file_make_dirs(const char *path, mode_t mode);

#endif
