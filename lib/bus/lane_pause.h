/*
 * lane_pause - which lanes are paused: the lane.> keys of KV_control, kept up
 * to date.
 *
 * All keys are read at the start and whenever the broker is back; in between a
 * subscription reports changes. A pause that has ended does not count, but
 * stays in the table.
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_LANE_PAUSE_H
#define LIB_BUS_LANE_PAUSE_H

#include "lib/bus/bus.h"
#include "lib/model/subject.h"

#include <stdbool.h>
#include <stdint.h>

enum { LANE_PAUSES_MAX = 1024, PAUSE_REASON_SIZE = 256 };

struct lane_pause {
    char backend[SUBJECT_TOKEN_MAX + 1], lane[SUBJECT_TOKEN_MAX + 1];
    bool paused;
    char reason[PAUSE_REASON_SIZE], by[128];
    int64_t at_ms, until_ms; /* wall clock; until_ms 0: until it is resumed */
    uint64_t revision;       /* of its key; greater is newer */
    int64_t stored_ms;       /* that revision, by the broker's clock */
};

struct lane_pauses;

/*
 * Subscribes and begins to read. changed is called after each change, when all
 * has been read for the first time, and when a pause ends by itself. On 0 the
 * caller owns *out; lane_pauses_close before the bus ends.
 */
int lane_pauses_open(struct lane_pauses **out, struct bus *b, struct loop *l,
                     void (*changed)(void *ctx), void *ctx, struct err *e);
void lane_pauses_close(struct lane_pauses *p); /* NULL is fine */

/* Whether all keys have been read: before that, an unlisted lane may be paused.
 */
bool lane_pauses_known(const struct lane_pauses *p);
/* Call when the broker is back: reads what may have been missed. */
void lane_pauses_refresh(struct lane_pauses *p);

/*
 * The bucket expires old keys. From now on all keys are read every every_ms,
 * and a pause that holds and was stored more than older_ms ago is stored again
 * unchanged, unless it has changed meanwhile. One process of a fleet does it.
 */
void lane_pauses_keep(struct lane_pauses *p, int64_t older_ms,
                      int64_t every_ms);

/* The pause that holds for a lane now, or NULL. Valid until the loop runs. */
const struct lane_pause *lane_pauses_find(const struct lane_pauses *p,
                                          const char *backend, const char *lane,
                                          int64_t now_ms);
/* All that are known, including ended ones. */
size_t lane_pauses_count(const struct lane_pauses *p);
const struct lane_pause *lane_pauses_at(const struct lane_pauses *p, size_t i);

/* Stores the state of a lane in the bucket. fn as in bus_publish. */
void lane_pauses_set(struct bus *b, const struct lane_pause *p,
                     bus_stored_fn *fn, void *ctx);

#endif
