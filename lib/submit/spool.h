/*
 * spool - submissions that must not be lost before the broker has them.
 *
 * A file <name>.task holds records, each a length (32 bits, little endian)
 * and an encoded Task. It is written as <name>.tmp, synced, renamed, and the
 * folder synced: a file with its final name is complete and survives a power
 * cut. The sender of a file holds its flock, so there is only one; a record
 * that is sent twice is harmless, as its id never changes. A file is removed
 * when the broker has stored every record. An unreadable file is moved to
 * corrupt/ below the spool and never deleted. <task>.cancel is a request to
 * cancel a task.
 *
 * Thread: the loop thread.
 */
#ifndef LIB_SUBMIT_SPOOL_H
#define LIB_SUBMIT_SPOOL_H

#include "lib/base/err.h"
#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "lib/model/task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spool_file; /* one file, locked by this process */

/* --- files --------------------------------------------------------------- */

/* Creates a file; name is a token, and no other process may be writing a file
 * of that name. On 0 the caller owns *out until spool_close. */
int spool_create(struct spool_file **out, const char *dir, const char *name,
                 struct err *e);
/* Appends a task; buffered. ERR_INVALID: larger than TASK_MAX_BYTES. */
int spool_put(struct spool_file *f, const struct task *t, struct err *e);
/* Makes the file durable under its final name; then it can be read. */
int spool_commit(struct spool_file *f, struct err *e);

/*
 * Locks and opens an existing file. ERR_CONFLICT: another process sends it;
 * ERR_NOT_FOUND: it is gone; ERR_INVALID: it was unreadable and is now in
 * corrupt/.
 */
int spool_take(struct spool_file **out, const char *dir, const char *name,
               struct err *e);

/* Returns the record at *at, 0 for the first, and advances *at; false at the
 * end. The bytes stay valid until the file is closed. */
bool spool_next(const struct spool_file *f, size_t *at, const uint8_t **data,
                size_t *len);

/* Releases the memory of the records before at. They can still be read, at the
 * price of reading the file again. */
void spool_passed(struct spool_file *f, size_t at);

const char *spool_name(const struct spool_file *f);
size_t spool_count(const struct spool_file *f); /* records */

void spool_remove(struct spool_file *f);    /* from the disk, once it is sent */
void spool_set_aside(struct spool_file *f); /* to corrupt/ */
/* Unlocks; removes a file that was not committed. NULL is fine. */
void spool_close(struct spool_file *f);

/* Whether there is a file of that name. */
bool spool_has(const char *dir, const char *name);

/* Stores a request to cancel a task of the spool. A drain publishes it before
 * it sends that task. */
int spool_cancel(const char *dir, const struct control *c, struct err *e);

struct spool_backlog {
    size_t files, corrupt;
    uint64_t bytes;
    int64_t oldest_ms; /* wall clock; 0: none */
};
void spool_look(const char *dir, struct spool_backlog *out);

/* --- sending ------------------------------------------------------------- */

struct spool_sender;

/* e is NULL when every record is stored. Called once, on the loop. */
typedef void spool_sent_fn(void *ctx, const struct err *e);

/*
 * Publishes the records of f, several in one message and many at once. Messages
 * that the broker does not confirm are sent again, until it has confirmed none
 * for patience_ms. f stays the caller's and must outlive the sender.
 */
struct spool_sender *spool_send(struct spool_file *f, struct bus *b,
                                struct loop *l, int64_t patience_ms,
                                spool_sent_fn *fn, void *ctx);
size_t spool_sender_stored(const struct spool_sender *s);
size_t spool_sender_duplicates(const struct spool_sender *s);
void spool_sender_free(struct spool_sender *s); /* NULL is fine */

/* --- draining ------------------------------------------------------------ */

struct spool_drain;

struct spool_report {
    size_t files, tasks; /* sent and removed */
    size_t corrupt;      /* set aside now */
    size_t left;         /* locked by others, or not confirmed */
};
typedef void spool_report_fn(void *ctx, const struct spool_report *r);

/*
 * Sends every file of the folder, one after the other, and removes it. fn is
 * called once, on the loop and after this returns; then the caller frees.
 * Temporary files older than a day are removed: their submission was never
 * reported as accepted.
 */
struct spool_drain *spool_drain_start(const char *dir, struct bus *b,
                                      struct loop *l, spool_report_fn *fn,
                                      void *ctx);
void spool_drain_free(struct spool_drain *d); /* NULL is fine */

#endif
