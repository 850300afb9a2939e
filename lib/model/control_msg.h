/*
 * control_msg - messages of type Control: a request to stop, to drain, to
 * report.
 *
 * A control message is read, never taken for granted: another kind of message
 * may end up on its subject, such as the broker's answer to a publication whose
 * sender chose that subject for the reply.
 *
 * Thread: any.
 */
#ifndef LIB_MODEL_CONTROL_MSG_H
#define LIB_MODEL_CONTROL_MSG_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/model/task.h"

#define CONTROL_CANCEL "cancel" /* of task */
#define CONTROL_DRAIN "drain"   /* of worker: it takes no new tasks */
#define CONTROL_ROLL "roll"     /* every worker publishes a heartbeat */

/* A request of now, in the version that this program writes; all else is "".
 * Borrows verb and by. */
struct control control_msg_new(const char *verb, const char *by);

/* Reads a message that must have this verb, and a version that this program
 * knows; else -1 with the reason. Decodes into pool. */
int control_msg_read(const void *data, size_t len, const char *verb,
                     struct mem_pool *pool, struct control *out, struct err *e);

#endif
