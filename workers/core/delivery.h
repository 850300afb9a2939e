/*
 * delivery - messages that the lanes deliver, of one task or many.
 *
 * A message is settled as a whole, once each of its tasks is. A task alone that
 * is not over is given back to the broker. One of many is not, as the others
 * would be delivered again with it: it is sent to its lane once more, by
 * itself, and counts as settled once that is stored. So do tasks for which
 * there was no room in time.
 *
 * The tasks of a message begin in their order, as there is room.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_DELIVERY_H
#define WORKERS_CORE_DELIVERY_H

#include "lib/base/mem.h"
#include "lib/bus/bus.h"
#include "lib/model/codec.h"

#include <sys/queue.h>

struct lane;
struct worker;

struct delivery {
    LIST_ENTRY(delivery) entry;
    STAILQ_ENTRY(delivery) queue; /* while tasks of it wait */
    struct lane *lane;
    struct bus_msg *msg;
    struct codec_multi tasks; /* those that have not begun */
    bool many;
    bool left; /* it is not settled: the broker delivers it again */
    int64_t
        again_ms;    /* it is to be delivered again after that; -1: it is not */
    int64_t wait_ms; /* when the tasks that wait are sent on */
    size_t open;     /* attempts, publications, and 1 while tasks wait */
    unsigned pending; /* of them, publications without an answer */
};

/* A task begins: takes over pool, which it was decoded into, and releases d in
 * the end. False: it does not begin. */
typedef bool delivery_begin_fn(struct delivery *d, struct mem_pool *pool,
                               const struct routed_task *routed);

/* all_settled: a message was settled, and none is left. */
void delivery_open(struct worker *w, delivery_begin_fn *begin,
                   void (*all_settled)(struct worker *w));
/* Settles nothing. No attempt may be left. */
void delivery_close(struct worker *w);

/* For bus_consume; ctx is the lane. */
void delivery_on_message(void *ctx, struct bus_msg *m);
/* Begins tasks that wait, while there is room. For loop_hook_start. */
void delivery_begin_waiting(void *worker);
/* Sends all tasks that wait on, for other workers. */
void delivery_send_on_waiting(struct worker *w);
/* The same for those that have waited for too long. Returns when the next are
 * due. */
int64_t delivery_send_on_due(struct worker *w, int64_t now_ms);
bool delivery_is_any(const struct worker *w);

/* An attempt has ended; with the last one, so has the delivery. */
void delivery_release(struct delivery *d);
/* One of its tasks is to be delivered again after delay_ms; of many: at once,
 * by itself. */
void delivery_retry(struct delivery *d, const struct routed_task *routed,
                    int64_t delay_ms);

/* Publishes what was found instead of a claim to dead.<backend>, once for each
 * revision. */
void delivery_dead_claim(struct delivery *d, const struct bus_entry *entry,
                         const char *reason);

/* Pools that tasks are decoded into, of a size that many tasks have use for. */
struct mem_pool *delivery_pool_take(struct worker *w);
void delivery_pool_give(struct worker *w, struct mem_pool *pool);

#endif
