/*
 * stream_monitor - how full the broker's streams are, and whether JetStream
 * answers at all: in a cluster a connection to one server says nothing about
 * that.
 *
 * Raises alarms: stream_full, from 70 % of a limit on, since a stream that is
 * full refuses what is published; dead_letters, messages in the stream DEAD;
 * jetstream_down.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_QUERY_STREAM_MONITOR_H
#define REAPER_QUERY_STREAM_MONITOR_H

#include "lib/bus/bus.h"
#include "reaper/query/alarms.h"

#include <jansson.h>

struct stream_monitor;

/* alarms must outlive it. */
struct stream_monitor *stream_monitor_open(struct bus *b, struct loop *l,
                                           struct alarms *alarms);
void stream_monitor_close(struct stream_monitor *m); /* NULL is fine */

/* Whether JetStream has answered lately. True until it could have. */
bool stream_monitor_answers(const struct stream_monitor *m);

/* The streams that are known, as {name, messages, bytes, max_bytes, percent};
 * max_bytes -1: no limit, then percent is 0. Of KV_claims max_bytes is what
 * new claims may fill; renewals have as much again. The caller owns it. */
json_t *stream_monitor_json(const struct stream_monitor *m);

#endif
