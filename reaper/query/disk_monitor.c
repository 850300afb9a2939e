/*
 * Looks at the disk on a timer.
 */
#include "reaper/query/disk_monitor.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "reaper/report/report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

enum { DISK_MS = 30000 };

struct disk_monitor {
    struct alarms *alarms;
    struct loop_timer *timer;
    char *folder;
};

bool
disk_monitor_is_low(uint64_t free_bytes, uint64_t total_bytes)
{
    const uint64_t least = UINT64_C(1) << 30;
    uint64_t part = total_bytes / 20;

    return free_bytes < (part > least ? part : least);
}

/* --- disk ----------------------------------------------------------------- */

static void
on_disk(void *ctx)
{
    struct disk_monitor *m = ctx;
    struct statvfs v;
    uint64_t left, total;

    if (statvfs(m->folder, &v) < 0) {
        log_debug("reaper.disk", "folder=%s error=\"%s\"", m->folder,
                  strerror(errno));
        return;
    }
    left = (uint64_t)v.f_bavail * v.f_frsize;
    total = (uint64_t)v.f_blocks * v.f_frsize;
    if (!disk_monitor_is_low(left, total)) {
        if (alarm_clear(m->alarms, "disk_low"))
            log_info("reaper.disk_ok",
                     "folder=%s free_mib=%" PRIu64 " text=\"there is room "
                     "again\"",
                     m->folder, left >> 20);
        return;
    }
    if (alarm_raise(m->alarms, "disk_low",
                    "%" PRIu64 " MiB are free where the ledger is (%.120s): "
                    "make room",
                    left >> 20, m->folder))
        log_warn("reaper.disk_low",
                 "folder=%s free_mib=%" PRIu64 " of_mib=%" PRIu64, m->folder,
                 left >> 20, total >> 20);
}

/* --- all alarms ----------------------------------------------------------- */

json_t *
disk_monitor_alarms(struct disk_monitor *m, int64_t quarantined)
{
    json_t *list = json_array();

    if (quarantined > 0)
        (void)alarm_raise(m->alarms, "quarantined",
                          "%" PRId64 " messages on results.* were not "
                          "believed: see the table quarantine of the ledger",
                          quarantined);
    for (size_t i = 0; i < m->alarms->n; i++) {
        json_t *o = json_object();

        report_set_text(o, "name", m->alarms->list[i].name);
        report_set_text(o, "text", m->alarms->list[i].text);
        (void)json_array_append_new(list, o);
    }
    return list;
}

/* --- life ----------------------------------------------------------------- */

struct disk_monitor *
disk_monitor_open(struct loop *l, struct alarms *alarms, const char *folder)
{
    struct disk_monitor *m = MEM_NEW(struct disk_monitor);

    m->alarms = alarms;
    m->folder = mem_strdup(folder);
    m->timer = loop_timer_start(l, 0, DISK_MS, on_disk, m);
    return m;
}

void
disk_monitor_close(struct disk_monitor *m)
{
    if (!m)
        return;
    loop_timer_stop(m->timer);
    mem_free(m->folder);
    mem_free(m);
}
