/*
 * lock_file - a file that one process at a time has locked, its pid inside.
 *
 * The lock ends with the process, however it ends; the file stays.
 *
 * Thread: any.
 */
#ifndef LIB_OS_LOCK_FILE_H
#define LIB_OS_LOCK_FILE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Takes the lock and writes our pid into the file. Returns a descriptor: the
 * lock is held until it is closed. -1 with errno; EWOULDBLOCK: another process
 * has held it for wait_ms, and *holder is its pid, 0 if not known.
 */
int lock_file_take(const char *path, int wait_ms, pid_t *holder);

/* Whether a process holds the lock, and its pid (0: not yet written). Holds it
 * for a moment itself: those who may meet this wait a little in their take. */
bool lock_file_held(const char *path, pid_t *holder);

#endif
