/*
 * outcomes - queries the reaper for the outcomes of files' tasks and has them
 * written back. Results on the bus say when to query.
 *
 * Thread: the loop thread.
 */
#ifndef GATEWAYS_FOLDER_OUTCOMES_H
#define GATEWAYS_FOLDER_OUTCOMES_H

#include "lib/bus/bus.h"

struct folder;

/* A bus_msg_fn for results, ctx a folder. */
void outcomes_on_result(void *folder, struct bus_msg *m);
/* Sends the queries and writes back the outcomes that are due. */
void outcomes_work(struct folder *f, int64_t now_ms);

#endif
