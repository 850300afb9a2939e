/*
 * jetstream_fsync - makes durable what a nats-server has written to its store.
 *
 * The server writes a message into its stream's block file before it
 * acknowledges it, and leaves the rest to the kernel: after one run, all that
 * was acknowledged before it is on the disk. One run serves every message
 * written since the last, which per-message syncing cannot.
 *
 * Reads only names: <store>/jetstream/<account>/streams/<stream>/msgs/N.blk.
 * Consumers' states are left out: they hold what was delivered, and a
 * delivery that is forgotten is repeated.
 *
 * Thread: one at a time, any.
 */
#ifndef FLEET_JETSTREAM_FSYNC_H
#define FLEET_JETSTREAM_FSYNC_H

#include "lib/base/err.h"

struct jetstream_fsync;

/* dir is copied; it need not exist yet. */
struct jetstream_fsync *jetstream_fsync_new(const char *dir);
void jetstream_fsync_free(struct jetstream_fsync *s); /* NULL is fine */

/*
 * Returns once everything written below dir before the call is on the disk.
 * ERR_UNAVAILABLE: a folder could not be read, or a sync failed, after which
 * the kernel forgets what it could not write: nobody may rely on a later run
 * that succeeds.
 */
int jetstream_fsync_run(struct jetstream_fsync *s, struct err *e);

#endif
