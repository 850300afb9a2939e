/*
 * writer - writes the reports that are due.
 *
 * A row's report_due is committed with the outcome and cleared after the file
 * stands, so that a crash in between only writes it again. Reports wait for a
 * quiet moment: news of the outcome goes first. A report that cannot be
 * written (disk full, no permission) stays due and is tried again each 30 s.
 *
 * Files are written, and synced, on a thread of their own, so that the ledger
 * goes on meanwhile. A row that changed in that time is due again.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_REPORT_WRITER_H
#define REAPER_REPORT_WRITER_H

#include "lib/base/err.h"
#include "lib/io/loop.h"
#include "reaper/db/db.h"

struct report_writer;

/* root is made if it is not there. in_workdir: a report_path is below the
 * task's workdir, if that exists here. */
int report_writer_open(struct report_writer **out, struct loop *l, struct db *s,
                       const char *root, bool in_workdir, struct err *e);
void report_writer_close(struct report_writer *d); /* NULL is fine */

/* Something may have become due. */
void report_writer_wake(struct report_writer *d);
/* Writes the report of that row now, if it is due; outside a transaction.
 * Blocks for the fsyncs. */
void report_writer_now(struct report_writer *d, const struct task_state *row);
void report_writer_batch_now(struct report_writer *d,
                             const struct batch_state *row);
/* Writes at most a few, and blocks for it; true if there may be more. For
 * stops: from then on none is written by itself. */
bool report_writer_write(struct report_writer *d);

#endif
