/*
 * Keeps the alarms in an array: there are a handful at most.
 */
#include "reaper/query/alarms.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct alarm *
find(struct alarms *a, const char *name)
{
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->list[i].name, name) == 0)
            return &a->list[i];
    return NULL;
}

bool
alarm_raise(struct alarms *a, const char *name, const char *fmt, ...)
{
    struct alarm *found = find(a, name);
    bool fresh = !found;
    va_list args;

    if (fresh && a->n == ALARMS_MAX)
        return false;
    if (fresh) {
        found = &a->list[a->n++];
        found->name = name;
    }
    va_start(args, fmt);
    (void)vsnprintf(found->text, sizeof found->text, fmt, args);
    va_end(args);
    return fresh;
}

bool
alarm_clear(struct alarms *a, const char *name)
{
    struct alarm *found = find(a, name);

    if (!found)
        return false;
    memmove(found, found + 1,
            (size_t)(&a->list[--a->n] - found) * sizeof *found);
    return true;
}
