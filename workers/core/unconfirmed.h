/*
 * unconfirmed - outcomes of attempts in hand that the broker does not confirm:
 * when they are written to disk, and when their file goes.
 *
 * A file belongs to the attempt that wrote it as long as that is in hand.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_UNCONFIRMED_H
#define WORKERS_CORE_UNCONFIRMED_H

struct attempt;
struct worker;

/* The run has ended: its outcome is to be confirmed soon, or it goes to disk.
 * Sets DUE_SPOOL. */
void unconfirmed_expect(struct attempt *a);
/* DUE_SPOOL has come: writes it now, or sets DUE_SPOOL again. */
void unconfirmed_overdue(struct attempt *a);
/* Writes the outcome to disk, if it is one of ours that is not there. */
void unconfirmed_write(struct attempt *a);
/* Makes the names of what was written durable, at once for many. */
void unconfirmed_sync(struct worker *w);

/* The result is stored: the file is not needed any more. */
void unconfirmed_remove(struct attempt *a);
/* The claim has moved on: the file is kept aside. */
void unconfirmed_set_aside(struct attempt *a);

#endif
