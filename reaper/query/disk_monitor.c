/*
 * Looks at the disk on a timer, and at the broker's count of dead letters when
 * `status` shows the alarms.
 */
#include "reaper/query/disk_monitor.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/bus/stream_info.h"
#include "reaper/report/report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

enum { DISK_MS = 30000, DEAD_LETTERS_MS = 30000 };

struct disk_monitor {
    struct bus *bus;
    struct alarms *alarms;
    struct loop_timer *timer;
    char *folder;
    int64_t requested_ms; /* dead letters; 0: never */
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

/* --- dead letters --------------------------------------------------------- */

static void
on_dead_letters(void *ctx, const struct bus_note *note, const struct err *e)
{
    struct disk_monitor *m = ctx;
    struct stream_info_stream info;
    struct err bad;

    if (e || stream_info_read_stream(note, &info, &bad) < 0)
        return;
    if (info.messages)
        (void)alarm_raise(m->alarms, "dead_letters",
                          "%" PRIu64 " messages could not be understood or "
                          "were given up: they are kept in the stream DEAD",
                          info.messages);
    else
        (void)alarm_clear(m->alarms, "dead_letters");
}

static void
request_dead_letters(struct disk_monitor *m)
{
    int64_t now_ms = loop_now_ms();

    if (!m->bus ||
        (m->requested_ms && now_ms - m->requested_ms < DEAD_LETTERS_MS))
        return;
    m->requested_ms = now_ms;
    stream_info_ask(m->bus, "DEAD", NULL, on_dead_letters, m);
}

json_t *
disk_monitor_alarms(struct disk_monitor *m, int64_t quarantined)
{
    json_t *list = json_array();

    request_dead_letters(m);
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
disk_monitor_open(struct bus *b, struct loop *l, struct alarms *alarms,
                  const char *folder)
{
    struct disk_monitor *m = MEM_NEW(struct disk_monitor);

    m->bus = b;
    m->alarms = alarms;
    m->folder = mem_strdup(folder);
    m->timer = loop_timer_start(l, 0, DISK_MS, on_disk, m);
    request_dead_letters(m);
    return m;
}

void
disk_monitor_close(struct disk_monitor *m)
{
    if (!m)
        return;
    if (m->bus)
        bus_forget(m->bus, m);
    loop_timer_stop(m->timer);
    mem_free(m->folder);
    mem_free(m);
}
