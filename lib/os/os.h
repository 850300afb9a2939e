/*
 * os - what operating systems do differently, beyond processes (lib/os/proc,
 * lib/os/procs). Each has a file of its own, as os_linux.c, which the Makefile
 * picks; no other file asks which system it is.
 *
 * The lowest layer: everything may include it, and it includes nothing of ours.
 * What returns int is 0 or a descriptor, and -1 with errno on failure.
 *
 * Thread: any.
 */
#ifndef LIB_OS_OS_H
#define LIB_OS_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

extern char **environ;

/* --- time ---------------------------------------------------------------- */

/* Milliseconds since the machine started, those it slept included. */
int64_t os_boot_ms(void);
/* For os_cond_wait. */
int os_cond_init(pthread_cond_t *c);
/* pthread_cond_timedwait until a time of CLOCK_MONOTONIC. */
int os_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, int64_t until_ms);

/* --- secrets ------------------------------------------------------------- */

/* Fills out with unpredictable bytes, at most 256 of them. */
int os_random(void *out, size_t len);
/* Zeroes memory, also where the compiler sees no reader. */
void os_wipe(void *p, size_t len);
/* Keeps the user's other processes from reading our memory and environment, and
 * the system from writing them to a core file. Not in a build with the address
 * sanitizer, which reads them at the end. */
void os_hide_memory(void);

/* --- parents and orphans ---------------------------------------------------
 */

/* From now on descendants whose parent ends become our children. */
int os_adopt_orphans(void);
/* We get signo when the thread that started us ends. */
void os_signal_at_parents_end(int signo);

/* --- descriptors, all close-on-exec -------------------------------------- */

int os_pipe(int fds[2]);
int os_stream_socket(int family, bool nonblocking);
/* An empty file without a name. */
int os_scratch_file(void);
/* A folder that need not be readable, for os_exists_beneath and openat. */
int os_open_folder(const char *path);

/* --- the order of writes to several pipes -------------------------------- */

/*
 * Pipes whose writes stay apart, so that a read returns one of them (or a page
 * of one), and are noted in the order in which they happen, over all pipes of a
 * set. A writer sees an ordinary pipe.
 *
 * Thread: the one that opened the set, of which a process has one at a time.
 */
struct os_writes;

/* NULL: the system cannot tell the order. */
struct os_writes *os_writes_open(void);
void os_writes_close(struct os_writes *w); /* NULL is fine */
/* The reading end does not block. wide: for more writes than usual, if there is
 * room. *slots: so many writes fit in. */
int os_writes_pipe(struct os_writes *w, bool wide, int fds[2], size_t *slots);
/*
 * The reading ends that were written to since the last call, one for each
 * write, the oldest first; a writer that had to wait may be there once more. At
 * most most of them: call again until 0. Lost ones are missing.
 */
size_t os_writes_read(struct os_writes *w, int *fds, size_t most);
/* Whether writes to a pipe are kept apart and noted; at first they are. */
void os_writes_set_apart(const int fds[2], bool apart);

/* --- files --------------------------------------------------------------- */

/* rename that fails with EEXIST rather than replace. EINVAL, ENOSYS: the file
 * system cannot do that. */
int os_rename_new(const char *from, const char *to);
/* Whether the path exists, and neither ".." nor a link leads out of the
 * folder. */
bool os_exists_beneath(int folder, const char *path);
/*
 * 0: nobody has the file open for writing, and whoever opens it so now waits
 * until os_let_writers or close. fd must be open for reading only. EAGAIN:
 * somebody has it open. Any other error: the system, or the file system,
 * cannot tell.
 */
int os_hold_writers(int fd);
void os_let_writers(int fd);
int64_t os_mtime_ns(const struct stat *st); /* last write, since 1970 */
int64_t os_ctime_ns(const struct stat *st); /* last change of the inode */

/* Until content, and what leads to it, is on the disk. */
int os_sync(int fd);
int os_sync_data(int fd);
/* Starts writing; only a later sync says how it went. */
void os_sync_begin(int fd);
/* All of the file system that fd is on. */
void os_sync_all(int fd);

/* Whether each write to the file waits for the disk. */
bool os_writes_through(int fd);
/* Makes it so, or not; a folder's new files inherit it. Fails where the file
 * system cannot. */
int os_set_write_through(int fd, bool on);

/* --- this process and this machine --------------------------------------- */

/* What executes this program once more, whatever its file is called by now. */
const char *os_program(void);
/* The folder this program's file is in. */
int os_program_dir(char *out, size_t size);
unsigned os_cpus(void);              /* that this process may use; 0: unknown */
uint64_t os_memory_free_bytes(void); /* 0: unknown */
uint64_t os_max_rss_bytes(const struct rusage *ru);

/* How early the system ends this process when memory runs out, against others
 * of its size: -1000 never, 1000 first; 0 where there is no such thing.
 * Children inherit it. To lower it below what an administrator has set fails,
 * silently. */
enum { OS_OOM_SCORE_MOST = 1000 };
int os_oom_score(void);
void os_set_oom_score(int score);
/* Processes that the system has ended for want of memory since it started;
 * always 0 where that is unknown. */
uint64_t os_oom_kills(void);

/* Keeps the heap small, at the program's start. */
void os_heap_setup(void);
/* Gives unused heap back. */
void os_heap_trim(void);
/* Gives back the memory of code; what is used again is read again. */
void os_code_trim(void);

#endif
