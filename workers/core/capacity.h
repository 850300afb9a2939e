/*
 * capacity - how many more tasks the worker may take, and so how many each
 * lane asks the broker for: the free slots, what prefetch adds to them, and
 * what is in hand already.
 *
 * Thread: the loop thread.
 */
#ifndef WORKERS_CORE_CAPACITY_H
#define WORKERS_CORE_CAPACITY_H

struct lane;
struct worker;

/* How many more tasks may begin. */
unsigned capacity_free(const struct worker *w);

/* Counts anew how many may be claimed beyond the slots. */
void capacity_count_prefetch(struct worker *w);

/*
 * After any of that has changed: each lane asks for as many messages as hold
 * what there is room for, going by its last message. What arrives beyond that,
 * from several lanes, is handed back or waits. leaving: a delivery of that
 * lane is about to be settled; or NULL.
 */
void capacity_set_windows(struct worker *w, const struct lane *leaving);

#endif
