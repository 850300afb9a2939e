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

struct dues;

/* root is made if it is not there. in_workdir: a report_path is below the
 * task's workdir, if that exists here. */
int dues_open(struct dues **out, struct loop *l, struct store *s,
              const char *root, bool in_workdir, struct err *e);
void dues_close(struct dues *d); /* NULL is fine */

/* Something may have become due. */
void dues_wake(struct dues *d);
/* Writes the report of that row now, if it is due; outside a transaction.
 * Blocks for the fsyncs. */
void dues_now(struct dues *d, const struct task_state *row);
void dues_batch_now(struct dues *d, const struct batch_state *row);
/* Writes at most a few, and blocks for it; true if there may be more. For
 * stops: from then on none is written by itself. */
bool dues_write(struct dues *d);

#endif
