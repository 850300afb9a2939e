/*
 * result_hint - results that finished a file's task, each a reason to query
 * the reaper soon.
 *
 * A message of results is acknowledged only when no file needs it any more, so
 * that the broker delivers it again after a crash.
 *
 * Thread: the loop thread.
 */
#ifndef GATEWAYS_FOLDER_RESULT_HINT_H
#define GATEWAYS_FOLDER_RESULT_HINT_H

#include "lib/bus/bus.h"

#include <stdbool.h>
#include <stdint.h>

/* A message of results, kept until its last hint is released. */
struct hinted_msg {
    struct bus_msg *msg;
    unsigned hints;
    bool dropped;     /* neither acknowledged nor refused */
    int64_t retry_ms; /* delivered again after this; 0: acknowledged */
};

/* One of a file's list. */
struct result_hint {
    struct result_hint *next;
    struct hinted_msg *from;
    int64_t since_ms;
};

/* The caller holds one hint, to be ended by result_msg_release. */
struct hinted_msg *result_msg_new(struct bus_msg *msg);
/* Settles the message with the last hint. */
void result_msg_release(struct hinted_msg *m);

void result_hint_add(struct result_hint **list, struct hinted_msg *m,
                     int64_t now_ms);
/* Whether the list has a hint from the message with that sequence. */
bool result_hint_has(const struct result_hint *list, uint64_t seq);
/* Has the messages of old hints delivered again. */
void result_hint_expire(struct result_hint **list, int64_t now_ms);
/* Releases all. settle false: their messages are not acknowledged. */
void result_hint_free(struct result_hint **list, bool settle);

#endif
