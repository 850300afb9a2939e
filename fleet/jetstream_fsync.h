/*
 * jetstream_fsync - syncs the messages in a nats-server's store to the disk.
 *
 * The server writes a message into its stream's block file before it
 * acknowledges the message, and leaves the rest to the kernel. After one run
 * every message acknowledged before the run is on the disk; one run serves all
 * messages since the last, which syncing each message cannot.
 *
 * The files are <store>/jetstream/<account>/streams/<stream>/msgs/N.blk; their
 * content is not read. Consumers' states are left out: they hold what was
 * delivered, and a delivery that is forgotten is repeated.
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
 * Returns once every message written below dir before the call is on the disk.
 * ERR_UNAVAILABLE: a folder could not be read, or a sync failed. The kernel
 * then forgets what it could not write: a later run that succeeds proves
 * nothing.
 */
int jetstream_fsync_run(struct jetstream_fsync *s, struct err *e);

#endif
