/*
 * query - answers the questions on ask.ledger.<verb> (proto/SUBJECTS.md).
 *
 * An answer is the database with what runs at this moment laid over it. It
 * always fits the broker's largest message: lists end earlier and say where to
 * go on, output and long submissions are cut and say so.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_QUERY_QUERY_H
#define REAPER_QUERY_QUERY_H

#include "lib/bus/bus.h"
#include "lib/bus/lane_pause.h"
#include "reaper/db/db.h"
#include "reaper/query/disk_monitor.h"
#include "reaper/query/presence.h"
#include "reaper/report/writer.h"

#include <jansson.h>

struct ask;

struct query_parts {
    struct bus *bus; /* NULL in tests: nothing is subscribed */
    struct db *store;
    struct presence *live;
    struct lane_pauses *pauses;  /* NULL in tests: no lane is paused */
    struct report_writer *dues;  /* NULL in tests: reports are not written */
    struct disk_monitor *health; /* NULL in tests: no alarms */
    void *ctx;
    void (*settle)(void *ctx); /* fold what has arrived; may be NULL */
    /* Messages not yet folded of the i-th consumer; *name NULL: no such. May
     * be NULL. */
    uint64_t (*lag)(void *ctx, int i, const char **name);
    size_t max_bytes; /* of an answer; 0: as the broker says */
};

/* Subscribes. parts is copied. On 0 the caller owns *out. */
int query_open(struct ask **out, const struct query_parts *parts,
               struct err *e);
void query_close(struct ask *a); /* NULL is fine */

/* The answer to one question. The caller owns it; never NULL. */
json_t *query_answer(struct ask *a, const char *verb, const json_t *request);

/* {"error": {code, message}}, the shape of every answer that is none. */
json_t *query_error(const char *code, const char *message);

#endif
