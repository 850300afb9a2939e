/*
 * multi_msg - several tasks, routed tasks or results in one JetStream message:
 * the tasks that are submitted together, those that the router sends to one
 * lane, or the results that a worker has at the same time.
 *
 * A single member is published as an ordinary message under its own id: a task
 * on tasks.in, a routed task on its lane, a result on the subject of its
 * source. Several tasks are published on tasks.bulk, several routed tasks or
 * results on the subject of one, under an id that depends on the members and
 * their order alone, so that the broker recognizes the message when it is
 * published again. One message for many saves the broker and its readers most
 * of the cost of each; it is kept small all the same, as it is settled as a
 * whole.
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

/* A message of routed tasks goes to one worker, and others may have slots. */
enum { MULTI_MSG_ROUTED_MOST = 16 };

/* Initialize type: CODEC_TASKS, CODEC_ROUTED_TASKS or CODEC_RESULTS. */
struct multi_msg {
    enum codec_type type;
    struct str data;
    struct str ids; /* of its members, each with its NUL */
    size_t n;
    size_t first_at; /* where the first member begins in data */
    char id[sizeof "bulk:" + TASK_ID_SIZE];
};

/* Whether another member of len encoded bytes fits. An empty message takes
 * any. */
bool multi_msg_fits(const struct multi_msg *m, size_t len);

/* Copies the member. id: its Nats-Msg-Id if it is published alone. */
void multi_msg_add(struct multi_msg *m, const char *id, const void *member,
                   size_t len);

/* What to publish; valid until *m changes. m must not be empty. The caller sets
 * the subject, except for tasks. */
struct bus_publication multi_msg_publication(struct multi_msg *m);

void multi_msg_reset(struct multi_msg *m); /* empty again */
void multi_msg_free(struct multi_msg *m);

#endif
