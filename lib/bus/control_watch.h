/*
 * control_watch - keys of KV_control, read and kept up to date.
 *
 * All keys are read one by one at the start and whenever it is asked for; in
 * between a subscription brings changes. Whoever watches keeps the values.
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_CONTROL_WATCH_H
#define LIB_BUS_CONTROL_WATCH_H

#include "lib/bus/bus.h"

struct control_watch;

struct control_watch_events {
    /* A reading begins: what is known may be out of date. NULL is fine. */
    void (*begin)(void *ctx);
    /* The value of a key; a deleted one has no content. revision and
     * stored_at_ms are 0 if the subscription brings it. False: that is enough,
     * the reading ends here and read is not called. */
    bool (*value)(void *ctx, const struct bus_entry *entry);
    void (*read)(void *ctx); /* all keys have been read */
};

/*
 * Subscribes to subjects and begins to read. No event comes from inside this
 * call; events must outlive the watch. On 0 the caller owns *out;
 * control_watch_close before the bus ends.
 */
int control_watch_open(struct control_watch **out, struct bus *b,
                       struct loop *l, const char *subjects,
                       const struct control_watch_events *events, void *ctx,
                       struct err *e);
void control_watch_close(struct control_watch *w); /* NULL is fine */

/* Reads all keys again: call it when the broker is back. */
void control_watch_refresh(void *watch);

#endif
