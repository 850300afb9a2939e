/*
 * lane_pause - which lanes are paused: the lane.> keys of KV_control, kept up
 * to date.
 *
 * A pause is read once at the start and whenever the broker is back, and heard
 * live in between. One that has ended counts no more, but stays known.
 *
 * Thread: the loop thread.
 */
#ifndef LIB_BUS_LANE_PAUSE_H
#define LIB_BUS_LANE_PAUSE_H

#include "lib/bus/bus.h"
#include "lib/model/subject.h"

#include <stdbool.h>
#include <stdint.h>

enum { PAUSES_MAX = 1024, PAUSE_REASON_SIZE = 256 };

struct pause {
    char backend[SUBJECT_TOKEN_MAX + 1], lane[SUBJECT_TOKEN_MAX + 1];
    bool paused;
    char reason[PAUSE_REASON_SIZE], by[128];
    int64_t at_ms, until_ms; /* wall clock; until_ms 0: until it is resumed */
    uint64_t revision;       /* of its key; greater is newer */
    int64_t stored_ms;       /* that revision, by the broker's clock */
};

struct pauses;

/*
 * Subscribes and begins to read. changed is called after each change, when all
 * has been read for the first time, and when a pause ends by itself. On 0 the
 * caller owns *out; pauses_close before the bus ends.
 */
int pauses_open(struct pauses **out, struct bus *b, struct loop *l,
                void (*changed)(void *ctx), void *ctx, struct err *e);
void pauses_close(struct pauses *p); /* NULL is fine */

/* Whether all keys have been read: until then nothing may be concluded. */
bool pauses_known(const struct pauses *p);
/* The broker is back: read again what may have been missed. */
void pauses_refresh(struct pauses *p);

/*
 * The bucket forgets what is old. From now on all is read each every_ms, and
 * what holds and was stored more than older_ms ago is stored again as it is,
 * unless it has changed meanwhile. One process of a fleet does it.
 */
void pauses_keep(struct pauses *p, int64_t older_ms, int64_t every_ms);

/* The pause that holds for a lane now, or NULL. Valid until the next turn. */
const struct pause *pauses_find(const struct pauses *p, const char *backend,
                                const char *lane, int64_t now_ms);
/* All that are known, ended ones too. */
size_t pauses_count(const struct pauses *p);
const struct pause *pauses_at(const struct pauses *p, size_t i);

/* Writes the state of a lane: durable, heard by everybody. fn as in
 * bus_publish. */
void pauses_set(struct bus *b, const struct pause *p, bus_stored_fn *fn,
                void *ctx);

#endif
