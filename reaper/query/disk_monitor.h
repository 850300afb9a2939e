/*
 * disk_monitor - raises alarms about storage: too little free disk below the
 * ledger, messages in quarantine.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_QUERY_DISK_MONITOR_H
#define REAPER_QUERY_DISK_MONITOR_H

#include "lib/io/loop.h"
#include "reaper/query/alarms.h"

#include <jansson.h>

struct disk_monitor;

struct disk_monitor *disk_monitor_open(struct loop *l, struct alarms *alarms,
                                       const char *folder);
void disk_monitor_close(struct disk_monitor *m); /* NULL is fine */

/* All alarms as a list of {name, text}; the caller owns it. quarantined: the
 * counter. */
json_t *disk_monitor_alarms(struct disk_monitor *m, int64_t quarantined);

/* Whether free_bytes is below 1 GiB or below a twentieth of total_bytes. */
bool disk_monitor_is_low(uint64_t free_bytes, uint64_t total_bytes);

#endif
