/*
 * alarms - what a person must know, as `status` shows it: at most one line of a
 * name. It stands until it is cleared.
 *
 * Thread: the loop thread.
 */
#ifndef REAPER_QUERY_ALARMS_H
#define REAPER_QUERY_ALARMS_H

#include <stdbool.h>
#include <stddef.h>

enum { ALARMS_MAX = 16 };

struct alarm {
    const char *name; /* static: "disk_low" */
    char text[240];
};

struct alarms {
    struct alarm list[ALARMS_MAX];
    size_t n;
};

/* True if it did not stand before; the text is renewed in any case. */
bool alarm_raise(struct alarms *a, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* True if it stood. */
bool alarm_clear(struct alarms *a, const char *name);

#endif
