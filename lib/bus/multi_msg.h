/*
 * multi_msg - a message of the tasks that are handed in together, of those that
 * the router sends to one lane, or of the results that a worker has at the same
 * time.
 *
 * One alone is the message it always was, under its own id: a task stands on
 * tasks.in, a routed one on its lane, a result on the subject of its source.
 * Several tasks stand on tasks.bulk, the others on the subject of one, under an
 * id that the same in the same order always have, so that the broker knows the
 * message if it is published again. A message of many spares the broker and its
 * readers most of what each would cost them; it is kept small all the same, as
 * it is settled as a whole.
 *
 * Thread: one at a time.
 */
#ifndef LIB_BUS_MULTI_MSG_H
#define LIB_BUS_MULTI_MSG_H

#include "lib/base/str.h"
#include "lib/bus/bus.h"
#include "lib/model/codec.h"
#include "lib/model/task.h"

#include <stdbool.h>

/* Routed tasks are for one worker, and others may have slots. */
enum { MULTI_MSG_ROUTED_MOST = 16 };

/* Begins with its type alone: CODEC_TASKS, CODEC_ROUTED_TASKS or CODEC_RESULTS.
 */
struct multi_msg {
    enum codec_type type;
    struct str data;
    struct str ids; /* of its members, one after the other */
    size_t n;
    size_t first_at; /* where the first member begins in data */
    char id[sizeof "bulk:" + TASK_ID_SIZE];
};

/* Whether another member of len encoded bytes fits. An empty message takes any.
 */
bool multi_msg_fits(const struct multi_msg *b, size_t len);

/* All is copied. id: the Nats-Msg-Id of the member alone. */
void multi_msg_add(struct multi_msg *b, const char *id, const void *member,
                   size_t len);

/* What to publish; valid until *b changes. b must not be empty. The subject
 * is the caller's to set, but for that of tasks. */
struct bus_publication multi_msg_publication(struct multi_msg *b);

void multi_msg_reset(struct multi_msg *b); /* empty again */
void multi_msg_free(struct multi_msg *b);

#endif
