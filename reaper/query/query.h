/*
 * query - answers the questions on ask.ledger.<verb> (proto/SUBJECTS.md).
 *
 * An answer is the database with the tasks that run at this moment laid over
 * it. It always fits the broker's largest message: lists end earlier and say
 * where to continue, output and long submissions are cut and marked as cut.
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
#include "reaper/query/stream_monitor.h"
#include "reaper/report/writer.h"

#include <jansson.h>

struct query;

struct query_parts {
    struct bus *bus; /* NULL in tests: nothing is subscribed */
    struct db *db;
    struct presence *presence;
    struct lane_pauses *pauses;     /* NULL in tests: no lane is paused */
    struct report_writer *reports;  /* NULL in tests: reports are not written */
    struct disk_monitor *disk;      /* NULL in tests: no alarms */
    struct stream_monitor *streams; /* NULL in tests: none are shown */
    void *ctx;
    void (*fold_all)(void *ctx); /* fold what has arrived first; may be NULL */
    /* Messages of the i-th consumer that are not folded yet; sets *name to NULL
     * if there is no such consumer. May be NULL. */
    uint64_t (*lag)(void *ctx, int i, const char **name);
    size_t max_bytes; /* of an answer; 0: as the broker says */
};

/* Subscribes. parts is copied. On 0 the caller owns *out. */
int query_open(struct query **out, const struct query_parts *parts,
               struct err *e);
void query_close(struct query *q); /* NULL is fine */

/* The answer to one question. The caller owns it; never NULL. */
json_t *query_answer(struct query *q, const char *verb, const json_t *request);

/* {"error": {code, message}}, the form of every failure. */
json_t *query_error(const char *code, const char *message);

#endif
