/*
 * alarms - conditions that a person must look at, shown by `status`: one line
 * per name, until it is cleared.
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

/* True if it was not raised before; the text is replaced in any case. */
bool alarm_raise(struct alarms *a, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* True if it was raised. */
bool alarm_clear(struct alarms *a, const char *name);

#endif
