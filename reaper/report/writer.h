/*
 * writer - writes the reports that are due.
 *
 * A row's report_due is committed with the outcome and cleared after the file
 * is in place, so that a crash in between only writes it again. Reports wait
 * for a quiet moment: outcomes are published first. A report that cannot be
 * written (disk full, no permission) stays due and is tried again every 30 s.
 *
 * Files are written and synced by another thread while the reaper continues. A
 * row that changed in that time is due again.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_REPORT_WRITER_H
#define REAPER_REPORT_WRITER_H

#include "lib/base/err.h"
#include "lib/io/loop.h"
#include "reaper/db/db.h"

struct report_writer;

/* Where reports go; strings are borrowed for the writer's life. */
struct report_places {
    const char *state; /* the folder of the ledger: no report goes there */
    const char *root;  /* made if it is missing; "": reports/ of state */
    bool in_workdir;   /* a report_path is relative to the task's workdir, if
                        * that exists here and is allowed */
    char **workdirs;   /* allowed are these and what is below them; none: the
                        * folders of this process' user */
};

/* ERR_INVALID: the root holds state. */
int report_writer_open(struct report_writer **out, struct loop *l,
                       struct db *db, const struct report_places *places,
                       struct err *e);
const char *report_writer_root(const struct report_writer *w);
void report_writer_close(struct report_writer *w); /* NULL is fine */

/* No report goes to a report_path of which avoid says that other programs take
 * files there: it goes to the place of a task without one. */
typedef bool report_avoid_fn(void *ctx, const char *path);
void report_writer_avoid(struct report_writer *w, report_avoid_fn *avoid,
                         void *ctx);

/* A report may have become due. */
void report_writer_wake(struct report_writer *w);
/* Writes the report of row n of the tasks, or batches, now; call it outside a
 * transaction. Blocks for the fsyncs. */
void report_writer_now(struct report_writer *w, bool batch, int64_t n);
/* Why that report could not be written, and is tried again; "" if it was, or is
 * not due. Valid until the loop goes on. */
const char *report_writer_error(struct report_writer *w, bool batch, int64_t n);
/* For stopping: writes a few reports, blocking; true if there may be more. From
 * then on none is written by itself. */
bool report_writer_write(struct report_writer *w);

#endif
