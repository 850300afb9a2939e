/*
 * disk_monitor - alarms about what the ledger stands on: free disk below it,
 * and dead letters that nobody has looked at.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_QUERY_DISK_MONITOR_H
#define REAPER_QUERY_DISK_MONITOR_H

#include "lib/bus/bus.h"
#include "lib/io/loop.h"
#include "reaper/query/alarms.h"

#include <jansson.h>

struct disk_monitor;

/* bus NULL in tests: dead letters are not counted. */
struct disk_monitor *disk_monitor_open(struct bus *b, struct loop *l,
                                       struct alarms *alarms,
                                       const char *database);
void disk_monitor_close(struct disk_monitor *h); /* NULL is fine */

/* The alarms as a list of {name, text}; the caller owns it. quarantined: as
 * counted. Asks the broker anew for dead letters, at most each 30 s, so that
 * their number is that of the last time. */
json_t *disk_monitor_alarms(struct disk_monitor *h, int64_t quarantined);

/* Whether so much free of so much in all is too little: below 1 GiB, or below
 * a twentieth. */
bool disk_monitor_is_low(uint64_t free_bytes, uint64_t total_bytes);

#endif
